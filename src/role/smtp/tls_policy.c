/* SPDX-License-Identifier: Apache-2.0 */
/* Reading TLS policies. */
#include "role/smtp/tls_policy.h"

#include <errno.h>

#include "base/log.h"
#include "config/params.h"
#include "net/dns.h"
#include "net/tls.h"
#include "net/tls_settings.h"
#include "role/smtp/smtp_settings.h"
#include "role/smtp/tls_site.h"
#include "role/smtp/sts_policy.h"
#include "table/table.h"

enum { HOST_NAME_MAX_LEN = 253 };

static const char *const level_names[] = {"none", "may", "encrypt", "fingerprint", "dane", "dane-only", "verify", "secure"};

const char *tls_level_name(enum client_tls level)
{
	return level_names[level];
}

int tls_level_parse(struct str word, enum client_tls *ret_level)
{
	for (size_t i = 0; i < COUNT_OF(level_names); i++) {
		if (str_eq_nocase(word, str_of(level_names[i]))) {
			*ret_level = (enum client_tls)i;
			return 0;
		}
	}
	return -EINVAL;
}

static bool is_host_name(struct str name)
{
	bool is_label_empty = true;

	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];

		if (c == '.' ? is_label_empty : !ascii_is_alnum(c) && c != '-' && c != '_')
			return false;
		is_label_empty = c == '.';
	}
	return name.len <= HOST_NAME_MAX_LEN && !is_label_empty;
}

static bool has_match(enum client_tls level)
{
	return level == CLIENT_TLS_FINGERPRINT || level >= CLIENT_TLS_VERIFY;
}

/* A value that may stand there once. */
static int set_once(struct str *place, struct str value, const char *name, struct buf *why)
{
	if (place->len) {
		buf_addf(why, "attribute \"%s\" is given twice", name);
		return -EINVAL;
	}
	*place = value;
	return 0;
}

static int set_match(struct tls_policy *p, struct str value, struct arena *a, struct buf *why)
{
	if (!has_match(p->level)) {
		buf_addf(why, "attribute \"match\" does not go with level \"%s\"", level_names[p->level]);
		return -EINVAL;
	}
	p->match = arena_printf(a, "%.*s %.*s", STR_ARG(p->match), STR_ARG(value));
	return 0;
}

static int add_anchor_file(struct tls_policy *p, struct str value, struct arena *a, struct buf *why)
{
	if (p->level < CLIENT_TLS_VERIFY) {
		buf_addf(why, "attribute \"tafile\" does not go with level \"%s\"", level_names[p->level]);
		return -EINVAL;
	}
	p->anchor_files = arena_printf(a, "%.*s %.*s", STR_ARG(p->anchor_files), STR_ARG(value));
	return 0;
}

static int set_protocols(struct tls_policy *p, struct str value, struct buf *why)
{
	uint64_t off;
	int err = set_once(&p->protocols, value, "protocols", why);

	return err ? err : tls_protocols_parse(value, &off, why);
}

static int set_ciphers(struct tls_policy *p, struct str value, struct buf *why)
{
	static const char *const grades[] = {"export", "low", "medium", "high", "null"};

	for (size_t i = 0; i < COUNT_OF(grades); i++)
		if (str_eq_nocase(value, str_of(grades[i])))
			return set_once(&p->ciphers, value, "ciphers", why);
	buf_addf(why, "bad cipher grade \"%.*s\": use high or medium", STR_ARG(value));
	return -EINVAL;
}

static int set_servername(struct tls_policy *p, struct str value, struct buf *why)
{
	if (is_host_name(value))
		return set_once(&p->servername, value, "servername", why);
	buf_addf(why, "bad servername \"%.*s\"", STR_ARG(value));
	return -EINVAL;
}

static int parse_switch(struct str name, struct str value, bool *ret_on, struct buf *why)
{
	*ret_on = str_eq_nocase(value, STR("yes"));
	if (*ret_on || str_eq_nocase(value, STR("no")))
		return 0;
	buf_addf(why, "attribute \"%.*s\" is yes or no, not \"%.*s\"", STR_ARG(name), STR_ARG(value));
	return -EINVAL;
}

