/* SPDX-License-Identifier: Apache-2.0 */
/* From parameters to the parts of a TLS context. */
#include "net/tls_settings.h"

#include <errno.h>
#include <openssl/ssl.h>

#include "config/config.h"
#include "config/params.h"

static const struct str none = {"none", 4};

/* STARTTLS is optional exactly at level "may", in the new parameter or in the two older ones. */
static bool server_is_mandatory(const struct params *p)
{
	struct str level = p->smtpd_tls_security_level;

	if (p->smtpd_tls_wrappermode)
		return true;
	if (!level.len)
		return p->smtpd_enforce_tls;
	return !str_eq_nocase(level, STR("may")) && !str_eq_nocase(level, none);
}

void tls_settings_server(struct tls_settings *to, const struct view *v)
{
	const struct params *p = v->params;
	bool is_mandatory = server_is_mandatory(p);

	*to = (struct tls_settings){
		.prefix = "smtpd_tls_",
		.chain_files = p->smtpd_tls_chain_files,
		.cert_file = {p->smtpd_tls_cert_file, p->smtpd_tls_eccert_file, p->smtpd_tls_dcert_file},
		.key_file = {p->smtpd_tls_key_file, p->smtpd_tls_eckey_file, p->smtpd_tls_dkey_file},
		.ca_file = p->smtpd_tls_CAfile,
		.ca_path = p->smtpd_tls_CApath,
		.protocols = is_mandatory ? p->smtpd_tls_mandatory_protocols : p->smtpd_tls_protocols,
		.grade = is_mandatory ? p->smtpd_tls_mandatory_ciphers : p->smtpd_tls_ciphers,
		.exclude = {p->smtpd_tls_exclude_ciphers, is_mandatory ? p->smtpd_tls_mandatory_exclude_ciphers : STR("")},
		.dh_file = p->smtpd_tls_dh1024_param_file,
		.verify_depth = p->smtpd_tls_ccert_verifydepth,
		.session_time = p->smtpd_tls_session_cache_timeout,
		.asks_certificate = p->smtpd_tls_ask_ccert || (p->smtpd_tls_req_ccert && is_mandatory),
		.trusts_server_certificates = p->tls_trust_server_ccerts,
		.digest = p->smtpd_tls_fingerprint_digest,
		.is_server = true,
		.is_mandatory = is_mandatory,
	};
	/* Anonymous ciphers would spare the client its certificate. */
	if (to->asks_certificate)
		to->exclude[2] = STR("aNULL");
}

