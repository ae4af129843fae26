/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A service of master.cf that this process serves: its view and everything made from it
 * once, with the privileges that reading keys and tables may need.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "config/config.h"

struct content;
struct maps;
struct match_list;
struct policy;
struct router;
struct sasl_server;
struct tls_context;

enum tls_level { TLS_LEVEL_NONE, TLS_LEVEL_MAY, TLS_LEVEL_ENCRYPT };

/* What smtpd_forbid_bare_newline asks for. */
enum bare_newline { BARE_NEWLINE_ALLOW, BARE_NEWLINE_NOTE, BARE_NEWLINE_NORMALIZE, BARE_NEWLINE_REJECT };

/* EHLO keywords that may be left out, as bits. */
enum ehlo_keyword {
	EHLO_PIPELINING = 1,
	EHLO_SIZE = 2,
	EHLO_VRFY = 4,
	EHLO_ETRN = 8,
	EHLO_STARTTLS = 16,
	EHLO_AUTH = 32,
	EHLO_VERP = 64,
	EHLO_XCLIENT = 128,
	EHLO_XFORWARD = 256,
	EHLO_ENHANCED = 512,
	EHLO_8BITMIME = 1024,
	EHLO_DSN = 2048,
	EHLO_SMTPUTF8 = 4096,
	EHLO_CHUNKING = 8192,
	EHLO_SILENT = 16384,
	EHLO_REQUIRETLS = 32768,
};

struct port {
	const struct view *view;
	struct router *router;
	struct policy *policy;
	struct content *content;
	struct sasl_server *sasl;
	struct tls_context *tls; /* NULL: no TLS; perhaps not ready */
	struct maps *sni_maps;   /* tls_server_sni_maps */
	enum tls_level tls_level;
	bool is_wrapped; /* TLS from the first byte */
	enum bare_newline bare_newline;
	unsigned discarded_keywords; /* enum ehlo_keyword */
	unsigned overrides;          /* enum content_override */
	struct maps *keyword_maps, *footer_maps, *tls_loglevel_maps;
	struct match_list *bare_newline_exempt;
	struct match_list *limit_exempt;
	struct match_list *forbidden_commands, *noop_commands;
	struct match_list *xclient_hosts, *xforward_hosts;
	/* local_header_rewrite_clients */
	bool rewrites_own, rewrites_authenticated;
	struct match_list *rewrite_networks;
	struct str tag;         /* "postfix/submission/smtpd" */
	struct str cleanup_tag; /* "postfix/cleanup" */
	struct str pickup_tag;
	struct arena arena;
};

/*
 * Fails with words for the operator. Trouble with TLS alone is only warned about. Without
 * `is_smtp` there is no policy, no authentication and no TLS: for mail from inside.
 */
[[nodiscard]] int port_new(const struct view *v, bool is_smtp, struct port **ret_port, struct buf *why);
void port_free(struct port *port);
/* Chains by name from tls_server_sni_maps, for the port's TLS context (sni.c). */
void port_open_sni(struct port *port);
/* Was a table that the service has open replaced? A few stat() calls. */
bool port_has_changed(const struct port *port);
/* Bits of the words in smtpd_discard_ehlo_keywords and its maps. */
unsigned port_parse_keywords(struct str text);
