/* SPDX-License-Identifier: Apache-2.0 */
#include "role/smtp/tls_status.h"

#include "net/stream.h"
#include "role/smtp/dane.h"

enum state { STATE_MET, STATE_CLEAR, STATE_VIOLATED, STATE_UNDECIDED };

const char *tls_status_level(const struct tls_policy *site, const struct tls_policy *host)
{
	bool is_dane = site->level == CLIENT_TLS_DANE || site->level == CLIENT_TLS_DANE_ONLY;

	if (!is_dane || !host->dane)
		return tls_level_name(host->level);
	if (host->level == CLIENT_TLS_ENCRYPT)
		return "dane:encrypt";
	return host->dane->is_half ? "dane:halfdane" : tls_level_name(site->level);
}

/* Of a host that did not become a session. */
static enum state state_of_failure(const struct delivery *d, enum client_tls level, const struct verdict *v)
{
	switch (d->outcome.result) {
	case TLS_RESULT_SUCCESS:
		return STATE_MET;
	case TLS_RESULT_STARTTLS_NOT_SUPPORTED:
		return level >= CLIENT_TLS_ENCRYPT ? STATE_VIOLATED : STATE_CLEAR;
	case TLS_RESULT_HOST_MISMATCH:
	case TLS_RESULT_EXPIRED:
	case TLS_RESULT_NOT_TRUSTED:
		return STATE_VIOLATED;
	case TLS_RESULT_VALIDATION_FAILURE:
		return v->is_tls_handshake || level < CLIENT_TLS_ENCRYPT ? STATE_UNDECIDED : STATE_VIOLATED;
	default:
		return STATE_UNDECIDED;
	}
}

static void add_requiretls(struct buf *to, const struct delivery *d, const struct connection *c, enum state state)
{
	static const char *const policies[] = {[REQUIRETLS_OPPORTUNISTIC] = ":opportunistic",
	                                       [REQUIRETLS_STARTTLS] = ":opportunistic+starttls",
	                                       [REQUIRETLS_ENFORCE] = ""};
	bool is_met = d->requiretls != REQUIRETLS_ENFORCE || (c && c->ehlo.keywords & EHLO_REQUIRETLS);
	bool is_decided = state != STATE_UNDECIDED;

	if (d->envelope.flags & ENVELOPE_REQUIRETLS && d->settings->requiretls)
		buf_addf(to, "/%srequiretls%s%s", is_decided && !is_met ? "!" : "", policies[d->requiretls],
		         is_decided ? "" : "?");
}

static void note(struct delivery *d, const char *level, const struct connection *c, enum state state)
{
	struct buf text = BUF_INIT(200);

	if (!d->settings->logs_tls_status)
		return;
	buf_addf(&text, "%s%s%s", state == STATE_VIOLATED ? "!" : "", level,
	         state == STATE_CLEAR       ? ":none"
	         : state == STATE_UNDECIDED ? "?"
	                                    : "");
	add_requiretls(&text, d, c, state);
	d->tls_status = arena_str(&d->arena, buf_str(&text));
	buf_done(&text);
}

static enum state state_of_session(const struct connection *c, bool wants_tls)
{
	return stream_tls(c->stream) || !wants_tls ? STATE_MET : STATE_CLEAR;
}

void tls_status_note(struct delivery *d, const struct tls_policy *host, const struct connection *c, const struct verdict *v)
{
	note(d, tls_status_level(&d->policy, host), c,
	     c ? state_of_session(c, host->level > CLIENT_TLS_NONE) : state_of_failure(d, host->level, v));
}

void tls_status_note_kept(struct delivery *d, const struct connection *c)
{
	note(d, c->tls_level, c, state_of_session(c, d->policy.level > CLIENT_TLS_NONE));
}
