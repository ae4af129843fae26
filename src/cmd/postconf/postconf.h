/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of postconf share: its options, and how a setting is printed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/str.h"
#include "config/config.h"

enum postconf_object { OBJECT_MAIN, OBJECT_SERVICE, OBJECT_FIELD, OBJECT_SERVICE_PARAM }; /* -p -M -F -P */
enum postconf_action { ACTION_SHOW, ACTION_EDIT, ACTION_REMOVE, ACTION_COMMENT };         /*    -e -X -# */
enum postconf_class { CLASS_BUILTIN = 1, CLASS_SERVICE = 2, CLASS_USER = 4, CLASS_ALL = 7 };

enum { OVERRIDE_MAX = 1000 };

struct postconf {
	enum postconf_object object;
	enum postconf_action action;
	unsigned classes;   /* -C */
	bool is_default;    /* -d */
	bool is_set_only;   /* -n */
	bool is_expanded;   /* -x */
	bool is_folded;     /* -f */
	bool is_value_only; /* -h */
	bool is_name_only;  /* -H */
	bool is_json;       /* -j */
	bool is_quiet;      /* -q */
	bool is_dir_given;  /* -c or $MAIL_CONFIG */
	bool has_unset;     /* -PP */
	struct str dir;
	struct str overrides[OVERRIDE_MAX]; /* -o */
	size_t override_count;
	char **args;
	size_t arg_count;
};

/* Writes "postconf: warning: ..." or "postconf: fatal: ..." to stderr. The latter gives the exit status 1. */
void postconf_warn(const char *fmt, ...) PRINTF_LIKE(1, 2);
int postconf_fatal(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Tells the problems of a configuration; true if it cannot be shown. */
bool postconf_problems(const struct postconf *pc, const struct config *c);

/* postconf_print.c */
/* One setting, in the form that the options ask for. */
void postconf_print(const struct postconf *pc, struct str name, struct str value);
/* The line of a service, in columns; with is_folded an -o setting a line. */
void postconf_format_service(struct buf *to, const struct service *s, const struct view *expand_by, bool is_folded);
/* The command of a service: program and arguments. */
void postconf_format_command(struct buf *to, const struct service *s, const struct view *expand_by, bool is_folded);

/* Each gives an exit status. */
int postconf_show_main(const struct postconf *pc);
int postconf_show_services(const struct postconf *pc);
int postconf_edit(const struct postconf *pc);
int postconf_templates(const struct postconf *pc, const char *file, bool is_expanded);
