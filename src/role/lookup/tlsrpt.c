/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gathering and sending TLS reports. In the store a report lies under "BEGIN DOMAIN", BEGIN being the first
 * second of its period in 16 hexadecimal digits, so that the oldest stands first.
 */
#include "role/lookup/tlsrpt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "base/map.h"
#include "base/random.h"
#include "config/params.h"
#include "fiber/fiber.h"
#include "mail/envelope.h"
#include "net/dns.h"
#include "net/ip.h"
#include "role/lookup/store.h"
#include "role/lookup/tls_report.h"
#include "role/lookup/web.h"

enum {
	FLUSH_AFTER_S = 5,
	LOOK_AFTER_S = 60,
	GATHERED_SIZE_MAX = 16 << 20, /* in memory until they are written down; what is more does not count */
	KEY_COST = 500,
	BATCH_MAX = 100,
	REPORT_SIZE_MAX = 4 << 20,
	BEGIN_DIGITS = 16,
	DNS_WAIT_S = 20,
	PLACES_MAX = 5,
	ANSWER_MAX = 64 * 1024,
	SUBMIT_WAIT_S = 60,
	RETRY_AFTER_S = 600,
	GIVE_UP_AFTER_S = 86400
};

static struct {
	const struct params *params;
	bool is_running;
	struct map gathered; /* key of the store: struct buf, the outcomes since the last flush */
	size_t gathered_size;
	struct map retries; /* key of the store: struct instant, the next try */
	bool is_looking;    /* through what there is to send */
	uint64_t looks_at;  /* what had ended before */
} tlsrpt;

bool tlsrpt_is_wanted(const struct config *c)
{
	for (size_t i = 0; i < config_service_count(c); i++) {
		const struct service *service = config_service(c, i);
		const struct params *p = config_service_view(c, service)->params;

		if ((str_eq(service->program, STR("smtp")) && p->smtp_tlsrpt_enable) ||
		    (str_eq(service->program, STR("lmtp")) && p->lmtp_tlsrpt_enable))
			return true;
	}
	return false;
}

static uint64_t period_s(void)
{
	return size_max((size_t)(tlsrpt.params->postrider_tlsrpt_period.ns / NS_PER_S), 1);
}

/* --- gathering ------------------------------------------------------------------------------- */

void tlsrpt_take(const struct message_tls_outcome *o)
{
	struct message m = {.type = MESSAGE_TLS_OUTCOME, .tls_outcome = *o};
	struct arena a = ARENA_INIT;
	uint64_t now = clock_wall_s();
	struct buf *frames;
	struct str key;
	size_t size;

	if (!tlsrpt.is_running || !store_takes_domain(o->domain) || tlsrpt.gathered_size >= GATHERED_SIZE_MAX)
		return;
	key = arena_printf(&a, "%016llx %.*s", (unsigned long long)(now - now % period_s()), STR_ARG(arena_lower(&a, o->domain)));
	frames = map_find(&tlsrpt.gathered, key);
	if (!frames) {
		frames = mem_alloc(sizeof(*frames));
		buf_init(frames, GATHERED_SIZE_MAX + MESSAGE_SIZE_MAX);
		(void)map_set(&tlsrpt.gathered, key, frames);
		tlsrpt.gathered_size += KEY_COST;
	}
	size = frames->len;
	message_encode(frames, &m);
	tlsrpt.gathered_size += frames->len - size;
	arena_done(&a);
}

/* What the store has of a report, and what has been gathered since. */
static void add_outcomes(struct str old, struct buf *value, const void *arg)
{
	struct str frames = buf_str(arg);
	struct tls_report *report = tls_report_new(old);
	struct message m;

	while (frames.len && !message_decode(&frames, &m))
		tls_report_add(report, &m.tls_outcome);
	tls_report_encode(report, value);
	tls_report_free(report);
}

/* Takes up to BATCH_MAX domains out of what has been gathered. */
static size_t take_batch(struct store_change *changes, struct arena *a)
{
	size_t at = 0, count = 0;
	struct str key;
	void *frames;

	while (count < BATCH_MAX && map_next(&tlsrpt.gathered, &at, &key, &frames))
		changes[count++] = (struct store_change){
			.table = STORE_TLSRPT, .key = arena_str(a, key), .make = add_outcomes, .arg = frames};
	for (size_t i = 0; i < count; i++) {
		struct buf *taken = map_remove(&tlsrpt.gathered, changes[i].key);

		tlsrpt.gathered_size -= KEY_COST + taken->len;
	}
	return count;
}

void tlsrpt_flush(void)
{
	struct store_change *changes = mem_alloc(BATCH_MAX * sizeof(*changes));
	size_t count = BATCH_MAX;
	int err = 0;

	while (!err && count == BATCH_MAX) {
		struct arena a = ARENA_INIT;

		count = take_batch(changes, &a);
		err = count ? store_write(changes, count) : 0;
		for (size_t i = 0; i < count; i++) {
			buf_done((struct buf *)changes[i].arg);
			free((struct buf *)changes[i].arg);
		}
		arena_done(&a);
	}
	if (err)
		log_error("outcomes for TLS reports cannot be kept: %s", strerror(-err));
	free(changes);
}

