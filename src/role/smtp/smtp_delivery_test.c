/* SPDX-License-Identifier: Apache-2.0 */
/* Deliveries to a server that answers by rules, asked for and reported over a real channel. */
#include "role/smtp/smtp_delivery.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "test_sockets.h"
#include "config/config.h"
#include "net/connect.h"
#include "net/dns.h"
#include "net/ip.h"
#include "role/smtp/smtp_agent.h"
#include "role/smtp/smtp_body.h"

/* What the server answers to a line that begins so; once. "" hangs up, "~" stays silent. */
struct rule {
	const char *line;
	const char *reply;
};

static struct {
	int fd;
	uint16_t port;
	struct rule rules[8];
	struct buf heard; /* what clients said; content lines as they came */
	int connections;
	bool is_lmtp;
	int accepted;
} server;

static const char *reply_to(const char *line)
{
	static const struct rule usual[] = {
		{"EHLO", "250-fake.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 1000\r\n"},
		{"LHLO", "250-fake.example\r\n250 PIPELINING\r\n"},
		{"HELO", "250 fake.example\r\n"},
		{"MAIL", "250 2.1.0 Ok\r\n"},
		{"RCPT", "250 2.1.5 Ok\r\n"},
		{"DATA", "354 go on\r\n"},
		{".", "250 2.0.0 Ok: queued as 123\r\n"},
		{"QUIT", "221 bye\r\n"},
	};

	for (size_t i = 0; i < COUNT_OF(server.rules); i++)
		if (server.rules[i].line && str_starts(str_of(line), str_of(server.rules[i].line))) {
			server.rules[i].line = NULL;
			return server.rules[i].reply;
		}
	for (size_t i = 0; i < COUNT_OF(usual); i++)
		if (str_starts(str_of(line), str_of(usual[i].line)))
			return usual[i].reply;
	return "500 what?\r\n";
}

static bool answer(struct stream *s, const char *line)
{
	const char *reply = reply_to(line);

	if (str_eq(str_of(reply), STR("~")))
		return true;
	return *reply && !stream_write(s, str_of(reply));
}

static void converse(void *arg)
{
	struct stream *s = arg;
	bool is_content = false, goes_on = answer(s, "greeting");
	struct str line;
	bool is_bare;

	while (goes_on && !stream_read_line(s, 2000, &line, &is_bare)) {
		char text[200];

		snprintf(text, sizeof(text), "%.*s", STR_ARG(line));
		buf_addf(&server.heard, "%s|", text);
		if (is_content && strcmp(text, ".") != 0)
			continue;
		server.accepted += str_starts(str_of(text), STR("RCPT"));
		for (int i = 0; goes_on && i < (server.is_lmtp && is_content ? server.accepted : 1); i++)
			goes_on = answer(s, text);
		is_content = str_eq(str_of(text), STR("DATA")) && goes_on;
	}
	stream_shutdown(s);
	stream_free(s);
}

static void serve(void *unused)
{
	struct watch w;
	int fd;

	watch_init(&w, server.fd);
	while (!accept_next(&w, &fd)) {
		server.connections++;
		server.accepted = 0;
		fiber_start("conversation", converse, stream_new(fd));
	}
	watch_done(&w);
	close(server.fd);
}

static void server_open(void)
{
	struct sockaddr_storage at;
	socklen_t size = sizeof(at);

	CHECK_INT(ip_parse(STR("127.0.0.1"), 0, &at), 0);
	CHECK_INT(listen_tcp((struct sockaddr *)&at, 10, &server.fd), 0);
	CHECK_INT(getsockname(server.fd, (struct sockaddr *)&at, &size), 0);
	server.port = ip_port((struct sockaddr *)&at);
	server.heard = BUF_INIT(100000);
}

/* What a test orders: recipients parted by blanks, how often. */
struct order {
	const char *recipients;
	const char *transport; /* "smtp" when NULL */
	const char *nexthop;   /* the server when NULL */
	const char *content;
	uint8_t notify;
	uint32_t flags;
	int times;
	int pause_ms;       /* between two */
	bool is_broken_off; /* the first, once the server has heard DATA */
};

static struct order order;
static struct buf outcome; /* "recipient status dsn text|... site N reason|" */

static int content_open(const char *content)
{
	char path[300];
	int fd;

	snprintf(path, sizeof(path), "%s/content", check_folder());
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	CHECK_INT(write(fd, content, strlen(content)), (long long)strlen(content));
	return fd;
}

