/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking the DNS. libunbound resolves on a thread of its own and rings a descriptor when
 * answers are there; a fiber that lives while questions are open fetches them and wakes who
 * asked. The resolver is made at the first question, so that roles which ask none pay nothing.
 *
 * Reasons are worded as operators and log readers know them:
 * "Host or domain name not found. Name service error for name=d type=MX: Host not found".
 */
#include "net/dns.h"

#include <errno.h>
#include <fcntl.h>
#include <idn2.h>
#include <sys/stat.h>
#include <unbound.h>
#include <unistd.h>

#include "config/config.h"
#include "config/params.h"
#include "fiber/fiber.h"
#include "net/dns_internal.h"
#include "net/ip.h"

enum { PEER_TIMEOUT_S = 10, HOST_TIMEOUT_S = 60, RECORDS_MAX = 256, NAME_MAX_LEN = 253, ANCHORS_MAX = 256 << 10 };

static struct {
	char *server;  /* "address@port" for libunbound; NULL for resolv.conf */
	char *anchors; /* where DNSSEC begins, one record a line; NULL: nothing is validated */
	char *search;  /* domains, parted by blanks */
	bool has_trusted;
	struct sockaddr_storage trusted; /* a resolver that is asked for everything, and whose AD bit is believed */
	struct ub_ctx *ub;
	struct watch watch;
	bool is_opening; /* the resolver is being made: those who want it wait in `opened` */
	struct wait_list opened;
	size_t open_count; /* questions without an answer */
	struct fiber *fetcher;
} dns = {.watch.fd = -1};

/* A question under way; lies on the stack of the fiber that asks. */
struct question {
	struct str name;
	enum dns_type type;
	struct arena *arena;
	struct dns_answer *answer;
	struct wait_list asker;
	struct str trusted_name; /* as the DNS knows it */
	int id;
	bool is_cached;
	bool is_done;
};

/* Takes "192.0.2.1", "192.0.2.1:5353", "192.0.2.1@5353", "2001:db8::1", "[2001:db8::1]:5353". */
static int server_parse(struct str text, struct sockaddr_storage *ret_server)
{
	struct str host = str_trim(text), port = STR("53");
	uint16_t number;

	if (str_starts(host, STR("["))) {
		(void)str_split(str_from(host, 1), ']', &host, &port);
		port = port.len > 1 ? str_from(port, 1) : STR("53");
	} else if (str_has(host, '@')) {
		(void)str_split(host, '@', &host, &port);
	} else if (str_find(host, ':') == str_find_last(host, ':')) {
		(void)str_split(host, ':', &host, &port);
	}
	return ip_parse_port(port, &number) || ip_parse(host, number, ret_server) ? -EINVAL : 0;
}

int dns_init(const struct view *v, struct buf *why)
{
	struct str server = v->params->postrider_dns_server;
	struct sockaddr_storage a;
	char text[IP_TEXT_SIZE];
	struct buf b = BUF_INIT(100);

	dns.search = dns_search_read("/etc/resolv.conf");
	if (!server.len)
		return 0;
	if (!server_parse(server, &a)) {
		buf_addf(&b, "%s@%u", ip_format((struct sockaddr *)&a, text), ip_port((struct sockaddr *)&a));
		dns.server = buf_take(&b);
		return 0;
	}
	buf_addf(why, "postrider_dns_server: \"%.*s\" is no address or address:port", STR_ARG(server));
	return -EINVAL;
}

