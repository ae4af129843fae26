/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Traces of TLS sessions ("trace" in *_tls_loglevel). A role gathers the text in memory (net/tls_log.h) and creates no file:
 * master writes it below queue_directory.
 */
#pragma once

#include <stdbool.h>

#include "base/str.h"

struct params;
struct process;

/* Where tls_trace_send() sends to. */
void tls_trace_init(struct process *p);
/* May this process begin one more? No more do than tls_trace_rate_limit in one anvil_rate_time_unit. */
[[nodiscard]] bool tls_trace_may_begin(const struct params *p);
/* The whole text of a session of `program` ("smtpd") with `address`. */
void tls_trace_send(const char *program, struct str address, struct str text);
