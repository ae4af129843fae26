/* SPDX-License-Identifier: Apache-2.0 */
/* Questions about MTA-STS policies, and one fetch at a time for each domain that needs one. */
#include "role/lookup/sts.h"

#include <errno.h>

#include "base/log.h"
#include "base/map.h"
#include "config/params.h"
#include "fiber/fiber.h"
#include "mail/mta_sts.h"
#include "net/dns.h"
#include "role/lookup/store.h"
#include "role/lookup/sts_cache.h"
#include "role/lookup/web.h"

enum {
	QUESTIONS_MAX = 5000,
	DNS_WAIT_S = 20,
	FETCH_WAIT_S = 70,       /* a fetch takes a minute at most, but may have to wait for others */
	REFRESH_AFTER_S = 86400, /* unless half of max_age comes first */
	RETRY_AFTER_S = 300,     /* RFC 8461, 3.3 */
	FAILURES_MAX = 10000,
	FETCHES_MAX = 2000,  /* with those that wait for their turn */
	POLICIES_MAX = 10000 /* kept; of the largest size they fill three quarters of the store */
};

/* A fetch under way. Freed by the last who waits for it. */
struct fetch {
	char *domain;
	char *id;
	struct wait_list over;
	size_t users; /* its own fiber, and who waits */
	bool is_over;
	const char *failure; /* in the words of RFC 8460, or "" */
	int unkept;          /* the policy is there and good, but the store did not take it: why */
};

/* After a fetch that failed, the same policy is left alone for a while. */
struct failure {
	struct instant until;
	const char *word;
};

static struct {
	const struct params *params;
	struct map fetches;  /* domain: struct fetch */
	struct map failures; /* "domain id": struct failure */
	size_t question_count;
} sts;

/* --- start ------------------------------------------------------------------------------- */

bool sts_is_wanted(const struct config *c)
{
	for (size_t i = 0; i < config_service_count(c); i++) {
		const struct service *service = config_service(c, i);

		if (str_eq(service->program, STR("smtp")) && config_service_view(c, service)->params->smtp_mta_sts)
			return true;
	}
	return false;
}

void sts_start(const struct config *c)
{
	sts.params = config_main_view(c)->params;
}

/* --- fetching ------------------------------------------------------------------------------- */

static bool is_due(const struct sts_cached *c)
{
	uint64_t age = clock_wall_s() - c->fetched_at;

	return age >= REFRESH_AFTER_S || age >= c->max_age / 2;
}

static struct str failure_key(struct str domain, struct str id, struct arena *a)
{
	return arena_printf(a, "%.*s %.*s", STR_ARG(domain), STR_ARG(id));
}

static void forget_failures(void)
{
	size_t at = 0;
	struct str key;
	void *value;

	while (map_next(&sts.failures, &at, &key, &value))
		free(map_remove(&sts.failures, key));
}

static void note_failure(const struct fetch *f, struct arena *a)
{
	struct failure *failure = mem_alloc(sizeof(*failure));

	if (map_count(&sts.failures) >= FAILURES_MAX)
		forget_failures();
	*failure = (struct failure){.until = clock_deadline(duration_s(RETRY_AFTER_S)), .word = f->failure};
	free(map_set(&sts.failures, failure_key(str_of(f->domain), str_of(f->id), a), failure));
}

/* The word for a failure that is not old enough to try again, or NULL. */
static const char *recent_failure(struct str domain, struct str id, struct arena *a)
{
	struct str key = failure_key(domain, id, a);
	struct failure *f = map_find(&sts.failures, key);

	if (f && instant_is_before(clock_now(), f->until))
		return f->word;
	if (f)
		free(map_remove(&sts.failures, key));
	return NULL;
}

/* 0, or an error with f->failure and the reason. */
static int get_policy(struct fetch *f, struct arena *a, struct buf *why)
{
	struct web_wish wish = {.host = arena_printf(a, "mta-sts.%s", f->domain),
	                        .port = (uint16_t)sts.params->postrider_mta_sts_port,
	                        .path = STR("/.well-known/mta-sts.txt"),
	                        .ca_file = sts.params->postrider_mta_sts_CAfile,
	                        .protocols = sts.params->inet_protocols,
	                        .size_max = STS_POLICY_SIZE_MAX};
	struct sts_cached c = {.fetched_at = clock_wall_s(), .id = str_of(f->id)};
	struct web_answer answer;
	struct sts_policy policy;
	int err = web_request(&wish, a, &answer, why);

	f->failure = answer.is_certificate_bad ? "sts-webpki-invalid" : "sts-policy-fetch-error";
	if (err)
		return err;
	err = sts_answer_parse(answer.status, answer.media_type, answer.body, a, &policy, why);
	if (err == -EINVAL)
		f->failure = "sts-policy-invalid";
	if (err)
		return err;
	f->failure = "";
	c.text = answer.body;
	c.max_age = policy.max_age;
	f->unkept = sts_cache_put(str_of(f->domain), &c, POLICIES_MAX);
	if (f->unkept)
		log_error("the MTA-STS policy of %s cannot be kept: %s", f->domain, strerror(-f->unkept));
	log_info("MTA-STS policy of %s: mode %s, id %s, for %u s", f->domain, sts_mode_name(policy.mode), f->id, policy.max_age);
	return 0;
}

static void fetch_release(struct fetch *f)
{
	if (--f->users > 0)
		return;
	free(f->domain);
	free(f->id);
	free(f);
}

