/* SPDX-License-Identifier: Apache-2.0 */
/* PLAIN (RFC 4616) and LOGIN. */
#include <stdlib.h>

#include "sasl/builtin.h"

/* Of a LOGIN exchange: the name, once it has come. */
struct login {
	bool has_name;
	struct str name;
};

static void check(struct sasl_exchange *x, struct str name, struct str password, struct sasl_result *ret)
{
	struct builtin *b = x->server->state;
	struct buf reason = BUF_INIT(1024);
	enum sasl_status status = SASL_TRY_LATER;

	ret->username = builtin_full_name(x, name);
	if (str_is_empty(name) || str_is_empty(password) || str_has(name, '\0'))
		status = SASL_FAILED;
	else
		status = password_check(b->store, ret->username, password, &reason);
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
void plain_step(struct sasl_exchange *x, struct str response, struct sasl_result *ret)
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

void login_begin(struct sasl_exchange *x, const struct builtin_mechanism *m)
{
	x->state = mem_alloc(sizeof(struct login));
}

void login_step(struct sasl_exchange *x, struct str response, struct sasl_result *ret)
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

void login_end(struct sasl_exchange *x)
{
	free(x->state);
}
