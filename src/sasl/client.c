/* SPDX-License-Identifier: Apache-2.0 */
/* Mechanisms of the client. */
#include "sasl/client.h"

#include <errno.h>
#include <gsasl.h>

#include "base/base.h"
#include "base/encoding.h"
#include "table/table.h"

enum { RESPONSE_MAX = 64 * 1024, CHALLENGES_MAX = 10, ITERATIONS_MAX = 10000000 };

struct mechanism {
	const char *name;
	unsigned has;  /* enum sasl_demand */
	bool is_token; /* for access tokens, not for passwords */
	bool has_plus; /* tied to the TLS connection */
	bool is_first; /* the client speaks first */
};

enum {
	PLAIN_HAS = SASL_NO_ANONYMOUS,
	CRAM_HAS = SASL_NO_ANONYMOUS | SASL_NO_PLAINTEXT,
	SCRAM_HAS = SASL_NO_ANONYMOUS | SASL_NO_PLAINTEXT | SASL_NO_ACTIVE | SASL_MUTUAL_AUTH
};

/* In order of preference. */
static const struct mechanism mechanisms[] = {
	{.name = "SCRAM-SHA-256-PLUS", .has = SCRAM_HAS, .has_plus = true, .is_first = true},
	{.name = "SCRAM-SHA-1-PLUS", .has = SCRAM_HAS, .has_plus = true, .is_first = true},
	{.name = "SCRAM-SHA-256", .has = SCRAM_HAS, .is_first = true},
	{.name = "SCRAM-SHA-1", .has = SCRAM_HAS, .is_first = true},
	{.name = "CRAM-MD5", .has = CRAM_HAS},
	{.name = "PLAIN", .has = PLAIN_HAS, .is_first = true},
	{.name = "LOGIN", .has = PLAIN_HAS},
	{.name = "OAUTHBEARER", .has = PLAIN_HAS, .is_token = true, .is_first = true},
	{.name = "XOAUTH2", .has = PLAIN_HAS, .is_token = true, .is_first = true},
};

struct sasl_client {
	const struct mechanism *mechanism;
	Gsasl_session *session; /* of passwords */
	struct buf message;     /* of tokens: what is sent first */
	bool is_done;
	unsigned steps;
};

static const struct {
	const char *name;
	enum sasl_demand bit;
} demand_names[] = {
	{"noplaintext", SASL_NO_PLAINTEXT},        {"noactive", SASL_NO_ACTIVE},
	{"nodictionary", SASL_NO_DICTIONARY},      {"noanonymous", SASL_NO_ANONYMOUS},
	{"forward_secrecy", SASL_FORWARD_SECRECY}, {"mutual_auth", SASL_MUTUAL_AUTH},
};

int sasl_demands_parse(struct str list, unsigned *ret_demands, struct buf *why)
{
	unsigned demands = 0;
	struct str word;

	while (str_next(&list, " \t\r\n,", &word)) {
		size_t at = 0;

		while (at < COUNT_OF(demand_names) && !str_eq_nocase(word, str_of(demand_names[at].name)))
			at++;
		if (at == COUNT_OF(demand_names)) {
			buf_addf(why,
			         "\"%.*s\" is none of noplaintext, noactive, nodictionary, noanonymous, forward_secrecy, "
			         "mutual_auth",
			         STR_ARG(word));
			return -EINVAL;
		}
		demands |= demand_names[at].bit;
	}
	*ret_demands = demands;
	return 0;
}

struct str sasl_client_choose(struct str offered, struct match_list *filter, unsigned demands, const struct sasl_login *login)
{
	struct buf why = BUF_INIT(1024);
	struct str chosen = STR("");

	for (size_t i = 0; !chosen.len && i < COUNT_OF(mechanisms); i++) {
		const struct mechanism *m = &mechanisms[i];
		struct str name = str_of(m->name);
		bool fits = m->is_token == login->is_token && !(demands & ~m->has) && (!m->has_plus || login->binding.len);

		if (fits && str_list_has(offered, name) && (!filter || match_list_check(filter, name, &why) == 1))
			chosen = name;
	}
	buf_done(&why);
	return chosen;
}

static Gsasl *library(void)
{
	static Gsasl *ctx;

	if (!ctx && gsasl_init(&ctx) != GSASL_OK)
		die("libgsasl does not start");
	return ctx;
}

static int set_property(Gsasl_session *session, Gsasl_property name, struct str value)
{
	return gsasl_property_set_raw(session, name, value.ptr ? value.ptr : "", value.len) == GSASL_OK ? 0 : -EINVAL;
}

static int set_binding(Gsasl_session *session, const struct sasl_login *login)
{
	struct buf text = BUF_INIT(1024);
	int err;

	base64_encode(&text, login->binding);
	err = set_property(session, login->is_exporter ? GSASL_CB_TLS_EXPORTER : GSASL_CB_TLS_UNIQUE, buf_str(&text));
	buf_done(&text);
	return err;
}