/* --- sending --------------------------------------------------------------------------------- */

/* A report on its way. */
struct sending {
	struct str key;
	struct tls_report_frame frame;
	struct buf gzip;
	struct arena *arena;
};

static int submit(const struct envelope *e, int fd, struct buf *why)
{
	struct buf envelope = BUF_INIT(MESSAGE_SIZE_MAX), path = BUF_INIT(4096);
	struct message m = {.type = MESSAGE_SUBMIT, .fd = fd};
	struct channel *ch;
	int err;

	envelope_encode(&envelope, e);
	buf_addf(&path, "%.*s/public/pickup", STR_ARG(tlsrpt.params->queue_directory));
	err = channel_connect(buf_cstr(&path), &ch);
	if (!err) {
		m.submit = (struct message_submit){.token = 1, .envelope = buf_str(&envelope)};
		err = channel_send(ch, &m);
		if (!err)
			err = channel_recv(ch, clock_deadline(duration_s(SUBMIT_WAIT_S)), &m);
		if (!err && (m.type != MESSAGE_SUBMITTED || m.submitted.code != 250))
			err = -EIO;
		channel_free(ch);
	}
	if (err)
		buf_addf(why, "it cannot be handed in as mail: %s", strerror(-err));
	buf_done(&envelope);
	buf_done(&path);
	return err;
}

static int send_mail(const struct sending *s, struct str address, struct buf *why)
{
	struct recipient rcpt = {.address = address, .notify = NOTIFY_NEVER};
	struct envelope e = {.arrival = clock_wall(), .sender = s->frame.from, .recipients = &rcpt, .recipient_count = 1};
	struct buf text = BUF_INIT(2 * REPORT_SIZE_MAX);
	int fd = memfd_create("report", MFD_CLOEXEC), err = fd < 0 ? -errno : 0;

	tls_report_mail(&s->frame, address, buf_str(&s->gzip), &text);
	e.content_size = text.len;
	if (!err && pwrite(fd, text.ptr, text.len, 0) != (ssize_t)text.len)
		err = -EIO;
	if (!err)
		err = submit(&e, fd, why);
	if (fd >= 0)
		close(fd);
	buf_done(&text);
	return err;
}

static int send_web(const struct sending *s, struct str place, struct buf *why)
{
	struct str rest = str_from(place, 8), host = str_cut(rest, 0, str_find(rest, '/')), port;
	struct web_wish wish = {.path = str_from(rest, host.len),
	                        .port = 443,
	                        .ca_file = tlsrpt.params->postrider_mta_sts_CAfile,
	                        .protocols = tlsrpt.params->inet_protocols,
	                        .media_type = STR("application/tlsrpt+gzip"),
	                        .body = buf_str(&s->gzip),
	                        .size_max = ANSWER_MAX};
	struct web_answer answer;
	int err;

	if (str_split(host, ':', &host, &port) && ip_parse_port(port, &wish.port)) {
		buf_addf(why, "bad port");
		return -EINVAL;
	}
	wish.host = host;
	if (!wish.path.len)
		wish.path = STR("/");
	err = web_request(&wish, s->arena, &answer, why);
	if (err || answer.status / 100 == 2)
		return err;
	buf_addf(why, "the web server answered with status %ld", answer.status);
	return -EIO;
}

/* To every place that the record names. 0 when one of them took it. */
static int send_to_all(const struct sending *s, struct str record)
{
	struct str place;
	int err = -EINVAL;

	for (int i = 0; i < PLACES_MAX && tls_report_next_place(&record, &place); i++) {
		struct buf why = BUF_INIT(2000);
		bool is_mail = str_starts_nocase(place, STR("mailto:"));
		int failure = is_mail ? send_mail(s, str_from(place, 7), &why) : send_web(s, place, &why);

		if (failure)
			log_warn("TLS report %.*s for %.*s to %.*s: %s", STR_ARG(s->frame.id), STR_ARG(s->frame.domain),
			         STR_ARG(place), buf_cstr(&why));
		else
			log_info("TLS report %.*s for %.*s: sent to %.*s", STR_ARG(s->frame.id), STR_ARG(s->frame.domain),
			         STR_ARG(place));
		if (err)
			err = failure;
		buf_done(&why);
	}
	return err;
}

/* -ENOENT: the domain wants no reports. -EAGAIN: who knows. */
static int find_record(struct str domain, struct arena *a, struct str *ret_record)
{
	struct dns_answer answer;
	int err = dns_lookup(arena_printf(a, "_smtp._tls.%.*s", STR_ARG(domain)), DNS_TXT, duration_s(DNS_WAIT_S), a, &answer);
	size_t ours = 0;

	if (err)
		return -EAGAIN;
	if (answer.status != DNS_FOUND)
		return answer.status == DNS_NO_DATA || answer.status == DNS_NO_NAME ? -ENOENT : -EAGAIN;
	for (size_t i = 0; i < answer.count; i++) {
		if (!tls_report_record_is_ours(answer.records[i].data))
			continue;
		*ret_record = answer.records[i].data;
		ours++;
	}
	return ours == 1 ? 0 : -ENOENT;
}

