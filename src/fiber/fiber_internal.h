/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share: the fiber itself, the loop's state, stacks and the switch. */
#pragma once

#include <pthread.h>

#include "fiber/fiber.h"

#if defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define HAS_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HAS_TSAN 1
#endif
#endif

/* A stack: [low, low + size), growing down towards a guard page that lies below `low`. */
struct stack {
	char *low;
	size_t size;
};

enum fiber_state { FIBER_READY, FIBER_RUNNING, FIBER_WAITING, FIBER_ENDED };

/* A place to switch to: the stack pointer; everything else lies on the stack it points to. */
struct context {
	void *sp;
	struct stack stack; /* for the sanitizers; the loop's own is unknown until the first switch */
	void *fake_stack;
	void *tsan_fiber;
#if !defined(__x86_64__) && !defined(__aarch64__)
	struct ucontext_t *ucontext;
#endif
};

/* Lies at the top of its own stack, so that starting a fiber allocates nothing else. */
struct fiber {
	struct context context;
	struct list all;  /* in loop.fibers */
	struct list link; /* in loop.ready or in a wait_list */
	const char *name;
	fiber_fn *fn;
	void *arg;
	enum fiber_state state;
	int result; /* of the wait that just ended */
	bool can_cancel;
	bool is_cancelled;
	bool is_joinable;
	bool is_trimmed; /* its unused stack pages were given back during this wait */
	struct fiber *joiner;
	struct timer timer; /* fires at or before `deadline`: moved only when it must come earlier */
	struct instant deadline;
	struct instant waits_since;
};

struct hook {
	loop_hook_fn *fn;
	void *arg;
};

struct timer_slot {
	struct instant at;
	struct timer *timer;
};

enum { HOOK_MAX = 16 };

struct loop {
	int epoll_fd;
	int bell_fd; /* rung by helper threads */
	bool is_stopped;
	struct context context; /* the loop's own */
	struct fiber *current;  /* NULL while the loop itself runs */
	struct list fibers;
	struct list ready;
	size_t fiber_count;
	struct instant now; /* when the round began */
	struct instant measured_at;
	struct duration used; /* processor time until then */
	bool is_busy;         /* in the time that was measured last */
	struct hook hooks[HOOK_MAX];
	size_t hook_count;
	struct timer_slot *heap; /* from 1 on */
	size_t heap_count;
	size_t heap_size;
	struct timer sweep;
};

extern struct loop loop;

/* fiber.c: suspends the running fiber until fiber_wake() or the deadline. */
int fiber_wait(struct instant deadline, bool can_cancel) WAITS;
/* Makes a waiting fiber ready; its wait gives `result`. Does nothing to one that does not wait. */
void fiber_wake(struct fiber *f, int result);
/* Runs everything that is ready now; what becomes ready meanwhile is for the next round. */
void fiber_run_ready(void);
/* Gives back stack pages of fibers that have waited for long. */
void fiber_sweep(struct timer *t);

/* stack.c */
struct stack stack_get(void);
void stack_put(struct stack s);
/* Gives back all whole pages below `sp`. */
void stack_trim(struct stack s, void *sp);

/* switch.c: prepares `to` so that the first switch to it calls entry() on the stack below `top`. */
void context_init(struct context *to, struct stack stack, void *top, void (*entry)(void));
void context_done(struct context *c);
/* Returns when someone switches back. `is_last` says that `from` will never run again. */
void context_switch(struct context *from, struct context *to, bool is_last);
/* To be called first on a new stack, with the context that was left. */
void context_entered(struct context *self, struct context *left);

/* timer.c: runs what is due. */
void timer_run_due(struct instant now);

/* work.c: wakes the fibers whose jobs are done. */
void work_collect(void);
/* Ends the helper threads. */
void work_done(void);
