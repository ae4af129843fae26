/* SPDX-License-Identifier: Apache-2.0 */
/* XCLIENT and XFORWARD: a trusted client speaks for another one. */
#include <errno.h>

#include "base/utf8.h"
#include "config/params.h"
#include "mail/smtp_command.h"
#include "policy/host_name.h"
#include "table/table.h"
#include "verbs.h"

enum { VALUE_MAX = 255 };

/* By the address that XCLIENT gave, if it did: a session that speaks for another client has that client's rights. */
static bool is_authorized(struct match_list *l, const struct session *s)
{
	struct buf why = BUF_INIT(500);
	int found = match_list_check(l, s->facts.client_address, &why);

	buf_done(&why);
	return found > 0;
}

static bool is_unavailable(struct str value)
{
	return str_eq_nocase(value, STR("[UNAVAILABLE]"));
}

static bool is_put_off(struct str value)
{
	return str_eq_nocase(value, STR("[TEMPUNAVAIL]"));
}

static bool is_host_name(struct str value)
{
	return is_unavailable(value) || is_put_off(value) || host_name_is_valid(value);
}

static bool is_port(struct str value)
{
	unsigned long long number;

	return is_unavailable(value) || (value.len <= 5 && str_parse_u64(value, &number) == 0);
}

/* "192.0.2.1" or "IPV6:2001:db8::1" to the usual text; -EINVAL. */
static int parse_address(struct str value, char text[static IP_TEXT_SIZE])
{
	struct sockaddr_storage address;
	int err = ip_parse(str_starts_nocase(value, STR("IPV6:")) ? str_from(value, 5) : value, 0, &address);

	if (err)
		return err;
	ip_unmap(&address);
	(void)ip_format((struct sockaddr *)&address, text);
	return 0;
}

/* NAME and REVERSE_NAME: the name, or why there is none. */
static int take_name(struct str value, struct str *ret_name, bool *ret_is_tempfail)
{
	if (!is_host_name(value))
		return -EINVAL;
	*ret_is_tempfail = is_put_off(value);
	*ret_name = is_unavailable(value) || is_put_off(value) ? STR("unknown") : value;
	return 0;
}

/* One NAME=value of XCLIENT. -EINVAL: the value is wrong; -ENOENT: there is no such name. */
static int take_client_attribute(struct session *s, struct str name, struct str value)
{
	struct policy_session *f = &s->facts;
	bool is_known = !is_unavailable(value);

	if (str_eq_nocase(name, STR("NAME")))
		return take_name(value, &f->client_name, &f->is_client_name_tempfail);
	if (str_eq_nocase(name, STR("REVERSE_NAME")))
		return take_name(value, &f->client_reverse_name, &f->is_reverse_name_tempfail);
	if (str_eq_nocase(name, STR("ADDR"))) {
		if (is_known && parse_address(value, s->address))
			return -EINVAL;
		f->client_address = is_known ? str_of(s->address) : STR("unknown");
	} else if (str_eq_nocase(name, STR("PORT"))) {
		if (!is_port(value))
			return -EINVAL;
		f->client_port = is_known ? value : STR("unknown");
	} else if (str_eq_nocase(name, STR("HELO"))) {
		f->helo = is_known ? harmless_name(&s->arena, value) : STR("");
	} else if (str_eq_nocase(name, STR("PROTO"))) {
		if (!str_eq_nocase(value, STR("SMTP")) && !str_eq_nocase(value, STR("ESMTP")))
			return -EINVAL;
		f->is_esmtp = value.len == 5;
	} else if (str_eq_nocase(name, STR("LOGIN"))) {
		f->sasl_username = is_known ? value : STR("");
		f->sasl_method = is_known ? STR("XCLIENT") : STR("");
	} else if (str_eq_nocase(name, STR("DESTADDR"))) {
		return is_known ? parse_address(value, s->server_address) : 0;
	} else if (str_eq_nocase(name, STR("DESTPORT"))) {
		if (!is_port(value))
			return -EINVAL;
		f->server_port = is_known ? value : f->server_port;
	} else {
		return -ENOENT;
	}
	return 0;
}

static int forward_address(struct session *s, struct str value)
{
	char text[IP_TEXT_SIZE];

	if (value.len > 0 && parse_address(value, text))
		return -EINVAL;
	s->forwarded.client_address = value.len > 0 ? arena_str(&s->arena, str_of(text)) : value;
	return 0;
}