static void send_order(struct channel *ch)
{
	const char *content = order.content ? order.content : "Subject: x\r\n\r\n.dot\r\n";
	struct arena a = ARENA_INIT;
	struct buf envelope = BUF_INIT(10000), nexthop = BUF_INIT(100);
	struct envelope e = {
		.queue_id = "3Pt2mN2VXxznjll", .sender = STR("a@example.org"), .flags = order.flags, .arrival = clock_wall()};
	struct str rest = str_of(order.recipients), address;
	struct message m = {
		.type = MESSAGE_SEGMENT_OPEN, .fd = content_open(content), .segment_open = {.segment = 1, .epoch = 2}};

	CHECK_INT(channel_send(ch, &m), 0);
	close(m.fd);
	e.recipients = arena_alloc(&a, 200 * sizeof(*e.recipients));
	while (str_next(&rest, " ", &address))
		e.recipients[e.recipient_count++] = (struct recipient){.address = address, .notify = order.notify};
	envelope_encode(&envelope, &e);
	buf_addf(&nexthop, "[127.0.0.1]:%u", server.port);
	m = (struct message){.type = MESSAGE_DELIVER};
	m.deliver = (struct message_deliver){.job = 7, .segment = 1, .epoch = 2, .envelope = buf_str(&envelope)};
	m.deliver.transport = str_of(order.transport ? order.transport : "smtp");
	m.deliver.nexthop = order.nexthop ? str_of(order.nexthop) : buf_str(&nexthop);
	m.deliver.content_size = strlen(content);
	m.deliver.active_at = (uint64_t)clock_wall().us;
	m.deliver.has_more = order.times > 1;
	CHECK_INT(channel_send(ch, &m), 0);
	buf_done(&envelope);
	buf_done(&nexthop);
	arena_done(&a);
}

static void read_outcome(struct channel *ch)
{
	static const char *const words[] = {"sent", "deferred", "bounced", "deliverable", "undeliverable"};
	struct message m;

	while (!channel_recv(ch, clock_deadline(duration_s(60)), &m)) {
		if (m.type == MESSAGE_JOB_DONE) {
			buf_addf(&outcome, "site %u", m.job_done.site);
			return;
		}
		CHECK_INT(m.type, MESSAGE_DELIVERED);
		CHECK_INT(m.delivered.job, 7);
		buf_addf(&outcome, "%u %s %.*s %.*s%s%.*s|", m.delivered.recipient, words[m.delivered.status],
		         STR_ARG(m.delivered.dsn), STR_ARG(m.delivered.text), m.delivered.action.len ? " " : "",
		         STR_ARG(m.delivered.action));
	}
	CHECK(false);
}

/* As at a stop of the system: no outcome is reported. */
static void break_off(void)
{
	struct instant deadline = clock_deadline(duration_s(20));

	while (str_find_str(buf_str(&server.heard), STR("DATA|")) == server.heard.len && instant_is_before(clock_now(), deadline))
		CHECK_INT(fiber_sleep(duration_ms(1)), 0);
	agent_give_up(NULL);
}

static void test_fiber(void *unused)
{
	int fds[2];
	struct channel *ch;

	CHECK_INT(channel_socketpair(fds), 0);
	agent_serve(NULL, channel_new(fds[0]));
	ch = channel_new(fds[1]);
	for (int i = 0; i < (order.times ? order.times : 1); i++) {
		if (i)
			CHECK_INT(fiber_sleep(duration_ms(order.pause_ms)), 0);
		buf_reset(&outcome);
		send_order(ch);
		if (order.is_broken_off && !i)
			break_off();
		else
			read_outcome(ch);
	}
	channel_free(ch);
	connection_drop_kept();
	loop_stop();
}

/* `server.rules` and `order` are set before. PORT in main.cf becomes the server's. */
static void run_with(const char *main_cf)
{
	struct config *c;
	struct buf why = BUF_INIT(1000), text = BUF_INIT(10000);
	size_t at = str_find_str(str_of(main_cf), STR("PORT"));

	server_open();
	buf_add(&text, str_cut(str_of(main_cf), 0, at));
	if (main_cf[at])
		buf_addf(&text, "%u%s", server.port, main_cf + at + 4);
	check_write_file("main.cf", buf_cstr(&text));
	buf_done(&text);
	check_write_file("master.cf", "smtp unix - - n - - smtp\nlmtp unix - - n - - lmtp\n");
	c = config_load(str_of(check_folder()), NULL, 0);
	CHECK_INT(smtp_settings_load(c, &why), 0);
	CHECK_INT(dns_init(config_main_view(c), &why), 0);
	targets_note_own(c);
	outcome = BUF_INIT(100000);
	loop_init();
	channel_loop_init();
	fiber_start("server", serve, NULL);
	fiber_start("test", test_fiber, NULL);
	loop_run();
	loop_done();
	smtp_settings_free();
	dns_done();
	config_free(c);
	buf_done(&why);
}

