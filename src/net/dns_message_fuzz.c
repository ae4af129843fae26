/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of a resolver to a question that the first byte chooses; the id is always 0x1234. */
#include "net/dns_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum dns_type types[] = {DNS_A, DNS_MX, DNS_TLSA, DNS_CNAME, DNS_AAAA, DNS_TXT, DNS_SRV, DNS_PTR};
	struct arena a = ARENA_INIT;
	struct dns_answer answer;

	if (size && !dns_answer_read(str_n((const char *)data + 1, size - 1), STR("mx.example.org"),
	                             types[data[0] % COUNT_OF(types)], 0x1234, &a, &answer)) {
		if ((answer.status == DNS_FOUND) != (answer.count > 0))
			die("%zu records with status %d", answer.count, (int)answer.status);
		if (answer.canonical.len > 255)
			die("a name of %zu bytes", answer.canonical.len);
	}
	arena_done(&a);
	return 0;
}
