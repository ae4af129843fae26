/* SPDX-License-Identifier: Apache-2.0 */
/* Authentication of clients: which mechanisms are offered to whom, and the frame of an exchange. */
#include "sasl/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/encoding.h"
#include "sasl/server_internal.h"

enum { DECODED_MAX = 64 << 10 };

static const struct {
	const char *name;
	unsigned forbidden, required;
} options[] = {
	{"noplaintext", MECHANISM_PLAINTEXT, 0},           {"noactive", MECHANISM_ACTIVE, 0},
	{"nodictionary", MECHANISM_DICTIONARY, 0},         {"noanonymous", MECHANISM_ANONYMOUS, 0},
	{"forward_secrecy", 0, MECHANISM_FORWARD_SECRECY}, {"mutual_auth", 0, MECHANISM_MUTUAL_AUTH},
};

static int parse_security(const char *parameter, struct str text, struct security *ret, struct buf *why)
{
	struct str word;

	*ret = (struct security){.forbidden = MECHANISM_PRIVATE};
	while (str_next(&text, ", \t\r\n", &word)) {
		size_t i = 0;

		while (i < COUNT_OF(options) && !str_eq_nocase(word, str_of(options[i].name)))
			i++;
		if (i == COUNT_OF(options)) {
			buf_addf(why,
			         "%s: unknown option \"%.*s\"; there are noplaintext, noactive, nodictionary, noanonymous, "
			         "forward_secrecy, mutual_auth",
			         parameter, STR_ARG(word));
			return -EINVAL;
		}
		ret->forbidden |= options[i].forbidden;
		ret->required |= options[i].required;
	}
	return 0;
}

static int pick_backend(struct sasl_server *s, const struct sasl_backend *const *backends, struct buf *why)
{
	for (; *backends; backends++)
		if (str_eq(s->params->smtpd_sasl_type, str_of((*backends)->type))) {
			s->backend = *backends;
			return s->backend->open(s, why);
		}
	buf_addf(why, "smtpd_sasl_type = %.*s: there are builtin, cyrus and dovecot", STR_ARG(s->params->smtpd_sasl_type));
	return -ENOTSUP;
}

int sasl_server_new(const struct view *v, const struct sasl_backend *const *backends, struct sasl_server **ret_server,
                    struct buf *why)
{
	struct sasl_server *s = mem_alloc(sizeof(*s));
	const struct params *params = v->params;
	int err = 0;

	s->view = v;
	s->params = params;
	if (v->service)
		s->service = arena_printf(&s->arena, "%.*s/%.*s", STR_ARG(v->service->name), STR_ARG(v->service->type));
	if (params->smtpd_sasl_auth_enable) {
		err = parse_security("smtpd_sasl_security_options", params->smtpd_sasl_security_options, &s->clear, why);
		if (!err)
			err = parse_security("smtpd_sasl_tls_security_options", params->smtpd_sasl_tls_security_options, &s->tls,
			                     why);
		if (!err)
			err = match_list_open(params->smtpd_sasl_exceptions_networks, MATCH_ADDRESS, 0, v, &s->exceptions, why);
		if (!err)
			err = match_list_open(params->smtpd_sasl_mechanism_filter, MATCH_STRING, 0, v, &s->filter, why);
		if (!err)
			err = pick_backend(s, backends, why);
	}
	if (err) {
		sasl_server_free(s);
		return err;
	}
	*ret_server = s;
	return 0;
}

void sasl_server_free(struct sasl_server *s)
{
	if (!s)
		return;
	if (s->backend)
		s->backend->close(s);
	match_list_close(s->exceptions);
	match_list_close(s->filter);
	arena_done(&s->arena);
	free(s);
}

bool sasl_server_has_changed(const struct sasl_server *s)
{
	return match_list_has_changed(s->exceptions) || match_list_has_changed(s->filter) ||
	       (s->backend && s->backend->has_changed && s->backend->has_changed(s));
}

/* --- what is offered --------------------------------------------------------------------- */

void mechanism_add(struct mechanism_list *list, struct str name, unsigned flags)
{
	struct mechanism *m = &list->items[list->count];

	if (list->count == MECHANISMS_MAX || str_is_empty(name) || name.len > MECHANISM_NAME_MAX)
		return;
	for (size_t i = 0; i < name.len; i++) {
		if (!ascii_is_alnum(name.ptr[i]) && name.ptr[i] != '-' && name.ptr[i] != '_')
			return;
		m->name[i] = ascii_upper(name.ptr[i]);
	}
	m->name[name.len] = '\0';
	m->flags = flags;
	list->count++;
}

