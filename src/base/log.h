/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log. Lines have the shape that operators know,
 *
 *	Nov 21 10:00:00 host postfix/smtpd[123]: warning: text
 *
 * and go to syslog (the default), to a descriptor that someone opened for us, or to
 * standard output. Lines for a descriptor are gathered and written together by
 * log_flush(), which a role calls before others can act on what it did, and every few
 * milliseconds; warnings and worse go out at once. Only roles and commands log; libraries return errors.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>

#include "base/base.h"
#include "base/str.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR, LOG_LEVEL_FATAL, LOG_LEVEL_PANIC };

enum log_sink { LOG_SINK_SYSLOG, LOG_SINK_FD, LOG_SINK_NONE };

/* The part before "[pid]", such as "postfix/smtpd"; copied. */
void log_set_tag(struct str tag);
struct str log_tag(void);
/* By its name in syslog.conf ("mail", which it is before the first call, "local0"); another name changes nothing. */
void log_set_facility(struct str name);
/* `fd` must be open for appending; it stays the caller's. Lines for it name this host, up to the first dot of its name. */
void log_open(enum log_sink sink, int fd);
void log_set_level(enum log_level least);
/* Every line also goes to stderr, as commands do for a person who watches. */
void log_to_stderr(bool is_on);

void log_debug(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_info(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_warn(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_error(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* The line is logged; ending the process is the caller's part. */
void log_fatal(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* With another tag for this line alone, as a service whose syslog_name differs needs; empty means the usual tag. */
void log_tagged(struct str tag, enum log_level level, const char *fmt, ...) PRINTF_LIKE(3, 4);
void log_vtagged(struct str tag, enum log_level level, const char *fmt, va_list args) PRINTF_LIKE(3, 0);

/* Bytes that log_flush() would write. */
size_t log_gathered(void);
void log_flush(void);
