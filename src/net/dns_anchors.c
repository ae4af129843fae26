/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trust anchors: DS and DNSKEY records as a zone file has them, one a line, or over several lines between
 * parentheses. Files that a validator keeps up to date itself (RFC 5011) look the same and tell the state of each
 * key in a comment: ";;state=2 [ VALID ]".
 */
#include <errno.h>

#include "net/dns_internal.h"

/* Keys that are not in force yet, or no more. */
static bool is_in_force(struct str comment)
{
	struct str state = str_from(comment, str_find_str(comment, STR(";;state=")) + strlen(";;state="));

	return !state.len || state.ptr[0] == '2' || state.ptr[0] == '3';
}

static bool is_anchor(struct str record)
{
	struct str word;

	/* The owner comes first, then perhaps TTL and class. */
	(void)str_next(&record, " \t", &word);
	for (int i = 0; i < 3 && str_next(&record, " \t", &word); i++)
		if (str_eq_nocase(word, STR("DS")) || str_eq_nocase(word, STR("DNSKEY")))
			return str_trim(record).len > 0;
	return false;
}

/* Adds a line without its parentheses to the record; *depth tells whether the record goes on. */
static void add_line(struct buf *record, struct str line, int *depth)
{
	for (size_t i = 0; i < line.len; i++) {
		char c = line.ptr[i];

		*depth += (c == '(') - (c == ')');
		buf_add_char(record, c == '(' || c == ')' || c == '\r' ? ' ' : c);
	}
	buf_add_char(record, ' ');
}

int dns_anchors_parse(struct str text, struct buf *to, struct buf *why)
{
	struct buf record = BUF_INIT(16384);
	size_t number = 0, count = 0;
	int depth = 0, err = 0;
	bool is_used = true;

	while (!err && text.len) {
		size_t end = str_find(text, '\n');
		struct str line = str_cut(text, 0, end), bare = str_cut(line, 0, str_find(line, ';'));

		text = str_from(text, end + 1);
		number++;
		add_line(&record, bare, &depth);
		is_used &= is_in_force(str_from(line, bare.len));
		if (depth > 0 && text.len)
			continue;
		bare = str_trim(buf_str(&record));
		if (bare.len && (!is_anchor(bare) || depth || buf_check(&record))) {
			buf_addf(why, "line %zu is no DS or DNSKEY record", number);
			err = -EINVAL;
		} else if (bare.len && is_used) {
			buf_addf(to, "%.*s\n", STR_ARG(bare));
			count++;
		}
		buf_reset(&record);
		is_used = true;
	}
	buf_done(&record);
	if (!err && !count) {
		buf_addf(why, "it holds no DS or DNSKEY record");
		err = -EINVAL;
	}
	return err ? err : buf_check(to);
}
