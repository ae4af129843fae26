/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_sni.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/list.h"
#include "base/map.h"
#include "net/net_internal.h"
#include "net/tls_keys.h"

/* So many chains that were found on demand are kept: a pattern table may have one for every name there is. */
enum { FOUND_MAX = 256, PEM_SIZE_MAX = 1 << 20, NAME_SIZE_MAX = 255, LABEL_SIZE_MAX = 63 };

struct sni_chain {
	struct list link;
	char *key;
	char *files;               /* NULL: found on demand */
	struct tls_chains *chains; /* NULL: its files have never been good */
};

struct tls_sni {
	tls_sni_find_fn *find;
	void *arg;
	struct list all;
	struct map by_key;
	size_t found_count;
};

struct tls_sni *tls_sni_new(tls_sni_find_fn *find, void *arg)
{
	struct tls_sni *sni = mem_alloc(sizeof(*sni));

	sni->find = find;
	sni->arg = arg;
	list_init(&sni->all);
	return sni;
}

static void chain_remove(struct tls_sni *sni, struct sni_chain *c)
{
	list_remove(&c->link);
	(void)map_remove(&sni->by_key, str_of(c->key));
	sni->found_count -= !c->files;
	tls_chains_free(c->chains);
	free(c->key);
	free(c->files);
	free(c);
}

void tls_sni_free(struct tls_sni *sni)
{
	if (!sni)
		return;
	LIST_EACH(&sni->all, it)
		chain_remove(sni, LIST_ENTRY(it, struct sni_chain, link));
	map_done(&sni->by_key);
	free(sni);
}

static void forget_found(struct tls_sni *sni)
{
	LIST_EACH(&sni->all, it) {
		struct sni_chain *c = LIST_ENTRY(it, struct sni_chain, link);

		if (!c->files)
			chain_remove(sni, c);
	}
}

static struct sni_chain *chain_add(struct tls_sni *sni, struct str key, struct str files, struct tls_chains *chains)
{
	struct sni_chain *c = mem_alloc(sizeof(*c));

	*c = (struct sni_chain){.key = str_cstr(key), .files = files.len ? str_cstr(files) : NULL, .chains = chains};
	sni->found_count += !c->files;
	list_add(&sni->all, &c->link);
	(void)map_set(&sni->by_key, str_of(c->key), c);
	return c;
}

static int read_files(struct str list, const struct tls_files *files, struct tls_chains **ret_chains, struct buf *why)
{
	struct tls_settings s = {.prefix = "tls_server_sni_maps: ", .chain_files = list, .files = files};
	int err = tls_chains_read(&s, ret_chains, why);

	if (!err && !tls_chains_count(*ret_chains)) {
		buf_addf(why, "%.*s: holds no private key in PEM format", STR_ARG(list));
		tls_chains_free(*ret_chains);
		err = -EINVAL;
	}
	return err;
}

int tls_sni_add_files(struct tls_sni *sni, struct str key, struct str files, struct buf *why)
{
	struct tls_chains *chains = NULL;
	int err;

	if (map_find(&sni->by_key, key))
		return 0;
	err = read_files(files, NULL, &chains, why);
	(void)chain_add(sni, key, files, err ? NULL : chains);
	return err;
}

int tls_sni_renew(struct tls_sni *sni, const struct tls_files *files, struct buf *why)
{
	int first_err = 0;

	forget_found(sni);
	LIST_EACH(&sni->all, it) {
		struct sni_chain *c = LIST_ENTRY(it, struct sni_chain, link);
		struct buf reason = BUF_INIT(2000);
		struct tls_chains *chains;
		int err = read_files(str_of(c->files), files, &chains, &reason);

		if (!err) {
			tls_chains_free(c->chains);
			c->chains = chains;
		} else {
			buf_addf(why, "%s%s", why->len ? "; " : "", buf_cstr(&reason));
			first_err = first_err ? first_err : err;
		}
		buf_done(&reason);
	}
	return first_err;
}

static bool is_host_name(struct str name)
{
	struct str rest = name, label, after;

	if (!name.len || name.len > NAME_SIZE_MAX)
		return false;
	do {
		if (!str_split(rest, '.', &label, &after)) {
			label = rest;
			after = STR("");
		} else if (!after.len) {
			return false;
		}
		if (!label.len || label.len > LABEL_SIZE_MAX || label.ptr[0] == '-' || label.ptr[label.len - 1] == '-')
			return false;
		for (size_t i = 0; i < label.len; i++)
			if (!ascii_is_alnum(label.ptr[i]) && label.ptr[i] != '-' && label.ptr[i] != '_')
				return false;
		rest = after;
	} while (rest.len);
	return true;
}

