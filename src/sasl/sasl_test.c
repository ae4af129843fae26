/* SPDX-License-Identifier: Apache-2.0 */
/* Authentication: what is offered, the built-in mechanisms, passwords, and Dovecot played by a fiber. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "check.h"
#include "test_sockets.h"
#include "config/config.h"
#include "fiber/fiber.h"
#include "net/connect.h"
#include "net/stream.h"
#include "sasl/dovecot_line.h"
#include "sasl/oauth.h"
#include "sasl/password.h"
#include "sasl/server.h"

static struct config *load(const char *main_cf)
{
	const char *dir = check_folder();
	char path[500];
	FILE *f;

	snprintf(path, sizeof(path), "%s/master.cf", dir);
	f = fopen(path, "w");
	fclose(f);
	snprintf(path, sizeof(path), "%s/main.cf", dir);
	f = fopen(path, "w");
	fprintf(f, "compatibility_level = 3.6\nmyhostname = mx.example\nqueue_directory = %s\nsmtpd_sasl_auth_enable = yes\n%s\n",
	        dir, main_cf);
	fclose(f);
	return config_load(str_of(dir), NULL, 0);
}

static struct sasl_server *server_of(struct config *c)
{
	struct buf why = BUF_INIT(1000);
	struct sasl_server *s = NULL;
	bool is_dovecot = str_eq(view_get(config_main_view(c), STR("smtpd_sasl_type")), STR("dovecot"));

	if (sasl_server_new(config_main_view(c), is_dovecot ? sasl_smtpd_backends : sasl_lookup_backends, &s, &why))
		check_failed(__FILE__, __LINE__, "%s", buf_cstr(&why));
	buf_done(&why);
	return s;
}

#define BUILTIN "smtpd_sasl_type = builtin\nsmtpd_sasl_builtin_maps = inline:{{joe={PLAIN}secret},{later={FOO}x}}\n"

TEST(auth_is_offered_only_where_it_may_be)
{
	static const struct {
		const char *main_cf, *client;
		bool has_tls;
		const char *want;
	} cases[] = {
		{"", "192.0.2.1", false, "PLAIN LOGIN"},
		{"smtpd_sasl_auth_enable = no", "192.0.2.1", true, ""},
		{"smtpd_tls_auth_only = yes", "192.0.2.1", false, ""},
		{"smtpd_tls_auth_only = yes", "192.0.2.1", true, "PLAIN LOGIN"},
		{"smtpd_sasl_security_options = noplaintext, noanonymous", "192.0.2.1", false, ""},
		{"smtpd_sasl_security_options = noplaintext\nsmtpd_sasl_tls_security_options = noanonymous", "192.0.2.1", true,
	         "PLAIN LOGIN"},
		{"smtpd_sasl_exceptions_networks = 192.0.2.0/24", "192.0.2.1", true, ""},
		{"smtpd_sasl_exceptions_networks = !192.0.2.1, 192.0.2.0/24", "192.0.2.1", true, "PLAIN LOGIN"},
		{"smtpd_sasl_mechanism_filter = !login, static:rest", "192.0.2.1", true, "PLAIN"},
		{"smtpd_sasl_security_options = forward_secrecy", "192.0.2.1", true, ""},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct arena a = ARENA_INIT;
		char text[500];
		struct config *c;
		struct sasl_server *s;
		struct sasl_peer peer = {.has_tls = cases[i].has_tls, .client_address = str_of(cases[i].client)};
		const char *why = NULL;
		struct str got;

		snprintf(text, sizeof(text), BUILTIN "%s", cases[i].main_cf);
		c = load(text);
		s = server_of(c);
		got = sasl_server_mechanisms(s, &peer, &a, &why);
		CHECK_CASE(str_eq(got, str_of(cases[i].want)), cases[i].main_cf);
		CHECK_CASE(!got.len == !!why, cases[i].main_cf);
		sasl_server_free(s);
		config_free(c);
		arena_done(&a);
	}
}

TEST(what_cannot_work_is_told)
{
	static const char *const cases[] = {"smtpd_sasl_type = builtin", "smtpd_sasl_type = foo",
	                                    BUILTIN "smtpd_sasl_security_options = nothing"};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct buf why = BUF_INIT(1000);
		struct config *c = load(cases[i]);
		struct sasl_server *s;

		CHECK_CASE(sasl_server_new(config_main_view(c), sasl_smtpd_backends, &s, &why) != 0, cases[i]);
		CHECK_CASE(why.len > 0, cases[i]);
		buf_done(&why);
		config_free(c);
	}
}

/* --- built-in mechanisms ------------------------------------------------------------------ */

