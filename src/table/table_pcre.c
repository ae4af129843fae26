/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pcre: Perl-compatible expressions by PCRE2. Matching runs on a stack of its own (fibers'
 * are small) and ends at a limit, so no key can make it run for ever.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <errno.h>

#include "table/pattern.h"

enum { MATCH_LIMIT = 1000000, JIT_STACK_MAX = 512 << 10 };

struct expression {
	pcre2_code *code;
	pcre2_match_data *data;
	pcre2_match_context *context;
	pcre2_jit_stack *stack;
};

static bool pcre_flags(struct str flags, uint32_t *ret_options, struct buf *why)
{
	uint32_t options = PCRE2_CASELESS | PCRE2_DOTALL;

	for (size_t i = 0; i < flags.len; i++) {
		switch (flags.ptr[i]) {
		case 'i':
			options ^= PCRE2_CASELESS;
			break;
		case 'm':
			options ^= PCRE2_MULTILINE;
			break;
		case 's':
			options ^= PCRE2_DOTALL;
			break;
		case 'x':
			options ^= PCRE2_EXTENDED;
			break;
		case 'A':
			options ^= PCRE2_ANCHORED;
			break;
		case 'E':
			options ^= PCRE2_DOLLAR_ENDONLY;
			break;
		case 'U':
			options ^= PCRE2_UNGREEDY;
			break;
		case 'X':
			break;
		default:
			buf_addf(why, "unknown regexp option \"%c\"", flags.ptr[i]);
			return false;
		}
	}
	*ret_options = options;
	return true;
}

static int pcre_compile(struct str pattern, struct str flags, void **ret_code, size_t *ret_groups, struct buf *why)
{
	struct expression *e;
	uint32_t options, groups = 0;
	PCRE2_SIZE at;
	int error;
	pcre2_code *code;

	if (!pcre_flags(flags, &options, why))
		return -EINVAL;
	code = pcre2_compile((PCRE2_SPTR)pattern.ptr, pattern.len, options, &error, &at, NULL);
	if (!code) {
		PCRE2_UCHAR message[256];

		pcre2_get_error_message(error, message, sizeof(message));
		buf_addf(why, "error in regexp at offset %zu: %s", (size_t)at, (const char *)message);
		return -EINVAL;
	}
	e = mem_alloc(sizeof(*e));
	e->code = code;
	e->data = pcre2_match_data_create_from_pattern(code, NULL);
	e->context = pcre2_match_context_create(NULL);
	if (!e->data || !e->context)
		die("out of memory");
	pcre2_set_match_limit(e->context, MATCH_LIMIT);
	/* Where memory may not become executable the interpreter does it. */
	if (pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0) {
		e->stack = pcre2_jit_stack_create(32 << 10, JIT_STACK_MAX, NULL);
		pcre2_jit_stack_assign(e->context, NULL, e->stack);
	}
	pcre2_pattern_info(code, PCRE2_INFO_CAPTURECOUNT, &groups);
	*ret_code = e;
	*ret_groups = groups;
	return 0;
}

static int pcre_match(void *code, struct str subject, struct span *spans, struct buf *why)
{
	struct expression *e = code;
	int count = pcre2_match(e->code, (PCRE2_SPTR)subject.ptr, subject.len, 0, 0, e->data, e->context);
	const PCRE2_SIZE *at;
	size_t pairs;

	if (count == PCRE2_ERROR_NOMATCH)
		return 0;
	if (count < 0) {
		PCRE2_UCHAR message[256];

		pcre2_get_error_message(count, message, sizeof(message));
		buf_addf(why, "pcre: %s", (const char *)message);
		return -EIO;
	}
	at = pcre2_get_ovector_pointer(e->data);
	pairs = size_min(pcre2_get_ovector_count(e->data), PATTERN_GROUPS);
	for (size_t i = 0; i < pairs; i++)
		spans[i] = at[2 * i] == PCRE2_UNSET ? (struct span){PATTERN_UNSET, 0} : (struct span){at[2 * i], at[2 * i + 1]};
	return 1;
}

static void pcre_free(void *code)
{
	struct expression *e = code;

	pcre2_jit_stack_free(e->stack);
	pcre2_match_context_free(e->context);
	pcre2_match_data_free(e->data);
	pcre2_code_free(e->code);
	free(e);
}

static const struct pattern_engine engine = {pcre_compile, pcre_match, pcre_free};

static int pcre_open(const struct table_type *type, struct str name, unsigned flags, const struct view *view,
                     struct table **ret_table, struct buf *why)
{
	return pattern_open(type, &engine, name, flags, ret_table, why);
}

const struct table_type table_pcre = {"pcre", false, pcre_open, pattern_find, NULL, pattern_close};
