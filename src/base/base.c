/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that never fails, and the end of a process that cannot go on. */
#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *mem_alloc(size_t size)
{
	void *ptr = calloc(1, size ? size : 1);

	if (!ptr)
		die("out of memory (%zu bytes wanted)", size);
	return ptr;
}

void *mem_resize(void *ptr, size_t size)
{
	void *grown = realloc(ptr, size ? size : 1);

	if (!grown)
		die("out of memory (%zu bytes wanted)", size);
	return grown;
}

char *mem_strdup(const char *text)
{
	size_t size = strlen(text) + 1;

	return memcpy(mem_alloc(size), text, size);
}

void die(const char *fmt, ...)
{
	va_list args;

	fputs("panic: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	abort();
}
