/* SPDX-License-Identifier: Apache-2.0 */
/* How OpenSSL itself is set up: its own settings file, options by name, workarounds. */
#pragma once

#include <openssl/types.h>

#include "base/buf.h"

struct params;

/*
 * Before the first context of the process: reads the settings file that tls_config_file names, once. -EINVAL with
 * words when it cannot be used, and again at each call.
 */
[[nodiscard]] int tls_library_begin(const struct params *p, struct buf *why);
/* tls_ssl_options and tls_disable_workarounds. Values that OpenSSL does not have are told in `why`, a line each, and left out. */
void tls_options_use(SSL_CTX *ctx, const struct params *p, struct buf *why);
