/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/sendmail_options.h"

#include <errno.h>
#include <unistd.h>

static int parse_mode(char letter, struct sendmail_options *o, struct buf *why)
{
	static const struct {
		char letter;
		enum sendmail_mode mode;
	} modes[] = {
		{'m', SENDMAIL_SEND},    {'v', SENDMAIL_VERIFY},  {'p', SENDMAIL_MAILQ},
		{'i', SENDMAIL_ALIASES}, {'d', SENDMAIL_DAEMON},  {'l', SENDMAIL_DAEMON},
		{'s', SENDMAIL_SERVER},  {'h', SENDMAIL_NOTHING}, {'H', SENDMAIL_NOTHING},
	};

	for (size_t i = 0; i < COUNT_OF(modes); i++)
		if (modes[i].letter == letter) {
			o->mode = modes[i].mode;
			return 0;
		}
	buf_addf(why, "unsupported: -b%c", letter);
	return -EINVAL;
}

static int parse_notify(struct str text, struct sendmail_options *o, struct buf *why)
{
	static const struct {
		const char *word;
		uint8_t bit;
	} words[] = {{"never", NOTIFY_NEVER}, {"success", NOTIFY_SUCCESS}, {"failure", NOTIFY_FAILURE}, {"delay", NOTIFY_DELAY}};
	struct str rest = text, word;

	o->notify = 0;
	while (str_next(&rest, ", ", &word)) {
		uint8_t bit = 0;

		for (size_t i = 0; i < COUNT_OF(words); i++)
			if (str_eq_nocase(word, str_of(words[i].word)))
				bit = words[i].bit;
		if (!bit) {
			buf_addf(why, "bad -N option value: %.*s", STR_ARG(text));
			return -EINVAL;
		}
		o->notify |= bit;
	}
	if (!o->notify || (o->notify & NOTIFY_NEVER && o->notify != NOTIFY_NEVER)) {
		buf_addf(why, "bad -N option value: %.*s; write never, or some of success,failure,delay", STR_ARG(text));
		return -EINVAL;
	}
	return 0;
}

static int parse_ret(struct str text, struct sendmail_options *o, struct buf *why)
{
	if (str_eq_nocase(text, STR("full")))
		o->ret = RET_FULL;
	else if (str_eq_nocase(text, STR("hdrs")))
		o->ret = RET_HDRS;
	else {
		buf_addf(why, "bad -R option value: %.*s; write full or hdrs", STR_ARG(text));
		return -EINVAL;
	}
	return 0;
}

static int parse_body(struct str text, struct sendmail_options *o, struct buf *why)
{
	if (str_eq_nocase(text, STR("8BITMIME")))
		o->is_8bit = true;
	else if (!str_eq_nocase(text, STR("7BIT"))) {
		buf_addf(why, "bad -B option value: %.*s; write 7BIT or 8BITMIME", STR_ARG(text));
		return -EINVAL;
	}
	return 0;
}

static void parse_queue(const char *arg, struct sendmail_options *o)
{
	if (!arg)
		o->mode = SENDMAIL_FLUSH;
	else if (*arg == 'I' || *arg == 'R') {
		o->mode = *arg == 'I' ? SENDMAIL_FLUSH_ID : SENDMAIL_FLUSH_SITE;
		o->flush = arg + 1;
	} else {
		o->mode = SENDMAIL_NOTHING;
	}
}

/* -oX: the old one-letter options; those that mean nothing here are passed over. */
static void parse_old(const char *arg, struct sendmail_options *o)
{
	if (*arg == 'i')
		o->keeps_dots = true;
	else if (*arg == 'A')
		o->alias_file = arg + 1;
}

/* -O name=value; those that mean nothing here are passed over. */
static void parse_long(struct str text, struct sendmail_options *o)
{
	struct str name, value;

	if (!str_split(text, '=', &name, &value))
		return;
	if (str_eq_nocase(name, STR("smtputf8")))
		o->is_utf8 = str_eq_nocase(value, STR("yes"));
	if (str_eq_nocase(name, STR("requiretls")))
		o->is_requiretls = str_eq_nocase(value, STR("yes"));
}

static int parse_one(int option, const char *arg, struct sendmail_options *o, struct buf *why)
{
	switch (option) {
	case 'b':
		return parse_mode(*arg, o, why);
	case 'B':
		return parse_body(str_of(arg), o, why);
	case 'C':
		o->config_dir = arg;
		break;
	case 'F':
		o->full_name = arg;
		break;
	case 'f':
	case 'r':
		o->sender = arg;
		break;
	case 'I':
		o->mode = SENDMAIL_ALIASES;
		break;
	case 'i':
		o->keeps_dots = true;
		break;
	case 'N':
		return parse_notify(str_of(arg), o, why);
	case 'O':
		parse_long(str_of(arg), o);
		break;
	case 'o':
		parse_old(arg, o);
		break;
	case 'q':
		parse_queue(arg, o);
		break;
	case 'R':
		return parse_ret(str_of(arg), o, why);
	case 't':
		o->takes_from_header = true;
		break;
	case 'V':
		o->envid = arg;
		break;
	case 'v':
		o->verbose++;
		break;
	case 'X':
		if (*arg == 'V') {
			buf_addf(why, "unsupported: -X%s", arg);
			return -EINVAL;
		}
		break;
	case '?':
		buf_addf(why, "usage: sendmail [options] [recipient...]");
		return -EINVAL;
	default: /* -A -c -e -G -h -L -m -n -p -s -U: of other sendmails, or without a meaning here */
		break;
	}
	return 0;
}

/* A -q that asks for something that we do not do must not look like success. */
static int check(const struct sendmail_options *o, struct buf *why)
{
	if ((o->mode == SENDMAIL_FLUSH_ID || o->mode == SENDMAIL_FLUSH_SITE) && !*o->flush)
		buf_addf(why, "an id or a site must follow -qI or -qR");
	else if (o->mode == SENDMAIL_VERIFY && !*o->recipients)
		buf_addf(why, "recipients must follow -bv");
	return why->len ? -EINVAL : 0;
}

int sendmail_parse(int argc, char **argv, struct sendmail_options *ret_options, struct buf *why)
{
	struct sendmail_options o = {0};
	int option, err = 0;

	opterr = 0;
	optind = 1;
	while (!err && (option = getopt(argc, argv, "A:B:C:F:GIL:N:O:R:UV:X:b:ce:f:h:imno:p:q::r:s:tv")) != -1)
		err = parse_one(option, optarg, &o, why);
	o.recipients = argv + optind;
	if (!err)
		err = check(&o, why);
	*ret_options = o;
	return err;
}
