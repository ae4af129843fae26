/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A transaction. With PIPELINING the whole envelope and DATA leave in one write; recipients
 * go in batches, so that the replies of many never fill the way back while we still write.
 */
#include "role/smtp/transaction.h"

#include <errno.h>

#include "base/log.h"
#include "config/params.h"
#include "mail/address.h"
#include "mail/smtp_command.h"
#include "role/smtp/smtp_body.h"

enum { BATCH_MAX = 100, COMMAND_MAX = 64 * 1024 };

struct transaction {
	struct delivery *d;
	struct connection *c;
	struct verdict v;
	bool is_pipelined;
	bool is_mail_open; /* MAIL is sent, its reply not read yet */
	bool is_data_sent;
	bool has_heard; /* any reply came: the connection was alive */
	uint32_t batch[BATCH_MAX];
	size_t batch_count; /* RCPT sent, replies not read yet */
	size_t accepted_count;
};

/* A broken conversation. */
static int lost(struct transaction *t, int err, const char *phase)
{
	if (err == -ECANCELED)
		return err;
	connection_lost(t->c, err, phase, &t->d->arena, &t->v);
	t->v.is_stale = t->c->use_count > 1 && !t->has_heard;
	return -EHOSTUNREACH;
}

static int hear(struct transaction *t, struct duration timeout, const char *phase)
{
	int err = connection_read(t->c, timeout, phase, &t->d->arena, &t->v);

	if (err == -EHOSTUNREACH)
		t->v.is_stale = t->c->use_count > 1 && !t->has_heard && !t->c->reply.line_count;
	t->has_heard = true;
	return err;
}

static bool is_utf8_needed(const struct envelope *e)
{
	if (!(e->flags & ENVELOPE_SMTPUTF8))
		return false;
	for (uint32_t i = 0; i < e->recipient_count; i++)
		if (str_is_8bit(e->recipients[i].address))
			return true;
	return str_is_8bit(e->sender);
}

/* What this server can never take is not offered to it. */
static bool is_possible(struct transaction *t)
{
	struct delivery *d = t->d;
	struct connection *c = t->c;
	struct verdict v = {.is_permanent = true, .relay = str_of(c->relay), .mta = str_of(c->host)};

	if (c->ehlo.size_limit && d->content_size > c->ehlo.size_limit) {
		v.dsn = STR("5.3.4");
		v.text = arena_printf(&d->arena, "message size %llu exceeds size limit %llu of server %s",
		                      (unsigned long long)d->content_size, (unsigned long long)c->ehlo.size_limit, c->peer);
	} else if (is_utf8_needed(&d->envelope) && !(c->ehlo.keywords & EHLO_SMTPUTF8)) {
		v.dsn = STR("5.6.7");
		v.text = arena_printf(&d->arena, "SMTPUTF8 is required, but was not offered by host %s", c->peer);
	} else if (d->requiretls == REQUIRETLS_ENFORCE && !(c->ehlo.keywords & EHLO_REQUIRETLS)) {
		/* Another host of the domain may have it, so the connection may be gone when this is told. */
		v.relay = arena_str(&d->arena, v.relay);
		v.mta = arena_str(&d->arena, v.mta);
		v.is_permanent = false;
		v.dsn = STR("4.7.30");
		v.text = arena_printf(&d->arena, "it was not offered by host %s", c->peer);
		d->unmet_count++;
	} else {
		return true;
	}
	delivery_failed(d, &v, false, c);
	return false;
}

static int send_mail(struct transaction *t)
{
	const struct envelope *e = &t->d->envelope;
	unsigned keywords = t->c->ehlo.keywords;
	struct buf line = BUF_INIT(COMMAND_MAX);
	int err;

	buf_add(&line, STR("MAIL FROM:<"));
	address_format(&line, e->sender);
	buf_add_char(&line, '>');
	if (keywords & EHLO_SIZE)
		buf_addf(&line, " SIZE=%llu", (unsigned long long)t->d->content_size);
	if (keywords & EHLO_8BITMIME && e->flags & ENVELOPE_8BITMIME)
		buf_add(&line, STR(" BODY=8BITMIME"));
	if (keywords & EHLO_SMTPUTF8 && e->flags & ENVELOPE_SMTPUTF8)
		buf_add(&line, STR(" SMTPUTF8"));
	if (keywords & EHLO_REQUIRETLS && e->flags & ENVELOPE_REQUIRETLS && stream_tls(t->c->stream))
		buf_add(&line, STR(" REQUIRETLS"));
	if (keywords & EHLO_DSN && e->ret != RET_NONE)
		buf_add(&line, e->ret == RET_FULL ? STR(" RET=FULL") : STR(" RET=HDRS"));
	if (keywords & EHLO_DSN && e->envid.len) {
		buf_add(&line, STR(" ENVID="));
		xtext_encode(&line, e->envid);
	}
	/* Who sends it has not been checked further (RFC 4954, 5). */
	if (t->c->is_logged_in && t->d->settings->sends_mail_auth)
		buf_add(&line, STR(" AUTH=<>"));
	buf_add(&line, STR("\r\n"));
	err = stream_write(t->c->stream, buf_str(&line));
	buf_done(&line);
	t->is_mail_open = true;
	return err ? lost(t, err, "sending MAIL FROM") : 0;
}

