/* SPDX-License-Identifier: Apache-2.0 */
/* Logins: which mechanism is chosen, what is said in each, and dialogues with the server side of libgsasl. */
#include "sasl/client.h"

#include <errno.h>
#include <gsasl.h>

#include "base/base.h"
#include "check.h"
#include "table/table.h"

static const struct sasl_login joe = {.user = STR("joe"), .secret = STR("secret"), .host = STR("mx.example"), .port = STR("587")};

TEST(the_best_mechanism_that_all_sides_allow_is_chosen)
{
	static const struct {
		const char *offered, *filter, *options;
		bool is_token, has_binding;
		const char *want;
	} cases[] = {
		{"PLAIN LOGIN CRAM-MD5", "", "", false, false, "CRAM-MD5"},
		{"plain scram-sha-1 SCRAM-SHA-256", "", "", false, false, "SCRAM-SHA-256"},
		{"SCRAM-SHA-1-PLUS SCRAM-SHA-256", "", "", false, false, "SCRAM-SHA-256"},
		{"SCRAM-SHA-1-PLUS SCRAM-SHA-256", "", "", false, true, "SCRAM-SHA-1-PLUS"},
		{"PLAIN LOGIN", "", "noplaintext, noanonymous", false, false, ""},
		{"PLAIN LOGIN", "", "noanonymous", false, false, "PLAIN"},
		{"PLAIN LOGIN", "!plain, static:rest", "", false, false, "LOGIN"},
		{"CRAM-MD5 PLAIN LOGIN", "login, plain", "", false, false, "PLAIN"},
		{"CRAM-MD5 SCRAM-SHA-1", "", "mutual_auth", false, false, "SCRAM-SHA-1"},
		{"CRAM-MD5 PLAIN", "", "mutual_auth", false, false, ""},
		{"CRAM-MD5 PLAIN", "", "noactive", false, false, ""},
		{"SCRAM-SHA-256 CRAM-MD5 PLAIN", "", "nodictionary", false, false, ""},
		{"PLAIN XOAUTH2 OAUTHBEARER", "", "", true, false, "OAUTHBEARER"},
		{"PLAIN XOAUTH2 OAUTHBEARER", "xoauth2", "", true, false, "XOAUTH2"},
		{"PLAIN XOAUTH2 OAUTHBEARER", "", "", false, false, "PLAIN"},
		{"XOAUTH2 OAUTHBEARER", "", "noplaintext", true, false, ""},
		{"GSSAPI NTLM", "", "", false, false, ""},
		{"", "", "", false, false, ""},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct sasl_login login = joe;
		struct match_list *filter = NULL;
		struct buf why = BUF_INIT(1000);
		unsigned demands;

		login.is_token = cases[i].is_token;
		login.binding = cases[i].has_binding ? STR("binding") : STR("");
		CHECK_INT(sasl_demands_parse(str_of(cases[i].options), &demands, &why), 0);
		if (*cases[i].filter)
			CHECK_INT(match_list_open(str_of(cases[i].filter), MATCH_STRING, 0, NULL, &filter, &why), 0);
		CHECK_STR(sasl_client_choose(str_of(cases[i].offered), filter, demands, &login), str_of(cases[i].want));
		if (filter)
			match_list_close(filter);
		buf_done(&why);
	}
}

TEST(an_unknown_demand_is_told)
{
	struct buf why = BUF_INIT(1000);
	unsigned demands = 7;

	CHECK_INT(sasl_demands_parse(STR("noplaintext, nopassword"), &demands, &why), -EINVAL);
	CHECK(str_starts(buf_str(&why), STR("\"nopassword\" is none of ")));
	CHECK_INT(demands, 7);
	buf_done(&why);
}