static int anchors_read(const char *path, struct buf *ret_anchors, struct buf *why)
{
	struct buf text = BUF_INIT(ANCHORS_MAX);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), err = fd < 0 ? -errno : 0;
	struct stat st;
	ssize_t n = 0;

	/* A pipe would hold up the whole process. */
	if (!err && (fstat(fd, &st) || !S_ISREG(st.st_mode)))
		err = -EINVAL;
	if (!err)
		n = read(fd, buf_room(&text, ANCHORS_MAX - 1), ANCHORS_MAX - 1);
	if (n < 0)
		err = -errno;
	if (fd >= 0)
		close(fd);
	if (err) {
		buf_addf(why, "%s", strerror(-err));
	} else {
		buf_added(&text, (size_t)n);
		err = dns_anchors_parse(buf_str(&text), ret_anchors, why);
	}
	buf_done(&text);
	return err;
}

int dns_use_dnssec(const struct view *v, struct buf *why)
{
	char *path;
	struct str resolver = v->params->postrider_dnssec_resolver;
	struct buf anchors = BUF_INIT(ANCHORS_MAX), reason = BUF_INIT(1000);
	int err = 0;

	if (resolver.len) {
		err = server_parse(resolver, &dns.trusted);
		dns.has_trusted = !err;
		if (err)
			buf_addf(why, "postrider_dnssec_resolver: \"%.*s\" is no address or address:port", STR_ARG(resolver));
		return err;
	}
	path = str_cstr(v->params->postrider_dnssec_trust_anchors);
	if (!dns.anchors)
		err = anchors_read(path, &anchors, &reason);
	if (err)
		buf_addf(why, "no DNSSEC trust anchors (postrider_dnssec_trust_anchors = %s): %s", path, buf_cstr(&reason));
	else if (!dns.anchors)
		dns.anchors = buf_take(&anchors);
	buf_done(&anchors);
	buf_done(&reason);
	free(path);
	return err;
}

static void add_anchors(struct ub_ctx *ub)
{
	struct str rest = str_of(dns.anchors), record;

	while (str_next(&rest, "\n", &record)) {
		char *text = str_cstr(record);

		ub_ctx_add_ta(ub, text);
		free(text);
	}
}

size_t dns_search_names(struct str name, unsigned options, struct arena *a, struct str **ret_names)
{
	return dns_search_expand(name, options, str_of(dns.search), a, ret_names);
}

/* On a helper thread: the library parses its built-in zones with more stack than a fiber has. */
static void make_context(void *arg)
{
	static const char *const options[][2] = {
		/* A server that was configured may well run on this machine, and serve private names. */
		{"do-not-query-localhost:", "no"},
		{"unblock-lan-zones:", "yes"},
		{"insecure-lan-zones:", "yes"},
	};
	struct ub_ctx **ret_context = arg;
	struct ub_ctx *ub = ub_ctx_create();

	*ret_context = ub;
	if (!ub)
		return;
	ub_ctx_debugout(ub, NULL);
	ub_ctx_async(ub, 1);
	for (size_t i = 0; i < COUNT_OF(options); i++)
		ub_ctx_set_option(ub, options[i][0], options[i][1]);
	if (dns.server)
		ub_ctx_set_fwd(ub, dns.server);
	else
		ub_ctx_resolvconf(ub, NULL);
	add_anchors(ub);
	/* Known to the library as empty; a test server may well serve it. */
	ub_ctx_zone_remove(ub, "test.");
}

/* Waits until somebody else has made the resolver, or makes it: one for all who come at the same moment. */
static int resolver_open(void)
{
	struct ub_ctx *ub = NULL;

	while (dns.is_opening) {
		int err = wait_list_wait(&dns.opened, INSTANT_NEVER);

		if (err)
			return err;
	}
	if (dns.ub)
		return 0;
	wait_list_init(&dns.opened);
	dns.is_opening = true;
	(void)!fiber_work(make_context, &ub);
	dns.is_opening = false;
	dns.ub = ub;
	if (ub)
		watch_init(&dns.watch, ub_fd(ub));
	wait_list_wake_all(&dns.opened);
	return ub ? 0 : -ENOMEM;
}

