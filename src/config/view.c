/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Views: the values of all parameters as one service sees them.
 *
 * Values are expanded on demand and remembered; one that is asked for while it is being
 * expanded refers to itself. Everything a view will ever give is made when the view is
 * made, so that afterwards it is only read.
 */
#include <errno.h>
#include <unistd.h>

#include "config/config_internal.h"
#include "config/typed.h"

enum { VALUE_MAX = 1 << 22, CHAIN_MAX = 100 };

static struct value *find_value(const struct view_data *v, struct str name)
{
	const struct param *p = param_find(name);

	return p ? &v->declared[p - param_table] : map_find(&v->user_defined, name);
}

static int expand_value(struct view_data *v, struct value *value);

/* The default of TRANSPORT_suffix is another parameter: "$default_suffix". */
static struct value *family_default(const struct view_data *v, struct str name)
{
	struct str transport;
	const struct param *family = param_find_family(name, &transport);

	return family ? find_value(v, str_from(family->value, 1)) : NULL;
}

static int get_for_expand(struct expand *e, struct str name, bool is_test, struct str *ret_value)
{
	struct view_data *v = e->context;
	struct value *value = find_value(v, name);
	int err = 0;

	if (!value)
		value = family_default(v, name);
	if (!value)
		return -ENOENT;
	if (is_test) {
		*ret_value = value->raw;
		return 0;
	}
	err = expand_value(v, value);
	if (err)
		e->why = value->why;
	else
		*ret_value = value->text;
	return err;
}

static int expand_value(struct view_data *v, struct value *value)
{
	struct expand e = {.get = get_for_expand, .context = v};
	struct buf text = BUF_INIT(VALUE_MAX);

	if (value->is_ready || value->why)
		return value->why ? -EINVAL : 0;
	if (value->is_busy || v->depth >= CHAIN_MAX) {
		value->why = "the value refers to itself";
		return -ELOOP;
	}
	value->is_busy = true;
	v->depth++;
	int err = expand_text(&e, value->raw, &text);
	v->depth--;
	value->is_busy = false;
	if (err) {
		value->why = e.why;
	} else {
		value->text = arena_str(&v->config->arena, str_trim(buf_str(&text)));
		value->is_ready = true;
	}
	buf_done(&text);
	return err;
}

static void set_default(struct view_data *v, struct value *value, const struct param *p)
{
	*value = (struct value){.raw = p->value};
	if (p->flags & PARAM_LEGACY)
		value->raw = STR("");
	if (expand_is_literal(value->raw) || p->kind == PARAM_RAW) {
		value->text = value->raw;
		value->is_ready = true;
	}
}

static void set_value(struct view_data *v, const struct entry *entry)
{
	struct value *value = find_value(v, entry->name);
	const struct param *p = param_find(entry->name);

	if (!value) {
		value = arena_alloc(&v->config->arena, sizeof(*value));
		(void)map_set(&v->user_defined, entry->name, value);
	}
	*value = (struct value){.raw = entry->value, .origin = entry->origin, .is_set = true};
	if (expand_is_literal(value->raw) || (p && p->kind == PARAM_RAW)) {
		value->text = value->raw;
		value->is_ready = true;
	}
}

static void compute(struct view_data *v, struct str name, struct str text)
{
	struct value *value = find_value(v, name);

	if (value->is_set)
		return;
	value->raw = value->text = text;
	value->is_ready = true;
}

static struct str expanded(struct view_data *v, struct str name)
{
	struct value *value = find_value(v, name);

	return value && expand_value(v, value) == 0 ? value->text : STR("");
}

/* Expanded before a default that it may refer to was known: to be expanded again. */
static void forget(struct value *value)
{
	if (value->is_set && !expand_is_literal(value->raw))
		value->is_ready = false;
}

/* The host's own name is completed with mydomain when it has no dot, as mail needs a qualified one. */
static void compute_names(struct view_data *v)
{
	struct config *c = v->config;
	struct str host = c->machine.hostname, left, right;

	if (!find_value(v, STR("mydomain"))->is_set && !find_value(v, STR("myhostname"))->is_set && !str_has(host, '.'))
		compute(v, STR("mydomain"), STR("localdomain"));
	if (!str_has(host, '.'))
		host = arena_printf(&c->arena, "%.*s.%.*s", STR_ARG(str_is_empty(host) ? STR("localhost") : host),
		                    STR_ARG(expanded(v, STR("mydomain"))));
	compute(v, STR("myhostname"), host);
	forget(find_value(v, STR("mydomain")));
	struct str name = expanded(v, STR("myhostname"));
	compute(v, STR("mydomain"), str_split(name, '.', &left, &right) ? right : STR("localdomain"));
}