static void add_notify(struct buf *line, uint8_t notify)
{
	static const struct {
		enum dsn_notify bit;
		const char *word;
	} words[] = {{NOTIFY_NEVER, "NEVER"}, {NOTIFY_SUCCESS, "SUCCESS"}, {NOTIFY_FAILURE, "FAILURE"}, {NOTIFY_DELAY, "DELAY"}};
	char separator = '=';

	buf_add(line, STR(" NOTIFY"));
	for (size_t i = 0; i < COUNT_OF(words); i++) {
		if (!(notify & words[i].bit))
			continue;
		buf_addf(line, "%c%s", separator, words[i].word);
		separator = ',';
	}
}

static int send_rcpt(struct transaction *t, uint32_t at)
{
	const struct recipient *r = &t->d->envelope.recipients[at];
	bool has_dsn = t->c->ehlo.keywords & EHLO_DSN;
	struct buf line = BUF_INIT(COMMAND_MAX);
	struct str type, address;
	int err;

	buf_add(&line, STR("RCPT TO:<"));
	address_format(&line, r->address);
	buf_add_char(&line, '>');
	if (has_dsn && r->notify)
		add_notify(&line, r->notify);
	if (has_dsn && str_split(r->orcpt, ';', &type, &address)) {
		buf_addf(&line, " ORCPT=%.*s;", STR_ARG(type));
		xtext_encode(&line, address);
	}
	buf_add(&line, STR("\r\n"));
	err = stream_write(t->c->stream, buf_str(&line));
	buf_done(&line);
	t->batch[t->batch_count++] = at;
	return err ? lost(t, err, "sending RCPT TO") : 0;
}

/* RFC 5321, 4.5.3.1.10: too many recipients for one transaction, said with either code. */
static bool is_too_many(const struct transaction *t)
{
	return t->accepted_count && (t->c->reply.code == 452 || t->c->reply.code == 552);
}

/* The server would take this recipient: all that a probe asks. */
static void settle_probe(struct transaction *t, uint32_t at)
{
	struct verdict v = {.dsn = STR("2.1.5"), .relay = str_of(t->c->relay), .mta = str_of(t->c->host)};

	v.text = server_reply_text(&t->c->reply, &t->d->arena);
	delivery_settle(t->d, at, DELIVERY_DELIVERABLE, &v, t->c);
}

static void judge_rcpt(struct transaction *t, uint32_t at)
{
	struct pending *p = &t->d->recipients[at];
	struct delivery *d = t->d;
	struct verdict v;

	if (t->c->reply.code / 100 == 2) {
		p->is_accepted = true;
		t->accepted_count++;
		if (d->envelope.flags & ENVELOPE_VERIFY_ONLY)
			settle_probe(t, at);
		return;
	}
	connection_said(t->c, "RCPT TO", &d->arena, &v);
	if (is_too_many(t)) {
		/* 552 says the same as 452 here, so it is not for good. */
		v.is_permanent = false;
		v.dsn = STR("4.5.3");
		delivery_put_off(d, at, &v, t->c);
		p->is_held_over = true;
		return;
	}
	if (v.is_permanent) {
		delivery_settle(d, at, d->envelope.flags & ENVELOPE_VERIFY_ONLY ? DELIVERY_UNDELIVERABLE : DELIVERY_BOUNCED, &v,
		                t->c);
		return;
	}
	if (!d->is_last_target)
		log_tagged(d->settings->tag, LOG_LEVEL_INFO, "%s: %.*s", d->envelope.queue_id, STR_ARG(v.text));
	delivery_put_off(d, at, &v, t->c);
}

