/* SPDX-License-Identifier: Apache-2.0 */
#include "content/mime.h"

#include "base/base.h"

bool mime_is_own_header(struct str name)
{
	return str_eq_nocase(name, STR("MIME-Version")) || str_starts_nocase(name, STR("Content-"));
}

/* The value of `parameter` behind the first semicolon, without quotes; empty when there is none. */
static struct str find_parameter(struct str value, struct str parameter)
{
	bool is_quoted = false;

	for (size_t i = 0; i < value.len; i++) {
		struct str rest;

		if (value.ptr[i] == '"')
			is_quoted = !is_quoted;
		if (value.ptr[i] != ';' || is_quoted)
			continue;
		rest = str_trim(str_from(value, i + 1));
		if (!str_starts_nocase(rest, parameter))
			continue;
		rest = str_trim(str_from(rest, parameter.len));
		if (rest.len == 0 || rest.ptr[0] != '=')
			continue;
		rest = str_trim(str_from(rest, 1));
		if (rest.len > 0 && rest.ptr[0] == '"')
			return str_cut(rest, 1, str_find(str_from(rest, 1), '"'));
		return str_cut(rest, 0, str_find_any(rest, "; \t\r\n("));
	}
	return STR("");
}

void mime_header(struct mime *m, struct str name, struct str value)
{
	struct str type = str_trim(value), boundary;

	if (!str_eq_nocase(name, STR("Content-Type")))
		return;
	m->is_message = str_starts_nocase(type, STR("message/rfc822"));
	boundary = str_starts_nocase(type, STR("multipart/")) ? find_parameter(type, STR("boundary")) : STR("");
	m->boundary_size = (unsigned char)size_min(boundary.len, MIME_BOUNDARY_MAX);
	if (m->boundary_size > 0)
		memcpy(m->boundary, boundary.ptr, m->boundary_size);
}

void mime_end_of_headers(struct mime *m)
{
	m->place = m->is_message ? MIME_NESTED_HEADER : MIME_BODY;
	if (m->boundary_size > 0 && m->depth < MIME_DEPTH_MAX) {
		memcpy(m->boundaries[m->depth], m->boundary, m->boundary_size);
		m->sizes[m->depth++] = m->boundary_size;
	}
	m->is_message = false;
	m->boundary_size = 0;
	m->segment_size = 0;
}

/* Does the line open or close one of the multiparts? Then what follows is known. */
static bool take_boundary(struct mime *m, struct str line)
{
	for (size_t i = m->depth; i > 0; i--) {
		struct str boundary = str_n(m->boundaries[i - 1], m->sizes[i - 1]), rest = str_from(line, 2);

		if (!str_starts(rest, boundary))
			continue;
		rest = str_from(rest, boundary.len);
		m->depth = str_starts(rest, STR("--")) ? i - 1 : i;
		m->place = str_starts(rest, STR("--")) ? MIME_BODY : MIME_HEADER;
		m->is_message = false;
		m->boundary_size = 0;
		m->segment_size = 0;
		return true;
	}
	return false;
}

enum mime_place mime_line(struct mime *m, struct str line)
{
	if (m->depth > 0 && str_starts(line, STR("--")) && take_boundary(m, line))
		return MIME_BODY;
	if (m->place == MIME_BODY)
		m->segment_size += line.len + 2;
	return m->place;
}

void mime_rest_of_line(struct mime *m, size_t size)
{
	m->segment_size += size;
}
