/* SPDX-License-Identifier: Apache-2.0 */
#include "mail/smtp_command.h"

#include <errno.h>

#include "mail/address.h"
#include "mail/envelope.h"

enum { ENVID_LEN_MAX = 100, ORCPT_LEN_MAX = 500 };

static const struct reply fine;

static struct reply refuse(int code, struct dsn_code dsn, struct str text)
{
	return (struct reply){.code = code, .dsn = dsn, .text = text};
}

void command_parse(struct str line, struct command *ret_command)
{
	struct str rest = str_trim(line);
	size_t end = str_find_any(rest, " \t");

	ret_command->verb = str_cut(rest, 0, end);
	ret_command->argument = str_trim(str_from(rest, end));
}

static int hex_value(char c)
{
	if (ascii_is_digit(c))
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int xtext_decode(struct str text, struct arena *a, struct str *ret_bytes)
{
	char *out = arena_alloc(a, text.len + 1);
	size_t len = 0;

	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];

		if (c == '+') {
			int high = i + 2 < text.len ? hex_value(text.ptr[i + 1]) : -1;
			int low = high >= 0 ? hex_value(text.ptr[i + 2]) : -1;

			if (low < 0)
				return -EINVAL;
			c = (char)(high << 4 | low);
			i += 2;
		} else if ((unsigned char)c <= ' ' || c == '=' || c == 127) {
			return -EINVAL;
		}
		out[len++] = c;
	}
	*ret_bytes = str_n(out, len);
	return 0;
}

void xtext_encode(struct buf *to, struct str bytes)
{
	for (size_t i = 0; i < bytes.len; i++) {
		unsigned char c = (unsigned char)bytes.ptr[i];

		if (c <= ' ' || c >= 127 || c == '+' || c == '=')
			buf_addf(to, "+%02X", c);
		else
			buf_add_char(to, (char)c);
	}
}

static bool take_word(struct str *rest, struct str word)
{
	if (!str_starts_nocase(*rest, word))
		return false;
	*rest = str_trim(str_from(*rest, word.len));
	return true;
}

/* The path at the front of *rest; *ret_path is the client's own writing of it. */
static int take_path(struct str *rest, unsigned address_flags, struct arena *a, struct str *ret_path, struct str *ret_address)
{
	struct str start = *rest;

	if (address_parse_path(rest, address_flags, a, ret_address))
		return -EINVAL;
	*ret_path = str_n(start.ptr, start.len - rest->len);
	return 0;
}

static unsigned address_flags_of(unsigned flags, unsigned more)
{
	return (flags & COMMAND_STRICT ? ADDRESS_STRICT : 0) | (flags & COMMAND_UTF8 ? ADDRESS_UTF8 : 0) | more;
}

static struct reply unsupported(struct str option, struct arena *a)
{
	return refuse(555, DSN(5, 5, 4), arena_printf(a, "Unsupported option: %.*s", STR_ARG(option)));
}

static const struct reply dsn_disabled = {501, {5, 7, 1}, {"DSN support is disabled", 23}, false};

static struct reply take_size(struct str value, struct mail_command *mail)
{
	unsigned long long size;
	int err = str_parse_u64(value, &size);

	if (err == -ERANGE || (!err && size > INT64_MAX))
		return refuse(552, DSN(5, 3, 4), STR("Message size exceeds file system imposed limit"));
	if (err)
		return refuse(501, DSN(5, 5, 4), STR("Bad message size syntax"));
	mail->size = size;
	return fine;
}

static struct reply take_envid(struct str value, struct arena *a, struct mail_command *mail)
{
	if (value.len == 0 || value.len > ENVID_LEN_MAX || xtext_decode(value, a, &mail->envid))
		return refuse(501, DSN(5, 5, 4), STR("Bad ENVID parameter syntax"));
	return fine;
}

static struct reply take_ret(struct str value, struct mail_command *mail)
{
	if (mail->ret != RET_NONE)
		return refuse(501, DSN(5, 5, 4), STR("Bad RET parameter syntax"));
	if (str_eq_nocase(value, STR("FULL")))
		mail->ret = RET_FULL;
	else if (str_eq_nocase(value, STR("HDRS")))
		mail->ret = RET_HDRS;
	else
		return refuse(501, DSN(5, 5, 4), STR("Bad RET parameter syntax"));
	return fine;
}

static struct reply take_auth(struct str value, unsigned flags, struct arena *a, struct mail_command *mail)
{
	/* Without authentication the claim is worth nothing, and does no harm. */
	if (!(flags & COMMAND_AUTH))
		return fine;
	if (mail->has_auth)
		return refuse(503, DSN(5, 5, 4), STR("Error: multiple AUTH= options"));
	if (xtext_decode(value, a, &mail->auth))
		return refuse(501, DSN(5, 5, 4), STR("Error: bad AUTH= option"));
	mail->has_auth = true;
	if (str_eq(mail->auth, STR("<>")))
		mail->auth = STR("");
	return fine;
}

static struct reply mail_option(struct str option, unsigned flags, struct arena *a, struct mail_command *mail)
{
	struct str name, value;
	bool has_value = str_split(option, '=', &name, &value);

