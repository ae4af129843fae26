/* SPDX-License-Identifier: Apache-2.0 */
/* Gathering and the rounds, with the real store; the DNS and the web are the test's own. */
#include "role/lookup/tlsrpt.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

#include "check.h"
#include "fiber/fiber.h"
#include "net/dns.h"
#include "role/lookup/store.h"
#include "role/lookup/tls_report.h"
#include "role/lookup/web.h"

static struct {
	int question_count;
	bool is_disk_full; /* from the first question on */
} world;

/* What a full disk is like. */
static void set_file_limit(rlim_t most)
{
	struct rlimit limit;

	signal(SIGXFSZ, SIG_IGN);
	CHECK_INT(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = most;
	CHECK_INT(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* No domain wants reports. */
int dns_lookup(struct str name, enum dns_type type, struct duration timeout, struct arena *a, struct dns_answer *ret_answer)
{
	world.question_count++;
	if (world.is_disk_full)
		set_file_limit(0);
	*ret_answer = (struct dns_answer){.status = DNS_NO_NAME};
	return fiber_yield();
}

int web_request(const struct web_wish *wish, struct arena *a, struct web_answer *ret_answer, struct buf *why)
{
	return -EIO;
}

static fiber_fn *part;

static void run_part(void *unused)
{
	part(NULL);
	loop_stop();
}

static void run(fiber_fn *fn, const char *main_cf)
{
	struct buf why = BUF_INIT(1000);
	struct config *c;

	check_write_file("main.cf", main_cf);
	check_write_file("master.cf", "");
	c = config_load(str_of(check_folder()), NULL, 0);
	memset(&world, 0, sizeof(world));
	loop_init();
	if (!store_is_open())
		CHECK_INT(store_open(str_of(check_folder()), &why), 0);
	tlsrpt_start(c);
	part = fn;
	fiber_start("test", run_part, NULL);
	loop_run();
	loop_done();
	config_free(c);
	buf_done(&why);
}

static void note(const char *domain)
{
	struct message_tls_outcome o = {
		.domain = str_of(domain), .policy_type = STR("no-policy-found"), .policy_domain = str_of(domain)};

	tlsrpt_take(&o);
}

/* Rounds begin every second, for a period is no longer than that. */
static void refuse_to_remove(void *unused)
{
	struct instant deadline = clock_deadline(duration_s(20));

	world.is_disk_full = true;
	note("far.example");
	while (!world.question_count && instant_is_before(clock_now(), deadline))
		CHECK_INT(fiber_sleep(duration_ms(1)), 0);
	CHECK_INT(fiber_sleep(duration_s(4)), 0);
	set_file_limit(RLIM_INFINITY);
	CHECK_INT(store_count(STORE_TLSRPT), 1);
	CHECK_INT(world.question_count, 1);
}

TEST(a_report_that_the_store_refuses_to_remove_is_done_with_all_the_same)
{
	run(refuse_to_remove, "postrider_tlsrpt_period = 1s\npostrider_tlsrpt_delay = 0\n");
}

#define ALL_DAY "postrider_tlsrpt_period = 1d\n"

static bool store_has(const char *words)
{
	struct arena a = ARENA_INIT;
	struct str key, text;
	bool has;

	CHECK_INT(store_next(STORE_TLSRPT, STR(""), &a, &key, &text), 0);
	has = str_find_str(text, str_of(words)) < text.len;
	arena_done(&a);
	return has;
}

/* As the process before or after us does. */
static void count_elsewhere(void)
{
	struct message_tls_outcome o = {.policy_type = STR("no-policy-found"), .policy_domain = STR("far.example")};
	struct store_change change = {.table = STORE_TLSRPT};
	struct buf text = BUF_INIT(1000000);
	struct tls_report *r;
	struct arena a = ARENA_INIT;

	CHECK_INT(store_next(STORE_TLSRPT, STR(""), &a, &change.key, &change.value), 0);
	r = tls_report_new(change.value);
	tls_report_add(r, &o);
	tls_report_encode(r, &text);
	change.value = buf_str(&text);
	CHECK_INT(store_write(&change, 1), 0);
	tls_report_free(r);
	buf_done(&text);
	arena_done(&a);
}

static void share_a_day(void *unused)
{
	note("far.example");
	tlsrpt_flush();
	CHECK(store_has("\"total-successful-session-count\":1"));
	count_elsewhere();
	note("far.example");
	tlsrpt_flush();
	CHECK(store_has("\"total-successful-session-count\":3"));
}

static void forget_all(void *unused)
{
	struct store_change change = {.table = STORE_TLSRPT};
	struct arena a = ARENA_INIT;
	struct str text;

	while (!store_next(STORE_TLSRPT, STR(""), &a, &change.key, &text))
		CHECK_INT(store_write(&change, 1), 0);
	arena_done(&a);
}

TEST(two_processes_count_in_one_report)
{
	run(forget_all, ALL_DAY);
	run(share_a_day, ALL_DAY);
}

static void gather_much(void *unused)
{
	enum { REASON_SIZE = 100000 };
	char *reason = mem_alloc(REASON_SIZE);

	memset(reason, 'x', REASON_SIZE);
	forget_all(NULL);
	for (int i = 0; i < 1000; i++) {
		struct message_tls_outcome o = {.policy_type = STR("no-policy-found"), .reason = str_n(reason, REASON_SIZE)};
		char domain[40];

		snprintf(domain, sizeof(domain), "d%d.example", i);
		o.domain = o.policy_domain = str_of(domain);
		tlsrpt_take(&o);
	}
	tlsrpt_flush();
	CHECK(store_count(STORE_TLSRPT) > 100);
	CHECK(store_count(STORE_TLSRPT) < 200);
	note("later.example");
	tlsrpt_flush();
	CHECK(store_count(STORE_TLSRPT) < 201);
	free(reason);
}

TEST(outcomes_that_wait_to_be_written_have_a_limit)
{
	run(gather_much, ALL_DAY);
}
