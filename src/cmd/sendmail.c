/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sendmail: takes a message from standard input and hands it to the running server. It
 * ends with 0 only when the server has the message on disk; in every other case it says
 * what happened, and the exit status tells whether trying again makes sense (75).
 */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "cmd/commands.h"
#include "cmd/queue_client.h"
#include "cmd/sendmail_options.h"
#include "cmd/sendmail_session.h"
#include "cmd/sendmail_text.h"
#include "config/params.h"
#include "mail/address.h"

enum { ANSWER_TIME = 600, HEADER_MAX = 1 << 20 };

struct submission {
	struct envelope envelope;
	int fd; /* the content */
};

/* --- who ------------------------------------------------------------------------------------ */

static struct str login_name(struct arena *a)
{
	const struct passwd *pw = getpwuid(getuid());

	return pw ? arena_str(a, str_of(pw->pw_name)) : arena_printf(a, "uid.%u", (unsigned)getuid());
}

/* -F, $NAME, or the first field of the GECOS entry with & for the login name. */
static struct str full_name(const struct sendmail_options *o, struct arena *a)
{
	const struct passwd *pw = getpwuid(getuid());
	const char *env = getenv("NAME");
	struct str gecos;

	if (o->full_name || env)
		return arena_str(a, str_of(o->full_name ? o->full_name : env));
	if (!pw || !pw->pw_gecos)
		return (struct str){0};
	gecos = str_of(pw->pw_gecos);
	gecos = str_cut(gecos, 0, str_find(gecos, ','));
	return str_has(gecos, '&') ? login_name(a) : arena_str(a, gecos);
}

static int parse_sender(const struct sendmail_options *o, struct arena *a, struct str *ret_sender)
{
	struct str text = str_of(o->sender);

	if (!o->sender) {
		*ret_sender = login_name(a);
		return 0;
	}
	text = str_trim(text);
	if (str_starts(text, STR("<")) && str_ends(text, STR(">")))
		text = str_cut(text, 1, text.len - 2);
	if (str_is_empty(text)) {
		*ret_sender = text;
		return 0;
	}
	return address_parse(text, ADDRESS_UTF8, a, ret_sender);
}

/* --- what ------------------------------------------------------------------------------------ */

static int fail(int status, const char *text)
{
	log_fatal("%s", text);
	return status;
}

static int fill_recipients(const struct sendmail_options *o, struct str header, struct arena *a, struct envelope *e)
{
	struct sendmail_recipients list = {.arena = a, .notify = o->notify};

	for (size_t i = 0; o->recipients[i]; i++)
		if (sendmail_add_argument(&list, str_of(o->recipients[i]))) {
			log_fatal("bad recipient address: %s", o->recipients[i]);
			return EX_USAGE;
		}
	if (o->takes_from_header)
		sendmail_add_from_header(&list, header);
	if (!list.count)
		return fail(EX_USAGE, o->takes_from_header
		                              ? "No recipient addresses found in message header"
		                              : "Recipient addresses must be specified on the command line or via the -t option");
	e->recipients = list.recipients;
	e->recipient_count = (uint32_t)list.count;
	return 0;
}

static bool is_8bit_envelope(const struct envelope *e)
{
	bool is_8bit = str_is_8bit(e->sender);

	for (uint32_t i = 0; i < e->recipient_count; i++)
		is_8bit |= str_is_8bit(e->recipients[i].address);
	return is_8bit;
}

static void fill_flags(const struct sendmail_options *o, struct str header, struct envelope *e)
{
	if (o->is_utf8 || is_8bit_envelope(e) || str_is_8bit(header))
		e->flags |= ENVELOPE_SMTPUTF8;
	if (o->is_requiretls)
		e->flags |= ENVELOPE_REQUIRETLS;
	if (o->is_8bit)
		e->flags |= ENVELOPE_8BITMIME;
	if (o->mode == SENDMAIL_VERIFY)
		e->flags |= ENVELOPE_VERIFY_ONLY;
	else if (o->verbose == 1)
		e->flags |= ENVELOPE_TRACE;
	e->ret = o->ret;
	e->envid = str_of(o->envid ? o->envid : "");
}

/* --- to the server ------------------------------------------------------------------------------ */

