/* SPDX-License-Identifier: Apache-2.0 */
/* Reading MTA-STS records and policies. */
#include "mail/mta_sts.h"

#include <errno.h>

enum { ID_MAX = 32, FIELD_NAME_MAX = 32, AGE_DIGITS_MAX = 10, HOST_MAX = 253, LABEL_MAX = 63 };

static const char *const mode_names[] = {"none", "testing", "enforce"};

const char *sts_mode_name(enum sts_mode mode)
{
	return mode_names[mode];
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct str trim_blanks(struct str s)
{
	while (s.len && is_blank(s.ptr[0]))
		s = str_from(s, 1);
	while (s.len && is_blank(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

static bool is_id(struct str id)
{
	for (size_t i = 0; i < id.len; i++)
		if (!ascii_is_alnum(id.ptr[i]))
			return false;
	return id.len > 0 && id.len <= ID_MAX;
}

static bool is_field_name(struct str name)
{
	if (!name.len || name.len > FIELD_NAME_MAX || !ascii_is_alnum(name.ptr[0]))
		return false;
	for (size_t i = 1; i < name.len; i++)
		if (!ascii_is_alnum(name.ptr[i]) && !memchr("_-.", name.ptr[i], 3))
			return false;
	return true;
}

static bool is_record_value(struct str value)
{
	for (size_t i = 0; i < value.len; i++)
		if (value.ptr[i] <= ' ' || value.ptr[i] > '~' || value.ptr[i] == '=')
			return false;
	return value.len > 0;
}

/* --- the TXT record ---------------------------------------------------------------------- */

bool sts_record_is_ours(struct str text)
{
	return str_starts(text, STR("v=STSv1;")) || str_starts(text, STR("v=STSv1 ")) || str_starts(text, STR("v=STSv1\t"));
}

int sts_record_parse(struct str text, struct str *ret_id)
{
	struct str id = STR(""), rest = text, field, name, value;

	if (!sts_record_is_ours(text) || !str_split(text, ';', &field, &rest) || !str_eq(trim_blanks(field), STR("v=STSv1")))
		return -EINVAL;
	while (trim_blanks(rest).len) {
		if (!str_split(rest, ';', &field, &rest)) {
			field = rest;
			rest = STR("");
		}
		field = trim_blanks(field);
		if (!str_split(field, '=', &name, &value) || !is_field_name(name) || !is_record_value(value))
			return -EINVAL;
		if (str_eq(name, STR("id")) && !id.len) {
			if (!is_id(value))
				return -EINVAL;
			id = value;
		}
	}
	if (!id.len)
		return -EINVAL;
	*ret_id = id;
	return 0;
}

/* --- the policy ---------------------------------------------------------------------------- */

/* A domain name, as it stands in "mx:", without the wildcard. */
static bool is_domain(struct str name)
{
	size_t label = 0;

	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];

		if (c == '.' ? !label || name.ptr[i - 1] == '-' : !ascii_is_alnum(c) && (c != '-' || !label) && c != '_')
			return false;
		label = c == '.' ? 0 : label + 1;
		if (label > LABEL_MAX)
			return false;
	}
	return label && name.len <= HOST_MAX && name.ptr[name.len - 1] != '-';
}

/* What has been read so far; a field may stand there once, and only its first mention counts. */
struct reading {
	struct sts_policy *policy;
	struct arena *arena;
	size_t room; /* in policy->mx */
	bool has_version;
	bool has_mode;
	bool has_age;
	struct buf *why;
};

static int bad(struct reading *r, const char *what, struct str value)
{
	buf_addf(r->why, "bad %s \"%.*s\"", what, (int)size_min(value.len, 100), value.ptr);
	return -EINVAL;
}

static int take_mx(struct reading *r, struct str value)
{
	struct sts_policy *p = r->policy;

	if (!is_domain(str_starts(value, STR("*.")) ? str_from(value, 2) : value))
		return bad(r, "mx", value);
	if (p->mx_count == STS_MX_MAX) {
		buf_addf(r->why, "more than %d mx", STS_MX_MAX);
		return -EINVAL;
	}
	if (p->mx_count == r->room) {
		struct str *more = arena_alloc(r->arena, (r->room = r->room ? 4 * r->room : 8) * sizeof(*more));

		if (p->mx_count)
			memcpy(more, p->mx, p->mx_count * sizeof(*more));
		p->mx = more;
	}
	p->mx[p->mx_count++] = arena_lower(r->arena, value);
	return 0;
}

static int take_mode(struct reading *r, struct str value)
{
	for (size_t i = 0; i < COUNT_OF(mode_names); i++) {
		if (str_eq(value, str_of(mode_names[i]))) {
			r->policy->mode = (enum sts_mode)i;
			r->has_mode = true;
			return 0;
		}
	}
	return bad(r, "mode", value);
}

static int take_age(struct reading *r, struct str value)
{
	unsigned long long age;

	if (value.len > AGE_DIGITS_MAX || str_parse_u64(value, &age))
		return bad(r, "max_age", value);
	r->policy->max_age = age > STS_AGE_MAX ? STS_AGE_MAX : (uint32_t)age;
	r->has_age = true;
	return 0;
}

static bool is_free_text(struct str value)
{
	for (size_t i = 0; i < value.len; i++)
		if ((unsigned char)value.ptr[i] < ' ' || value.ptr[i] == 127)
			return false;
	return value.len > 0;
}

static int take_field(struct reading *r, struct str line)
{
	struct str name, value;

	if (!str_split(line, ':', &name, &value) || !is_field_name(name))
		return bad(r, "line", line);
	value = trim_blanks(value);
	if (str_eq(name, STR("version")) && !r->has_version) {
		r->has_version = str_eq(value, STR("STSv1"));
		return r->has_version ? 0 : bad(r, "version", value);
	}
	if (str_eq(name, STR("mode")) && !r->has_mode)
		return take_mode(r, value);
	if (str_eq(name, STR("max_age")) && !r->has_age)
		return take_age(r, value);
	if (str_eq(name, STR("mx")))
		return take_mx(r, value);
	return is_free_text(value) ? 0 : bad(r, "line", line);
}

/* LF and CRLF both end a line. */
static struct str take_line(struct str *rest)
{
	size_t end = str_find(*rest, '\n');
	struct str line = str_cut(*rest, 0, end);

	*rest = str_from(*rest, end + 1);
	if (str_ends(line, STR("\r")))
		line.len--;
	return line;
}

int sts_policy_parse(struct str text, struct arena *a, struct sts_policy *ret_policy, struct buf *why)
{
	struct reading r = {.policy = ret_policy, .arena = a, .why = why};
	int err = 0;

	*ret_policy = (struct sts_policy){0};
	if (text.len > STS_POLICY_SIZE_MAX) {
		buf_addf(why, "the policy is larger than %d bytes", STS_POLICY_SIZE_MAX);
		return -EINVAL;
	}
	/* Empty lines at the end do no harm; between fields they are not allowed. */
	text = str_trim(text);
	while (!err && text.len)
		err = take_field(&r, take_line(&text));
	if (err)
		return err;
	if (r.has_version && r.has_mode && r.has_age && (ret_policy->mx_count || ret_policy->mode == STS_MODE_NONE))
		return 0;
	buf_addf(why, "no %s", !r.has_version ? "version" : !r.has_mode ? "mode" : !r.has_age ? "max_age" : "mx");
	return -EINVAL;
}

int sts_answer_parse(long status, struct str media_type, struct str body, struct arena *a, struct sts_policy *ret_policy,
                     struct buf *why)
{
	struct str type = str_trim(str_cut(media_type, 0, str_find(media_type, ';')));

	*ret_policy = (struct sts_policy){0};
	if (status != 200) {
		buf_addf(why, "the web server answered with status %ld", status);
		return -EPROTO;
	}
	if (!str_eq_nocase(type, STR("text/plain"))) {
		buf_addf(why, "the media type is \"%.*s\", not text/plain", (int)size_min(type.len, 100),
		         type.ptr ? type.ptr : "");
		return -EPROTO;
	}
	return sts_policy_parse(body, a, ret_policy, why);
}

bool sts_pattern_matches(struct str pattern, struct str host)
{
	if (str_ends(host, STR(".")))
		host.len--;
	if (!str_starts(pattern, STR("*.")))
		return host.len && str_eq_nocase(pattern, host);
	return str_find(host, '.') > 0 && str_eq_nocase(str_from(pattern, 1), str_from(host, str_find(host, '.')));
}

bool sts_policy_names(const struct sts_policy *p, struct str host)
{
	for (size_t i = 0; i < p->mx_count; i++)
		if (sts_pattern_matches(p->mx[i], host))
			return true;
	return false;
}
