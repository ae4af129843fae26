/* SPDX-License-Identifier: Apache-2.0 */
/* From the views of the smtp and lmtp services to settings. */
#include "role/smtp/smtp_settings.h"

#include <errno.h>

#include "base/log.h"
#include "base/map.h"
#include "config/config.h"
#include "config/params.h"
#include "net/dns.h"
#include "net/ip.h"
#include "net/tls.h"
#include "net/tls_log.h"
#include "role/smtp/auth_cache.h"
#include "sasl/access_token.h"
#include "sasl/client.h"
#include "role/smtp/requiretls.h"
#include "table/table.h"

enum { TOKEN_COMMAND_MAX = 8192 };

static struct map all; /* transport name: struct smtp_settings */

/* The parameters of both clients differ in their prefix, and a few in their name. */
#define PICK(name) (s->is_lmtp ? p->lmtp_##name : p->smtp_##name)

static void read_limits(struct smtp_settings *s, const struct params *p)
{
	s->connect_timeout = PICK(connect_timeout);
	if (!s->connect_timeout.ns)
		s->connect_timeout = duration_s(300);
	s->helo_timeout = s->is_lmtp ? p->lmtp_lhlo_timeout : p->smtp_helo_timeout;
	s->starttls_timeout = PICK(starttls_timeout);
	s->mail_timeout = PICK(mail_timeout);
	s->rcpt_timeout = PICK(rcpt_timeout);
	s->data_init_timeout = PICK(data_init_timeout);
	s->data_xfer_timeout = PICK(data_xfer_timeout);
	s->data_done_timeout = PICK(data_done_timeout);
	s->quit_timeout = PICK(quit_timeout);
	s->cache_time = PICK(connection_cache_time_limit);
	s->reuse_time = PICK(connection_reuse_time_limit);
	s->reuse_count = PICK(connection_reuse_count_limit);
	s->caches_on_demand = PICK(connection_cache_on_demand);
	s->address_limit = PICK(mx_address_limit);
	s->session_limit = PICK(mx_session_limit);
	s->line_limit = PICK(line_length_limit);
}

static void read_habits(struct smtp_settings *s, const struct params *p)
{
	s->helo_name = s->is_lmtp ? p->lmtp_lhlo_name : p->smtp_helo_name;
	s->fallback_relay = PICK(fallback_relay);
	s->discard_keywords = s->is_lmtp ? p->lmtp_discard_lhlo_keywords : p->smtp_discard_ehlo_keywords;
	s->randomizes = PICK(randomize_addresses);
	s->balances = PICK(balance_inet_protocols);
	s->sends_ehlo = s->is_lmtp || p->smtp_always_send_ehlo;
	s->never_sends_ehlo = !s->is_lmtp && p->smtp_never_send_ehlo;
	s->skips_5xx_greeting = PICK(skip_5xx_greeting);
	s->skips_quit_reply = PICK(skip_quit_response);
	s->address_preference = PICK(address_preference);
}

static int read_bind_address(const char *name, struct str text, bool *ret_has, struct sockaddr_storage *ret_address,
                             struct buf *why)
{
	struct str bare = str_starts(text, STR("[")) && str_ends(text, STR("]")) ? str_cut(text, 1, text.len - 2) : text;

	*ret_has = text.len > 0;
	if (!text.len || !ip_parse(bare, 0, ret_address))
		return 0;
	buf_addf(why, "%s: \"%.*s\" is no IP address", name, STR_ARG(text));
	return -EINVAL;
}

static int read_network(struct smtp_settings *s, const struct params *p, struct buf *why)
{
	struct str lookup = PICK(host_lookup), level = PICK(dns_support_level), port = PICK(tcp_port);
	int err;

	s->uses_dns = level.len ? !str_eq_nocase(level, STR("disabled")) : !p->disable_dns_lookups;
	if (str_list_has(PICK(dns_resolver_options), STR("res_defnames")))
		s->dns_search |= DNS_SEARCH_SINGLE;
	if (str_list_has(PICK(dns_resolver_options), STR("res_dnsrch")))
		s->dns_search |= DNS_SEARCH_ALL;
	s->asks_dns = s->uses_dns && str_list_has(lookup, STR("dns"));
	s->asks_hosts = !s->asks_dns || str_list_has(lookup, STR("native"));
	s->wants_v4 = config_allows_protocol(p->inet_protocols, STR("ipv4"));
	s->wants_v6 = config_allows_protocol(p->inet_protocols, STR("ipv6"));
	if (ip_parse_port(port, &s->port)) {
		buf_addf(why, "%s_tcp_port: unknown port \"%.*s\"", s->is_lmtp ? "lmtp" : "smtp", STR_ARG(port));
		return -EINVAL;
	}
	err = read_bind_address(s->is_lmtp ? "lmtp_bind_address" : "smtp_bind_address", PICK(bind_address), &s->has_bind_v4,
	                        &s->bind_v4, why);
	return err ? err
	           : read_bind_address(s->is_lmtp ? "lmtp_bind_address6" : "smtp_bind_address6", PICK(bind_address6),
	                               &s->has_bind_v6, &s->bind_v6, why);
}