/* As above, of XFORWARD. */
static int take_forward_attribute(struct session *s, struct str name, struct str value)
{
	struct envelope *o = &s->forwarded;
	struct str known = is_unavailable(value) ? STR("") : value;

	if (str_eq_nocase(name, STR("NAME"))) {
		if (!is_host_name(value))
			return -EINVAL;
		o->client_name = known;
	} else if (str_eq_nocase(name, STR("ADDR"))) {
		return forward_address(s, known);
	} else if (str_eq_nocase(name, STR("PORT"))) {
		if (!is_port(value))
			return -EINVAL;
		o->client_port = known;
	} else if (str_eq_nocase(name, STR("HELO"))) {
		o->helo = known;
	} else if (str_eq_nocase(name, STR("PROTO"))) {
		o->protocol = known;
	} else if (str_eq_nocase(name, STR("IDENT"))) {
		o->envid = known;
	} else if (str_eq_nocase(name, STR("SOURCE"))) {
		return known.len == 0 || str_eq_nocase(known, STR("LOCAL")) || str_eq_nocase(known, STR("REMOTE")) ? 0 : -EINVAL;
	} else {
		return -ENOENT;
	}
	return 0;
}

static const struct dialect {
	const char *command;
	const char *unwanted; /* characters that values may not hold, besides control characters */
	int (*take)(struct session *s, struct str name, struct str value);
} xclient = {"XCLIENT", "", take_client_attribute}, xforward = {"XFORWARD", NAME_UNWANTED, take_forward_attribute};

/* The value's bytes; without what comes behind a NUL, and what would have a meaning in a line of ours becomes "?". */
static int decode(struct session *s, const struct dialect *d, struct str coded, struct str *ret_value)
{
	struct str value;
	int err = xtext_decode(coded, &s->arena, &value);

	if (err)
		value = coded;
	*ret_value = str_of(arena_cstr(&s->arena, value));
	text_neutralize((char *)(uintptr_t)ret_value->ptr, ret_value->len, d->unwanted);
	return err;
}

static bool take_one(struct session *s, const struct dialect *d, struct str pair)
{
	struct str name, coded, value;
	int err;

	if (!str_split(pair, '=', &name, &coded) || coded.len == 0) {
		session_say(s, "501 5.5.4 Error: attribute=value expected");
		return false;
	}
	if (coded.len > VALUE_MAX) {
		session_say(s, "501 5.5.4 Error: attribute value too long");
		return false;
	}
	err = decode(s, d, coded, &value);
	if (!err)
		err = d->take(s, name, value);
	if (err == -ENOENT)
		session_say(s, "501 5.5.4 Bad %s attribute name: %.*s", d->command, STR_ARG(name));
	else if (err)
		session_say(s, "501 5.5.4 Bad %.*s syntax: %.*s", STR_ARG(name), STR_ARG(value));
	return err == 0;
}

/* All attributes of the command; false when one was answered with an error. */
static bool take_all(struct session *s, const struct dialect *d, struct str argument)
{
	struct str pair;

	if (argument.len == 0) {
		session_say(s, "501 5.5.4 Syntax: %s attribute=value...", d->command);
		return false;
	}
	while (str_next(&argument, " \t", &pair))
		if (!take_one(s, d, pair))
			return false;
	return true;
}

void verb_xclient(struct session *s, struct str argument)
{
	if (!is_authorized(s->port->xclient_hosts, s)) {
		session_say(s, "550 5.7.0 Error: insufficient authorization");
		return;
	}
	if (s->tx.has_mail) {
		session_say(s, "503 5.5.1 Error: MAIL transaction in progress");
		return;
	}
	arena_reset(&s->helo_arena);
	s->facts.helo = STR("");
	/* Its words lay in that arena. */
	s->facts.helo_deferral = (struct policy_deferral){0};
	if (!take_all(s, &xclient, argument))
		return;
	session_begin_again(s);
}

void verb_xforward(struct session *s, struct str argument)
{
	if (!is_authorized(s->port->xforward_hosts, s)) {
		session_say(s, "550 5.7.0 Error: insufficient authorization");
		return;
	}
	if (s->tx.has_mail) {
		session_say(s, "503 5.5.1 Error: MAIL transaction in progress");
		return;
	}
	if (take_all(s, &xforward, argument)) {
		s->has_forwarded = true;
		session_say(s, "250 2.0.0 Ok");
	}
}
