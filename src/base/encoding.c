/* SPDX-License-Identifier: Apache-2.0 */
/* base64, hexadecimal, CRC-32C. */
#include "base/encoding.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

static const char base64_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct buf *to, struct str bytes)
{
	const unsigned char *in = (const unsigned char *)bytes.ptr;

	for (size_t i = 0; i < bytes.len; i += 3) {
		size_t left = bytes.len - i;
		uint32_t group = (uint32_t)in[i] << 16;

		if (left > 1)
			group |= (uint32_t)in[i + 1] << 8;
		if (left > 2)
			group |= in[i + 2];
		buf_add_char(to, base64_alphabet[group >> 18]);
		buf_add_char(to, base64_alphabet[(group >> 12) & 63]);
		buf_add_char(to, left > 1 ? base64_alphabet[(group >> 6) & 63] : '=');
		buf_add_char(to, left > 2 ? base64_alphabet[group & 63] : '=');
	}
}

static int base64_value(char c)
{
	const char *at = c ? memchr(base64_alphabet, c, 64) : NULL;

	return at ? (int)(at - base64_alphabet) : -1;
}

int base64_decode(struct buf *to, struct str text)
{
	size_t pad = 0;

	if (text.len % 4)
		return -EINVAL;
	if (text.len && text.ptr[text.len - 1] == '=')
		pad = text.ptr[text.len - 2] == '=' ? 2 : 1;
	for (size_t i = 0; i < text.len; i += 4) {
		bool is_last = i + 4 == text.len;
		size_t digits = is_last ? 4 - pad : 4;
		uint32_t group = 0;

		for (size_t j = 0; j < 4; j++) {
			int value = j < digits ? base64_value(text.ptr[i + j]) : 0;

			if (value < 0)
				return -EINVAL;
			group = group << 6 | (uint32_t)value;
		}
		buf_add_char(to, (char)(group >> 16));
		if (digits > 2)
			buf_add_char(to, (char)(group >> 8));
		if (digits > 3)
			buf_add_char(to, (char)group);
	}
	return 0;
}

int base64url_decode(struct buf *to, struct str text)
{
	struct buf plain = BUF_INIT(text.len + 4);
	int err;

	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];

		if (c == '+' || c == '/' || c == '=') {
			buf_done(&plain);
			return -EINVAL;
		}
		buf_add_char(&plain, c == '-' ? '+' : c == '_' ? '/' : c);
	}
	while (plain.len % 4)
		buf_add_char(&plain, '=');
	err = base64_decode(to, buf_str(&plain));
	if (plain.ptr)
		explicit_bzero(plain.ptr, plain.len);
	buf_done(&plain);
	return err;
}

void hex_encode(struct buf *to, struct str bytes)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < bytes.len; i++) {
		buf_add_char(to, digits[(unsigned char)bytes.ptr[i] >> 4]);
		buf_add_char(to, digits[(unsigned char)bytes.ptr[i] & 15]);
	}
}

static uint32_t crc32c_table(uint32_t crc, const unsigned char *bytes, size_t len)
{
	static uint32_t table[256];

	if (!table[1])
		for (uint32_t i = 0; i < 256; i++) {
			uint32_t value = i;

			for (int bit = 0; bit < 8; bit++)
				value = value & 1 ? value >> 1 ^ 0x82f63b78 : value >> 1;
			table[i] = value;
		}
	for (size_t i = 0; i < len; i++)
		crc = table[(crc ^ bytes[i]) & 255] ^ crc >> 8;
	return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_hardware(uint32_t crc, const unsigned char *bytes, size_t len)
{
	uint64_t wide = crc;

	for (; len >= 8; bytes += 8, len -= 8) {
		uint64_t word;

		memcpy(&word, bytes, 8);
		wide = __builtin_ia32_crc32di(wide, word);
	}
	crc = (uint32_t)wide;
	for (; len; bytes++, len--)
		crc = __builtin_ia32_crc32qi(crc, *bytes);
	return crc;
}
#endif

uint32_t crc32c(uint32_t crc, const void *ptr, size_t len)
{
	crc = ~crc;
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return ~crc32c_hardware(crc, ptr, len);
#endif
	return ~crc32c_table(crc, ptr, len);
}
