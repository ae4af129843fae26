/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What cidr, regexp and pcre tables share: the lines of the file or of type:{ {rule}, ... },
 * with if and endif, and the walk through them.
 */
#pragma once

#include "table/table_internal.h"

enum rule_kind { RULE_MATCH, RULE_IF, RULE_ENDIF };

struct rule {
	enum rule_kind kind;
	bool is_negated;
	unsigned line;
	size_t end;       /* of RULE_IF: the rule behind its endif */
	void *pattern;    /* the type's own */
	struct str value; /* of RULE_MATCH */
};

struct rule_set;
/*
 * Reads one rule into *r (kind, is_negated, pattern, value); `text` begins at the pattern, behind "if" if there was one,
 * with "!" still there. Reports what is wrong in `why` and returns false: the rule is skipped.
 */
typedef bool rule_parse_fn(void *type_arg, struct rule_set *set, struct rule *r, struct str text, struct buf *why);
struct rule_set {
	/* How the type reads a rule; set before rules_read(). */
	rule_parse_fn *parse;
	void *type_arg;
	struct rule *rules;
	size_t count;
	struct arena arena; /* texts of the rules */
};
/* 1 the rule holds (negation included), 0 not, <0 an error. */
typedef int rule_match_fn(void *type_arg, const struct rule *r);

/* `label` is "cidr map /etc/x" for messages. */
[[nodiscard]] int rules_read(struct rule_set *set, const struct table_type *type, struct str name, struct file_stamp *stamp,
                             struct buf *why);
/* The next rule at or behind *at whose pattern holds; *at moves behind it. 1, 0 at the end, <0 an error. */
[[nodiscard]] int rules_match(const struct rule_set *set, size_t *at, rule_match_fn *match, void *type_arg,
                              const struct rule **ret_rule);
void rules_done(struct rule_set *set);
