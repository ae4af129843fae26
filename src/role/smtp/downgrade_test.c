/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of 8-bit content; the cases are what Postfix was seen to make of them. */
#include "role/smtp/downgrade.h"

#include "base/base.h"
#include "check.h"

#define TEXT_8BIT "Content-Type: text/plain\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
#define TEXT_QP "Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"

static void check(const char *text, size_t step, const char *want)
{
	struct buf out = BUF_INIT(DOWNGRADE_OUT_MAX);
	struct downgrade *d = downgrade_new();

	for (size_t at = 0; at < strlen(text); at += step)
		downgrade_write(d, str_cut(str_of(text), at, step), &out);
	downgrade_end(d, &out);
	CHECK_STR(buf_str(&out), str_of(want));
	downgrade_free(d);
	buf_done(&out);
}

TEST(bodies_that_say_so_become_quoted_printable)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{TEXT_8BIT "Hei \xc3\xa4 = end \r\n.dot\r\ntab\t\r\n", TEXT_QP "Hei =C3=A4 =3D end=20\r\n.dot\r\ntab=09\r\n"},
		{TEXT_8BIT "only ascii = \r\n", TEXT_QP "only ascii =3D=20\r\n"},
		{"Subject: x\r\n\r\n\xc3\xa4\r\n", "Subject: x\r\n\r\n\xc3\xa4\r\n"},
		{"Subject: x\xc3\xa4\r\nContent-Transfer-Encoding:\r\n binary (no)\r\n\r\na\xff=b\r\n",
	         "Subject: x\xc3\xa4\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\na=FF=3Db\r\n"},
		{"Content-Transfer-Encoding: base64\r\n\r\nw6Q=\r\n", "Content-Transfer-Encoding: base64\r\n\r\nw6Q=\r\n"},
		{"Content-Transfer-Encoding: 8bit\n\n\xe4\nlast",
	         "Content-Transfer-Encoding: quoted-printable\r\n\r\n=E4\r\nlast\r\n"},
		{"Content-Transfer-Encoding: 8bit\r\nno header\r\n\xe4\r\n",
	         "Content-Transfer-Encoding: quoted-printable\r\nno header\r\n=E4\r\n"},
		{"Content-Transfer-Encoding: 8bit\r\n", "Content-Transfer-Encoding: quoted-printable\r\n"},
		{"", ""},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++)
		for (size_t step = 1; step < 100; step += 33)
			check(cases[i].text, step, cases[i].want);
}

TEST(parts_are_encoded_and_what_holds_them_is_not)
{
	for (size_t step = 1; step < 300; step += 97)
		check("MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\n"
		      "pre\xe4\r\n--bb\r\n" TEXT_8BIT "\xe4=\r\n--bb\r\nContent-Type: text/plain\r\n\r\nplain=\r\n--bb\r\n"
		      "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: in\r\n"
		      "Content-Transfer-Encoding: 8bit\r\n\r\ninner \xe4\r\n--bb--\r\nepi\xe4\r\n",
		      step,
		      "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=bb\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
		      "pre\xe4\r\n--bb\r\n" TEXT_QP "=E4=3D\r\n--bb\r\nContent-Type: text/plain\r\n\r\nplain=\r\n--bb\r\n"
		      "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\nSubject: in\r\n"
		      "Content-Transfer-Encoding: quoted-printable\r\n\r\ninner =E4\r\n--bb--\r\nepi\xe4\r\n");
}

TEST(long_lines_are_broken_where_nobody_sees_it)
{
	struct buf text = BUF_INIT(20000), want = BUF_INIT(20000);

	buf_add(&text, STR(TEXT_8BIT));
	buf_add(&want, STR(TEXT_QP));
	for (int i = 0; i < 10000; i++) {
		buf_add_char(&text, 'x');
		buf_add(&want, i && i % 75 == 0 ? STR("=\r\nx") : STR("x"));
	}
	buf_add(&text, STR("\r\n"));
	buf_add(&want, STR("\r\n"));
	check(buf_cstr(&text), 16000, buf_cstr(&want));
	check(buf_cstr(&text), 1000, buf_cstr(&want));
	buf_done(&text);
	buf_done(&want);
}
