/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MTA-STS policies (RFC 8461): found, fetched, remembered. A policy in the store holds until its
 * max_age ends, whatever becomes of the DNS record and the web server; a new id in DNS makes us fetch
 * again, and so does half of the age, or a day.
 */
#pragma once

#include "config/config.h"
#include "role/lookup/lookup.h"

/* Does some service ask for policies? */
bool sts_is_wanted(const struct config *c);
/* Without a store the answer to every question is that it cannot be known. */
void sts_start(const struct config *c);
/* Answers STS_ANSWER, now or when the policy is fetched. */
void sts_take_question(struct client *c, const struct message_sts_ask *m);
