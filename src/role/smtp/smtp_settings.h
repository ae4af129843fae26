/* SPDX-License-Identifier: Apache-2.0 */
/* What the client needs of a transport's view, picked from the smtp_ or the lmtp_ parameters, read once. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "net/tlsa.h"
#include "role/smtp/tls_policy.h"

struct config;
struct params;
struct service;
struct view;
struct maps;
struct match_list;
struct requiretls_policy;
struct tls_context;

struct smtp_settings {
	const struct params *params;
	const struct view *view;
	bool is_lmtp;
	struct str tag; /* of log lines: "postfix/smtp" */
	struct str helo_name;
	struct duration connect_timeout;
	struct duration helo_timeout;
	struct duration starttls_timeout;
	struct duration mail_timeout;
	struct duration rcpt_timeout;
	struct duration data_init_timeout;
	struct duration data_xfer_timeout;
	struct duration data_done_timeout;
	struct duration quit_timeout;
	struct duration cache_time;
	struct duration reuse_time;
	int64_t reuse_count;
	bool caches_on_demand;
	int64_t address_limit;
	int64_t session_limit;
	int64_t line_limit;
	uint16_t port;
	bool wants_v4;
	bool wants_v6;
	struct str address_preference;
	bool has_bind_v4;
	bool has_bind_v6;
	struct sockaddr_storage bind_v4;
	struct sockaddr_storage bind_v6;
	struct str fallback_relay;
	struct str discard_keywords;
	bool uses_dns; /* MX records */
	bool uses_dnssec;
	unsigned dns_search; /* DNS_SEARCH_... */
	bool asks_dns;       /* for addresses */
	bool asks_hosts;     /* the hosts file, for addresses */
	bool randomizes;
	bool balances;
	bool sends_ehlo;
	bool never_sends_ehlo;
	bool skips_5xx_greeting;
	bool skips_quit_reply;
	struct maps *sasl_passwords; /* NULL when the client logs in nowhere */
	struct str sasl_delimiter;
	struct str sasl_token_command;  /* lookup runs it; empty: none */
	struct match_list *sasl_filter; /* NULL: all mechanisms */
	unsigned sasl_demands;          /* in clear; enum sasl_demand */
	unsigned sasl_tls_demands;
	unsigned sasl_verified_demands; /* inside TLS with a server that is the one wanted */
	bool sasl_by_sender;
	bool sasl_soft_bounce;
	struct duration sasl_cache_time; /* how long refused logins are remembered; 0: they are not */
	bool sends_mail_auth;            /* AUTH=<> behind MAIL once logged in */
	struct str tls_level;            /* where no table has a policy */
	struct maps *tls_policies;
	struct maps *tls_sites;           /* NULL where there are policies, which take its place */
	struct duration tls_session_time; /* 0: sessions are not kept */
	bool tls_blocks_early_reply;
	struct str tls_servername;
	struct str tls_verify_match;
	struct str tls_secure_match;
	struct str tls_fingerprints;
	struct str tls_digest;
	bool tls_wrapper;
	struct requiretls_policy *requiretls; /* NULL: it is off */
	bool reports_tls;                     /* RFC 8460 */
	bool reports_no_reuse;                /* but for sessions that were resumed */
	bool uses_sts;                        /* finds MTA-STS policies itself */
	bool enforces_sts_patterns;           /* of those that tables tell */
	bool tls_notes_offer;
	bool logs_tls_status;        /* tls= of delivery lines */
	unsigned tls_log_parts;      /* enum tls_log_part, where no table says otherwise */
	struct maps *tls_log_levels; /* by nexthop, host and address */
	int64_t tls_trace_limit;
	struct duration tls_fallback_age; /* older mail may go in clear when a handshake fails */
	struct tls_context *tls_may;      /* NULL when there is none */
	struct tls_context *tls_encrypt;
	bool tls_is_broken;       /* it is wanted, but cannot be had */
	struct str dane_obstacle; /* why no TLSA record is looked for; empty: they are */
	struct str dane_insecure_mx;
	bool dane_forces_lookup;
	struct tlsa_digests tlsa_digests;
};

/*
 * Reads the settings of all smtp and lmtp services. Fails with what is wrong; broken TLS files are
 * no failure, but deliveries that need TLS will say so.
 */
[[nodiscard]] int smtp_settings_load(const struct config *c, struct buf *why);
/* Those of a transport of master.cf; NULL if it is none of ours. */
const struct smtp_settings *smtp_settings_find(struct str transport);
void smtp_settings_free(void);
