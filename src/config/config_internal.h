/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share about struct config and its views. */
#pragma once

#include "base/arena.h"
#include "base/map.h"
#include "config/config.h"
#include "config/expand.h"
#include "config/machine.h"
#include "config/param.h"

/* One setting as written. */
struct entry {
	struct str name;
	struct str value;
	struct origin origin;
};

struct entry_list {
	struct entry *items;
	size_t count;
	size_t size;
};

/* A value on its way from the text to its expanded form. */
struct value {
	struct str raw;
	struct str text; /* expanded; valid when is_ready */
	struct origin origin;
	const char *why; /* the expansion failed */
	bool is_set;     /* in main.cf or by -o, not a default */
	bool is_busy;    /* being expanded: asking for it again is a loop */
	bool is_ready;
};

/* A view with what it is made of. */
struct view_data {
	struct view view; /* first: callers hold a pointer to this */
	struct config *config;
	struct value *declared;  /* by place in param_table */
	struct map user_defined; /* name -> struct value */
	struct params *params;
	unsigned depth;
};

struct config {
	struct arena arena;
	struct str dir;
	struct machine machine;
	struct str origin_file;    /* "myorigin = /etc/mailname": the file whose first line is the domain, */
	struct str origin_name;    /* and that line */
	bool is_default;           /* main.cf was left out on purpose */
	bool is_for_showing;       /* values stay as written */
	bool may_ask_system;       /* for the addresses of names: only where the configuration is read from files */
	struct entry_list entries; /* main.cf and -o of the command line, the last of two names only */
	struct map by_name;        /* name -> 1 + its place in entries */
	struct map used_names;     /* that stand behind a $ or are restriction classes */
	struct map used_tables;    /* whose settings may stand in main.cf */
	struct service *services;
	size_t service_count;
	struct entry_list *overrides; /* a list for each service */
	struct config_problem *problems;
	size_t problem_count;
	size_t problem_size;
	size_t error_count;
	struct view_data *main_view;
	struct view_data **service_views; /* NULL: not made yet */
};

void config_error(struct config *c, struct origin origin, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* An error that leaves unclear what else a file says. */
void config_syntax(struct config *c, struct origin origin, const char *fmt, ...) PRINTF_LIKE(3, 4);
void config_warn(struct config *c, struct origin origin, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* A setting of main.cf; warns when it replaces another value. */
void config_set(struct config *c, struct str name, struct str value, struct origin origin);
void entry_list_add(struct entry_list *list, struct arena *a, struct entry entry);
/* Makes the view of main.cf; errors in values become problems. */
void config_compile(struct config *c);
/* Makes those of all services at once, as checking a configuration needs. */
void config_compile_services(struct config *c);

/* config.c: all bytes of a file, in the arena. */
[[nodiscard]] int config_read_file(struct config *c, const char *path, struct str *ret_bytes);
/* names.c: collects the names that are used. */
void config_note_names(struct config *c);
/* Calls `fn` for each name that stands behind a dollar sign in `text`. */
typedef void name_fn(void *context, struct str name);
void names_each_reference(struct str text, name_fn *fn, void *context);
/* check.c: notes what is worth telling about a compiled configuration; with_advice also what is only good to know. */
void config_check(struct config *c, bool with_advice);
/* view.c */
struct view_data *view_new(struct config *c, const struct service *s, const struct entry_list *overrides);
void view_done(struct view_data *v);
