/* SPDX-License-Identifier: Apache-2.0 */
/* smtpd_sasl_type = builtin, in the lookup role: mechanisms of our own and of libgsasl over smtpd_sasl_builtin_maps. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sasl/builtin.h"

/* The strongest first: simple clients take the first that they know. */
#define SCRAM(NAME, KIND, FLAGS) \
	{ \
		.name = NAME, .flags = MECHANISM_MUTUAL_AUTH | (FLAGS), .kind = (KIND), .begin = gsasl_begin, \
		.step = gsasl_answer, .end = gsasl_end \
	}

static const struct builtin_mechanism mechanisms[] = {
	SCRAM("SCRAM-SHA-256-PLUS", SECRET_SCRAM_SHA_256, MECHANISM_BINDING),
	SCRAM("SCRAM-SHA-256", SECRET_SCRAM_SHA_256, 0),
	SCRAM("SCRAM-SHA-1-PLUS", SECRET_SCRAM_SHA_1, MECHANISM_BINDING),
	SCRAM("SCRAM-SHA-1", SECRET_SCRAM_SHA_1, 0),
	{.name = "PLAIN", .flags = MECHANISM_PLAINTEXT, .step = plain_step},
	{.name = "LOGIN",
         .flags = MECHANISM_PLAINTEXT,
         .begin = login_begin,
         .step = login_step,
         .end = login_end,
         .greeting = "Username:"},
	/* Who reads a token can use it, as with a password. */
	{.name = "OAUTHBEARER",
         .flags = MECHANISM_PLAINTEXT,
         .takes_token = true,
         .begin = oauth_begin,
         .step = oauth_step,
         .end = oauth_end},
	{.name = "XOAUTH2",
         .flags = MECHANISM_PLAINTEXT,
         .takes_token = true,
         .begin = oauth_begin,
         .step = oauth_step,
         .end = oauth_end},
	{.name = "CRAM-MD5",
         .flags = MECHANISM_DICTIONARY | MECHANISM_ACTIVE,
         .kind = SECRET_PLAIN,
         .must_be_named = true,
         .begin = gsasl_begin,
         .step = gsasl_answer,
         .end = gsasl_end},
	{.name = "ANONYMOUS",
         .flags = MECHANISM_ANONYMOUS,
         .must_be_named = true,
         .begin = gsasl_begin,
         .step = gsasl_answer,
         .end = gsasl_end},
};

static const struct builtin_mechanism *find(struct str name)
{
	for (size_t i = 0; i < COUNT_OF(mechanisms); i++)
		if (str_eq_nocase(name, str_of(mechanisms[i].name)))
			return &mechanisms[i];
	return NULL;
}

const struct builtin_mechanism *builtin_mechanism(const struct sasl_exchange *x)
{
	return find(x->method);
}

struct str builtin_full_name(struct sasl_exchange *x, struct str name)
{
	struct str domain = x->server->params->smtpd_sasl_local_domain;

	if (str_is_empty(domain) || str_has(name, '@'))
		return arena_str(&x->arena, name);
	return arena_printf(&x->arena, "%.*s@%.*s", STR_ARG(name), STR_ARG(domain));
}

/* --- what there is ------------------------------------------------------------------------------- */

static int offer_named(struct builtin *b, struct str list, struct buf *why)
{
	struct str word;

	while (str_next(&list, ", \t\r\n", &word)) {
		const struct builtin_mechanism *m = find(word);

		if (!m) {
			buf_addf(why, "smtpd_sasl_builtin_mechanisms: there is no %.*s; there are", STR_ARG(word));
			for (size_t i = 0; i < COUNT_OF(mechanisms); i++)
				buf_addf(why, " %s", mechanisms[i].name);
			return -EINVAL;
		}
		if (m->takes_token && !b->oauth) {
			buf_addf(why,
			         "smtpd_sasl_builtin_mechanisms: %s needs smtpd_sasl_oauth_key_file or "
			         "smtpd_sasl_oauth_introspection_url",
			         m->name);
			return -EINVAL;
		}
		mechanism_add(&b->offered, str_of(m->name), m->flags);
	}
	return 0;
}

/* A client takes a mechanism that is offered and does not try another one: what is offered must work for everyone. */
static void offer_fitting(struct builtin *b)
{
	for (size_t i = 0; i < COUNT_OF(mechanisms); i++) {
		const struct builtin_mechanism *m = &mechanisms[i];

		bool is_fit = m->takes_token ? b->oauth != NULL
		              : m->kind      ? password_store_is_fit_for(b->store, m->kind)
		                             : !password_store_is_empty(b->store);

		if (!m->must_be_named && is_fit)
			mechanism_add(&b->offered, str_of(m->name), m->flags);
	}
}

static void builtin_close(struct sasl_server *s)
{
	struct builtin *b = s->state;

	if (b) {
		password_store_free(b->store);
		oauth_free(b->oauth);
	}
	free(b);
	s->state = NULL;
}

static int builtin_open(struct sasl_server *s, struct buf *why)
{
	struct builtin *b = mem_alloc(sizeof(*b));
	struct str named = str_trim(s->params->smtpd_sasl_builtin_mechanisms);
	int err = password_store_new(s->view, &b->store, why);

	s->state = b;
	if (!err)
		err = oauth_new(s->view, &b->oauth, why);
	if (!err)
		err = gsasl_open(why);
	if (!err && !str_is_empty(named))
		err = offer_named(b, named, why);
	else if (!err)
		offer_fitting(b);
	return err;
}

static bool builtin_has_changed(const struct sasl_server *s)
{
	const struct builtin *b = s->state;

	return password_store_has_changed(b->store) || oauth_has_changed(b->oauth);
}

static const struct mechanism_list *builtin_mechanisms(struct sasl_server *s, const char **ret_why)
{
	const struct builtin *b = s->state;

	return &b->offered;
}

/* --- exchanges -------------------------------------------------------------------------------------- */

static void builtin_begin(struct sasl_exchange *x, struct str initial, struct sasl_result *ret)
{
	const struct builtin_mechanism *m = builtin_mechanism(x);

	if (m->begin)
		m->begin(x, m);
	if (initial.ptr)
		m->step(x, initial, ret);
	else if (str_eq(x->method, STR("CRAM-MD5")))
		m->step(x, STR(""), ret);
	else
		sasl_challenge(x, ret, m->greeting ? str_of(m->greeting) : STR(""));
}

static void builtin_step(struct sasl_exchange *x, struct str response, struct sasl_result *ret)
{
	builtin_mechanism(x)->step(x, response, ret);
}

static void builtin_end(struct sasl_exchange *x)
{
	builtin_mechanism(x)->end(x);
}

const struct sasl_backend sasl_backend_builtin = {
	.type = "builtin",
	.open = builtin_open,
	.close = builtin_close,
	.mechanisms = builtin_mechanisms,
	.begin = builtin_begin,
	.step = builtin_step,
	.end = builtin_end,
	.has_changed = builtin_has_changed,
};

const struct sasl_backend *const sasl_lookup_backends[] = {&sasl_backend_builtin, &sasl_backend_cyrus, NULL};
const struct sasl_backend *const sasl_all_backends[] = {&sasl_backend_builtin, &sasl_backend_cyrus, &sasl_backend_dovecot, NULL};
