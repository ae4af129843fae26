/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cyrus SASL in processes of its own. Its library blocks (saslauthd, PAM, data bases) and loads
 * modules of many hands, so no role runs it. Before its rights go, lookup starts the program "cyrus" beside it, the
 * nursery (ipc/helper.h), which forks workers (CYRUS_WORKER). A worker serves one dialogue after
 * another, in plain blocking code. A call that takes too long ends the worker by SIGALRM, a module that crashes ends it as well:
 * a temporary failure for the client whose dialogue it was.
 */
#pragma once

enum { CYRUS_CALL_LIMIT_S = 25 }; /* for one call into the library */

/* The program's name in the folder of the roles. */
#define CYRUS_PROGRAM "cyrus"