void mechanism_list_parse(struct mechanism_list *list, struct str text)
{
	struct str name, flags;

	while (str_next(&text, " ", &name) && str_next(&text, " ", &flags)) {
		unsigned long long number;

		if (!str_parse_u64(flags, &number))
			mechanism_add(list, name, (unsigned)number);
	}
}

void sasl_server_list(struct sasl_server *s, struct buf *to, const char **ret_why)
{
	const struct mechanism_list *list = NULL;

	*ret_why = "smtpd_sasl_auth_enable = no";
	if (s->backend)
		list = s->backend->mechanisms(s, ret_why);
	for (size_t i = 0; list && i < list->count; i++)
		buf_addf(to, "%s%s %u", to->len ? " " : "", list->items[i].name, list->items[i].flags);
}

/* Why nobody gets AUTH on this connection, or NULL. */
static const char *reason_for_none(struct sasl_server *s, const struct sasl_peer *peer)
{
	if (!s->params->smtpd_sasl_auth_enable)
		return "smtpd_sasl_auth_enable = no";
	if (s->params->smtpd_tls_auth_only && !peer->has_tls)
		return "smtpd_tls_auth_only = yes, and no TLS";
	return NULL;
}

static bool is_exception(struct sasl_server *s, const struct sasl_peer *peer)
{
	struct buf why = BUF_INIT(1024);
	int answer = s->exceptions ? match_list_check(s->exceptions, peer->client_address, &why) : 0;

	buf_done(&why);
	return answer != 0;
}

static bool is_allowed(struct sasl_server *s, const struct sasl_peer *peer, const struct mechanism *m)
{
	const struct security *security = peer->has_tls ? &s->tls : &s->clear;
	struct buf why = BUF_INIT(1024);
	bool passes;

	if ((m->flags & MECHANISM_BINDING) && str_is_empty(peer->binding))
		return false;
	if ((m->flags & security->forbidden) || (m->flags & security->required) != security->required)
		return false;
	passes = match_list_check(s->filter, str_of(m->name), &why) > 0;
	buf_done(&why);
	return passes;
}

/* What may be used, which is more than what is offered where exceptions_networks hide it. */
static struct str usable_mechanisms(struct sasl_server *s, const struct sasl_peer *peer, struct arena *a, const char **ret_why)
{
	const struct mechanism_list *list;
	struct buf text = BUF_INIT(4096);
	struct str result;

	*ret_why = reason_for_none(s, peer);
	if (*ret_why)
		return STR("");
	list = s->backend->mechanisms(s, ret_why);
	s->is_down = !list;
	if (!list)
		return STR("");
	for (size_t i = 0; i < list->count; i++)
		if (is_allowed(s, peer, &list->items[i]))
			buf_addf(&text, "%s%s", text.len ? " " : "", list->items[i].name);
	if (!text.len)
		*ret_why = peer->has_tls ? "smtpd_sasl_tls_security_options or the mechanism filter leave none"
		                         : "smtpd_sasl_security_options or the mechanism filter leave none without TLS";
	result = arena_str(a, buf_str(&text));
	buf_done(&text);
	return result;
}

bool sasl_is_usable(struct sasl_server *s, const struct sasl_peer *peer, struct str name)
{
	struct arena a = ARENA_INIT;
	const char *why;
	bool is_there = str_list_has_exactly(usable_mechanisms(s, peer, &a, &why), name);

	arena_done(&a);
	return is_there;
}

bool sasl_server_is_down(const struct sasl_server *s)
{
	return s->is_down;
}

struct str sasl_server_mechanisms(struct sasl_server *s, const struct sasl_peer *peer, struct arena *a, const char **ret_why)
{
	s->is_down = false;
	if (is_exception(s, peer)) {
		*ret_why = "the client is in smtpd_sasl_exceptions_networks";
		return STR("");
	}
	return usable_mechanisms(s, peer, a, ret_why);
}

/* --- an exchange ------------------------------------------------------------------------------ */

void sasl_result_set(struct sasl_exchange *x, struct sasl_result *ret, enum sasl_status status, const char *fmt, ...)
{
	struct buf text = BUF_INIT(1024);
	va_list args;

	va_start(args, fmt);
	buf_vaddf(&text, fmt, args);
	va_end(args);
	ret->status = status;
	ret->reason = arena_str(&x->arena, buf_str(&text));
	buf_done(&text);
}

