/* SPDX-License-Identifier: Apache-2.0 */
/*
 * smtpd_sasl_type = builtin: PLAIN (RFC 4616) and LOGIN, with names and passwords in
 * smtpd_sasl_builtin_maps. In the lookup role.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/encoding.h"
#include "sasl/password.h"
#include "sasl/server_internal.h"

static const struct mechanism_list offered = {
	.items = {{"PLAIN", MECHANISM_PLAINTEXT}, {"LOGIN", MECHANISM_PLAINTEXT}},
	.count = 2,
};

/* Of a LOGIN exchange: the name, once it has come. */
struct login {
	bool has_name;
	struct str name;
};

static int builtin_open(struct sasl_server *s, struct buf *why)
{
	struct password_store *store;
	int err = password_store_new(s->view, &store, why);

	if (!err)
		s->state = store;
	return err;
}

static void builtin_close(struct sasl_server *s)
{
	password_store_free(s->state);
	s->state = NULL;
}

static bool builtin_has_changed(const struct sasl_server *s)
{
	return password_store_has_changed(s->state);
}

static const struct mechanism_list *builtin_mechanisms(struct sasl_server *s, const char **ret_why)
{
	return &offered;
}

/* "user" becomes "user@$smtpd_sasl_local_domain". */
static struct str full_name(struct sasl_exchange *x, struct str name)
{
	struct str domain = x->server->params->smtpd_sasl_local_domain;

	if (str_is_empty(domain) || str_has(name, '@'))
		return arena_str(&x->arena, name);
	return arena_printf(&x->arena, "%.*s@%.*s", STR_ARG(name), STR_ARG(domain));
}

static void check(struct sasl_exchange *x, struct str name, struct str password, struct sasl_result *ret)
{
	struct sasl_server *s = x->server;
	struct buf reason = BUF_INIT(1024);
	enum sasl_status status = SASL_TRY_LATER;

	ret->username = full_name(x, name);
	if (str_is_empty(name) || str_is_empty(password) || str_has(name, '\0'))
		status = SASL_FAILED;
	else
		status = password_check(s->state, ret->username, password, &reason);
	ret->detail = arena_str(&x->arena, buf_str(&reason));
	buf_done(&reason);
	if (status == SASL_OK)
		ret->status = SASL_OK;
	else if (status == SASL_FAILED)
		sasl_result_set(x, ret, SASL_FAILED, "authentication failure");
	else
		sasl_result_set(x, ret, SASL_TRY_LATER, "password check is not available");
}

/* "[authzid] NUL name NUL password". Acting for somebody else is not offered. */
static void check_plain(struct sasl_exchange *x, struct str response, struct sasl_result *ret)
{
	struct str authzid, rest, name, password;

	if (sasl_decode(x, response))
		sasl_result_set(x, ret, SASL_MALFORMED, "Invalid base64 data in response");
	else if (!str_split(buf_str(&x->decoded), '\0', &authzid, &rest) || !str_split(rest, '\0', &name, &password) ||
	         str_has(password, '\0'))
		sasl_result_set(x, ret, SASL_MALFORMED, "malformed authentication response");
	else if (!str_is_empty(authzid) && !str_eq(authzid, name))
		sasl_result_set(x, ret, SASL_FAILED, "authentication failure");
	else
		check(x, name, password, ret);
	sasl_wipe(&x->decoded);
}

static void step_login(struct sasl_exchange *x, struct str response, struct sasl_result *ret)
{
	struct login *login = x->state;

	if (sasl_decode(x, response)) {
		sasl_result_set(x, ret, SASL_MALFORMED, "Invalid base64 data in response");
	} else if (!login->has_name) {
		login->has_name = true;
		login->name = arena_str(&x->arena, buf_str(&x->decoded));
		sasl_challenge(x, ret, STR("Password:"));
	} else {
		check(x, login->name, buf_str(&x->decoded), ret);
	}
	sasl_wipe(&x->decoded);
}

static void builtin_step(struct sasl_exchange *x, struct str response, struct sasl_result *ret)
{
	if (x->state)
		step_login(x, response, ret);
	else
		check_plain(x, response, ret);
}

static void builtin_begin(struct sasl_exchange *x, struct str initial, struct sasl_result *ret)
{
	bool is_login = str_eq(x->method, STR("LOGIN"));

	if (is_login)
		x->state = mem_alloc(sizeof(struct login));
	if (initial.ptr)
		builtin_step(x, initial, ret);
	else
		sasl_challenge(x, ret, is_login ? STR("Username:") : STR(""));
}

static void builtin_end(struct sasl_exchange *x)
{
	free(x->state);
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