/* An empty level falls back to the two switches of old. */
static struct str tls_level(struct smtp_settings *s, const struct params *p)
{
	struct str level = PICK(tls_security_level);

	if (level.len)
		return level;
	if (PICK(enforce_tls))
		return PICK(tls_enforce_peername) ? STR("verify") : STR("encrypt");
	return PICK(use_tls) ? STR("may") : STR("none");
}

static void read_tls_names(struct smtp_settings *s, const struct params *p)
{
	s->tls_servername = PICK(tls_servername);
	s->tls_verify_match = PICK(tls_verify_cert_match);
	s->tls_secure_match = PICK(tls_secure_cert_match);
	s->tls_fingerprints = PICK(tls_fingerprint_cert_match);
	s->tls_digest = PICK(tls_fingerprint_digest);
}

static void read_tls_contexts(struct smtp_settings *s)
{
	struct buf why = BUF_INIT(4096);

	if (str_eq_nocase(s->tls_level, STR("none")) && maps_is_empty(s->tls_policies) && !s->tls_sites && !s->tls_wrapper)
		return;
	if (!tls_client_context_new(s->view, false, &s->tls_may, &why))
		(void)!tls_client_context_new(s->view, true, &s->tls_encrypt, &why);
	s->tls_is_broken = !s->tls_encrypt;
	if (why.len)
		log_warn("%.*s: TLS is not available: %s", STR_ARG(s->tag), buf_cstr(&why));
	buf_done(&why);
}

static int read_tls(struct smtp_settings *s, const struct params *p, struct buf *why)
{
	struct str log_level = PICK(tls_loglevel);
	bool is_good;
	int err =
		maps_open(PICK(tls_policy_maps), TABLE_FOLD | TABLE_SURROGATE | TABLE_NO_REGSUB, s->view, &s->tls_policies, why);

	if (!err && p->requiretls_enable)
		err = requiretls_policy_open(PICK(requiretls_policy), TABLE_FOLD | TABLE_SURROGATE, s->view, &s->requiretls, why);
	if (err)
		return err;
	if (PICK(tls_loglevel_maps).len)
		err = maps_open(PICK(tls_loglevel_maps), TABLE_FOLD | TABLE_SURROGATE | TABLE_NO_REGSUB, s->view,
		                &s->tls_log_levels, why);
	if (!err && maps_is_empty(s->tls_policies) && PICK(tls_per_site).len)
		err = maps_open(PICK(tls_per_site), TABLE_FOLD | TABLE_SURROGATE | TABLE_NO_REGSUB, s->view, &s->tls_sites, why);
	if (err)
		return err;
	s->tls_level = tls_level(s, p);
	s->tls_wrapper = PICK(tls_wrappermode);
	s->tls_blocks_early_reply = PICK(tls_block_early_mail_reply);
	if (PICK(tls_session_cache_database).len)
		s->tls_session_time = PICK(tls_session_cache_timeout);
	if (PICK(tls_enable_rpk))
		log_warn("%.*s: this OpenSSL knows no raw public keys: servers are asked for certificates", STR_ARG(s->tag));
	s->reports_tls = PICK(tlsrpt_enable);
	s->reports_no_reuse = PICK(tlsrpt_skip_reused_handshakes);
	s->uses_sts = !s->is_lmtp && p->smtp_mta_sts;
	s->enforces_sts_patterns = PICK(tls_enforce_sts_mx_patterns);
	s->tls_notes_offer = PICK(tls_note_starttls_offer);
	s->logs_tls_status = PICK(log_tls_feature_status);
	s->tls_log_parts = tls_log_parse(log_level, &is_good);
	if (!is_good)
		log_warn("%.*s: bad TLS loglevel \"%.*s\", taken for 0", STR_ARG(s->tag), STR_ARG(log_level));
	s->tls_trace_limit = PICK(tls_trace_size_limit);
	s->tls_fallback_age = p->minimal_backoff_time;
	read_tls_names(s, p);
	read_tls_contexts(s);
	return 0;
}

static void set_obstacle(struct smtp_settings *s, struct str why)
{
	if (!s->dane_obstacle.len)
		s->dane_obstacle = str_of(str_cstr(why));
}

