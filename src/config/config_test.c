/* SPDX-License-Identifier: Apache-2.0 */
/* Loading configurations from files: settings, services, views, problems. */
#include "config/config.h"

#include <fcntl.h>
#include <unistd.h>

#include "check.h"
#include "config/params.h"

static void write_file(const char *dir, const char *name, const char *text)
{
	char path[500];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	FILE *f = fopen(path, "w");
	CHECK(f != NULL);
	if (f) {
		fputs(text, f);
		fclose(f);
	}
}

static struct config *load(const char *main_cf, const char *master_cf)
{
	const char *dir = check_folder();

	write_file(dir, "main.cf", main_cf);
	write_file(dir, "master.cf", master_cf);
	return config_load(str_of(dir), NULL, 0);
}

/* The whole problem text, for looking into it. */
static bool has_problem(const struct config *c, const char *part)
{
	bool is_found = false;

	for (size_t i = 0; i < config_problem_count(c); i++) {
		struct buf line = BUF_INIT(4000);

		config_problem_format(&line, config_problem(c, i));
		is_found |= str_find_str(buf_str(&line), str_of(part)) < line.len;
		buf_done(&line);
	}
	return is_found;
}

TEST(an_empty_main_cf_gives_the_defaults)
{
	struct config *c = load("", "");
	const struct params *p = config_main_view(c)->params;

	CHECK(!config_has_errors(c));
	CHECK_INT(p->message_size_limit, 10240000);
	CHECK_INT(p->smtpd_timeout.ns, 300 * NS_PER_S);
	CHECK_INT(p->delay_warning_time.ns, 0);
	CHECK_INT(p->maximal_queue_lifetime.ns, 5 * 86400 * NS_PER_S);
	CHECK_INT(p->smtpd_hard_error_limit, 20);
	CHECK(!p->soft_bounce);
	CHECK_STR(p->syslog_name, STR("postfix"));
	CHECK(p->myhostname.len > 0);
	config_free(c);
}

TEST(comments_and_blank_lines_inside_a_continuation_are_skipped)
{
	struct config *c =
		load("mynetworks = 127.0.0.0/8\n# no\n\n  # nor this\n  10.0.0.0/8\nmyhostname = mx.example.com\n", "");

	CHECK(!config_has_errors(c));
	CHECK_STR(config_main_view(c)->params->mynetworks, STR("127.0.0.0/8  10.0.0.0/8"));
	CHECK_STR(config_main_view(c)->params->mydomain, STR("example.com"));
	CHECK_INT(view_origin(config_main_view(c), STR("myhostname")).line, 6);
	config_free(c);
}

TEST(a_service_sees_its_own_overrides_and_its_name)
{
	struct config *c = load("my_list = permit_mynetworks, reject\nsmtpd_timeout = 10\n",
	                        "smtp inet n - n - - smtpd\n"
	                        "587 inet n - y - 20 smtpd -v\n"
	                        "  -o smtpd_timeout=1m\n"
	                        "  -o { smtpd_recipient_restrictions = $my_list }\n"
	                        "  -o syslog_name=postfix/$service_name\n");
	const struct service *s = config_find_service(c, STR("587"), STR("inet"));

	CHECK(!config_has_errors(c));
	CHECK(s != NULL && s->process_limit == 20);
	const struct view *v = config_service_view(c, s);
	CHECK_INT(v->params->smtpd_timeout.ns, 60 * NS_PER_S);
	CHECK_STR(v->params->smtpd_recipient_restrictions, STR("permit_mynetworks, reject"));
	CHECK_STR(v->params->syslog_name, STR("postfix/587"));
	v = config_service_view(c, config_service(c, 0));
	CHECK_INT(v->params->smtpd_timeout.ns, 10 * NS_PER_S);
	CHECK_INT(v->service->process_limit, 100);
	config_free(c);
}

