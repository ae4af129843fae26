/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "config/config.h"
#include "config/params.h"
#include "content/content_internal.h"

static const struct {
	struct str name;
	unsigned bit;
} overrides[] = {
	{{"no_unknown_recipient_checks", 27}, CONTENT_NO_UNKNOWN_RECIPIENT_CHECKS},
	{{"no_address_mappings", 19}, CONTENT_NO_ADDRESS_MAPPINGS},
	{{"no_header_body_checks", 21}, CONTENT_NO_HEADER_BODY_CHECKS},
	{{"no_milters", 10}, CONTENT_NO_MILTERS},
};

int content_parse_overrides(struct str text, unsigned *ret_bits, struct str *ret_bad)
{
	struct str word;
	unsigned bits = 0;

	while (str_next(&text, ", \t\r\n", &word)) {
		size_t i = 0;

		while (i < COUNT_OF(overrides) && !str_eq_nocase(overrides[i].name, word))
			i++;
		if (i == COUNT_OF(overrides)) {
			*ret_bad = word;
			return -EINVAL;
		}
		bits |= overrides[i].bit;
	}
	*ret_bits = bits;
	return 0;
}

/* The words of a list, in the arena. */
static struct str *split_list(struct arena *a, struct str text, size_t *ret_count)
{
	struct str rest = text, word, *words;
	size_t count = 0;

	while (str_next(&rest, ", \t\r\n", &word))
		count++;
	words = arena_alloc(a, (count + 1) * sizeof(*words));
	for (size_t i = 0; i < count; i++) {
		(void)str_next(&text, ", \t\r\n", &word);
		words[i] = arena_str(a, word);
	}
	*ret_count = count;
	return words;
}

static int open_tables(struct content *c, struct buf *why)
{
	const struct params *p = c->view->params;
	int err = maps_open(p->header_checks, 0, c->view, &c->header_checks, why);

	if (!err)
		err = maps_open(p->mime_header_checks, 0, c->view, &c->mime_header_checks, why);
	if (!err)
		err = maps_open(p->nested_header_checks, 0, c->view, &c->nested_header_checks, why);
	if (!err)
		err = maps_open(p->body_checks, 0, c->view, &c->body_checks, why);
	if (!err)
		err = maps_open(p->sender_bcc_maps, TABLE_FOLD, c->view, &c->sender_bcc, why);
	if (!err)
		err = maps_open(p->recipient_bcc_maps, TABLE_FOLD, c->view, &c->recipient_bcc, why);
	return err;
}

int content_new(const struct view *v, struct router *r, struct content **ret_content, struct buf *why)
{
	struct content *c = mem_alloc(sizeof(*c));
	int err;

	c->view = v;
	c->router = r;
	c->drop_headers = split_list(&c->arena, v->params->message_drop_headers, &c->drop_count);
	err = open_tables(c, why);
	if (err) {
		content_free(c);
		return err;
	}
	*ret_content = c;
	return 0;
}

void content_free(struct content *c)
{
	if (!c)
		return;
	maps_close(c->header_checks);
	maps_close(c->mime_header_checks);
	maps_close(c->nested_header_checks);
	maps_close(c->body_checks);
	maps_close(c->sender_bcc);
	maps_close(c->recipient_bcc);
	arena_done(&c->arena);
	free(c);
}

bool content_has_changed(const struct content *c)
{
	return maps_have_changed(c->header_checks) || maps_have_changed(c->mime_header_checks) ||
	       maps_have_changed(c->nested_header_checks) || maps_have_changed(c->body_checks) ||
	       maps_have_changed(c->sender_bcc) || maps_have_changed(c->recipient_bcc);
}
