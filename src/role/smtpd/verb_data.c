/* SPDX-License-Identifier: Apache-2.0 */
/* DATA and BDAT: the content, and the moment it becomes ours. */
#include "config/params.h"
#include "content/content.h"
#include "fiber/fiber.h"
#include "mail/address.h"
#include "net/tls.h"
#include "smtpd.h"
#include "table/table.h"
#include "verbs.h"

enum { READ_MAX = 64 << 10 };

/* Who is treated as a local client: headers get completed and rewritten. */
static bool is_rewritten(const struct session *s)
{
	const struct port *port = s->port;
	struct buf why = BUF_INIT(500);
	bool is_local = port->rewrites_own && str_eq(s->facts.client_address, s->facts.server_address);

	if (!is_local && port->rewrites_authenticated)
		is_local = s->facts.sasl_username.len > 0;
	if (!is_local && port->rewrite_networks)
		is_local = match_list_check(port->rewrite_networks, s->facts.client_address, &why) > 0;
	buf_done(&why);
	return is_local;
}

static void add_tls_facts(struct session *s, struct received *r)
{
	const struct tls_info *t = stream_tls(s->stream);
	const struct params *p = s->port->view->params;
	struct arena *a = &s->tx.arena;

	r->tls = arena_printf(a, "%.*s with cipher %.*s (%d/%d bits)", STR_ARG(t->protocol), STR_ARG(t->cipher), t->cipher_bits,
	                      t->algorithm_bits);
	if (t->key_exchange.len > 0 && t->server_signature.len > 0)
		r->tls_details = arena_printf(a, "key-exchange %.*s server-signature %.*s%s%.*s", STR_ARG(t->key_exchange),
		                              STR_ARG(t->server_signature), t->server_digest.len > 0 ? " server-digest " : "",
		                              STR_ARG(t->server_digest));
	else if (t->key_exchange.len > 0)
		r->tls_details = arena_printf(a, "key-exchange %.*s", STR_ARG(t->key_exchange));
	if (t->client_signature.len > 0)
		r->tls_details = arena_printf(a, "%.*s\r\n\t client-signature %.*s%s%.*s", STR_ARG(r->tls_details),
		                              STR_ARG(t->client_signature), t->client_digest.len > 0 ? " client-digest " : "",
		                              STR_ARG(t->client_digest));
	if (t->has_peer_certificate)
		r->tls_peer = arena_printf(a, "Client CN \"%.*s\", Issuer \"%.*s\" (%s)", STR_ARG(t->peer_cn),
		                           STR_ARG(t->peer_issuer_cn), t->is_peer_trusted ? "verified OK" : "not verified");
	else
		r->tls_peer = p->smtpd_tls_ask_ccert || (p->smtpd_tls_req_ccert && s->port->tls_level == TLS_LEVEL_ENCRYPT)
		                      ? STR("Client did not present a certificate")
		                      : STR("No client certificate requested");
}

static struct received *received_of(struct session *s)
{
	const struct params *p = s->port->view->params;
	const struct policy_session *f = &s->facts;
	struct received *r = arena_alloc(&s->tx.arena, sizeof(*r));

	*r = (struct received){
		.helo = f->helo.len > 0 ? f->helo : f->client_name,
		.client_name = f->client_name,
		.client_address = f->client_address,
		.host = p->myhostname,
		.mail_name = p->mail_name,
		.protocol = received_protocol(f->is_esmtp, stream_tls(s->stream), f->sasl_username.len > 0,
	                                      s->tx.envelope.flags & ENVELOPE_SMTPUTF8),
		.is_hidden = p->smtpd_hide_client_session,
	};
	if (s->tx.envelope.recipient_count == 1)
		r->recipient = address_external(&s->tx.arena, s->tx.envelope.recipients[0].address);
	if (p->smtpd_tls_received_header && stream_tls(s->stream))
		add_tls_facts(s, r);
	if (p->smtpd_sasl_authenticated_header)
		r->sasl_username = f->sasl_username;
	return r;
}