static void run(void)
{
	run_with("myhostname = client.example\ninet_protocols = ipv4\nsmtp_tls_security_level = none\n");
}

/* Checks, and makes ready for the next one. */
static void expect(const char *want_outcome, const char *want_heard)
{
	CHECK_STR(buf_str(&outcome), str_of(want_outcome));
	if (want_heard)
		CHECK_STR(buf_str(&server.heard), str_of(want_heard));
	buf_done(&outcome);
	buf_done(&server.heard);
	memset(&server, 0, sizeof(server));
	order = (struct order){0};
}

static void rules(const char *greeting, const struct rule *more, size_t count)
{
	memset(&server, 0, sizeof(server));
	server.rules[0] = (struct rule){"greeting", greeting};
	if (count)
		memcpy(&server.rules[1], more, count * sizeof(*more));
}

#define RULES(...) \
	do { \
		static const struct rule list[] = {__VA_ARGS__}; \
		rules("220 fake.example ESMTP\r\n", list, COUNT_OF(list)); \
	} while (0)

TEST(a_message_is_sent_with_its_envelope_in_one_go)
{
	RULES({0});
	order = (struct order){.recipients = "b@example.com c@example.com"};
	run();
	expect("0 sent 2.0.0 250 2.0.0 Ok: queued as 123|1 sent 2.0.0 250 2.0.0 Ok: queued as 123|site 0",
	       "EHLO client.example|MAIL FROM:<a@example.org> SIZE=20|RCPT TO:<b@example.com>|RCPT "
	       "TO:<c@example.com>|DATA|Subject: x||"
	       "..dot|.|QUIT|");
}

TEST(without_pipelining_each_command_waits_for_its_reply)
{
	RULES({"EHLO", "250 fake.example\r\n"});
	order = (struct order){.recipients = "b@example.com c@example.com"};
	run();
	expect("0 sent 2.0.0 250 2.0.0 Ok: queued as 123|1 sent 2.0.0 250 2.0.0 Ok: queued as 123|site 0",
	       "EHLO client.example|MAIL FROM:<a@example.org>|RCPT TO:<b@example.com>|RCPT TO:<c@example.com>|DATA|Subject: "
	       "x||..dot|.|QUIT|");
}

TEST(a_refused_recipient_bounces_alone_and_a_delayed_one_waits)
{
	RULES({"RCPT TO:<b@", "550 5.1.1 no such user\r\n"}, {"RCPT TO:<c@", "450 4.2.0 greylisted\r\n"});
	order = (struct order){.recipients = "b@example.com c@example.com d@example.com"};
	run();
	expect("0 bounced 5.1.1 host 127.0.0.1[127.0.0.1] said: 550 5.1.1 no such user (in reply to RCPT TO command)|"
	       "2 sent 2.0.0 250 2.0.0 Ok: queued as 123|"
	       "1 deferred 4.2.0 host 127.0.0.1[127.0.0.1] said: 450 4.2.0 greylisted (in reply to RCPT TO command)|site 0",
	       NULL);
}

TEST(when_all_recipients_are_refused_no_content_is_sent)
{
	RULES({"RCPT", "550 5.1.1 no\r\n"}, {".", "554 no valid recipients\r\n"});
	order = (struct order){.recipients = "b@example.com"};
	run();
	expect("0 bounced 5.1.1 host 127.0.0.1[127.0.0.1] said: 550 5.1.1 no (in reply to RCPT TO command)|site 0",
	       "EHLO client.example|MAIL FROM:<a@example.org> SIZE=20|RCPT TO:<b@example.com>|DATA|.|QUIT|");
}

TEST(a_refused_sender_is_for_all_recipients)
{
	RULES({"MAIL", "550 5.7.1 go away\r\n"}, {"RCPT", "503 no\r\n"}, {"RCPT", "503 no\r\n"}, {"DATA", "503 no\r\n"});
	order = (struct order){.recipients = "b@example.com c@example.com"};
	run();
	expect("0 bounced 5.7.1 host 127.0.0.1[127.0.0.1] said: 550 5.7.1 go away (in reply to MAIL FROM command)|"
	       "1 bounced 5.7.1 host 127.0.0.1[127.0.0.1] said: 550 5.7.1 go away (in reply to MAIL FROM command)|site 0",
	       NULL);
}

TEST(content_that_is_refused_for_now_waits)
{
	RULES({".", "451 4.3.0 later\r\n"});
	order = (struct order){.recipients = "b@example.com"};
	run();
	expect("0 deferred 4.3.0 host 127.0.0.1[127.0.0.1] said: 451 4.3.0 later (in reply to end of DATA command)|site 0", NULL);
}

