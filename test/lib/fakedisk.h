/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that can lose its power. The program is linked with fakedisk.c, whose open(), pwrite(),
 * fdatasync() and so on take the place of the C library's, for liblmdb as well: files below one folder work
 * as ever, and every change is written down. Later, what the disk would hold
 * after a power cut can be laid out for any moment of the run:
 *
 * - what was synced is there; of every 4 KiB page written since, some earlier or the latest content,
 *   each page by its own luck;
 * - a new or removed name is certain once its folder was synced, before that a matter of luck (renames are certain);
 * - a size that was not synced is the old or the new one.
 *
 * Syncs do nothing else than being written down, so a test runs as fast as the memory.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Starts to record what happens below `folder`, which must be empty. Forgets any earlier record. */
void fakedisk_start(const char *folder);
/* Stops recording: later changes are no part of the run. */
void fakedisk_stop(void);
/* A note of the test among the changes: which promise was made when. */
void fakedisk_note(int kind, unsigned value);

/* The changes so far: a cut can be made before each of them, and after the last. */
size_t fakedisk_count(void);
/* The notes made before change `cut`, oldest first; *at starts at 0. */
bool fakedisk_next_note(size_t cut, size_t *at, int *ret_kind, unsigned *ret_value);
/* Lays out in `folder`, which must exist and be empty, what is left when the power goes before change `cut`. */
void fakedisk_cut(size_t cut, uint64_t luck, const char *folder);

enum fakedisk_call { FAKEDISK_WRITE, FAKEDISK_SYNC };
/* The call after `skip` others of that kind on files whose path contains `part` fails with `error`; 0 clears. */
void fakedisk_fail(enum fakedisk_call what, const char *part, unsigned skip, int error);