static int take_attribute(struct tls_policy *p, struct str name, struct str value, struct arena *a, struct buf *why)
{
	bool is_on;
	int err = 0;

	if (!value.len) {
		buf_addf(why, "attribute \"%.*s\" has no value", STR_ARG(name));
		return -EINVAL;
	}
	if (str_eq_nocase(name, STR("match")))
		return set_match(p, value, a, why);
	if (str_eq_nocase(name, STR("tafile")))
		return add_anchor_file(p, value, a, why);
	if (str_eq_nocase(name, STR("ciphers")))
		return set_ciphers(p, value, why);
	if (str_eq_nocase(name, STR("protocols")))
		return set_protocols(p, value, why);
	if (str_eq_nocase(name, STR("servername")))
		return set_servername(p, value, why);
	if (str_eq_nocase(name, STR("exclude"))) {
		p->has_exclude = true;
		return set_once(&p->exclude, value, "exclude", why);
	}
	if (str_eq_nocase(name, STR("connection_reuse"))) {
		err = parse_switch(name, value, &is_on, why);
		p->is_never_kept = !err && !is_on;
		return err;
	}
	/* Servers with a raw key alone are not spoken with; all others have a certificate as well. */
	if (str_eq_nocase(name, STR("enable_rpk")))
		return parse_switch(name, value, &is_on, why);
	err = sts_policy_attribute(p, name, value, a, why);
	if (err != -ENOENT)
		return err;
	buf_addf(why, "unknown attribute \"%.*s\"", STR_ARG(name));
	return -EINVAL;
}

int tls_policy_parse(struct str text, struct arena *a, struct tls_policy *ret_policy, struct buf *why)
{
	static const char separators[] = " \t\r\n,";
	struct str word, name, value;
	int err = 0;

	*ret_policy = (struct tls_policy){0};
	if (!str_next(&text, separators, &word) || tls_level_parse(word, &ret_policy->level)) {
		buf_addf(why, "a policy begins with a level: none, may, encrypt, fingerprint, dane, dane-only, verify or secure");
		return -EINVAL;
	}
	while (!err && ret_policy->level != CLIENT_TLS_NONE && str_next_braced(&text, separators, &word)) {
		if (str_starts(word, STR("{")) && str_ends(word, STR("}")))
			word = str_cut(word, 1, word.len - 2);
		if (!str_split(word, '=', &name, &value)) {
			buf_addf(why, "\"%.*s\" is no name=value", STR_ARG(word));
			return -EINVAL;
		}
		err = take_attribute(ret_policy, str_trim(name), str_trim(value), a, why);
	}
	return err;
}

/* The nexthop, and for a bare domain its parents with a dot before them. */
static int find_text(const struct smtp_settings *s, struct str nexthop, struct arena *a, struct str *ret_text, struct buf *why)
{
	int err = maps_find(s->tls_policies, nexthop, false, a, ret_text, why);

	if (str_find_any(nexthop, "[]:/") < nexthop.len)
		return err;
	while (err == -ENOENT) {
		size_t dot = str_find(str_from(nexthop, 1), '.');

		if (!nexthop.len || dot + 1 >= nexthop.len)
			break;
		nexthop = str_from(nexthop, dot + 1);
		err = maps_find(s->tls_policies, nexthop, true, a, ret_text, why);
	}
	return err;
}

/* "[mail.example.org]:587" is about mail.example.org. */
static struct str domain_of(struct str nexthop)
{
	struct str host, port;

	if (str_starts(nexthop, STR("[")))
		return str_cut(nexthop, 1, str_find(nexthop, ']') - 1);
	return str_split(nexthop, ':', &host, &port) ? host : nexthop;
}

/* Where nothing validates, no domain has TLSA records. */
static int check_dane(struct tls_policy *p, const struct smtp_settings *s, struct buf *why)
{
	static bool has_warned;

	if (!s->dane_obstacle.len)
		return 0;
	if (p->level == CLIENT_TLS_DANE_ONLY) {
		buf_addf(why, "level \"dane-only\" cannot be kept: %.*s", STR_ARG(s->dane_obstacle));
		return -EINVAL;
	}
	/* Where the parameters ask for it, it was told at the start. */
	if (!has_warned && !str_eq_nocase(s->tls_level, STR("dane")))
		log_warn("TLS level \"dane\" of a policy is no more than \"may\": %.*s", STR_ARG(s->dane_obstacle));
	has_warned = true;
	p->level = CLIENT_TLS_MAY;
	return 0;
}