void dns_done(void)
{
	dns_cache_clear();
	hosts_clear();
	if (dns.ub) {
		watch_done(&dns.watch);
		ub_ctx_delete(dns.ub);
		dns.ub = NULL;
	}
	free(dns.server);
	free(dns.anchors);
	free(dns.search);
	dns.server = dns.anchors = dns.search = NULL;
}

static void fetch_answers(void *unused)
{
	while (dns.open_count) {
		if (watch_wait(&dns.watch, WATCH_READ, INSTANT_NEVER))
			break;
		ub_process(dns.ub);
	}
	if (dns.fetcher == fiber_self())
		dns.fetcher = NULL;
}

static const char *status_text(enum dns_status status)
{
	switch (status) {
	case DNS_FOUND:
		return "Success";
	case DNS_NO_DATA:
		return "Host found but no data record of requested type";
	case DNS_NO_NAME:
		return "Host not found";
	case DNS_TRY_AGAIN:
		return "Host not found, try again";
	case DNS_BOGUS:
		return "DNSSEC validation failure";
	case DNS_FAILED:
		return "Malformed or unexpected name server reply";
	}
	return "?";
}

static void set_reason(struct dns_answer *answer, struct str name, enum dns_type type, struct arena *a)
{
	answer->reason = STR("");
	if (answer->status != DNS_FOUND)
		answer->reason = arena_printf(a, "Host or domain name not found. Name service error for name=%.*s type=%s: %s",
		                              STR_ARG(name), dns_type_name(type), status_text(answer->status));
}

/* Best preference first; equal ones stay as they came. */
static void sort_records(struct dns_record *records, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		struct dns_record r = records[i];
		size_t at = i;

		for (; at > 0 && records[at - 1].preference > r.preference; at--)
			records[at] = records[at - 1];
		records[at] = r;
	}
}

static void read_records(struct question *q, const struct ub_result *result)
{
	struct dns_answer *answer = q->answer;
	size_t count = 0;

	while (count < RECORDS_MAX && result->data[count])
		count++;
	answer->records = arena_alloc(q->arena, (count + 1) * sizeof(*answer->records));
	for (size_t i = 0; i < count; i++)
		if (!dns_wire_record(str_n(result->data[i], (size_t)result->len[i]), q->type, q->arena,
		                     &answer->records[answer->count]))
			answer->count++;
	sort_records(answer->records, answer->count);
	answer->status = answer->count ? DNS_FOUND : DNS_FAILED;
}

static enum dns_status status_of_rcode(int rcode)
{
	enum { NOERROR = 0, SERVFAIL = 2 };

	return rcode == NOERROR ? DNS_NO_DATA : rcode == SERVFAIL ? DNS_TRY_AGAIN : DNS_FAILED;
}

static void on_answer(void *arg, int err, struct ub_result *result)
{
	struct question *q = arg;
	struct dns_answer *answer = q->answer;

	if (err)
		answer->status = DNS_TRY_AGAIN;
	else if (result->bogus)
		answer->status = DNS_BOGUS;
	else if (result->havedata)
		read_records(q, result);
	else
		answer->status = result->nxdomain ? DNS_NO_NAME : status_of_rcode(result->rcode);
	if (!err) {
		answer->ttl = result->ttl > 0 ? (uint32_t)result->ttl : 0;
		answer->is_secure = result->secure;
		answer->canonical = arena_lower(q->arena, str_of(result->canonname ? result->canonname : result->qname));
		if (str_ends(answer->canonical, STR(".")))
			answer->canonical.len--;
	}
	ub_resolve_free(result);
	q->is_done = true;
	dns.open_count--;
	wait_list_wake_all(&q->asker);
}

struct str dns_ascii_name(struct str name, struct arena *a)
{
	struct str ascii = STR("");
	uint8_t *text;
	bool is_ascii = true;

