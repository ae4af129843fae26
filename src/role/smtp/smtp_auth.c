/* SPDX-License-Identifier: Apache-2.0 */
/* AUTH as a client. */
#include "role/smtp/smtp_auth.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/encoding.h"
#include "config/params.h"
#include "table/table.h"

enum { SECRET_MAX = 4096 };

struct credentials {
	struct str user;
	struct str password;
};

static bool list_has(struct str list, struct str word)
{
	struct str item;

	while (str_next(&list, " \t\r\n,", &item))
		if (str_eq_nocase(item, word))
			return true;
	return false;
}

/* An empty filter lets all pass; "!name" keeps one out, "static:rest" lets the others in. */
static bool filter_allows(struct str filter, struct str mechanism)
{
	struct str item;

	if (!filter.len)
		return true;
	while (str_next(&filter, " \t\r\n,", &item)) {
		bool is_negative = str_starts(item, STR("!"));

		if (str_eq_nocase(str_from(item, is_negative), mechanism))
			return !is_negative;
		if (str_eq_nocase(item, STR("static:rest")) || str_eq_nocase(item, STR("static:all")))
			return true;
	}
	return false;
}

struct str auth_choose(struct str offered, struct str filter, struct str options)
{
	/* In order of preference: what does not show the password comes first. */
	static const struct {
		const char *name;
		bool shows_password;
	} known[] = {{"CRAM-MD5", false}, {"PLAIN", true}, {"LOGIN", true}};

	for (size_t i = 0; i < COUNT_OF(known); i++) {
		struct str name = str_of(known[i].name);
		bool is_barred = (known[i].shows_password && list_has(options, STR("noplaintext"))) ||
		                 list_has(options, STR("nodictionary")) || list_has(options, STR("mutual_auth"));

		if (!is_barred && list_has(offered, name) && filter_allows(filter, name))
			return name;
	}
	return STR("");
}

/* By sender where that is asked for, then by host, then by nexthop as the operator wrote it. -ENOENT: none. */
static int find_credentials(const struct connection *c, const struct connection_wish *wish, struct arena *a,
                            struct credentials *ret)
{
	const struct smtp_settings *s = c->settings;
	struct str keys[] = {s->sasl_by_sender ? wish->sender : STR(""), str_of(c->host), wish->nexthop};
	struct buf why = BUF_INIT(1024);
	struct str value = STR("");
	int err = -ENOENT;

	for (size_t i = 0; err == -ENOENT && i < COUNT_OF(keys); i++)
		if (keys[i].len)
			err = maps_find(s->sasl_passwords, keys[i], false, a, &value, &why);
	buf_done(&why);
	if (err)
		return err;
	if (!s->sasl_delimiter.len || !str_split(value, s->sasl_delimiter.ptr[0], &ret->user, &ret->password))
		*ret = (struct credentials){.user = value, .password = STR("")};
	return ret->user.len ? 0 : -ENOENT;
}

static int put_off(const struct connection *c, struct str text, struct arena *a, struct verdict *v)
{
	*v = (struct verdict){.is_site = true, .dsn = STR("4.7.0"), .text = text};
	v->relay = arena_str(a, str_of(c->relay));
	v->mta = arena_str(a, str_of(c->host));
	return -EHOSTUNREACH;
}

/* Sends one line and reads the reply. */
static int exchange(struct connection *c, struct str line, struct arena *a, struct verdict *v)
{
	int err = stream_write(c->stream, line);

	if (!err)
		err = stream_write(c->stream, STR("\r\n"));
	if (err) {
		connection_lost(c, err, "performing the SASL authentication", a, v);
		return -EHOSTUNREACH;
	}
	err = connection_read(c, c->settings->helo_timeout, "performing the SASL authentication", a, v);
	v->is_site |= err == -EHOSTUNREACH;
	return err;
}

static int exchange_base64(struct connection *c, struct str prefix, struct str bytes, struct arena *a, struct verdict *v)
{
	struct buf line = BUF_INIT(2 * SECRET_MAX);
	int err;

	buf_add(&line, prefix);
	base64_encode(&line, bytes);
	err = exchange(c, buf_str(&line), a, v);
	if (line.ptr)
		explicit_bzero(line.ptr, line.len);
	buf_done(&line);
	return err;
}