TEST(a_server_that_refuses_everyone_is_left_alone)
{
	rules("554 5.3.2 closed\r\n", NULL, 0);
	order = (struct order){.recipients = "b@example.com"};
	run();
	expect("0 deferred 4.3.2 host 127.0.0.1[127.0.0.1] refused to talk to me: 554 5.3.2 closed|site 2", NULL);
}

TEST(helo_follows_when_ehlo_is_refused)
{
	RULES({"EHLO", "502 what?\r\n"});
	order = (struct order){.recipients = "b@example.com"};
	run();
	expect("0 sent 2.0.0 250 2.0.0 Ok: queued as 123|site 0",
	       "EHLO client.example|HELO client.example|MAIL FROM:<a@example.org>|RCPT TO:<b@example.com>|DATA|Subject: "
	       "x||..dot|.|QUIT|");
}

TEST(ehlo_may_depend_on_the_greeting)
{
	static const char main_cf[] = "myhostname = client.example\ninet_protocols = ipv4\nsmtp_tls_security_level = none\n"
				      "smtp_always_send_ehlo = no\n";

	rules("220 fake.example ready\r\n", NULL, 0);
	order = (struct order){.recipients = "b@example.com"};
	run_with(main_cf);
	expect("0 sent 2.0.0 250 2.0.0 Ok: queued as 123|site 0",
	       "HELO client.example|MAIL FROM:<a@example.org>|RCPT TO:<b@example.com>|DATA|Subject: x||..dot|.|QUIT|");
	RULES({0});
	order = (struct order){.recipients = "b@example.com"};
	run_with(main_cf);
	expect("0 sent 2.0.0 250 2.0.0 Ok: queued as 123|site 0",
	       "EHLO client.example|MAIL FROM:<a@example.org> SIZE=20|RCPT TO:<b@example.com>|DATA|Subject: x||..dot|.|QUIT|");
}

TEST(a_connection_lost_at_the_end_of_data_is_told_as_such)
{
	RULES({".", ""});
	order = (struct order){.recipients = "b@example.com"};
	run();
	expect("0 deferred 4.4.2 lost connection with 127.0.0.1[127.0.0.1] while sending end of data -- message may be sent more "
	       "than "
	       "once|site 0",
	       NULL);
}

TEST(a_silent_server_runs_into_the_timeout)
{
	rules("~", NULL, 0);
	order = (struct order){.recipients = "b@example.com"};
	run_with("inet_protocols = ipv4\nsmtp_helo_timeout = 1s\n");
	expect("0 deferred 4.4.2 conversation with 127.0.0.1[127.0.0.1] timed out while receiving the initial server "
	       "greeting|site 2",
	       NULL);
}

TEST(what_is_no_reply_ends_the_conversation)
{
	RULES({"MAIL", "hello\r\n"});
	order = (struct order){.recipients = "b@example.com"};
	run();
	expect("0 deferred 4.5.0 host 127.0.0.1[127.0.0.1] said what is no reply: hello|site 0", NULL);
}

TEST(recipients_that_are_too_many_go_in_another_transaction)
{
	RULES({"RCPT TO:<c@", "452 4.5.3 too many\r\n"}, {"RCPT TO:<d@", "552 too many\r\n"});
	order = (struct order){.recipients = "b@example.com c@example.com d@example.com"};
	run();
	expect("0 sent 2.0.0 250 2.0.0 Ok: queued as 123|1 sent 2.0.0 250 2.0.0 Ok: queued as 123|2 sent 2.0.0 250 2.0.0 Ok: "
	       "queued as "
	       "123|site 0",
	       "EHLO client.example|MAIL FROM:<a@example.org> SIZE=20|RCPT TO:<b@example.com>|RCPT TO:<c@example.com>|RCPT "
	       "TO:<d@example.com>|DATA|Subject: x||..dot|.|MAIL FROM:<a@example.org> SIZE=20|RCPT TO:<c@example.com>|RCPT "
	       "TO:<d@example.com>|DATA|Subject: x||..dot|.|QUIT|");
}

TEST(the_connection_serves_the_next_message)
{
	RULES({0});
	order = (struct order){.recipients = "b@example.com", .times = 3};
	run();
	CHECK_INT(server.connections, 1);
	expect("0 sent 2.0.0 250 2.0.0 Ok: queued as 123|site 0", NULL);
}

TEST(a_kept_connection_that_died_is_replaced_in_silence)
{
	RULES({"MAIL", "250 ok\r\n"}, {"MAIL", ""}, {"greeting", "220 again\r\n"});
	order = (struct order){.recipients = "b@example.com", .times = 2};
	run();
	CHECK_INT(server.connections, 2);
	expect("0 sent 2.0.0 250 2.0.0 Ok: queued as 123|site 0", NULL);
}