/* What stands in the way of DANE: answers must be validated, and nothing else than the DNS may have told them. */
static void find_obstacles(struct smtp_settings *s, const struct params *p)
{
	struct str level = PICK(dns_support_level);
	struct buf why = BUF_INIT(4096);

	if (!str_eq_nocase(level, STR("dnssec")))
		buf_addf(&why, "%s_dns_support_level is not dnssec", s->is_lmtp ? "lmtp" : "smtp");
	else if (!dns_use_dnssec(s->view, &why))
		s->uses_dnssec = true;
	if (!why.len && !s->asks_dns)
		buf_addf(&why, "%s_host_lookup has no dns", s->is_lmtp ? "lmtp" : "smtp");
	if (!why.len && p->ignore_mx_lookup_error)
		buf_addf(&why, "ignore_mx_lookup_error is yes");
	if (!why.len && s->dns_search)
		buf_addf(&why, "%s_dns_resolver_options add domains to names", s->is_lmtp ? "lmtp" : "smtp");
	if (!why.len) {
		buf_addf(&why, "tls_dane_digests: ");
		if (!tlsa_digests_parse(p->tls_dane_digests, &s->tlsa_digests, &why))
			buf_reset(&why);
	}
	if (why.len)
		set_obstacle(s, buf_str(&why));
	buf_done(&why);
}

static void read_dane(struct smtp_settings *s, const struct params *p)
{
	bool is_wanted = str_eq_nocase(s->tls_level, STR("dane")) || str_eq_nocase(s->tls_level, STR("dane-only"));

	s->dane_insecure_mx = s->is_lmtp ? STR("dane") : p->smtp_tls_dane_insecure_mx_policy;
	s->dane_forces_lookup = PICK(tls_force_insecure_host_tlsa_lookup);
	find_obstacles(s, p);
	if (s->dane_obstacle.len && is_wanted)
		log_warn("%.*s: TLS level \"%.*s\" %s: %.*s", STR_ARG(s->tag), STR_ARG(s->tls_level),
		         str_eq_nocase(s->tls_level, STR("dane")) ? "is no more than \"may\"" : "lets mail wait",
		         STR_ARG(s->dane_obstacle));
	else if (!s->uses_dnssec && str_eq_nocase(PICK(dns_support_level), STR("dnssec")))
		log_warn("%.*s: %.*s", STR_ARG(s->tag), STR_ARG(s->dane_obstacle));
}

static struct str log_tag_of(const struct params *p, bool is_lmtp)
{
	struct buf tag = BUF_INIT(300);
	char *text;

	buf_addf(&tag, "%.*s/%s", STR_ARG(p->syslog_name), is_lmtp ? "lmtp" : "smtp");
	text = buf_take(&tag);
	return str_of(text);
}

static int read_demands(const char *name, struct str list, unsigned *ret_demands, const struct smtp_settings *s, struct buf *why)
{
	struct buf reason = BUF_INIT(1024);
	int err = sasl_demands_parse(list, ret_demands, &reason);

	if (err)
		buf_addf(why, "%s_%s: %s", s->is_lmtp ? "lmtp" : "smtp", name, buf_cstr(&reason));
	buf_done(&reason);
	return err;
}

static int read_mechanisms(struct smtp_settings *s, const struct params *p, struct buf *why)
{
	struct str type = PICK(sasl_type), filter = PICK(sasl_mechanism_filter);
	int err = 0;

	/* "cyrus" is what configurations say; the mechanisms are the same. */
	if (!str_eq_nocase(type, STR("cyrus")) && !str_eq_nocase(type, STR("builtin"))) {
		buf_addf(why, "%s_sasl_type: \"%.*s\" is unknown: use cyrus or builtin", s->is_lmtp ? "lmtp" : "smtp",
		         STR_ARG(type));
		return -EINVAL;
	}
	if (filter.len)
		err = match_list_open(filter, MATCH_STRING, TABLE_SURROGATE, s->view, &s->sasl_filter, why);
	if (!err)
		err = read_demands("sasl_security_options", PICK(sasl_security_options), &s->sasl_demands, s, why);
	if (!err)
		err = read_demands("sasl_tls_security_options", PICK(sasl_tls_security_options), &s->sasl_tls_demands, s, why);
	if (!err)
		err = read_demands("sasl_tls_verified_security_options", PICK(sasl_tls_verified_security_options),
		                   &s->sasl_verified_demands, s, why);
	return err;
}

/* The lookup role takes it apart for each login; what is wrong with it is told at the start. */
static int read_token_command(struct smtp_settings *s, const struct params *p, struct buf *why)
{
	struct buf arguments = BUF_INIT(TOKEN_COMMAND_MAX), reason = BUF_INIT(TOKEN_COMMAND_MAX);
	int err = 0;

	s->sasl_token_command = str_trim(PICK(sasl_token_command));
	if (s->sasl_token_command.len)
		err = token_command_parse(s->sasl_token_command, STR("user"), &arguments, &reason);
	if (err)
		buf_addf(why, "%s_sasl_token_command: %s", s->is_lmtp ? "lmtp" : "smtp", buf_cstr(&reason));
	buf_done(&arguments);
	buf_done(&reason);
	return err;
}

