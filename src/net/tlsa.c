/* SPDX-License-Identifier: Apache-2.0 */
/* Reading TLSA records and choosing among them. */
#include "net/tlsa.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

enum { HEAD_SIZE = 3, USAGE_TA = 2, USAGE_EE = 3, SELECTOR_CERT = 0, SELECTOR_KEY = 1, MATCHING_FULL = 0 };

/* What IANA has registered; others need their number in the list. */
static const struct {
	const char *name;
	uint8_t matching;
} registered[] = {{"sha256", 1}, {"sha512", 2}};

static const struct tlsa_digest *digest_find(const struct tlsa_digests *digests, uint8_t matching)
{
	for (size_t i = 0; i < digests->count; i++)
		if (digests->list[i].matching == matching)
			return &digests->list[i];
	return NULL;
}

static int digest_number(struct str item, struct str name, struct str number, uint8_t *ret_matching, struct buf *why)
{
	unsigned long long value = 0;

	for (size_t i = 0; i < COUNT_OF(registered); i++)
		if (str_eq_nocase(name, str_of(registered[i].name)))
			value = registered[i].matching;
	if (number.len) {
		unsigned long long known = value;

		if (str_parse_u64(number, &value) || !value || value > UINT8_MAX || (known && known != value)) {
			buf_addf(why, "\"%.*s\": the number of the matching type is wrong", STR_ARG(item));
			return -EINVAL;
		}
	} else if (!value) {
		buf_addf(why, "\"%.*s\" is no registered matching type: use sha512 and sha256", STR_ARG(item));
		return -EINVAL;
	}
	*ret_matching = (uint8_t)value;
	return 0;
}

static int digests_add(struct tlsa_digests *digests, struct str item, struct buf *why)
{
	struct tlsa_digest d = {0};
	struct str name = item, number = STR("");
	const EVP_MD *md;
	int err;

	(void)str_split(item, '=', &name, &number);
	err = digest_number(item, name, number, &d.matching, why);
	if (err)
		return err;
	snprintf(d.name, sizeof(d.name), "%.*s", STR_ARG(name));
	md = name.len < sizeof(d.name) ? EVP_get_digestbyname(d.name) : NULL;
	if (!md || digest_find(digests, d.matching) || digests->count == TLSA_DIGESTS_MAX) {
		buf_addf(why, "\"%.*s\" is %s", STR_ARG(item), md ? "given twice" : "no digest that OpenSSL knows");
		return -EINVAL;
	}
	d.size = (size_t)EVP_MD_get_size(md);
	digests->list[digests->count++] = d;
	return 0;
}

int tlsa_digests_parse(struct str text, struct tlsa_digests *ret_digests, struct buf *why)
{
	struct tlsa_digests digests = {0};
	struct str item;
	int err = 0;

	while (!err && str_next(&text, " \t\r\n,", &item))
		err = digests_add(&digests, item, why);
	if (!err && !digests.count) {
		buf_addf(why, "no digest is named: use sha512 and sha256");
		err = -EINVAL;
	}
	if (!err)
		*ret_digests = digests;
	return err;
}

int tlsa_decode(struct str rdata, struct tlsa *ret_record)
{
	if (rdata.len <= HEAD_SIZE)
		return -EBADMSG;
	*ret_record = (struct tlsa){.usage = (uint8_t)rdata.ptr[0],
	                            .selector = (uint8_t)rdata.ptr[1],
	                            .matching = (uint8_t)rdata.ptr[2],
	                            .data = str_from(rdata, HEAD_SIZE)};
	return 0;
}

/* Is the data a whole certificate or public key, and nothing behind it? */
static bool is_whole(const struct tlsa *r)
{
	const unsigned char *at = (const unsigned char *)r->data.ptr, *end = at + r->data.len;
	bool is_good;

	if (r->selector == SELECTOR_CERT) {
		X509 *x = d2i_X509(NULL, &at, (long)r->data.len);

		is_good = x && X509_get0_pubkey(x) && at == end;
		X509_free(x);
	} else {
		EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)r->data.len);

		is_good = key && at == end;
		EVP_PKEY_free(key);
	}
	ERR_clear_error();
	return is_good;
}

const char *tlsa_unusable(const struct tlsa *r, const struct tlsa_digests *digests)
{
	const struct tlsa_digest *d = digest_find(digests, r->matching);

	/* Usages 0 and 1 speak of public authorities, which SMTP does not ask (RFC 7672, 3.1.3). */
	if (r->usage != USAGE_TA && r->usage != USAGE_EE)
		return "its usage is neither 2 nor 3";
	if (r->selector != SELECTOR_CERT && r->selector != SELECTOR_KEY)
		return "its selector is unknown";
	if (r->matching == MATCHING_FULL)
		return is_whole(r) ? NULL : "its data is no certificate or public key";
	if (!d)
		return "its matching type is none of tls_dane_digests";
	return d->size == r->data.len ? NULL : "its digest has the wrong length";
}

static size_t rank(const struct tlsa *r, const struct tlsa_digests *digests)
{
	return (size_t)(digest_find(digests, r->matching) - digests->list);
}

static bool is_outranked(const struct tlsa *r, const struct tlsa *all, size_t count, const struct tlsa_digests *digests)
{
	for (size_t i = 0; i < count && r->matching != MATCHING_FULL; i++)
		if (all[i].usage == r->usage && all[i].selector == r->selector && all[i].matching != MATCHING_FULL &&
		    rank(&all[i], digests) < rank(r, digests))
			return true;
	return false;
}

size_t tlsa_select(struct tlsa *records, size_t count, const struct tlsa_digests *digests)
{
	size_t usable = 0, kept = 0;

	for (size_t i = 0; i < count; i++)
		if (!tlsa_unusable(&records[i], digests))
			records[usable++] = records[i];
	/* What is kept already outranks nothing that comes later but by its digest, so it may stand in its new place. */
	for (size_t i = 0; i < usable; i++) {
		bool is_weak = is_outranked(&records[i], records, kept, digests) ||
		               is_outranked(&records[i], records + i, usable - i, digests);

		if (!is_weak)
			records[kept++] = records[i];
	}
	return kept;
}

void tlsa_format(struct buf *to, const struct tlsa *r)
{
	buf_addf(to, "%u %u %u ", r->usage, r->selector, r->matching);
	for (size_t i = 0; i < r->data.len; i++)
		buf_addf(to, "%02X", (unsigned char)r->data.ptr[i]);
}
