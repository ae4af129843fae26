/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/channel.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

static struct {
	struct channel *left, *right;
} pair;

static void open_pair(void)
{
	int fds[2];

	loop_init();
	channel_loop_init();
	CHECK_INT(channel_socketpair(fds), 0);
	pair.left = channel_new(fds[0]);
	pair.right = channel_new(fds[1]);
}

static void run_fiber(fiber_fn *fn)
{
	open_pair();
	fiber_start("test", fn, NULL);
	loop_run();
	channel_free(pair.left);
	channel_free(pair.right);
	loop_done();
}

static struct instant soon(void)
{
	return clock_deadline(duration_s(60));
}

static void send_three(void *arg)
{
	struct message m = {.type = MESSAGE_QUEUED}, got;

	for (uint32_t i = 1; i <= 3; i++) {
		m.queued.segment = i;
		CHECK_INT(channel_send(pair.left, &m), 0);
	}
	for (uint32_t i = 1; i <= 3; i++) {
		CHECK_INT(channel_recv(pair.right, soon(), &got), 0);
		CHECK_INT(got.type, MESSAGE_QUEUED);
		CHECK_INT(got.queued.segment, i);
	}
	CHECK_INT(channel_recv(pair.right, clock_deadline(duration_ms(1)), &got), -ETIMEDOUT);
}

TEST(messages_arrive_in_order)
{
	run_fiber(send_three);
}

/* What one round sends is one packet: a raw read shows all frames at once. */
static void count_packets(void *arg)
{
	struct message m = {.type = MESSAGE_GO, .go = {.generation = 1}};
	char bytes[1000];
	ssize_t size;
	int fds[2];
	struct channel *ch;

	CHECK_INT(channel_socketpair(fds), 0);
	ch = channel_new(fds[0]);
	for (int i = 0; i < 10; i++)
		CHECK_INT(channel_send(ch, &m), 0);
	CHECK_INT(fiber_sleep(duration_ms(1)), 0);
	size = recv(fds[1], bytes, sizeof(bytes), 0);
	CHECK_INT(size, 2 + 10 * 13);
	CHECK_INT(bytes[0], 1);
	CHECK_INT(bytes[1], 0);
	CHECK(recv(fds[1], bytes, sizeof(bytes), 0) < 0);
	channel_free(ch);
	close(fds[1]);
}

TEST(messages_of_one_round_leave_in_one_packet)
{
	run_fiber(count_packets);
}

static void pass_descriptors(void *arg)
{
	enum { COUNT = 40 }; /* more than a packet carries */
	struct message got;
	int pipes[2];
	char byte = 0;

	CHECK_INT(pipe(pipes), 0);
	for (uint32_t i = 0; i < COUNT; i++) {
		struct message m = {.type = MESSAGE_PEER, .fd = pipes[1], .peer = {.role = ROLE_QMGR, .id = i}};

		CHECK_INT(channel_send(pair.left, &m), 0);
	}
	close(pipes[1]);
	for (uint32_t i = 0; i < COUNT; i++) {
		CHECK_INT(channel_recv(pair.right, soon(), &got), 0);
		CHECK_INT(got.peer.id, i);
		CHECK(got.fd >= 0);
		CHECK_INT(write(got.fd, "x", 1), 1);
		close(got.fd);
	}
	for (uint32_t i = 0; i < COUNT; i++)
		CHECK_INT(read(pipes[0], &byte, 1), 1);
	/* All duplicates are closed: the pipe has no writer left. */
	CHECK_INT(read(pipes[0], &byte, 1), 0);
	close(pipes[0]);
}

TEST(descriptors_travel_with_their_messages)
{
	run_fiber(pass_descriptors);
}

static struct str long_text(char **ret_memory, size_t size)
{
	*ret_memory = mem_alloc(size);
	for (size_t i = 0; i < size; i++)
		(*ret_memory)[i] = (char)('a' + i % 26);
	return str_n(*ret_memory, size);
}

static void send_large(void *arg)
{
	struct message m = {.type = MESSAGE_SUBMIT, .fd = STDERR_FILENO, .submit = {.token = 9}}, got;
	struct message after = {.type = MESSAGE_GO, .go = {.generation = 5}};
	char *memory;
	struct str text = long_text(&memory, 3 << 20);

	m.submit.envelope = text;
	CHECK_INT(channel_send(pair.left, &m), 0);
	CHECK_INT(channel_send(pair.left, &after), 0);
	CHECK_INT(channel_recv(pair.right, soon(), &got), 0);
	CHECK_INT(got.type, MESSAGE_SUBMIT);
	CHECK(str_eq(got.submit.envelope, text));
	CHECK(got.fd >= 0);
	close(got.fd);
	CHECK_INT(channel_recv(pair.right, soon(), &got), 0);
	CHECK_INT(got.go.generation, 5);
	free(memory);
}

TEST(a_message_larger_than_a_packet_arrives_whole)
{
	run_fiber(send_large);
}

/* The last part of the first one has room for as many descriptors as any packet. */
static void send_large_and_descriptors(void *arg)
{
	enum { COUNT = 16 };
	struct message m = {.type = MESSAGE_SUBMIT, .fd = STDERR_FILENO, .submit = {.token = 9}}, got;
	char *memory;

	m.submit.envelope = long_text(&memory, 200000);
	CHECK_INT(channel_send(pair.left, &m), 0);
	for (uint32_t i = 0; i < COUNT; i++) {
		struct message peer = {.type = MESSAGE_PEER, .fd = STDERR_FILENO, .peer = {.role = ROLE_QMGR, .id = i}};

		CHECK_INT(channel_send(pair.left, &peer), 0);
	}
	for (uint32_t i = 0; i < COUNT + 1; i++) {
		int err = channel_recv(pair.right, soon(), &got);

		CHECK_INT(err, 0);
		if (err)
			break;
		CHECK(got.fd > STDERR_FILENO);
		close(got.fd);
	}
	free(memory);
}

