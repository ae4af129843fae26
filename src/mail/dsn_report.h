/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Delivery status reports: the text of a bounce, a delay warning or a success report.
 * RFC 3464 (delivery-status), RFC 6522 (multipart/report), RFC 6533 (with UTF-8 addresses).
 *
 *	header     Date, From, Subject, To ...
 *	part 1     for people: what happened, one paragraph a recipient
 *	part 2     message/delivery-status: for programs
 *	part 3     the original message, or only its header
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"

enum report_kind { REPORT_FAILURE, REPORT_DELAY, REPORT_SUCCESS, REPORT_VERIFY, REPORT_KIND_COUNT };

/* One recipient of a report. Addresses in internal form. */
struct report_recipient {
	struct str address;
	struct str original;   /* before aliases; empty when the same */
	struct str orcpt;      /* "type;address", or empty */
	struct str action;     /* failed delayed delivered relayed expanded deliverable undeliverable */
	struct str dsn;        /* "5.1.1" */
	struct str text;       /* why, for people */
	struct str mta;        /* the host that answered, or empty */
	struct str diagnostic; /* its reply, or empty */
};

struct report {
	enum report_kind kind;
	bool is_postmaster_copy; /* without `text`, and with the header of the original only */
	bool is_utf8;            /* the original came with SMTPUTF8 */
	bool is_threaded;        /* with References and In-Reply-To */
	struct str from;         /* the header; an address without domain is at `origin` */
	struct str subject;
	struct str charset;   /* of `text` */
	struct str text;      /* for people, before what is said of the recipients; lines end with LF */
	struct str hostname;  /* $myhostname */
	struct str origin;    /* $myorigin */
	struct str mail_name; /* for X-NAME-Queue-ID */
	struct str to;        /* who gets the report */
	struct str queue_id;  /* of the original */
	struct str sender;    /* of the original */
	struct str envid;
	struct str message_id;    /* of the original, with brackets; may be empty */
	struct wall_time arrival; /* of the original */
	struct wall_time now;
	struct wall_time retry_until; /* delay reports */
	const struct report_recipient *recipients;
	size_t recipient_count;
	struct str content;  /* of the original, CRLF lines; may end early when only its header is wanted */
	bool is_header_only; /* RET=HDRS, or the original is larger than $bounce_size_limit */
};

/* Appends the report with CRLF lines. */
void report_format(struct buf *to, const struct report *r);
/* Does the report hold bytes above 127? Then it needs 8BITMIME. */
bool report_is_8bit(const struct report *r);
/* The header of a message, with the empty line that ends it left out. */
struct str content_header(struct str content);