TEST(plain_and_login_take_names_and_passwords)
{
	static const struct {
		const char *mechanism, *initial, *first, *second;
		enum sasl_status want;
	} cases[] = {
		{"plain", "AGpvZQBzZWNyZXQ=", NULL, NULL, SASL_OK},
		{"PLAIN", NULL, "AGpvZQBzZWNyZXQ=", NULL, SASL_OK},
		{"PLAIN", "am9lAGpvZQBzZWNyZXQ=", NULL, NULL, SASL_OK},     /* joe for joe */
		{"PLAIN", "cm9vdABqb2UAc2VjcmV0", NULL, NULL, SASL_FAILED}, /* joe for root */
		{"PLAIN", "AGpvZQB3cm9uZw==", NULL, NULL, SASL_FAILED},
		{"PLAIN", "AGpvZQA=", NULL, NULL, SASL_FAILED},     /* no password */
		{"PLAIN", "AABzZWNyZXQ=", NULL, NULL, SASL_FAILED}, /* no name */
		{"PLAIN", "AGxhdGVyAHNlY3JldA==", NULL, NULL, SASL_TRY_LATER},
		{"PLAIN", "am9l", NULL, NULL, SASL_MALFORMED},
		{"PLAIN", "AGpvZQBzZWNyZXQAbW9yZQ==", NULL, NULL, SASL_MALFORMED},
		{"PLAIN", "!!", NULL, NULL, SASL_MALFORMED},
		{"PLAIN", "=", NULL, NULL, SASL_MALFORMED},
		{"PLAIN", NULL, "*", NULL, SASL_ABORTED},
		{"LOGIN", NULL, "am9l", "c2VjcmV0", SASL_OK},
		{"LOGIN", "am9l", "c2VjcmV0", NULL, SASL_OK},
		{"LOGIN", NULL, "am9l", "*", SASL_ABORTED},
		{"LOGIN", NULL, "=", NULL, SASL_MALFORMED},
		{"LOGIN", "=", "c2VjcmV0", NULL, SASL_FAILED},
		{"LOGIN", NULL, "am9l", "###", SASL_MALFORMED},
		{"CRAM-MD5", NULL, NULL, NULL, SASL_FAILED},
		{"", NULL, NULL, NULL, SASL_FAILED},
	};
	struct config *c = load(BUILTIN);
	struct sasl_server *s = server_of(c);
	struct sasl_peer peer = {.client_address = STR("192.0.2.1")};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const char *responses[] = {cases[i].first, cases[i].second};
		struct sasl_result r;
		struct sasl_exchange *x = sasl_exchange_begin(s, &peer, str_of(cases[i].mechanism), str_of(cases[i].initial), &r);
		char label[20];

		snprintf(label, sizeof(label), "%zu", i);
		for (size_t k = 0; k < 2 && responses[k]; k++) {
			CHECK_CASE(r.status == SASL_CONTINUE, label);
			sasl_exchange_step(x, str_of(responses[k]), &r);
		}
		CHECK_CASE(r.status == cases[i].want, label);
		if (r.status == SASL_OK)
			CHECK_STR(r.username, STR("joe"));
		sasl_exchange_free(x);
	}
	sasl_server_free(s);
	config_free(c);
}

