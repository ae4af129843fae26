/* SPDX-License-Identifier: Apache-2.0 */
/* MTA-STS in TLS policies. */
#include "role/smtp/sts_policy.h"

#include <errno.h>

#include "mail/mta_sts.h"
#include "role/smtp/lookup_peer.h"

/* --- attributes in policy tables ---------------------------------------------------------- */

static int set_type(struct tls_policy *p, struct str value, struct buf *why)
{
	if (p->has_type) {
		buf_addf(why, "attribute \"policy_type\" is given twice");
		return -EINVAL;
	}
	p->has_type = true;
	if (str_eq_nocase(value, STR("sts")))
		p->type = TLS_POLICY_STS;
	else if (!str_eq_nocase(value, STR("no-policy-found"))) {
		buf_addf(why, "attribute \"policy_type\" is sts or no-policy-found, not \"%.*s\"", STR_ARG(value));
		return -EINVAL;
	}
	return 0;
}

static int set_once(struct str *place, struct str name, struct str value, struct buf *why)
{
	if (place->len) {
		buf_addf(why, "attribute \"%.*s\" is given twice", STR_ARG(name));
		return -EINVAL;
	}
	*place = value;
	return 0;
}

static void add_line(struct str *lines, struct str line, struct arena *a)
{
	*lines = arena_printf(a, "%.*s%s%.*s", STR_ARG(*lines), lines->len ? "\n" : "", STR_ARG(line));
}

int sts_policy_attribute(struct tls_policy *p, struct str name, struct str value, struct arena *a, struct buf *why)
{
	if (str_eq_nocase(name, STR("policy_type")))
		return set_type(p, value, why);
	if (str_eq_nocase(name, STR("policy_ttl")))
		return set_once(&p->policy_ttl, name, value, why);
	if (str_eq_nocase(name, STR("policy_domain")))
		return set_once(&p->policy_domain, name, value, why);
	if (str_eq_nocase(name, STR("policy_failure")))
		return set_once(&p->policy_failure, name, value, why);
	if (str_eq_nocase(name, STR("policy_string")))
		add_line(&p->policy_strings, value, a);
	else if (str_eq_nocase(name, STR("mx_host_pattern")))
		add_line(&p->mx_patterns, value, a);
	else
		return -ENOENT;
	return 0;
}

/* Nobody but the named hosts, and each under its own name. */
static void obey_patterns(struct tls_policy *p)
{
	p->enforces_patterns = true;
	p->match = STR("hostname");
}

int sts_policy_complete(struct tls_policy *p, bool enforces_patterns, struct buf *why)
{
	bool has_more =
		p->policy_ttl.len || p->policy_domain.len || p->policy_failure.len || p->policy_strings.len || p->mx_patterns.len;

	if (has_more && !p->has_type) {
		buf_addf(why, "attributes about a policy need \"policy_type\"");
		return -EINVAL;
	}
	if (p->type == TLS_POLICY_STS && p->mx_patterns.len && p->level >= CLIENT_TLS_VERIFY && enforces_patterns)
		obey_patterns(p);
	return 0;
}

/* --- policies that we find ourselves ------------------------------------------------------- */

bool sts_policy_applies(const struct smtp_settings *s, const struct tls_policy *p)
{
	return s->uses_sts && !p->is_from_table &&
	       (p->level == CLIENT_TLS_MAY || p->level == CLIENT_TLS_ENCRYPT || p->level == CLIENT_TLS_DANE);
}

/* There may be thousands of lines, and their owner is a stranger: all go into one piece of memory. */
static void add_lines(struct tls_policy *p, const struct sts_policy *sts, struct str text, struct arena *a)
{
	struct buf lines = BUF_INIT(STS_POLICY_SIZE_MAX), patterns = BUF_INIT(STS_POLICY_SIZE_MAX);
	struct str line;

	while (str_next(&text, "\r\n", &line))
		buf_addf(&lines, "%s%.*s", lines.len ? "\n" : "", STR_ARG(line));
	for (size_t i = 0; i < sts->mx_count; i++)
		buf_addf(&patterns, "%s%.*s", patterns.len ? "\n" : "", STR_ARG(sts->mx[i]));
	p->policy_strings = arena_str(a, buf_str(&lines));
	p->mx_patterns = arena_str(a, buf_str(&patterns));
	buf_done(&lines);
	buf_done(&patterns);
}

void sts_policy_apply(struct tls_policy *p, struct str text, struct arena *a)
{
	struct buf why = BUF_INIT(256);
	struct sts_policy sts;

	/* The lookup role has read it already, and would not have kept what is no policy. */
	if (!sts_policy_parse(text, a, &sts, &why) && sts.mode != STS_MODE_NONE) {
		p->type = TLS_POLICY_STS;
		p->policy_domain = p->domain;
		add_lines(p, &sts, text, a);
		if (sts.mode == STS_MODE_ENFORCE) {
			p->level = CLIENT_TLS_SECURE;
			obey_patterns(p);
			/* RFC 8461, 9.1 */
			p->servername = STR("hostname");
		} else {
			p->is_sts_test = true;
		}
	}
	buf_done(&why);
}

int sts_policy_find(struct tls_policy *p, struct arena *a, struct buf *why)
{
	struct str text;
	int err = lookup_peer_ask_sts(p->domain, a, &text, &p->policy_failure);

	if (!err)
		sts_policy_apply(p, text, a);
	if (!err || err == -ENOENT || err == -ECANCELED)
		return err == -ENOENT ? 0 : err;
	buf_addf(why, "the lookup service cannot tell whether there is an MTA-STS policy");
	return -EAGAIN;
}

bool sts_policy_names_host(const struct tls_policy *p, struct str host)
{
	struct str rest = p->mx_patterns, pattern;

	if (!rest.len)
		return true;
	while (str_next(&rest, "\n", &pattern))
		if (sts_pattern_matches(pattern, host))
			return true;
	return false;
}
