/* SPDX-License-Identifier: Apache-2.0 */
/* Looking up passwords and reading tokens. */
#include "role/smtp/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "config/params.h"
#include "role/smtp/smtp_settings.h"
#include "sasl/access_token.h"
#include "table/table.h"

enum { TOKEN_FILE_MAX = 32 * 1024 };

/* The whole address, then without its extension, then "@domain". */
static int find_by_sender(const struct smtp_settings *s, struct str sender, struct arena *a, struct str *ret_value,
                          struct buf *why)
{
	char *marks = arena_cstr(a, s->params->recipient_delimiter);
	size_t at = str_find_last(sender, '@'), mark = str_find_any(str_cut(sender, 0, at), marks);
	int err = maps_find(s->sasl_passwords, sender, false, a, ret_value, why);

	if (err == -ENOENT && mark && mark < at) {
		sender = arena_printf(a, "%.*s%.*s", STR_ARG(str_cut(sender, 0, mark)), STR_ARG(str_from(sender, at)));
		err = maps_find(s->sasl_passwords, sender, true, a, ret_value, why);
	}
	if (err == -ENOENT && at < sender.len)
		err = maps_find(s->sasl_passwords, str_from(sender, str_find_last(sender, '@')), true, a, ret_value, why);
	return err;
}

static int find_text(const struct smtp_settings *s, const struct login_place *place, struct arena *a, struct str *ret_value,
                     struct buf *why)
{
	int err = -ENOENT;

	if (s->sasl_by_sender && place->sender.len)
		err = find_by_sender(s, place->sender, a, ret_value, why);
	if (err == -ENOENT && place->host.len)
		err = maps_find(s->sasl_passwords, place->host, false, a, ret_value, why);
	if (err == -ENOENT && place->nexthop.len)
		err = maps_find(s->sasl_passwords, place->nexthop, false, a, ret_value, why);
	return err;
}

static int file_read(const char *path, struct buf *to)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = 0;

	if (fd < 0)
		return -errno;
	do {
		char *room = buf_room(to, 4096);

		n = room ? read(fd, room, 4096) : -1;
		if (n > 0)
			buf_added(to, (size_t)n);
	} while (n > 0);
	n = n < 0 ? -errno : 0;
	close(fd);
	return n ? (int)n : buf_check(to);
}

static int read_token(struct str path, struct arena *a, struct str *ret_token, struct buf *why)
{
	struct buf text = BUF_INIT(TOKEN_FILE_MAX);
	char *name = arena_cstr(a, path);
	int64_t lifetime;
	int err = file_read(name, &text);

	if (err)
		buf_addf(why, "cannot read the access token in %s: %s", name, strerror(-err));
	else if ((err = access_token_parse(buf_str(&text), a, ret_token, &lifetime)))
		buf_addf(why, "%s holds no access token: its first line or \"access_token\" in JSON would be one", name);
	if (text.ptr)
		explicit_bzero(text.ptr, text.len);
	buf_done(&text);
	return err;
}

/* Programs that fetch tokens for other mail servers have the file in place of the password, and the filter says what it is. */
static bool is_for_tokens(const struct smtp_settings *s)
{
	struct buf why = BUF_INIT(1024);
	bool is = s->sasl_filter && match_list_check(s->sasl_filter, STR("PLAIN"), &why) == 0 &&
	          match_list_check(s->sasl_filter, STR("LOGIN"), &why) == 0 &&
	          (match_list_check(s->sasl_filter, STR("XOAUTH2"), &why) == 1 ||
	           match_list_check(s->sasl_filter, STR("OAUTHBEARER"), &why) == 1);

	buf_done(&why);
	return is;
}

/* What stands in place of a password. */
static int find_token(const struct smtp_settings *s, struct arena *a, struct credentials *c, struct buf *why)
{
	static const struct str file = {"{token_file=", 12};

	if (str_eq(c->secret, STR("{token_command}"))) {
		c->is_token = c->is_from_command = true;
		c->secret = STR("");
		if (s->sasl_token_command.len)
			return 0;
		buf_addf(why, "\"%.*s:{token_command}\" needs %s_sasl_token_command, the command that prints an access token",
		         STR_ARG(c->user), s->is_lmtp ? "lmtp" : "smtp");
		return -EINVAL;
	}
	if (str_starts(c->secret, file) && str_ends(c->secret, STR("}"))) {
		c->is_token = true;
		c->secret = str_cut(c->secret, file.len, c->secret.len - file.len - 1);
	} else if (str_starts(c->secret, STR("/")) && is_for_tokens(s)) {
		c->is_token = true;
	}
	return c->is_token ? read_token(str_trim(c->secret), a, &c->secret, why) : 0;
}

int credentials_find(const struct smtp_settings *s, const struct login_place *place, struct arena *a, struct credentials *ret,
                     struct buf *why)
{
	struct str text;
	int err = s->sasl_passwords ? find_text(s, place, a, &text, why) : -ENOENT;

	if (err)
		return err;
	*ret = (struct credentials){.user = text, .secret = STR("")};
	if (s->sasl_delimiter.len)
		(void)str_split(text, s->sasl_delimiter.ptr[0], &ret->user, &ret->secret);
	return ret->user.len ? find_token(s, a, ret, why) : -ENOENT;
}