/* Hands one message over and waits for the answer, which lies in the channel's memory. */
static int submit_over(struct channel *ch, const struct envelope *e, int fd, struct message_submitted *ret_answer)
{
	struct buf envelope = BUF_INIT(MESSAGE_SIZE_MAX);
	struct message m = {.type = MESSAGE_SUBMIT, .fd = fd};
	int err;

	envelope_encode(&envelope, e);
	m.submit = (struct message_submit){.token = 1, .envelope = buf_str(&envelope)};
	err = buf_check(&envelope);
	if (!err)
		err = channel_send(ch, &m);
	buf_done(&envelope);
	if (!err)
		err = channel_recv(ch, clock_deadline(duration_s(ANSWER_TIME)), &m);
	/* No room for us just now, or its process has ended: without an answer it is not theirs. */
	if (err == -EPIPE || err == -ECONNRESET)
		err = -EAGAIN;
	if (!err && m.type != MESSAGE_SUBMITTED)
		err = -EPROTO;
	if (!err)
		*ret_answer = m.submitted;
	return err;
}

static int talk(struct channel *ch, void *arg)
{
	const struct submission *s = arg;
	struct message_submitted answer;
	int err = submit_over(ch, &s->envelope, s->fd, &answer);

	if (err == -EAGAIN)
		return err;
	if (err) {
		log_fatal("the mail system gave no answer (%s); the message may have been lost, send it again", strerror(-err));
		return EX_TEMPFAIL;
	}
	if (answer.code == 250)
		return 0;
	log_fatal("the message was not accepted: %u %.*s", answer.code, STR_ARG(answer.text));
	return answer.code >= 500 ? EX_UNAVAILABLE : EX_TEMPFAIL;
}

static int submit(const struct config *c, struct submission *s)
{
	int status = queue_client_run(c, "pickup", talk, s);

	if (status >= 0)
		return status;
	if (status == -EAGAIN)
		log_fatal("the mail system takes no mail from you just now, the message was not accepted; try again later");
	else
		log_fatal("the mail system is down (%s), the message was not accepted; try again after `postfix start`",
		          strerror(-status));
	return EX_TEMPFAIL;
}

static int read_message(const struct sendmail_options *o, const struct config *c, struct buf *content)
{
	const struct params *p = config_main_view(c)->params;
	struct sendmail_input in = {
		.file = stdin,
		.keeps_dots = o->keeps_dots,
		.size_limit = p->message_size_limit > 0 ? (size_t)p->message_size_limit : 0,
		.line_ends = str_eq(p->sendmail_fix_line_endings, STR("never"))    ? LINE_ENDS_KEPT
	                     : str_eq(p->sendmail_fix_line_endings, STR("strict")) ? LINE_ENDS_STRICT
	                                                                           : LINE_ENDS_MENDED,
	};
	int err;

	if (o->mode == SENDMAIL_VERIFY)
		return 0;
	err = sendmail_read(&in, content);
	if (err == -EMSGSIZE)
		return fail(EX_UNAVAILABLE, "message file too big");
	return err ? fail(EX_IOERR, "the message could not be read") : 0;
}

static int content_file(struct str content)
{
	int fd = memfd_create("message", MFD_CLOEXEC);

	while (fd >= 0 && content.len) {
		ssize_t size = write(fd, content.ptr, content.len);

		if (size <= 0) {
			close(fd);
			return -1;
		}
		content = str_from(content, (size_t)size);
	}
	return fd;
}

static int send_message(const struct sendmail_options *o, const struct config *c, struct arena *a)
{
	struct buf content = BUF_INIT(SIZE_MAX / 2);
	struct submission s = {.envelope = {.arrival = clock_wall()}};
	struct str header;
	int status = read_message(o, c, &content);

	if (!status && parse_sender(o, a, &s.envelope.sender))
		status = fail(EX_USAGE, "bad sender address");
	header = sendmail_header(buf_str(&content));
	if (!status)
		status = fill_recipients(o, header, a, &s.envelope);
	if (!status) {
		struct buf whole = BUF_INIT(SIZE_MAX / 2);

		fill_flags(o, header, &s.envelope);
		sendmail_add_from(&whole, buf_str(&content), s.envelope.sender, full_name(o, a));
		s.envelope.content_size = whole.len;
		s.fd = content_file(buf_str(&whole));
		status = s.fd < 0 ? fail(EX_TEMPFAIL, "no memory for the message") : submit(c, &s);
		buf_done(&whole);
	}
	buf_done(&content);
	return status;
}

