/* SPDX-License-Identifier: Apache-2.0 */
#include "content/mime.h"

#include <stdint.h>

#include "base/base.h"
#include "mail/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mime *m = mem_alloc(sizeof(*m));
	struct str rest = str_n((const char *)data, size);
	struct header h;

	while (header_next(&rest, &h))
		mime_header(m, h.name, h.value);
	mime_end_of_headers(m);
	while (rest.len > 0) {
		struct str line = str_cut(rest, 0, str_find(rest, '\n'));

		if (mime_line(m, line) == MIME_BODY) {
			rest = str_from(rest, line.len + 1);
		} else if (header_next(&rest, &h)) {
			mime_header(m, h.name, h.value);
		} else {
			mime_end_of_headers(m);
			rest = str_from(rest, line.len + 1);
		}
	}
	free(m);
	return 0;
}