/* The responses to these challenges, parted by bars. */
static void check_dialogue(const char *mechanism, const struct sasl_login *login, const char *challenges, const char *want)
{
	struct buf said = BUF_INIT(2000);
	struct str rest = str_of(challenges), challenge;
	struct sasl_client *c;
	const char *why;

	CHECK_INT(sasl_client_new(str_of(mechanism), login, &c), 0);
	while (str_next(&rest, "|", &challenge)) {
		if (said.len)
			buf_add_char(&said, '|');
		if (sasl_client_step(c, str_eq(challenge, STR("-")) ? STR("") : challenge, &said, &why))
			buf_add(&said, STR("error"));
	}
	CHECK_STR(buf_str(&said), str_of(want));
	sasl_client_free(c);
	buf_done(&said);
}

TEST(what_is_said_is_what_the_documents_say)
{
	static const struct sasl_login tim = {.user = STR("tim"), .secret = STR("tanstaaftanstaaf")};
	static const struct sasl_login token = {
		.user = STR("a=b,c"), .secret = STR("ya29"), .is_token = true, .host = STR("mx.example"), .port = STR("587")};

	check_dialogue("LOGIN", &joe, "Username:|Password:", "joe|secret");
	/* RFC 2195 */
	check_dialogue("CRAM-MD5", &tim, "<1896.697170952@postoffice.reston.mci.net>", "tim b913a602c7eda7a495b4e6e7334d3890");
	check_dialogue("XOAUTH2", &token, "-|{\"status\":\"400\"}", "user=a=b,c\1auth=Bearer ya29\1\1|");
	check_dialogue("OAUTHBEARER", &token, "-|{\"status\":\"invalid_token\"}",
	               "n,a=a=3Db=2Cc,\1host=mx.example\1port=587\1auth=Bearer ya29\1\1|\1");
}

TEST(for_whom_one_acts_is_said_where_it_is_wanted)
{
	struct sasl_login login = joe;
	struct buf said = BUF_INIT(1000);
	struct sasl_client *c;
	const char *why;

	login.names_twice = true;
	CHECK_INT(sasl_client_new(STR("PLAIN"), &login, &c), 0);
	CHECK_INT(sasl_client_step(c, STR(""), &said, &why), 0);
	CHECK_STR(buf_str(&said), str_n("joe\0joe\0secret", 14));
	sasl_client_free(c);
	buf_reset(&said);
	CHECK_INT(sasl_client_new(STR("SCRAM-SHA-256"), &login, &c), 0);
	CHECK_INT(sasl_client_step(c, STR(""), &said, &why), 0);
	CHECK(str_starts(buf_str(&said), STR("n,a=joe,n=joe,r=")));
	sasl_client_free(c);
	buf_done(&said);
}

TEST(plain_hides_nothing_and_ends_at_once)
{
	struct buf said = BUF_INIT(1000);
	struct sasl_client *c;
	const char *why;

	CHECK_INT(sasl_client_new(STR("PLAIN"), &joe, &c), 0);
	CHECK(sasl_client_is_first(c));
	CHECK_INT(sasl_client_step(c, STR(""), &said, &why), 0);
	CHECK_STR(buf_str(&said), str_n("\0joe\0secret", 11));
	CHECK(sasl_client_is_done(c));
	sasl_client_free(c);
	buf_done(&said);
}

static const char *server_password = "secret";

static int serve_property(Gsasl *ctx, Gsasl_session *session, Gsasl_property name)
{
	switch (name) {
	case GSASL_PASSWORD:
		return gsasl_property_set(session, name, server_password);
	case GSASL_CB_TLS_EXPORTER:
		return gsasl_property_set(session, name, "YmluZGluZw==");
	default:
		return GSASL_NO_CALLBACK;
	}
}