void sasl_wipe(struct buf *b)
{
	if (b->ptr)
		explicit_bzero(b->ptr, b->size);
	buf_done(b);
}

void sasl_wipe_str(struct str s)
{
	if (s.len)
		explicit_bzero((char *)(uintptr_t)s.ptr, s.len);
}

void sasl_challenge(struct sasl_exchange *x, struct sasl_result *ret, struct str text)
{
	struct buf encoded = BUF_INIT(DECODED_MAX);

	base64_encode(&encoded, text);
	ret->status = SASL_CONTINUE;
	ret->challenge = arena_str(&x->arena, buf_str(&encoded));
	buf_done(&encoded);
}

int sasl_decode(struct sasl_exchange *x, struct str base64)
{
	sasl_wipe(&x->decoded);
	/* All the room at once: growing would leave copies behind. */
	if (!buf_room(&x->decoded, base64.len))
		return -EINVAL;
	return base64_decode(&x->decoded, base64);
}

static struct sasl_exchange *exchange_new(struct sasl_server *s, const struct sasl_peer *peer, struct str mechanism)
{
	struct sasl_exchange *x = mem_alloc(sizeof(*x));
	char *method;

	x->server = s;
	x->decoded = BUF_INIT(DECODED_MAX);
	x->peer = (struct sasl_peer){.has_tls = peer->has_tls,
	                             .binding = arena_str(&x->arena, peer->binding),
	                             .is_exporter = peer->is_exporter,
	                             .client_address = arena_str(&x->arena, peer->client_address),
	                             .client_port = arena_str(&x->arena, peer->client_port),
	                             .server_address = arena_str(&x->arena, peer->server_address),
	                             .server_port = arena_str(&x->arena, peer->server_port)};
	method = arena_cstr(&x->arena, str_cut(mechanism, 0, MECHANISM_NAME_MAX));
	for (char *c = method; *c; c++)
		*c = ascii_upper(*c);
	x->method = str_of(method);
	s->exchange_count++;
	return x;
}

/*
 * The name goes to logs, headers, policy servers and arguments of commands, which it must not end; tables and servers that take
 * any name would let it through.
 */
static void check_name(struct sasl_exchange *x, struct sasl_result *ret)
{
	for (size_t i = 0; ret->status == SASL_OK && i < ret->username.len; i++) {
		unsigned char c = (unsigned char)ret->username.ptr[i];

		if (c < ' ' || c == 127)
			sasl_result_set(x, ret, SASL_FAILED, "the login name has a control character");
	}
}

struct sasl_exchange *sasl_exchange_begin(struct sasl_server *s, const struct sasl_peer *peer, struct str mechanism,
                                          struct str initial, struct sasl_result *ret_result)
{
	struct sasl_exchange *x = exchange_new(s, peer, mechanism);
	const char *why = NULL;
	struct str offered = usable_mechanisms(s, peer, &x->arena, &why);
	bool is_known = !s->backend || s->backend->mechanisms(s, &why);
	struct str name;

	*ret_result = (struct sasl_result){.status = SASL_FAILED, .method = x->method};
	while (str_next(&offered, " ", &name))
		if (s->backend && str_eq(name, x->method)) {
			s->backend->begin(x, str_eq(initial, STR("=")) ? STR("") : initial, ret_result);
			check_name(x, ret_result);
			return x;
		}
	if (is_known) {
		sasl_result_set(x, ret_result, SASL_FAILED, "%s",
		                s->backend && s->backend->unknown_mechanism ? s->backend->unknown_mechanism
		                                                            : "Invalid authentication mechanism");
	} else {
		ret_result->detail = arena_str(&x->arena, str_of(why));
		sasl_result_set(x, ret_result, SASL_TRY_LATER, "authentication server does not answer");
	}
	return x;
}

void sasl_exchange_step(struct sasl_exchange *x, struct str response, struct sasl_result *ret_result)
{
	*ret_result = (struct sasl_result){.status = SASL_FAILED, .method = x->method};
	if (str_eq(response, STR("*")))
		sasl_result_set(x, ret_result, SASL_ABORTED, "Authentication aborted");
	else
		x->server->backend->step(x, response, ret_result);
	check_name(x, ret_result);
}

void sasl_exchange_free(struct sasl_exchange *x)
{
	if (!x)
		return;
	if (x->state)
		x->server->backend->end(x);
	sasl_wipe(&x->decoded);
	x->server->exchange_count--;
	arena_done(&x->arena);
	free(x);
}
