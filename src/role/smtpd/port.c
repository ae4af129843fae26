/* SPDX-License-Identifier: Apache-2.0 */
#include "port.h"

#include <errno.h>

#include "base/log.h"
#include "config/params.h"
#include "content/content.h"
#include "net/tls.h"
#include "net/tls_log.h"
#include "policy/policy.h"
#include "route/resolve.h"
#include "sasl/server.h"
#include "table/table.h"

unsigned port_parse_keywords(struct str text)
{
	static const struct {
		struct str word;
		unsigned bit;
	} words[] = {
		{{"pipelining", 10}, EHLO_PIPELINING},
		{{"size", 4}, EHLO_SIZE},
		{{"vrfy", 4}, EHLO_VRFY},
		{{"etrn", 4}, EHLO_ETRN},
		{{"starttls", 8}, EHLO_STARTTLS},
		{{"auth", 4}, EHLO_AUTH},
		{{"verp", 4}, EHLO_VERP},
		{{"xclient", 7}, EHLO_XCLIENT},
		{{"xforward", 8}, EHLO_XFORWARD},
		{{"enhancedstatuscodes", 19}, EHLO_ENHANCED},
		{{"8bitmime", 8}, EHLO_8BITMIME},
		{{"dsn", 3}, EHLO_DSN},
		{{"smtputf8", 8}, EHLO_SMTPUTF8},
		{{"chunking", 8}, EHLO_CHUNKING},
		{{"silent-discard", 14}, EHLO_SILENT},
		{{"requiretls", 10}, EHLO_REQUIRETLS},
	};
	struct str word;
	unsigned bits = 0;

	while (str_next(&text, ", \t\r\n", &word)) {
		size_t i = 0;

		while (i < COUNT_OF(words) && !str_eq_nocase(words[i].word, word))
			i++;
		if (i < COUNT_OF(words))
			bits |= words[i].bit;
		else
			log_warn("unknown EHLO keyword \"%.*s\" in smtpd_discard_ehlo_keywords or its maps", STR_ARG(word));
	}
	return bits;
}

static enum tls_level level_of(const struct params *p)
{
	struct str level = p->smtpd_tls_security_level;

	if (level.len == 0)
		return p->smtpd_enforce_tls ? TLS_LEVEL_ENCRYPT : p->smtpd_use_tls ? TLS_LEVEL_MAY : TLS_LEVEL_NONE;
	if (str_eq_nocase(level, STR("none")))
		return TLS_LEVEL_NONE;
	if (str_eq_nocase(level, STR("may")))
		return TLS_LEVEL_MAY;
	if (!str_eq_nocase(level, STR("encrypt")))
		log_warn("smtpd_tls_security_level: unsupported TLS level \"%.*s\", using \"encrypt\"", STR_ARG(level));
	return TLS_LEVEL_ENCRYPT;
}

static void warn_about_tls(const struct port *port, struct str level)
{
	struct buf why = BUF_INIT(4000);
	struct str rest, line;
	bool is_good;

	tls_context_warnings(port->view, &why);
	for (rest = buf_str(&why); str_next(&rest, "\n", &line);)
		log_warn("%.*s: %.*s", STR_ARG(port->tag), STR_ARG(line));
	(void)tls_log_parse(level, &is_good);
	if (!is_good)
		log_warn("%.*s: smtpd_tls_loglevel: bad level \"%.*s\", taken for 0", STR_ARG(port->tag), STR_ARG(level));
	buf_done(&why);
}

static void open_tls(struct port *port)
{
	struct buf why = BUF_INIT(2000);

	port->is_wrapped = port->view->params->smtpd_tls_wrappermode;
	port->tls_level = port->is_wrapped ? TLS_LEVEL_ENCRYPT : level_of(port->view->params);
	if (port->tls_level == TLS_LEVEL_MAY && port->view->params->smtpd_tls_req_ccert)
		log_warn("%.*s: Can't require client certs unless TLS is required", STR_ARG(port->tag));
	if (port->tls_level != TLS_LEVEL_NONE && tls_server_context_new(port->view, &port->tls, &why))
		log_warn("%.*s: TLS is off until this is mended: %s", STR_ARG(port->tag), buf_cstr(&why));
	if (port->tls)
		warn_about_tls(port, port->view->params->smtpd_tls_loglevel);
	if (port->tls && port->view->params->tls_server_sni_maps.len)
		port_open_sni(port);
	buf_done(&why);
}

static enum bare_newline bare_newline_of(struct str word)
{
	if (str_eq_nocase(word, STR("no")))
		return BARE_NEWLINE_ALLOW;
	if (str_eq_nocase(word, STR("note")))
		return BARE_NEWLINE_NOTE;
	return str_eq_nocase(word, STR("reject")) ? BARE_NEWLINE_REJECT : BARE_NEWLINE_NORMALIZE;
}

/* "permit_inet_interfaces, permit_mynetworks ..." */
static int parse_rewrite_clients(struct port *port, struct buf *why)
{
	struct str rest = port->view->params->local_header_rewrite_clients, word;
	int err = 0;

	while (!err && str_next(&rest, ", \t\r\n", &word)) {
		if (str_eq_nocase(word, STR("permit_inet_interfaces")))
			port->rewrites_own = true;
		else if (str_eq_nocase(word, STR("permit_sasl_authenticated")))
			port->rewrites_authenticated = true;
		else if (str_eq_nocase(word, STR("permit_mynetworks")) && !port->rewrite_networks)
			err = match_list_open(port->view->params->mynetworks, MATCH_ADDRESS, 0, port->view,
			                      &port->rewrite_networks, why);
		else
			log_warn("local_header_rewrite_clients: \"%.*s\" has no effect here", STR_ARG(word));
	}
	return err;
}

