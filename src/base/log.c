/* SPDX-License-Identifier: Apache-2.0 */
/* The log: one line an event, gathered for files, sent singly to syslog. */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/utf8.h"

enum { LINE_MAX_SIZE = 2048, GATHER_SIZE = 65536 };

static struct {
	enum log_sink sink;
	enum log_level least;
	int fd;
	int syslog_fd;
	int facility;
	bool has_stderr;
	char *host;
	char *tag;
	time_t stamp_at;
	char stamp[32];
	struct buf gathered;
} the_log = {.sink = LOG_SINK_NONE,
             .least = LOG_LEVEL_INFO,
             .fd = -1,
             .syslog_fd = -1,
             .facility = LOG_MAIL,
             .gathered = {.max = GATHER_SIZE}};

static const char *const level_words[] = {"", "", "warning: ", "error: ", "fatal: ", "panic: "};
static const int level_priorities[] = {LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERR, LOG_CRIT, LOG_CRIT};

void log_set_tag(struct str tag)
{
	free(the_log.tag);
	the_log.tag = str_cstr(tag);
}

void log_set_facility(struct str name)
{
	static const struct {
		const char *name;
		int facility;
	} all[] = {
		{"auth", LOG_AUTH},     {"authpriv", LOG_AUTHPRIV}, {"cron", LOG_CRON},     {"daemon", LOG_DAEMON},
		{"ftp", LOG_FTP},       {"kern", LOG_KERN},         {"lpr", LOG_LPR},       {"mail", LOG_MAIL},
		{"news", LOG_NEWS},     {"syslog", LOG_SYSLOG},     {"user", LOG_USER},     {"uucp", LOG_UUCP},
		{"local0", LOG_LOCAL0}, {"local1", LOG_LOCAL1},     {"local2", LOG_LOCAL2}, {"local3", LOG_LOCAL3},
		{"local4", LOG_LOCAL4}, {"local5", LOG_LOCAL5},     {"local6", LOG_LOCAL6}, {"local7", LOG_LOCAL7},
	};

	for (size_t i = 0; i < COUNT_OF(all); i++)
		if (str_eq(name, str_of(all[i].name)))
			the_log.facility = all[i].facility;
}

struct str log_tag(void)
{
	return the_log.tag ? str_of(the_log.tag) : STR("postfix");
}

void log_open(enum log_sink sink, int fd)
{
	char host[256] = "";

	log_flush();
	the_log.sink = sink;
	the_log.fd = fd;
	if (gethostname(host, sizeof(host) - 1))
		host[0] = 0;
	free(the_log.host);
	the_log.host = str_cstr(str_cut(str_of(host), 0, str_find(str_of(host), '.')));
}

void log_set_level(enum log_level least)
{
	the_log.least = least;
}

void log_to_stderr(bool is_on)
{
	the_log.has_stderr = is_on;
}

static pid_t own_pid;

static void forget_pid(void)
{
	own_pid = 0;
}

/* Without a system call for each line; a forked child asks anew. */
static int log_pid(void)
{
	static bool is_watched;

	if (!own_pid) {
		own_pid = getpid();
		if (!is_watched)
			pthread_atfork(NULL, NULL, forget_pid);
		is_watched = true;
	}
	return (int)own_pid;
}

static const char *time_stamp(void)
{
	time_t now = time(NULL);
	struct tm tm;

	if (now != the_log.stamp_at) {
		localtime_r(&now, &tm);
		strftime(the_log.stamp, sizeof the_log.stamp, "%b %e %H:%M:%S", &tm);
		the_log.stamp_at = now;
	}
	return the_log.stamp;
}

static int syslog_connect(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void syslog_line(struct str tag, enum log_level level, struct str text)
{
	char line[LINE_MAX_SIZE + 128];
	int len = snprintf(line, sizeof line, "<%d>%s %.*s[%d]: %s%.*s", the_log.facility | level_priorities[level], time_stamp(),
	                   STR_ARG(tag), log_pid(), level_words[level], STR_ARG(text));
	size_t size = size_min((size_t)len, sizeof line - 1);

	for (int try = 0; try < 2; try++) {
		if (the_log.syslog_fd < 0)
			the_log.syslog_fd = syslog_connect();
		if (the_log.syslog_fd >= 0 && send(the_log.syslog_fd, line, size, MSG_NOSIGNAL) >= 0)
			return;
		if (the_log.syslog_fd >= 0)
			close(the_log.syslog_fd);
		the_log.syslog_fd = -1;
	}
}

static void gather_line(struct str tag, enum log_level level, struct str text)
{
	if (GATHER_SIZE - the_log.gathered.len < LINE_MAX_SIZE + 512)
		log_flush();
	/* By hand: this is run several times for each message. */
	buf_add(&the_log.gathered, str_of(time_stamp()));
	buf_add_char(&the_log.gathered, ' ');
	buf_add(&the_log.gathered, the_log.host ? str_of(the_log.host) : STR("localhost"));
	buf_add_char(&the_log.gathered, ' ');
	buf_add(&the_log.gathered, tag);
	buf_addf(&the_log.gathered, "[%d]: ", log_pid());
	buf_add(&the_log.gathered, str_of(level_words[level]));
	buf_add(&the_log.gathered, text);
	buf_add_char(&the_log.gathered, '\n');
	if (level >= LOG_LEVEL_WARN)
		log_flush();
}

void log_vtagged(struct str tag, enum log_level level, const char *fmt, va_list args)
{
	static struct buf text = BUF_INIT(1 << 20);
	struct str shown;

	if (level < the_log.least)
		return;
	buf_reset(&text);
	buf_vaddf(&text, fmt, args);
	shown = str_cut(buf_str(&text), 0, LINE_MAX_SIZE);
	/* Text from strangers stands in lines: nothing unprintable leaves here. */
	text_neutralize(text.ptr, shown.len, "");
	if (str_is_empty(tag))
		tag = log_tag();
	if (the_log.has_stderr)
		fprintf(stderr, "%.*s: %s%.*s\n", STR_ARG(tag), level_words[level], STR_ARG(shown));
	if (the_log.sink == LOG_SINK_SYSLOG)
		syslog_line(tag, level, shown);
	else if (the_log.sink == LOG_SINK_FD)
		gather_line(tag, level, shown);
	if (text.size > 4 * LINE_MAX_SIZE)
		buf_done(&text);
}

size_t log_gathered(void)
{
	return the_log.gathered.len;
}

void log_flush(void)
{
	struct str rest = buf_str(&the_log.gathered);

	while (rest.len && the_log.fd >= 0) {
		ssize_t count = write(the_log.fd, rest.ptr, rest.len);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			break;
		rest = str_from(rest, (size_t)count);
	}
	buf_reset(&the_log.gathered);
}

#define LOG_AT(level) \
	do { \
		va_list args; \
		va_start(args, fmt); \
		log_vtagged((struct str){0}, level, fmt, args); \
		va_end(args); \
	} while (0)

void log_debug(const char *fmt, ...)
{
	LOG_AT(LOG_LEVEL_DEBUG);
}

void log_info(const char *fmt, ...)
{
	LOG_AT(LOG_LEVEL_INFO);
}

void log_warn(const char *fmt, ...)
{
	LOG_AT(LOG_LEVEL_WARN);
}

void log_error(const char *fmt, ...)
{
	LOG_AT(LOG_LEVEL_ERROR);
}

void log_fatal(const char *fmt, ...)
{
	LOG_AT(LOG_LEVEL_FATAL);
}

void log_tagged(struct str tag, enum log_level level, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	log_vtagged(tag, level, fmt, args);
	va_end(args);
}
