/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Restrictions as rows: what main.cf says, who comes, what must be answered. The answers are
 * those that an installed Postfix gave to the same dialogue.
 */
#include "policy/policy.h"

#include <errno.h>
#include <stdio.h>

#include "check.h"
#include "config/config.h"
#include "policy/policy_internal.h"
#include "route/resolve.h"

#define BASICS \
	"compatibility_level = 3.6\nmyhostname = peer.example\nmyorigin = $myhostname\nmydestination = local.example\n" \
	"inet_interfaces = 127.0.0.1\nmynetworks = 127.0.0.0/8\nlocal_recipient_maps = inline:{{known=x}}\n" \
	"smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n"

/* One configuration with one session in it. */
struct bench {
	struct config *config;
	struct router *router;
	struct policy *policy;
	struct policy_session session;
	struct policy_action action;
	struct arena arena;
	struct buf why;
};

static int bench_open(struct bench *b, const char *main_cf)
{
	const char *dir = check_folder();
	char path[500];
	FILE *f;
	int err;

	*b = (struct bench){.why = BUF_INIT(4096)};
	snprintf(path, sizeof(path), "%s/master.cf", dir);
	f = fopen(path, "w");
	fclose(f);
	snprintf(path, sizeof(path), "%s/main.cf", dir);
	f = fopen(path, "w");
	fprintf(f, "%s%s\n", BASICS, main_cf);
	fclose(f);
	b->config = config_load(str_of(dir), NULL, 0);
	err = router_new(config_main_view(b->config), &b->router, &b->why);
	buf_reset(&b->why);
	if (!err)
		err = policy_new(config_main_view(b->config), b->router, &b->policy, &b->why);
	b->session = (struct policy_session){.client_name = STR("localhost"),
	                                     .client_reverse_name = STR("localhost"),
	                                     .client_address = STR("127.0.0.1"),
	                                     .helo = STR("client.example"),
	                                     .is_esmtp = true,
	                                     .arena = &b->arena};
	return err;
}

static void bench_close(struct bench *b)
{
	policy_free(b->policy);
	router_free(b->router);
	config_free(b->config);
	arena_done(&b->arena);
	buf_done(&b->why);
}

static void set_addresses(struct bench *b, const char *sender, const char *recipient)
{
	struct str origin = STR("peer.example");

	b->session.has_sender = true;
	b->session.sender_raw = str_of(sender);
	b->session.sender = *sender ? router_rewrite(b->router, str_of(sender), origin, &b->arena) : STR("");
	b->session.recipient_raw = str_of(recipient);
	b->session.recipient = router_rewrite(b->router, str_of(recipient), origin, &b->arena);
}

static struct str reply_line(struct bench *b, const struct reply *reply)
{
	struct buf line = BUF_INIT(1000);
	struct str result;

	if (!reply->code)
		return STR("ok");
	buf_addf(&line, "%d ", reply->code);
	dsn_code_format(&line, reply->dsn);
	buf_addf(&line, " %.*s%s", STR_ARG(reply->text), reply->is_final ? " (end)" : "");
	result = arena_str(&b->arena, buf_str(&line));
	buf_done(&line);
	return result;
}

/* Connect, HELO, MAIL, RCPT: the first answer that is no "go on". */
static struct str talk(struct bench *b, const char *sender, const char *recipient)
{
	struct policy_session *s = &b->session;
	struct reply reply = policy_check_connect(b->policy, s, &b->action);

	if (!reply.code)
		reply = policy_check_helo(b->policy, s, &b->action);
	set_addresses(b, sender, recipient);
	if (!reply.code) {
		struct str later = s->recipient;

		s->recipient = STR("");
		reply = policy_check_mail(b->policy, s, &b->action);
		s->recipient = later;
	}
	if (!reply.code)
		reply = policy_check_rcpt(b->policy, s, &b->action);
	return reply_line(b, &reply);
}

struct row {
	const char *main_cf, *sender, *recipient, *want;
};

static void check_rows(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct bench b;

		if (bench_open(&b, rows[i].main_cf))
			check_failed(__FILE__, __LINE__, "%s: %s", rows[i].main_cf, buf_cstr(&b.why));
		else if (!check_str(__FILE__, __LINE__, talk(&b, rows[i].sender, rows[i].recipient), str_of(rows[i].want)))
			check_failed(__FILE__, __LINE__, "... in the row \"%s\"", rows[i].main_cf);
		bench_close(&b);
	}
}

#define S "s@sender.example"
#define R "known@local.example"
#define CHECK_ROWS(rows) check_rows(rows, COUNT_OF(rows))

TEST(each_list_refuses_in_its_own_words)
{
	static const struct row rows[] = {
		{"", S, R, "ok"},
		{"smtpd_client_restrictions = reject", S, R,
	         "554 5.7.1 <localhost[127.0.0.1]>: Client host rejected: Access denied"},
		{"smtpd_client_restrictions = defer", S, R,
	         "450 4.3.2 <localhost[127.0.0.1]>: Client host rejected: Try again later"},
		{"smtpd_helo_restrictions = reject", S, R, "554 5.7.1 <client.example>: Helo command rejected: Access denied"},
		{"smtpd_sender_restrictions = reject", S, R,
	         "554 5.7.1 <s@sender.example>: Sender address rejected: Access denied"},
		{"smtpd_recipient_restrictions = reject", S, R,
	         "554 5.7.1 <known@local.example>: Recipient address rejected: Access denied"},
		{"smtpd_relay_restrictions = defer", S, R,
	         "450 4.3.2 <known@local.example>: Recipient address rejected: Try again later"},
		{"smtpd_sender_restrictions = reject_plaintext_session", S, R, "450 4.7.1 Session encryption is required"},
		{"reject_code = 550\nsmtpd_client_restrictions = reject", S, R,
	         "550 5.7.1 <localhost[127.0.0.1]>: Client host rejected: Access denied"},
		{"soft_bounce = yes\nsmtpd_client_restrictions = reject", S, R,
	         "454 4.7.1 <localhost[127.0.0.1]>: Client host rejected: Access denied"},
	};

	CHECK_ROWS(rows);
}