TEST(a_connection_whose_replies_are_still_to_come_serves_nobody_else)
{
	RULES({"MAIL", "~"}, {"RCPT", "~"}, {"DATA", "~"}, {"greeting", "220 again\r\n"});
	order = (struct order){.recipients = "b@example.com", .times = 2, .is_broken_off = true};
	run();
	CHECK_INT(server.connections, 2);
	expect("0 sent 2.0.0 250 2.0.0 Ok: queued as 123|site 0", NULL);
}

TEST(nobody_listening_makes_the_site_down)
{
	RULES({0});
	order = (struct order){.recipients = "b@example.com", .nexthop = "[127.0.0.1]:9"};
	run();
	expect("0 deferred 4.4.1 connect to 127.0.0.1[127.0.0.1]:9: Connection refused|site 2", "");
}

TEST(the_fallback_relay_helps_out)
{
	RULES({0});
	order = (struct order){.recipients = "b@example.com", .nexthop = "[127.0.0.1]:9"};
	run_with("inet_protocols = ipv4\nmyhostname = client.example\nsmtp_fallback_relay = [127.0.0.1]:10, [127.0.0.1]:PORT\n");
	CHECK_INT(server.connections, 1);
	expect("0 sent 2.0.0 250 2.0.0 Ok: queued as 123|site 0", NULL);
}

TEST(the_last_host_that_failed_is_named)
{
	RULES({0});
	order = (struct order){.recipients = "b@example.com", .nexthop = "[127.0.0.1]:9"};
	run_with("inet_protocols = ipv4\nsmtp_fallback_relay = [127.0.0.1]:10\n");
	expect("0 deferred 4.4.1 connect to 127.0.0.1[127.0.0.1]:10: Connection refused|site 2", "");
}

TEST(a_message_over_the_servers_limit_is_not_offered)
{
	static char content[1200];

	memset(content, 'x', sizeof(content) - 1);
	RULES({0});
	order = (struct order){.recipients = "b@example.com", .content = content};
	run();
	expect("0 bounced 5.3.4 message size 1199 exceeds size limit 1000 of server 127.0.0.1[127.0.0.1]|site 0",
	       "EHLO client.example|QUIT|");
}

TEST(success_reports_go_along_or_are_told_to_be_lost)
{
	RULES({"EHLO", "250-fake.example\r\n250-PIPELINING\r\n250 DSN\r\n"});
	order = (struct order){.recipients = "b@example.com", .notify = NOTIFY_SUCCESS | NOTIFY_FAILURE};
	run();
	expect("0 sent 2.0.0 250 2.0.0 Ok: queued as 123|site 0",
	       "EHLO client.example|MAIL FROM:<a@example.org>|RCPT TO:<b@example.com> NOTIFY=SUCCESS,FAILURE|DATA|Subject: "
	       "x||..dot|.|QUIT|");
	RULES({0});
	order = (struct order){.recipients = "b@example.com", .notify = NOTIFY_SUCCESS};
	run();
	expect("0 sent 2.0.0 250 2.0.0 Ok: queued as 123 relayed|site 0", NULL);
}

TEST(lmtp_has_an_outcome_for_each_recipient)
{
	RULES({".", "250 2.0.0 kept\r\n"}, {".", "452 4.2.2 full\r\n"});
	server.is_lmtp = true;
	order = (struct order){.recipients = "b@example.com c@example.com", .transport = "lmtp"};
	run();
	expect("0 sent 2.0.0 250 2.0.0 kept|1 deferred 4.2.2 host 127.0.0.1[127.0.0.1] said: 452 4.2.2 full (in reply to end of "
	       "DATA "
	       "command)|site 0",
	       "LHLO client.example|MAIL FROM:<a@example.org>|RCPT TO:<b@example.com>|RCPT TO:<c@example.com>|DATA|Subject: "
	       "x||..dot|.|QUIT|");
}

TEST(tls_that_is_required_and_not_offered_puts_mail_off)
{
	RULES({0});
	order = (struct order){.recipients = "b@example.com"};
	run_with("inet_protocols = ipv4\nmyhostname = client.example\nsmtp_tls_security_level = encrypt\n");
	expect("0 deferred 4.7.4 TLS is required, but was not offered by host 127.0.0.1[127.0.0.1]|site 2",
	       "EHLO client.example|QUIT|");
}

#define AUTH_BASE_CF \
	"inet_protocols = ipv4\nmyhostname = client.example\nsmtp_tls_security_level = none\n" \
	"smtp_sasl_auth_enable = yes\n"
