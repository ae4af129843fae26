/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The texts of delivery status reports: built in, or from $bounce_template_file, which holds
 *
 *	failure_template = <<END
 *	Subject: value
 *
 *	text with $name in it
 *	END
 *
 * and the same for delay, success and verify. Headers are Charset, From, Subject and Postmaster-Subject: one line of ASCII each,
 * not expanded. What the file leaves out, a template or a header, is as built in.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "mail/dsn_report.h"

struct view;

/* Lines end with LF. */
struct bounce_template {
	struct str name;   /* "failure" */
	struct str source; /* headers, empty line and text */
	struct str charset, from, subject, postmaster_subject;
	struct str text; /* not expanded */
};

/* One a kind of report; strings lie in `arena`, or are constants. */
struct bounce_templates {
	struct arena arena;
	struct bounce_template of[REPORT_KIND_COUNT];
};

void bounce_templates_init(struct bounce_templates *t);
/* -EINVAL with "FILE:LINE: what is wrong" in `why`, or why the file cannot be read; then some templates may be the file's
 * already. */
[[nodiscard]] int bounce_templates_read(struct bounce_templates *t, struct str path, struct buf *why);
[[nodiscard]] int bounce_templates_parse(struct bounce_templates *t, struct str path, struct str bytes, struct buf *why);
void bounce_templates_done(struct bounce_templates *t);
/*
 * Appends the text with values of the view in place of names: parameters, and
 * delay_warning_time_hours and its like (also maximal_queue_lifetime; seconds, minutes, hours, days, weeks).
 */
[[nodiscard]] int bounce_template_expand(const struct bounce_template *t, const struct view *v, struct buf *to, struct buf *why);
