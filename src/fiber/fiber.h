/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fibers: stackful coroutines on one epoll loop, one loop a process, one thread.
 *
 * A fiber runs until it waits. Every wait has a deadline and ends with 0, -ETIMEDOUT
 * or -ECANCELED; the code then returns upward as from any error, so cleanup runs and
 * a stack is never dropped. After a wait, shared state is looked up again, not remembered.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/list.h"

struct fiber;
typedef void fiber_fn(void *arg);

/* Sets the loop up; once, before anything else here. */
void loop_init(void);
/* Runs until loop_stop(), or until no fiber is left. */
void loop_run(void);
/* Makes loop_run() return after the current round; fibers stay as they are. */
void loop_stop(void);
/* Does the loop nearly fill a processor? Then work that others can do as well is better done by them. */
bool loop_is_busy(void);
/* `fn` runs at the end of each round, before the loop sleeps: flush logs, send gathered frames. */
typedef void loop_hook_fn(void *arg);
void loop_add_hook(loop_hook_fn *fn, void *arg);
/* Cancels every fiber, runs until all have ended, frees everything. For tests and orderly ends. */
void loop_done(void);

/*
 * Starts a fiber; it first runs when the caller next waits. `name` must live as long
 * as the fiber. It is freed when `fn` returns, unless someone joins it.
 */
struct fiber *fiber_start(const char *name, fiber_fn *fn, void *arg);
struct fiber *fiber_self(void);
const char *fiber_name(const struct fiber *f);
size_t fiber_count(void);
/* The fiber's present wait, or its next one, ends with -ECANCELED, and so do all later ones. */
void fiber_cancel(struct fiber *f);
bool fiber_is_cancelled(void);
/* Must be called before the fiber can end if fiber_join() is wanted. */
void fiber_make_joinable(struct fiber *f);
/* Waits until `f` has ended, then frees it. */
void fiber_join(struct fiber *f) WAITS;

/* Lets the others run. */
int fiber_yield(void) WAITS;
[[nodiscard]] int fiber_sleep(struct duration wait) WAITS;

/*
 * Readiness of one descriptor, edge-triggered: try the system call first, wait after
 * EAGAIN. At most one fiber waits for reading and one for writing.
 */
struct watch {
	int fd; /* -1 when closed */
	uint32_t ready;
	struct fiber *reader;
	struct fiber *writer;
	uint32_t events; /* that the loop was asked for */
	bool is_listener;
	bool is_read_ended; /* the peer has hung up: every read says so at once */
	bool is_write_ended;
};

enum watch_for { WATCH_READ, WATCH_WRITE };

/* `fd` must be non-blocking; it stays the caller's. */
void watch_init(struct watch *w, int fd);
/*
 * For a listening socket that several processes share: one of them is woken, not all.
 * It must accept until EAGAIN.
 */
void watch_init_listener(struct watch *w, int fd);
/* 0, -ETIMEDOUT or -ECANCELED. Hang-up and errors count as ready: the system call tells. */
[[nodiscard]] int watch_wait(struct watch *w, enum watch_for what, struct instant deadline) WAITS;
/* Before the descriptor is closed. */
void watch_done(struct watch *w);
/* Closes the descriptor as well, which spares a system call. Only where nobody, no child either, holds a duplicate of it. */
void watch_close(struct watch *w);

/* Fibers that wait for something that other fibers bring about. */
struct wait_list {
	struct list waiters;
};

void wait_list_init(struct wait_list *wl);
/* 0 after a wake, -ETIMEDOUT, -ECANCELED. Check the condition again afterwards. */
[[nodiscard]] int wait_list_wait(struct wait_list *wl, struct instant deadline) WAITS;
/* Without a deadline and even when cancelled: for who must not leave while another fiber works on his memory. */
void wait_list_wait_always(struct wait_list *wl) WAITS;
bool wait_list_wake_one(struct wait_list *wl);
void wait_list_wake_all(struct wait_list *wl);
bool wait_list_is_empty(const struct wait_list *wl);

/*
 * Runs `fn(arg)` on a helper thread and waits for its end. `fn` must touch nothing but
 * `arg` and thread-safe libraries. A cancelled fiber still waits for the end, because
 * `arg` usually lies on its stack, and then gets -ECANCELED.
 */
int fiber_work(void (*fn)(void *arg), void *arg) WAITS;
/* Most helper threads at once; the default is 8. Before the first fiber_work(). */
void fiber_work_set_threads(size_t count);

/* A one-shot timer without a fiber: `fn` runs in the loop and must not wait. */
struct timer {
	struct instant at;
	void (*fn)(struct timer *t);
	size_t heap_at; /* place in the heap, 0 when not running */
};

void timer_start(struct timer *t, struct instant at, void (*fn)(struct timer *t));
void timer_stop(struct timer *t);