static int send_report(struct str key, uint64_t begins, struct str text, struct arena *a)
{
	const struct params *p = tlsrpt.params;
	struct tls_report_frame frame = {.organization = p->postrider_tlsrpt_organization,
	                                 .contact = p->postrider_tlsrpt_contact,
	                                 .domain = str_from(key, BEGIN_DIGITS + 1),
	                                 .submitter = p->mydomain,
	                                 .from = p->postrider_tlsrpt_from,
	                                 .begins = begins,
	                                 .ends = begins + period_s()};
	struct sending s = {.key = key, .frame = frame, .gzip = BUF_INIT(REPORT_SIZE_MAX), .arena = a};
	struct tls_report *report;
	struct str record;
	int err = find_record(frame.domain, a, &record);

	if (err)
		return err;
	report = tls_report_new(text);
	s.frame.id =
		arena_printf(a, "%llx-%08x-%08x", (unsigned long long)begins, random_below(UINT32_MAX), random_below(UINT32_MAX));
	err = tls_report_gzip(report, &s.frame, &s.gzip);
	if (!err)
		err = send_to_all(&s, record);
	tls_report_free(report);
	buf_done(&s.gzip);
	return err;
}

/* --- the rounds -------------------------------------------------------------------------------- */

static void hold_until(struct str key, struct instant until)
{
	struct instant *next = mem_alloc(sizeof(*next));

	*next = until;
	free(map_set(&tlsrpt.retries, key, next));
}

static void forget(struct str key)
{
	struct store_change change = {.table = STORE_TLSRPT, .key = key};
	int err;

	free(map_remove(&tlsrpt.retries, key));
	err = store_write(&change, 1);
	if (!err)
		return;
	/* It must not be sent over and over. */
	log_error("a TLS report that is done with cannot be removed: %s", strerror(-err));
	hold_until(key, INSTANT_NEVER);
}

/* Reports of all the world at midnight would be too much of a good thing (RFC 8460, 4.1). */
static uint64_t delay_of(struct str key)
{
	uint64_t most = (uint64_t)(tlsrpt.params->postrider_tlsrpt_delay.ns / NS_PER_S);

	return most ? hash_bytes(key.ptr, key.len) % most : 0;
}

static void look_at(struct str key, struct str text, struct arena *a)
{
	const struct instant *next = map_find(&tlsrpt.retries, key);
	uint64_t begins = strtoull(arena_cstr(a, str_cut(key, 0, BEGIN_DIGITS)), NULL, 16), ends = begins + period_s(),
		 now = clock_wall_s();
	int err;

	if (tlsrpt.looks_at < ends + delay_of(key) || (next && instant_is_before(clock_now(), *next)))
		return;
	err = send_report(key, begins, text, a);
	if (!err || err == -ENOENT || err == -EINVAL || now > ends + delay_of(key) + GIVE_UP_AFTER_S)
		forget(key);
	else
		hold_until(key, clock_deadline(duration_s((int64_t)size_min(RETRY_AFTER_S, period_s()))));
}

/* On a fiber of its own, for the servers of others may take their time. */
static void look_at_all(void *unused)
{
	struct arena a = ARENA_INIT, step = ARENA_INIT;
	struct str key = STR(""), text;

	while (!store_next(STORE_TLSRPT, key, &step, &key, &text)) {
		struct arena behind = ARENA_INIT;

		look_at(key, text, &step);
		/* The next key there can be: this one and a byte. */
		key = arena_printf(&behind, "%.*s!", STR_ARG(key));
		arena_done(&step);
		step = ARENA_INIT;
		arena_done(&a);
		a = behind;
	}
	arena_done(&a);
	arena_done(&step);
	tlsrpt.is_looking = false;
}

static void run(void *arg)
{
	struct instant look = clock_now();

	while (!fiber_sleep(duration_s((int64_t)size_min(FLUSH_AFTER_S, period_s())))) {
		uint64_t now = clock_wall_s();

		tlsrpt_flush();
		if (tlsrpt.is_looking || instant_is_before(clock_now(), look))
			continue;
		look = clock_deadline(duration_s((int64_t)size_min(LOOK_AFTER_S, period_s())));
		tlsrpt.is_looking = true;
		tlsrpt.looks_at = now;
		fiber_start("tls reports, sending", look_at_all, NULL);
	}
}

void tlsrpt_start(const struct config *c)
{
	tlsrpt.params = config_main_view(c)->params;
	tlsrpt.is_running = true;
	fiber_start("tls reports", run, NULL);
}
