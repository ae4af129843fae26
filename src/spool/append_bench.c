/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many messages a second become durable: append_bench [sessions [bytes [seconds [folder]]]]. One appender and
 * the owner in one process; each message is marked done as soon as it arrives, as if delivered at once.
 */
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/random.h"
#include "spool_fixture.h"

static struct {
	struct fixture f;
	const char *folder;
	struct buf content;
	unsigned sessions;
	unsigned running;
	unsigned seconds;
	uint64_t count;
	int64_t waited_ns;
	bool is_over;
	struct wait_list ended;
} bench;

static void session_main(void *arg)
{
	while (!bench.is_over) {
		struct instant begin = clock_now();

		if (fixture_append(&bench.f, "sender@example.com", 1, buf_str(&bench.content)))
			die("append_bench: cannot append");
		bench.waited_ns += duration_between(begin, clock_now()).ns;
		bench.count++;
	}
	bench.running--;
	wait_list_wake_all(&bench.ended);
}

static void deliver_main(void *arg)
{
	while (bench.running) {
		(void)fixture_wait(&bench.f, 1);
		while (bench.f.count)
			spool_finish(bench.f.sp, bench.f.messages[--bench.f.count]);
	}
}

static double cpu_seconds(void)
{
	struct rusage use;

	getrusage(RUSAGE_SELF, &use);
	return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) + (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static void bench_main(void *arg)
{
	double cpu = cpu_seconds();

	if (fixture_open(&bench.f, bench.folder, 0))
		die("append_bench: %s", buf_cstr(&bench.f.troubles));
	fixture_start_appender(&bench.f);
	bench.running = bench.sessions;
	for (unsigned i = 0; i < bench.sessions; i++)
		fiber_start("session", session_main, NULL);
	fiber_start("deliver", deliver_main, NULL);
	(void)fiber_sleep(duration_s(bench.seconds));
	bench.is_over = true;
	while (bench.running)
		(void)wait_list_wait(&bench.ended, INSTANT_NEVER);
	cpu = cpu_seconds() - cpu;
	printf("%u sessions, %zu bytes: %.0f messages/s, %.3f ms each, %.1f us of CPU each\n", bench.sessions, bench.content.len,
	       (double)bench.count / bench.seconds, (double)bench.waited_ns / 1e6 / (double)bench.count,
	       cpu * 1e6 / (double)bench.count);
	if (bench.f.troubles.len)
		printf("%s", buf_cstr(&bench.f.troubles));
	(void)fiber_sleep(duration_ms(50));
	fixture_close(&bench.f);
}

static unsigned argument(char **argv, int argc, int i, unsigned otherwise)
{
	return i < argc ? (unsigned)strtoul(argv[i], NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
	size_t size = argument(argv, argc, 2, 4096);

	bench.sessions = argument(argv, argc, 1, 64);
	bench.seconds = argument(argv, argc, 3, 5);
	bench.folder = argc > 4 ? argv[4] : "append_bench.spool";
	buf_init(&bench.content, size);
	random_bytes(buf_room(&bench.content, size), size);
	buf_added(&bench.content, size);
	wait_list_init(&bench.ended);
	fixture_run(bench_main, NULL);
	buf_done(&bench.content);
	return 0;
}