#define AUTH_CF AUTH_BASE_CF "smtp_sasl_password_maps = inline:{ {[127.0.0.1]:PORT = joe:secret} }\n"

TEST(credentials_for_the_nexthop_are_used)
{
	RULES({"EHLO", "250-fake.example\r\n250-PIPELINING\r\n250 AUTH LOGIN PLAIN\r\n"}, {"AUTH", "235 2.7.0 welcome\r\n"});
	order = (struct order){.recipients = "b@example.com"};
	run_with(AUTH_CF "smtp_sasl_security_options = noanonymous\n");
	expect("0 sent 2.0.0 250 2.0.0 Ok: queued as 123|site 0",
	       "EHLO client.example|AUTH PLAIN AGpvZQBzZWNyZXQ=|MAIL FROM:<a@example.org>|RCPT TO:<b@example.com>|DATA|Subject: "
	       "x||..dot|.|QUIT|");
}

TEST(login_and_cram_md5_answer_challenges)
{
	RULES({"EHLO", "250-fake.example\r\n250 AUTH LOGIN\r\n"}, {"AUTH", "334 VXNlcm5hbWU6\r\n"},
	      {"am9l", "334 UGFzc3dvcmQ6\r\n"}, {"c2VjcmV0", "235 2.7.0 welcome\r\n"});
	order = (struct order){.recipients = "b@example.com"};
	run_with(AUTH_CF "smtp_sasl_security_options = noanonymous\n");
	expect("0 sent 2.0.0 250 2.0.0 Ok: queued as 123|site 0", NULL);
	/* The example of RFC 2195, with our own name and password. */
	RULES({"EHLO", "250-fake.example\r\n250 AUTH PLAIN CRAM-MD5\r\n"},
	      {"AUTH", "334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+\r\n"},
	      {"am9lIDczM2JhODdlNjRlZDdlNDQxZjA2MmM0YWM2ZGIwMTAz", "235 2.7.0 welcome\r\n"});
	order = (struct order){.recipients = "b@example.com"};
	run_with(AUTH_CF);
	expect("0 sent 2.0.0 250 2.0.0 Ok: queued as 123|site 0", NULL);
}

TEST(for_whom_it_logs_in_is_said_where_that_is_wanted)
{
	RULES({"EHLO", "250-fake.example\r\n250 AUTH PLAIN\r\n"}, {"AUTH", "235 2.7.0 welcome\r\n"});
	order = (struct order){.recipients = "b@example.com"};
	run_with(AUTH_CF "smtp_sasl_security_options = noanonymous\nsend_cyrus_sasl_authzid = yes\n");
	CHECK(str_find_str(buf_str(&server.heard), STR("|AUTH PLAIN am9lAGpvZQBzZWNyZXQ=|")) < server.heard.len);
	expect("0 sent 2.0.0 250 2.0.0 Ok: queued as 123|site 0", NULL);
}

TEST(a_password_is_not_shown_where_that_is_forbidden)
{
	RULES({"EHLO", "250-fake.example\r\n250 AUTH LOGIN PLAIN\r\n"});
	order = (struct order){.recipients = "b@example.com"};
	run_with(AUTH_CF);
	expect("0 deferred 4.7.0 SASL authentication failed; server 127.0.0.1[127.0.0.1] offered no compatible authentication "
	       "mechanisms for "
	       "this type of connection security|site 2",
	       "EHLO client.example|QUIT|");
}

TEST(a_refused_password_puts_mail_off)
{
	RULES({"EHLO", "250-fake.example\r\n250 AUTH PLAIN\r\n"}, {"AUTH", "535 5.7.8 wrong\r\n"});
	order = (struct order){.recipients = "b@example.com"};
	run_with(AUTH_CF "smtp_sasl_security_options = noanonymous\n");
	expect("0 deferred 4.7.8 SASL authentication failed; server 127.0.0.1[127.0.0.1] said: 535 5.7.8 wrong|site 2", NULL);
}

#define AUTH_PLAIN \
	{ \
		"EHLO", "250-fake.example\r\n250 AUTH PLAIN\r\n" \
	}

