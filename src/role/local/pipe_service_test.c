/* SPDX-License-Identifier: Apache-2.0 */
#include "role/local/pipe_service.h"

#include "check.h"

/* The service of these arguments, up to a NULL. */
static const char *read_args(const char *const *args, struct arena *a, struct pipe_service *s)
{
	struct str list[16];
	struct service service = {.args = list};

	while (args[service.arg_count]) {
		list[service.arg_count] = str_of(args[service.arg_count]);
		service.arg_count++;
	}
	return pipe_service_read(&service, a, s);
}

#define READ(a, s, ...) read_args((const char *const[]){__VA_ARGS__, NULL}, a, s)

TEST(every_attribute_is_read)
{
	struct arena a = ARENA_INIT;
	struct pipe_service s;

	CHECK(!READ(&a, &s, "-o", "x=y", "flags=DRhu", "user=vmail:mail", "chroot=/jail", "directory=/in",
	            "null_sender=", "eol=\\r\\n", "size=1000", "argv=/bin/x", "-f", "user=${sender}"));
	CHECK(pipe_service_has(&s, 'D') && pipe_service_has(&s, 'u') && !pipe_service_has(&s, 'q'));
	CHECK_STR(s.user, STR("vmail"));
	CHECK_STR(s.group, STR("mail"));
	CHECK_STR(s.chroot, STR("/jail"));
	CHECK_STR(s.directory, STR("/in"));
	CHECK_STR(s.null_sender, STR(""));
	CHECK_STR(s.line_end, STR("\r\n"));
	CHECK_INT(s.size_limit, 1000);
	CHECK_INT(s.argc, 3);
	CHECK_STR(s.argv[0], STR("/bin/x"));
	CHECK_STR(s.argv[2], STR("user=${sender}"));
	arena_done(&a);
}

TEST(what_is_not_said_has_its_default)
{
	struct arena a = ARENA_INIT;
	struct pipe_service s;

	CHECK(!READ(&a, &s, "user=vmail", "argv=/bin/x"));
	CHECK_STR(s.null_sender, STR("MAILER-DAEMON"));
	CHECK_STR(s.line_end, STR("\n"));
	CHECK_STR(s.group, STR(""));
	CHECK_INT(s.size_limit, 0);
	arena_done(&a);
}

TEST(line_ends_are_written_as_in_c)
{
	static const struct {
		const char *arg;
		const char *want; /* NULL: refused */
	} cases[] = {{"eol=\\n", "\n"}, {"eol=", ""},     {"eol=\\015\\012", "\r\n"}, {"eol=\\t\\\\x", "\t\\x"},
	             {"eol=\\x", NULL}, {"eol=\\", NULL}, {"eol=\\777", NULL}};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct arena a = ARENA_INIT;
		struct pipe_service s;
		const char *problem = READ(&a, &s, cases[i].arg, "user=vmail", "argv=/bin/x");

		CHECK(!problem == !!cases[i].want);
		if (cases[i].want)
			CHECK_STR(s.line_end, str_of(cases[i].want));
		arena_done(&a);
	}
}

TEST(what_cannot_be_meant_is_refused)
{
	struct arena a = ARENA_INIT;
	struct pipe_service s;

	CHECK_STR(str_of(READ(&a, &s, "user=vmail")), STR("argv= is missing"));
	CHECK_STR(str_of(READ(&a, &s, "argv=/bin/x")), STR("user= is missing"));
	CHECK_STR(str_of(READ(&a, &s, "user=vmail", "flags=DZ", "argv=/bin/x")), STR("flags= has one that is unknown"));
	CHECK_STR(str_of(READ(&a, &s, "user=vmail", "size=-1", "argv=/bin/x")), STR("bad size="));
	CHECK_STR(str_of(READ(&a, &s, "user=vmail", "dirctory=/", "argv=/bin/x")), STR("unknown attribute dirctory="));
	arena_done(&a);
}
