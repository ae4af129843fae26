/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/message.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/arena.h"
#include "check.h"

static struct buf encoded(const struct message *m)
{
	struct buf b = BUF_INIT(MESSAGE_SIZE_MAX);

	message_encode(&b, m);
	return b;
}

TEST(a_message_comes_back_as_it_was_sent)
{
	struct message m = {.type = MESSAGE_DELIVER,
	                    .deliver = {.job = 1ULL << 40,
	                                .transport = STR("smtp"),
	                                .nexthop = STR("[127.0.0.1]:25"),
	                                .segment = 3,
	                                .epoch = 9,
	                                .content_at = 8192,
	                                .content_size = 77,
	                                .has_more = 1}};
	struct buf b = encoded(&m);
	struct str rest = buf_str(&b);
	struct message got;

	CHECK_INT(message_decode(&rest, &got), 0);
	CHECK_INT(rest.len, 0);
	CHECK_INT(got.type, MESSAGE_DELIVER);
	CHECK_INT(got.fd, -1);
	CHECK(got.deliver.job == 1ULL << 40);
	CHECK_STR(got.deliver.transport, STR("smtp"));
	CHECK_STR(got.deliver.nexthop, STR("[127.0.0.1]:25"));
	CHECK_STR(got.deliver.envelope, STR(""));
	CHECK_INT(got.deliver.content_at, 8192);
	CHECK_INT(got.deliver.has_more, 1);
	buf_done(&b);
}

TEST(frames_follow_each_other)
{
	struct message first = {.type = MESSAGE_GO, .go = {.generation = 1}};
	struct message second = {.type = MESSAGE_READY, .ready = {.generation = 2}};
	struct buf b = encoded(&first);
	struct str rest;
	struct message got;

	message_encode(&b, &second);
	rest = buf_str(&b);
	CHECK_INT(message_decode(&rest, &got), 0);
	CHECK_INT(got.go.generation, 1);
	CHECK_INT(message_decode(&rest, &got), 0);
	CHECK_INT(got.type, MESSAGE_READY);
	CHECK_INT(got.ready.generation, 2);
	CHECK_INT(message_decode(&rest, &got), -EBADMSG);
	buf_done(&b);
}

TEST(a_frame_cut_anywhere_is_refused_and_nothing_is_taken)
{
	struct message m = {.type = MESSAGE_SUBMITTED,
	                    .submitted = {.token = 5, .code = 250, .text = STR("2.0.0 Ok"), .queue_id = STR("4X")}};
	struct buf b = encoded(&m);

	for (size_t len = 0; len < b.len; len++) {
		struct str rest = str_n(b.ptr, len);
		struct message got;

		CHECK_INT(message_decode(&rest, &got), -EBADMSG);
		CHECK_INT(rest.len, len);
	}
	buf_done(&b);
}

TEST(bytes_behind_the_fields_are_refused)
{
	struct message m = {.type = MESSAGE_GO, .go = {.generation = 1}}, got;
	struct buf b = encoded(&m);
	struct str rest;

	b.ptr[0]++;
	buf_add_u8(&b, 0);
	rest = buf_str(&b);
	CHECK_INT(message_decode(&rest, &got), -EBADMSG);
	buf_done(&b);
}

TEST(unknown_types_and_values_are_refused)
{
	static const struct {
		const char *label;
		struct message m;
	} cases[] = {
		{"role", {.type = MESSAGE_PEER, .peer = {.role = ROLE_COUNT}}},
		{"status", {.type = MESSAGE_DELIVERED, .delivered = {.status = DELIVERY_STATUS_COUNT}}},
		{"site", {.type = MESSAGE_JOB_DONE, .job_done = {.site = SITE_STATE_COUNT}}},
		{"result", {.type = MESSAGE_AUTH_ANSWER, .auth_answer = {.result = AUTH_RESULT_COUNT}}},
	};
	struct str junk = str_n("\1\0\0\0\377", 5);
	struct message got;

	CHECK_INT(message_decode(&junk, &got), -EBADMSG);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct buf b = encoded(&cases[i].m);
		struct str rest = buf_str(&b);

		CHECK_CASE(message_decode(&rest, &got) == -EBADMSG, cases[i].label);
		buf_done(&b);
	}
}

TEST(a_trace_shows_fields_but_no_secret)
{
	struct message m = {
		.type = MESSAGE_AUTH_BEGIN,
		.auth_begin = {.token = 7, .service = STR("smtp/inet"), .mechanism = STR("pl\nain"), .initial = STR("hunter2")}};
	struct buf b = BUF_INIT(1000);

	message_format(&b, &m);
	CHECK_STR(buf_str(&b),
	          STR("AUTH_BEGIN token=7 service=smtp/inet mechanism=pl?ain initial=(7 bytes) has_tls=0 client_address= "
	              "client_port= server_address= server_port= binding=(0 bytes) is_exporter=0"));
	buf_done(&b);
}

TEST(only_messages_declared_so_carry_a_descriptor)
{
	CHECK(message_has_fd(MESSAGE_CONFIG));
	CHECK(!message_has_fd(MESSAGE_GO));
	CHECK(!message_has_fd(MESSAGE_NONE));
	CHECK(!message_has_fd(MESSAGE_TYPE_COUNT));
}

/* A message that is put between others changes the numbers of those behind it: `python3 tools/message_seeds.py` writes the seeds
 * anew. */
TEST(the_fuzzer_has_a_seed_of_each_message)
{
	for (enum message_type type = MESSAGE_NONE + 1; type < MESSAGE_TYPE_COUNT; type++) {
		struct arena a = ARENA_INIT;
		struct str name = arena_lower(&a, str_of(message_name(type)));
		struct message m = {.type = MESSAGE_NONE};
		const char *path = arena_printf(&a, SEEDS "/%.*s", STR_ARG(name)).ptr;
		char bytes[1000];
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t size = read(fd, bytes, sizeof(bytes));
		struct str rest = str_n(bytes, size > 0 ? (size_t)size : 0);

		CHECK_CASE(message_decode(&rest, &m) == 0 && m.type == type && !rest.len, path);
		close(fd);
		arena_done(&a);
	}
}
