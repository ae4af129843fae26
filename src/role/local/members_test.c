/* SPDX-License-Identifier: Apache-2.0 */
#include "role/local/members.h"

#include "base/buf.h"
#include "check.h"

TEST(members_are_addresses_files_commands_and_lists)
{
	static const char letters[] = "afci"; /* enum member_kind */
	static const struct {
		const char *text;
		const char *want;
	} cases[] = {
		{"ann", "a[ann]"},
		{"ann, bob@x.org", "a[ann] a[bob@x.org]"},
		{"ann bob", "a[ann bob]"},
		{"# all\nann\n\n#bob\ncarl", "a[ann] a[carl]"},
		{"\\bob, |/usr/bin/vacation bob", "a[\\bob] c[/usr/bin/vacation bob]"},
		{"\"|exec /usr/bin/procmail -t || exit 75\"", "c[exec /usr/bin/procmail -t || exit 75]"},
		{"|\"prog a, b\"", "c[prog a, b]"},
		{"\"|prog \\\"a, b\\\"\", x", "c[prog \"a, b\"] a[x]"},
		{"/var/log/mail, /dev/null", "f[/var/log/mail] f[/dev/null]"},
		{"\"/a b\"", "f[/a b]"},
		{"/c=de/@gw.org", "a[/c=de/@gw.org]"},
		{":include:/etc/list", "i[/etc/list]"},
		{"\":include:/etc/my list\"", "i[/etc/my list]"},
		{"\"a b\"@c.org", "a[\"a b\"@c.org]"},
		{",, ,", ""},
		{"\"never closed, x\ny", "a[\"never closed, x] a[y]"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct arena a = ARENA_INIT;
		struct buf got = BUF_INIT(1000);
		struct str rest = str_of(cases[i].text);
		struct member m;

		while (member_next(&rest, &a, &m))
			buf_addf(&got, "%s%c[%.*s]", got.len > 0 ? " " : "", letters[m.kind], STR_ARG(m.text));
		CHECK_STR(buf_str(&got), str_of(cases[i].want));
		buf_done(&got);
		arena_done(&a);
	}
}
