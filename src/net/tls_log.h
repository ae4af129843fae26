/* SPDX-License-Identifier: Apache-2.0 */
/* What *_tls_loglevel asks for, and lines about a handshake as it goes on. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

enum tls_log_part {
	TLS_LOG_SUMMARY = 1,          /* one line for each handshake */
	TLS_LOG_UNTRUSTED = 2,        /* why a certificate is not trusted */
	TLS_LOG_PEERCERT = 4,         /* whose it is */
	TLS_LOG_CERTMATCH = 8,        /* each certificate of the chain, and names that are compared */
	TLS_LOG_VERBOSE = 16,         /* what is about to be done, and with which ciphers */
	TLS_LOG_CACHE = 32,           /* tickets */
	TLS_LOG_STATES = 64,          /* each step of the handshake */
	TLS_LOG_HANDSHAKE_DUMP = 128, /* the bytes on the wire until the handshake is done */
	TLS_LOG_SESSION_DUMP = 256,   /* and after it: what is encrypted stays so */
	TLS_LOG_TRACE = 512,          /* a file of its own for each session */
};

/*
 * "0" to "4", their names, or single parts, parted by commas or blanks. What is none of these is 0, and
 * *ret_is_good tells.
 */
unsigned tls_log_parse(struct str level, bool *ret_is_good);

/* Takes one line without its end. */
typedef void tls_log_fn(void *arg, const char *line);

/* Takes the trace of a whole session, when its TLS ends. */
typedef void tls_trace_fn(void *arg, struct str text);

/* For one stream; must stay as long as its TLS. */
struct tls_log {
	unsigned parts;  /* enum tls_log_part */
	struct str peer; /* "host[address]" */
	tls_log_fn *write;
	tls_trace_fn *take_trace;
	void *arg;
	size_t trace_limit; /* bytes of a trace; 0: none is made */
};
