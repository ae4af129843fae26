/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a backlog costs: backlog_bench [messages [bytes [folder]]] appends and defers them all, then
 * measures a start: until the first message is accepted, until a listing shows 20, and until it has shown all.
 */
#include <sys/stat.h>
#include <unistd.h>

#include "base/random.h"
#include "spool_fixture.h"

static struct {
	struct fixture f;
	const char *folder;
	struct buf content;
	unsigned left;
	unsigned running;
	struct wait_list ended;
} bench;

static double ms_since(struct instant begin)
{
	return (double)duration_between(begin, clock_now()).ns / 1e6;
}

static long resident_kb(void)
{
	char line[256];
	long kb = 0;
	FILE *status = fopen("/proc/self/status", "r");

	while (status && fgets(line, sizeof line, status))
		if (!strncmp(line, "VmRSS:", 6))
			kb = strtol(line + 6, NULL, 10);
	if (status)
		(void)fclose(status);
	return kb;
}

static void append(void)
{
	if (fixture_append(&bench.f, "sender@example.com", 1, buf_str(&bench.content)))
		die("backlog_bench: cannot append");
}

static void session_main(void *arg)
{
	while (bench.left) {
		bench.left--;
		append();
	}
	bench.running--;
	wait_list_wake_all(&bench.ended);
}

static void defer_arrived(void)
{
	while (bench.f.count) {
		struct spool_message *m = bench.f.messages[--bench.f.count];

		m->recipients[0].reason = (struct spool_reason){
			.dsn = STR("4.4.1"), .text = STR("connect to mx.example.org[192.0.2.1]:25: Connection timed out")};
		m->next_attempt.us = clock_wall().us + (3600 + random_below(3600)) * INT64_C(1000000);
		spool_defer(bench.f.sp, m);
	}
}

static void fill(unsigned count)
{
	struct spool_counts counts;
	struct instant begin = clock_now();

	bench.left = count;
	bench.running = 64;
	for (unsigned i = 0; i < 64; i++)
		fiber_start("session", session_main, NULL);
	do {
		(void)fiber_sleep(duration_ms(5));
		defer_arrived();
		spool_count(bench.f.sp, &counts);
	} while (bench.running || counts.waiting || counts.committing || counts.active);
	printf("%u messages appended and deferred in %.0f ms, %llu indexed, %llu MB in segments\n", count, ms_since(begin),
	       (unsigned long long)counts.indexed, (unsigned long long)(counts.disk >> 20));
}

static void measure_start(void)
{
	const struct spool_message *m;
	struct spool_list *list;
	struct instant begin = clock_now();
	unsigned count = 0;

	if (fixture_open(&bench.f, bench.folder, 0))
		die("backlog_bench: %s", buf_cstr(&bench.f.troubles));
	printf("opened after %.1f ms\n", ms_since(begin));
	fixture_start_appender(&bench.f);
	append();
	printf("first message accepted after %.1f ms, %ld MB resident\n", ms_since(begin), resident_kb() >> 10);
	begin = clock_now();
	if (spool_list_open(bench.f.sp, &list))
		die("backlog_bench: no list");
	while (!spool_list_next(list, &m))
		if (++count == 20)
			printf("20 listed after %.1f ms\n", ms_since(begin));
	spool_list_close(list);
	printf("%u listed after %.1f ms, %ld MB resident\n", count, ms_since(begin), resident_kb() >> 10);
}

static void bench_main(void *arg)
{
	if (fixture_open(&bench.f, bench.folder, 0))
		die("backlog_bench: %s", buf_cstr(&bench.f.troubles));
	fixture_start_appender(&bench.f);
	fill(*(unsigned *)arg);
	fixture_close(&bench.f);
	measure_start();
	fixture_close(&bench.f);
}

int main(int argc, char **argv)
{
	unsigned count = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 100000;
	size_t size = argc > 2 ? strtoul(argv[2], NULL, 10) : 4096;

	bench.folder = argc > 3 ? argv[3] : "backlog_bench.spool";
	buf_init(&bench.content, size);
	random_bytes(buf_room(&bench.content, size), size);
	buf_added(&bench.content, size);
	wait_list_init(&bench.ended);
	fixture_run(bench_main, &count);
	buf_done(&bench.content);
	return 0;
}
