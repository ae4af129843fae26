/* SPDX-License-Identifier: Apache-2.0 */
/* Lookups through the real resolver library, against a small name server on a port of loopback. */
#include "net/dns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

#include "check.h"
#include "config/config.h"
#include "fiber/fiber.h"
#include "net/dns_internal.h"
#include "net/ip.h"

/* The zone: name, type and rdata in wire form. What has "silent" in its name is never answered. */
static const struct {
	const char *name;
	uint16_t type;
	const char *rdata;
	size_t len;
} zone[] = {
	{"example.org", DNS_MX, "\0\12\2mx\7example\3org", 18},
	{"example.org", DNS_MX, "\0\5\3Mx2\7example\3org", 19},
	{"null.example.org", DNS_MX, "\0\0", 3},
	{"mx.example.org", DNS_A, "\300\0\2\1", 4},
	{"mx.example.org", DNS_AAAA, " \1\15\270\0\0\0\0\0\0\0\0\0\0\0\1", 16},
	{"v4.example.org", DNS_A, "\300\0\2\7", 4},
	{"text.example.org", DNS_TXT, "\5hello\6 world", 13},
	{"xn--mnchen-3ya.example", DNS_A, "\300\0\2\10", 4},
	{"1.2.0.192.in-addr.arpa", DNS_PTR, "\2mx\7example\3org", 16},
	{"9.2.0.192.in-addr.arpa", DNS_PTR, "\2mx\7example\3org", 16},
};

struct server {
	int fd;
	uint16_t port;
	size_t question_count;
};

/* The question's name as text; returns the offset behind the question, 0 if it is none. */
static size_t read_question(const unsigned char *q, size_t len, char name[static 256], uint16_t *ret_type)
{
	size_t at = 12, out = 0;

	while (at < len && q[at] && at + q[at] < len && out + q[at] < 250) {
		for (size_t i = 1; i <= q[at]; i++)
			name[out++] = ascii_lower((char)q[at + i]);
		name[out++] = '.';
		at += q[at] + 1U;
	}
	if (at + 5 > len)
		return 0;
	name[out ? out - 1 : 0] = '\0';
	*ret_type = (uint16_t)(q[at + 1] << 8 | q[at + 2]);
	return at + 5;
}

static size_t put_answer(unsigned char *to, uint16_t type, const char *rdata, size_t len)
{
	const unsigned char head[] = {0xc0, 12, (unsigned char)(type >> 8), (unsigned char)type, 0, 1, 0, 0, 1,
	                              0,    0,  (unsigned char)len};

	memcpy(to, head, sizeof(head));
	memcpy(to + sizeof(head), rdata, len);
	return sizeof(head) + len;
}

/* Makes the answer of the question in `m`, in place. 0 when the server stays silent. */
static size_t answer(unsigned char *m, size_t len)
{
	char name[256];
	uint16_t type;
	size_t end = read_question(m, len, name, &type);
	bool has_name = false;
	unsigned count = 0;

	if (!end || strstr(name, "silent"))
		return 0;
	for (size_t i = 0; i < COUNT_OF(zone); i++) {
		if (strcmp(name, zone[i].name) != 0)
			continue;
		has_name = true;
		if (zone[i].type == type) {
			end += put_answer(m + end, type, zone[i].rdata, zone[i].len);
			count++;
		}
	}
	m[2] = 0x84; /* an authoritative answer */
	m[3] = strstr(name, "broken") ? 2 : has_name ? 0x80 : 0x83;
	m[4] = 0, m[5] = 1, m[6] = 0, m[7] = (unsigned char)count;
	memset(m + 8, 0, 4);
	return end;
}

static void serve(void *arg)
{
	struct server *s = arg;
	struct watch w;
	unsigned char m[1024];
	struct sockaddr_storage peer;

	watch_init(&w, s->fd);
	for (;;) {
		socklen_t size = sizeof(peer);
		ssize_t n = recvfrom(s->fd, m, 512, 0, (struct sockaddr *)&peer, &size);

		if (n < 0 && watch_wait(&w, WATCH_READ, INSTANT_NEVER))
			break;
		if (n < 12)
			continue;
		s->question_count++;

		size_t len = answer(m, (size_t)n);

		if (len)
			CHECK_INT(sendto(s->fd, m, len, 0, (struct sockaddr *)&peer, size), (long long)len);
	}
	watch_done(&w);
	close(s->fd);
}

static void server_open(struct server *s)
{
	struct sockaddr_storage at;
	socklen_t size = sizeof(at);

	CHECK_INT(ip_parse(STR("127.0.0.1"), 0, &at), 0);
	s->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	CHECK_INT(bind(s->fd, (struct sockaddr *)&at, sizeof(struct sockaddr_in)), 0);
	CHECK_INT(getsockname(s->fd, (struct sockaddr *)&at, &size), 0);
	s->port = ip_port((struct sockaddr *)&at);
}

