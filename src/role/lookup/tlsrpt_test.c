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

static void write_file(const char *name, const char *text)
{
	char path[300];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", check_folder(), name);
	f = fopen(path, "w");
	CHECK(f != NULL);
	if (f) {
		fputs(text, f);
		fclose(f);
	}
}

static void run(fiber_fn *fn, const char *main_cf)
{
	struct buf why = BUF_INIT(1000);
	struct config *c;

	write_file("main.cf", main_cf);
	write_file("master.cf", "");
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
	struct message_tls_outcome o = {.domain = str_of(domain), .policy_type = STR("no-policy-found"), .policy_domain = str_of(domain)};

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
