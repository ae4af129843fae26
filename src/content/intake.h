/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of DATA or BDAT as they arrive, made into lines that end in CRLF: dots
 * unstuffed, bare line feeds and stray carriage returns mended, the end found.
 *
 * What ends DATA decides what a server takes for one message or two. With is_strict it
 * is CRLF "." CRLF and nothing else.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

enum intake_state { INTAKE_LINE_START, INTAKE_IN_LINE, INTAKE_CR, INTAKE_DOT, INTAKE_DOT_CR };

struct intake {
	/* Chosen by the caller; all false for BDAT but keeps_cr. */
	bool is_stuffed; /* DATA: dots are stuffed and a lone dot is the end */
	bool is_strict;  /* a line end before or after that dot must be CRLF */
	bool keeps_cr;   /* cleanup_replace_stray_cr_lf = no: a CR without LF stays, else it becomes a blank */
	bool is_lf;      /* LF alone is the usual line end of this input (files); no bare LF is noted */
	/* Findings. */
	bool has_bare_lf;
	/* Insides. */
	enum intake_state state;
	bool is_after_bare_lf; /* the line before ended in LF alone */
};

/*
 * Takes `bytes` and writes at most 2 * bytes.len + 2 bytes to `to`; *ret_len says how many. True
 * when the end of DATA was met; *ret_used then tells how many bytes belong to it, else it is all.
 */
bool intake_feed(struct intake *in, struct str bytes, char *to, size_t *ret_len, size_t *ret_used);
/* At the end of the last BDAT chunk or of a file: completes an unfinished line. At most 3 bytes. */
size_t intake_finish(struct intake *in, char *to);