static void write_file(const char *name, const char *text, char path[static 300])
{
	FILE *f;

	snprintf(path, 300, "%s/%s", check_folder(), name);
	f = fopen(path, "w");
	CHECK(f != NULL);
	if (f) {
		fputs(text, f);
		fclose(f);
	}
}

static struct server server;

static void run(fiber_fn *test)
{
	char text[100], path[300];
	static char hosts_path[300];
	struct buf why = BUF_INIT(1000);
	struct config *c;

	server = (struct server){0};
	server_open(&server);
	snprintf(text, sizeof(text), "postrider_dns_server = 127.0.0.1:%u\n", server.port);
	write_file("main.cf", text, path);
	write_file("master.cf", "", path);
	write_file("hosts", "# none\n192.0.2.77 Box.example.com box\n2001:db8::77 box.example.com\n", hosts_path);
	hosts_set_file(hosts_path);
	c = config_load(str_of(check_folder()), NULL, 0);
	CHECK_INT(dns_init(config_main_view(c), &why), 0);
	CHECK_STR(buf_str(&why), STR(""));
	loop_init();
	fiber_make_joinable(fiber_start("server", serve, &server));
	fiber_start("test", test, NULL);
	loop_run();
	loop_done();
	dns_done();
	config_free(c);
	buf_done(&why);
}

/* As "status name/preference ..." or the reason. */
static void expect(const char *name, enum dns_type type, const char *want)
{
	struct arena a = ARENA_INIT;
	struct dns_answer answer;
	struct buf got = BUF_INIT(1000);

	CHECK_INT(dns_lookup(str_of(name), type, duration_s(60), &a, &answer), 0);
	if (answer.status == DNS_FOUND)
		CHECK_STR(answer.canonical, str_of(name));
	for (size_t i = 0; i < answer.count; i++) {
		const struct dns_record *r = &answer.records[i];
		char text[IP_TEXT_SIZE];
		struct sockaddr_storage address;

		if ((type == DNS_A || type == DNS_AAAA) && !ip_from_bytes(r->data, 0, &address))
			buf_addf(&got, "%s", ip_format((struct sockaddr *)&address, text));
		else
			buf_addf(&got, "%u/%.*s%.*s ", r->preference, STR_ARG(r->name), STR_ARG(r->data));
	}
	buf_add(&got, answer.reason);
	CHECK_STR(buf_str(&got), str_of(want));
	buf_done(&got);
	arena_done(&a);
}

static void asks(void *unused)
{
	expect("example.org", DNS_MX, "5/mx2.example.org 10/mx.example.org ");
	expect("null.example.org", DNS_MX, "0/ ");
	expect("mx.example.org", DNS_A, "192.0.2.1");
	expect("mx.example.org", DNS_AAAA, "2001:db8::1");
	expect("text.example.org", DNS_TXT, "0/hello world ");
	expect("none.example.org", DNS_MX,
	       "Host or domain name not found. Name service error for name=none.example.org type=MX: Host not found");
	expect("v4.example.org", DNS_AAAA,
	       "Host or domain name not found. Name service error for name=v4.example.org type=AAAA: Host found but no data "
	       "record of "
	       "requested type");
	expect("broken.example.org", DNS_A,
	       "Host or domain name not found. Name service error for name=broken.example.org type=A: Host not found, try again");
	expect("..", DNS_A, "Host or domain name not found. Name service error for name=. type=A: Host not found");
	loop_stop();
}

TEST(records_are_found_and_failures_are_worded)
{
	run(asks);
}

static void asks_twice(void *unused)
{
	size_t before;

	expect("mx.example.org", DNS_A, "192.0.2.1");
	before = server.question_count;
	expect("mx.example.org", DNS_A, "192.0.2.1");
	CHECK_INT(server.question_count, before);
	loop_stop();
}

TEST(a_known_answer_is_not_asked_for_again)
{
	run(asks_twice);
}

/* One that somebody made as large as the DNS allows must not cost the memory of a thousand others. */
TEST(a_very_large_answer_is_not_kept)
{
	static char text[20000];
	struct dns_record record = {.type = DNS_TXT, .data = {text, 10000}};
	struct dns_answer answer = {.status = DNS_FOUND, .records = &record, .count = 1, .ttl = 60}, got;
	struct arena a = ARENA_INIT;

	dns_cache_add(STR("large.example.org"), DNS_TXT, &answer);
	CHECK(dns_cache_find(STR("large.example.org"), DNS_TXT, &a, &got));
	record.data.len = sizeof(text);
	dns_cache_add(STR("larger.example.org"), DNS_TXT, &answer);
	CHECK(!dns_cache_find(STR("larger.example.org"), DNS_TXT, &a, &got));
	dns_cache_clear();
	arena_done(&a);
}

