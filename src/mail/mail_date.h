/* SPDX-License-Identifier: Apache-2.0 */
/* Dates as RFC 5322 wants them, in local time. */
#pragma once

#include "base/buf.h"
#include "base/clock.h"

/* "Sat, 21 Nov 2026 23:27:58 +0100 (CET)" */
void mail_date_format(struct buf *to, struct wall_time when);
/* "20261121232758", in UTC: for message ids. */
void mail_date_digits(struct buf *to, struct wall_time when);
