/* SPDX-License-Identifier: Apache-2.0 */
/* regexp: POSIX expressions, extended and without case unless flags say otherwise. */
#include <errno.h>
#include <regex.h>

#include "table/pattern.h"

static bool regexp_flags(struct str flags, int *ret_options, struct buf *why)
{
	int options = REG_EXTENDED | REG_ICASE;

	for (size_t i = 0; i < flags.len; i++) {
		switch (flags.ptr[i]) {
		case 'i':
			options ^= REG_ICASE;
			break;
		case 'm':
			options ^= REG_NEWLINE;
			break;
		case 'x':
			options ^= REG_EXTENDED;
			break;
		default:
			buf_addf(why, "unknown regexp option \"%c\"", flags.ptr[i]);
			return false;
		}
	}
	*ret_options = options;
	return true;
}

static int regexp_compile(struct str pattern, struct str flags, void **ret_code, size_t *ret_groups, struct buf *why)
{
	regex_t *code;
	char *text, message[256];
	int err, options = 0;

	if (!regexp_flags(flags, &options, why))
		return -EINVAL;
	code = mem_alloc(sizeof(*code));
	text = str_cstr(pattern);
	err = regcomp(code, text, options);
	free(text);
	if (err) {
		regerror(err, code, message, sizeof(message));
		buf_addf(why, "%s", message);
		free(code);
		return -EINVAL;
	}
	*ret_code = code;
	*ret_groups = code->re_nsub;
	return 0;
}

static int regexp_match(void *code, struct str subject, struct span *spans, struct buf *why)
{
	regex_t *re = code;
	regmatch_t at[PATTERN_GROUPS];
	size_t count = size_min(re->re_nsub + 1, PATTERN_GROUPS);
	char message[128];
	int err;

	at[0] = (regmatch_t){0, (regoff_t)subject.len};
	err = regexec(re, subject.ptr, count, at, REG_STARTEND);
	if (err == REG_NOMATCH)
		return 0;
	if (err) {
		regerror(err, re, message, sizeof(message));
		buf_addf(why, "regexp: %s", message);
		return -EIO;
	}
	for (size_t i = 0; i < count; i++)
		spans[i] = at[i].rm_so < 0 ? (struct span){PATTERN_UNSET, 0}
		                           : (struct span){(size_t)at[i].rm_so, (size_t)at[i].rm_eo};
	return 1;
}

static void regexp_free(void *code)
{
	regfree(code);
	free(code);
}

static const struct pattern_engine engine = {regexp_compile, regexp_match, regexp_free};

static int regexp_open(const struct table_type *type, struct str name, unsigned flags, const struct view *view,
                       struct table **ret_table, struct buf *why)
{
	return pattern_open(type, &engine, name, flags, ret_table, why);
}

const struct table_type table_regexp = {"regexp", false, regexp_open, pattern_find, NULL, pattern_close};
