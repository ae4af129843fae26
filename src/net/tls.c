/* SPDX-License-Identifier: Apache-2.0 */
/* TLS contexts: what both sides have in common. */
#include "net/tls.h"

#include <openssl/ssl.h>

#include "net/net_internal.h"

struct tls_context {
	SSL_CTX *ssl;
};

SSL_CTX *tls_context_ssl(const struct tls_context *ctx)
{
	return ctx->ssl;
}

void tls_context_free(struct tls_context *ctx)
{
	if (!ctx)
		return;
	SSL_CTX_free(ctx->ssl);
	free(ctx);
}
