/* SPDX-License-Identifier: Apache-2.0 */
/* Checking passwords against what the tables hold. */
#include "sasl/password.h"

#include <crypt.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/random.h"
#include "config/config.h"
#include "config/params.h"
#include "fiber/fiber.h"
#include "table/table.h"

enum { PASSWORD_MAX = 1024, KINDS = SECRET_SCRAM_SHA_256 + 1, SALT_KEY_SIZE = 32, SALT_SIZE = 16, ITERATIONS = 4096 };

struct password_store {
	struct maps *maps;
	struct str local_domain;
	struct secret usual; /* names that do not exist are treated like it */
	struct {
		uint32_t iterations;
		size_t salt_size;
	} usual_scram[KINDS];
	unsigned char salt_key[SALT_KEY_SIZE];
	size_t counts[KINDS];
	bool is_walked; /* every table was */
};

/* What a helper thread needs, and nothing else. */
struct hashing {
	struct crypt_data data;
	char password[PASSWORD_MAX + 1];
	struct secret secret;
	bool is_match;
	bool is_usable; /* crypt(3) knows the method */
};

/* --- the tables ------------------------------------------------------------------------------- */

static bool note_entry(struct str key, struct str value, void *arg)
{
	struct password_store *ps = arg;
	struct secret secret;

	if (!secret_parse(value, &secret)) {
		bool is_fit = secret.kind != SECRET_CRYPT || secret.text[0] == '$';

		ps->counts[secret.kind]++;
		if (is_fit && !ps->usual.kind)
			ps->usual = secret;
		if (secret.scram.iterations && !ps->usual_scram[secret.kind].iterations) {
			ps->usual_scram[secret.kind].iterations = secret.scram.iterations;
			ps->usual_scram[secret.kind].salt_size = secret.scram.salt_size;
		}
	} else {
		ps->counts[SECRET_NONE]++;
	}
	explicit_bzero(&secret, sizeof(secret));
	return true;
}

static void walk(struct password_store *ps)
{
	ps->is_walked = maps_count(ps->maps) > 0;
	for (size_t i = 0; i < KINDS; i++) {
		ps->usual_scram[i].iterations = 0;
		ps->usual_scram[i].salt_size = SALT_SIZE;
	}
	for (size_t i = 0; i < maps_count(ps->maps); i++)
		if (table_walk(maps_table(ps->maps, i), note_entry, ps))
			ps->is_walked = false;
	if (ps->usual.kind)
		return;
	ps->usual.kind = SECRET_CRYPT;
	if (!crypt_gensalt_rn(NULL, 0, NULL, 0, ps->usual.text, sizeof(ps->usual.text)))
		memcpy(ps->usual.text, "$6$0123456789abcdef$", 21);
}

/*
 * Salts of names that do not exist must stay the same, also over a restart: the key for them comes from what this
 * machine has and no stranger knows.
 */
static void make_salt_key(struct password_store *ps)
{
	static const char purpose[] = "postrider: salts of unknown names";
	char id[64];
	int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);
	ssize_t size = fd >= 0 ? read(fd, id, sizeof(id)) : 0;

	if (fd >= 0)
		close(fd);
	if (size < 32 || !HMAC(EVP_sha256(), id, (int)size, (const unsigned char *)purpose, sizeof(purpose), ps->salt_key, NULL))
		random_bytes(ps->salt_key, sizeof(ps->salt_key));
}

int password_store_new(const struct view *v, struct password_store **ret_store, struct buf *why)
{
	struct password_store *ps = mem_alloc(sizeof(*ps));
	struct buf inner = BUF_INIT(4096);
	int err = maps_open(v->params->smtpd_sasl_builtin_maps, TABLE_FOLD, v, &ps->maps, &inner);

	if (err) {
		buf_addf(why, "smtpd_sasl_builtin_maps: %s", buf_cstr(&inner));
		buf_done(&inner);
		free(ps);
		return err;
	}
	buf_done(&inner);
	ps->local_domain = v->params->smtpd_sasl_local_domain;
	make_salt_key(ps);
	walk(ps);
	*ret_store = ps;
	return 0;
}

void password_store_free(struct password_store *ps)
{
	if (!ps)
		return;
	maps_close(ps->maps);
	explicit_bzero(ps, sizeof(*ps));
	free(ps);
}

bool password_store_has_changed(const struct password_store *ps)
{
	return maps_have_changed(ps->maps);
}

bool password_store_is_empty(const struct password_store *ps)
{
	return maps_is_empty(ps->maps);
}

bool password_store_is_fit_for(const struct password_store *ps, enum secret_kind kind)
{
	size_t fit = ps->counts[kind], all = 0;

	if (kind == SECRET_SCRAM_SHA_1 || kind == SECRET_SCRAM_SHA_256)
		fit += ps->counts[SECRET_PLAIN];
	for (size_t i = 0; i < KINDS; i++)
		all += ps->counts[i];
	return ps->is_walked && fit > 0 && fit == all;
}

static void wipe_value(struct str value)
{
	if (value.len)
		explicit_bzero((char *)(uintptr_t)value.ptr, value.len);
}

int password_find(struct password_store *ps, struct str username, struct secret *ret_secret, struct buf *reason)
{
	struct arena a = ARENA_INIT;
	struct str user, domain, value = {0};
	int err = maps_find(ps->maps, username, false, &a, &value, reason);

	if (err == -ENOENT && str_split(username, '@', &user, &domain) && !str_is_empty(domain) &&
	    str_eq_nocase(domain, ps->local_domain))
		err = maps_find(ps->maps, user, false, &a, &value, reason);
	if (!err) {
		err = secret_parse(value, ret_secret);
		if (err)
			buf_add(reason, STR("the stored password is neither a crypt(3) hash nor a secret of a known scheme"));
	}
	wipe_value(value);
	arena_done(&a);
	return err;
}

