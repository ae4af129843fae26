/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/sendmail_text.h"

#include <errno.h>
#include <stdlib.h>

#include "mail/address.h"
#include "mail/address_list.h"
#include "mail/header.h"

/* --- reading ---------------------------------------------------------------------------------- */

static struct str without_line_end(struct str line)
{
	if (str_ends(line, STR("\n")))
		line.len--;
	if (str_ends(line, STR("\r")))
		line.len--;
	return line;
}

static bool is_mailbox_line(struct str line)
{
	return str_starts(line, STR("From ")) || str_starts(line, STR(">From "));
}

int sendmail_read(const struct sendmail_input *in, struct buf *to)
{
	bool is_mended = in->line_ends == LINE_ENDS_MENDED, is_first = true;
	char *text = NULL;
	size_t size = 0;
	ssize_t len;
	int err = 0;

	while (!err && (len = getline(&text, &size, in->file)) >= 0) {
		struct str line = str_n(text, (size_t)len);

		if (is_first && in->line_ends == LINE_ENDS_STRICT)
			is_mended = str_ends(line, STR("\r\n"));
		if (!in->keeps_dots && str_eq(without_line_end(line), STR(".")))
			break;
		if (!is_first || !is_mailbox_line(line)) {
			bool has_end = str_ends(line, STR("\n"));

			buf_add(to, is_mended ? without_line_end(line) : line);
			if (is_mended && has_end)
				buf_add_char(to, '\n');
		}
		is_first = false;
		if (in->size_limit && to->len > in->size_limit)
			err = -EMSGSIZE;
	}
	if (!err && ferror(in->file))
		err = -EIO;
	free(text);
	return err;
}

/* --- the header ---------------------------------------------------------------------------------- */

struct str sendmail_header(struct str content)
{
	struct str rest = content;
	struct header h;

	while (header_next(&rest, &h))
		;
	return str_cut(content, 0, content.len - rest.len);
}

/* A name as it may stand before <address>: quoted unless it is plain words. */
static void add_phrase(struct buf *to, struct str name)
{
	bool is_plain = true;

	for (size_t i = 0; i < name.len; i++)
		is_plain &=
			ascii_is_alnum(name.ptr[i]) || str_has(STR(" !#$%&'*+-/=?^_`{|}~"), name.ptr[i]) || (name.ptr[i] & 0x80);
	if (!is_plain)
		buf_add_char(to, '"');
	for (size_t i = 0; i < name.len; i++) {
		if ((unsigned char)name.ptr[i] < ' ' || name.ptr[i] == 127)
			continue;
		if (name.ptr[i] == '"' || name.ptr[i] == '\\')
			buf_add_char(to, '\\');
		buf_add_char(to, name.ptr[i]);
	}
	if (!is_plain)
		buf_add_char(to, '"');
}

void sendmail_add_from(struct buf *to, struct str content, struct str sender, struct str full_name)
{
	struct str header = sendmail_header(content);
	struct header h;

	if (sender.len && !header_find(header, STR("From"), &h) && !header_find(header, STR("Resent-From"), &h)) {
		buf_add(to, STR("From: "));
		if (full_name.len) {
			add_phrase(to, full_name);
			buf_add(to, STR(" <"));
		}
		address_format(to, sender);
		buf_add(to, full_name.len ? STR(">\n") : STR("\n"));
		if (!header.len && !str_starts(content, STR("\n")) && !str_starts(content, STR("\r\n")))
			buf_add_char(to, '\n');
	}
	buf_add(to, content);
}

/* --- recipients ------------------------------------------------------------------------------------ */

static void add_recipient(struct sendmail_recipients *r, struct str address)
{
	for (size_t i = 0; i < r->count; i++)
		if (str_eq(r->recipients[i].address, address))
			return;
	if (r->count == r->size) {
		struct recipient *more;

		r->size = r->size ? r->size * 2 : 16;
		more = arena_alloc(r->arena, r->size * sizeof *more);
		if (r->count)
			memcpy(more, r->recipients, r->count * sizeof *more);
		r->recipients = more;
	}
	r->recipients[r->count++] = (struct recipient){.address = address, .notify = r->notify};
}

static size_t add_list(struct sendmail_recipients *r, struct str text)
{
	struct address_list list = {.text = text};
	size_t count = 0;
	struct str spec, address;

	while (address_list_next(&list, &spec))
		if (!address_parse(spec, ADDRESS_UTF8, r->arena, &address) && address.len) {
			add_recipient(r, address);
			count++;
		}
	return count;
}

int sendmail_add_argument(struct sendmail_recipients *r, struct str argument)
{
	return add_list(r, argument) ? 0 : -EINVAL;
}

static bool is_resent(struct str name)
{
	return str_eq_nocase(name, STR("Resent-To")) || str_eq_nocase(name, STR("Resent-Cc")) ||
	       str_eq_nocase(name, STR("Resent-Bcc"));
}

static bool is_recipient_header(struct str name)
{
	return str_eq_nocase(name, STR("To")) || str_eq_nocase(name, STR("Cc")) || str_eq_nocase(name, STR("Bcc"));
}

void sendmail_add_from_header(struct sendmail_recipients *r, struct str header)
{
	bool has_resent = false;
	struct str rest = header;
	struct header h;

	while (header_next(&rest, &h))
		has_resent |= is_resent(h.name);
	rest = header;
	while (header_next(&rest, &h))
		if (has_resent ? is_resent(h.name) : is_recipient_header(h.name))
			add_list(r, h.value);
}
