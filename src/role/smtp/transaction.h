/* SPDX-License-Identifier: Apache-2.0 */
/* One mail transaction: MAIL, RCPT for each pending recipient, DATA, the content. */
#pragma once

#include "role/smtp/smtp_delivery.h"

/*
 * Recipients that the server answered for good are settled; the others stay pending with a
 * verdict. 0 when the conversation went its way, -EHOSTUNREACH when it broke off, with
 * *ret_verdict, -ECANCELED.
 */
[[nodiscard]] int transaction_run(struct delivery *d, struct connection *c, struct verdict *ret_verdict) WAITS;
