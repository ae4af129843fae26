/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers from the kernel. */
#include "base/random.h"

#include <errno.h>
#include <sys/random.h>

#include "base/base.h"

void random_bytes(void *ptr, size_t len)
{
	char *at = ptr;

	while (len) {
		ssize_t count = getrandom(at, len, 0);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			die("the kernel gives no random bytes");
		at += count;
		len -= (size_t)count;
	}
}

uint32_t random_below(uint32_t limit)
{
	uint32_t usable = UINT32_MAX - UINT32_MAX % limit;
	uint32_t value;

	do
		random_bytes(&value, sizeof value);
	while (value >= usable);
	return value % limit;
}
