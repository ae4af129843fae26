/* SPDX-License-Identifier: Apache-2.0 */
/* postsuper: delete, hold, release, requeue and expire messages, one by one or all. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "base/map.h"
#include "cmd/commands.h"
#include "cmd/queue_client.h"
#include "mail/queue_id.h"

static const struct action {
	char option;
	const char *request;
	const char *total; /* "Deleted: 3 messages" */
} actions[] = {
	{'d', "delete", "Deleted"},
	{'e', "expire", "Expired"},
	{'f', "expire-release", "Expired"},
	{'h', "hold", "Placed on hold"},
	{'H', "release", "Released from hold"},
	{'r', "requeue", "Requeued"},
};

enum { ORDER_LIMIT = 64 };

struct order {
	const struct action *action;
	const char *argument; /* a queue id, "ALL", or "-" for ids from standard input */
};

struct orders {
	struct order list[ORDER_LIMIT];
	size_t count;
	char **queues;       /* only messages in these, ends with NULL; none named means everywhere */
	struct map messages; /* their ids */
	bool has_messages;
	size_t done; /* of `list`: where to go on after the server has turned us away */
	char *line;  /* of standard input */
	size_t line_size;
	bool has_line; /* its order was not taken yet */
	uint64_t totals[COUNT_OF(actions)];
};

static const char *const queue_names[] = {"incoming", "active", "deferred", "hold", "maildrop"};

static const struct action *find_action(int option)
{
	for (size_t i = 0; i < COUNT_OF(actions); i++)
		if (actions[i].option == option)
			return &actions[i];
	return NULL;
}

static int ask(struct channel *ch, struct orders *all, const struct action *a, struct str argument)
{
	struct queue_request r = {.what = str_of(a->request), .argument = argument};
	struct buf why = BUF_INIT(2000);
	int err = queue_client_ask(ch, &r, &why);

	all->totals[a - actions] += r.count;
	if (err && err != -EAGAIN)
		log_fatal("%s %.*s: %s", a->request, STR_ARG(argument), why.len ? buf_cstr(&why) : strerror(-err));
	buf_done(&why);
	return err;
}

/* --- only some queues ----------------------------------------------------------------------- */

static int remember(const struct message *m, void *arg)
{
	struct orders *all = arg;

	for (size_t i = 0; m->type == MESSAGE_QUEUE_ITEM && all->queues[i]; i++)
		if (str_eq(m->queue_item.queue, str_of(all->queues[i])))
			map_set(&all->messages, m->queue_item.queue_id, all);
	return 0;
}

static int find_messages(struct channel *ch, struct orders *all)
{
	struct queue_request r = {.what = STR("list"), .item = remember, .arg = all};
	struct buf why = BUF_INIT(2000);
	int err = queue_client_ask(ch, &r, &why);

	if (err && err != -EAGAIN)
		log_fatal("queue report: %s", why.len ? buf_cstr(&why) : strerror(-err));
	buf_done(&why);
	return err;
}

static int ask_within(struct channel *ch, struct orders *all, const struct action *a, struct str argument)
{
	size_t at = 0;
	struct str id;
	void *ignored;
	int err = 0;

	if (!*all->queues)
		return ask(ch, all, a, argument);
	if (!str_eq(argument, STR("ALL")))
		return map_find(&all->messages, argument) ? ask(ch, all, a, argument) : 0;
	while (!err && map_next(&all->messages, &at, &id, &ignored))
		err = ask(ch, all, a, id);
	return err;
}

static bool are_queues(char **names)
{
	for (; *names; names++) {
		bool is_known = false;

		for (size_t i = 0; i < COUNT_OF(queue_names); i++)
			is_known |= !strcmp(*names, queue_names[i]);
		if (!is_known) {
			log_fatal("there is no queue %s; write incoming, active, deferred or hold", *names);
			return false;
		}
	}
	return true;
}

/* --- orders ----------------------------------------------------------------------------------- */

static int ask_for_input(struct channel *ch, struct orders *all, const struct action *a)
{
	int err = 0;

	while (!err && (all->has_line || getline(&all->line, &all->line_size, stdin) >= 0)) {
		struct str rest = str_of(all->line), id;

		all->has_line = false;
		if (!str_next(&rest, " \t\r\n", &id))
			continue;
		if (!queue_id_is_valid(id))
			log_warn("invalid mail queue id: %.*s", STR_ARG(id));
		else
			err = ask_within(ch, all, a, id);
		all->has_line = err == -EAGAIN;
	}
	return err;
}

/* Again from where it was when the server has turned us away. */
static int talk(struct channel *ch, void *arg)
{
	struct orders *all = arg;
	int err = *all->queues && !all->has_messages ? find_messages(ch, all) : 0;

	all->has_messages = !err;
	while (all->done < all->count && !err) {
		const struct order *o = &all->list[all->done];

		if (!strcmp(o->argument, "-"))
			err = ask_for_input(ch, all, o->action);
		else
			err = ask_within(ch, all, o->action, str_of(o->argument));
		all->done += !err;
	}
	return err == -EAGAIN ? err : err ? EX_UNAVAILABLE : 0;
}

static void report(const struct orders *all)
{
	for (size_t i = 0; i < COUNT_OF(actions); i++)
		if (all->totals[i])
			log_info("%s: %llu message%s", actions[i].total, (unsigned long long)all->totals[i],
			         all->totals[i] == 1 ? "" : "s");
}

static int run(const char *dir, struct orders *all)
{
	struct config *c = config_load(command_config_dir(dir), NULL, 0);
	int status = all->count ? queue_client_run(c, "qmgr", talk, all) : 0;

	config_free(c);
	map_done(&all->messages);
	free(all->line);
	report(all);
	if (status >= 0)
		return status;
	if (status == -EAGAIN)
		log_fatal("the mail system did not take all orders - too many ask at once; try again later");
	else
		log_fatal("the mail system is down (%s); `postfix start` starts it, then try again", strerror(-status));
	return EX_UNAVAILABLE;
}

static int usage(void)
{
	fprintf(stderr, "usage: postsuper [-psSv] [-c config_dir] [-d id] [-e id] [-f id] [-h id] [-H id] [-r id] [queue...]\n"
	                "An id of ALL means every message, - means ids from standard input.\n");
	return EX_USAGE;
}

int cmd_postsuper(int argc, char **argv)
{
	struct orders all = {0};
	const char *dir = NULL;
	int option;

	while ((option = getopt(argc, argv, "c:d:e:f:h:H:pr:sSv")) != -1) {
		const struct action *a = find_action(option);

		if (option == '?')
			return usage();
		if (option == 'c')
			dir = optarg;
		if (!a)
			continue; /* -p -s -S: our spool repairs itself at every start */
		if (strcmp(optarg, "ALL") != 0 && strcmp(optarg, "-") != 0 && !queue_id_is_valid(str_of(optarg))) {
			log_fatal("invalid mail queue id: %s", optarg);
			return EX_USAGE;
		}
		if (all.count == ORDER_LIMIT) {
			log_fatal("more than %d orders; give the ids on standard input: postsuper -%c -", ORDER_LIMIT, option);
			return EX_USAGE;
		}
		all.list[all.count++] = (struct order){a, optarg};
	}
	all.queues = argv + optind;
	return are_queues(all.queues) ? run(dir, &all) : EX_USAGE;
}
