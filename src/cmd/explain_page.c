/* SPDX-License-Identifier: Apache-2.0 */
/* The page that `postrider explain` prints. Colours only for a terminal. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/explain.h"

enum { STEPS_MAX = 2000, RULE_WIDTH_MAX = 46, PLACE_WIDTH_MAX = 24 };

struct explain_page {
	struct arena *arena;
	bool has_colours;
	bool is_quiet; /* the stage at hand has shown nothing but its command */
	struct policy_step steps[STEPS_MAX];
	size_t step_count;
};

enum colour { PLAIN, BOLD, DIM, GREEN, RED, YELLOW };

static const char *colour(const struct explain_page *page, enum colour c)
{
	static const char *const codes[] = {"\033[0m", "\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[33m"};

	return page->has_colours ? codes[c] : "";
}

/* A class comes after the rules inside it, and is shown before them. */
static void take_step(void *arg, const struct policy_step *step)
{
	struct explain_page *page = arg;
	size_t at = page->step_count;

	if (at == STEPS_MAX)
		return;
	while (at > 0 && page->steps[at - 1].depth > step->depth && page->steps[at - 1].list == step->list) {
		page->steps[at] = page->steps[at - 1];
		at--;
	}
	page->steps[at] = *step;
	page->steps[at].rule = arena_str(page->arena, step->rule);
	page->steps[at].file = arena_str(page->arena, step->file);
	page->steps[at].answer = arena_str(page->arena, step->answer);
	page->steps[at].reason = arena_str(page->arena, step->reason);
	page->step_count++;
}

struct explain_page *explain_page_new(struct policy *p, struct arena *a)
{
	struct explain_page *page = arena_alloc(a, sizeof(*page));

	page->arena = a;
	page->has_colours = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
	policy_set_record(p, take_step, page);
	return page;
}

void explain_fact(struct explain_page *page, const char *name, const char *fmt, ...)
{
	va_list args;

	printf("  %s%-9s%s", colour(page, BOLD), name, colour(page, PLAIN));
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
}

/* "main.cf:12" of the configuration's own files, "default" for what nobody wrote. */
static struct str place_of(struct explain_page *page, const struct policy_step *step)
{
	size_t slash = str_find_last(step->file, '/');
	struct str file = slash < step->file.len ? str_from(step->file, slash + 1) : step->file;

	return str_is_empty(file) ? STR("default") : arena_printf(page->arena, "%.*s:%u", STR_ARG(file), step->line);
}

static enum colour colour_of(struct str answer)
{
	if (str_starts(answer, STR("reject")))
		return RED;
	if (str_starts(answer, STR("permit")))
		return GREEN;
	return str_eq(answer, STR("dunno")) ? DIM : YELLOW;
}

struct widths {
	size_t place, rule;
};

static struct widths measure(struct explain_page *page)
{
	struct widths w = {0};

	for (size_t i = 0; i < page->step_count; i++) {
		const struct policy_step *step = &page->steps[i];

		w.place = size_max(w.place, size_min(place_of(page, step).len, PLACE_WIDTH_MAX));
		w.rule = size_max(w.rule, size_min(step->rule.len + 2 * step->depth, RULE_WIDTH_MAX));
	}
	return w;
}

static void print_step(struct explain_page *page, const struct policy_step *step, struct widths w)
{
	size_t used = step->rule.len + 2 * step->depth;
	struct str place = place_of(page, step);
	/* The reply stands below the rules in full. */
	struct str answer = str_starts(step->answer, STR("reject")) ? STR("reject") : step->answer;

	printf("    %s%-*.*s%s  %*s%.*s", colour(page, DIM), (int)w.place, STR_ARG(place), colour(page, PLAIN),
	       (int)(2 * step->depth), "", STR_ARG(step->rule));
	/* A long rule gets a line of its own. */
	if (used > w.rule)
		printf("\n    %*s", (int)(w.place + 2 + w.rule), "");
	else
		printf("%*s", (int)(w.rule - used), "");
	printf("  %s%.*s%s", colour(page, colour_of(step->answer)), STR_ARG(answer), colour(page, PLAIN));
	if (!str_is_empty(step->reason))
		printf("%*s  %.*s", answer.len < 7 ? (int)(7 - answer.len) : 0, "", STR_ARG(step->reason));
	putchar('\n');
}

void explain_stage(struct explain_page *page, const char *command)
{
	struct widths w = measure(page);

	page->is_quiet = page->step_count == 0;
	printf("\n%s%s%s%s", colour(page, BOLD), command, colour(page, PLAIN), page->is_quiet ? "" : "\n");
	for (size_t i = 0; i < page->step_count; i++) {
		const struct policy_step *step = &page->steps[i];

		if (i == 0 || page->steps[i - 1].list != step->list)
			printf("  %s\n", policy_list_parameter(step->list));
		print_step(page, step, w);
	}
	page->step_count = 0;
}

void explain_note(struct explain_page *page, const struct policy_note *note)
{
	const char *kind = note->kind == NOTE_WARNING ? "warning" : "log";

	if (page->is_quiet)
		putchar('\n');
	page->is_quiet = false;
	printf("  %s%s:%s %.*s%s%.*s\n", colour(page, YELLOW), kind, colour(page, PLAIN), STR_ARG(note->word),
	       str_is_empty(note->word) ? "" : ": ", STR_ARG(note->text));
}

void explain_reply(struct explain_page *page, const struct reply *reply)
{
	struct buf line = BUF_INIT(2048);

	if (!reply->code) {
		printf("  %s-> accepted%s\n", colour(page, GREEN), colour(page, PLAIN));
		return;
	}
	buf_addf(&line, "%d ", reply->code);
	dsn_code_format(&line, reply->dsn);
	printf("  %s-> %s %.*s%s%s\n", colour(page, reply->code >= 500 ? RED : YELLOW), buf_cstr(&line), STR_ARG(reply->text),
	       colour(page, PLAIN), reply->is_final ? "  (and the connection ends)" : "");
	buf_done(&line);
}

void explain_actions(struct explain_page *page, const struct policy_action *act)
{
	if (act->is_held || act->is_discarded || act->filter.len || act->redirect.len || act->prepend_count || act->bcc_count)
		printf("\n%sThe message%s\n", colour(page, BOLD), colour(page, PLAIN));
	if (act->is_held)
		explain_fact(page, "hold", "it waits in the hold queue until `postsuper -H`");
	if (act->is_discarded)
		explain_fact(page, "discard", "it is thrown away");
	if (act->filter.len)
		explain_fact(page, "filter", "%.*s", STR_ARG(act->filter));
	if (act->redirect.len)
		explain_fact(page, "redirect", "all recipients become %.*s", STR_ARG(act->redirect));
	for (size_t i = 0; i < act->prepend_count; i++)
		explain_fact(page, i ? "" : "prepend", "%.*s", STR_ARG(act->prepends[i]));
	for (size_t i = 0; i < act->bcc_count; i++)
		explain_fact(page, i ? "" : "bcc", "%.*s", STR_ARG(act->bccs[i]));
}
