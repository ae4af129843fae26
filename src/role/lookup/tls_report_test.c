/* SPDX-License-Identifier: Apache-2.0 */
#include "role/lookup/tls_report.h"

#include <zlib.h>

#include "check.h"

static const struct message_tls_outcome good = {.domain = {"far.example", 11},
                                                .policy_type = {"sts", 3},
                                                .policy_domain = {"far.example", 11},
                                                .policy_strings = {"version: STSv1\nmode: enforce", 28},
                                                .mx_patterns = {"*.far.example", 13},
                                                .mx_host = {"mx.far.example", 14}};

static struct tls_report *make(void)
{
	struct tls_report *r = tls_report_new(STR(""));
	struct message_tls_outcome bad = good,
				   none = {.policy_type = STR("no-policy-found"), .policy_domain = STR("far.example")};

	bad.result = STR("certificate-expired");
	bad.reason = STR("caf\xe9\n");
	tls_report_add(r, &good);
	tls_report_add(r, &good);
	tls_report_add(r, &bad);
	tls_report_add(r, &bad);
	tls_report_add(r, &none);
	return r;
}

static const char state[] =
	"[{\"policy\":{\"policy-type\":\"sts\",\"policy-string\":[\"version: STSv1\",\"mode: "
	"enforce\"],\"policy-domain\":\"far.example\","
	"\"mx-host\":[\"*.far.example\"]},\"summary\":{\"total-successful-session-count\":2,\"total-failure-session-count\":2},"
	"\"failure-details\":[{\"result-type\":\"certificate-expired\",\"receiving-mx-hostname\":\"mx.far.example\","
	"\"failure-reason-code\":\"caf??\",\"failed-session-count\":2}]},"
	"{\"policy\":{\"policy-type\":\"no-policy-found\",\"policy-domain\":\"far.example\"},"
	"\"summary\":{\"total-successful-session-count\":1,\"total-failure-session-count\":0}}]";

TEST(outcomes_are_counted_by_policy_and_by_failure)
{
	struct tls_report *r = make();
	struct buf text = BUF_INIT(10000);

	tls_report_encode(r, &text);
	CHECK_STR(buf_str(&text), str_of(state));
	tls_report_free(r);
	buf_done(&text);
}

TEST(a_report_goes_on_from_the_store_and_junk_begins_anew)
{
	struct tls_report *r = tls_report_new(str_of(state));
	struct buf text = BUF_INIT(10000);

	tls_report_encode(r, &text);
	CHECK_STR(buf_str(&text), str_of(state));
	tls_report_free(r);
	buf_reset(&text);
	r = tls_report_new(STR("{\"a\":"));
	tls_report_encode(r, &text);
	CHECK_STR(buf_str(&text), STR("[]"));
	tls_report_free(r);
	buf_done(&text);
}

TEST(details_have_a_limit_and_counts_have_none)
{
	struct tls_report *r = tls_report_new(STR(""));
	struct buf text = BUF_INIT(1 << 20);

	for (int i = 0; i < 500; i++) {
		struct message_tls_outcome o = good;
		char reason[20];

		snprintf(reason, sizeof(reason), "reason %d", i);
		o.result = STR("validation-failure");
		o.reason = str_of(reason);
		tls_report_add(r, &o);
	}
	tls_report_encode(r, &text);
	CHECK(str_find_str(buf_str(&text), STR("\"total-failure-session-count\":500")) < text.len);
	CHECK(str_find_str(buf_str(&text), STR("reason 99\"")) < text.len);
	CHECK(str_find_str(buf_str(&text), STR("reason 100\"")) == text.len);
	tls_report_free(r);
	buf_done(&text);
}

static const struct tls_report_frame frame = {.organization = {"Example", 7},
                                              .contact = {"postmaster@test.example", 23},
                                              .domain = {"far.example", 11},
                                              .submitter = {"test.example", 12},
                                              .from = {"tls@test.example", 16},
                                              .id = {"1-2-3", 5},
                                              .begins = 1459468800,
                                              .ends = 1459555200};

TEST(the_document_is_that_of_the_rfc)
{
	static const char head[] =
		"{\n \"organization-name\": \"Example\",\n \"date-range\": {\n  \"start-datetime\": \"2016-04-01T00:00:00Z\",\n"
		"  \"end-datetime\": \"2016-04-01T23:59:59Z\"\n },\n \"contact-info\": \"postmaster@test.example\",\n"
		" \"report-id\": \"1-2-3\",\n \"policies\": [\n";
	struct tls_report *r = make();
	struct buf gzip = BUF_INIT(100000);
	static char text[10000];
	z_stream z = {.avail_out = sizeof(text) - 1, .next_out = (unsigned char *)text};

	CHECK_INT(tls_report_gzip(r, &frame, &gzip), 0);
	z.next_in = (unsigned char *)gzip.ptr;
	z.avail_in = (unsigned)gzip.len;
	CHECK_INT(inflateInit2(&z, 15 + 16), Z_OK);
	CHECK_INT(inflate(&z, Z_FINISH), Z_STREAM_END);
	inflateEnd(&z);
	CHECK_STR(str_cut(str_of(text), 0, sizeof(head) - 1), str_of(head));
	tls_report_free(r);
	buf_done(&gzip);
}

TEST(places_are_found_and_nothing_else)
{
	static const struct {
		const char *record;
		const char *places; /* parted by blanks */
	} cases[] = {
		{"v=TLSRPTv1; rua=mailto:a@b.example", "mailto:a@b.example"},
		{"v=TLSRPTv1;rua=mailto:a@b.example,https://c.example/v1/tlsrpt;",
	         "mailto:a@b.example https://c.example/v1/tlsrpt"},
		{"v=TLSRPTv1; rua=http://c.example/, mailto:nobody, ftp://x, https://", ""},
		{"v=TLSRPTv1; rua=mailto:a@b\r\nBcc: c@d", ""},
		{"v=TLSRPTv1; rua=mailto:<a@b>", ""},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct buf found = BUF_INIT(1000);
		struct str rest = str_of(cases[i].record), place;

		CHECK(tls_report_record_is_ours(rest));
		while (tls_report_next_place(&rest, &place))
			buf_addf(&found, "%s%.*s", found.len ? " " : "", STR_ARG(place));
		CHECK_STR(buf_str(&found), str_of(cases[i].places));
		buf_done(&found);
	}
	CHECK(!tls_report_record_is_ours(STR("v=TLSRPTv10; rua=mailto:a@b")));
	CHECK(!tls_report_record_is_ours(STR("v=STSv1; id=1")));
}