TEST(a_message_in_parts_and_those_behind_it_keep_their_descriptors)
{
	run_fiber(send_large_and_descriptors);
}

static void send_too_large(void *arg)
{
	char *memory;
	struct message m = {.type = MESSAGE_SUBMIT, .fd = STDERR_FILENO};

	m.submit.envelope = long_text(&memory, MESSAGE_SIZE_MAX);
	CHECK_INT(channel_send(pair.left, &m), -EMSGSIZE);
	free(memory);
}

TEST(a_message_past_the_limit_is_not_queued)
{
	run_fiber(send_too_large);
}

/* A peer that does not read: the queue is bounded, waiting for room ends at its deadline, and later at its end. */
static void fill(void *arg)
{
	char *memory;
	struct message m = {.type = MESSAGE_FAILED}, got;
	int err = 0, count = 0;

	m.failed.why = long_text(&memory, 1 << 20);
	while (!(err = channel_send(pair.left, &m)))
		count++;
	CHECK_INT(err, -ENOBUFS);
	CHECK(count >= 60 && count <= 64);
	CHECK_INT(channel_wait_room(pair.left, clock_deadline(duration_ms(5))), -ETIMEDOUT);
	for (int i = 0; i < count; i++)
		CHECK_INT(channel_recv(pair.right, soon(), &got), 0);
	CHECK_INT(channel_wait_room(pair.left, soon()), 0);
	CHECK(channel_queued(pair.left) <= CHANNEL_ROOM);
	free(memory);
}

TEST(a_peer_that_does_not_read_costs_bounded_memory)
{
	run_fiber(fill);
}

static void lose_peer(void *arg)
{
	struct message m = {.type = MESSAGE_GO}, got;

	CHECK_INT(channel_send(pair.right, &m), 0);
	channel_free(pair.right);
	pair.right = NULL;
	CHECK_INT(channel_recv(pair.left, soon(), &got), 0);
	CHECK_INT(channel_recv(pair.left, soon(), &got), -EPIPE);
	CHECK_INT(channel_recv(pair.left, soon(), &got), -EPIPE);
	CHECK_INT(channel_send(pair.left, &m), 0);
	CHECK_INT(fiber_sleep(duration_ms(1)), 0);
	CHECK_INT(channel_send(pair.left, &m), -EPIPE);
	CHECK_INT(channel_wait_room(pair.left, soon()), -EPIPE);
}

TEST(what_a_peer_sent_before_it_went_still_arrives)
{
	run_fiber(lose_peer);
}

static void receive_junk(void *arg)
{
	static const struct {
		const char *label;
		struct str bytes;
	} cases[] = {
		{"empty frame", {"\1\0", 2}},
		{"other version", {"\2\0\5\0\0\0\1\0\0\0\0", 11}},
		{"unknown flag", {"\1\2\5\0\0\0\1\0\0\0\0", 11}},
		{"unknown type", {"\1\0\5\0\0\0\377\0\0\0\0", 11}},
		{"descriptor missing", {"\1\0\5\0\0\0\1\0\0\0\0", 11}},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct message got;
		struct channel *ch;
		int fds[2];

		CHECK_INT(channel_socketpair(fds), 0);
		ch = channel_new(fds[0]);
		CHECK(send(fds[1], cases[i].bytes.ptr, cases[i].bytes.len, 0) > 0);
		CHECK_CASE(channel_recv(ch, soon(), &got) == -EBADMSG, cases[i].label);
		CHECK_CASE(channel_recv(ch, soon(), &got) == -EBADMSG, cases[i].label);
		channel_free(ch);
		close(fds[1]);
	}
}

TEST(junk_ends_the_channel)
{
	run_fiber(receive_junk);
}

static void use_endpoint(void *arg)
{
	struct buf path = BUF_INIT(1000);
	struct channel *client = NULL, *server = NULL;
	struct message m = {.type = MESSAGE_QUEUE_REQUEST, .queue_request = {.what = STR("list")}}, got;
	struct watch w;
	struct stat st;
	uid_t uid = 1;
	int fd = -1;

	buf_addf(&path, "%s/endpoint", check_folder());
	umask(077);
	CHECK_INT(channel_listen(buf_cstr(&path), 0666, &fd), 0);
	CHECK_INT(umask(022), 077);
	CHECK_INT(stat(buf_cstr(&path), &st), 0);
	CHECK_INT(st.st_mode & 0777, 0666);
	watch_init(&w, fd);
	CHECK_INT(channel_connect(buf_cstr(&path), &client), 0);
	CHECK_INT(channel_accept(&w, &server), 0);
	CHECK_INT(channel_send(client, &m), 0);
	CHECK_INT(channel_recv(server, soon(), &got), 0);
	CHECK_STR(got.queue_request.what, STR("list"));
	CHECK_INT(channel_peer_uid(server, &uid), 0);
	CHECK_INT(uid, getuid());
	channel_free(client);
	channel_free(server);
	watch_done(&w);
	close(fd);
	buf_done(&path);
}

TEST(a_command_reaches_a_role_through_an_endpoint)
{
	run_fiber(use_endpoint);
}