/* Asks the tables for one key. 0, -ENOENT, or another error with words in `why`. */
static int find_on_demand(struct tls_sni *sni, struct str key, struct sni_chain **ret_chain, struct buf *why)
{
	struct tls_sni_value value = {.pem = BUF_INIT(PEM_SIZE_MAX), .files = BUF_INIT(PEM_SIZE_MAX)};
	int err = sni->find(sni->arg, key, &value, why);
	struct tls_chains *chains;

	if (!err && value.files.len)
		err = read_files(buf_str(&value.files), NULL, &chains, why);
	else if (!err)
		err = tls_chains_parse(buf_str(&value.pem), key, &chains, why);
	/* The table knew the name; that a file behind it is missing is another thing. */
	if (err == -ENOENT && why->len)
		err = -EINVAL;
	buf_done(&value.pem);
	buf_done(&value.files);
	if (err)
		return err;
	if (sni->found_count >= FOUND_MAX)
		forget_found(sni);
	*ret_chain = chain_add(sni, key, STR(""), chains);
	return 0;
}

static int find_key(struct tls_sni *sni, struct str key, struct sni_chain **ret_chain, struct buf *why)
{
	*ret_chain = map_find(&sni->by_key, key);
	if (!*ret_chain)
		return find_on_demand(sni, key, ret_chain, why);
	if ((*ret_chain)->chains)
		return 0;
	buf_addf(why, "the chain files of %.*s are broken", STR_ARG(key));
	return -EINVAL;
}

/* The name itself, then ".parent" and upwards. */
static int find_name(struct tls_sni *sni, struct str name, struct sni_chain **ret_chain, struct buf *why)
{
	int err = find_key(sni, name, ret_chain, why);

	while (err == -ENOENT) {
		size_t dot = name.len ? str_find(str_from(name, 1), '.') + 1 : 0;

		if (dot == 0 || dot >= name.len)
			break;
		name = str_from(name, dot);
		err = find_key(sni, name, ret_chain, why);
	}
	return err;
}

static int choose(struct tls_sni *sni, SSL *ssl, struct str name, struct stream_tls *t)
{
	char lower[NAME_SIZE_MAX];
	struct buf why = BUF_INIT(sizeof(t->why));
	struct sni_chain *chain;
	int err;

	for (size_t i = 0; i < name.len; i++)
		lower[i] = ascii_lower(name.ptr[i]);
	err = find_name(sni, str_n(lower, name.len), &chain, &why);
	if (!err && tls_chains_use_for(chain->chains, ssl)) {
		buf_addf(&why, "OpenSSL refuses the certificate");
		err = -EINVAL;
	}
	if (err && err != -ENOENT)
		snprintf(t->why, sizeof(t->why), "%s", buf_cstr(&why));
	buf_done(&why);
	return err;
}

static int on_name(SSL *ssl, int *alert, void *arg)
{
	struct stream_tls *t = SSL_get_app_data(ssl);
	struct str name = str_of(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
	int err;

	if (!name.len)
		return SSL_TLSEXT_ERR_NOACK;
	if (!is_host_name(name)) {
		t->sni_fate = TLS_SNI_INVALID;
		return SSL_TLSEXT_ERR_NOACK;
	}
	err = choose(arg, ssl, name, t);
	/* The table may have waited, and other connections failed meanwhile: what they left would be taken for our failure. */
	ERR_clear_error();
	t->sni_fate = !err ? TLS_SNI_MATCHED : err == -ENOENT ? TLS_SNI_UNKNOWN : TLS_SNI_BROKEN;
	if (!err)
		return SSL_TLSEXT_ERR_OK;
	if (err == -ENOENT)
		return SSL_TLSEXT_ERR_NOACK;
	*alert = SSL_AD_INTERNAL_ERROR;
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

void tls_sni_use(struct tls_sni *sni, SSL_CTX *ctx)
{
	SSL_CTX_set_tlsext_servername_callback(ctx, on_name);
	SSL_CTX_set_tlsext_servername_arg(ctx, sni);
}
