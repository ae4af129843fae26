/* SPDX-License-Identifier: Apache-2.0 */
/* An agent between a queue manager that does not listen and a server that says little. */
#include "role/smtp/smtp_agent.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "config/config.h"
#include "mail/envelope.h"
#include "net/connect.h"
#include "net/dns.h"
#include "net/ip.h"
#include "role/smtp/connection.h"
#include "role/smtp/smtp_settings.h"
#include "role/smtp/target.h"
#include "test_sockets.h"

static const char content[] = "Subject: x\r\n\r\nbody\r\n";

static struct {
	int fd;
	uint16_t port;
	bool is_silent_at_quit;
	int message_count;
	int quit_count;
} server;

static struct {
	struct channel *qmgr;   /* our end */
	struct channel *agents; /* the other one */
} ends;

/* All is well, without pipelining. */
static void converse(void *arg)
{
	struct stream *s = arg;
	bool is_content = false, is_bare;
	const char *reply = "220 fake.example ESMTP\r\n";
	struct str line;

	while (!stream_write(s, str_of(reply)) && !stream_read_line(s, 2000, &line, &is_bare)) {
		server.message_count += is_content && str_eq(line, STR("."));
		is_content = is_content && !str_eq(line, STR("."));
		reply = is_content ? "" : "250 2.0.0 Ok\r\n";
		if (str_eq(line, STR("DATA"))) {
			is_content = true;
			reply = "354 go on\r\n";
		} else if (str_eq(line, STR("QUIT"))) {
			server.quit_count++;
			reply = server.is_silent_at_quit ? "" : "221 bye\r\n";
		}
	}
	stream_shutdown(s);
	stream_free(s);
}

static void serve(void *unused)
{
	struct watch w;
	int fd;

	watch_init(&w, server.fd);
	while (!accept_next(&w, &fd))
		fiber_start("conversation", converse, stream_new(fd));
	watch_done(&w);
	close(server.fd);
}

static void server_open(void)
{
	struct sockaddr_storage at;
	socklen_t size = sizeof(at);

	memset(&server, 0, sizeof(server));
	CHECK_INT(ip_parse(STR("127.0.0.1"), 0, &at), 0);
	CHECK_INT(listen_tcp((struct sockaddr *)&at, 10, &server.fd), 0);
	CHECK_INT(getsockname(server.fd, (struct sockaddr *)&at, &size), 0);
	server.port = ip_port((struct sockaddr *)&at);
	fiber_start("server", serve, NULL);
}

static void open_content(void)
{
	struct message m = {.type = MESSAGE_SEGMENT_OPEN, .segment_open = {.segment = 1, .epoch = 2}};
	char path[300];

	snprintf(path, sizeof(path), "%s/content", check_folder());
	m.fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	CHECK_INT(write(m.fd, content, sizeof(content) - 1), sizeof(content) - 1);
	CHECK_INT(channel_send(ends.qmgr, &m), 0);
	close(m.fd);
}

static void deliver(const char *transport, uint64_t job, bool has_more)
{
	struct buf envelope = BUF_INIT(10000), nexthop = BUF_INIT(100);
	struct recipient b = {.address = STR("b@example.com")};
	struct envelope e = {.queue_id = "3Pt2mN2VXxznjll",
	                     .sender = STR("a@example.org"),
	                     .arrival = clock_wall(),
	                     .recipients = &b,
	                     .recipient_count = 1};
	struct message m = {.type = MESSAGE_DELIVER};

	envelope_encode(&envelope, &e);
	/* As many nexthops as jobs: none takes the connection of another. */
	buf_addf(&nexthop, "[127.0.0.1]:%0*u", (int)job + 5, server.port);
	m.deliver = (struct message_deliver){.job = job,
	                                     .segment = 1,
	                                     .epoch = 2,
	                                     .envelope = buf_str(&envelope),
	                                     .transport = str_of(transport),
	                                     .nexthop = buf_str(&nexthop),
	                                     .content_size = sizeof(content) - 1,
	                                     .active_at = (uint64_t)clock_wall().us,
	                                     .has_more = has_more};
	CHECK_INT(channel_send(ends.qmgr, &m), 0);
	buf_done(&envelope);
	buf_done(&nexthop);
}