#define CLIENT_SETTINGS(p, x) \
	(struct tls_settings) \
	{ \
		.prefix = #x "_tls_", .chain_files = (p)->x##_tls_chain_files, \
		.cert_file = {(p)->x##_tls_cert_file, (p)->x##_tls_eccert_file, (p)->x##_tls_dcert_file}, \
		.key_file = {(p)->x##_tls_key_file, (p)->x##_tls_eckey_file, (p)->x##_tls_dkey_file}, \
		.ca_file = (p)->x##_tls_CAfile, .ca_path = (p)->x##_tls_CApath, .anchor_files = (p)->x##_tls_trust_anchor_file, \
		.protocols = is_mandatory ? (p)->x##_tls_mandatory_protocols : (p)->x##_tls_protocols, \
		.grade = is_mandatory ? (p)->x##_tls_mandatory_ciphers : (p)->x##_tls_ciphers, \
		.exclude = {(p)->x##_tls_exclude_ciphers, is_mandatory ? (p)->x##_tls_mandatory_exclude_ciphers : STR("")}, \
		.verify_depth = (p)->x##_tls_scert_verifydepth, .session_time = (p)->x##_tls_session_cache_timeout \
	}

void tls_settings_client(struct tls_settings *to, const struct view *v, bool is_mandatory)
{
	bool is_lmtp = v->service && str_eq(v->service->program, STR("lmtp"));

	if (is_lmtp)
		*to = CLIENT_SETTINGS(v->params, lmtp);
	else
		*to = CLIENT_SETTINGS(v->params, smtp);
	to->is_mandatory = is_mandatory;
	if (is_mandatory)
		to->exclude[2] = STR("eNULL");
}

/* Versions in their order; SSLv2 and SSLv3 are long gone and only accepted as names. */
static const struct {
	const char *name;
	int number;
	uint64_t off;
} versions[] = {{"SSLv2", 0x0002, 0},
                {"SSLv3", 0x0300, SSL_OP_NO_SSLv3},
                {"TLSv1", 0x0301, SSL_OP_NO_TLSv1},
                {"TLSv1.1", 0x0302, SSL_OP_NO_TLSv1_1},
                {"TLSv1.2", 0x0303, SSL_OP_NO_TLSv1_2},
                {"TLSv1.3", 0x0304, SSL_OP_NO_TLSv1_3}};
#define FIRST_ALIVE 2

static int version_find(struct str name, size_t *ret_at)
{
	for (*ret_at = 0; *ret_at < COUNT_OF(versions); ++*ret_at) {
		char hex[8];

		snprintf(hex, sizeof(hex), "%04x", (unsigned)versions[*ret_at].number);
		if (str_eq_nocase(name, str_of(versions[*ret_at].name)) || str_eq_nocase(name, str_of(hex)) ||
		    str_eq_nocase(name, str_of(hex + 1)) ||
		    (str_starts_nocase(name, STR("0x")) && str_eq_nocase(str_from(name, 2), str_of(hex))))
			return 0;
	}
	return -EINVAL;
}

struct version_set {
	bool is_excluded[COUNT_OF(versions)];
	bool is_included[COUNT_OF(versions)];
	bool has_included;
	size_t least;
	size_t most;
};

static int version_set_add(struct version_set *set, struct str item, struct buf *why)
{
	bool is_least = str_starts(item, STR(">="));
	bool is_most = str_starts(item, STR("<="));
	bool is_excluded = str_starts(item, STR("!"));
	struct str name = str_from(item, is_least || is_most ? 2 : is_excluded);
	size_t at;

	if (version_find(name, &at)) {
		buf_addf(why, "unknown protocol \"%.*s\": use >=TLSv1.2 and the like (known are TLSv1 TLSv1.1 TLSv1.2 TLSv1.3)",
		         STR_ARG(item));
		return -EINVAL;
	}
	if (is_least) {
		set->least = at;
	} else if (is_most) {
		set->most = at;
	} else if (is_excluded) {
		set->is_excluded[at] = true;
	} else {
		set->has_included = true;
		set->is_included[at] = true;
	}
	return 0;
}

static bool version_set_allows(const struct version_set *set, size_t at)
{
	return at >= set->least && at <= set->most && !set->is_excluded[at] && (!set->has_included || set->is_included[at]);
}

int tls_protocols_parse(struct str list, uint64_t *ret_off, struct buf *why)
{
	struct version_set set = {.least = FIRST_ALIVE, .most = COUNT_OF(versions) - 1};
	uint64_t off = SSL_OP_NO_SSLv3;
	bool is_any = false;
	struct str item;

	while (str_next(&list, " \t\r\n,:", &item)) {
		int err = version_set_add(&set, item, why);

		if (err)
			return err;
	}
	for (size_t at = FIRST_ALIVE; at < COUNT_OF(versions); at++) {
		if (version_set_allows(&set, at))
			is_any = true;
		else
			off |= versions[at].off;
	}
	if (!is_any) {
		buf_addf(why, "the protocol list allows no protocol that still exists: TLSv1 TLSv1.1 TLSv1.2 TLSv1.3");
		return -EINVAL;
	}
	*ret_off = off;
	return 0;
}

int tls_ciphers_format(struct buf *to, const struct tls_settings *s, const struct view *v)
{
	const struct params *p = v->params;

	if (str_eq_nocase(s->grade, STR("high")))
		buf_add(to, p->tls_high_cipherlist);
	else if (str_eq_nocase(s->grade, STR("null")))
		buf_add(to, p->tls_null_cipherlist);
	else if (str_eq_nocase(s->grade, STR("medium")) || str_eq_nocase(s->grade, STR("low")) ||
	         str_eq_nocase(s->grade, STR("export")))
		buf_add(to, p->tls_medium_cipherlist);
	else
		return -EINVAL;
	for (size_t i = 0; i < COUNT_OF(s->exclude); i++) {
		struct str rest = s->exclude[i], item;

		while (str_next(&rest, " \t\r\n,:", &item))
			buf_addf(to, ":!%.*s", STR_ARG(item));
	}
	return buf_check(to);
}

int tls_client_ciphers(struct buf *to, const struct tls_cipher_wish *wish, const struct view *v)
{
	struct tls_settings s;

	tls_settings_client(&s, v, wish->is_mandatory);
	if (wish->grade.len)
		s.grade = wish->grade;
	if (wish->has_exclude) {
		s.exclude[0] = wish->exclude;
		s.exclude[1] = STR("");
	}
	if (wish->is_authenticated)
		s.exclude[2] = STR("aNULL eNULL");
	return tls_ciphers_format(to, &s, v);
}
