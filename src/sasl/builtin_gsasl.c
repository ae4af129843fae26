/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SCRAM-SHA-1 and -SHA-256 with and without channel binding (RFC 5802, 7677, 9266), CRAM-MD5 and ANONYMOUS, by
 * libgsasl. The library asks for secrets from inside a step; what takes long (deriving keys from a
 * password) is done on a helper thread before the step that needs it.
 */
#include <errno.h>
#include <gsasl.h>
#include <stdlib.h>
#include <string.h>

#include "base/encoding.h"
#include "fiber/fiber.h"
#include "sasl/builtin.h"

struct dialogue {
	struct sasl_exchange *exchange;
	Gsasl_session *session;
	enum secret_kind kind;
	bool is_plus, is_bound; /* the mechanism, and whether the client could have had one with channel binding */
	struct scram_lookup scram;
	bool has_name;    /* and was looked up */
	bool is_verified; /* the client has still to take note of our proof */
	int table_error;
	struct str username;
	struct buf reason; /* of the table */
};

static Gsasl *library;

/* --- what the library asks ------------------------------------------------------------------------- */

static void find_scram(struct dialogue *d)
{
	struct builtin *b = d->exchange->server->state;
	const char *name = gsasl_property_fast(d->session, GSASL_AUTHID);

	if (d->has_name || !name)
		return;
	d->has_name = true;
	d->username = builtin_full_name(d->exchange, str_of(name));
	d->table_error = password_find_scram(b->store, d->username, d->kind, &d->scram, &d->reason);
}

static int give_base64(struct dialogue *d, Gsasl_property property, const void *bytes, size_t size)
{
	struct buf text = BUF_INIT(1024);
	int result;

	base64_encode(&text, str_n(bytes, size));
	result = gsasl_property_set(d->session, property, buf_cstr(&text));
	sasl_wipe(&text);
	return result;
}

static int give_iterations(struct dialogue *d)
{
	struct buf text = BUF_INIT(32);
	int result;

	buf_addf(&text, "%u", d->scram.keys.iterations);
	result = gsasl_property_set(d->session, GSASL_SCRAM_ITER, buf_cstr(&text));
	buf_done(&text);
	return result;
}

/* The password itself, which CRAM-MD5 needs. */
static int give_password(struct dialogue *d)
{
	struct builtin *b = d->exchange->server->state;
	const char *name = gsasl_property_fast(d->session, GSASL_AUTHID);
	struct secret secret = {0};
	int result = GSASL_NO_PASSWORD;

	if (!name)
		return GSASL_NO_AUTHID;
	d->username = builtin_full_name(d->exchange, str_of(name));
	d->table_error = password_find(b->store, d->username, &secret, &d->reason);
	if (d->table_error == -ENOENT)
		d->table_error = 0;
	if (secret.kind == SECRET_PLAIN && secret.text[0])
		result = gsasl_property_set(d->session, GSASL_PASSWORD, secret.text);
	explicit_bzero(&secret, sizeof(secret));
	return result;
}

static int give_scram(struct dialogue *d, Gsasl_property property)
{
	const struct scram_keys *k = &d->scram.keys;

	find_scram(d);
	if (!d->has_name || d->table_error)
		return GSASL_NO_CALLBACK;
	switch (property) {
	case GSASL_SCRAM_ITER:
		return give_iterations(d);
	case GSASL_SCRAM_SALT:
		return give_base64(d, property, k->salt, k->salt_size);
	case GSASL_SCRAM_STOREDKEY:
		return give_base64(d, property, k->stored_key, k->key_size);
	default:
		return give_base64(d, property, k->server_key, k->key_size);
	}
}

static int give(Gsasl *unused, Gsasl_session *session, Gsasl_property property)
{
	struct dialogue *d = gsasl_session_hook_get(session);
	const struct sasl_peer *peer = &d->exchange->peer;

	switch (property) {
	case GSASL_SCRAM_ITER:
	case GSASL_SCRAM_SALT:
	case GSASL_SCRAM_STOREDKEY:
	case GSASL_SCRAM_SERVERKEY:
		return give_scram(d, property);
	case GSASL_CB_TLS_EXPORTER:
	case GSASL_CB_TLS_UNIQUE:
		/* A client that says it saw no mechanism with channel binding is right only if none was offered. */
		if (!d->is_bound || peer->is_exporter != (property == GSASL_CB_TLS_EXPORTER))
			return GSASL_NO_CALLBACK;
		return give_base64(d, property, peer->binding.ptr, peer->binding.len);
	case GSASL_PASSWORD:
		return d->kind == SECRET_PLAIN ? give_password(d) : GSASL_NO_CALLBACK;
	case GSASL_VALIDATE_ANONYMOUS:
		d->username = STR("anonymous");
		return GSASL_OK;
	default:
		return GSASL_NO_CALLBACK;
	}
}

