/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of keys and certificates that somebody with more rights has opened for us, by the path that the
 * parameters name. What is not among them is opened by its path.
 */
#pragma once

#include <openssl/types.h>

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"
#include "net/tls_stamp.h"

struct tls_files;

[[nodiscard]] struct tls_files *tls_files_new(void);
/* Closes them all; NULL is fine. */
void tls_files_free(struct tls_files *f);
/* Takes the descriptor over. */
void tls_files_add(struct tls_files *f, struct str path, int fd);
/* For reading from the start; `f` may be NULL. NULL with path, reason and remedy in `why`. */
[[nodiscard]] BIO *tls_files_open(const struct tls_files *f, struct str path, struct buf *why);

/* Counts a file or folder among the opened ones that somebody else reads. */
void tls_files_note(const char *path);
/* The paths that this process has opened so far, each once: false behind the last. */
bool tls_files_opened(size_t at, struct str *ret_path, struct tls_stamp *ret_stamp);
