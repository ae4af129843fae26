/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_log.h"

#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/base.h"
#include "net/net_internal.h"

enum {
	LINE_SIZE = 1000,
	DUMP_WIDTH = 16,
	DUMP_SIZE_MAX = 64 * 1024,
	LEVEL_1 = TLS_LOG_SUMMARY,
	LEVEL_2 = LEVEL_1 | TLS_LOG_UNTRUSTED | TLS_LOG_PEERCERT | TLS_LOG_CERTMATCH | TLS_LOG_VERBOSE | TLS_LOG_CACHE |
	          TLS_LOG_STATES,
	LEVEL_3 = LEVEL_2 | TLS_LOG_HANDSHAKE_DUMP,
	LEVEL_4 = LEVEL_3 | TLS_LOG_SESSION_DUMP,
};

static const struct {
	const char *name;
	unsigned parts;
} levels[] = {
	{"0", 0},
	{"none", 0},
	{"1", LEVEL_1},
	{"routine", LEVEL_1},
	{"2", LEVEL_2},
	{"debug", LEVEL_2},
	{"3", LEVEL_3},
	{"ssl-expert", LEVEL_3},
	{"4", LEVEL_4},
	{"ssl-developer", LEVEL_4},
	{"summary", TLS_LOG_SUMMARY},
	{"untrusted", TLS_LOG_UNTRUSTED},
	{"peercert", TLS_LOG_PEERCERT},
	{"certmatch", TLS_LOG_CERTMATCH},
	{"verbose", TLS_LOG_VERBOSE},
	{"cache", TLS_LOG_CACHE},
	{"dane", 0},
	{"ssl-debug", TLS_LOG_STATES},
	{"ssl-handshake-packet-dump", TLS_LOG_HANDSHAKE_DUMP},
	{"ssl-session-packet-dump", TLS_LOG_HANDSHAKE_DUMP | TLS_LOG_SESSION_DUMP},
	{"trace", TLS_LOG_TRACE},
};

unsigned tls_log_parse(struct str level, bool *ret_is_good)
{
	unsigned parts = 0;
	struct str word;

	*ret_is_good = true;
	while (str_next(&level, " \t\r\n,", &word)) {
		size_t at = 0;

		while (at < COUNT_OF(levels) && !str_eq_nocase(word, str_of(levels[at].name)))
			at++;
		if (at < COUNT_OF(levels))
			parts |= levels[at].parts;
		else
			*ret_is_good = false;
	}
	return *ret_is_good ? parts : 0;
}

/* The log of this connection when it wants this part, else NULL. */
static const struct tls_log *log_of(const SSL *ssl, unsigned part)
{
	const struct stream_tls *t = SSL_get_app_data(ssl);

	return t && t->log && t->log->parts & part ? t->log : NULL;
}

