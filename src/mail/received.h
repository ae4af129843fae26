/* SPDX-License-Identifier: Apache-2.0 */
/* The Received header that this host adds, and the names of protocols in it (RFC 3848, RFC 6531). */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/clock.h"

/* Empty strings are left out. */
struct received {
	struct str helo, client_name, client_address;
	struct str tls;           /* "TLSv1.3 with cipher X (256/256 bits)"; empty in clear or when not wanted */
	struct str tls_details;   /* "key-exchange ... server-signature ..." */
	struct str tls_peer;      /* "No client certificate requested" and the like */
	struct str sasl_username; /* for smtpd_sasl_authenticated_header */
	struct str host, mail_name, protocol, queue_id;
	struct str recipient; /* external form; only when there is one */
	bool is_local;        /* came from inside */
	bool has_uid;         /* from the user `uid`, through sendmail */
	bool is_hidden;       /* smtpd_hide_client_session: no "from" part */
	unsigned uid;
	struct wall_time when;
};

/* The header with CRLF line ends. */
void received_format(struct buf *to, const struct received *r);
/* "SMTP", "ESMTPSA", "UTF8SMTPS" ... */
struct str received_protocol(bool is_esmtp, bool has_tls, bool has_auth, bool is_utf8);
