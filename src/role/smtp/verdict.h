/* SPDX-License-Identifier: Apache-2.0 */
/* Why something did not work, or did: what log line, bounce and queue need to know about an outcome. */
#pragma once

#include <stdbool.h>

#include "base/str.h"

struct verdict {
	bool is_permanent;
	bool is_site;          /* the host or the way to it is at fault, not the mail */
	bool is_tls_lost;      /* it broke off inside TLS */
	bool is_tls_handshake; /* clear text may be tried where the policy allows it */
	bool is_stale;         /* a connection that was kept open turned out to be dead */
	bool is_loop;          /* the mail would come back to us: no other relay may help */
	struct str dsn;        /* "4.4.1" */
	struct str text;       /* for people */
	struct str relay;      /* "mx.example.org[192.0.2.1]:25", or empty */
	struct str mta;        /* the remote host, or empty */
	struct str diagnostic; /* its reply, or empty */
	struct str tls;        /* tls= of the log line, where it was put off: what comes later is about another host */
};