/* Reads the replies that are due. Sets is_refused when MAIL was; the replies behind it mean nothing then. */
static int read_envelope_replies(struct transaction *t, bool *ret_is_refused)
{
	struct verdict refusal;
	int err = 0;

	*ret_is_refused = false;
	if (t->is_mail_open) {
		err = hear(t, t->d->settings->mail_timeout, "sending MAIL FROM");
		if (err)
			return err;
		t->is_mail_open = false;
		*ret_is_refused = t->c->reply.code / 100 != 2;
		if (*ret_is_refused)
			connection_said(t->c, "MAIL FROM", &t->d->arena, &refusal);
	}
	for (size_t i = 0; !err && !t->c->is_broken && i < t->batch_count; i++) {
		err = hear(t, t->d->settings->rcpt_timeout, "sending RCPT TO");
		if (!err && !*ret_is_refused)
			judge_rcpt(t, t->batch[i]);
	}
	t->batch_count = 0;
	if (*ret_is_refused) {
		/* It counts even if the server hung up after it. */
		delivery_failed(t->d, &refusal, false, t->c);
		return 0;
	}
	return err;
}

static int send_data(struct transaction *t)
{
	int err = stream_write(t->c->stream, STR("DATA\r\n"));

	t->is_data_sent = true;
	return err ? lost(t, err, "sending DATA command") : 0;
}

/* MAIL and RCPT for all, and DATA where it can go along. */
static int send_envelope(struct transaction *t, bool *ret_is_refused)
{
	struct delivery *d = t->d;
	bool is_probe = d->envelope.flags & ENVELOPE_VERIFY_ONLY;
	int err = send_mail(t);

	*ret_is_refused = false;
	if (!err && !t->is_pipelined)
		err = read_envelope_replies(t, ret_is_refused);
	for (uint32_t i = 0; !err && !*ret_is_refused && !t->c->is_broken && i < d->envelope.recipient_count; i++) {
		if (d->recipients[i].is_done || d->recipients[i].is_held_over)
			continue;
		err = send_rcpt(t, i);
		if (!err && (!t->is_pipelined || t->batch_count == BATCH_MAX))
			err = read_envelope_replies(t, ret_is_refused);
	}
	if (!err && !*ret_is_refused && t->is_pipelined && !is_probe && !t->c->is_broken)
		err = send_data(t);
	if (!err && (t->batch_count || t->is_mail_open))
		err = read_envelope_replies(t, ret_is_refused);
	if (!err && !*ret_is_refused && !t->is_data_sent && t->accepted_count && !is_probe)
		err = send_data(t);
	return err;
}

/* DATA went along, but there is nothing to send: a server that says 354 all the same wants its dot. */
static int give_up_data(struct transaction *t)
{
	int err;

	t->c->is_spent = true;
	if (!t->is_data_sent || t->c->is_broken)
		return 0;
	err = hear(t, t->d->settings->data_init_timeout, "sending DATA command");
	if (!err && t->c->reply.code == 354) {
		err = stream_write(t->c->stream, STR(".\r\n"));
		if (!err)
			err = hear(t, t->d->settings->data_done_timeout, "sending end of data");
	}
	/* All recipients have their answers; this one tells nothing new. */
	if (err && err != -ECANCELED)
		t->c->is_broken = true;
	return err == -ECANCELED ? err : 0;
}

static bool has_held_over(const struct delivery *d)
{
	for (uint32_t i = 0; i < d->envelope.recipient_count; i++)
		if (d->recipients[i].is_held_over && !d->recipients[i].is_done)
			return true;
	return false;
}

static bool is_seven_bit(const struct transaction *t)
{
	return !(t->c->ehlo.keywords & EHLO_8BITMIME) && !t->d->settings->params->disable_mime_output_conversion;
}

static int send_content(struct transaction *t)
{
	struct delivery *d = t->d;
	struct stream *s = t->c->stream;
	int err;

	stream_set_timeout(s, d->settings->data_xfer_timeout);
	err = (is_seven_bit(t) ? body_send_downgraded : body_send)(s, content_file_fd(d->file), d->content_at, d->content_size,
	                                                           (size_t)d->settings->line_limit);
	if (err == -EIO) {
		/* Our own file: whatever has been sent must not look like a whole message. */
		t->v = (struct verdict){.dsn = STR("4.3.0"), .text = STR("cannot read the message from the spool")};
		t->c->is_broken = true;
		return -EHOSTUNREACH;
	}
	if (err)
		return lost(t, err, "sending message body");
	d->is_at_stake = true;
	err = stream_write(s, STR(".\r\n"));
	/* No more mail for this server: QUIT may travel along. */
	if (!err && t->is_pipelined && !has_held_over(d) && !(d->has_more && connection_is_reusable(t->c))) {
		t->c->has_quit = true;
		err = stream_write(s, STR("QUIT\r\n"));
	}
	if (!err)
		err = stream_flush(s);
	return err ? lost(t, err, "sending message body") : 0;
}