/* What the policy leaves open, the parameters say. */
static int complete(struct tls_policy *p, const struct smtp_settings *s, struct buf *why)
{
	struct str rest, item;
	int err = sts_policy_complete(p, s->enforces_sts_patterns, why);

	if (err)
		return err;
	if ((p->level == CLIENT_TLS_DANE || p->level == CLIENT_TLS_DANE_ONLY) && check_dane(p, s, why))
		return -EINVAL;
	if (s->tls_wrapper && p->level < CLIENT_TLS_ENCRYPT) {
		buf_addf(why, "smtp_tls_wrappermode needs smtp_tls_security_level = encrypt, or stronger");
		return -EINVAL;
	}
	if (!p->servername.len)
		p->servername = s->tls_servername;
	if (!has_match(p->level))
		return 0;
	if (!p->match.len)
		p->match = p->level == CLIENT_TLS_FINGERPRINT ? s->tls_fingerprints
		           : p->level == CLIENT_TLS_VERIFY    ? s->tls_verify_match
		                                              : s->tls_secure_match;
	rest = p->match;
	if (!tls_match_next(p, &rest, &item)) {
		buf_addf(why, "level \"%s\" needs something to match", level_names[p->level]);
		return -EINVAL;
	}
	if (p->level != CLIENT_TLS_FINGERPRINT || !tls_digest_check(s->tls_digest))
		return 0;
	buf_addf(why, "smtp_tls_fingerprint_digest: OpenSSL knows no digest \"%.*s\"", STR_ARG(s->tls_digest));
	return -EINVAL;
}

void tls_policy_seal(struct tls_policy *p, struct arena *a)
{
	p->key = arena_printf(a, "%s\n%.*s\n%.*s\n%.*s\n%d%.*s\n%.*s\n%.*s\n%d%.*s", level_names[p->level], STR_ARG(p->match),
	                      STR_ARG(p->ciphers), STR_ARG(p->protocols), p->has_exclude, STR_ARG(p->exclude),
	                      STR_ARG(p->servername), STR_ARG(p->anchor_files), p->enforces_patterns,
	                      STR_ARG(p->enforces_patterns ? p->mx_patterns : STR("")));
}

int tls_policy_find(const struct smtp_settings *s, struct str nexthop, struct arena *a, struct tls_policy *ret_policy,
                    struct buf *why)
{
	return tls_policy_find_for_host(s, nexthop, STR(""), a, ret_policy, why);
}

int tls_policy_find_for_host(const struct smtp_settings *s, struct str nexthop, struct str host, struct arena *a,
                             struct tls_policy *ret_policy, struct buf *why)
{
	struct str key = nexthop, text = s->tls_level;
	bool is_from_table;
	int err = -ENOENT;

	if (s->is_lmtp && (str_starts(key, STR("unix:")) || str_starts(key, STR("inet:"))))
		key = str_from(key, 5);
	if (s->tls_policies && !s->tls_sites)
		err = find_text(s, key, a, &text, why);
	else if (s->tls_sites)
		err = tls_site_level(s, key, host, &text, why);
	if (err && err != -ENOENT)
		return err;
	is_from_table = !err && !s->tls_sites;
	err = tls_policy_parse(text, a, ret_policy, why);
	ret_policy->is_from_table = is_from_table;
	/* Certificates hold the name that the DNS knows. */
	ret_policy->domain = dns_ascii_name(domain_of(key), a);
	if (!err)
		err = complete(ret_policy, s, why);
	tls_policy_seal(ret_policy, a);
	return err;
}

bool tls_match_next(const struct tls_policy *p, struct str *rest, struct str *ret_item)
{
	return str_next(rest, p->level == CLIENT_TLS_FINGERPRINT ? " \t\r\n,|" : " \t\r\n,:", ret_item);
}
