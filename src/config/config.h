/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A configuration: main.cf and master.cf as read, and the views that services have of it.
 *
 * config_load() reads and checks everything a person wrote; problems are collected with
 * file and line, so that one run shows all of them. A config is immutable afterwards.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

struct config;
struct params; /* generated, config/params.h: one typed field a parameter */

/* Where a person wrote something. `file` is empty for defaults and -o on a command line. */
struct origin {
	struct str file;
	unsigned line;
	/* Of a value that goes on in further lines: where they start in it. Not known behind a snapshot. */
	const struct line_start *starts;
	size_t start_count;
};
struct line_start {
	size_t at;
	unsigned line;
};
/*
 * Where a word of the value `raw` (view_get_raw()) stands. Looks from *at on and moves it behind the word. A word that is not
 * there comes from the next $name, and stands where that does.
 */
struct origin origin_of_word(struct origin value, struct str raw, struct str word, size_t *at);

/* One thing to tell the operator. `is_error` ones refuse the configuration. */
struct config_problem {
	bool is_error;
	bool is_syntax; /* the file could not be read, or a line of it makes no sense */
	struct origin origin;
	struct str text; /* what is wrong and what to write instead */
};

/* A service of master.cf, after continuation lines and "last one wins". */
struct service {
	struct str name; /* "submission", "127.0.0.1:10025", "smtp" */
	struct str type; /* inet unix unix-dgram fifo pass */
	bool is_private;
	bool is_unprivileged;
	bool has_chroot;
	struct str wakeup;
	bool has_process_limit; /* false: "-", and the limit below is that of default_process_limit */
	unsigned process_limit; /* 0 = unlimited */
	struct str program;     /* "smtpd" */
	struct str fields[8];   /* the fields as written, name to program */
	struct str *args;       /* all arguments, braces taken off */
	size_t arg_count;
	struct origin origin;
	size_t index; /* its place in config_service() */
};

/* What a service sees: main.cf and its own -o overrides, expanded, typed, range-checked. */
struct view {
	const struct config *config;
	const struct service *service; /* NULL for the view of main.cf alone */
	const struct params *params;   /* typed values: view->params->smtpd_timeout */
};

/*
 * Reads DIR/main.cf and DIR/master.cf. Always returns a config; config_has_errors() tells
 * whether it may be used for more than showing. `overrides` are "name=value" of a command line.
 */
[[nodiscard]] struct config *config_load(struct str dir, const struct str *overrides, size_t override_count);
/* The same for tools that show or edit a configuration. */
enum config_load_flag {
	CONFIG_WITHOUT_MAIN = 1,   /* as if main.cf were empty: the defaults */
	CONFIG_WITHOUT_ADVICE = 2, /* no problems but those that make values unclear; myorigin = /file stays so */
};
[[nodiscard]] struct config *config_load_with(struct str dir, const struct str *overrides, size_t override_count, unsigned flags);
/* From a snapshot that config_snapshot() wrote: how roles get the very same configuration as master. */
[[nodiscard]] int config_from_snapshot(struct str bytes, struct config **ret_config);
void config_snapshot(const struct config *c, struct buf *to);
void config_free(struct config *c);

bool config_has_errors(const struct config *c);
size_t config_problem_count(const struct config *c);
const struct config_problem *config_problem(const struct config *c, size_t at);
/* "main.cf:12: ..." as one line for people. */
void config_problem_format(struct buf *to, const struct config_problem *p);
struct str config_dir(const struct config *c);

size_t config_service_count(const struct config *c);
const struct service *config_service(const struct config *c, size_t at);
/* By name and type ("smtp", "unix"); NULL if there is none. */
const struct service *config_find_service(const struct config *c, struct str name, struct str type);

/* Does this value of inet_protocols allow the protocol, "ipv4" or "ipv6"? */
bool config_allows_protocol(struct str inet_protocols, struct str protocol);

/* A service as one line of master.cf says it, in the arena's memory. -EINVAL with what is wrong. */
[[nodiscard]] int service_parse(struct str line, struct arena *a, struct service *ret, struct buf *why);

/* The names that main.cf sets, in the order of the file; false behind the last. */
bool config_setting(const struct config *c, size_t at, struct str *ret_name);
/* The names that a service sets with -o; one may come twice. */
size_t config_override_count(const struct config *c, const struct service *s);
struct str config_override_name(const struct config *c, const struct service *s, size_t at);

/*
 * The view of main.cf alone, and that of a service. They live as long as the config. That of a
 * service is made at the first call; helper threads get the view from whoever made it.
 */
const struct view *config_main_view(const struct config *c);
const struct view *config_service_view(const struct config *c, const struct service *s);

/* The expanded value of any name, declared or user-defined; empty if unknown. In the config's memory. */
struct str view_get(const struct view *v, struct str name);
/* The unexpanded text as written or as the default says. */
struct str view_get_raw(const struct view *v, struct str name);
/* Is it set in main.cf or by the service's -o? */
bool view_is_set(const struct view *v, struct str name);
/* Where it was set. */
struct origin view_origin(const struct view *v, struct str name);
/* Expands $name, ${name?a:b} ... in any text with this view's values, into `to`. -ELOOP, -EINVAL with *why. */
[[nodiscard]] int view_expand(const struct view *v, struct str text, struct buf *to, const char **why);
/*
 * A parameter that exists once a transport, such as smtp_destination_concurrency_limit: the value
 * of TRANSPORT_suffix when set, else that of the default it has. The suffix begins behind the
 * underscore: "destination_concurrency_limit". Times come as seconds. 0 for a suffix that is none.
 */
int64_t view_transport_int(const struct view *v, struct str transport, struct str suffix);
/* The same as text, for those that are no numbers ("destination_concurrency_positive_feedback"). */
struct str view_transport_text(const struct view *v, struct str transport, struct str suffix);