/* Reads until a job is done; how many recipients it had sent. Reports of job 0 do not count. */
static int sent_by_a_job(void)
{
	struct message m;
	int sent = 0;

	while (!channel_recv(ends.qmgr, clock_deadline(duration_s(20)), &m)) {
		if (m.type == MESSAGE_JOB_DONE)
			return sent;
		CHECK_INT(m.type, MESSAGE_DELIVERED);
		sent += m.delivered.job && m.delivered.status == DELIVERY_SENT;
	}
	CHECK(false);
	return sent;
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
	int fds[2];

	server_open();
	CHECK_INT(channel_socketpair(fds), 0);
	ends.agents = channel_new(fds[0]);
	ends.qmgr = channel_new(fds[1]);
	agent_serve(NULL, ends.agents);
	open_content();
	part(NULL);
	channel_free(ends.qmgr);
	loop_stop();
}

static void run(fiber_fn *fn, const char *main_cf)
{
	struct config *c;
	struct buf why = BUF_INIT(1000);

	check_write_file("main.cf", main_cf);
	check_write_file("master.cf", "smtp unix - - n - - smtp\nlmtp unix - - n - - lmtp\n");
	c = config_load(str_of(check_folder()), NULL, 0);
	CHECK_INT(smtp_settings_load(c, &why), 0);
	CHECK_INT(dns_init(config_main_view(c), &why), 0);
	targets_note_own(c);
	loop_init();
	channel_loop_init();
	part = fn;
	fiber_start("test", run_part, NULL);
	loop_run();
	loop_done();
	smtp_settings_free();
	dns_done();
	config_free(c);
	buf_done(&why);
}

#define BASICS "myhostname = client.example\ninet_protocols = ipv4\n"

/* Reports of job 0, as many as there is room for. */
static void fill_queue(char text[], size_t size)
{
	for (; size; size /= 2) {
		struct message m = {.type = MESSAGE_DELIVERED, .delivered = {.text = str_n(text, size)}};

		while (!channel_send(ends.agents, &m))
			;
	}
}

/* Until the socket takes no more either. */
static void fill_channel(void)
{
	enum { TEXT_SIZE = 1 << 20 };
	char *text = mem_alloc(TEXT_SIZE);
	size_t queued;

	do {
		fill_queue(text, TEXT_SIZE);
		queued = channel_queued(ends.agents);
		CHECK_INT(fiber_sleep(duration_ms(10)), 0);
	} while (channel_queued(ends.agents) < queued);
	free(text);
}

static void deliver_into_a_full_channel(void *unused)
{
	fill_channel();
	deliver("smtp", 1, false);
	wait_for(&server.message_count, 1);
	/* The outcome is known before anyone listens again. */
	CHECK_INT(fiber_sleep(duration_ms(100)), 0);
	CHECK_INT(sent_by_a_job(), 1);
}

TEST(an_outcome_waits_until_the_queue_manager_listens_again)
{
	run(deliver_into_a_full_channel, BASICS);
}

static void keep_three(void)
{
	server.is_silent_at_quit = true;
	for (uint64_t job = 1; job <= 3; job++)
		deliver("lmtp", job, true);
	for (int i = 0; i < 3; i++)
		CHECK_INT(sent_by_a_job(), 1);
	CHECK_INT(server.quit_count, 0);
}

static bool is_dropped;

static void drop(void *unused)
{
	connection_drop_kept();
	is_dropped = true;
}

static void drop_three(void *unused)
{
	is_dropped = false;
	keep_three();
	fiber_start("drop", drop, NULL);
	wait_for(&server.quit_count, 3);
	for (int i = 0; i < 2000 && !is_dropped; i++)
		CHECK_INT(fiber_sleep(duration_ms(10)), 0);
	CHECK(is_dropped);
}

TEST(servers_that_are_silent_at_quit_do_not_hold_up_the_end)
{
	run(drop_three, BASICS "lmtp_connection_cache_time_limit = 1h\nlmtp_connection_reuse_time_limit = 1h\n");
}

static void let_three_age(void *unused)
{
	keep_three();
	wait_for(&server.quit_count, 3);
}

TEST(servers_that_are_silent_at_quit_do_not_keep_others_connected)
{
	run(let_three_age, BASICS "lmtp_connection_cache_time_limit = 1s\n");
}