static void compute_networks(struct view_data *v)
{
	struct config *c = v->config;
	struct str protocols = expanded(v, STR("inet_protocols"));
	struct machine_wish wish = {.style = expanded(v, STR("mynetworks_style")),
	                            .interfaces = expanded(v, STR("inet_interfaces")),
	                            .has_v4 = config_allows_protocol(protocols, STR("ipv4")),
	                            .has_v6 = config_allows_protocol(protocols, STR("ipv6"))};
	struct str rest = wish.interfaces, word;

	if (find_value(v, STR("mynetworks"))->is_set)
		return;
	while (c->may_ask_system && str_next(&rest, ", \t\r\n", &word))
		if (!str_eq_nocase(word, STR("all")) && !str_eq_nocase(word, STR("loopback-only")))
			machine_resolve(&c->machine, word, &c->arena);
	compute(v, STR("mynetworks"), machine_networks(&c->machine, &wish, &c->arena));
}

/* The domain in the file that "myorigin = /etc/mailname" names: how Debian keeps it in one place for all programs. */
static void read_origin_file(struct view_data *v, struct value *value)
{
	struct config *c = v->config;
	struct str bytes = {0}, path = value->text;

	int err = config_read_file(c, arena_cstr(&c->arena, path), &bytes);
	struct str line = str_trim(str_cut(bytes, 0, str_find(bytes, '\n')));
	if (err || str_is_empty(line))
		config_error(c, value->origin,
		             "myorigin = %.*s: the file %s; put the domain into its first line, or write myorigin = $mydomain",
		             STR_ARG(path), err ? "cannot be read" : "is empty");
	c->origin_file = path;
	c->origin_name = line;
}

static void compute_origin(struct view_data *v)
{
	struct config *c = v->config;
	struct value *value = find_value(v, STR("myorigin"));

	if (!value->is_set || c->is_for_showing || expand_value(v, value) || !str_starts(value->text, STR("/")))
		return;
	if (c->may_ask_system && !str_eq(c->origin_file, value->text))
		read_origin_file(v, value);
	if (str_eq(c->origin_file, value->text) && !str_is_empty(c->origin_name))
		value->text = c->origin_name;
}

static void compute_defaults(struct view_data *v)
{
	const struct service *s = v->view.service;

	if (!v->config->is_default)
		compute(v, STR("config_directory"), v->config->dir);
	compute(v, STR("process_name"), s ? s->program : str_of(program_invocation_short_name));
	compute(v, STR("process_id"), arena_printf(&v->config->arena, "%ld", (long)getpid()));
	compute(v, STR("service_name"), s ? s->name : STR(""));
	compute_names(v);
	compute_origin(v);
	compute_networks(v);
}

static void report(struct view_data *v, const struct param *p, const struct value *value, const char *why)
{
	const struct service *s = v->view.service;
	struct str name = p->name;

	if (s && !str_is_empty(value->origin.file) && value->origin.line == s->origin.line &&
	    str_eq(value->origin.file, s->origin.file))
		config_error(v->config, value->origin, "service \"%.*s\": %.*s = %.*s: %s (%.*s)", STR_ARG(s->name),
		             STR_ARG(name), STR_ARG(str_cut(value->raw, 0, 200)), why, STR_ARG(p->brief));
	else
		config_error(v->config, value->origin, "%.*s = %.*s: %s (%.*s)", STR_ARG(name),
		             STR_ARG(str_cut(value->raw, 0, 200)), why, STR_ARG(p->brief));
}

static void store(struct view_data *v, const struct param *p, struct value *value)
{
	struct buf why = BUF_INIT(1000);

	if (expand_value(v, value))
		report(v, p, value, value->why);
	else if (param_has_field(p) && typed_store(v->params, p, value->text, &why))
		report(v, p, value, buf_cstr(&why));
	buf_done(&why);
}

/* A field whose value is wrong keeps the default, so that tools that only show can go on. */
static void store_default(struct view_data *v, const struct param *p)
{
	struct buf ignored = BUF_INIT(1000), text = BUF_INIT(VALUE_MAX);
	struct expand e = {.get = get_for_expand, .context = v};

	if (!param_has_field(p) || p->kind > PARAM_TIME)
		return;
	if (expand_text(&e, p->value, &text) || typed_store(v->params, p, buf_str(&text), &ignored))
		buf_reset(&text);
	buf_done(&ignored);
	buf_done(&text);
}

