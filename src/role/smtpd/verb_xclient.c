/* SPDX-License-Identifier: Apache-2.0 */
/* XCLIENT and XFORWARD: a trusted client speaks for another one. */
#include <errno.h>

#include "config/params.h"
#include "mail/smtp_command.h"
#include "table/table.h"
#include "verbs.h"

enum { VALUE_MAX = 255 };

static bool is_authorized(struct match_list *l, const struct session *s)
{
	char address[IP_TEXT_SIZE];
	struct buf why = BUF_INIT(500);
	/* Who is really there, whatever XCLIENT said before. */
	int found = match_list_check(l, str_of(ip_format((const struct sockaddr *)&s->peer, address)), &why);

	buf_done(&why);
	return found > 0;
}

static bool is_unavailable(struct str value)
{
	return str_eq_nocase(value, STR("[UNAVAILABLE]")) || str_eq_nocase(value, STR("[TEMPUNAVAIL]"));
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

/* One NAME=value of XCLIENT; false when the value is wrong. */
static int take_client_attribute(struct session *s, struct str name, struct str value)
{
	struct policy_session *f = &s->facts;
	bool is_known = !is_unavailable(value);

	if (str_eq_nocase(name, STR("NAME"))) {
		f->client_name = is_known ? value : STR("unknown");
		f->is_client_name_tempfail = str_eq_nocase(value, STR("[TEMPUNAVAIL]"));
	} else if (str_eq_nocase(name, STR("REVERSE_NAME"))) {
		f->client_reverse_name = is_known ? value : STR("unknown");
		f->is_reverse_name_tempfail = str_eq_nocase(value, STR("[TEMPUNAVAIL]"));
	} else if (str_eq_nocase(name, STR("ADDR"))) {
		if (is_known && parse_address(value, s->address))
			return -EINVAL;
		f->client_address = is_known ? str_of(s->address) : STR("unknown");
	} else if (str_eq_nocase(name, STR("PORT"))) {
		f->client_port = is_known ? value : STR("unknown");
	} else if (str_eq_nocase(name, STR("HELO"))) {
		f->helo = is_known ? value : STR("");
	} else if (str_eq_nocase(name, STR("PROTO"))) {
		if (!str_eq_nocase(value, STR("SMTP")) && !str_eq_nocase(value, STR("ESMTP")))
			return -EINVAL;
		f->is_esmtp = value.len == 5;
	} else if (str_eq_nocase(name, STR("LOGIN"))) {
		f->sasl_username = is_known ? value : STR("");
		f->sasl_method = is_known ? STR("XCLIENT") : STR("");
	} else if (str_eq_nocase(name, STR("DESTADDR"))) {
		if (is_known && parse_address(value, s->server_address))
			return -EINVAL;
	} else if (str_eq_nocase(name, STR("DESTPORT"))) {
		f->server_port = is_known ? value : f->server_port;
	} else {
		return -ENOENT;
	}
	return 0;
}

static int take_forward_attribute(struct session *s, struct str name, struct str value)
{
	struct envelope *o = &s->forwarded;
	struct str known = is_unavailable(value) ? STR("") : value;

	if (str_eq_nocase(name, STR("NAME")))
		o->client_name = known;
	else if (str_eq_nocase(name, STR("ADDR")))
		o->client_address = str_starts_nocase(known, STR("IPV6:")) ? str_from(known, 5) : known;
	else if (str_eq_nocase(name, STR("PORT")))
		o->client_port = known;
	else if (str_eq_nocase(name, STR("HELO")))
		o->helo = known;
	else if (str_eq_nocase(name, STR("PROTO")))
		o->protocol = known;
	else if (str_eq_nocase(name, STR("IDENT")))
		o->envid = known;
	else if (!str_eq_nocase(name, STR("SOURCE")))
		return -ENOENT;
	return 0;
}

/* All attributes of the command; false when one was answered with an error. */
static bool take_all(struct session *s, const char *command, struct str argument, struct arena *a,
                     int (*take)(struct session *s, struct str name, struct str value))
{
	struct str pair, name, coded, value;
	int err;

	if (argument.len == 0) {
		session_say(s, "501 5.5.4 Syntax: %s attribute=value...", command);
		return false;
	}
	while (str_next(&argument, " \t", &pair)) {
		if (!str_split(pair, '=', &name, &coded)) {
			session_say(s, "501 5.5.4 Error: attribute=value expected");
			return false;
		}
		if (coded.len > VALUE_MAX) {
			session_say(s, "501 5.5.4 Error: attribute value too long");
			return false;
		}
		err = xtext_decode(coded, a, &value);
		if (!err)
			err = take(s, arena_str(a, name), value);
		if (err == -ENOENT)
			session_say(s, "501 5.5.4 Bad %s attribute name: %.*s", command, STR_ARG(name));
		else if (err)
			session_say(s, "501 5.5.4 Bad %.*s syntax: %.*s", STR_ARG(name), STR_ARG(coded));
		if (err)
			return false;
	}
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
	if (!take_all(s, "XCLIENT", argument, &s->arena, take_client_attribute))
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
	if (take_all(s, "XFORWARD", argument, &s->arena, take_forward_attribute)) {
		s->has_forwarded = true;
		session_say(s, "250 2.0.0 Ok");
	}
}