/* --- -bs -------------------------------------------------------------------------------------------- */

static struct reply submit_one(void *arg, const struct envelope *e, struct str content, struct arena *a)
{
	struct message_submitted answer = {.code = 451, .text = STR("Error: the mail system gave no answer")};
	int fd = content_file(content);
	struct reply r = {.dsn = DSN(4, 3, 0)};

	if (fd >= 0 && submit_over(arg, e, fd, &answer))
		answer.code = 451;
	if (fd >= 0)
		close(fd);
	r.code = (int)answer.code;
	if (answer.code == 250) {
		r.dsn = DSN(2, 0, 0);
		r.text = arena_printf(a, "Ok: queued as %.*s", STR_ARG(answer.queue_id));
	} else {
		r.dsn.class_digit = answer.code >= 500 ? 5 : 4;
		r.text = arena_str(a, answer.text);
	}
	return r;
}

static int talk_session(struct channel *ch, void *arg)
{
	const struct params *p = arg;
	struct sendmail_session s = {
		.in = stdin,
		.out = stdout,
		.hostname = p->myhostname,
		.mail_name = p->mail_name,
		.size_limit = p->message_size_limit > 0 ? (uint64_t)p->message_size_limit : 0,
		.recipient_limit = (uint32_t)p->smtpd_recipient_limit,
		.submit = submit_one,
		.arg = ch,
	};

	sendmail_session_run(&s);
	return 0;
}

static int run_session(const struct config *c)
{
	int status = queue_client_run(c, "pickup", talk_session, (void *)config_main_view(c)->params);

	if (status >= 0)
		return status;
	printf("421 4.3.2 The mail system is down\r\n");
	return EX_TEMPFAIL;
}

/* --- the other things that sendmail is asked for ---------------------------------------------------- */

static int run_as(const char *const argv[])
{
	fflush(stdout);
	execv("/proc/self/exe", (char *const *)argv);
	log_fatal("%s: %s", argv[0], strerror(errno));
	return EX_OSERR;
}

static int run_mode(const struct sendmail_options *o)
{
	if (o->config_dir)
		setenv("MAIL_CONFIG", o->config_dir, 1);
	switch (o->mode) {
	case SENDMAIL_MAILQ:
		return run_as((const char *const[]){"mailq", NULL});
	case SENDMAIL_ALIASES:
		if (o->alias_file)
			return run_as((const char *const[]){"postalias", o->alias_file, NULL});
		return run_as((const char *const[]){"newaliases", NULL});
	case SENDMAIL_DAEMON:
		return run_as((const char *const[]){"postfix", "start", NULL});
	case SENDMAIL_FLUSH:
		return run_as((const char *const[]){"postqueue", "-f", NULL});
	case SENDMAIL_FLUSH_ID:
		return run_as((const char *const[]){"postqueue", "-i", o->flush, NULL});
	case SENDMAIL_FLUSH_SITE:
		return run_as((const char *const[]){"postqueue", "-s", o->flush, NULL});
	default:
		return 0;
	}
}

int cmd_sendmail(int argc, char **argv)
{
	struct arena arena = ARENA_INIT;
	struct sendmail_options o;
	struct buf why = BUF_INIT(2000);
	struct config *c;
	int status;

	if (sendmail_parse(argc, argv, &o, &why)) {
		status = fail(EX_USAGE, buf_cstr(&why));
		buf_done(&why);
		return status;
	}
	if (o.mode != SENDMAIL_SEND && o.mode != SENDMAIL_VERIFY && o.mode != SENDMAIL_SERVER)
		return run_mode(&o);
	c = config_load(command_config_dir(o.config_dir), NULL, 0);
	status = o.mode == SENDMAIL_SERVER ? run_session(c) : send_message(&o, c, &arena);
	config_free(c);
	arena_done(&arena);
	return status;
}
