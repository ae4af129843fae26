/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OAUTHBEARER (RFC 7628) and XOAUTH2: an access token in place of a password. A client that is
 * refused gets a challenge that tells why, answers it with anything, and then hears the refusal.
 */
#include <stdlib.h>

#include "sasl/builtin.h"

struct dialogue {
	bool is_refused;
	struct str username; /* that the refused token named */
	struct str detail;
};

struct message {
	struct str user; /* for whom; may be empty for OAUTHBEARER */
	struct str token;
};

/* "=2C" and "=3D" of a saslname (RFC 5801). */
static bool unescape(struct arena *a, struct str text, struct str *ret_name)
{
	char *out = arena_alloc(a, text.len + 1);
	size_t len = 0;

	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];

		if (c == '=') {
			struct str code = str_cut(text, i, 3);

			if (!str_eq(code, STR("=2C")) && !str_eq(code, STR("=3D")))
				return false;
			c = code.ptr[1] == '2' ? ',' : '=';
			i += 2;
		}
		out[len++] = c;
	}
	*ret_name = str_n(out, len);
	return true;
}

/* "n,a=user," in front of the pairs. */
static bool take_gs2_head(struct str *rest, struct arena *a, struct message *ret)
{
	struct str flag, name;

	if (!str_split(*rest, ',', &flag, rest) || (!str_eq(flag, STR("n")) && !str_eq(flag, STR("y"))) ||
	    !str_split(*rest, ',', &name, rest))
		return false;
	if (str_is_empty(name))
		return true;
	return str_starts(name, STR("a=")) && unescape(a, str_from(name, 2), &ret->user);
}

static bool take_pair(struct str pair, struct message *ret)
{
	struct str name, value;

	if (!str_split(pair, '=', &name, &value))
		return false;
	if (str_eq_nocase(name, STR("auth"))) {
		if (ret->token.ptr || !str_starts_nocase(value, STR("Bearer ")))
			return false;
		ret->token = str_trim(str_from(value, 7));
	} else if (str_eq_nocase(name, STR("user")) && !ret->user.ptr) {
		ret->user = value;
	}
	return true;
}

/* Pairs, each ended by a byte 1, and one more of these. */
static bool parse(struct str text, bool has_gs2_head, struct arena *a, struct message *ret)
{
	struct str pair;

	*ret = (struct message){0};
	if (has_gs2_head && (!take_gs2_head(&text, a, ret) || !str_split(text, '\1', &pair, &text) || !str_is_empty(pair)))
		return false;
	while (str_split(text, '\1', &pair, &text)) {
		if (str_is_empty(pair))
			return str_is_empty(text) && !str_is_empty(ret->token) && (has_gs2_head || !str_is_empty(ret->user));
		if (!take_pair(pair, ret))
			return false;
	}
	return false;
}

static void refuse(struct sasl_exchange *x, struct sasl_result *ret)
{
	const struct builtin *b = x->server->state;
	struct dialogue *d = x->state;
	struct buf text = BUF_INIT(4096);

	d->is_refused = true;
	oauth_format_error(b->oauth, &text);
	sasl_challenge(x, ret, buf_str(&text));
	buf_done(&text);
}

static void judge(struct sasl_exchange *x, const struct message *m, struct sasl_result *ret)
{
	const struct builtin *b = x->server->state;
	struct dialogue *d = x->state;
	struct buf reason = BUF_INIT(1024);
	struct str owner = {0}, user = m->user;
	enum sasl_status status = oauth_check(b->oauth, m->token, &x->arena, &owner, &reason);

	if (status == SASL_OK) {
		owner = builtin_full_name(x, owner);
		if (!str_is_empty(user) && !str_eq_nocase(builtin_full_name(x, user), owner)) {
			status = SASL_FAILED;
			buf_addf(&reason, "the token belongs to %.*s", STR_ARG(owner));
		}
	}
	d->detail = ret->detail = arena_str(&x->arena, buf_str(&reason));
	d->username = ret->username = owner.len ? owner : arena_str(&x->arena, user);
	buf_done(&reason);
	if (status == SASL_OK)
		ret->status = SASL_OK;
	else if (status == SASL_FAILED)
		refuse(x, ret);
	else
		sasl_result_set(x, ret, SASL_TRY_LATER, "the token cannot be checked now");
}

void oauth_begin(struct sasl_exchange *x, const struct builtin_mechanism *m)
{
	x->state = mem_alloc(sizeof(struct dialogue));
}

void oauth_step(struct sasl_exchange *x, struct str response, struct sasl_result *ret)
{
	struct dialogue *d = x->state;
	struct message m;

	if (d->is_refused) {
		ret->username = d->username;
		ret->detail = d->detail;
		sasl_result_set(x, ret, SASL_FAILED, "authentication failure");
	} else if (sasl_decode(x, response)) {
		sasl_result_set(x, ret, SASL_MALFORMED, "Invalid base64 data in response");
	} else if (!parse(buf_str(&x->decoded), str_eq(x->method, STR("OAUTHBEARER")), &x->arena, &m)) {
		sasl_result_set(x, ret, SASL_MALFORMED, "malformed authentication response");
	} else {
		judge(x, &m, ret);
	}
	sasl_wipe(&x->decoded);
}

void oauth_end(struct sasl_exchange *x)
{
	free(x->state);
	x->state = NULL;
}