static int begin_password(struct sasl_client *c, const struct sasl_login *login)
{
	int err = gsasl_client_start(library(), c->mechanism->name, &c->session) == GSASL_OK ? 0 : -EINVAL;

	if (!err)
		err = set_property(c->session, GSASL_AUTHID, login->user);
	if (!err && login->names_twice)
		err = set_property(c->session, GSASL_AUTHZID, login->user);
	if (!err)
		err = set_property(c->session, GSASL_PASSWORD, login->secret);
	/* libgsasl would not do without it once it knows one. */
	return err || !c->mechanism->has_plus ? err : set_binding(c->session, login);
}

/* RFC 7628, 3.1: the user's name stands in a header of GS2, where "=" and "," are not themselves. */
static void add_gs2_name(struct buf *to, struct str name)
{
	for (size_t i = 0; i < name.len; i++) {
		if (name.ptr[i] == '=')
			buf_add(to, STR("=3D"));
		else if (name.ptr[i] == ',')
			buf_add(to, STR("=2C"));
		else
			buf_add_char(to, name.ptr[i]);
	}
}

static int begin_token(struct sasl_client *c, const struct sasl_login *login)
{
	struct buf *b = &c->message;

	/* 1 divides the parts. */
	if (str_has(login->user, '\1') || str_has(login->secret, '\1'))
		return -EINVAL;
	if (str_eq(str_of(c->mechanism->name), STR("XOAUTH2"))) {
		buf_addf(b, "user=%.*s\1auth=Bearer %.*s\1\1", STR_ARG(login->user), STR_ARG(login->secret));
	} else {
		buf_add(b, STR("n,a="));
		add_gs2_name(b, login->user);
		buf_addf(b, ",\1host=%.*s\1port=%.*s\1auth=Bearer %.*s\1\1", STR_ARG(login->host), STR_ARG(login->port),
		         STR_ARG(login->secret));
	}
	return buf_check(b);
}

int sasl_client_new(struct str mechanism, const struct sasl_login *login, struct sasl_client **ret_client)
{
	struct sasl_client *c = mem_alloc(sizeof(*c));
	int err = -EINVAL;

	*ret_client = NULL;
	c->message = BUF_INIT(RESPONSE_MAX);
	for (size_t i = 0; i < COUNT_OF(mechanisms); i++)
		if (str_eq_nocase(mechanism, str_of(mechanisms[i].name)))
			c->mechanism = &mechanisms[i];
	if (c->mechanism && !str_has(login->user, '\0') && !str_has(login->secret, '\0'))
		err = c->mechanism->is_token ? begin_token(c, login) : begin_password(c, login);
	if (err)
		sasl_client_free(c);
	else
		*ret_client = c;
	return err;
}

bool sasl_client_is_first(const struct sasl_client *c)
{
	return c->mechanism->is_first;
}

/* SCRAM's "r=...,s=...,i=4096": how often the password is hashed is for the server to say, but not without a limit. */
static bool is_modest(struct str challenge)
{
	struct str part;

	while (str_next(&challenge, ",", &part)) {
		unsigned long long count;

		if (str_starts(part, STR("i=")) && (str_parse_u64(str_from(part, 2), &count) || count > ITERATIONS_MAX))
			return false;
	}
	return true;
}

static int step_password(struct sasl_client *c, struct str challenge, struct buf *response, const char **why)
{
	char *bytes = NULL;
	size_t size = 0;
	int result;

	if (sasl_client_has_proof(c) && !is_modest(challenge)) {
		*why = "the server wants the password hashed too often";
		return -EPROTO;
	}
	result = gsasl_step(c->session, challenge.ptr ? challenge.ptr : "", challenge.len, &bytes, &size);
	c->is_done = result == GSASL_OK;
	if (result != GSASL_OK && result != GSASL_NEEDS_MORE) {
		*why = gsasl_strerror(result);
		return -EPROTO;
	}
	buf_add_bytes(response, bytes, size);
	if (bytes)
		explicit_bzero(bytes, size);
	gsasl_free(bytes);
	return buf_check(response);
}

/* A challenge behind the token tells why it is no good; the server then waits for a last word before it says so. */
static int step_token(struct sasl_client *c, struct buf *response)
{
	if (c->steps == 1)
		buf_add(response, buf_str(&c->message));
	else if (str_eq(str_of(c->mechanism->name), STR("OAUTHBEARER")))
		buf_add_char(response, '\1');
	c->is_done = c->steps == 1;
	return buf_check(response);
}

int sasl_client_step(struct sasl_client *c, struct str challenge, struct buf *response, const char **why)
{
	*why = "the server goes on asking";
	if (++c->steps > CHALLENGES_MAX)
		return -EPROTO;
	if (c->mechanism->is_token)
		return step_token(c, response);
	/* All was said: only an empty challenge may follow, and it has an empty answer. */
	if (c->is_done)
		return challenge.len ? -EPROTO : 0;
	return step_password(c, challenge, response, why);
}

bool sasl_client_has_proof(const struct sasl_client *c)
{
	return c->mechanism->has & SASL_MUTUAL_AUTH;
}

bool sasl_client_is_done(const struct sasl_client *c)
{
	return c->is_done;
}

void sasl_client_free(struct sasl_client *c)
{
	if (!c)
		return;
	if (c->session)
		gsasl_finish(c->session);
	if (c->message.ptr)
		explicit_bzero(c->message.ptr, c->message.len);
	buf_done(&c->message);
	free(c);
}
