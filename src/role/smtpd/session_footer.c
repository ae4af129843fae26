/* SPDX-License-Identifier: Apache-2.0 */
/* Last touches to a refusal: soft_bounce, and what smtpd_reject_footer adds. */
#include "session_internal.h"

#include "config/params.h"
#include "mail/address.h"
#include "mail/mail_date.h"
#include "table/table.h"

enum { FOOTER_MAX = 4000 };

void session_soften(struct buf *lines)
{
	for (size_t at = 0; at < lines->len;) {
		char *line = lines->ptr + at;

		if (lines->len - at > 6 && line[0] == '5') {
			line[0] = '4';
			if (line[4] == '5' && line[5] == '.')
				line[4] = '4';
		}
		at += str_find(str_from(buf_str(lines), at), '\n') + 1;
	}
}

static void add_value(struct buf *to, const struct session *s, struct str name)
{
	const struct policy_session *f = &s->facts;
	const struct {
		struct str name, value;
	} values[] = {
		{STR("client"), s->name},
		{STR("client_address"), f->client_address},
		{STR("client_name"), f->client_name},
		{STR("client_port"), f->client_port},
		{STR("reverse_client_name"), f->client_reverse_name},
		{STR("helo_name"), f->helo},
		{STR("recipient"), f->recipient},
		{STR("sender"), f->sender},
		{STR("sasl_username"), f->sasl_username},
		{STR("server_address"), f->server_address},
		{STR("server_name"), s->port->view->params->myhostname},
		{STR("server_port"), f->server_port},
	};

	if (str_eq(name, STR("localtime"))) {
		mail_date_format(to, clock_wall());
		return;
	}
	for (size_t i = 0; i < COUNT_OF(values); i++)
		if (str_eq(name, values[i].name))
			buf_add(to, values[i].value);
}

/* $name and ${name} as the session has them; "\n" parts lines. */
static void expand(struct buf *to, const struct session *s, struct str text)
{
	for (size_t i = 0; i < text.len; i++) {
		struct str rest = str_from(text, i + 1);

		if (text.ptr[i] == '\\' && str_starts(rest, STR("n"))) {
			buf_add_char(to, '\n');
			i++;
		} else if (text.ptr[i] == '$' && rest.len > 0) {
			bool is_braced = rest.ptr[0] == '{';
			size_t from = is_braced, len = 0;

			while (from + len < rest.len && (ascii_is_alnum(rest.ptr[from + len]) || rest.ptr[from + len] == '_'))
				len++;
			add_value(to, s, str_cut(rest, from, len));
			i += from + len + (is_braced && from + len < rest.len);
		} else {
			buf_add_char(to, text.ptr[i]);
		}
	}
}

/* The template for this reply: from the maps, or the parameter. Empty for none. */
static struct str find_template(const struct session *s, struct str reply, struct arena *a)
{
	struct buf why = BUF_INIT(500);
	struct str value;
	int err = maps_is_empty(s->port->footer_maps) ? -1 : maps_find(s->port->footer_maps, reply, false, a, &value, &why);

	buf_done(&why);
	return err ? view_get_raw(s->port->view, STR("smtpd_reject_footer")) : value;
}

/* "550 5.7.1 " or "550 " of the last line: its continuation begins alike. */
static struct str prefix_of(struct str last)
{
	struct str rest = str_from(last, 4);
	struct dsn_code code;
	bool has_code = dsn_code_parse(&rest, &code) == 0;

	return has_code ? str_cut(last, 0, (size_t)(rest.ptr - last.ptr)) : str_cut(last, 0, 4);
}

/* Is there room for so much and for the last line end? */
static bool has_room(const struct buf *lines, size_t len)
{
	return lines->len + len + 2 <= lines->max;
}

void session_add_footer(const struct session *s, struct buf *lines)
{
	struct arena a = ARENA_INIT;
	struct str all = str_trim(buf_str(lines)), text = find_template(s, all, &a), line;
	size_t last_at = str_find_last(all, '\n');
	struct str last = last_at < all.len ? str_from(all, last_at + 1) : all, prefix = arena_str(&a, prefix_of(last));
	struct buf out = BUF_INIT(FOOTER_MAX);

	last_at = last_at < all.len ? last_at + 1 : 0;
	if (text.len > 0) {
		buf_cut(lines, all.len);
		if (str_starts(text, STR("\\c"))) {
			text = str_from(text, 2);
			line = str_cut(text, 0, str_find_str(text, STR("\\n")));
			expand(&out, s, line);
			if (has_room(lines, out.len))
				buf_add(lines, buf_str(&out));
			text = str_from(text, line.len + 2);
		}
		buf_reset(&out);
		expand(&out, s, text);
		text = buf_str(&out);
		for (bool has_more = text.len > 0; has_more;) {
			has_more = str_split(text, '\n', &line, &text);
			if (!has_more)
				line = text;
			if (!has_room(lines, 2 + prefix.len + line.len))
				break;
			lines->ptr[last_at + 3] = '-';
			last_at = lines->len + 2;
			buf_addf(lines, "\r\n%.*s%.*s", STR_ARG(prefix), STR_ARG(line));
		}
		buf_add(lines, STR("\r\n"));
	}
	buf_done(&out);
	arena_done(&a);
}