static void begin_content(struct session *s, bool is_stuffed)
{
	struct transaction *tx = &s->tx;
	const struct port *port = s->port;
	struct draft_facts facts = {
		.arena = &tx->arena,
		.envelope = &tx->envelope,
		.received = received_of(s),
		.action = &tx->action,
		.client = s->name,
		.overrides = port->overrides,
		.is_stuffed = is_stuffed,
		.is_strict = port->bare_newline >= BARE_NEWLINE_NORMALIZE && !s->is_bare_newline_exempt,
		.is_rewritten = is_rewritten(s),
	};

	tx->as_given = tx->envelope;
	tx->envelope.filter = tx->action.filter.len > 0 ? tx->action.filter : port->view->params->content_filter;
	tx->draft = draft_new(port->content, smtpd.appender, &facts);
}

/* At DATA and later the policy sees a recipient only when there is just one. */
static void show_single_recipient(struct session *s, bool is_on)
{
	bool is_shown = is_on && s->tx.envelope.recipient_count == 1;

	/* The latest RCPT may have been another, and refused. */
	s->facts.recipient = s->facts.recipient_raw = is_shown ? s->tx.envelope.recipients[0].address : STR("");
}

/* The checks of the DATA stage. True when the content may come. */
static bool may_send_content(struct session *s)
{
	struct reply r;

	show_single_recipient(s, true);
	r = policy_check_data(s->port->policy, &s->facts, &s->tx.action);
	session_log_notes(s, "DATA", &s->tx.action);
	if (s->tx.action.is_hangup)
		s->end = END_QUIET;
	else if (r.code)
		session_reject(s, "DATA", &r);
	show_single_recipient(s, false);
	return !r.code && s->end == END_NOT_YET;
}

/* True when the commands so far make a message whose content may follow. */
static bool has_envelope(struct session *s)
{
	if (s->tx.envelope.recipient_count > 0)
		return true;
	if (!s->tx.has_mail)
		session_say(s, "503 5.5.1 Error: need RCPT command");
	else
		session_say(s, "554 5.5.1 Error: no valid recipients");
	return false;
}

/*
 * Waits for more content. With smtpd_per_request_deadline that uses up `left`; what comes gives back the time that it
 * may take at smtpd_min_data_rate, but not to more than smtpd_timeout.
 */
static int read_more(struct session *s, struct duration *left)
{
	const struct params *p = s->port->view->params;
	struct instant start = clock_now();
	int err;

	if (p->smtpd_per_request_deadline)
		stream_set_deadline(s->stream, instant_after(start, *left));
	err = stream_fill(s->stream, READ_MAX);
	left->ns -= duration_between(start, clock_now()).ns;
	left->ns += (int64_t)stream_at_hand(s->stream).len * NS_PER_S / p->smtpd_min_data_rate;
	if (left->ns > p->smtpd_timeout.ns)
		*left = p->smtpd_timeout;
	return err;
}

/* Reads up to the final dot. False when the client is gone. */
static bool read_data(struct session *s)
{
	struct duration left = s->port->view->params->smtpd_timeout;
	bool has_ended = false;
	size_t used;
	int err;

	while (!has_ended) {
		struct str bytes = stream_at_hand(s->stream);

		if (bytes.len == 0) {
			err = read_more(s, &left);
			if (err) {
				session_failed(s, err);
				return false;
			}
			continue;
		}
		has_ended = draft_data(s->tx.draft, bytes, &used);
		stream_skip(s->stream, used);
	}
	return true;
}

/* The checks of the end of data. True when the message may be kept. */
static bool may_keep_message(struct session *s)
{
	struct transaction *tx = &s->tx;
	struct reply r;

	/* Content that cannot be kept is answered for what is wrong with it. */
	if (draft_has_failed(tx->draft))
		return true;
	s->facts.size = draft_size(tx->draft);
	show_single_recipient(s, true);
	r = policy_check_end_of_data(s->port->policy, &s->facts, &tx->action);
	session_log_notes(s, "END-OF-MESSAGE", &tx->action);
	if (r.code)
		session_reject(s, "END-OF-MESSAGE", &r);
	show_single_recipient(s, false);
	if (tx->action.filter.len > 0)
		tx->envelope.filter = tx->action.filter;
	return !r.code && !tx->action.is_hangup;
}