static int read_sasl(struct smtp_settings *s, const struct view *v, struct buf *why)
{
	const struct params *p = v->params;
	int err;

	if (!PICK(sasl_auth_enable))
		return 0;
	s->sasl_delimiter = PICK(sasl_password_result_delimiter);
	s->sasl_by_sender = PICK(sender_dependent_authentication);
	s->sasl_soft_bounce = PICK(sasl_auth_soft_bounce);
	s->sends_mail_auth = PICK(send_dummy_mail_auth);
	if (PICK(sasl_auth_cache_name).len)
		s->sasl_cache_time = PICK(sasl_auth_cache_time);
	err = read_mechanisms(s, p, why);
	if (!err)
		err = read_token_command(s, p, why);
	if (!err)
		err = maps_open(PICK(sasl_password_maps), TABLE_FOLD | TABLE_SURROGATE | TABLE_NO_REGSUB, v, &s->sasl_passwords,
		                why);
	return err;
}

static int settings_add(const struct config *c, const struct service *service, struct buf *why)
{
	const struct view *v = config_service_view(c, service);
	struct smtp_settings *s = mem_alloc(sizeof(*s));
	int err;

	s->params = v->params;
	s->view = v;
	s->is_lmtp = str_eq(service->program, STR("lmtp"));
	s->tag = log_tag_of(v->params, s->is_lmtp);
	read_limits(s, v->params);
	read_habits(s, v->params);
	(void)map_set(&all, service->name, s);
	err = read_network(s, v->params, why);
	if (!err)
		err = read_tls(s, v->params, why);
	if (!err)
		read_dane(s, v->params);
	return err ? err : read_sasl(s, v, why);
}

int smtp_settings_load(const struct config *c, struct buf *why)
{
	for (size_t i = 0; i < config_service_count(c); i++) {
		const struct service *service = config_service(c, i);
		bool is_ours = str_eq(service->program, STR("smtp")) || str_eq(service->program, STR("lmtp"));
		int err = is_ours && str_eq(service->type, STR("unix")) ? settings_add(c, service, why) : 0;

		if (err)
			return err;
	}
	return 0;
}

/* The same tables again once their files are others. */
static void refresh(struct maps **maps, struct str spec, const struct view *v)
{
	struct buf why = BUF_INIT(4096);
	struct maps *fresh;

	if (!*maps || !maps_have_changed(*maps))
		return;
	if (maps_open(spec, TABLE_FOLD | TABLE_SURROGATE | TABLE_NO_REGSUB, v, &fresh, &why)) {
		log_warn("%.*s: the tables of before stay in use: %s", STR_ARG(spec), buf_cstr(&why));
	} else {
		maps_close(*maps);
		*maps = fresh;
	}
	buf_done(&why);
}

static void refresh_requiretls(struct smtp_settings *s, struct str spec)
{
	struct buf why = BUF_INIT(4096);
	struct requiretls_policy *fresh;

	if (!s->requiretls || !requiretls_policy_has_changed(s->requiretls))
		return;
	if (requiretls_policy_open(spec, TABLE_FOLD | TABLE_SURROGATE, s->view, &fresh, &why)) {
		log_warn("%.*s: the tables of before stay in use: %s", STR_ARG(spec), buf_cstr(&why));
	} else {
		requiretls_policy_close(s->requiretls);
		s->requiretls = fresh;
	}
	buf_done(&why);
}

const struct smtp_settings *smtp_settings_find(struct str transport)
{
	struct smtp_settings *s = map_find(&all, transport);
	const struct params *p = s ? s->params : NULL;

	if (s) {
		refresh(&s->tls_policies, PICK(tls_policy_maps), s->view);
		refresh(&s->tls_log_levels, PICK(tls_loglevel_maps), s->view);
		refresh(&s->tls_sites, PICK(tls_per_site), s->view);
		refresh(&s->sasl_passwords, PICK(sasl_password_maps), s->view);
		refresh_requiretls(s, PICK(requiretls_policy));
	}
	return s;
}

void smtp_settings_free(void)
{
	size_t at = 0;
	struct str key;
	void *value;

	while (map_next(&all, &at, &key, &value)) {
		struct smtp_settings *s = value;

		maps_close(s->sasl_passwords);
		if (s->sasl_filter)
			match_list_close(s->sasl_filter);
		maps_close(s->tls_policies);
		maps_close(s->tls_sites);
		maps_close(s->tls_log_levels);
		requiretls_policy_close(s->requiretls);
		tls_context_free(s->tls_may);
		tls_context_free(s->tls_encrypt);
		free((char *)s->tag.ptr);
		free((char *)s->dane_obstacle.ptr);
		free(s);
	}
	map_done(&all);
	all = MAP_INIT;
	auth_cache_forget();
}
