/* SPDX-License-Identifier: Apache-2.0 */
/* Chain files, as tables hold them for names of servers: any bytes may stand there. */
#include <openssl/ssl.h>

#include "net/tls_keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf why = BUF_INIT(2000);
	struct tls_chains *chains;

	if (!tls_chains_parse(str_n((const char *)data, size), STR("fuzz"), &chains, &why)) {
		SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

		if (tls_chains_count(chains) && tls_chains_use(chains, ctx, &why))
			buf_reset(&why);
		SSL_CTX_free(ctx);
		tls_chains_free(chains);
	}
	buf_done(&why);
	return 0;
}
