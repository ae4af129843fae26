/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One delivery: a message, some recipients, one nexthop. It tries host after host until each
 * recipient has an outcome, which is logged and reported at once.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/clock.h"
#include "ipc/channel.h"
#include "mail/envelope.h"
#include "role/smtp/connection.h"
#include "role/smtp/content_file.h"
#include "role/smtp/requiretls.h"
#include "role/smtp/smtp_settings.h"
#include "role/smtp/verdict.h"

/* A recipient while it has no final outcome. */
struct pending {
	bool is_done;
	bool is_accepted;  /* the server took it in this transaction */
	bool is_held_over; /* one transaction would not take so many: the next one on this connection */
	bool has_verdict;
	struct verdict verdict; /* of the last host that put it off */
};

struct delivery {
	struct arena arena;
	const struct smtp_settings *settings;
	struct channel *const *reports; /* points to NULL once the queue manager is gone */
	struct envelope envelope;
	struct pending *recipients; /* in the envelope's order */
	uint32_t pending_count;
	struct str transport;
	struct str nexthop;
	struct str tried;         /* the one of the nexthops that is tried now */
	struct tls_policy policy; /* for it */
	bool has_wanted_tls;
	enum client_tls wanted_tls;           /* the level for it, or for the host that is tried now: what DNS says comes later */
	const struct tls_policy *host_policy; /* what that host is held to; NULL while that is not known */
	struct tls_outcome outcome;           /* of the connection tried last */
	bool is_reported;                     /* the outcome counts for the TLS report of the domain */
	enum requiretls requiretls;           /* what is demanded of it because the message asks for REQUIRETLS */
	size_t unmet_count;                   /* hosts that could not do it */
	struct content_file *file;
	uint64_t content_at;
	uint64_t content_size;
	uint64_t job;
	bool is_at_stake;    /* the end of data is said: to break off now could mean to deliver twice */
	bool has_more;       /* mail for this nexthop waits or comes often: keep the connection */
	bool is_last_target; /* after this host the delivery gives up */
	struct wall_time active;
	struct wall_time started;
	struct wall_time connected; /* 0 until a server was ready */
	enum site_state site;
	struct str site_reason;
};

/* Delivers, and says JOB_DONE. */
void delivery_run(struct delivery *d) WAITS;
/* Final for this attempt: logs and reports; waits while the queue manager takes no reports. `c` may be NULL. */
void delivery_settle(struct delivery *d, uint32_t recipient, enum delivery_status status, const struct verdict *v,
                     const struct connection *c) WAITS;
/* Remembers why this recipient has to wait, should no other host take it. */
void delivery_put_off(struct delivery *d, uint32_t recipient, const struct verdict *v, const struct connection *c);
/* Every pending recipient that `is_accepted_only` means: bounced when the verdict is for good, else put off to the next host. */
void delivery_failed(struct delivery *d, const struct verdict *v, bool is_accepted_only, const struct connection *c) WAITS;
