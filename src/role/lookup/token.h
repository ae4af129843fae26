/* SPDX-License-Identifier: Apache-2.0 */
/* The program "token" (token.c), which runs the commands that print access tokens. */
#pragma once

/* Its name in the folder of the roles. */
#define TOKEN_PROGRAM "token"

enum {
	TOKEN_OUTPUT_MAX = 32 * 1024,
	TOKEN_COMPLAINT_MAX = 1000, /* of what it says on its standard error */
};