TEST(the_sender_then_the_host_then_the_nexthop_say_who_logs_in)
{
	static const struct {
		const char *maps, *want;
	} cases[] = {
		{"{127.0.0.1 = h:1}, {a@example.org = s:1}", "AUTH PLAIN AHMAMQ=="},
		{"{127.0.0.1 = h:1}, {@example.org = s:1}", "AUTH PLAIN AHMAMQ=="},
		{"{127.0.0.1 = h:1}, {b@example.org = s:1}", "AUTH PLAIN AGgAMQ=="},
		{"{b@example.org = s:1}", "AUTH PLAIN AGpvZQBzZWNyZXQ="},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char main_cf[1000];

		RULES(AUTH_PLAIN, {"AUTH", "235 2.7.0 welcome\r\n"});
		order = (struct order){.recipients = "b@example.com"};
		snprintf(main_cf, sizeof(main_cf),
		         AUTH_BASE_CF "smtp_sasl_password_maps = inline:{ {[127.0.0.1]:PORT = joe:secret}, %s }\n"
		                      "smtp_sender_dependent_authentication = yes\nsmtp_sasl_security_options =\n",
		         cases[i].maps);
		run_with(main_cf);
		CHECK_CASE(str_find_str(buf_str(&server.heard), str_of(cases[i].want)) < server.heard.len, cases[i].maps);
		expect("0 sent 2.0.0 250 2.0.0 Ok: queued as 123|site 0", NULL);
	}
}

TEST(a_login_that_was_refused_is_not_tried_again)
{
	RULES(AUTH_PLAIN, {"AUTH", "535 5.7.8 wrong\r\n"}, {"greeting", "220 fake.example ESMTP\r\n"}, AUTH_PLAIN);
	order = (struct order){.recipients = "b@example.com", .times = 2};
	run_with(AUTH_CF "smtp_sasl_security_options =\nsmtp_sasl_auth_cache_name = btree:/any\n");
	expect("0 deferred 4.7.8 SASL authentication failed; server 127.0.0.1[127.0.0.1] said: 535 5.7.8 wrong|site 2",
	       "EHLO client.example|AUTH PLAIN AGpvZQBzZWNyZXQ=|QUIT|EHLO client.example|QUIT|");
}

TEST(a_refused_password_bounces_where_that_is_wanted)
{
	RULES(AUTH_PLAIN, {"AUTH", "535 5.7.8 wrong\r\n"});
	order = (struct order){.recipients = "b@example.com"};
	run_with(AUTH_CF "smtp_sasl_security_options =\nsmtp_sasl_auth_soft_bounce = no\n");
	expect("0 bounced 5.7.8 SASL authentication failed; server 127.0.0.1[127.0.0.1] said: 535 5.7.8 wrong|site 2", NULL);
}

TEST(a_server_that_proves_nothing_gets_no_mail)
{
	RULES({"EHLO", "250-fake.example\r\n250 AUTH SCRAM-SHA-256\r\n"}, {"AUTH", "235 2.7.0 never mind\r\n"});
	order = (struct order){.recipients = "b@example.com"};
	run_with(AUTH_CF);
	expect("0 deferred 4.7.0 SASL authentication failed; server 127.0.0.1[127.0.0.1] did not prove that it knows the "
	       "password|site 2",
	       NULL);
	/* "r=server,s=c2FsdA==,i=4096" does not go on from our nonce. */
	RULES({"EHLO", "250-fake.example\r\n250 AUTH SCRAM-SHA-256\r\n"},
	      {"AUTH", "334 cj1zZXJ2ZXIscz1jMkZzZEE9PSxpPTQwOTY=\r\n"}, {"*", "501 5.7.0 as you like\r\n"});
	order = (struct order){.recipients = "b@example.com"};
	run_with(AUTH_CF);
	CHECK(str_ends(buf_str(&server.heard), STR("|*|QUIT|")));
	CHECK(str_starts(buf_str(&outcome), STR("0 deferred 4.7.0 SASL authentication failed; cannot authenticate to server")));
	expect(buf_cstr(&outcome), NULL);
}

TEST(an_access_token_is_read_from_its_file)
{
	char main_cf[1000];

	RULES({"EHLO", "250-fake.example\r\n250 AUTH XOAUTH2 PLAIN\r\n"}, {"AUTH", "334 eyJzdGF0dXMiOiI0MDAifQ==\r\n"},
	      {"", "535 5.7.8 too old\r\n"});
	order = (struct order){.recipients = "b@example.com"};
	snprintf(main_cf, sizeof(main_cf),
	         AUTH_BASE_CF "smtp_sasl_password_maps = inline:{ {[127.0.0.1]:PORT = joe:{token_file=%s/token}} }\n"
	                      "smtp_sasl_security_options =\n",
	         check_folder());
	check_write_file("token", "ya29.abc\n");
	run_with(main_cf);
	/* "user=joe\1auth=Bearer ya29.abc\1\1", then an empty line that lets the server say what it thinks of it. */
	expect("0 deferred 4.7.8 SASL authentication failed; server 127.0.0.1[127.0.0.1] said: 535 5.7.8 too old|site 2",
	       "EHLO client.example|AUTH XOAUTH2 dXNlcj1qb2UBYXV0aD1CZWFyZXIgeWEyOS5hYmMBAQ==||QUIT|");
}

