/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a snapshot are refused or give a configuration. */
#include <stdint.h>

#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config *c = NULL;

	if (config_from_snapshot(str_n((const char *)data, size), &c) == 0)
		config_free(c);
	return 0;
}
