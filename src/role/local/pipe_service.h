/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the arguments of a pipe service in master.cf say:
 *
 *	flags=DRhu user=vmail:vmail argv=/usr/bin/program -f ${sender} -- ${recipient}
 */
#pragma once

#include "base/arena.h"
#include "config/config.h"

struct pipe_service {
	struct str flags;
	struct str user;
	struct str group; /* or empty: the user's own */
	struct str chroot;
	struct str directory;
	struct str null_sender; /* in place of an empty sender */
	struct str line_end;
	int64_t size_limit;     /* 0: none */
	const struct str *argv; /* the first without "argv=" */
	size_t argc;
};

/* NULL, or what is wrong with it. Strings lie in the service or the arena. */
const char *pipe_service_read(const struct service *service, struct arena *a, struct pipe_service *ret_service);
bool pipe_service_has(const struct pipe_service *s, char flag);