/* The outcome for one recipient, or for all accepted ones. */
static void judge_content(struct transaction *t, uint32_t from, uint32_t to)
{
	struct delivery *d = t->d;
	struct verdict v;

	connection_said(t->c, "end of DATA", &d->arena, &v);
	if (t->c->reply.code / 100 == 2)
		v.text = v.diagnostic;
	for (uint32_t i = from; i < to; i++) {
		struct pending *p = &d->recipients[i];

		if (p->is_done || !p->is_accepted)
			continue;
		if (t->c->reply.code / 100 == 2) {
			delivery_settle(d, i, DELIVERY_SENT, &v, t->c);
		} else if (v.is_permanent) {
			delivery_settle(d, i, DELIVERY_BOUNCED, &v, t->c);
		} else {
			delivery_put_off(d, i, &v, t->c);
		}
	}
}

static const char end_phase[] = "sending end of data -- message may be sent more than once";

static int read_outcome(struct transaction *t)
{
	struct delivery *d = t->d;
	int err;

	if (!d->settings->is_lmtp) {
		err = hear(t, d->settings->data_done_timeout, end_phase);
		if (!err)
			judge_content(t, 0, d->envelope.recipient_count);
		/* It may have been taken, so it is not sent again at once. */
		t->v.is_tls_lost = false;
		return err;
	}
	/* LMTP answers for each recipient that it had accepted (RFC 2033, 4.2). */
	for (uint32_t i = 0; i < d->envelope.recipient_count; i++) {
		if (d->recipients[i].is_done || !d->recipients[i].is_accepted)
			continue;
		err = hear(t, d->settings->data_done_timeout, end_phase);
		if (err) {
			t->v.is_tls_lost = false;
			return err;
		}
		judge_content(t, i, i + 1);
	}
	return 0;
}

static int send_message(struct transaction *t)
{
	int err = hear(t, t->d->settings->data_init_timeout, "sending DATA command");

	if (err)
		return err;
	if (t->c->reply.code != 354) {
		struct verdict v;

		connection_said(t->c, "DATA", &t->d->arena, &v);
		t->c->is_spent = true;
		delivery_failed(t->d, &v, true, t->c);
		return 0;
	}
	err = send_content(t);
	if (!err)
		err = read_outcome(t);
	t->d->is_at_stake = false;
	return err;
}

/* A reply to what we have not said: someone else has said it inside our TLS, before us. */
static void early_reply(struct delivery *d, struct connection *c, struct verdict *v)
{
	*v = (struct verdict){.is_site = true, .dsn = STR("4.7.0")};
	/* It is told when the connection is long gone. */
	v->relay = arena_str(&d->arena, str_of(c->relay));
	v->mta = arena_str(&d->arena, str_of(c->host));
	v->text = arena_printf(&d->arena, "host %s replied before it was asked: someone may have spoken in our name", c->peer);
	c->is_broken = true;
}

int transaction_run(struct delivery *d, struct connection *c, struct verdict *ret_verdict)
{
	struct transaction t = {.d = d, .c = c, .is_pipelined = c->ehlo.keywords & EHLO_PIPELINING};
	bool is_refused = false;
	int err = 0;

	for (uint32_t i = 0; i < d->envelope.recipient_count; i++)
		d->recipients[i].is_accepted = d->recipients[i].is_held_over = false;
	c->use_count++;
	if (d->settings->tls_blocks_early_reply && stream_tls(c->stream) && stream_peek(c->stream).len) {
		early_reply(d, c, ret_verdict);
		return -EHOSTUNREACH;
	}
	if (!is_possible(&t))
		return 0;
	err = send_envelope(&t, &is_refused);
	if (!err && (is_refused || !t.accepted_count))
		err = give_up_data(&t);
	else if (!err && d->envelope.flags & ENVELOPE_VERIFY_ONLY)
		c->is_spent = true;
	else if (!err)
		err = send_message(&t);
	if (err == -EHOSTUNREACH)
		*ret_verdict = t.v;
	return err;
}
