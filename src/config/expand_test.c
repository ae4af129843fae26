/* SPDX-License-Identifier: Apache-2.0 */
/* The expansion language. What it gives was observed at Postfix 3.7. */
#include "config/expand.h"

#include <errno.h>

#include "check.h"

/* A few names; "loop" fails as a view does when a value refers to itself. */
static int get(struct expand *e, struct str name, bool is_test, struct str *ret_value)
{
	static const struct {
		struct str name, value;
	} known[] = {
		{STR("one"), STR("1")}, {STR("empty"), STR("")}, {STR("word"), STR("hello world")}, {STR("level"), STR("3.6")}};

	if (str_eq(name, STR("loop"))) {
		e->why = "the value refers to itself";
		return -ELOOP;
	}
	for (size_t i = 0; i < COUNT_OF(known); i++)
		if (str_eq(known[i].name, name)) {
			*ret_value = known[i].value;
			return 0;
		}
	return -ENOENT;
}

static int expand(const char *text, struct buf *to)
{
	struct expand e = {.get = get};
	int err = expand_text(&e, str_of(text), to);

	CHECK_CASE(!err == !e.why, text);
	return err;
}

TEST(names_conditions_and_comparisons_expand)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"plain", "plain"},
		{"", ""},
		{"$$x", "$x"},
		{"${one}$(one)$one", "111"},
		{"${ one }", "1"},
		{"$onex|", "|"},
		{"$word-$one.$one", "hello world-1.1"},
		{"${one}}", "1}"},
		{"${one?yes}|${empty?yes}|${nope?yes}|", "yes|||"},
		{"${one:no}|${empty:no}|${nope:no}|", "|no|no|"},
		{"${one?{ a }:{ b }}|${empty?{ a }:{ b }}|", " a | b |"},
		{"${one ? {a} : {b}}|", "a|"},
		{"${empty?{a}:b c}|", "b c|"},
		{"${one?a:b}|${empty?a:b}|", "a:b||"},
		{"${empty:{ x }}|", " x |"},
		{"${one?$word}|${word?${one?deep}}|", "hello world|deep|"},
		{"$(one?$(word))|", "hello world|"},
		{"${one?{{a}}}", "{a}"},
		{"${one?}|${one?{}}|", "||"},
		{"${one?{a}:{b}}{c}", "a{c}"},
		{"${{1} == {1} ? {t} : {f}}", "t"},
		{"${{1} == {01} ? {t} : {f}}", "t"},
		{"${{99999999999999999999} > {3} ? {t} : {f}}", "t"},
		{"${{a} == {a}}|${{a} == {b}}|", "true||"},
		{"${{a} == {b} ? {t}}|${{a} == {b} : {f}}|", "|f|"},
		{"${{ a } == {a} ? {t} : {f}}", "f"},
		{"${{a}=={a}?{t}:{f}}", "t"},
		{"${{a} == {A} ? {t} : {f}}", "f"},
		{"${{3} < {10} ? {t} : {f}}${{3} <= {3} ? {t} : {f}}${{3} > {10} ? {t} : {f}}", "ttf"},
		{"${{3} >= {3} ? {t} : {f}}${{3} != {3} ? {t} : {f}}", "tf"},
		{"${{a3} < {a10} ? {t} : {f}}", "f"},
		{"${{$level} <level {3.10} ? {t} : {f}}${{3} <=level {3.0} ? {t} : {f}}", "tt"},
		{"${{3.6} ==level {3.6.0} ? {t} : {f}}${{2} >level {1} ? {t} : {f}}", "tt"},
		{"${{2} >=level {1} ? {t} : {f}}${{2} !=level {1} ? {t} : {f}}", "tt"},
		{"${{$one} == {1} ? {$word} : {f}}", "hello world"},
		{"${{$one} == {2} ? {$loop} : {f}}", "f"},
		{"${domain_to_ascii{Example.COM}}", "example.com"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct buf text = BUF_INIT(1000);

		CHECK_CASE(expand(cases[i].text, &text) == 0, cases[i].text);
		CHECK_STR(buf_str(&text), str_of(cases[i].want));
		buf_done(&text);
	}
}

TEST(wrong_expressions_are_refused_with_a_reason)
{
	static const char *const cases[] = {
		"a $ b",
		"foo$",
		"foo$-bar",
		"${one",
		"$(one",
		"${}",
		"$()",
		"${one?{a}x}",
		"${one?{a}:{b}c}",
		"${-}",
		"${one!x}",
		"${one-x}",
		"${{x} ~ {y} ? {t} : {f}}",
		"${{x} == y ? {t} : {f}}",
		"${{x} <level {3} ? {t} : {f}}",
		"${{3.x} <level {3}}",
		"${{3.1.2.3} <level {3}}",
		"${{a} == {a} ? {t} {f}}",
		"${nofunction{a}}",
		"$loop",
		"${{$loop} == {1}}",
		"${one?{a}",
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct buf text = BUF_INIT(1000);

		CHECK_CASE(expand(cases[i], &text) < 0, cases[i]);
		buf_done(&text);
	}
}

TEST(deep_nesting_is_refused_not_followed)
{
	struct buf text = BUF_INIT(1 << 20), out = BUF_INIT(1000);

	for (int i = 0; i < 1000; i++)
		buf_add(&text, STR("${one?{"));
	for (int i = 0; i < 1000; i++)
		buf_add(&text, STR("}}"));
	CHECK_INT(expand(buf_cstr(&text), &out), -ELOOP);
	buf_done(&text);
	buf_done(&out);
}

TEST(a_value_longer_than_the_buffer_is_an_error)
{
	struct buf out = BUF_INIT(10);

	CHECK_INT(expand("${word}", &out), -EMSGSIZE);
	buf_done(&out);
}

TEST(levels_compare_part_by_part)
{
	int order;

	CHECK_INT(expand_compare_levels(STR("3.10"), STR("3.6"), &order), 0);
	CHECK(order > 0);
	CHECK_INT(expand_compare_levels(STR("3"), STR("3.0.0"), &order), 0);
	CHECK_INT(order, 0);
	CHECK_INT(expand_compare_levels(STR("3."), STR("3"), &order), -EINVAL);
	CHECK_INT(expand_compare_levels(STR(""), STR("3"), &order), -EINVAL);
}
