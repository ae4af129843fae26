/* SPDX-License-Identifier: Apache-2.0 */
/* What a person asks of master.cf: service/type, service/type/field or service/type/parameter. */
#pragma once

#include "cmd/postconf/postconf.h"

struct request {
	struct str name;
	struct str type;   /* "*" for any */
	struct str detail; /* field or parameter; "*" for any */
	struct str value;  /* behind '=' */
	bool has_value;
};

enum { REQUEST_FIELD_COUNT = 8 };

/* The names of the fields, the last being the command. */
extern const struct str request_fields[REQUEST_FIELD_COUNT];

/* Takes a request apart. Tells what is wrong and fails with -EINVAL. */
[[nodiscard]] int request_parse(const struct postconf *pc, struct str text, struct request *ret);
/* Is the part of a request this word, or "*"? */
bool request_part_matches(struct str part, struct str word);
