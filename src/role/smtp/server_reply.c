/* SPDX-License-Identifier: Apache-2.0 */
/* Replies of servers (RFC 5321, 4.2) and the keywords of EHLO (RFC 5321, 4.1.1.1). */
#include "role/smtp/server_reply.h"

void server_reply_init(struct server_reply *r)
{
	*r = (struct server_reply){.text = BUF_INIT(SERVER_REPLY_MAX)};
}

void server_reply_done(struct server_reply *r)
{
	buf_done(&r->text);
}

void server_reply_reset(struct server_reply *r)
{
	buf_reset(&r->text);
	r->code = 0;
	r->dsn = (struct dsn_code){0};
	r->line_count = 0;
}

static int line_code(struct str line)
{
	if (line.len < 3 || line.ptr[0] < '2' || line.ptr[0] > '5' || !ascii_is_digit(line.ptr[1]) ||
	    !ascii_is_digit(line.ptr[2]))
		return 0;
	if (line.len > 3 && line.ptr[3] != ' ' && line.ptr[3] != '-')
		return 0;
	return (line.ptr[0] - '0') * 100 + (line.ptr[1] - '0') * 10 + (line.ptr[2] - '0');
}

bool server_reply_add(struct server_reply *r, struct str line)
{
	struct str rest = str_from(line, 4);
	struct dsn_code dsn;
	int code = line_code(line);

	/* What no longer fits is left out; the code of the last line is what counts. */
	if (r->text.len)
		buf_add_char(&r->text, '\n');
	buf_add(&r->text, line);
	r->code = code;
	if (!dsn_code_parse(&rest, &dsn))
		r->dsn = dsn;
	if (!code)
		return true;
	if (++r->line_count >= SERVER_REPLY_LINES_MAX) {
		r->code = 0;
		return true;
	}
	return line.len <= 3 || line.ptr[3] == ' ';
}

struct str server_reply_text(const struct server_reply *r, struct arena *a)
{
	char *text = arena_cstr(a, str_trim(buf_str(&r->text)));

	for (char *c = text; *c; c++)
		if (*c == '\n' || *c == '\t')
			*c = ' ';
		else if ((unsigned char)*c < ' ' || *c == 127)
			*c = '?';
	return str_of(text);
}

struct str server_reply_dsn(const struct server_reply *r, struct arena *a)
{
	unsigned class_digit = r->code ? (unsigned)r->code / 100 : 4;

	if (class_digit == 3)
		class_digit = 2;
	if (r->dsn.class_digit == class_digit)
		return arena_printf(a, "%u.%u.%u", r->dsn.class_digit, r->dsn.subject, r->dsn.detail);
	return arena_printf(a, "%u.0.0", class_digit);
}

static const struct {
	const char *name;
	enum ehlo_keyword bit;
} keywords[] = {
	{"PIPELINING", EHLO_PIPELINING},
	{"8BITMIME", EHLO_8BITMIME},
	{"SMTPUTF8", EHLO_SMTPUTF8},
	{"DSN", EHLO_DSN},
	{"STARTTLS", EHLO_STARTTLS},
	{"SIZE", EHLO_SIZE},
	{"AUTH", EHLO_AUTH},
	{"REQUIRETLS", EHLO_REQUIRETLS},
};

static void add_keyword(struct ehlo *e, struct str line, struct str discard)
{
	struct str keyword;

	if (!str_next(&line, " \t=", &keyword) || str_list_has(discard, keyword))
		return;
	for (size_t i = 0; i < COUNT_OF(keywords); i++) {
		unsigned long long limit;

		if (!str_eq_nocase(keyword, str_of(keywords[i].name)))
			continue;
		e->keywords |= keywords[i].bit;
		if (keywords[i].bit == EHLO_SIZE && !str_parse_u64(str_trim(line), &limit))
			e->size_limit = limit;
		if (keywords[i].bit == EHLO_AUTH)
			/* "AUTH=PLAIN" is how some of the first servers had it. */
			e->auth = str_trim(str_from(line, str_starts(line, STR("="))));
	}
}

void ehlo_parse(const struct server_reply *r, struct str discard, struct ehlo *ret_ehlo)
{
	struct str rest = buf_str(&r->text), line;
	bool is_first = true;

	*ret_ehlo = (struct ehlo){.name = STR("")};
	while (str_next(&rest, "\n", &line)) {
		line = str_from(line, 4);
		if (is_first)
			(void)str_next(&line, " \t", &ret_ehlo->name);
		else
			add_keyword(ret_ehlo, line, discard);
		is_first = false;
	}
}
