/* SPDX-License-Identifier: Apache-2.0 */
/* A TLS report (RFC 8460): outcomes of a day and a domain gathered, and what is sent of them. No I/O. */
#pragma once

#include <stdint.h>

#include "base/arena.h"
#include "base/base.h"
#include "base/buf.h"
#include "base/str.h"
#include "ipc/message.h"

struct tls_report;

/* From what tls_report_encode() wrote; a fresh one for "" and for what is none. */
[[nodiscard]] struct tls_report *tls_report_new(struct str text);
void tls_report_free(struct tls_report *r);
/* Counts one session, beyond the limit of failures without its details. Sessions under one policy too many do not count. */
void tls_report_add(struct tls_report *r, const struct message_tls_outcome *o);
/* For the store. */
void tls_report_encode(const struct tls_report *r, struct buf *to);

/* Who reports about whom, and when. */
struct tls_report_frame {
	struct str organization;
	struct str contact;
	struct str domain;    /* the report is about it */
	struct str submitter; /* our domain */
	struct str from;      /* of the mail */
	struct str id;
	uint64_t begins; /* seconds since 1970 */
	uint64_t ends;   /* the first second behind it */
};

/* The document of RFC 8460, 4.4, compressed (RFC 1952). -EMSGSIZE. */
[[nodiscard]] int tls_report_gzip(const struct tls_report *r, const struct tls_report_frame *f, struct buf *to);
/* The mail of RFC 8460, 5.3, with CRLF lines; `gzip` is what tls_report_gzip() made. */
void tls_report_mail(const struct tls_report_frame *f, struct str to, struct str gzip, struct buf *text);

/* Is a TXT record one that tells where reports go? */
bool tls_report_record_is_ours(struct str text);
/* The next "mailto:..." or "https://..." of such a record; start with *rest = the record. False at the end. */
bool tls_report_next_place(struct str *rest, struct str *ret_place);
