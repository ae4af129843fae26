/* SPDX-License-Identifier: Apache-2.0 */
#include "mail/received.h"

#include "mail/mail_date.h"

struct str received_protocol(bool is_esmtp, bool has_tls, bool has_auth, bool is_utf8)
{
	static const struct str names[2][4] = {
		{{"ESMTP", 5}, {"ESMTPA", 6}, {"ESMTPS", 6}, {"ESMTPSA", 7}},
		{{"UTF8SMTP", 8}, {"UTF8SMTPA", 9}, {"UTF8SMTPS", 9}, {"UTF8SMTPSA", 10}},
	};

	if (!is_esmtp)
		return STR("SMTP");
	return names[is_utf8][has_tls * 2 + has_auth];
}

static void add_client(struct buf *to, const struct received *r)
{
	bool is_v6 = str_has(r->client_address, ':');

	buf_addf(to, "from %.*s (%.*s [%s%.*s])", STR_ARG(r->helo), STR_ARG(r->client_name), is_v6 ? "IPv6:" : "",
	         STR_ARG(r->client_address));
	if (r->tls.len > 0) {
		buf_addf(to, "\r\n\t(using %.*s", STR_ARG(r->tls));
		if (r->tls_details.len > 0)
			buf_addf(to, "\r\n\t %.*s", STR_ARG(r->tls_details));
		buf_add(to, STR(")"));
		if (r->tls_peer.len > 0)
			buf_addf(to, "\r\n\t(%.*s)", STR_ARG(r->tls_peer));
	}
	if (r->sasl_username.len > 0)
		buf_addf(to, "\r\n\t(Authenticated sender: %.*s)", STR_ARG(r->sasl_username));
	buf_add(to, STR("\r\n\t"));
}

void received_format(struct buf *to, const struct received *r)
{
	buf_add(to, STR("Received: "));
	if (r->is_local) {
		buf_addf(to, "by %.*s (%.*s", STR_ARG(r->host), STR_ARG(r->mail_name));
		if (r->has_uid)
			buf_addf(to, ", from userid %u", r->uid);
		buf_addf(to, ")\r\n\tid %.*s; ", STR_ARG(r->queue_id));
	} else {
		if (!r->is_hidden)
			add_client(to, r);
		buf_addf(to, "by %.*s (%.*s)", STR_ARG(r->host), STR_ARG(r->mail_name));
		if (r->protocol.len > 0)
			buf_addf(to, " with %.*s", STR_ARG(r->protocol));
		buf_addf(to, " id %.*s", STR_ARG(r->queue_id));
		if (r->recipient.len > 0)
			buf_addf(to, "\r\n\tfor <%.*s>; ", STR_ARG(r->recipient));
		else
			buf_add(to, STR(";\r\n\t"));
	}
	mail_date_format(to, r->when);
	buf_add(to, STR("\r\n"));
}
