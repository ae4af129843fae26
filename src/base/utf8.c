/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#include <string.h>

/* Length of the sequence that starts with `lead` and the bounds of its second byte; 0 for no lead byte. */
static size_t sequence_of(unsigned char lead, unsigned char *ret_low, unsigned char *ret_high)
{
	*ret_low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
	*ret_high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
	if (lead >= 0xc2 && lead <= 0xdf)
		return 2;
	if (lead >= 0xe0 && lead <= 0xef)
		return 3;
	return lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
}

/* Length of the well-formed sequence at the start of `len` bytes above 127; 0 for none. */
static size_t sequence_len(const char *text, size_t len)
{
	unsigned char low, high;
	size_t count = sequence_of((unsigned char)text[0], &low, &high);

	if (count == 0 || count > len)
		return 0;
	for (size_t k = 1; k < count; k++, low = 0x80, high = 0xbf)
		if ((unsigned char)text[k] < low || (unsigned char)text[k] > high)
			return 0;
	return count;
}

bool utf8_is_valid(struct str s)
{
	for (size_t i = 0; i < s.len;) {
		size_t count = (unsigned char)s.ptr[i] < 128 ? 1 : sequence_len(s.ptr + i, s.len - i);

		if (count == 0)
			return false;
		i += count;
	}
	return true;
}

/* Nearly always: without a branch for each byte, so that many are looked at together. */
static bool is_printable_ascii(const char *text, size_t len)
{
	bool is_plain = true;

	for (size_t i = 0; i < len; i++)
		is_plain &= text[i] >= ' ' && text[i] < 127;
	return is_plain;
}

void text_neutralize(char *text, size_t len, const char *also)
{
	if (!*also && is_printable_ascii(text, len))
		return;
	for (size_t i = 0; i < len;) {
		unsigned char c = (unsigned char)text[i];
		size_t count = c < 128 ? 1 : sequence_len(text + i, len - i);

		if (c < 32 || c == 127 || count == 0 || (c < 128 && strchr(also, (char)c)))
			text[i] = '?';
		else if (c == 0xc2 && (unsigned char)text[i + 1] < 0xa0)
			text[i] = text[i + 1] = '?';
		i += count ? count : 1;
	}
}
