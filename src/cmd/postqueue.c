/* SPDX-License-Identifier: Apache-2.0 */
/* postqueue and mailq: show the queue, and have it tried again. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "cmd/commands.h"
#include "cmd/offline_queue.h"
#include "cmd/queue_client.h"
#include "cmd/queue_format.h"
#include "config/params.h"
#include "process/sandbox.h"

enum { OUTPUT_SIZE = 1 << 20 };

struct listing {
	struct queue_format format;
	struct buf out;
};

static int write_out(struct listing *l)
{
	struct str text = buf_str(&l->out);
	int err = text.len && fwrite(text.ptr, 1, text.len, stdout) != text.len ? -EPIPE : 0;

	buf_reset(&l->out);
	return err;
}

/* Lines leave as they come, so that `mailq | head` need not wait for the rest. */
static int show(const struct message *m, void *arg)
{
	struct listing *l = arg;

	if (m->type == MESSAGE_QUEUE_ITEM)
		queue_format_item(&l->format, &m->queue_item);
	else if (m->type == MESSAGE_QUEUE_RECIPIENT)
		queue_format_recipient(&l->format, &m->queue_recipient);
	else
		return -EBADMSG;
	return write_out(l);
}

static int refuse(int err, const struct buf *why, const char *what)
{
	if (err == -EPIPE || err == -ETIMEDOUT || err == -EBADMSG)
		log_fatal("%s: the mail system went away while it answered", what);
	else
		log_fatal("%.*s", STR_ARG(why->len ? buf_str(why) : str_of(strerror(-err))));
	return err == -EPERM ? EX_NOPERM : EX_UNAVAILABLE;
}

static int talk_list(struct channel *ch, void *arg)
{
	struct listing l = {.out = BUF_INIT(OUTPUT_SIZE)};
	struct queue_request r = {.what = STR("list"), .item = show, .arg = &l};
	struct buf why = BUF_INIT(2000);
	int err, status = 0;

	queue_format_init(&l.format, *(bool *)arg, &l.out);
	err = queue_client_ask(ch, &r, &why);
	if (!err) {
		queue_format_end(&l.format);
		err = write_out(&l);
	}
	if (err == -EAGAIN)
		status = err;
	else if (err && !ferror(stdout))
		status = refuse(err, &why, "queue report");
	queue_format_done(&l.format);
	buf_done(&l.out);
	buf_done(&why);
	return status;
}

static int talk_order(struct channel *ch, void *arg)
{
	struct buf why = BUF_INIT(2000);
	int err = queue_client_ask(ch, arg, &why), status = 0;

	if (err == -EAGAIN)
		status = err;
	else if (err)
		status = refuse(err, &why, "flush");
	buf_done(&why);
	return status;
}

/* The server is down: what its index holds is shown anyway. */
static int list_offline(const struct config *c, bool is_json)
{
	struct listing l = {.out = BUF_INIT(OUTPUT_SIZE)};
	char *owner = str_cstr(config_main_view(c)->params->mail_owner);
	struct buf why = BUF_INIT(1000);
	/* Whose folder it is could put links there to files that are root's alone. */
	int err = sandbox_become(owner, &why);

	queue_format_init(&l.format, is_json, &l.out);
	if (!err)
		err = offline_queue_list(config_main_view(c)->params->queue_directory, show, &l);
	if (!err) {
		queue_format_end(&l.format);
		err = write_out(&l);
	}
	queue_format_done(&l.format);
	buf_done(&l.out);
	buf_done(&why);
	free(owner);
	return err;
}

static int list(const struct config *c, bool is_json)
{
	int status = queue_client_run(c, "qmgr", talk_list, &is_json);

	if (status >= 0)
		return status;
	if (status == -EAGAIN) {
		log_fatal("Queue report unavailable - too many ask at once; try again later");
		return EX_UNAVAILABLE;
	}
	if (!list_offline(c, is_json)) {
		log_warn("Mail system is down -- this is what its index holds; mail that was not tried yet is not shown");
		return 0;
	}
	log_fatal("Queue report unavailable - mail system is down (%s); `postfix start` starts it", strerror(-status));
	return EX_UNAVAILABLE;
}

static int order(const struct config *c, const char *what, const char *argument)
{
	struct queue_request r = {.what = str_of(what), .argument = str_of(argument)};
	int status = queue_client_run(c, "qmgr", talk_order, &r);

	if (status >= 0)
		return status;
	if (status == -EAGAIN)
		log_fatal("Cannot flush mail queue - too many ask at once; try again later");
	else
		log_fatal("Cannot flush mail queue - mail system is down (%s); `postfix start` starts it", strerror(-status));
	return EX_UNAVAILABLE;
}

static int usage(void)
{
	fprintf(stderr, "usage: postqueue [-v] [-c config_dir] -f | -p | -j | -i queue_id | -s site\n");
	return EX_USAGE;
}

static int run(const char *dir, int mode, const char *argument)
{
	struct config *c = config_load(command_config_dir(dir), NULL, 0);
	int status;

	if (mode == 'p' || mode == 'j')
		status = list(c, mode == 'j');
	else
		status = order(c, mode == 'f' ? "flush" : mode == 'i' ? "flush-id" : "flush-site", argument);
	config_free(c);
	return status;
}

int cmd_postqueue(int argc, char **argv)
{
	const char *dir = NULL, *argument = "";
	int option, mode = 0;

	while ((option = getopt(argc, argv, "c:fi:jps:v")) != -1) {
		if (option == '?')
			return usage();
		if (option == 'c') {
			dir = optarg;
		} else if (option != 'v') {
			if (mode)
				return usage();
			mode = option;
			argument = optarg ? optarg : "";
		}
	}
	if (!mode || optind < argc)
		return usage();
	return run(dir, mode, argument);
}

int cmd_mailq(int argc, char **argv)
{
	return run(NULL, 'p', "");
}