/* The row's client has shown a certificate; relaying is what it may have won. */
struct certificate_row {
	const char *rules, *certificate, *key;
	bool is_trusted;
	const char *want;
};

#define NO_RELAY "554 5.7.1 <x@other.example>: Relay access denied"
#define PRINTS "inline:{{AA:01=OK}, {AA:02=REJECT not you}, {BB:01=OK}, {BB:02=REJECT not that key}}"
#define LISTED(order) "check_ccert_access { " PRINTS ", { search_order = " order " } }"

TEST(certificates_let_in_whom_they_should)
{
	static const struct certificate_row rows[] = {
		{"permit_tls_all_clientcerts", "AA:01", "BB:01", true, "ok"},
		{"permit_tls_all_clientcerts", "AA:01", "BB:01", false, NO_RELAY},
		{"permit_tls_all_clientcerts", "", "", false, NO_RELAY},
		{"permit_tls_clientcerts", "AA:01", "BB:09", false, "ok"},
		{"permit_tls_clientcerts", "AA:09", "BB:01", false, "ok"},
		{"permit_tls_clientcerts", "AA:09", "BB:09", true, NO_RELAY},
		{"permit_tls_clientcerts", "", "", false, NO_RELAY},
		{"check_ccert_access " PRINTS, "AA:01", "BB:02", false, "ok"},
		{"check_ccert_access " PRINTS, "AA:02", "BB:01", false,
	         "554 5.7.1 <c.example>: Client certificate rejected: not you"},
		{"check_ccert_access " PRINTS, "AA:09", "BB:01", false, "ok"},
		{"check_ccert_access " PRINTS, "AA:09", "BB:09", true, NO_RELAY},
		{LISTED("pubkey_fingerprint, cert_fingerprint"), "AA:02", "BB:01", false, "ok"},
		{LISTED("pubkey_fingerprint"), "AA:01", "BB:09", false, NO_RELAY},
		{LISTED("cert_fingerprint"), "AA:09", "BB:01", false, NO_RELAY},
		{LISTED("cert_fingerprint pubkey_fingerprint"), "AA:09", "BB:01", false, "ok"},
		{LISTED("fingerprint"), "AA:01", "BB:01", false, "451 4.3.5 Server configuration error"},
		{LISTED("cert_fingerprint cert_fingerprint"), "AA:01", "BB:01", false, "451 4.3.5 Server configuration error"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct bench b;
		char text[1000];

		snprintf(text, sizeof(text),
		         "mynetworks =\nsmtpd_tls_ask_ccert = yes\nrelay_clientcerts = inline:{{AA:01=x}, {BB:01=y}}\n"
		         "smtpd_relay_restrictions = %s, reject_unauth_destination",
		         rows[i].rules);
		CHECK_INT(bench_open(&b, text), 0);
		b.session.has_tls = true;
		b.session.is_ccert_trusted = rows[i].is_trusted;
		b.session.ccert_subject = rows[i].certificate[0] ? STR("c.example") : STR("");
		b.session.ccert_fingerprint = str_of(rows[i].certificate);
		b.session.ccert_pubkey_fingerprint = str_of(rows[i].key);
		if (!check_str(__FILE__, __LINE__, talk(&b, S, "x@other.example"), str_of(rows[i].want)))
			check_failed(__FILE__, __LINE__, "... in row %zu, \"%s\"", i, rows[i].rules);
		bench_close(&b);
	}
}

TEST(rules_about_certificates_that_nobody_asks_for_are_warned_about)
{
	struct bench b;

	CHECK_INT(bench_open(&b, "smtpd_relay_restrictions = permit_tls_all_clientcerts, reject_unauth_destination"), 0);
	CHECK(str_find_str(str_of(policy_warning(b.policy, 0)),
	                   STR("permit_tls_all_clientcerts is requested, but \"smtpd_tls_ask_ccert = no\"")) <
	      strlen(policy_warning(b.policy, 0)));
	bench_close(&b);
}

TEST(relaying_is_refused_where_it_must_be)
{
	static const struct row rows[] = {
		{"mynetworks =", S, "x@other.example", "554 5.7.1 <x@other.example>: Relay access denied"},
		{"", S, "x@other.example", "ok"},
		{"mynetworks =\nsmtpd_relay_restrictions = defer_unauth_destination", S, "x@other.example",
	         "454 4.7.1 <x@other.example>: Relay access denied"},
		{"mynetworks =", S, "x@other.example@local.example",
	         "554 5.7.1 <x@other.example@local.example>: Relay access denied"},
		{"mynetworks =", S, "a%b@local.example", "554 5.7.1 <a%b@local.example>: Relay access denied"},
		{"mynetworks =", S, "a@[1.2.3.4]", "554 5.7.1 <a@[1.2.3.4]>: Relay access denied"},
		{"mynetworks =", S, "a@[127.0.0.1]",
	         "550 5.1.1 <a@[127.0.0.1]>: Recipient address rejected: User unknown in local recipient table"},
		{"mynetworks =", S, R, "ok"},
		{"mynetworks =\nrelay_domains = relay.example", S, "x@sub.relay.example", "ok"},
		{"mynetworks =\nsmtpd_recipient_restrictions = permit_auth_destination, reject", S, R, "ok"},
	};

	CHECK_ROWS(rows);
}

TEST(unknown_users_are_refused_last)
{
	static const struct row rows[] = {
		{"", S, "Nobody@local.example",
	         "550 5.1.1 <Nobody@local.example>: Recipient address rejected: User unknown in local recipient table"},
		{"show_user_unknown_table_name = no", S, "nobody@local.example",
	         "550 5.1.1 <nobody@local.example>: Recipient address rejected: User unknown"},
		{"smtpd_reject_unlisted_recipient = no", S, "nobody@local.example", "ok"},
		{"smtpd_recipient_restrictions = reject_unlisted_recipient, reject", S, "nobody@local.example",
	         "550 5.1.1 <nobody@local.example>: Recipient address rejected: User unknown in local recipient table"},
		{"smtpd_sender_restrictions = reject_unlisted_sender", "nobody@local.example", R,
	         "550 5.1.0 <nobody@local.example>: Sender address rejected: User unknown in local recipient table"},
		{"smtpd_reject_unlisted_sender = yes", "nobody@local.example", "nobody@local.example",
	         "550 5.1.0 <nobody@local.example>: Sender address rejected: User unknown in local recipient table"},
		{"unknown_local_recipient_reject_code = 450", S, "nobody@local.example",
	         "450 4.1.1 <nobody@local.example>: Recipient address rejected: User unknown in local recipient table"},
		{"smtpd_recipient_restrictions = reject", S, "PostMaster", "ok"},
		{"relocated_maps = inline:{{known@local.example=new@place.example}}", S, R,
	         "550 5.1.6 <known@local.example>: Recipient address rejected: User has moved to new@place.example"},
		{"transport_maps = inline:{{known@local.example=error:text}}", S, R,
	         "550 5.1.1 <known@local.example>: Recipient address rejected: text"},
		{"transport_maps = inline:{{known@local.example=error:4.1.1 later}}", S, R,
	         "550 5.1.1 <known@local.example>: Recipient address rejected: later"},
		{"transport_maps = inline:{{err.example=error:no such place}}", S, "x@err.example",
	         "550 5.1.1 <x@err.example>: Recipient address rejected: no such place"},
		{"transport_maps = inline:{{retry.example=retry:4.4.4 soon}}", S, "x@retry.example",
	         "450 4.4.4 <x@retry.example>: Recipient address rejected: soon"},
		{"smtpd_reject_unlisted_sender = yes\ntransport_maps = inline:{{gone@local.example=error:5.1.1 gone}}",
	         "gone@local.example", R, "550 5.1.7 <gone@local.example>: Sender address rejected: gone"},
	};

	CHECK_ROWS(rows);
}

TEST(deferrals_are_put_by)
{
	static const struct row rows[] = {
		{"smtpd_sender_restrictions = defer_if_permit", S, R,
	         "450 4.7.0 <s@sender.example>: Sender address rejected: defer_if_permit requested"},
		{"smtpd_sender_restrictions = defer_if_permit", S, "nobody@local.example",
	         "450 4.7.0 <s@sender.example>: Sender address rejected: defer_if_permit requested"},
		{"smtpd_client_restrictions = defer_if_permit\nsmtpd_recipient_restrictions = reject", S, R,
	         "554 5.7.1 <known@local.example>: Recipient address rejected: Access denied"},
		{"smtpd_sender_restrictions = defer_if_reject, reject", S, R,
	         "450 4.7.0 <s@sender.example>: Sender address rejected: defer_if_reject requested"},
		{"smtpd_sender_restrictions = defer_if_reject\nsmtpd_recipient_restrictions = reject", S, R,
	         "554 5.7.1 <known@local.example>: Recipient address rejected: Access denied"},
		{"smtpd_recipient_restrictions = defer_if_reject", S, "nobody@local.example",
	         "450 4.7.0 <nobody@local.example>: Recipient address rejected: defer_if_reject requested"},
		{"smtpd_sender_restrictions = defer_if_reject, defer_if_permit, reject_plaintext_session", S, R,
	         "450 4.7.0 <s@sender.example>: Sender address rejected: defer_if_permit requested"},
		{"smtpd_delay_reject = no\nsmtpd_client_restrictions = defer_if_permit", S, R,
	         "450 4.7.0 <localhost[127.0.0.1]>: Client host rejected: defer_if_permit requested"},
		{"smtpd_delay_reject = no\nsmtpd_helo_restrictions = defer_if_permit", S, R,
	         "450 4.7.0 <client.example>: Helo command rejected: defer_if_permit requested"},
		{"smtpd_delay_reject = no\nsmtpd_sender_restrictions = defer_if_reject\nsmtpd_recipient_restrictions = reject", S,
	         R, "554 5.7.1 <known@local.example>: Recipient address rejected: Access denied"},
	};

	CHECK_ROWS(rows);
}

TEST(lists_and_classes_are_read_as_in_postfix)
{
	static const struct row rows[] = {
		{"smtpd_sender_restrictions = foo", S, R, "451 4.3.5 Server configuration error"},
		{"smtpd_sender_restrictions = warn_if_reject foo", S, R, "451 4.3.5 Server configuration error"},
		{"smtpd_sender_restrictions = warn_if_reject reject warn_if_reject defer_if_permit, warn_if_reject", S, R, "ok"},
		{"smtpd_sender_restrictions = permit, reject", S, R, "ok"},
		{"smtpd_sender_restrictions = static:{REJECT go away}", S, R,
	         "554 5.7.1 <s@sender.example>: Sender address rejected: go away"},
		{"smtpd_client_restrictions = static:REJECT", S, R,
	         "554 5.7.1 <localhost[127.0.0.1]>: Client host rejected: Access denied"},
		{"smtpd_restriction_classes = foo\nfoo = warn_if_reject, reject, check_sender_access static:{550 no}\n"
	         "smtpd_sender_restrictions = warn_if_reject, foo, foo",
	         S, R, "550 5.7.1 <s@sender.example>: Sender address rejected: no"},
		{"smtpd_restriction_classes = foo\nfoo = static:{550 no}\nsmtpd_sender_restrictions = warn_if_reject foo\n"
	         "smtpd_recipient_restrictions = foo",
	         S, R, "550 5.7.1 <known@local.example>: Recipient address rejected: no"},
		{"smtpd_restriction_classes = loop\nloop = loop\nsmtpd_sender_restrictions = loop", S, R,
	         "451 4.3.5 Server configuration error"},
		{"smtpd_sender_restrictions = check_sender_access", S, R, "451 4.3.5 Server configuration error"},
		{"smtpd_sender_restrictions = sleep foo", S, R, "451 4.3.5 Server configuration error"},
		{"smtpd_sender_restrictions = reject_rbl_client", S, R, "ok"},
		{"smtpd_sender_restrictions = check_sender_access fail:x", S, R,
	         "451 4.3.5 <s@sender.example>: Sender address rejected: Server configuration error"},
		{"smtpd_delay_reject = no\nsmtpd_client_restrictions = check_sender_access static:REJECT", S, R, "ok"},
		{"smtpd_client_restrictions = check_sender_access static:REJECT", S, R,
	         "554 5.7.1 <s@sender.example>: Sender address rejected: Access denied"},
	};

	CHECK_ROWS(rows);
}

TEST(helo_names_are_judged)
{
	static const struct {
		const char *helo, *invalid, *not_qualified;
	} cases[] = {
		{"foo_bar!", "501 5.5.2 <foo_bar!>: Helo command rejected: Invalid name",
	         "504 5.5.2 <foo_bar!>: Helo command rejected: need fully-qualified hostname"},
		{"[1.2.3]", "501 5.5.2 <[1.2.3]>: Helo command rejected: invalid ip address",
	         "501 5.5.2 <[1.2.3]>: Helo command rejected: invalid ip address"},
		{"1.2.3.4", "ok", "504 5.5.2 <1.2.3.4>: Helo command rejected: need fully-qualified hostname"},
		{"a..b", "501 5.5.2 <a..b>: Helo command rejected: Invalid name",
	         "504 5.5.2 <a..b>: Helo command rejected: need fully-qualified hostname"},
		{"[1.2.3.4]", "ok", "ok"},
		{"[IPv6:::1]", "ok", "ok"},
		{"foo.", "ok", "504 5.5.2 <foo.>: Helo command rejected: need fully-qualified hostname"},
		{"under_score.x", "ok", "ok"},
		{"-foo.x", "501 5.5.2 <-foo.x>: Helo command rejected: Invalid name",
	         "504 5.5.2 <-foo.x>: Helo command rejected: need fully-qualified hostname"},
		{"1234", "501 5.5.2 <1234>: Helo command rejected: Invalid name",
	         "504 5.5.2 <1234>: Helo command rejected: need fully-qualified hostname"},
		{"", "ok", "ok"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct bench b;

		CHECK_INT(bench_open(&b, "smtpd_recipient_restrictions = reject_invalid_helo_hostname"), 0);
		b.session.helo = str_of(cases[i].helo);
		CHECK_STR(talk(&b, S, R), str_of(cases[i].invalid));
		bench_close(&b);
		CHECK_INT(bench_open(&b, "smtpd_helo_restrictions = reject_non_fqdn_helo_hostname"), 0);
		b.session.helo = str_of(cases[i].helo);
		CHECK_STR(talk(&b, S, R), str_of(cases[i].not_qualified));
		bench_close(&b);
	}
}

TEST(addresses_must_be_qualified)
{
	static const struct row rows[] = {
		{"smtpd_recipient_restrictions = reject_non_fqdn_sender", "s@host", R,
	         "504 5.5.2 <s@host>: Sender address rejected: need fully-qualified address"},
		{"smtpd_recipient_restrictions = reject_non_fqdn_sender", "bob", R,
	         "504 5.5.2 <bob>: Sender address rejected: need fully-qualified address"},
		{"smtpd_recipient_restrictions = reject_non_fqdn_sender", "", R, "ok"},
		{"smtpd_recipient_restrictions = reject_non_fqdn_recipient", S, "x@host",
	         "504 5.5.2 <x@host>: Recipient address rejected: need fully-qualified address"},
		{"smtpd_recipient_restrictions = reject_non_fqdn_recipient", S, "x",
	         "504 5.5.2 <x>: Recipient address rejected: need fully-qualified address"},
		{"smtpd_recipient_restrictions = reject_non_fqdn_recipient", S, R, "ok"},
	};

	CHECK_ROWS(rows);
}

TEST(access_results_are_carried_out)
{
	static const struct {
		const char *result, *want, *note;
	} cases[] = {
		{"OK", "ok", NULL},
		{"RELAY", "ok", NULL},
		{"123", "ok", NULL},
		{"550", "ok", NULL},
		{"DUNNO", "ok", NULL},
		{"dunno x", "ok", NULL},
		{"550 5.7.1", "550 5.7.1 <s@sender.example>: Sender address rejected: Access denied", NULL},
		{"550 text", "550 5.7.1 <s@sender.example>: Sender address rejected: text", NULL},
		{"450 text", "450 4.7.1 <s@sender.example>: Sender address rejected: text", NULL},
		{"550 5.1.1 text", "550 5.1.7 <s@sender.example>: Sender address rejected: text",
	         "mapping DSN status 5.1.1 into Sender address status 5.1.7"},
		{"REJECT", "554 5.7.1 <s@sender.example>: Sender address rejected: Access denied", NULL},
		{"reject 4.1.2 text", "554 5.1.8 <s@sender.example>: Sender address rejected: text",
	         "mapping DSN status 4.1.2 into Sender address status 4.1.8"},
		{"DEFER", "450 4.7.1 <s@sender.example>: Sender address rejected: Access denied", NULL},
		{"DEFER_IF_PERMIT", "450 4.7.1 <s@sender.example>: Sender address rejected: Service unavailable", NULL},
		{"DEFER_IF_REJECT text", "ok", NULL},
		{"HOLD", "ok", "hold: <s@sender.example>: Sender address triggers HOLD action"},
		{"HOLD text", "ok", "hold: <s@sender.example>: Sender address text"},
		{"DISCARD foo", "ok", "discard: <s@sender.example>: Sender address foo"},
		{"FILTER smtp:foo", "ok", "filter: <s@sender.example>: Sender address triggers FILTER smtp:foo"},
		{"FILTER foo", "ok",
	         "access table static:{FILTER foo} entry \"s@sender.example\" requires transport:destination"},
		{"REDIRECT foo@bar.example", "ok",
	         "redirect: <s@sender.example>: Sender address triggers REDIRECT foo@bar.example"},
		{"REDIRECT foo", "ok",
	         "access table static:{REDIRECT foo} entry \"s@sender.example\" requires user@domain target"},
		{"BCC foo@bar.example", "ok", "bcc: <s@sender.example>: Sender address triggers BCC foo@bar.example"},
		{"PREPEND X-Foo: bar", "ok", NULL},
		{"PREPEND foo", "ok", "access table static:{PREPEND foo} entry \"s@sender.example\" requires header: text"},
		{"WARN text", "ok", "warn: text"},
		{"INFO", "ok", "info: "},
		{"421 bye", "421 4.7.1 <s@sender.example>: Sender address rejected: bye (end)", NULL},
		{"521 bye", "521 5.7.1 <s@sender.example>: Sender address rejected: bye (end)", NULL},
		{"reject_plaintext_session", "450 4.7.1 Session encryption is required", NULL},
		{"reject_non_fqdn_sender,defer", "450 4.3.2 <s@sender.example>: Sender address rejected: Try again later", NULL},
		{"permit, reject", "ok", NULL},
		{"foo", "451 4.3.5 Server configuration error", "unknown smtpd restriction: \"foo\""},
		{"check_sender_access static:REJECT", "451 4.3.5 Server configuration error",
	         "access table static:{check_sender_access static:REJECT} has entry with lookup table: check_sender_access "
	         "static:REJECT"},
		{"250 foo", "451 4.3.5 Server configuration error", "unknown smtpd restriction: \"250\""},
		{"55a foo", "451 4.3.5 Server configuration error", "unknown smtpd restriction: \"55a\""},
		{"  ", "451 4.3.5 <s@sender.example>: Sender address rejected: Server configuration error",
	         "static:{  } lookup of s@sender.example returns an empty string result"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct policy_note *note;
		struct bench b;
		char line[300];

		snprintf(line, sizeof(line), "smtpd_sender_restrictions = check_sender_access static:{%s}", cases[i].result);
		CHECK_INT(bench_open(&b, line), 0);
		if (!CHECK_STR(talk(&b, S, R), str_of(cases[i].want)))
			check_failed(__FILE__, __LINE__, "... for the result \"%s\"", cases[i].result);
		note = b.action.notes;
		CHECK_CASE(!note == !cases[i].note, cases[i].result);
		if (note && cases[i].note)
			CHECK_STR(note->kind == NOTE_ACTION
			                  ? arena_printf(&b.arena, "%.*s: %.*s", STR_ARG(note->word), STR_ARG(note->text))
			                  : note->text,
			          str_of(cases[i].note));
		bench_close(&b);
	}
}

TEST(access_actions_are_kept_for_the_message)
{
	struct bench b;

	CHECK_INT(
		bench_open(
			&b,
			"smtpd_sender_restrictions = check_sender_access static:HOLD, check_sender_access static:{PREPEND A: 1}, "
			"check_sender_access static:{PREPEND B: 2}, check_sender_access static:{PREPEND C: 3}, "
			"check_sender_access static:{BCC x@y}, check_sender_access static:{FILTER a:b}, "
			"check_sender_access static:{FILTER c:}, check_sender_access static:{REDIRECT r@x}"),
		0);
	CHECK_STR(talk(&b, S, R), STR("ok"));
	CHECK(b.action.is_held && !b.action.is_discarded);
	CHECK_INT(b.action.prepend_count, 3);
	CHECK_STR(b.action.prepends[2], STR("C: 3"));
	CHECK_INT(b.action.bcc_count, 1);
	CHECK_STR(b.action.filter, STR("c:"));
	CHECK_STR(b.action.redirect, STR("r@x"));
	bench_close(&b);
	CHECK_INT(
		bench_open(
			&b,
			"smtpd_client_restrictions = check_client_access static:DISCARD\nsmtpd_recipient_restrictions = reject"),
		0);
	CHECK_STR(talk(&b, S, R), STR("ok"));
	CHECK(b.action.is_discarded);
	bench_close(&b);
	CHECK_INT(bench_open(&b, "smtpd_delay_reject = no\nsmtpd_client_restrictions = check_client_access static:HOLD"), 0);
	CHECK_STR(talk(&b, S, R), STR("ok"));
	CHECK(!b.action.is_held);
	bench_close(&b);
}

TEST(access_keys_are_searched_in_order)
{
	static const struct row rows[] = {
		{"smtpd_sender_restrictions = check_sender_access inline:{{<>=REJECT null}}", "", R,
	         "554 5.7.1 <>: Sender address rejected: null"},
		{"smtpd_sender_restrictions = check_sender_access inline:{{s@sender.example=REJECT plain},{s+x@=REJECT xx}}",
	         "s+x@sender.example", R, "554 5.7.1 <s+x@sender.example>: Sender address rejected: xx"},
		{"recipient_delimiter=+\nsmtpd_sender_restrictions = check_sender_access inline:{{s@sender.example=REJECT "
	         "plain},{s+x@=REJECT xx}}",
	         "s+x@sender.example", R, "554 5.7.1 <s+x@sender.example>: Sender address rejected: plain"},
		{"recipient_delimiter=+\nsmtpd_sender_restrictions = check_sender_access inline:{{example=REJECT dom},{s@=REJECT "
	         "loc},{.example=REJECT dot}}",
	         "s+x@sender.example", R, "554 5.7.1 <s+x@sender.example>: Sender address rejected: dom"},
		{"recipient_delimiter=+\nsmtpd_sender_restrictions = check_sender_access inline:{{example=REJECT dom},{s@=REJECT "
	         "loc},{.example=REJECT dot}}",
	         "s+x@other.foo", R, "554 5.7.1 <s+x@other.foo>: Sender address rejected: loc"},
		{"smtpd_sender_restrictions = check_sender_access inline:{{example=REJECT dom}}", "s", R,
	         "554 5.7.1 <s>: Sender address rejected: dom"},
		{"parent_domain_matches_subdomains =\nsmtpd_sender_restrictions = check_sender_access inline:{{example=REJECT "
	         "dom},{.example=REJECT dot}}",
	         S, R, "554 5.7.1 <s@sender.example>: Sender address rejected: dot"},
		{"smtpd_client_restrictions = check_client_access inline:{{127.0=REJECT net},{localhost=DUNNO}}", S, R, "ok"},
		{"smtpd_client_restrictions = check_client_access inline:{{127.0=REJECT net},{127=REJECT wide}}", S, R,
	         "554 5.7.1 <localhost[127.0.0.1]>: Client host rejected: net"},
		{"smtpd_client_restrictions = check_client_access regexp:{{/^127\\.0$/ REJECT}}", S, R, "ok"},
		{"smtpd_client_restrictions = check_client_access cidr:{{127.0.0.0/8 REJECT}}", S, R,
	         "554 5.7.1 <localhost[127.0.0.1]>: Client host rejected: Access denied"},
		{"smtpd_helo_restrictions = check_helo_access inline:{{example=REJECT}}", S, R,
	         "554 5.7.1 <client.example>: Helo command rejected: Access denied"},
		{"smtpd_recipient_restrictions = check_recipient_access static:OK, reject", S, R, "ok"},
		{"smtpd_recipient_restrictions = check_recipient_access static:OK, reject", S, "a%b@other.example",
	         "554 5.7.1 <a%b@other.example>: Recipient address rejected: Access denied"},
		{"smtpd_recipient_restrictions = check_recipient_access inline:{{known@local.example=REJECT}}", S,
	         "Known@LOCAL.example", "554 5.7.1 <Known@LOCAL.example>: Recipient address rejected: Access denied"},
		{"smtpd_client_restrictions = check_reverse_client_hostname_access static:OK", S, R,
	         "451 4.3.5 Server configuration error"},
		{"smtpd_client_restrictions = check_reverse_client_hostname_access static:REJECT", S, R,
	         "554 5.7.1 <localhost>: Unverified Client host rejected: Access denied"},
	};

	CHECK_ROWS(rows);
}

TEST(ipv6_networks_are_cut_at_colons)
{
	struct bench b;

	CHECK_INT(bench_open(&b, "smtpd_client_restrictions = check_client_access inline:{{2001:db8=REJECT}}"), 0);
	b.session.client_address = STR("2001:db8::1");
	CHECK_STR(talk(&b, S, R), STR("554 5.7.1 <localhost[2001:db8::1]>: Client host rejected: Access denied"));
	bench_close(&b);
}

TEST(enhanced_codes_fit_what_was_matched)
{
	static const uint16_t sender[] = {0, 7, 8, 7, 7, 0, 7, 7, 8, 0, 0};
	static const uint16_t recipient[] = {0, 1, 2, 3, 4, 5, 6, 3, 2, 0, 0};

	for (uint16_t i = 0; i <= 10; i++) {
		CHECK_INT(access_fix_dsn(DSN(5, 1, i), SUBJECT_SENDER).detail, sender[i]);
		CHECK_INT(access_fix_dsn(DSN(5, 1, i), SUBJECT_RECIPIENT).detail, recipient[i]);
		CHECK_INT(access_fix_dsn(DSN(5, 1, i), SUBJECT_CLIENT).subject, 0);
		CHECK_INT(access_fix_dsn(DSN(5, 1, i), SUBJECT_HELO).detail, 0);
	}
	CHECK_INT(access_fix_dsn(DSN(5, 2, 7), SUBJECT_SENDER).detail, 7);
}

TEST(client_names_are_asked_for)
{
	struct bench b;

	CHECK_INT(bench_open(&b, "smtpd_client_restrictions = reject_unknown_client_hostname\nunknown_client_reject_code = 550"),
	          0);
	CHECK_STR(talk(&b, S, R), STR("ok"));
	b.session.client_name = STR("unknown");
	CHECK_STR(talk(&b, S, R), STR("550 5.7.25 Client host rejected: cannot find your hostname, [127.0.0.1]"));
	b.session.is_client_name_tempfail = true;
	CHECK_STR(talk(&b, S, R), STR("450 4.7.25 Client host rejected: cannot find your hostname, [127.0.0.1]"));
	bench_close(&b);
	CHECK_INT(bench_open(&b, "smtpd_client_restrictions = reject_unknown_reverse_client_hostname"), 0);
	b.session.client_reverse_name = STR("unknown");
	CHECK_STR(talk(&b, S, R), STR("450 4.7.1 Client host rejected: cannot find your reverse hostname, [127.0.0.1]"));
	bench_close(&b);
}

TEST(logins_open_the_relay_and_own_senders)
{
	static const char login[] = "smtpd_sasl_auth_enable = yes\nmynetworks =\n"
				    "smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination\n"
				    "smtpd_sender_login_maps = inline:{{s@sender.example=joe, Ann},{@own.example=joe}}\n";
	static const struct {
		const char *rule, *user, *sender, *want;
	} cases[] = {
		{"", "", S, "554 5.7.1 <x@other.example>: Relay access denied"},
		{"", "joe", S, "ok"},
		{"smtpd_sender_restrictions = reject_sender_login_mismatch", "ann", S, "ok"},
		{"smtpd_sender_restrictions = reject_sender_login_mismatch", "bob", S,
	         "553 5.7.1 <s@sender.example>: Sender address rejected: not owned by user bob"},
		{"smtpd_sender_restrictions = reject_sender_login_mismatch", "", S,
	         "553 5.7.1 <s@sender.example>: Sender address rejected: not logged in"},
		{"smtpd_sender_restrictions = reject_sender_login_mismatch", "joe", "any@own.example", "ok"},
		{"smtpd_sender_restrictions = reject_sender_login_mismatch", "joe", "other@sender.example",
	         "553 5.7.1 <other@sender.example>: Sender address rejected: not owned by user joe"},
		{"smtpd_sender_restrictions = reject_known_sender_login_mismatch", "joe", "other@sender.example", "ok"},
		{"smtpd_sender_restrictions = reject_unauthenticated_sender_login_mismatch", "bob", S, "ok"},
		{"smtpd_sender_restrictions = check_sasl_access inline:{{bob=REJECT gone}}", "bob", S,
	         "554 5.7.1 <bob>: SASL login name rejected: gone"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct bench b;
		char text[800];

		snprintf(text, sizeof(text), "%s%s", login, cases[i].rule);
		CHECK_INT(bench_open(&b, text), 0);
		b.session.sasl_username = str_of(cases[i].user);
		CHECK_STR(talk(&b, cases[i].sender, "x@other.example"), str_of(cases[i].want));
		bench_close(&b);
	}
}

TEST(late_stages_have_their_lists)
{
	struct bench b;
	struct reply reply;

	CHECK_INT(bench_open(&b, "smtpd_data_restrictions = reject_unauth_pipelining, reject_multi_recipient_bounce, "
	                         "check_recipient_access "
	                         "static:{550 5.1.1 no}, defer_if_permit\n"
	                         "smtpd_end_of_data_restrictions = check_sender_access static:{PREPEND a: b}, reject"),
	          0);
	CHECK_STR(talk(&b, "", R), STR("ok"));
	b.session.recipient_count = 1;
	reply = policy_check_data(b.policy, &b.session, &b.action);
	CHECK_STR(reply_line(&b, &reply), STR("550 5.1.1 <known@local.example>: Recipient address rejected: no"));
	b.session.recipient = STR("");
	b.session.recipient_count = 2;
	reply = policy_check_data(b.policy, &b.session, &b.action);
	CHECK_STR(reply_line(&b, &reply), STR("550 5.5.3 <DATA>: Data command rejected: Multi-recipient bounce"));
	b.session.sender = STR("s@sender.example");
	reply = policy_check_data(b.policy, &b.session, &b.action);
	CHECK_STR(reply_line(&b, &reply), STR("450 4.7.0 <DATA>: Data command rejected: defer_if_permit requested"));
	b.session.has_bad_pipelining = true;
	reply = policy_check_data(b.policy, &b.session, &b.action);
	CHECK_STR(reply_line(&b, &reply),
	          STR("503 5.5.0 <DATA>: Data command rejected: Improper use of SMTP command pipelining"));
	reply = policy_check_end_of_data(b.policy, &b.session, &b.action);
	CHECK_STR(reply_line(&b, &reply), STR("554 5.7.1 <END-OF-MESSAGE>: End-of-data rejected: Access denied"));
	CHECK_INT(b.action.prepend_count, 0);
	bench_close(&b);
	CHECK_INT(bench_open(&b, "smtpd_etrn_restrictions = check_etrn_access inline:{{foo.example=REJECT no}}"), 0);
	reply = policy_check_etrn(b.policy, &b.session, STR("foo.example"), &b.action);
	CHECK_STR(reply_line(&b, &reply), STR("554 5.7.1 <foo.example>: Etrn command rejected: no"));
	bench_close(&b);
}

TEST(warnings_of_rejects_go_to_the_log)
{
	struct bench b;

	CHECK_INT(bench_open(&b, "smtpd_sender_restrictions = warn_if_reject reject"), 0);
	CHECK_STR(talk(&b, S, R), STR("ok"));
	CHECK_STR(b.action.notes->word, STR("reject_warning"));
	CHECK_STR(b.action.notes->text, STR("554 5.7.1 <s@sender.example>: Sender address rejected: Access denied"));
	bench_close(&b);
	CHECK_INT(bench_open(&b, "smtpd_log_access_permit_actions = static:all\nsmtpd_sender_restrictions = check_sender_access "
	                         "static:OK"),
	          0);
	CHECK_STR(talk(&b, S, R), STR("ok"));
	CHECK_STR(b.action.notes->word, STR("permit"));
	CHECK_STR(b.action.notes->text, STR("action=OK for Sender address=s@sender.example from static:OK"));
	bench_close(&b);
}

TEST(an_open_relay_is_refused)
{
	static const struct {
		const char *main_cf;
		bool works;
	} cases[] = {
		{"smtpd_relay_restrictions =", false},
		{"smtpd_relay_restrictions = permit, reject", false},
		{"smtpd_relay_restrictions = warn_if_reject reject_unauth_destination", false},
		{"smtpd_relay_restrictions = check_recipient_access static:REJECT", false},
		{"smtpd_relay_restrictions = permit_mynetworks\nsmtpd_recipient_restrictions = reject_unauth_destination", true},
		{"smtpd_restriction_classes = foo\nfoo = permit_mynetworks, defer\nsmtpd_relay_restrictions = foo", true},
		{"smtpd_relay_restrictions = defer_if_permit", true},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct bench b;
		int err = bench_open(&b, cases[i].main_cf);

		CHECK_CASE((err == 0) == cases[i].works, cases[i].main_cf);
		if (err)
			CHECK_CASE(str_find_str(buf_str(&b.why), STR("specify at least one working instance")) < b.why.len,
			           cases[i].main_cf);
		bench_close(&b);
	}
}

TEST(what_cannot_work_is_refused_at_the_start)
{
	static const struct {
		const char *main_cf, *part;
	} cases[] = {
		{"smtpd_recipient_restrictions = reject_unverified_recipient", "not supported yet"},
		{"smtpd_recipient_restrictions =\n  check_sender_access texthash:/nonexistent/file", "/nonexistent/file"},
		{"smtpd_recipient_restrictions = reject_rbl_client zen.example=127.0.0.300", "filter"},
		{"smtpd_recipient_restrictions = check_policy_service foo", "inet:host:port"},
		{"smtpd_recipient_restrictions = check_policy_service { inet:127.0.0.1:9, timeout=1000000w }",
	         "timeout=1000000w"},
		{"smtpd_restriction_classes = only_in_tables\nonly_in_tables = check_sender_access texthash:/nonexistent/file",
	         "/nonexistent/file"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct bench b;

		CHECK_CASE(bench_open(&b, cases[i].main_cf) != 0, cases[i].main_cf);
		if (str_find_str(buf_str(&b.why), str_of(cases[i].part)) == b.why.len)
			check_failed(__FILE__, __LINE__, "%s: %s", cases[i].main_cf, buf_cstr(&b.why));
		bench_close(&b);
	}
}

TEST(what_will_answer_451_is_warned_about_once)
{
	struct bench b;

	CHECK_INT(bench_open(&b, "smtpd_restriction_classes = foo\nfoo = nonsense, static:OK\nsmtpd_sender_restrictions = foo\n"
	                         "smtpd_recipient_restrictions = foo, permit, reject"),
	          0);
	CHECK(str_ends(str_of(policy_warning(b.policy, 0)),
	               STR("unknown smtpd restriction: \"nonsense\": until this is mended, mail gets 451 4.3.5")));
	CHECK(str_ends(str_of(policy_warning(b.policy, 1)), STR("restriction `reject' after `permit' is ignored")));
	CHECK(policy_warning(b.policy, 2) == NULL);
	bench_close(&b);
}

static void remember_step(void *arg, const struct policy_step *step)
{
	buf_addf(arg, "%u %u %.*s = %.*s (%.*s)\n", step->line, step->depth, STR_ARG(step->rule), STR_ARG(step->answer),
	         STR_ARG(step->reason));
}

TEST(every_rule_is_recorded_with_its_place)
{
	struct buf steps = BUF_INIT(10000);
	struct bench b;

	CHECK_INT(bench_open(&b,
	                     "smtpd_restriction_classes = foo\nfoo = reject_plaintext_session\nsmtpd_relay_restrictions = "
	                     "permit_mynetworks, reject_unauth_destination\nsmtpd_sender_restrictions = warn_if_reject foo\n"),
	          0);
	policy_set_record(b.policy, remember_step, &steps);
	b.session.client_address = STR("203.0.113.5");
	CHECK_STR(talk(&b, S, "x@other.example"), STR("554 5.7.1 <x@other.example>: Relay access denied"));
	CHECK_STR(buf_str(&steps),
	          STR("10 1 reject_plaintext_session = dunno (would reject: 450 4.7.1 Session encryption is required)\n"
	              "12 0 warn_if_reject foo = dunno ()\n"
	              "11 0 permit_mynetworks = dunno (203.0.113.5 is not in mynetworks)\n"
	              "11 0 reject_unauth_destination = reject: 554 5.7.1 <x@other.example>: Relay access denied (other.example "
	              "is not one of ours)\n"));
	bench_close(&b);
	buf_done(&steps);
}