	if (!has_value && (flags & COMMAND_SMTPUTF8) && str_eq_nocase(option, STR("SMTPUTF8"))) {
		mail->is_smtputf8 = true;
		return fine;
	}
	if (!has_value && (flags & COMMAND_REQUIRETLS) && str_eq_nocase(option, STR("REQUIRETLS"))) {
		mail->is_requiretls = true;
		return fine;
	}
	if (!has_value)
		return unsupported(option, a);
	if (str_eq_nocase(name, STR("SIZE")))
		return take_size(value, mail);
	if (str_eq_nocase(name, STR("BODY")) && (str_eq_nocase(value, STR("7BIT")) || str_eq_nocase(value, STR("8BITMIME")))) {
		mail->is_8bitmime = value.ptr[0] == '8';
		return fine;
	}
	if (str_eq_nocase(name, STR("AUTH")))
		return take_auth(value, flags, a, mail);
	if (str_eq_nocase(name, STR("RET")))
		return flags & COMMAND_DSN ? take_ret(value, mail) : dsn_disabled;
	if (str_eq_nocase(name, STR("ENVID")))
		return flags & COMMAND_DSN ? take_envid(value, a, mail) : dsn_disabled;
	return unsupported(option, a);
}

struct reply mail_command_parse(struct str argument, unsigned flags, struct arena *a, struct mail_command *ret_mail)
{
	struct str rest = argument, option;

	*ret_mail = (struct mail_command){0};
	if (!take_word(&rest, STR("FROM:")) || rest.len == 0)
		return refuse(501, DSN(5, 5, 4), STR("Syntax: MAIL FROM:<address>"));
	if (take_path(&rest, address_flags_of(flags, ADDRESS_EMPTY), a, &ret_mail->path, &ret_mail->address))
		return refuse(501, DSN(5, 1, 7), STR("Bad sender address syntax"));
	while (str_next(&rest, " \t", &option)) {
		struct reply r = mail_option(option, flags, a, ret_mail);

		if (r.code)
			return r;
	}
	if (ret_mail->is_requiretls && ret_mail->address.len == 0)
		return refuse(503, DSN(5, 5, 4), STR("Error: REQUIRETLS requires non-null sender"));
	return fine;
}

static int take_notify(struct str value, uint8_t *ret_notify)
{
	static const struct {
		struct str word;
		uint8_t bit;
	} words[] = {
		{{"NEVER", 5}, NOTIFY_NEVER},
		{{"SUCCESS", 7}, NOTIFY_SUCCESS},
		{{"FAILURE", 7}, NOTIFY_FAILURE},
		{{"DELAY", 5}, NOTIFY_DELAY},
	};
	struct str word;
	uint8_t bits = 0;

	while (str_next(&value, ",", &word)) {
		size_t i = 0;

		while (i < COUNT_OF(words) && !str_eq_nocase(word, words[i].word))
			i++;
		if (i == COUNT_OF(words))
			return -EINVAL;
		bits |= words[i].bit;
	}
	if (bits == 0 || ((bits & NOTIFY_NEVER) && bits != NOTIFY_NEVER))
		return -EINVAL;
	*ret_notify = bits;
	return 0;
}

/* "rfc822;xtext" or "utf-8;..." ; the type stays as it is. */
static int take_orcpt(struct str value, struct arena *a, struct str *ret_orcpt)
{
	struct str type, text, bytes;

	if (value.len > ORCPT_LEN_MAX || !str_split(value, ';', &type, &text) || type.len == 0 || text.len == 0)
		return -EINVAL;
	for (size_t i = 0; i < type.len; i++)
		if (!ascii_is_alnum(type.ptr[i]) && type.ptr[i] != '-')
			return -EINVAL;
	if (xtext_decode(text, a, &bytes) || memchr(bytes.ptr, '\n', bytes.len) || memchr(bytes.ptr, '\0', bytes.len))
		return -EINVAL;
	*ret_orcpt = arena_printf(a, "%.*s;%.*s", STR_ARG(type), STR_ARG(bytes));
	return 0;
}

static struct reply rcpt_option(struct str option, unsigned flags, struct arena *a, struct rcpt_command *rcpt)
{
	struct str name, value;

	if (!str_split(option, '=', &name, &value))
		return unsupported(option, a);
	if (str_eq_nocase(name, STR("NOTIFY"))) {
		if (!(flags & COMMAND_DSN))
			return dsn_disabled;
		if (rcpt->notify || take_notify(value, &rcpt->notify))
			return refuse(501, DSN(5, 5, 4), STR("Error: Bad NOTIFY parameter syntax"));
		return fine;
	}
	if (str_eq_nocase(name, STR("ORCPT"))) {
		if (!(flags & COMMAND_DSN))
			return dsn_disabled;
		if (rcpt->orcpt.len > 0 || take_orcpt(value, a, &rcpt->orcpt))
			return refuse(501, DSN(5, 5, 4), STR("Error: Bad ORCPT parameter syntax"));
		return fine;
	}
	return unsupported(option, a);
}

struct reply rcpt_command_parse(struct str argument, unsigned flags, struct arena *a, struct rcpt_command *ret_rcpt)
{
	struct str rest = argument, option;

	*ret_rcpt = (struct rcpt_command){0};
	if (!take_word(&rest, STR("TO:")) || rest.len == 0)
		return refuse(501, DSN(5, 5, 4), STR("Syntax: RCPT TO:<address>"));
	if (take_path(&rest, address_flags_of(flags, 0), a, &ret_rcpt->path, &ret_rcpt->address))
		return refuse(501, DSN(5, 1, 3), STR("Bad recipient address syntax"));
	while (str_next(&rest, " \t", &option)) {
		struct reply r = rcpt_option(option, flags, a, ret_rcpt);

		if (r.code)
			return r;
	}
	return fine;
}