static void run_fetch(void *arg)
{
	struct fetch *f = arg;
	struct buf why = BUF_INIT(2048);
	struct arena a = ARENA_INIT;

	if (get_policy(f, &a, &why)) {
		log_warn("MTA-STS policy of %s (id %s) cannot be had: %s: %s", f->domain, f->id, f->failure, buf_cstr(&why));
		note_failure(f, &a);
	}
	(void)map_remove(&sts.fetches, str_of(f->domain));
	f->is_over = true;
	wait_list_wake_all(&f->over);
	fetch_release(f);
	arena_done(&a);
	buf_done(&why);
}

/* The fetch under way for this domain, or a new one. NULL when there are too many. */
static struct fetch *fetch_begin(struct str domain, struct str id)
{
	struct fetch *f = map_find(&sts.fetches, domain);

	if (f || map_count(&sts.fetches) >= FETCHES_MAX)
		return f;
	f = mem_alloc(sizeof(*f));
	*f = (struct fetch){.domain = str_cstr(domain), .id = str_cstr(id), .users = 1, .failure = "sts-policy-fetch-error"};
	wait_list_init(&f->over);
	(void)map_set(&sts.fetches, domain, f);
	fiber_start("mta-sts fetch", run_fetch, f);
	return f;
}

/* Waits for its end. *ret_failure is the failure's word, or "". An error when there is a policy that could not be kept. */
static int fetch_wait(struct fetch *f, const char **ret_failure)
{
	struct instant deadline = clock_deadline(duration_s(FETCH_WAIT_S));
	int err = 0, unkept;

	*ret_failure = "sts-policy-fetch-error";
	if (!f)
		return 0;
	f->users++;
	while (!f->is_over && !err)
		err = wait_list_wait(&f->over, deadline);
	if (f->is_over)
		*ret_failure = f->failure;
	unkept = f->unkept;
	fetch_release(f);
	return unkept;
}

/* --- questions ------------------------------------------------------------------------------ */

/* The id that DNS announces. -ENOENT when there is none, or none that counts (RFC 8461, 3.1). */
static int announced_id(struct str domain, struct arena *a, struct str *ret_id)
{
	struct str name = arena_printf(a, "_mta-sts.%.*s", STR_ARG(domain));
	struct dns_answer answer;
	size_t ours = 0, at = 0;

	if (dns_lookup(name, DNS_TXT, duration_s(DNS_WAIT_S), a, &answer) || answer.status != DNS_FOUND)
		return -ENOENT;
	for (size_t i = 0; i < answer.count; i++) {
		if (!sts_record_is_ours(answer.records[i].data))
			continue;
		at = i;
		ours++;
	}
	return ours == 1 && !sts_record_parse(answer.records[at].data, ret_id) ? 0 : -ENOENT;
}

struct question {
	struct client *client;
	uint64_t token;
	struct str domain;
	struct arena arena;
};

/* The policy in force, as RFC 8461, 5.1, says to find it. */
static int find_policy(struct question *q, struct sts_cached *c, const char **ret_failure)
{
	struct str id;
	bool is_announced = !announced_id(q->domain, &q->arena, &id);
	/* After the wait for the DNS: others may have fetched it meanwhile. */
	int err = sts_cache_get(q->domain, clock_wall_s(), &q->arena, c), unkept;
	const char *recent;

	*ret_failure = "";
	/* Without a record a policy that was there before stays in force until its age ends. */
	if (!is_announced || (err && err != -ENOENT))
		return err;
	recent = recent_failure(q->domain, id, &q->arena);
	if (recent) {
		*ret_failure = recent;
	} else if (err || !str_eq(id, c->id)) {
		unkept = fetch_wait(fetch_begin(q->domain, id), ret_failure);
		err = sts_cache_get(q->domain, clock_wall_s(), &q->arena, c);
		/* Mail must not go as if there were none. */
		if (err == -ENOENT && unkept)
			err = unkept;
	} else if (is_due(c)) {
		(void)fetch_begin(q->domain, id);
	}
	return err;
}

static void answer(struct client *client, uint64_t token, int err, struct str policy, const char *failure)
{
	struct message m = {.type = MESSAGE_STS_ANSWER, .sts_answer = {.token = token, .policy = policy}};

	m.sts_answer.result = (uint32_t)-err;
	m.sts_answer.failure = str_of(failure);
	client_send(client, &m);
}

static void run_question(void *arg)
{
	struct question *q = arg;
	struct sts_cached c = {0};
	const char *failure;
	int err = find_policy(q, &c, &failure);

	answer(q->client, q->token, err, c.text, failure);
	sts.question_count--;
	client_release(q->client);
	arena_done(&q->arena);
	free(q);
}

void sts_take_question(struct client *client, const struct message_sts_ask *m)
{
	struct question *q;

	if (!store_takes_domain(m->domain)) {
		answer(client, m->token, -ENOENT, STR(""), "");
		return;
	}
	if (!store_is_open() || sts.question_count >= QUESTIONS_MAX) {
		answer(client, m->token, -EAGAIN, STR(""), "");
		return;
	}
	q = mem_alloc(sizeof(*q));
	*q = (struct question){.client = client_hold(client), .token = m->token};
	q->domain = arena_lower(&q->arena, m->domain);
	sts.question_count++;
	fiber_start("mta-sts", run_question, q);
}