static int auth_plain(struct connection *c, const struct credentials *who, struct arena *a, struct verdict *v)
{
	struct buf secret = BUF_INIT(SECRET_MAX);
	int err;

	buf_add_char(&secret, '\0');
	buf_add(&secret, who->user);
	buf_add_char(&secret, '\0');
	buf_add(&secret, who->password);
	err = exchange_base64(c, STR("AUTH PLAIN "), buf_str(&secret), a, v);
	if (secret.ptr)
		explicit_bzero(secret.ptr, secret.len);
	buf_done(&secret);
	return err;
}

static int auth_login(struct connection *c, const struct credentials *who, struct arena *a, struct verdict *v)
{
	int err = exchange(c, STR("AUTH LOGIN"), a, v);

	if (!err && c->reply.code == 334)
		err = exchange_base64(c, STR(""), who->user, a, v);
	if (!err && c->reply.code == 334)
		err = exchange_base64(c, STR(""), who->password, a, v);
	return err;
}

/* RFC 2195: the name, and the challenge's HMAC under the password. */
static int auth_cram_md5(struct connection *c, const struct credentials *who, struct arena *a, struct verdict *v)
{
	struct buf challenge = BUF_INIT(SECRET_MAX), answer = BUF_INIT(SECRET_MAX);
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned size = 0;
	int err = exchange(c, STR("AUTH CRAM-MD5"), a, v);

	if (!err && c->reply.code == 334 && !base64_decode(&challenge, str_trim(str_from(buf_str(&c->reply.text), 4)))) {
		HMAC(EVP_md5(), who->password.ptr, (int)who->password.len, (const unsigned char *)buf_cstr(&challenge),
		     challenge.len, digest, &size);
		buf_add(&answer, who->user);
		buf_add_char(&answer, ' ');
		hex_encode(&answer, str_n((const char *)digest, size));
		err = exchange_base64(c, STR(""), buf_str(&answer), a, v);
	}
	buf_done(&challenge);
	buf_done(&answer);
	return err;
}

static int judge(const struct connection *c, struct arena *a, struct verdict *v)
{
	struct str said = server_reply_text(&c->reply, a);

	if (c->reply.code / 100 == 2)
		return 0;
	(void)put_off(c, arena_printf(a, "SASL authentication failed; server %s said: %.*s", c->peer, STR_ARG(said)), a, v);
	v->diagnostic = said;
	v->dsn = server_reply_dsn(&c->reply, a);
	/* A password that is wrong today may be mended tomorrow. */
	v->is_permanent = c->reply.code >= 500 && !c->settings->sasl_soft_bounce;
	if (!v->is_permanent)
		v->dsn = arena_printf(a, "4%.*s", STR_ARG(str_from(v->dsn, 1)));
	return -EHOSTUNREACH;
}

int smtp_auth(struct connection *c, const struct connection_wish *wish, struct arena *a, struct verdict *v)
{
	const struct smtp_settings *s = c->settings;
	struct str options = stream_tls(c->stream) ? s->sasl_tls_options : s->sasl_options;
	struct credentials who;
	struct str mechanism;
	int err;

	if (!s->sasl_passwords || !(c->ehlo.keywords & EHLO_AUTH))
		return 0;
	err = find_credentials(c, wish, a, &who);
	if (err == -ENOENT)
		return 0;
	if (err)
		return put_off(c, STR("SASL password lookup error"), a, v);
	mechanism = auth_choose(c->auth ? str_of(c->auth) : STR(""), s->sasl_filter, options);
	if (!mechanism.len)
		return put_off(
			c,
			arena_printf(
				a,
				"SASL authentication failed; server %s offered no compatible authentication mechanisms for this "
				"type of connection security",
				c->peer),
			a, v);
	if (str_eq(mechanism, STR("PLAIN")))
		err = auth_plain(c, &who, a, v);
	else if (str_eq(mechanism, STR("LOGIN")))
		err = auth_login(c, &who, a, v);
	else
		err = auth_cram_md5(c, &who, a, v);
	return err ? err : judge(c, a, v);
}