static int open_lists(struct port *port, struct buf *why)
{
	const struct params *p = port->view->params;
	int err = match_list_open(p->smtpd_forbid_bare_newline_exclusions, MATCH_ADDRESS, 0, port->view,
	                          &port->bare_newline_exempt, why);

	if (!err)
		err = match_list_open(p->smtpd_client_event_limit_exceptions, MATCH_ADDRESS, 0, port->view, &port->limit_exempt,
		                      why);
	if (!err)
		err = match_list_open(p->smtpd_forbidden_commands, MATCH_STRING, 0, port->view, &port->forbidden_commands, why);
	if (!err)
		err = match_list_open(p->smtpd_noop_commands, MATCH_STRING, 0, port->view, &port->noop_commands, why);
	if (!err)
		err = match_list_open(p->smtpd_authorized_xclient_hosts, MATCH_ADDRESS, 0, port->view, &port->xclient_hosts, why);
	if (!err)
		err = match_list_open(p->smtpd_authorized_xforward_hosts, MATCH_ADDRESS, 0, port->view, &port->xforward_hosts,
		                      why);
	if (!err)
		err = maps_open(p->smtpd_discard_ehlo_keyword_address_maps, TABLE_FOLD, port->view, &port->keyword_maps, why);
	if (!err)
		err = maps_open(p->smtpd_tls_loglevel_maps, TABLE_FOLD, port->view, &port->tls_loglevel_maps, why);
	if (!err)
		err = maps_open(p->smtpd_reject_footer_maps, TABLE_FOLD, port->view, &port->footer_maps, why);
	if (!err)
		err = parse_rewrite_clients(port, why);
	return err;
}

static int open_parts(struct port *port, bool is_smtp, struct buf *why)
{
	const struct params *p = port->view->params;
	struct str bad;
	int err = router_new(port->view, &port->router, why);

	if (!err && is_smtp)
		err = policy_new(port->view, port->router, &port->policy, why);
	if (!err)
		err = content_new(port->view, port->router, &port->content, why);
	if (!err && is_smtp)
		err = sasl_server_new(port->view, sasl_smtpd_backends, &port->sasl, why);
	if (!err && is_smtp)
		err = open_lists(port, why);
	if (!err && content_parse_overrides(p->receive_override_options, &port->overrides, &bad)) {
		buf_addf(why, "receive_override_options: unknown option \"%.*s\"", STR_ARG(bad));
		err = -EINVAL;
	}
	return err;
}

int port_new(const struct view *v, bool is_smtp, struct port **ret_port, struct buf *why)
{
	struct port *port = mem_alloc(sizeof(*port));
	struct str name = v->params->syslog_name;
	const char *text;
	int err;

	port->view = v;
	port->tag = arena_printf(&port->arena, "%.*s/smtpd", STR_ARG(name));
	name = config_main_view(v->config)->params->syslog_name;
	port->cleanup_tag = arena_printf(&port->arena, "%.*s/cleanup", STR_ARG(name));
	port->pickup_tag = arena_printf(&port->arena, "%.*s/pickup", STR_ARG(name));
	err = open_parts(port, is_smtp, why);
	if (err) {
		port_free(port);
		return err;
	}
	*ret_port = port;
	if (!is_smtp)
		return 0;
	for (size_t i = 0; (text = policy_warning(port->policy, i)); i++)
		log_warn("%.*s: %s", STR_ARG(port->tag), text);
	port->bare_newline = bare_newline_of(v->params->smtpd_forbid_bare_newline);
	port->discarded_keywords = port_parse_keywords(v->params->smtpd_discard_ehlo_keywords);
	open_tls(port);
	return 0;
}

/* What open_lists() opened. */
static bool have_lists_changed(const struct port *port)
{
	const struct match_list *const lists[] = {
		port->bare_newline_exempt, port->limit_exempt,   port->forbidden_commands, port->noop_commands,
		port->xclient_hosts,       port->xforward_hosts, port->rewrite_networks,
	};

	for (size_t i = 0; i < COUNT_OF(lists); i++)
		if (match_list_has_changed(lists[i]))
			return true;
	return maps_have_changed(port->keyword_maps) || maps_have_changed(port->footer_maps) ||
	       maps_have_changed(port->tls_loglevel_maps);
}

bool port_has_changed(const struct port *port)
{
	if (router_has_changed(port->router) || content_has_changed(port->content))
		return true;
	return port->policy && (policy_has_changed(port->policy) || sasl_server_has_changed(port->sasl) ||
	                        have_lists_changed(port) || (port->sni_maps && maps_have_changed(port->sni_maps)));
}

void port_free(struct port *port)
{
	if (!port)
		return;
	tls_context_free(port->tls);
	maps_close(port->sni_maps);
	sasl_server_free(port->sasl);
	content_free(port->content);
	policy_free(port->policy);
	router_free(port->router);
	maps_close(port->keyword_maps);
	maps_close(port->footer_maps);
	maps_close(port->tls_loglevel_maps);
	match_list_close(port->bare_newline_exempt);
	match_list_close(port->limit_exempt);
	match_list_close(port->forbidden_commands);
	match_list_close(port->noop_commands);
	match_list_close(port->xclient_hosts);
	match_list_close(port->xforward_hosts);
	match_list_close(port->rewrite_networks);
	arena_done(&port->arena);
	free(port);
}