/* --- exchanges ------------------------------------------------------------------------------------------ */

int gsasl_open(struct buf *why)
{
	int result = library ? GSASL_OK : gsasl_init(&library);

	if (result != GSASL_OK) {
		buf_addf(why, "libgsasl does not start: %s", gsasl_strerror(result));
		return -ENOTSUP;
	}
	gsasl_callback_set(library, give);
	return 0;
}

void gsasl_begin(struct sasl_exchange *x, const struct builtin_mechanism *m)
{
	struct dialogue *d = mem_alloc(sizeof(*d));
	struct str plus = m->flags & MECHANISM_BINDING ? x->method : arena_printf(&x->arena, "%s-PLUS", m->name);

	x->state = d;
	d->exchange = x;
	d->kind = m->kind;
	d->reason = BUF_INIT(1024);
	d->is_plus = m->flags & MECHANISM_BINDING;
	d->is_bound = x->peer.binding.len && sasl_is_usable(x->server, &x->peer, plus);
	if (gsasl_server_start(library, m->name, &d->session) != GSASL_OK)
		d->session = NULL;
	else
		gsasl_session_hook_set(d->session, d);
}

void gsasl_end(struct sasl_exchange *x)
{
	struct dialogue *d = x->state;

	if (d->session)
		gsasl_finish(d->session);
	buf_done(&d->reason);
	explicit_bzero(d, sizeof(*d));
	free(d);
	x->state = NULL;
}

static void derive_on_thread(void *arg)
{
	struct dialogue *d = arg;

	scram_derive(d->kind, str_of(d->scram.password), &d->scram.keys);
}

static bool is_scram(const struct dialogue *d)
{
	return d->kind == SECRET_SCRAM_SHA_1 || d->kind == SECRET_SCRAM_SHA_256;
}

/* Acting for somebody else is not offered. */
static bool is_for_itself(struct dialogue *d)
{
	const char *name = gsasl_property_fast(d->session, GSASL_AUTHID), *other = gsasl_property_fast(d->session, GSASL_AUTHZID);

	return !other || !other[0] || (name && !strcmp(name, other));
}

static void finish(struct sasl_exchange *x, int result, struct str out, struct sasl_result *ret)
{
	struct dialogue *d = x->state;

	ret->username = d->username;
	if (d->table_error) {
		ret->detail = arena_str(&x->arena, buf_str(&d->reason));
		sasl_result_set(x, ret, SASL_TRY_LATER, "password check is not available");
	} else if (result == GSASL_NEEDS_MORE) {
		sasl_challenge(x, ret, out);
	} else if (result == GSASL_OK && (!is_scram(d) || d->scram.is_known) && is_for_itself(d)) {
		d->is_verified = true;
		if (out.len)
			sasl_challenge(x, ret, out);
		else
			ret->status = SASL_OK;
	} else if (result == GSASL_MECHANISM_PARSE_ERROR || result == GSASL_BASE64_ERROR) {
		sasl_result_set(x, ret, SASL_MALFORMED, "malformed authentication response");
	} else {
		sasl_result_set(x, ret, SASL_FAILED, "authentication failure");
	}
}

void gsasl_answer(struct sasl_exchange *x, struct str response, struct sasl_result *ret)
{
	struct dialogue *d = x->state;
	char *out = NULL;
	size_t size = 0;
	int result;

	if (!d->session) {
		sasl_result_set(x, ret, SASL_TRY_LATER, "the mechanism is not available");
		return;
	}
	if (sasl_decode(x, response)) {
		sasl_result_set(x, ret, SASL_MALFORMED, "Invalid base64 data in response");
		return;
	}
	if (d->is_verified) {
		ret->username = d->username;
		if (!x->decoded.len)
			ret->status = SASL_OK;
		else
			sasl_result_set(x, ret, SASL_MALFORMED, "malformed authentication response");
		return;
	}
	if (d->scram.must_derive) {
		d->scram.must_derive = false;
		fiber_work(derive_on_thread, d);
	}
	/* libgsasl takes an absent response for the wish to be asked. */
	result = gsasl_step(d->session, x->decoded.ptr, x->decoded.len, &out, &size);
	sasl_wipe(&x->decoded);
	finish(x, result, str_n(out, size), ret);
	gsasl_free(out);
}
