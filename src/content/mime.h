/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where in a MIME message (RFC 2045, RFC 2046) a line stands: header of a part, header of
 * an enclosed message, or body. Follows multipart boundaries and message/rfc822; decodes nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

enum { MIME_DEPTH_MAX = 100, MIME_BOUNDARY_MAX = 70 };
enum mime_place { MIME_BODY, MIME_HEADER, MIME_NESTED_HEADER };

struct mime {
	char boundaries[MIME_DEPTH_MAX][MIME_BOUNDARY_MAX]; /* of the open multiparts, outermost first */
	unsigned char sizes[MIME_DEPTH_MAX];
	size_t depth;
	enum mime_place place;
	/* What the header section that is being read announces. */
	bool is_message;
	char boundary[MIME_BOUNDARY_MAX];
	unsigned char boundary_size;
	size_t segment_size; /* bytes of the present body so far */
};

/* A header of the section being read. Only Content-Type matters; the value may be folded. */
void mime_header(struct mime *m, struct str name, struct str value);
/* The end of a header section: its empty line, or a line that is no header. */
void mime_end_of_headers(struct mime *m);
/* Tells where a line stands, its line end left out. A boundary line counts as body and changes what follows. */
enum mime_place mime_line(struct mime *m, struct str line);
/* More of the line of the body that was told last. */
void mime_rest_of_line(struct mime *m, size_t size);
/* "MIME-Version" and "Content-...". */
bool mime_is_own_header(struct str name);