TEST(wrong_values_are_told_with_file_and_line)
{
	struct config *c = load("myhostname = a.example\nsmtpd_timeout = soon\nsoft_bounce = maybe\n"
	                        "smtpd_tls_security_level = strong\nmail_name = $mail_name\nsmtpd_recipient_limit = 0\n",
	                        "smtp inet n - n - - smtpd -o smtpd_hard_error_limit=x\nbad line\n");

	CHECK(config_has_errors(c));
	CHECK(has_problem(c, "/main.cf:2: error: smtpd_timeout = soon: write a number and a unit"));
	CHECK(has_problem(c, "/main.cf:3: error: soft_bounce = maybe: write yes or no"));
	CHECK(has_problem(c, "/main.cf:4: error: smtpd_tls_security_level = strong: write one of none, may, encrypt"));
	CHECK(has_problem(c, "/main.cf:5: error: mail_name = $mail_name: the value refers to itself"));
	CHECK(has_problem(c, "/main.cf:6: error: smtpd_recipient_limit = 0: the least it may be is 1"));
	CHECK(has_problem(c, "/master.cf:1: error: service \"smtp\": smtpd_hard_error_limit = x"));
	CHECK(has_problem(c, "/master.cf:2: error: \"bad line\" is no service"));
	config_free(c);
}

TEST(transport_parameters_fall_back_to_their_default)
{
	struct config *c =
		load("default_destination_concurrency_limit = 7\nmy_destination_rate_delay = 2m\n", "my unix - - n - - smtp\n");
	const struct view *v = config_main_view(c);

	CHECK_INT(view_transport_int(v, STR("my"), STR("destination_concurrency_limit")), 7);
	CHECK_INT(view_transport_int(v, STR("my"), STR("destination_rate_delay")), 120);
	CHECK_INT(view_transport_int(v, STR("local"), STR("destination_concurrency_limit")), 2);
	CHECK_INT(view_transport_int(v, STR("my"), STR("initial_destination_concurrency")), 5);
	CHECK_STR(view_transport_text(v, STR("my"), STR("destination_concurrency_positive_feedback")), STR("1"));
	config_free(c);
}

TEST(a_snapshot_gives_the_same_configuration)
{
	struct config *c = load("myhostname = mx.example.com\nmail_name = $myhostname here\nmy = own\n",
	                        "smtp inet n - n - - smtpd -o smtpd_timeout=5 x { y z }\n"),
		      *copy = NULL;
	struct buf bytes = BUF_INIT(1 << 20), again = BUF_INIT(1 << 20);

	config_snapshot(c, &bytes);
	CHECK_INT(config_from_snapshot(buf_str(&bytes), &copy), 0);
	CHECK_STR(config_main_view(copy)->params->mail_name, STR("mx.example.com here"));
	CHECK_STR(view_get(config_main_view(copy), STR("my")), STR("own"));
	CHECK_INT(config_service_view(copy, config_service(copy, 0))->params->smtpd_timeout.ns, 5 * NS_PER_S);
	CHECK_STR(config_service(copy, 0)->args[3], STR("y z"));
	config_snapshot(copy, &again);
	CHECK_STR(buf_str(&again), buf_str(&bytes));
	for (size_t n = 0; n < bytes.len; n += 7) {
		struct config *none = NULL;

		CHECK(config_from_snapshot(str_cut(buf_str(&bytes), 0, n), &none) < 0);
	}
	buf_done(&bytes);
	buf_done(&again);
	config_free(copy);
	config_free(c);
}

