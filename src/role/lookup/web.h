/* SPDX-License-Identifier: Apache-2.0 */
/* HTTPS, for policies and reports: libcurl on a helper thread, under limits of size and time. */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/base.h"
#include "base/buf.h"
#include "base/str.h"

struct web_wish {
	struct str host; /* to verify, and to ask for */
	uint16_t port;
	struct str path;       /* "/.well-known/mta-sts.txt" */
	struct str ca_file;    /* empty: the authorities of the system */
	struct str protocols;  /* inet_protocols */
	struct str media_type; /* of what is posted; empty for GET */
	struct str body;       /* what is posted */
	size_t size_max;       /* of the answer */
};

struct web_answer {
	long status; /* of HTTP */
	struct str media_type;
	struct str body;
	bool is_certificate_bad; /* when it failed: because of TLS or the certificate */
};

/*
 * One request: certificate checked, no redirects, no proxy, a minute at most. At most a few run at once, the
 * others wait for them. 0 with any status, -EINVAL when `host` is no host name, or another error, each with its reason in
 * `why`; -ECANCELED without.
 */
[[nodiscard]] int web_request(const struct web_wish *wish, struct arena *a, struct web_answer *ret_answer, struct buf *why) WAITS;
/* Once a process, before threads. */
[[nodiscard]] int web_init(struct buf *why);