/* A policy has refused the content alone: other content may follow for the same recipients. */
static void take_content_back(struct session *s)
{
	struct transaction *tx = &s->tx;

	draft_free(tx->draft);
	tx->draft = NULL;
	tx->envelope = tx->as_given;
	s->facts.size = 0;
	/* After BDAT nothing but RSET helps. */
	if (tx->is_bdat)
		tx->bdat_failure = (struct reply){.code = 551, .dsn = DSN(5, 0, 0), .text = STR("Error: content was refused")};
}

/* The message is finished and put on disk. Code 0 when it is ours. */
static struct reply keep_message(struct session *s)
{
	struct transaction *tx = &s->tx;
	struct content_note *notes = NULL;
	struct reply r;

	/* Logged before the message is on disk: qmgr's first line about it comes later then. */
	r = draft_finish(tx->draft, &notes);
	session_log_content(s, notes);
	if (!r.code && !draft_is_discarded(tx->draft) && !tx->action.is_discarded) {
		r = draft_commit(tx->draft, &notes);
		session_log_content(s, notes);
	}
	if (r.code)
		session_say_reply(s, &r);
	return r;
}

/* After the last byte: the answer, which tells the size of the last chunk of BDAT, and all is set back for the next message. */
static void end_content(struct session *s, uint64_t chunk_size)
{
	struct transaction *tx = &s->tx;
	const struct params *p = s->port->view->params;
	struct reply r;

	s->has_bare_lf |= draft_has_bare_lf(tx->draft);
	if (draft_has_bare_lf(tx->draft) && s->port->bare_newline == BARE_NEWLINE_REJECT && !s->is_bare_newline_exempt) {
		session_log(s, "%s: reject: DATA from %.*s: %lld 5.5.2 %.*s Error: bare <LF> received", session_queue_id(s),
		            STR_ARG(s->name), (long long)p->smtpd_forbid_bare_newline_reject_code, STR_ARG(p->myhostname));
		session_say(s, "%lld 5.5.2 %.*s Error: bare <LF> received", (long long)p->smtpd_forbid_bare_newline_reject_code,
		            STR_ARG(p->myhostname));
		if (p->smtpd_forbid_bare_newline_reject_code == 521 && s->end == END_NOT_YET)
			s->end = END_QUIET;
		session_reset(s);
		return;
	}
	if (!may_keep_message(s)) {
		if (tx->action.is_hangup && s->end == END_NOT_YET)
			s->end = END_QUIET;
		take_content_back(s);
		return;
	}
	r = keep_message(s);
	if (!r.code) {
		s->errors = s->junk = 0;
		if (tx->is_bdat)
			session_say(s, "250 2.0.0 Ok: %llu bytes queued as %s", (unsigned long long)chunk_size,
			            tx->envelope.queue_id);
		else
			session_say(s, "250 2.0.0 Ok: queued as %s", tx->envelope.queue_id);
	}
	session_reset(s);
	/* XFORWARD is for one message. */
	s->has_forwarded = false;
}

void verb_data(struct session *s, struct str argument)
{
	if (s->tx.is_bdat) {
		session_say(s, "503 5.5.1 Error: DATA after BDAT");
		return;
	}
	if (!has_envelope(s))
		return;
	if (argument.len > 0) {
		session_say(s, "501 5.5.4 Syntax: DATA");
		return;
	}
	if (!may_send_content(s))
		return;
	session_say(s, "354 End data with <CR><LF>.<CR><LF>");
	begin_content(s, true);
	if (s->end != END_NOT_YET || !read_data(s))
		return;
	s->where = "END-OF-MESSAGE";
	end_content(s, 0);
}

/* "count" and "count LAST". */
static bool parse_bdat(struct str argument, unsigned long long *ret_size, bool *ret_is_last)
{
	struct str size, last = {0};
	size_t blank = str_find_any(argument, " \t");

	size = str_cut(argument, 0, blank);
	last = str_trim(str_from(argument, blank));
	*ret_is_last = str_eq_nocase(last, STR("LAST"));
	return str_parse_u64(size, ret_size) == 0 && *ret_size <= INT64_MAX && (last.len == 0 || *ret_is_last);
}

