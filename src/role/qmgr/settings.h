/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the queue manager takes from the configuration, in the form it uses. Made once;
 * settings_apply() brings in a new configuration, and transports keep their addresses.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/map.h"
#include "config/bounce_template.h"
#include "config/config.h"
#include "ipc/message.h"
#include "role/qmgr/backoff.h"
#include "role/qmgr/schedule.h"

/* A transport: a service of master.cf, or a name that a table gave and no line defines. */
struct transport_info {
	bool is_known;
	enum ipc_role role;       /* whose processes deliver */
	bool is_final;            /* this host is the last one: successes are ours to report */
	bool is_error;            /* error, retry, discard: every nexthop is one destination */
	bool is_deferred;         /* in $defer_transports */
	uint32_t recipient_limit; /* of one delivery; 0 for none */
	uint32_t bulk_count;      /* deliveries from which on a message is bulk */
	struct schedule_limits limits;
};

enum notify_class { NOTIFY_CLASS_BOUNCE = 1, NOTIFY_CLASS_2BOUNCE = 2, NOTIFY_CLASS_DELAY = 4 };

/* Strings lie in the configuration. */
struct settings {
	const struct config *config;
	const struct view *view;
	struct map transports; /* name -> struct transport_info */
	struct backoff backoff;
	struct duration warning_time; /* 0 for no warnings */
	uint32_t active_limit;
	uint32_t active_recipient_limit;
	uint32_t bounce_size_limit;
	size_t report_size_max;  /* what would be longer is shortened; tests have less */
	bool redacts_requiretls; /* reports on mail with REQUIRETLS hold its header alone, and may go as they can */
	uint32_t header_size_limit;
	unsigned notify_classes;
	int delay_digits;
	bool is_soft_bounce;
	bool is_threaded;
	bool is_delay_clear_confirmed;
	struct str hostname, origin, mail_name;
	struct str double_bounce;                                     /* the local part */
	struct str bounce_notice, double_bounce_notice, delay_notice; /* recipients */
	struct str recipient_delimiter;
	struct str filter_nexthop;
	char bounce_tag[128]; /* of the log: "postfix/bounce" */
	struct bounce_templates templates;
};

[[nodiscard]] struct settings *settings_new(const struct config *c);
void settings_apply(struct settings *s, const struct config *c);
void settings_free(struct settings *s);
/* Never NULL; valid as long as the settings. */
const struct transport_info *settings_transport(struct settings *s, struct str name);
/* A schedule_limits_fn; `arg` is the settings. */
void settings_limits(void *arg, struct str transport, struct schedule_limits *ret_limits);