static void write_line(const struct tls_log *log, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void write_line(const struct tls_log *log, const char *fmt, ...)
{
	char line[LINE_SIZE];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	/* Names in certificates are a stranger's. */
	for (char *c = line; *c; c++)
		if (*c < ' ' && *c >= 0)
			*c = '?';
	log->write(log->arg, line);
}

/* As Postfix words what OpenSSL tells of a handshake's progress. */
static void on_progress(const SSL *ssl, int where, int value)
{
	const struct tls_log *log = log_of(ssl, TLS_LOG_STATES);
	const char *side = where & SSL_ST_CONNECT ? "SSL_connect" : where & SSL_ST_ACCEPT ? "SSL_accept" : "unknown";

	if (!log)
		return;
	if (where & SSL_CB_LOOP)
		write_line(log, "%s:%s", side, SSL_state_string_long(ssl));
	else if (where & SSL_CB_ALERT && (value & 0xff) != SSL_AD_CLOSE_NOTIFY)
		write_line(log, "SSL3 alert %s:%s:%s", where & SSL_CB_READ ? "read" : "write", SSL_alert_type_string_long(value),
		           SSL_alert_desc_string_long(value));
	else if (where & SSL_CB_EXIT && value == 0)
		write_line(log, "%s:failed in %s", side, SSL_state_string_long(ssl));
}

void tls_log_certificate(SSL *ssl, X509 *x, int depth, bool is_ok)
{
	const struct tls_log *log = log_of(ssl, TLS_LOG_CERTMATCH);
	char subject[LINE_SIZE / 2];

	if (log && x)
		write_line(log, "%.*s: depth=%d verify=%d subject=%s", STR_ARG(log->peer), depth, is_ok,
		           X509_NAME_oneline(X509_get_subject_name(x), subject, sizeof(subject)));
}

void tls_log_ticket(SSL *ssl, bool is_new)
{
	const struct tls_log *log = log_of(ssl, TLS_LOG_CACHE);

	if (log)
		write_line(log, "%.*s: %s session ticket", STR_ARG(log->peer), is_new ? "Issuing" : "Decrypting");
}

/* A trace under way: what OpenSSL writes to `bio` lands in `text`, as long as there is room. */
struct tls_trace {
	BIO *bio;
	struct buf text;
	size_t limit;
};

static int trace_write(BIO *bio, const char *bytes, int len)
{
	struct tls_trace *trace = BIO_get_data(bio);

	buf_add_bytes(&trace->text, bytes, size_min((size_t)len, trace->limit - trace->text.len));
	return len;
}

static int trace_puts(BIO *bio, const char *text)
{
	return trace_write(bio, text, (int)strlen(text));
}

/* It is flushed at times; an error here would count as one of the connection. */
static long trace_control(BIO *bio, int command, long number, void *ptr)
{
	return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *trace_method(void)
{
	static BIO_METHOD *method;

	if (method)
		return method;
	method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "trace");
	if (!method || !BIO_meth_set_write(method, trace_write) || !BIO_meth_set_puts(method, trace_puts) ||
	    !BIO_meth_set_ctrl(method, trace_control))
		die("out of memory for TLS");
	return method;
}

/* OpenSSL tells the messages of the handshake and the heads of records; what is said inside TLS it does not tell. */
static void begin_trace(SSL *ssl)
{
	struct stream_tls *t = SSL_get_app_data(ssl);

	if (!log_of(ssl, TLS_LOG_TRACE) || !t->log->trace_limit)
		return;
	t->trace = mem_alloc(sizeof(*t->trace));
	t->trace->limit = t->log->trace_limit;
	t->trace->text = BUF_INIT(t->trace->limit);
	t->trace->bio = BIO_new(trace_method());
	if (!t->trace->bio)
		die("out of memory for TLS");
	BIO_set_data(t->trace->bio, t->trace);
	BIO_set_init(t->trace->bio, 1);
	SSL_set_msg_callback(ssl, SSL_trace);
	SSL_set_msg_callback_arg(ssl, t->trace->bio);
}

void tls_log_end(struct stream_tls *t)
{
	if (!t->trace)
		return;
	t->log->take_trace(t->log->arg, buf_str(&t->trace->text));
	BIO_free(t->trace->bio);
	buf_done(&t->trace->text);
	free(t->trace);
	t->trace = NULL;
}

void tls_log_begin(SSL *ssl, bool is_server)
{
	const struct tls_log *log = log_of(ssl, TLS_LOG_VERBOSE);
	struct buf list = BUF_INIT(4 * LINE_SIZE);
	const char *name;

	if (log) {
		write_line(log, "setting up TLS connection %s %.*s", is_server ? "from" : "to", STR_ARG(log->peer));
		for (int i = 0; (name = SSL_get_cipher_list(ssl, i)); i++)
			buf_addf(&list, "%s%s", i ? ":" : "", name);
		write_line(log, "%.*s: TLS cipher list \"%s\"", STR_ARG(log->peer), buf_cstr(&list));
	}
	buf_done(&list);
	if (log_of(ssl, TLS_LOG_STATES))
		SSL_set_info_callback(ssl, on_progress);
	begin_trace(ssl);
}

/* "0010 03 12 5a 12 ef 4e 98 3c|06 46 d7 93 31 19 93 64  ..Z..N.< .F..1..d" */
static void dump_line(const struct tls_log *log, size_t at, const unsigned char *bytes, size_t len)
{
	char hex[3 * DUMP_WIDTH + 1], text[DUMP_WIDTH + 2];
	size_t text_len = 0;

	memset(hex, ' ', sizeof(hex));
	for (size_t i = 0; i < len; i++) {
		char pair[3];

		snprintf(pair, sizeof(pair), "%02x", bytes[i]);
		memcpy(hex + 3 * i, pair, 2);
		if (i == DUMP_WIDTH / 2 - 1 && len > DUMP_WIDTH / 2)
			hex[3 * i + 2] = '|';
		if (i == DUMP_WIDTH / 2)
			text[text_len++] = ' ';
		text[text_len++] = (char)(bytes[i] < ' ' || bytes[i] > '~' ? '.' : bytes[i]);
	}
	hex[sizeof(hex) - 1] = '\0';
	write_line(log, "%04zx %s %.*s", at, hex, (int)text_len, text);
}

void tls_log_bytes(const struct stream_tls *t, bool is_write, const void *ptr, size_t asked, ssize_t got)
{
	const struct tls_log *log = t->log;
	size_t len = got > 0 ? size_min((size_t)got, DUMP_SIZE_MAX) : 0, shown = len;
	const unsigned char *bytes = ptr;

	if (!log || !(log->parts & (t->is_up ? TLS_LOG_SESSION_DUMP : TLS_LOG_HANDSHAKE_DUMP)))
		return;
	write_line(log, "%s %.*s (%zu bytes => %zd)", is_write ? "write to" : "read from", STR_ARG(log->peer), asked,
	           got < 0 ? -1 : got);
	while (shown && (bytes[shown - 1] == ' ' || bytes[shown - 1] == '\0'))
		shown--;
	for (size_t at = 0; at < shown; at += DUMP_WIDTH)
		dump_line(log, at, bytes + at, size_min(shown - at, DUMP_WIDTH));
	if (shown < len)
		write_line(log, "%04zx - <SPACES/NULLS>", shown);
}