	for (size_t i = 0; i < name.len; i++)
		is_ascii &= (unsigned char)name.ptr[i] < 128;
	if (is_ascii || str_has(name, '\0'))
		return name;
	if (idn2_lookup_u8((const uint8_t *)arena_cstr(a, name), &text, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
		return ascii;
	ascii = arena_str(a, str_of((const char *)text));
	idn2_free(text);
	return ascii;
}

/* A name that no answer can exist for is not asked. */
static bool is_askable(struct str name)
{
	if (str_eq(name, STR(".")))
		return true;
	return name.len && name.len <= NAME_MAX_LEN && !str_has(name, '\0') && str_find_str(name, STR("..")) == name.len &&
	       name.ptr[0] != '.' && str_find_any(name, " \t\r\n\\\"()@;") == name.len;
}

static int send_off(struct question *q, struct str asked)
{
	char *name = str_cstr(asked);
	int err = resolver_open();

	if (!err)
		err = ub_resolve_async(dns.ub, name, (int)q->type, 1, q, on_answer, &q->id);
	free(name);
	return err;
}

/* Fills in the answer at once when it is known, else sends the question off. */
static void question_start(struct question *q)
{
	struct str asked = dns_ascii_name(q->name, q->arena);
	int err;

	*q->answer = (struct dns_answer){.status = DNS_NO_NAME, .canonical = q->name};
	q->is_cached = dns_cache_find(q->name, q->type, q->arena, q->answer);
	q->is_done = q->is_cached || !is_askable(asked);
	wait_list_init(&q->asker);
	if (q->is_done)
		return;
	if (dns.has_trusted) {
		/* Asked for when it is waited for. */
		q->trusted_name = asked;
		return;
	}
	err = send_off(q, asked);
	if (err) {
		q->answer->status = DNS_TRY_AGAIN;
		q->is_done = true;
		return;
	}
	dns.open_count++;
	if (!dns.fetcher)
		dns.fetcher = fiber_start("dns", fetch_answers, NULL);
}

static int ask_trusted(struct question *q, struct instant deadline)
{
	int err = dns_stub_ask((struct sockaddr *)&dns.trusted, q->trusted_name, q->type, deadline, q->arena, q->answer);

	if (err == -ECANCELED || err == -ETIMEDOUT)
		return err;
	if (err)
		*q->answer = (struct dns_answer){.status = DNS_TRY_AGAIN, .canonical = q->name};
	sort_records(q->answer->records, q->answer->count);
	q->is_done = true;
	return 0;
}

static int question_wait(struct question *q, struct instant deadline)
{
	int err = 0;

	if (!q->is_done && dns.has_trusted) {
		err = ask_trusted(q, deadline);
		if (err)
			return err;
	}
	while (!q->is_done && !err)
		err = wait_list_wait(&q->asker, deadline);
	if (!q->is_done) {
		/* The library may still hold the answer back; it must not find us gone. */
		ub_cancel(dns.ub, q->id);
		if (!--dns.open_count && dns.fetcher) {
			fiber_cancel(dns.fetcher);
			dns.fetcher = NULL;
		}
		return err;
	}
	if (!q->is_cached) {
		set_reason(q->answer, q->name, q->type, q->arena);
		dns_cache_add(q->name, q->type, q->answer);
	}
	return 0;
}

static struct str without_dot(struct str name)
{
	return name.len > 1 && str_ends(name, STR(".")) ? str_cut(name, 0, name.len - 1) : name;
}

int dns_lookup(struct str name, enum dns_type type, struct duration timeout, struct arena *a, struct dns_answer *ret_answer)
{
	struct question q = {.name = without_dot(name), .type = type, .arena = a, .answer = ret_answer};

	question_start(&q);
	return question_wait(&q, clock_deadline(timeout));
}

/* Both families' answers as one: found if one was, else the more hopeful failure. */
static void merge(struct dns_answer *to, const struct dns_answer *v4, const struct dns_answer *v6, struct arena *a)
{
	if (v4->status == DNS_FOUND && v6->status == DNS_FOUND) {
		*to = *v4;
		to->records = arena_alloc(a, (v4->count + v6->count) * sizeof(*to->records));
		memcpy(to->records, v4->records, v4->count * sizeof(*to->records));
		memcpy(to->records + v4->count, v6->records, v6->count * sizeof(*to->records));
		to->count = v4->count + v6->count;
		to->is_secure = v4->is_secure && v6->is_secure;
	} else if (v4->status == DNS_FOUND || (v6->status != DNS_FOUND && v4->status >= DNS_TRY_AGAIN)) {
		*to = *v4;
	} else {
		*to = *v6;
	}
}

static bool literal_answer(struct str host, struct arena *a, struct dns_answer *ret_answer)
{
	struct sockaddr_storage address;

	if (ip_parse(host, 0, &address))
		return false;
	*ret_answer = (struct dns_answer){.status = DNS_FOUND, .count = 1, .canonical = host};
	ret_answer->records = arena_alloc(a, sizeof(*ret_answer->records));
	ret_answer->records[0].type = address.ss_family == AF_INET ? DNS_A : DNS_AAAA;
	ret_answer->records[0].data = arena_str(a, ip_bytes((struct sockaddr *)&address));
	return true;
}

int dns_addresses(struct str host, bool use_hosts, bool want_v4, bool want_v6, struct arena *a, struct dns_answer *ret_answer)
{
	struct dns_answer answers[2];
	struct question v4 = {.name = without_dot(host), .type = DNS_A, .arena = a, .answer = &answers[0]};
	struct question v6 = {.name = without_dot(host), .type = DNS_AAAA, .arena = a, .answer = &answers[1]};
	struct instant deadline = clock_deadline(duration_s(HOST_TIMEOUT_S));
	int err = 0, err6 = 0;

	if (literal_answer(host, a, ret_answer) || (use_hosts && hosts_find_name(v4.name, want_v4, want_v6, a, ret_answer)))
		return 0;
	answers[0] = answers[1] = (struct dns_answer){.status = DNS_NO_DATA};
	if (want_v4)
		question_start(&v4);
	if (want_v6)
		question_start(&v6);
	if (want_v4)
		err = question_wait(&v4, deadline);
	if (want_v6)
		err6 = question_wait(&v6, deadline);
	if (!want_v6)
		*ret_answer = answers[0];
	else if (!want_v4)
		*ret_answer = answers[1];
	else
		merge(ret_answer, &answers[0], &answers[1], a);
	return err ? err : err6;
}

/* Does the name lead back to the address? */
static int verify_name(struct str name, const struct sockaddr *address, struct arena *a, enum dns_status *ret_forward)
{
	struct dns_answer answer;
	bool is_v4 = address->sa_family == AF_INET;
	int err = dns_addresses(name, true, is_v4, !is_v4, a, &answer);

	if (err)
		return err;
	*ret_forward = answer.status == DNS_FOUND ? DNS_NO_DATA : answer.status;
	for (size_t i = 0; i < answer.count; i++)
		if (str_eq(answer.records[i].data, ip_bytes(address)))
			*ret_forward = DNS_FOUND;
	return 0;
}

int dns_host_name(const struct sockaddr *address, struct arena *a, struct str *ret_name, enum dns_status *ret_ptr,
                  enum dns_status *ret_forward)
{
	struct dns_answer answer = {.status = DNS_FOUND};
	int err = 0;

	*ret_name = STR("");
	*ret_forward = DNS_NO_NAME;
	if (!hosts_find_address(address, a, ret_name)) {
		err = dns_lookup(dns_reverse_name(address, a), DNS_PTR, duration_s(PEER_TIMEOUT_S), a, &answer);
		if (!err && answer.count)
			*ret_name = answer.records[0].name;
	}
	*ret_ptr = answer.status;
	if (err || !ret_name->len)
		return err;
	return verify_name(*ret_name, address, a, ret_forward);
}
