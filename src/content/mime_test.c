/* SPDX-License-Identifier: Apache-2.0 */
#include "content/mime.h"

#include "base/buf.h"
#include "check.h"
#include "mail/header.h"

/* The places of all lines as letters: b body, m part header, n header of an enclosed message, - the end of headers. */
static void walk(const char *text, const char *content_type, const char *want)
{
	struct mime m = {0};
	struct str rest = str_of(text);
	struct buf got = BUF_INIT(1000);

	mime_header(&m, STR("content-type"), str_of(content_type));
	mime_end_of_headers(&m);
	while (rest.len > 0) {
		struct str line = str_cut(rest, 0, str_find(rest, '\n'));
		enum mime_place place = mime_line(&m, line);
		size_t name = header_name_len(line);

		rest = str_from(rest, line.len + 1);
		if (place == MIME_BODY || name > 0) {
			buf_add_char(&got, "bmn"[place]);
		} else {
			mime_end_of_headers(&m);
			buf_add_char(&got, '-');
		}
		if (place != MIME_BODY && name > 0)
			mime_header(&m, str_cut(line, 0, name), str_from(line, str_find(line, ':') + 1));
	}
	CHECK_STR(buf_str(&got), str_of(want));
	buf_done(&got);
}

TEST(plain_text_is_all_body)
{
	walk("--a\nX: y\n\nb\n", "text/plain; boundary=a", "bbbb");
}

TEST(parts_have_headers)
{
	walk("pre\n--a\nX: y\n\nbody\n--a\n\nbody\n--a--\nX: epilogue\n--a\n",
	     "multipart/mixed; x=\"; boundary=no\"; boundary=\"a\"", "bbm-bb-bbbb");
}

TEST(enclosed_messages_have_nested_headers)
{
	walk("--a\nContent-Type: message/rfc822\n\nSubject: x\nContent-Type: multipart/digest; boundary=b (c)\n\n--b\nX: "
	     "y\n\nz\n--a--\n",
	     "multipart/mixed;\n\tboundary=a", "bm-nn-bm-bb");
}

TEST(a_boundary_outside_closes_those_within)
{
	walk("--a\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\nx\n--a\nX: y\n\n--b\nX: body\n",
	     "multipart/mixed; boundary=a", "bm-b-bbm-bb");
}

TEST(a_value_of_blanks_is_read_once)
{
	struct buf type = BUF_INIT(8 << 20);

	buf_add(&type, STR("multipart/mixed;"));
	for (int i = 0; i < 4 << 20; i++)
		buf_add_char(&type, ' ');
	buf_add(&type, STR("boundary=a"));
	walk("--a\nX: y\n\nb\n", buf_cstr(&type), "bm-b");
	buf_done(&type);
}

TEST(deep_nesting_does_no_harm)
{
	struct mime m = {0};

	for (int i = 0; i < 1000; i++) {
		mime_header(&m, STR("Content-Type"),
		            STR("multipart/mixed; boundary=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
		mime_end_of_headers(&m);
	}
	CHECK_INT(m.depth, MIME_DEPTH_MAX);
}