/* True when both sides are content. */
static bool converse(const char *mechanism, const struct sasl_login *login, bool is_heard_out)
{
	struct buf said = BUF_INIT(2000);
	struct sasl_client *c;
	Gsasl_session *server;
	Gsasl *ctx;
	char *answer = NULL;
	size_t size = 0;
	const char *why;
	int result = GSASL_NEEDS_MORE, err = 0;
	bool is_content;

	CHECK_INT(gsasl_init(&ctx), GSASL_OK);
	gsasl_callback_set(ctx, serve_property);
	CHECK_INT(gsasl_server_start(ctx, mechanism, &server), GSASL_OK);
	CHECK_INT(sasl_client_new(str_of(mechanism), login, &c), 0);
	for (int i = 0; i < 5 && !err && result == GSASL_NEEDS_MORE; i++) {
		buf_reset(&said);
		err = sasl_client_step(c, str_n(answer, size), &said, &why);
		gsasl_free(answer);
		answer = NULL;
		size = 0;
		if (!err)
			result = gsasl_step(server, buf_cstr(&said), said.len, &answer, &size);
	}
	if (!err && result == GSASL_OK && is_heard_out && size)
		err = sasl_client_step(c, str_n(answer, size), &said, &why);
	gsasl_free(answer);
	is_content = !err && result == GSASL_OK && sasl_client_is_done(c);
	sasl_client_free(c);
	gsasl_finish(server);
	gsasl_done(ctx);
	buf_done(&said);
	return is_content;
}

TEST(scram_takes_a_server_that_knows_the_password_and_no_other)
{
	static const char *const names[] = {"SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"};

	for (size_t i = 0; i < COUNT_OF(names); i++) {
		struct sasl_login login = joe;

		if (str_ends(str_of(names[i]), STR("PLUS"))) {
			login.binding = STR("binding");
			login.is_exporter = true;
		}
		CHECK_CASE(converse(names[i], &login, true), names[i]);
		/* A server that says yes before it has proved anything. */
		CHECK_CASE(!converse(names[i], &login, false), names[i]);
		server_password = "other";
		CHECK_CASE(!converse(names[i], &login, true), names[i]);
		server_password = "secret";
		/* Someone stands between: the two see different connections. */
		login.binding = STR("someone else's");
		login.is_exporter = true;
		CHECK_CASE(converse(names[i], &login, true) == !str_ends(str_of(names[i]), STR("PLUS")), names[i]);
	}
}

TEST(a_server_cannot_have_the_password_hashed_for_hours)
{
	static const char *const counts[] = {"4000000000", "10000001", "99999999999999999999", "-1", ""};

	for (size_t i = 0; i < COUNT_OF(counts); i++) {
		struct buf said = BUF_INIT(2000), challenge = BUF_INIT(2000);
		struct sasl_client *c;
		const char *why;

		CHECK_INT(sasl_client_new(STR("SCRAM-SHA-256"), &joe, &c), 0);
		CHECK_INT(sasl_client_step(c, STR(""), &said, &why), 0);
		buf_addf(&challenge, "%sX,s=QSXCR+Q6sek8bf92,i=%s", strstr(buf_cstr(&said), "r="), counts[i]);
		CHECK_INT(sasl_client_step(c, buf_str(&challenge), &said, &why), -EPROTO);
		CHECK_STR(str_of(why), STR("the server wants the password hashed too often"));
		sasl_client_free(c);
		buf_done(&challenge);
		buf_done(&said);
	}
}

TEST(names_that_would_break_a_mechanism_are_refused)
{
	struct sasl_login nul = {.user = str_n("a\0b", 3), .secret = STR("x")};
	struct sasl_login one = {.user = STR("a"), .secret = STR("x\1y"), .is_token = true};
	struct sasl_client *c;

	CHECK_INT(sasl_client_new(STR("PLAIN"), &nul, &c), -EINVAL);
	CHECK_INT(sasl_client_new(STR("XOAUTH2"), &one, &c), -EINVAL);
	CHECK_INT(sasl_client_new(STR("NTLM"), &joe, &c), -EINVAL);
}

TEST(a_server_that_goes_on_asking_is_left)
{
	struct buf said = BUF_INIT(2000);
	struct sasl_client *c;
	const char *why;

	CHECK_INT(sasl_client_new(STR("LOGIN"), &joe, &c), 0);
	CHECK_INT(sasl_client_step(c, STR("Username:"), &said, &why), 0);
	CHECK_INT(sasl_client_step(c, STR("Password:"), &said, &why), 0);
	CHECK_INT(sasl_client_step(c, STR("And your mother's?"), &said, &why), -EPROTO);
	sasl_client_free(c);
	buf_done(&said);
}