TEST(a_login_may_be_told_behind_mail)
{
	RULES(AUTH_PLAIN, {"AUTH", "235 2.7.0 welcome\r\n"});
	order = (struct order){.recipients = "b@example.com"};
	run_with(AUTH_CF "smtp_sasl_security_options =\nsmtp_send_dummy_mail_auth = yes\n");
	expect("0 sent 2.0.0 250 2.0.0 Ok: queued as 123|site 0",
	       "EHLO client.example|AUTH PLAIN AGpvZQBzZWNyZXQ=|MAIL FROM:<a@example.org> AUTH=<>|RCPT TO:<b@example.com>|DATA|"
	       "Subject: x||..dot|.|QUIT|");
}

TEST(a_probe_ends_before_the_content)
{
	RULES({"RCPT TO:<c@", "550 5.1.1 no\r\n"});
	order = (struct order){.recipients = "b@example.com c@example.com", .flags = ENVELOPE_VERIFY_ONLY};
	run();
	expect("0 deliverable 2.1.5 250 2.1.5 Ok|"
	       "1 undeliverable 5.1.1 host 127.0.0.1[127.0.0.1] said: 550 5.1.1 no (in reply to RCPT TO command)|site 0",
	       "EHLO client.example|MAIL FROM:<a@example.org> SIZE=20|RCPT TO:<b@example.com>|RCPT TO:<c@example.com>|QUIT|");
}

TEST(an_address_cannot_smuggle_a_command)
{
	RULES({0});
	order = (struct order){.recipients = "b@example.com>\r\nDATA\r\n"};
	run();
	expect("0 bounced 5.1.3 bad address syntax|site 0", "");
	RULES({0});
	order = (struct order){.recipients = "b@example.com>\r\nDATA\r\n", .flags = ENVELOPE_VERIFY_ONLY};
	run();
	expect("0 undeliverable 5.1.3 bad address syntax|site 0", "");
}

TEST(an_unknown_transport_is_told)
{
	RULES({0});
	order = (struct order){.recipients = "b@example.com", .transport = "uucp"};
	run();
	expect("0 deferred 4.3.5 mail transport \"uucp\" is not configured|site 0", "");
}

/* Writes `text` in pieces of `piece` bytes through body_write() and reads it back. */
struct body_case {
	const char *text;
	size_t limit;
	const char *want;
};

static void write_bodies(void *arg)
{
	const struct body_case *b = arg;

	for (size_t piece = 1; piece < 30; piece += 7) {
		struct body_state state = {.line_limit = b->limit};
		struct str rest = str_of(b->text);
		int fds[2];
		char got[200];
		struct stream *s;

		CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
		s = stream_new(fds[0]);
		for (; rest.len; rest = str_from(rest, piece))
			CHECK_INT(body_write(s, &state, str_cut(rest, 0, piece)), 0);
		CHECK_INT(stream_flush(s), 0);
		ssize_t n = read(fds[1], got, sizeof(got));
		CHECK_STR(str_n(got, n > 0 ? (size_t)n : 0), str_of(b->want));
		stream_free(s);
		close(fds[1]);
	}
}

TEST(dots_are_doubled_and_long_lines_broken)
{
	static struct body_case cases[] = {
		{"a\r\n.\r\n..b\r\nc.d\r\n", 998, "a\r\n..\r\n...b\r\nc.d\r\n"},
		{".", 998, ".."},
		{"1234567890\r\n123456789012345\r\nx\r\n", 10, "1234567890\r\n1234567890\r\n 12345\r\nx\r\n"},
		{"1234567890123456789012345\r\n", 10, "1234567890\r\n 123456789\r\n 012345\r\n"},
		{"123456789012345\r\n", 0, "123456789012345\r\n"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		loop_init();
		fiber_start("body", write_bodies, &cases[i]);
		loop_run();
		loop_done();
	}
}

static void send_short_lines(void *unused)
{
	static const char text[] = "1234567890123456\r\n";
	int fds[2], fd = content_open(text);
	struct stream *s;
	char got[200];
	ssize_t n;

	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	s = stream_new(fds[0]);
	CHECK_INT(body_send(s, fd, 0, sizeof(text) - 1, 1), 0);
	CHECK_INT(stream_flush(s), 0);
	n = read(fds[1], got, sizeof(got));
	CHECK_STR(str_n(got, n > 0 ? (size_t)n : 0), STR("123456789012\r\n 3456\r\n"));
	stream_free(s);
	close(fds[1]);
	close(fd);
}

TEST(a_line_limit_leaves_room_for_text)
{
	loop_init();
	fiber_start("body", send_short_lines, NULL);
	loop_run();
	loop_done();
}
