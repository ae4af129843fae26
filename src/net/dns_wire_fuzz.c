/* SPDX-License-Identifier: Apache-2.0 */
/* Records as a stranger's name server may send them: the first byte chooses the type. */
#include "net/dns_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum dns_type types[] = {DNS_A, DNS_NS, DNS_PTR, DNS_MX, DNS_TXT, DNS_AAAA, DNS_SRV, DNS_TLSA, DNS_CNAME};
	struct arena a = ARENA_INIT;
	struct dns_record record;

	if (size && !dns_wire_record(str_n((const char *)data + 1, size - 1), types[data[0] % COUNT_OF(types)], &a, &record) &&
	    record.name.len > 255)
		die("a name of %zu bytes", record.name.len);
	arena_done(&a);
	return 0;
}
