/* SPDX-License-Identifier: Apache-2.0 */
/* The table that processes share: counted together, and nothing left of a process that was killed. */
#include "ipc/client_counts.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "check.h"

static const struct duration minute = {60 * NS_PER_S};

static struct client_counts *open_table(int fd, uint32_t column)
{
	struct client_counts *cc = NULL;

	CHECK_INT(client_counts_open(fd, column, &cc), 0);
	return cc;
}

static uint32_t enter(struct client_counts *cc, const char *client, struct client_slot **ret_slot)
{
	uint32_t count = 0;

	*ret_slot = client_enter(cc, str_of(client), minute, &count);
	CHECK(*ret_slot != NULL);
	return count;
}

TEST(two_processes_count_a_client_together)
{
	struct client_counts *master, *a, *b;
	struct client_slot *at_a, *at_b, *other;
	int fd;

	CHECK_INT(client_counts_create(&fd, &master), 0);
	a = open_table(fd, 1);
	b = open_table(fd, 2);
	CHECK_INT(enter(a, "x", &at_a), 1);
	CHECK_INT(enter(b, "x", &at_b), 2);
	CHECK_INT(enter(b, "y", &other), 1);
	CHECK_INT(client_count(at_a, 0, minute), 1);
	CHECK_INT(client_count(at_b, 0, minute), 2);
	CHECK_INT(client_count(at_b, 1, minute), 1);
	CHECK_INT(client_count(other, 0, minute), 1);
	client_leave(a, at_a);
	CHECK_INT(enter(a, "x", &at_a), 2);
	client_counts_clear(master, 2);
	CHECK_INT(enter(a, "x", &at_a), 2);
	client_counts_close(a);
	client_counts_close(b);
	client_counts_close(master);
	close(fd);
}

TEST(a_process_knows_whether_all_before_it_are_busy)
{
	struct client_counts *first, *second, *third;
	struct instant now = clock_now();
	int fd;

	CHECK_INT(client_counts_create(&fd, &first), 0);
	second = open_table(fd, 2);
	third = open_table(fd, 3);
	CHECK(client_counts_lower_are_busy(first, 0, now));
	CHECK(!client_counts_lower_are_busy(second, 1, now));
	client_counts_tell_busy(second, 1, now);
	CHECK(!client_counts_lower_are_busy(third, 2, now));
	client_counts_tell_busy(first, 0, now);
	CHECK(client_counts_lower_are_busy(third, 2, now));
	now = instant_after(now, duration_ms(150));
	CHECK(!client_counts_lower_are_busy(third, 2, now));
	client_counts_tell_busy(first, UINT32_MAX, now);
	client_counts_close(second);
	client_counts_close(third);
	client_counts_close(first);
	close(fd);
}

TEST(rates_outlive_the_connection_and_begin_anew_after_their_time)
{
	struct client_counts *cc;
	struct client_slot *s;

	CHECK_INT(client_counts_private(&cc), 0);
	(void)enter(cc, "x", &s);
	CHECK_INT(client_count(s, 0, minute), 1);
	client_leave(cc, s);
	(void)enter(cc, "x", &s);
	CHECK_INT(client_count(s, 0, minute), 2);
	usleep(5000);
	CHECK_INT(client_count(s, 0, duration_ms(1)), 1);
	client_counts_close(cc);
}

TEST(connected_clients_keep_their_place_and_others_give_it_up)
{
	struct client_counts *cc;
	struct client_slot *kept, *s;
	uint32_t count;
	char name[20];

	CHECK_INT(client_counts_private(&cc), 0);
	(void)enter(cc, "kept", &kept);
	for (int i = 0; i < 300000; i++) {
		snprintf(name, sizeof(name), "%d", i);
		s = client_enter(cc, str_of(name), minute, &count);
		CHECK(s != NULL);
		CHECK_INT(count, 1);
		client_leave(cc, s);
	}
	CHECK_INT(enter(cc, "kept", &s), 2);
	CHECK(s == kept);
	client_counts_close(cc);
}

TEST(a_full_table_counts_nobody_more)
{
	struct client_counts *cc;
	size_t uncounted = 0;
	uint32_t count;
	char name[20];

	CHECK_INT(client_counts_private(&cc), 0);
	for (int i = 0; i < 100000; i++) {
		snprintf(name, sizeof(name), "%d", i);
		uncounted += !client_enter(cc, str_of(name), minute, &count);
	}
	CHECK(uncounted > 60000 && uncounted < 70000);
	client_counts_close(cc);
}

TEST(what_is_no_table_is_refused)
{
	struct client_counts *cc, *master;
	int fd = memfd_create("no table", MFD_CLOEXEC), table_fd;

	CHECK_INT(client_counts_open(fd, 1, &cc), -EBADMSG);
	CHECK_INT(ftruncate(fd, 64 << 20), 0);
	CHECK_INT(client_counts_open(fd, 1, &cc), -EBADMSG);
	close(fd);
	CHECK_INT(client_counts_create(&table_fd, &master), 0);
	CHECK_INT(client_counts_open(table_fd, CLIENT_COLUMNS, &cc), -EBADMSG);
	CHECK_INT(ftruncate(table_fd, 0), -1);
	client_counts_close(master);
	close(table_fd);
}

/* Comes and goes as some of `clients` until it is killed. */
static _Noreturn void be_busy(int fd, uint32_t column, int clients)
{
	struct client_slot *held[8] = {NULL};
	struct client_counts *cc;
	char name[20];

	if (client_counts_open(fd, column, &cc))
		_exit(1);
	for (unsigned i = 0;; i++) {
		struct client_slot **s = &held[i % COUNT_OF(held)];
		uint32_t count;

		if (*s)
			client_leave(cc, *s);
		snprintf(name, sizeof(name), "%u", (i * 7919 + column) % (unsigned)clients);
		*s = client_enter(cc, str_of(name), minute, &count);
		if (*s)
			(void)client_count(*s, 0, minute);
	}
}

static void kill_round(int fd, struct client_counts *master, int clients)
{
	pid_t pids[4];

	for (uint32_t n = 0; n < COUNT_OF(pids); n++) {
		pids[n] = fork();
		if (pids[n] == 0)
			be_busy(fd, n + 1, clients);
	}
	usleep(20000);
	for (uint32_t n = 0; n < COUNT_OF(pids); n++) {
		kill(pids[n], SIGKILL);
		CHECK_INT(waitpid(pids[n], NULL, 0), pids[n]);
		client_counts_clear(master, n + 1);
	}
}

/* Few clients: contention for a slot; very many: contention for places. */
TEST(processes_killed_at_any_moment_leave_no_connection_and_no_lost_slot)
{
	static const int clients[] = {3, 2000000};

	for (size_t c = 0; c < COUNT_OF(clients); c++) {
		struct client_counts *master, *cc;
		struct client_slot *s;
		uint32_t count;
		size_t room = 0;
		char name[20];
		int fd;

		CHECK_INT(client_counts_create(&fd, &master), 0);
		for (int round = 0; round < 10; round++)
			kill_round(fd, master, clients[c]);
		cc = open_table(fd, 1);
		for (int i = 0; i < 3; i++) {
			snprintf(name, sizeof(name), "%d", i);
			CHECK_INT(enter(cc, name, &s), 1);
		}
		for (int i = 0; i < 100000; i++) {
			snprintf(name, sizeof(name), "new %d", i);
			s = client_enter(cc, str_of(name), minute, &count);
			CHECK(!s || count == 1);
			room += s != NULL;
		}
		CHECK(room > 32000);
		client_counts_close(cc);
		client_counts_close(master);
		close(fd);
	}
}
