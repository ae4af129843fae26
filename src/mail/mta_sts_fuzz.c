/* SPDX-License-Identifier: Apache-2.0 */
/* A TXT record, and below it an answer of a web server: "200 text/plain", an empty line, the body. */
#include <stdlib.h>

#include "mail/mta_sts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest = str_n((const char *)data, size), record = STR(""), status, type = STR("text/plain"), id;
	struct buf why = BUF_INIT(1000);
	struct arena a = ARENA_INIT;
	struct sts_policy p;

	if (str_split(rest, '\n', &record, &rest))
		(void)!sts_record_parse(record, &id);
	if (!str_split(rest, '\n', &status, &rest))
		status = STR("200");
	(void)str_split(status, ' ', &status, &type);
	if (!sts_answer_parse(str_eq(status, STR("200")) ? 200 : 404, type, rest, &a, &p, &why)) {
		/* Whatever was accepted holds to the limits. */
		if (p.max_age > STS_AGE_MAX || p.mx_count > STS_MX_MAX || (!p.mx_count && p.mode != STS_MODE_NONE))
			abort();
		(void)sts_policy_names(&p, record);
	}
	buf_done(&why);
	arena_done(&a);
	return 0;
}
