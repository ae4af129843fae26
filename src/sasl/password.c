/* SPDX-License-Identifier: Apache-2.0 */
/* Checking passwords against crypt(3) hashes. */
#include "sasl/password.h"

#include <crypt.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "config/params.h"
#include "fiber/fiber.h"
#include "table/table.h"

enum { HASH_MAX = 384, PASSWORD_MAX = 1024 };

struct password_store {
	struct maps *maps;
	struct str local_domain;
	/* A setting such as the tables use: names that do not exist are hashed with it. */
	char usual_hash[HASH_MAX];
};

/* What a helper thread needs, and nothing else. */
struct hashing {
	struct crypt_data data;
	char password[PASSWORD_MAX + 1];
	char hash[HASH_MAX];
	bool is_match;
	bool is_usable; /* crypt(3) knows the method */
};

/* The hash without "{SHA512-CRYPT}" and the like; empty for schemes that are not crypt(3). */
static struct str bare_hash(struct str value)
{
	static const char *const schemes[] = {"{CRYPT}",     "{SHA512-CRYPT}", "{SHA256-CRYPT}",
	                                      "{BLF-CRYPT}", "{MD5-CRYPT}",    "{YESCRYPT}"};

	value = str_trim(value);
	if (str_is_empty(value) || value.ptr[0] != '{')
		return value;
	for (size_t i = 0; i < COUNT_OF(schemes); i++)
		if (str_starts_nocase(value, str_of(schemes[i])))
			return str_from(value, strlen(schemes[i]));
	return STR("");
}

static bool keep_usual_hash(struct str key, struct str value, void *arg)
{
	struct password_store *ps = arg;
	struct str hash = bare_hash(value);

	if (hash.len < 4 || hash.len >= HASH_MAX || hash.ptr[0] != '$')
		return true;
	memcpy(ps->usual_hash, hash.ptr, hash.len);
	return false;
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
	for (size_t i = 0; i < maps_count(ps->maps) && !ps->usual_hash[0]; i++)
		(void)!table_walk(maps_table(ps->maps, i), keep_usual_hash, ps);
	if (!ps->usual_hash[0] && !crypt_gensalt_rn(NULL, 0, NULL, 0, ps->usual_hash, sizeof(ps->usual_hash)))
		memcpy(ps->usual_hash, "$6$0123456789abcdef$", 21);
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

/* Reads all bytes whatever they hold. */
static bool is_equal_in_constant_time(const char *a, const char *b, size_t len)
{
	unsigned char difference = 0;

	for (size_t i = 0; i < len; i++)
		difference |= (unsigned char)(a[i] ^ b[i]);
	return difference == 0;
}

static void hash_on_thread(void *arg)
{
	struct hashing *h = arg;
	const char *made = crypt_rn(h->password, h->hash, &h->data, sizeof(h->data));
	size_t len = strlen(h->hash);

	h->is_usable = made && made[0] != '*';
	h->is_match = h->is_usable && strlen(made) == len && is_equal_in_constant_time(made, h->hash, len);
}

/* The hash of the name, or of the name without its local domain. 0, -ENOENT, or a table's error. */
static int find_hash(struct password_store *ps, struct str username, struct arena *a, struct str *ret_hash, struct buf *reason)
{
	struct str user, domain;
	int err = maps_find(ps->maps, username, false, a, ret_hash, reason);

	if (err == -ENOENT && str_split(username, '@', &user, &domain) && !str_is_empty(domain) &&
	    str_eq_nocase(domain, ps->local_domain))
		err = maps_find(ps->maps, user, false, a, ret_hash, reason);
	return err;
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

static void wipe_value(struct str value)
{
	if (value.len)
		explicit_bzero((char *)(uintptr_t)value.ptr, value.len);
}

enum sasl_status password_check(struct password_store *ps, struct str username, struct str password, struct buf *reason)
{
	struct arena a = ARENA_INIT;
	struct str value = {0}, hash;
	struct hashing *h;
	enum sasl_status status;
	int err = find_hash(ps, username, &a, &value, reason);
	bool is_known = err == 0;

	if (err && err != -ENOENT) {
		arena_done(&a);
		return SASL_TRY_LATER;
	}
	hash = bare_hash(value);
	/* A locked account ("!", "*"), no hash, or a password that cannot be: refused, after the same work. */
	if (is_known && (hash.len < 2 || hash.len >= HASH_MAX || hash.ptr[0] == '!' || hash.ptr[0] == '*'))
		is_known = false;
	if (password.len > PASSWORD_MAX || str_has(password, '\0')) {
		is_known = false;
		password = STR("");
	}
	h = mem_alloc(sizeof(*h));
	memcpy(h->password, password.ptr ? password.ptr : "", password.len);
	if (is_known)
		memcpy(h->hash, hash.ptr, hash.len);
	else
		memcpy(h->hash, ps->usual_hash, sizeof(ps->usual_hash));
	wipe_value(value);
	arena_done(&a);
	fiber_work(hash_on_thread, h);
	status = judge(h, is_known, reason);
	explicit_bzero(h, sizeof(*h));
	free(h);
	return status;
}