/* Reads a chunk to its end, into the draft unless the message has failed already. */
static bool read_chunk(struct session *s, uint64_t size)
{
	struct duration left = s->port->view->params->smtpd_timeout;
	int err;

	while (size > 0) {
		struct str bytes = str_cut(stream_at_hand(s->stream), 0, size < READ_MAX ? (size_t)size : READ_MAX);

		if (bytes.len == 0) {
			err = read_more(s, &left);
			if (err) {
				session_failed(s, err);
				return false;
			}
			continue;
		}
		if (s->tx.draft && !s->tx.bdat_failure.code)
			draft_chunk(s->tx.draft, bytes);
		stream_skip(s->stream, bytes.len);
		size -= bytes.len;
	}
	return true;
}

/* The first chunk opens the message, under the rules of DATA; its refusal is held back until the chunk is read. */
static bool begin_bdat(struct session *s)
{
	struct transaction *tx = &s->tx;
	struct reply r;

	if (tx->is_bdat)
		return !tx->bdat_failure.code;
	tx->is_bdat = true;
	if (tx->envelope.recipient_count == 0) {
		tx->bdat_failure =
			tx->has_mail ? (struct reply){.code = 554, .dsn = DSN(5, 5, 1), .text = STR("Error: no valid recipients")}
				     : (struct reply){.code = 503, .dsn = DSN(5, 5, 1), .text = STR("Error: need RCPT command")};
		return false;
	}
	show_single_recipient(s, true);
	r = policy_check_data(s->port->policy, &s->facts, &tx->action);
	session_log_notes(s, "DATA", &tx->action);
	show_single_recipient(s, false);
	if (tx->action.is_hangup)
		s->end = END_QUIET;
	tx->bdat_failure = r;
	if (r.code || s->end != END_NOT_YET)
		return false;
	begin_content(s, false);
	return true;
}

/* What ends a BDAT that cannot be served, after its bytes were read away. */
static void refuse_chunk(struct session *s, uint64_t size, bool is_first, bool is_last)
{
	struct transaction *tx = &s->tx;

	if (is_first)
		session_reject(s, "BDAT", &tx->bdat_failure);
	else
		session_say(s, "551 5.0.0 Discarded %llu bytes after earlier error", (unsigned long long)size);
	if (is_last)
		session_reset(s);
}

void verb_bdat(struct session *s, struct str argument)
{
	const struct params *p = s->port->view->params;
	struct transaction *tx = &s->tx;
	unsigned long long size;
	bool is_last, is_good, had_failed = tx->bdat_failure.code != 0;

	if (s->discarded_keywords & EHLO_CHUNKING) {
		session_say(s, "521 5.5.1 Error: command not implemented");
		s->end = s->end == END_NOT_YET ? END_QUIET : s->end;
		return;
	}
	if (!parse_bdat(argument, &size, &is_last)) {
		session_warn(s, "%s: malformed BDAT command syntax from %.*s: %.*s", session_queue_id(s), STR_ARG(s->name),
		             (int)size_min(argument.len, 100), argument.ptr ? argument.ptr : "");
		session_say(s, "521 5.5.4 Syntax: BDAT count [LAST]");
		s->end = s->end == END_NOT_YET ? END_QUIET : s->end;
		return;
	}
	is_good = begin_bdat(s);
	if (s->end != END_NOT_YET)
		return;
	if (is_good && size == 0 && !is_last) {
		tx->bdat_failure = (struct reply){.code = 551, .dsn = DSN(5, 7, 1), .text = STR("Null BDAT request")};
		is_good = false;
	}
	if (is_good && p->message_size_limit > 0 &&
	    size > (uint64_t)p->message_size_limit - size_min(draft_size(tx->draft), (size_t)p->message_size_limit)) {
		session_warn(s, "%s: BDAT request from %.*s exceeds message size limit", session_queue_id(s), STR_ARG(s->name));
		tx->bdat_failure =
			(struct reply){.code = 552, .dsn = DSN(5, 3, 4), .text = STR("Chunk exceeds message size limit")};
		is_good = false;
	}
	if (!read_chunk(s, size))
		return;
	if (!is_good) {
		refuse_chunk(s, size, !had_failed, is_last);
	} else if (is_last) {
		s->where = "END-OF-MESSAGE";
		end_content(s, size);
	} else {
		session_say(s, "250 2.0.0 Ok: %llu bytes", size);
	}
}