TEST(names_are_completed_as_postfix_does)
{
	static const struct {
		const char *main_cf, *myhostname, *mydomain;
	} cases[] = {
		{"myhostname = mx.example.com\n", "mx.example.com", "example.com"},
		{"myhostname = foo\n", "foo", "localdomain"},
		{"myhostname = $mydomain\nmydomain = x.y\n", "x.y", "x.y"},
		{"myhostname = foo.bar.com\nmydomain = $myhostname\n", "foo.bar.com", "foo.bar.com"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct config *c = load(cases[i].main_cf, "");

		CHECK_STR(config_main_view(c)->params->myhostname, str_of(cases[i].myhostname));
		CHECK_STR(config_main_view(c)->params->mydomain, str_of(cases[i].mydomain));
		config_free(c);
	}
}

TEST(the_last_of_two_settings_wins_and_both_places_are_told)
{
	struct config *c = load("mydomain = a.b\n\nmydomain = c.d\nrelayhost = x\nrelayhost = x\n",
	                        "smtp inet n - n - - smtpd\nsmtp inet n - n - 5 smtpd -v\n");

	CHECK(!config_has_errors(c));
	CHECK_STR(config_main_view(c)->params->mydomain, STR("c.d"));
	CHECK(has_problem(c, "/main.cf:3: warning: mydomain is set a second time; this value replaces the one in line 1"));
	CHECK(!has_problem(c, "relayhost is set"));
	CHECK_INT(config_service_count(c), 1);
	CHECK_INT(config_service(c, 0)->process_limit, 5);
	CHECK(has_problem(c, "/master.cf:2: warning: service \"smtp inet\" replaces the one in line 1"));
	config_free(c);
}

TEST(names_that_nothing_uses_are_told_and_others_not)
{
	struct config *c =
		load("smtpd_require_helo = yes\nmy_list = reject\nsmtpd_client_restrictions = $my_list, inner\n"
	             "smtpd_restriction_classes = inner\ninner = permit\nalias_maps = ldap:people\npeople_server_host = x\n"
	             "virtual_maps = hash:/x\nmy_destination_rate_delay = 1s\nnone_destination_rate_delay = 1s\nmydestination = "
	             "$nothing\n",
	             "my unix - - n - - smtp\n");

	CHECK(!config_has_errors(c));
	CHECK(has_problem(c, "main.cf:1: warning: unknown parameter smtpd_require_helo; did you mean smtpd_helo_required?") ||
	      has_problem(c, "main.cf:1: warning: unknown parameter smtpd_require_helo"));
	CHECK(!has_problem(c, "my_list") && !has_problem(c, "inner") && !has_problem(c, "people_server_host"));
	CHECK(has_problem(c, "virtual_maps is an older name: still honoured: default of virtual_alias_maps"));
	CHECK(!has_problem(c, "main.cf:9:"));
	CHECK(has_problem(c,
	                  "main.cf:10: warning: none_destination_rate_delay has no effect: master.cf has no transport \"none\""));
	CHECK(has_problem(c, "main.cf:11: warning: mydestination refers to $nothing, which is not set anywhere"));
	config_free(c);
}

TEST(older_names_count_where_new_defaults_refer_to_them)
{
	struct config *c =
		load("virtual_maps = static:x\nsmtp_per_record_deadline = yes\npostscreen_blacklist_action = drop\n", "");
	const struct params *p = config_main_view(c)->params;

	CHECK_STR(p->virtual_alias_maps, STR("static:x"));
	CHECK(p->smtp_per_request_deadline);
	CHECK_STR(p->postscreen_denylist_action, STR("drop"));
	config_free(c);
}

TEST(the_level_decides_defaults_and_stress_is_a_setting)
{
	struct config *c = load("", "a inet n - n - - smtpd -o stress=yes\nb inet n - n - - smtpd -o compatibility_level=3.11\n");

	CHECK(config_main_view(c)->params->append_dot_mydomain);
	CHECK_STR(config_main_view(c)->params->smtpd_relay_restrictions, STR(""));
	CHECK_INT(config_service_view(c, config_service(c, 0))->params->smtpd_timeout.ns, 10 * NS_PER_S);
	CHECK_INT(config_service_view(c, config_service(c, 0))->params->smtpd_hard_error_limit, 1);
	const struct params *p = config_service_view(c, config_service(c, 1))->params;
	CHECK(!p->append_dot_mydomain);
	CHECK_STR(p->smtp_tls_security_level, STR("may"));
	CHECK_STR(p->smtpd_relay_restrictions, STR("permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination"));
	CHECK(has_problem(c, "compatibility_level = 0 keeps defaults of that version"));
	config_free(c);
}

TEST(raw_values_wait_for_their_user)
{
	struct config *c = load("luser_relay = $user@example.com\ndefault_rbl_reply = $rbl_code no\n", "");

	CHECK(!config_has_errors(c));
	CHECK_STR(config_main_view(c)->params->luser_relay, STR("$user@example.com"));
	CHECK_STR(config_main_view(c)->params->default_rbl_reply, STR("$rbl_code no"));
	config_free(c);
}

TEST(a_long_chain_of_names_is_refused_not_followed)
{
	struct buf text = BUF_INIT(1 << 20);

	for (int i = 0; i < 1000; i++)
		buf_addf(&text, "n%d = $n%d\n", i, i + 1);
	buf_add(&text, STR("n1000 = end\nmail_name = $n0\n"));
	struct config *c = load(buf_cstr(&text), "");
	CHECK(config_has_errors(c));
	config_free(c);
	buf_done(&text);
}

TEST(a_missing_file_is_an_error_with_its_name)
{
	struct config *c = config_load(STR("/nonexistent"), NULL, 0);

	CHECK(config_has_errors(c));
	CHECK(has_problem(c, "/nonexistent/main.cf: error: the file cannot be read"));
	CHECK_INT(config_service_count(c), 0);
	config_free(c);
}

TEST(options_of_a_command_line_override_main_cf)
{
	const char *dir = check_folder();
	const struct str overrides[] = {STR("mydomain=over.example"), STR("broken")};

	write_file(dir, "main.cf", "mydomain = a.b\n");
	write_file(dir, "master.cf", "");
	struct config *c = config_load(str_of(dir), overrides, 2);
	CHECK_STR(config_main_view(c)->params->mydomain, STR("over.example"));
	CHECK(has_problem(c, "option -o broken: there is no '='"));
	config_free(c);
}

TEST(one_line_becomes_a_service)
{
	struct arena arena = ARENA_INIT;
	struct buf why = BUF_INIT(1000);
	struct service s;

	CHECK_INT(service_parse(STR("a unix - n n 10? 3 pipe -o { b = c d } {x y} z"), &arena, &s, &why), 0);
	CHECK(s.is_private && !s.is_unprivileged && s.process_limit == 3);
	CHECK_INT(s.arg_count, 4);
	CHECK_STR(s.args[1], STR("b = c d"));
	CHECK_STR(s.args[2], STR("x y"));
	CHECK(service_parse(STR("a unix - n n"), &arena, &s, &why) < 0);
	CHECK(service_parse(STR("a inet y - n - - smtpd"), &arena, &s, &why) < 0);
	CHECK(service_parse(STR("a unix - x n - - smtpd"), &arena, &s, &why) < 0);
	CHECK(service_parse(STR(""), &arena, &s, &why) < 0);
	CHECK(why.len > 0);
	buf_done(&why);
	arena_done(&arena);
}

TEST(myorigin_may_name_a_file_with_the_domain)
{
	const char *dir = check_folder();
	struct buf text = BUF_INIT(1000), bytes = BUF_INIT(1 << 20);
	struct config *copy = NULL;

	buf_addf(&text, "myorigin = %s/mailname\nmydestination = $myorigin, localhost\n", dir);
	write_file(dir, "main.cf", buf_cstr(&text));
	write_file(dir, "master.cf", "smtp inet n - n - - smtpd\n");
	struct config *c = config_load(str_of(dir), NULL, 0);
	CHECK(config_has_errors(c));
	CHECK(has_problem(c, "/main.cf:1: error: myorigin = "));
	config_free(c);

	write_file(dir, "mailname", "mail.example.com \nmore\n");
	c = config_load(str_of(dir), NULL, 0);
	CHECK(!config_has_errors(c));
	CHECK_STR(config_main_view(c)->params->myorigin, STR("mail.example.com"));
	CHECK_STR(config_main_view(c)->params->mydestination, STR("mail.example.com, localhost"));
	config_snapshot(c, &bytes);
	CHECK_INT(config_from_snapshot(buf_str(&bytes), &copy), 0);
	CHECK_STR(config_service_view(copy, config_service(copy, 0))->params->myorigin, STR("mail.example.com"));
	config_free(copy);
	config_free(c);

	c = config_load_with(str_of(dir), NULL, 0, CONFIG_WITHOUT_ADVICE);
	CHECK(str_ends(config_main_view(c)->params->myorigin, STR("/mailname")));
	config_free(c);
	buf_done(&text);
	buf_done(&bytes);
}

TEST(what_looks_like_a_comment_behind_a_value_is_told)
{
	struct config *c = load("message_size_limit = 5000000 # five\nsmtpd_banner = hi # there\nmail_name = a#b\n", "");

	CHECK(has_problem(c, "main.cf:1: error: message_size_limit = 5000000 # five: write a whole number"));
	CHECK(has_problem(c, "main.cf:1: warning: message_size_limit: \"# five\" is part of the value"));
	CHECK(has_problem(c, "main.cf:2: warning: smtpd_banner: \"# there\" is part of the value"));
	CHECK(!has_problem(c, "main.cf:3:"));
	config_free(c);
}

TEST(a_line_of_prose_in_master_cf_is_told_once)
{
	struct config *c = load("", "this is a line of prose that someone left here\n");

	CHECK(config_has_errors(c));
	CHECK(has_problem(c, "master.cf:1: error: service \"this\" has the type \"is\""));
	CHECK(!has_problem(c, "unpriv"));
	CHECK_INT(config_service_count(c), 0);
	config_free(c);
}
