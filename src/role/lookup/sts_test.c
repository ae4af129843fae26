/* SPDX-License-Identifier: Apache-2.0 */
/* Questions about policies, with the real store; the DNS and the web are the test's own. */
#include "role/lookup/sts.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

#include "check.h"
#include "fiber/fiber.h"
#include "net/dns.h"
#include "role/lookup/store.h"
#include "role/lookup/web.h"

enum { FETCHES_MAX = 2000 };

static struct {
	bool is_held; /* requests get no answer */
	struct wait_list go_on;
	int request_count;
	int answer_count;
	uint32_t result; /* of the last answer */
	char failure[50];
} world;

int dns_lookup(struct str name, enum dns_type type, struct duration timeout, struct arena *a, struct dns_answer *ret_answer)
{
	static struct dns_record record = {.type = DNS_TXT, .data = {"v=STSv1; id=1", 13}};

	*ret_answer = (struct dns_answer){.status = DNS_FOUND, .records = &record, .count = 1};
	return fiber_yield();
}

int web_request(const struct web_wish *wish, struct arena *a, struct web_answer *ret_answer, struct buf *why)
{
	world.request_count++;
	while (world.is_held) {
		int err = wait_list_wait(&world.go_on, INSTANT_NEVER);

		if (err)
			return err;
	}
	*ret_answer = (struct web_answer){.status = 200,
	                                  .media_type = STR("text/plain"),
	                                  .body = STR("version: STSv1\nmode: enforce\nmx: mx.example\nmax_age: 86400\n")};
	return 0;
}

struct client *client_hold(struct client *c)
{
	return c;
}

void client_release(struct client *c)
{
}

void client_send(struct client *c, const struct message *m)
{
	world.answer_count++;
	world.result = m->sts_answer.result;
	snprintf(world.failure, sizeof(world.failure), "%.*s", STR_ARG(m->sts_answer.failure));
}

static void ask(const char *domain)
{
	struct message_sts_ask m = {.domain = str_of(domain), .token = 1};

	sts_take_question(NULL, &m);
}

static void wait_for(const int *counter, int count)
{
	struct instant deadline = clock_deadline(duration_s(20));

	while (*counter < count && instant_is_before(clock_now(), deadline))
		CHECK_INT(fiber_sleep(duration_ms(1)), 0);
	CHECK_INT(*counter, count);
}

static fiber_fn *part;

static void run_part(void *unused)
{
	part(NULL);
	loop_stop();
}

static void run(fiber_fn *fn)
{
	struct buf why = BUF_INIT(1000);
	struct config *c;

	check_write_file("main.cf", "");
	check_write_file("master.cf", "");
	c = config_load(str_of(check_folder()), NULL, 0);
	memset(&world, 0, sizeof(world));
	wait_list_init(&world.go_on);
	loop_init();
	if (!store_is_open())
		CHECK_INT(store_open(str_of(check_folder()), &why), 0);
	sts_start(c);
	part = fn;
	fiber_start("test", run_part, NULL);
	loop_run();
	loop_done();
	config_free(c);
	buf_done(&why);
}

static void ask_for_many(void *unused)
{
	world.is_held = true;
	for (int i = 0; i < FETCHES_MAX; i++) {
		char domain[40];

		snprintf(domain, sizeof(domain), "d%d.example", i);
		ask(domain);
	}
	wait_for(&world.request_count, FETCHES_MAX);
	ask("one.more.example");
	wait_for(&world.answer_count, 1);
	CHECK_INT(world.result, ENOENT);
	CHECK_STR(str_of(world.failure), STR("sts-policy-fetch-error"));
	/* Who asks for one that is under way waits with the others. */
	ask("d0.example");
	world.is_held = false;
	wait_list_wake_all(&world.go_on);
	wait_for(&world.answer_count, FETCHES_MAX + 2);
	CHECK_INT(world.request_count, FETCHES_MAX);
	CHECK_INT(world.result, 0);
}

TEST(policies_that_are_fetched_at_once_have_a_limit)
{
	run(ask_for_many);
}

/* What a full disk is like. */
static void set_file_limit(rlim_t most)
{
	struct rlimit limit;

	signal(SIGXFSZ, SIG_IGN);
	CHECK_INT(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = most;
	CHECK_INT(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void ask_while_the_disk_is_full(void *unused)
{
	set_file_limit(0);
	ask("kept.example");
	wait_for(&world.answer_count, 1);
	set_file_limit(RLIM_INFINITY);
	CHECK_INT(world.result, EFBIG);
	ask("kept.example");
	wait_for(&world.answer_count, 2);
	CHECK_INT(world.result, 0);
}

TEST(a_policy_that_the_store_refuses_is_not_taken_for_none)
{
	run(ask_while_the_disk_is_full);
}
