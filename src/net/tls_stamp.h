/* SPDX-License-Identifier: Apache-2.0 */
/* What a file of keys or certificates, or a folder of certificates, looked like, to see later that it was replaced. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* All 0 when there was none. */
struct tls_stamp {
	uint64_t device;
	uint64_t inode;
	uint64_t size;
	uint64_t modified_ns;
};

/* Links are followed. Of a folder `size` stands for its entries and for what they lead to. */
struct tls_stamp tls_stamp_of(const char *path);
bool tls_stamp_eq(const struct tls_stamp *a, const struct tls_stamp *b);