static void apply(struct view_data *v, const struct entry_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		set_value(v, &list->items[i]);
}

struct view_data *view_new(struct config *c, const struct service *s, const struct entry_list *overrides)
{
	struct view_data *v = arena_alloc(&c->arena, sizeof(*v));
	size_t at = 0;
	struct str name;
	void *value;

	v->config = c;
	v->params = arena_alloc(&c->arena, sizeof(*v->params));
	v->view = (struct view){.config = c, .service = s, .params = v->params};
	v->declared = arena_alloc(&c->arena, param_count * sizeof(*v->declared));
	for (size_t i = 0; i < param_count; i++)
		set_default(v, &v->declared[i], &param_table[i]);
	apply(v, &c->entries);
	if (overrides)
		apply(v, overrides);
	compute_defaults(v);
	while (map_next(&v->user_defined, &at, &name, &value))
		(void)expand_value(v, value);
	for (size_t i = 0; i < param_count; i++) {
		if (v->declared[i].is_set)
			store_default(v, &param_table[i]);
		store(v, &param_table[i], &v->declared[i]);
	}
	return v;
}

void view_done(struct view_data *v)
{
	map_done(&v->user_defined);
}

/* Everything is expanded already, so reading changes nothing. */
static struct view_data *data_of(const struct view *v)
{
	return CONTAINER_OF(v, struct view_data, view);
}

static const struct value *value_of(const struct view *v, struct str name)
{
	const struct value *value = find_value(data_of(v), name);

	return value ? value : family_default(data_of(v), name);
}

struct str view_get(const struct view *v, struct str name)
{
	const struct value *value = value_of(v, name);

	return value && value->is_ready ? value->text : (struct str){0};
}

struct str view_get_raw(const struct view *v, struct str name)
{
	const struct value *value = find_value(data_of(v), name);
	struct str transport;

	if (value)
		return value->raw;
	const struct param *family = param_find_family(name, &transport);
	return family ? family->value : (struct str){0};
}

bool view_is_set(const struct view *v, struct str name)
{
	const struct value *value = find_value(data_of(v), name);

	return value && value->is_set;
}

/* The word, with no letter of another one beside it. */
static size_t find_word(struct str text, size_t from, struct str word)
{
	static const char ends[] = ", \t\r\n{}";

	for (size_t at = from; at < text.len; at++) {
		at += str_find_str(str_from(text, at), word);
		if (at < text.len && (at == 0 || strchr(ends, text.ptr[at - 1])) &&
		    (at + word.len == text.len || strchr(ends, text.ptr[at + word.len])))
			return at;
	}
	return text.len;
}

struct origin origin_of_word(struct origin value, struct str raw, struct str word, size_t *at)
{
	struct origin result = {value.file, value.line};
	size_t found = find_word(raw, *at, word);

	if (found < raw.len)
		*at = found + word.len;
	else
		found = *at + str_find(str_from(raw, *at), '$');
	for (size_t i = 0; i < value.start_count && value.starts[i].at <= found && found < raw.len; i++)
		result.line = value.starts[i].line;
	return result;
}

struct origin view_origin(const struct view *v, struct str name)
{
	const struct value *value = find_value(data_of(v), name);

	return value ? value->origin : (struct origin){0};
}

int view_expand(const struct view *v, struct str text, struct buf *to, const char **why)
{
	struct expand e = {.get = get_for_expand, .context = data_of(v)};
	int err = expand_text(&e, text, to);

	if (err)
		*why = e.why;
	return err;
}

/* The name of a member of a family, in `space`. */
static struct str transport_name(struct str transport, struct str suffix, struct buf *space)
{
	buf_addf(space, "%.*s_%.*s", STR_ARG(transport), STR_ARG(suffix));
	return buf_str(space);
}

struct str view_transport_text(const struct view *v, struct str transport, struct str suffix)
{
	struct buf name = BUF_INIT(1000);
	struct str text = view_get(v, transport_name(transport, suffix, &name));

	buf_done(&name);
	return text;
}

int64_t view_transport_int(const struct view *v, struct str transport, struct str suffix)
{
	struct str text = view_transport_text(v, transport, suffix);
	int64_t number;

	return typed_time(text, 's', &number) == 0 ? number : 0;
}
