/* SPDX-License-Identifier: Apache-2.0 */
/* Looking up passwords and reading tokens. */
#include "role/smtp/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <unistd.h>

#include "config/params.h"
#include "role/smtp/smtp_settings.h"
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

static int token_from_json(struct str text, struct arena *a, struct str *ret_token)
{
	json_t *object = json_loadb(text.ptr, text.len, 0, NULL);
	const char *token = json_string_value(json_object_get(object, "access_token"));
	bool has = token && *token;

	if (has)
		*ret_token = arena_str(a, str_of(token));
	json_decref(object);
	return has ? 0 : -EINVAL;
}

int token_parse(struct str text, struct arena *a, struct str *ret_token)
{
	struct str line = {0};

	text = str_trim(text);
	if (str_starts(text, STR("{")))
		return token_from_json(text, a, ret_token);
	if (!str_next(&text, "\r\n", &line))
		return -EINVAL;
	*ret_token = arena_str(a, str_trim(line));
	return ret_token->len ? 0 : -EINVAL;
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
	int err = file_read(name, &text);

	if (err)
		buf_addf(why, "cannot read the access token in %s: %s", name, strerror(-err));
	else if ((err = token_parse(buf_str(&text), a, ret_token)))
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

int credentials_find(const struct smtp_settings *s, const struct login_place *place, struct arena *a, struct credentials *ret,
                     struct buf *why)
{
	static const struct str file = {"{token_file=", 12};
	struct str text;
	int err = s->sasl_passwords ? find_text(s, place, a, &text, why) : -ENOENT;

	if (err)
		return err;
	if (!s->sasl_delimiter.len || !str_split(text, s->sasl_delimiter.ptr[0], &ret->user, &ret->secret))
		*ret = (struct credentials){.user = text, .secret = STR("")};
	ret->is_token = false;
	if (!ret->user.len)
		return -ENOENT;
	if (str_starts(ret->secret, file) && str_ends(ret->secret, STR("}"))) {
		ret->is_token = true;
		ret->secret = str_cut(ret->secret, file.len, ret->secret.len - file.len - 1);
	} else if (str_starts(ret->secret, STR("/")) && is_for_tokens(s)) {
		ret->is_token = true;
	}
	return ret->is_token ? read_token(str_trim(ret->secret), a, &ret->secret, why) : 0;
}
