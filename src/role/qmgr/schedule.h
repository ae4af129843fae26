/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is delivered next. Pure: no I/O, no clock of its own, nothing of messages.
 *
 * An entry is one delivery to be made: some recipients of one message. Entries stand in
 * line at a destination, which is a nexthop of a transport. Two lanes part them: mail in
 * general, and bulk, a message so large that others should not wait for it.
 *
 *	take:     transports in turn, then a lane, then its destinations in turn, then first come first served
 *	lanes:    while both have work, bulk gets one of every `slot_cost` deliveries
 *	window:   how many deliveries a destination has at once. It starts at `initial`; a success adds
 *	          positive feedback up to `limit`, a failure of the site subtracts the negative one.
 *	          A window's worth of failures without a success (a cohort) makes the destination
 *	          dead for a while, and all that waits for it is given back
 *	delays:   a destination or a transport may have to pause after each delivery
 *
 * Every call costs the same however much mail waits.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/str.h"

struct schedule;
struct schedule_destination;

/* "1", "0.5/concurrency", "1/sqrt_concurrency". */
struct feedback {
	enum { FEEDBACK_CONSTANT, FEEDBACK_BY_CONCURRENCY, FEEDBACK_BY_ROOT } by;
	double value; /* 0 to 1 */
};

struct schedule_limits {
	unsigned process_limit;     /* deliveries of the whole transport at once, 0 for no limit */
	unsigned concurrency_limit; /* of one destination, 0 for no limit */
	unsigned initial_concurrency;
	double failed_cohort_limit;
	struct feedback positive;
	struct feedback negative;
	struct duration destination_delay; /* 0 for none; with one, the concurrency is 1 */
	struct duration transport_delay;
	unsigned slot_cost; /* 1 or less: bulk is not put back */
};

enum schedule_state { ENTRY_IDLE, ENTRY_WAITING, ENTRY_BUSY, ENTRY_DROPPED };

/* Lies in the caller's job; zeroed before the first use. */
struct schedule_entry {
	struct list link;
	struct schedule_destination *destination;
	enum schedule_state state;
	bool is_bulk;
};

/* How the destination behaved, whatever became of the recipients. */
enum verdict {
	VERDICT_NONE,
	VERDICT_GOOD,
	VERDICT_BUSY, /* it works, but wants fewer deliveries at once */
	VERDICT_BAD,  /* out of reach */
};

/* Asked once for each transport, and again after schedule_reload(). */
typedef void schedule_limits_fn(void *arg, struct str transport, struct schedule_limits *ret_limits);

[[nodiscard]] struct schedule *schedule_new(schedule_limits_fn *limits, void *arg);
/* Entries must have been taken back before. */
void schedule_free(struct schedule *s);
/* New limits for all transports, and for how long a destination stays dead. */
void schedule_reload(struct schedule *s);
void schedule_set_dead_time(struct schedule *s, struct duration dead_time);

/*
 * Puts an entry in line. -EHOSTDOWN when the destination is dead: *ret_reason, valid until
 * the next call, is the last failure, and the entry was not taken.
 */
[[nodiscard]] int schedule_add(struct schedule *s, struct schedule_entry *e, struct str transport, struct str destination,
                               struct str *ret_reason);
/* The next delivery to start, or NULL when nothing may start now. It is busy until schedule_done() or schedule_again(). */
struct schedule_entry *schedule_take(struct schedule *s, struct instant now);
/* Does more mail wait for the destination of this busy entry? */
bool schedule_has_more(const struct schedule_entry *e);
/* The delivery ended. `reason` is kept when the destination is found dead by it. */
void schedule_done(struct schedule *s, struct schedule_entry *e, enum verdict verdict, struct str reason, struct instant now);
/* The delivery never took place: back to the front of the line. */
void schedule_again(struct schedule *s, struct schedule_entry *e);
/* Takes a waiting or dropped entry out. */
void schedule_remove(struct schedule *s, struct schedule_entry *e);
/* An entry whose destination has died, with the reason (valid until the next call), or NULL. */
struct schedule_entry *schedule_take_dropped(struct schedule *s, struct str *ret_reason);
/* Dead destinations get another chance at once. */
void schedule_revive(struct schedule *s);

/* When a delay or a dead time ends, so that schedule_take() may have something new. INSTANT_NEVER for not. */
struct instant schedule_wakeup(const struct schedule *s);
size_t schedule_waiting_count(const struct schedule *s);
size_t schedule_busy_count(const struct schedule *s);
size_t schedule_destination_count(const struct schedule *s);
/* The window of a destination; 0 when it is dead, -ENOENT when unknown (nothing waits, nothing is remembered). */
int schedule_window(const struct schedule *s, struct str transport, struct str destination);

/* Reads the text of a *_destination_concurrency_*_feedback parameter. -EINVAL. */
[[nodiscard]] int feedback_parse(struct str text, struct feedback *ret_feedback);