TEST(login_asks_as_clients_expect)
{
	struct config *c = load(BUILTIN);
	struct sasl_server *s = server_of(c);
	struct sasl_peer peer = {.client_address = STR("192.0.2.1")};
	struct sasl_result r;
	struct sasl_exchange *x = sasl_exchange_begin(s, &peer, STR("login"), (struct str){0}, &r);

	CHECK_STR(r.challenge, STR("VXNlcm5hbWU6"));
	CHECK_STR(r.method, STR("LOGIN"));
	sasl_exchange_step(x, STR("am9l"), &r);
	CHECK_STR(r.challenge, STR("UGFzc3dvcmQ6"));
	sasl_exchange_free(x);
	sasl_server_free(s);
	config_free(c);
}

/* --- passwords ------------------------------------------------------------------------------ */

#define HASH_SHA512 "$$6$$saltsalt$$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1"

static void check_passwords(void *arg)
{
	static const struct {
		const char *user, *password;
		enum sasl_status want;
	} cases[] = {
		{"joe", "secret", SASL_OK},
		{"JOE", "secret", SASL_OK},
		{"joe@mx.example", "secret", SASL_OK},
		{"joe", "wrong", SASL_FAILED},
		{"joe", "", SASL_FAILED},
		{"ann", "secret", SASL_OK},
		{"nobody", "secret", SASL_FAILED},
		{"locked", "secret", SASL_FAILED},
		{"junk", "secret", SASL_TRY_LATER},
		{"plain", "secret", SASL_OK},
		{"plain", "secreta", SASL_FAILED},
		{"plain", "secre", SASL_FAILED},
		{"scram", "pencil", SASL_OK},
		{"scram", "Pencil", SASL_FAILED},
		{"scram1", "pencil", SASL_OK},
		{"short", "pencil", SASL_TRY_LATER},
		{"joe@other.example", "secret", SASL_FAILED},
	};
	struct password_store *ps = arg;

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct buf reason = BUF_INIT(200);

		CHECK_CASE(password_check(ps, str_of(cases[i].user), str_of(cases[i].password), &reason) == cases[i].want,
		           cases[i].user);
		buf_done(&reason);
	}
}

TEST(passwords_are_checked_against_hashes)
{
	struct config *c =
		load("smtpd_sasl_type = builtin\nsmtpd_sasl_local_domain = mx.example\nsmtpd_sasl_builtin_maps = inline:{"
	             "{joe=" HASH_SHA512 "},{ann={SHA512-CRYPT}" HASH_SHA512 "},{locked=!},{junk=$$9$$nonsense$$xxxx},"
	             "{plain={PLAIN}secret},{scram={SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,"
	             "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=},"
	             "{scram1={SCRAM-SHA-1}4096,QSXCR+Q6sek8bf92,6dlGYMOdZcOPutkcNY8U2g7vK9Y=,D+CSWLOshSulAsxiupA+qs2/fTE=},"
	             "{short={SCRAM-SHA-1}4096,QSXCR+Q6sek8bf92,6dlGYMOdZcOPutkcNY8U2g==,D+CSWLOshSulAsxiupA+qs2/fTE=}}");
	struct buf why = BUF_INIT(1000);
	struct password_store *ps = NULL;

	CHECK_INT(password_store_new(config_main_view(c), &ps, &why), 0);
	loop_init();
	fiber_start("test", check_passwords, ps);
	loop_run();
	loop_done();
	password_store_free(ps);
	config_free(c);
	buf_done(&why);
}

/* --- Dovecot ---------------------------------------------------------------------------------- */

TEST(dovecot_lines_are_read)
{
	struct arena a = ARENA_INIT;
	struct dovecot_line line;

	CHECK_INT(dovecot_line_parse(STR("MECH\tSCRAM-SHA-1\tmutual-auth\tdictionary\tnew"), &a, &line), 0);
	CHECK_STR(line.text, STR("SCRAM-SHA-1"));
	CHECK_INT(line.flags, 32 | 4);
	CHECK_INT(dovecot_line_parse(STR("FAIL\t7\tuser=j\1to\treason=no\1nmore\tcode=temp_fail"), &a, &line), 0);
	CHECK_INT(line.number, 7);
	CHECK(line.is_temporary);
	CHECK_STR(line.user, STR("j\to"));
	CHECK_STR(line.reason, STR("no\nmore"));
	CHECK_INT(dovecot_line_parse(STR("CONT\t3\t"), &a, &line), 0);
	CHECK_STR(line.text, STR(""));
	CHECK_INT(dovecot_line_parse(STR("OK\t12x\tuser=joe"), &a, &line), -EBADMSG);
	CHECK_INT(dovecot_line_parse(STR("OK"), &a, &line), -EBADMSG);
	CHECK_INT(dovecot_line_parse(STR("COOKIE\tabc"), &a, &line), 0);
	CHECK_INT(line.verb, DOVECOT_OTHER);
	arena_done(&a);
}

