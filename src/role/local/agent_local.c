/* SPDX-License-Identifier: Apache-2.0 */
/* local: system users, aliases, .forward. */
#include "role/local/local.h"

void agent_local(struct job *j)
{
	struct outcome o = outcome_of(j, "4.3.0", "local delivery is not there yet");

	for (uint32_t i = 0; i < j->envelope.recipient_count; i++) {
		outcome_log(j, &o, j->envelope.recipients[i].address, j->envelope.recipients[i].original, "local");
		outcome_report(j, &o, i);
	}
}
