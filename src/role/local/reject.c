/* SPDX-License-Identifier: Apache-2.0 */
/* error, retry and discard: the nexthop is the answer for every recipient. */
#include "role/local/local.h"

static size_t dsn_length(struct str text)
{
	size_t at = 0;

	if (text.len < 5 || (text.ptr[0] != '2' && text.ptr[0] != '4' && text.ptr[0] != '5'))
		return 0;
	for (unsigned part = 0; part < 3; part++) {
		size_t from = at;

		while (at < text.len && ascii_is_digit(text.ptr[at]))
			at++;
		if (at == from || at - from > 3)
			return 0;
		if (part < 2 && (at >= text.len || text.ptr[at++] != '.'))
			return 0;
	}
	return at == text.len || text.ptr[at] == ' ' ? at : 0;
}

/* "5.1.1 text", or text alone. `first` replaces a first digit that does not fit. */
static struct outcome outcome_of_nexthop(struct job *j, char first, const char *default_text)
{
	struct str text = str_trim(j->nexthop);
	size_t len = dsn_length(text);
	char dsn[16] = "x.0.0";

	if (len > 0 && len < sizeof(dsn)) {
		memcpy(dsn, text.ptr, len);
		dsn[len] = '\0';
		text = str_trim(str_from(text, len));
	}
	dsn[0] = first;
	if (text.len == 0)
		text = str_of(default_text);
	return outcome_of(j, dsn, "%.*s", STR_ARG(text));
}

static void answer_all(struct job *j, const struct outcome *o)
{
	for (uint32_t i = 0; i < j->envelope.recipient_count; i++) {
		const struct recipient *r = &j->envelope.recipients[i];

		outcome_log(j, o, r->address, r->original, "none");
		outcome_report(j, o, i);
	}
}

void agent_error(struct job *j, bool is_permanent)
{
	char first = j->nexthop.len > 0 && j->nexthop.ptr[0] == '4' && dsn_length(j->nexthop) > 0 ? '4'
	             : is_permanent                                                               ? '5'
	                                                                                          : '4';
	struct outcome o = outcome_of_nexthop(j, first, is_permanent ? "Address is undeliverable" : "Delivery is postponed");

	answer_all(j, &o);
}

void agent_discard(struct job *j)
{
	struct outcome o = outcome_of_nexthop(j, '2', "discarded");

	answer_all(j, &o);
}