/* A Dovecot that answers as its script says; each connection plays it from the beginning. */
struct play {
	struct sasl_server *server;
	struct watch listener;
	const char *script; /* answers parted by '|': the first to AUTH, the next to CONT ...; "!" closes, "" says nothing */
	char last_request[500];
	size_t connections;
};

static void serve(void *arg)
{
	struct play *play = arg;
	int fd;

	while (!accept_next(&play->listener, &fd)) {
		struct stream *s = stream_new(fd);
		struct str rest = str_of(play->script), line, answer;
		bool is_bare;

		play->connections++;
		(void)!stream_printf(
			s,
			"VERSION\t1\t2\nSPID\t1\nCUID\t1\nCOOKIE\tx\nMECH\tPLAIN\tplaintext\nMECH\tANONYMOUS\tanonymous\nDONE\n");
		(void)!stream_flush(s);
		while (!stream_read_line(s, 8000, &line, &is_bare)) {
			if (!str_starts(line, STR("AUTH\t")) && !str_starts(line, STR("CONT\t")))
				continue;
			snprintf(play->last_request, sizeof(play->last_request), "%.*s", STR_ARG(line));
			if (!str_next(&rest, "|", &answer) || str_eq(answer, STR("!")))
				break;
			(void)!stream_printf(s, "%.*s\n", STR_ARG(answer));
			(void)!stream_flush(s);
		}
		stream_free(s);
	}
}

struct dovecot_case {
	struct play play;
	const char *response; /* to the first challenge, or NULL */
	struct sasl_result result;
	char username[50], reason[100], challenge[50];
};

static void ask(void *arg)
{
	struct dovecot_case *dc = arg;
	struct sasl_peer peer = {.has_tls = true, .client_address = STR("192.0.2.1"), .server_address = STR("192.0.2.9")};
	struct sasl_exchange *x = sasl_exchange_begin(dc->play.server, &peer, STR("PLAIN"), STR("AGpvZQBzZWNyZXQ="), &dc->result);

	if (dc->result.status == SASL_CONTINUE && dc->response) {
		snprintf(dc->challenge, sizeof(dc->challenge), "%.*s", STR_ARG(dc->result.challenge));
		sasl_exchange_step(x, str_of(dc->response), &dc->result);
	}
	snprintf(dc->username, sizeof(dc->username), "%.*s", STR_ARG(dc->result.username));
	snprintf(dc->reason, sizeof(dc->reason), "%.*s", STR_ARG(dc->result.reason));
	sasl_exchange_free(x);
}

static void ask_and_stop(void *arg)
{
	ask(arg);
	loop_stop();
}

static void run_dovecot(struct dovecot_case *dc)
{
	struct config *c = load("smtpd_sasl_type = dovecot\nsmtpd_sasl_path = auth\n");
	char path[500];
	int fd;

	snprintf(path, sizeof(path), "%.*s/auth", STR_ARG(config_dir(c)));
	dc->play.server = server_of(c);
	loop_init();
	fd = listen_local(path);
	watch_init(&dc->play.listener, fd);
	fiber_start("dovecot", serve, &dc->play);
	fiber_start("client", ask_and_stop, dc);
	loop_run();
	sasl_server_free(dc->play.server);
	loop_done();
	watch_done(&dc->play.listener);
	close(fd);
	config_free(c);
}