static void asks_the_silent(void *unused)
{
	struct arena a = ARENA_INIT;
	struct dns_answer answer;

	CHECK_INT(dns_lookup(STR("silent.example.org"), DNS_MX, duration_ms(30), &a, &answer), -ETIMEDOUT);
	arena_done(&a);
	loop_stop();
}

TEST(a_silent_server_runs_into_the_timeout)
{
	run(asks_the_silent);
}

static void expect_addresses(const char *host, bool want_v4, bool want_v6, size_t want_count, enum dns_status want)
{
	struct arena a = ARENA_INIT;
	struct dns_answer answer;

	CHECK_INT(dns_addresses(str_of(host), true, want_v4, want_v6, &a, &answer), 0);
	CHECK_CASE(answer.status == want, host);
	CHECK_CASE(answer.count == want_count, host);
	arena_done(&a);
}

static void asks_addresses(void *unused)
{
	expect_addresses("m\303\274nchen.example", true, false, 1, DNS_FOUND);
	expect_addresses("m\303nchen.example", true, false, 0, DNS_NO_NAME);
	expect_addresses("mx.example.org", true, true, 2, DNS_FOUND);
	expect_addresses("mx.example.org", true, false, 1, DNS_FOUND);
	expect_addresses("v4.example.org", true, true, 1, DNS_FOUND);
	expect_addresses("v4.example.org", false, true, 0, DNS_NO_DATA);
	expect_addresses("none.example.org", true, true, 0, DNS_NO_NAME);
	expect_addresses("box.example.com", true, true, 2, DNS_FOUND);
	expect_addresses("BOX", true, true, 1, DNS_FOUND);
	expect_addresses("192.0.2.5", true, true, 1, DNS_FOUND);
	loop_stop();
}

TEST(addresses_come_from_hosts_file_and_both_families)
{
	run(asks_addresses);
}

static void expect_peer(const char *address, const char *want, enum dns_status want_ptr, enum dns_status want_forward)
{
	struct arena a = ARENA_INIT;
	struct sockaddr_storage peer;
	struct str name;
	enum dns_status ptr, forward;

	CHECK_INT(ip_parse(str_of(address), 0, &peer), 0);
	CHECK_INT(dns_host_name((struct sockaddr *)&peer, &a, &name, &ptr, &forward), 0);
	CHECK_STR(name, str_of(want));
	CHECK_CASE(ptr == want_ptr, address);
	CHECK_CASE(forward == want_forward, address);
	arena_done(&a);
}

static void asks_peers(void *unused)
{
	expect_peer("192.0.2.1", "mx.example.org", DNS_FOUND, DNS_FOUND);
	expect_peer("192.0.2.9", "mx.example.org", DNS_FOUND, DNS_NO_DATA);
	expect_peer("192.0.2.10", "", DNS_NO_NAME, DNS_NO_NAME);
	expect_peer("192.0.2.77", "Box.example.com", DNS_FOUND, DNS_FOUND);
	expect_peer("2001:db8::77", "box.example.com", DNS_FOUND, DNS_FOUND);
	loop_stop();
}

TEST(a_peer_has_the_name_that_leads_back_to_it)
{
	run(asks_peers);
}

TEST(reverse_names_are_made_for_both_families)
{
	struct arena a = ARENA_INIT;
	struct sockaddr_storage address;

	CHECK_INT(ip_parse(STR("192.0.2.1"), 0, &address), 0);
	CHECK_STR(dns_reverse_name((struct sockaddr *)&address, &a), STR("1.2.0.192.in-addr.arpa"));
	CHECK_INT(ip_parse(STR("2001:db8::567:89ab"), 0, &address), 0);
	CHECK_STR(dns_reverse_name((struct sockaddr *)&address, &a),
	          STR("b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"));
	arena_done(&a);
}

TEST(bad_rdata_is_refused)
{
	static const struct {
		const char *rdata;
		size_t len;
		enum dns_type type;
	} cases[] = {
		{"abc", 3, DNS_A},      {"", 0, DNS_MX},      {"\0\1\5abc", 6, DNS_MX},
		{"\0\1\1a", 4, DNS_MX}, {"\0", 1, DNS_SRV},   {"\300\14", 2, DNS_PTR},
		{"\1 ", 3, DNS_PTR},    {"\3ab", 3, DNS_TXT}, {"\1a\0x", 4, DNS_PTR},
	};
	struct arena a = ARENA_INIT;

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct dns_record r;

		CHECK_INT(dns_wire_record(str_n(cases[i].rdata, cases[i].len), cases[i].type, &a, &r), -EBADMSG);
	}
	arena_done(&a);
}
