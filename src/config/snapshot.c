/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A configuration as bytes, for other processes. It holds what was read, not what was
 * made of it: settings, services and what the machine said; views are compiled anew.
 *
 *	u32 "PRC1"; dir; file and content of myorigin; hostname; addresses (count; v6 flag, prefix, 16 bytes each);
 *	resolved names (count; name and address each);
 *	settings (count; name, value, file, line each);
 *	services (count; each: eight fields, flags, limit, file, line, arguments, settings)
 *
 * Strings are lengths and bytes, numbers little-endian.
 */
#include <errno.h>

#include "config/config_internal.h"

enum { MAGIC = 0x31435250, FLAG_PRIVATE = 1, FLAG_UNPRIVILEGED = 2, FLAG_CHROOT = 4, FLAG_LIMIT = 8 };

static void put_origin(struct buf *to, struct origin origin)
{
	buf_add_lstr(to, origin.file);
	buf_add_u32(to, origin.line);
}

static void put_entries(struct buf *to, const struct entry_list *list)
{
	buf_add_u32(to, (uint32_t)list->count);
	for (size_t i = 0; i < list->count; i++) {
		buf_add_lstr(to, list->items[i].name);
		buf_add_lstr(to, list->items[i].value);
		put_origin(to, list->items[i].origin);
	}
}

static void put_service(struct buf *to, const struct service *s, const struct entry_list *overrides)
{
	for (size_t i = 0; i < COUNT_OF(s->fields); i++)
		buf_add_lstr(to, s->fields[i]);
	buf_add_u8(to, (uint8_t)((s->is_private ? FLAG_PRIVATE : 0) | (s->is_unprivileged ? FLAG_UNPRIVILEGED : 0) |
	                         (s->has_chroot ? FLAG_CHROOT : 0) | (s->has_process_limit ? FLAG_LIMIT : 0)));
	buf_add_u32(to, s->process_limit);
	put_origin(to, s->origin);
	buf_add_u32(to, (uint32_t)s->arg_count);
	for (size_t i = 0; i < s->arg_count; i++)
		buf_add_lstr(to, s->args[i]);
	put_entries(to, overrides);
}

static void put_address(struct buf *to, const struct machine_address *address)
{
	buf_add_u8(to, address->is_v6);
	buf_add_u8(to, address->prefix);
	buf_add_bytes(to, address->bytes, sizeof(address->bytes));
}

static void put_machine(struct buf *to, const struct machine *m)
{
	buf_add_lstr(to, m->hostname);
	buf_add_u32(to, (uint32_t)m->address_count);
	for (size_t i = 0; i < m->address_count; i++)
		put_address(to, &m->addresses[i]);
	buf_add_u32(to, (uint32_t)m->name_count);
	for (size_t i = 0; i < m->name_count; i++) {
		buf_add_lstr(to, m->names[i].name);
		put_address(to, &m->names[i].address);
	}
}

void config_snapshot(const struct config *c, struct buf *to)
{
	buf_add_u32(to, MAGIC);
	buf_add_lstr(to, c->dir);
	buf_add_lstr(to, c->origin_file);
	buf_add_lstr(to, c->origin_name);
	put_machine(to, &c->machine);
	put_entries(to, &c->entries);
	buf_add_u32(to, (uint32_t)c->service_count);
	for (size_t i = 0; i < c->service_count; i++)
		put_service(to, &c->services[i], &c->overrides[i]);
}

/* A count of things that take at least `least` bytes each; a larger one than can follow is wrong. */
static size_t take_count(struct cursor *from, size_t least)
{
	size_t count = cursor_u32(from);

	if (count > from->rest.len / least) {
		from->is_bad = true;
		return 0;
	}
	return count;
}

static struct origin take_origin(struct cursor *from)
{
	struct str file = cursor_lstr(from);

	return (struct origin){file, cursor_u32(from)};
}

static void take_entries(struct config *c, struct cursor *from, struct entry_list *to)
{
	size_t count = take_count(from, 16);

	for (size_t i = 0; i < count && !from->is_bad; i++) {
		struct entry entry = {.name = cursor_lstr(from), .value = {0}};

		entry.value = cursor_lstr(from);
		entry.origin = take_origin(from);
		entry_list_add(to, &c->arena, entry);
	}
}

static void take_service(struct config *c, struct cursor *from, size_t at)
{
	struct service *s = &c->services[at];

	for (size_t i = 0; i < COUNT_OF(s->fields); i++)
		s->fields[i] = cursor_lstr(from);
	s->name = s->fields[0];
	s->type = s->fields[1];
	s->wakeup = s->fields[5];
	s->program = s->fields[7];
	s->index = at;
	unsigned flags = cursor_u8(from);
	s->is_private = flags & FLAG_PRIVATE;
	s->is_unprivileged = flags & FLAG_UNPRIVILEGED;
	s->has_chroot = flags & FLAG_CHROOT;
	s->has_process_limit = flags & FLAG_LIMIT;
	s->process_limit = cursor_u32(from);
	s->origin = take_origin(from);
	size_t arg_count = take_count(from, 4);
	s->args = arena_alloc(&c->arena, (arg_count + 1) * sizeof(*s->args));
	while (s->arg_count < arg_count && !from->is_bad)
		s->args[s->arg_count++] = cursor_lstr(from);
	take_entries(c, from, &c->overrides[at]);
}

static struct machine_address take_address(struct cursor *from)
{
	struct machine_address address = {.is_v6 = cursor_u8(from) == 1};

	address.prefix = cursor_u8(from);
	struct str bytes = cursor_bytes(from, sizeof(address.bytes));
	if (bytes.len == sizeof(address.bytes))
		memcpy(address.bytes, bytes.ptr, bytes.len);
	return address;
}

static void take_machine(struct config *c, struct cursor *from)
{
	struct machine *m = &c->machine;

	m->hostname = cursor_lstr(from);
	m->address_count = take_count(from, 18);
	m->addresses = arena_alloc(&c->arena, (m->address_count + 1) * sizeof(*m->addresses));
	for (size_t i = 0; i < m->address_count; i++)
		m->addresses[i] = take_address(from);
	m->name_count = take_count(from, 22);
	m->names = arena_alloc(&c->arena, (m->name_count + 1) * sizeof(*m->names));
	for (size_t i = 0; i < m->name_count; i++) {
		m->names[i].name = cursor_lstr(from);
		m->names[i].address = take_address(from);
	}
}

static void take_services(struct config *c, struct cursor *from)
{
	c->service_count = take_count(from, 49);
	c->services = arena_alloc(&c->arena, (c->service_count + 1) * sizeof(*c->services));
	c->overrides = arena_alloc(&c->arena, (c->service_count + 1) * sizeof(*c->overrides));
	for (size_t i = 0; i < c->service_count; i++)
		take_service(c, from, i);
}

int config_from_snapshot(struct str bytes, struct config **ret_config)
{
	struct config *c = mem_alloc(sizeof(*c));
	struct cursor from = {.rest = arena_str(&c->arena, bytes)};

	if (cursor_u32(&from) != MAGIC)
		from.is_bad = true;
	c->dir = cursor_lstr(&from);
	c->origin_file = cursor_lstr(&from);
	c->origin_name = cursor_lstr(&from);
	take_machine(c, &from);
	take_entries(c, &from, &c->entries);
	take_services(c, &from);
	if (from.is_bad || from.rest.len > 0) {
		arena_done(&c->arena);
		free(c);
		return -EINVAL;
	}
	config_note_names(c);
	config_compile(c);
	*ret_config = c;
	return 0;
}