TEST(dovecot_says_yes_no_and_later)
{
	static const struct {
		const char *script, *response;
		enum sasl_status want;
		const char *username, *reason;
	} cases[] = {
		{"OK\t1\tuser=joe", NULL, SASL_OK, "joe", ""},
		{"NOTHING\nOK\t77\tuser=eve\nOK\t1\tuser=joe", NULL, SASL_OK, "joe", ""},
		{"FAIL\t1\tuser=joe", NULL, SASL_FAILED, "joe", "(reason unavailable)"},
		{"FAIL\t1\tuser=joe\treason=go away", NULL, SASL_FAILED, "joe", "go away"},
		{"FAIL\t1\tuser=joe\ttemp", NULL, SASL_TRY_LATER, "joe", "(reason unavailable)"},
		{"CONT\t1\tYWJj|OK\t1\tuser=joe", "eHl6", SASL_OK, "joe", ""},
		{"CONT\t1\tYWJj|!", "eHl6", SASL_TRY_LATER, "", "Connection lost to authentication server"},
		{"CONT\t1\t|OK\t1\tuser=joe", "eH\tx", SASL_MALFORMED, "", "Invalid base64 data in continued response"},
		{"!", NULL, SASL_TRY_LATER, "", "Connection lost to authentication server"},
		{"OK\tjunk", NULL, SASL_TRY_LATER, "", "Connection lost to authentication server"},
		{"OK\t1\tuser=jo\1ne", NULL, SASL_FAILED, "jo\ne", "the login name has a control character"},
		{"OK\t1", NULL, SASL_TRY_LATER, "", "the authentication server gave no user name"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct dovecot_case dc = {.play.script = cases[i].script, .response = cases[i].response};

		run_dovecot(&dc);
		CHECK_CASE(dc.result.status == cases[i].want, cases[i].script);
		if (cases[i].want != SASL_MALFORMED)
			CHECK_STR(str_of(dc.username), str_of(cases[i].username));
		CHECK_STR(str_of(dc.reason), str_of(cases[i].reason));
	}
}

TEST(dovecot_is_told_who_asks)
{
	struct dovecot_case dc = {.play.script = "OK\t1\tuser=joe"};

	run_dovecot(&dc);
	CHECK_STR(str_of(dc.play.last_request),
	          STR("AUTH\t1\tPLAIN\tservice=smtp\tnologin\tlip=192.0.2.9\trip=192.0.2.1\tsecured\tresp=AGpvZQBzZWNyZXQ="));
}

TEST(no_dovecot_means_no_auth_is_offered)
{
	struct config *c = load("smtpd_sasl_type = dovecot\nsmtpd_sasl_path = nowhere\n");
	struct sasl_server *s = server_of(c);
	struct sasl_peer peer = {.client_address = STR("192.0.2.1")};
	struct arena a = ARENA_INIT;
	const char *why = NULL;

	loop_init();
	CHECK_STR(sasl_server_mechanisms(s, &peer, &a, &why), STR(""));
	CHECK(why != NULL);
	loop_done();
	sasl_server_free(s);
	config_free(c);
	arena_done(&a);
}

TEST(tokens_are_asked_about_by_https_or_on_this_machine)
{
	static const struct {
		const char *url;
		bool is_good;
	} cases[] = {
		{"https://id.example/introspect", true},
		{"http://localhost:8080/introspect", true},
		{"http://LOCALHOST/", true},
		{"http://127.0.0.1/", true},
		{"http://127.9.8.7:1234/", true},
		{"http://[::1]:8080/", true},
		/* These lead anywhere. */
		{"http://127.evil/", false},
		{"http://127.0.0.1.evil.example/", false},
		{"http://127.0.0.1.nip.example:80/", false},
		{"http://localhost.evil.example/", false},
		{"http://localhost@evil.example/", false},
		{"http://127.0.0.1@evil.example/", false},
		{"http://[::2]/", false},
		{"http://id.example/", false},
		{"ftp://localhost/", false},
		{"https://", false},
		{"localhost", false},
		{"", false},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct buf why = BUF_INIT(1000);

		CHECK_CASE((introspect_check_url(str_of(cases[i].url), &why) == 0) == cases[i].is_good, cases[i].url);
		CHECK_CASE(!why.len == cases[i].is_good, cases[i].url);
		buf_done(&why);
	}
}
