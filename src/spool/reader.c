/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/reader.h"

#include <errno.h>

#include "spool/disk.h"

int content_read(struct content *c, char *to, size_t size, size_t *ret_got)
{
	uint64_t left = c->at < c->size ? c->size - c->at : 0;
	size_t got = 0, want = left < size ? (size_t)left : size;
	int err = want ? disk_read_waiting(c->fd, to, want, c->start + c->at, &got) : 0;

	if (!err && got < want)
		err = -EBADMSG;
	if (err)
		return err;
	c->at += got;
	*ret_got = got;
	return 0;
}
