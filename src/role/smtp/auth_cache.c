/* SPDX-License-Identifier: Apache-2.0 */
/* Refusals by digest of server, user and password. */
#include "role/smtp/auth_cache.h"

#include <openssl/evp.h>

#include "base/base.h"
#include "base/buf.h"
#include "base/map.h"

enum { ENTRIES_MAX = 1000, ATTEMPT_MAX = 64 * 1024 };

struct refusal {
	struct instant until;
	char *reply;
};

static struct map refusals;

static struct str key_of(const struct auth_attempt *t, unsigned char digest[EVP_MAX_MD_SIZE])
{
	struct buf text = BUF_INIT(ATTEMPT_MAX);
	unsigned size = 0;

	buf_add_lstr(&text, t->host);
	buf_add_lstr(&text, t->user);
	buf_add_lstr(&text, t->secret);
	if (buf_check(&text) || !EVP_Digest(text.ptr, text.len, digest, &size, EVP_sha256(), NULL))
		size = 0;
	if (text.ptr)
		explicit_bzero(text.ptr, text.len);
	buf_done(&text);
	return str_n((const char *)digest, size);
}

static void refusal_free(struct refusal *r)
{
	if (r)
		free(r->reply);
	free(r);
}

struct str auth_cache_find(const struct auth_attempt *t)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	struct str key = key_of(t, digest);
	struct refusal *r = map_find(&refusals, key);

	if (!r)
		return STR("");
	if (!instant_is_before(r->until, clock_now()))
		return str_of(r->reply);
	refusal_free(map_remove(&refusals, key));
	return STR("");
}

void auth_cache_forget(void)
{
	size_t at = 0;
	struct str key;
	void *r;

	while (map_next(&refusals, &at, &key, &r))
		refusal_free(r);
	map_done(&refusals);
	refusals = MAP_INIT;
}

void auth_cache_add(const struct auth_attempt *t, struct str reply, struct duration hold)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	struct str key = key_of(t, digest);
	struct refusal *r = mem_alloc(sizeof(*r));

	/* So many wrong passwords have no one host to be protected. */
	if (map_count(&refusals) >= ENTRIES_MAX)
		auth_cache_forget();
	*r = (struct refusal){.until = clock_deadline(hold), .reply = str_cstr(reply)};
	refusal_free(map_set(&refusals, key, r));
}