/* --- checking --------------------------------------------------------------------------------- */

/* Compares without stopping at the first difference. */
static bool is_equal(const char *a, size_t a_len, const char *b, size_t b_len)
{
	return a_len == b_len && CRYPTO_memcmp(a, b, a_len) == 0;
}

static void check_crypt(struct hashing *h)
{
	const char *made = crypt_rn(h->password, h->secret.text, &h->data, sizeof(h->data));

	h->is_usable = made && made[0] != '*';
	h->is_match = h->is_usable && is_equal(made, strlen(made), h->secret.text, strlen(h->secret.text));
}

static void check_scram(struct hashing *h)
{
	struct scram_keys keys = h->secret.scram;

	scram_derive(h->secret.kind, str_of(h->password), &keys);
	h->is_usable = true;
	h->is_match = CRYPTO_memcmp(keys.stored_key, h->secret.scram.stored_key, keys.key_size) == 0;
	explicit_bzero(&keys, sizeof(keys));
}

static void hash_on_thread(void *arg)
{
	struct hashing *h = arg;

	if (h->secret.kind == SECRET_CRYPT)
		check_crypt(h);
	else
		check_scram(h);
}

static void check(struct hashing *h)
{
	const struct secret *s = &h->secret;

	if (s->kind != SECRET_PLAIN) {
		fiber_work(hash_on_thread, h);
		return;
	}
	h->is_usable = true;
	h->is_match = is_equal(h->password, strlen(h->password), s->text, strlen(s->text));
}

static enum sasl_status judge(const struct hashing *h, bool is_known, struct buf *reason)
{
	if (!is_known)
		return SASL_FAILED;
	if (!h->is_usable) {
		buf_add(reason, STR("the stored password is no hash that crypt(3) knows"));
		return SASL_TRY_LATER;
	}
	return h->is_match ? SASL_OK : SASL_FAILED;
}

/* A locked account ("!", "*"), or none at all. */
static bool is_locked(const struct secret *s)
{
	return (s->kind == SECRET_CRYPT && (strlen(s->text) < 2 || s->text[0] == '!' || s->text[0] == '*')) ||
	       (s->kind == SECRET_PLAIN && !s->text[0]);
}

/* Of a name that does not exist, or whose password is stored in clear. */
static void make_salt(const struct password_store *ps, struct str username, enum secret_kind kind, struct scram_keys *keys)
{
	struct buf text = BUF_INIT(8192);
	unsigned char mac[EVP_MAX_MD_SIZE];

	for (size_t i = 0; i < username.len; i++)
		buf_add_char(&text, ascii_lower(username.ptr[i]));
	buf_add_u8(&text, (uint8_t)kind);
	if (!HMAC(EVP_sha512(), ps->salt_key, sizeof(ps->salt_key), (const unsigned char *)text.ptr, text.len, mac, NULL))
		die("HMAC failed");
	buf_done(&text);
	keys->salt_size = ps->usual_scram[kind].salt_size;
	memcpy(keys->salt, mac, keys->salt_size);
	keys->iterations = ps->usual_scram[kind].iterations ? ps->usual_scram[kind].iterations : ITERATIONS;
	keys->key_size = kind == SECRET_SCRAM_SHA_1 ? 20 : 32;
}

int password_find_scram(struct password_store *ps, struct str username, enum secret_kind kind, struct scram_lookup *ret_lookup,
                        struct buf *reason)
{
	struct scram_lookup *l = ret_lookup;
	struct secret secret = {0};
	int err = password_find(ps, username, &secret, reason);

	if (err && err != -ENOENT)
		return err;
	*l = (struct scram_lookup){0};
	make_salt(ps, username, kind, &l->keys);
	random_bytes(l->keys.stored_key, sizeof(l->keys.stored_key));
	random_bytes(l->keys.server_key, sizeof(l->keys.server_key));
	if (!err && secret.kind == kind) {
		l->keys = secret.scram;
		l->is_known = true;
	} else if (!err && secret.kind == SECRET_PLAIN && secret.text[0]) {
		memcpy(l->password, secret.text, sizeof(l->password));
		l->is_known = l->must_derive = true;
	} else if (ps->usual.kind == SECRET_PLAIN) {
		/* As long as for a name that exists; what comes out fits no password of any client. */
		random_bytes(l->password, 16);
		l->must_derive = true;
	}
	explicit_bzero(&secret, sizeof(secret));
	return 0;
}

enum sasl_status password_check(struct password_store *ps, struct str username, struct str password, struct buf *reason)
{
	struct hashing *h = mem_alloc(sizeof(*h));
	enum sasl_status status;
	int err = password_find(ps, username, &h->secret, reason);
	bool is_known = err == 0 && !is_locked(&h->secret);

	if (err && err != -ENOENT) {
		explicit_bzero(h, sizeof(*h));
		free(h);
		return SASL_TRY_LATER;
	}
	/* What cannot be is refused after the same work. */
	if (password.len > PASSWORD_MAX || str_has(password, '\0')) {
		is_known = false;
		password = STR("");
	}
	if (password.len)
		memcpy(h->password, password.ptr, password.len);
	if (!is_known)
		h->secret = ps->usual;
	check(h);
	status = judge(h, is_known, reason);
	explicit_bzero(h, sizeof(*h));
	free(h);
	return status;
}
