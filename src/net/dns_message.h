/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of the DNS (RFC 1035, 4.1): a question as bytes, and an answer from bytes. For asking a trusted resolver ourselves. */
#pragma once

#include "net/dns.h"

enum { DNS_QUESTION_MAX = 300 };

/* A question with EDNS that wants to know about DNSSEC (AD, RFC 6840, 5.7); returns its size, 0 for what is no name. */
size_t dns_question_make(struct str name, enum dns_type type, uint16_t id, char to[static DNS_QUESTION_MAX]);

/*
 * The answer to that question; CNAMEs are followed. -EBADMSG for anything that is none, -EMSGSIZE when it was cut off and is to
 * be asked for again over TCP. Failures of the resolver are a status.
 */
[[nodiscard]] int dns_answer_read(struct str message, struct str name, enum dns_type type, uint16_t id, struct arena *a,
                                  struct dns_answer *ret_answer);
