/* SPDX-License-Identifier: Apache-2.0 */
/* Access tokens and the commands that print them. */
#include "role/lookup/token_keeper.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/map.h"
#include "config/params.h"
#include "fiber/fiber.h"
#include "ipc/helper.h"
#include "role/lookup/token.h"
#include "sasl/access_token.h"

enum {
	ACCOUNTS_MAX = 10000,
	QUESTIONS_MAX = 5000,
	RUNS_MAX = 10, /* commands at once */
	COMMAND_LIMIT_S = 30,
	OUTPUT_WAIT_S = COMMAND_LIMIT_S + 5,
	TURN_WAIT_S = 50, /* for the commands of others; smtp is patient for both waits together */
	PAUSE_S = 5,      /* after a command failed, or its tokens are refused one after the other */
	UNTOLD_LIFE_S = 300,
	LIFE_MAX_S = 86400,
	MARGIN_S = 60, /* a token that is about to expire may have done so when the server looks */
	ARGUMENTS_SIZE_MAX = 8192,
};

/* Of a transport. */
struct provider {
	struct str command;
	const char *parameter;
};

/* One login name of one command. */
struct account {
	struct provider provider;
	char *user;
	char *token; /* NULL: none */
	struct instant made_at, good_until;
	struct instant next_run; /* not before */
	struct instant refused_at;
	bool is_running;
	struct wait_list ran;
};

struct question {
	struct client *client;
	uint64_t token;
	struct account *account;
};

static struct {
	struct process *process;
	struct channel *helper; /* NULL: no transport has a command */
	struct map providers;   /* by transport */
	struct map accounts;    /* by command and name */
	size_t question_count, run_count;
	struct wait_list run_ended;
	bool has_told_loss;
} keeper;

/* --- start ------------------------------------------------------------------------------------------ */

static void add_provider(const struct config *c, const struct service *s)
{
	const struct params *p = config_service_view(c, s)->params;
	bool is_lmtp = str_eq(s->program, STR("lmtp"));
	bool is_client = is_lmtp || str_eq(s->program, STR("smtp"));
	bool logs_in = is_lmtp ? p->lmtp_sasl_auth_enable : p->smtp_sasl_auth_enable;
	struct str command = str_trim(is_lmtp ? p->lmtp_sasl_token_command : p->smtp_sasl_token_command);
	struct provider *provider;

	if (!is_client || !str_eq(s->type, STR("unix")) || !logs_in || !command.len)
		return;
	provider = mem_alloc(sizeof(*provider));
	*provider = (struct provider){command, is_lmtp ? "lmtp_sasl_token_command" : "smtp_sasl_token_command"};
	free(map_set(&keeper.providers, s->name, provider));
}

int token_keeper_prepare(struct process *p, struct buf *why)
{
	keeper.process = p;
	for (size_t i = 0; i < config_service_count(p->config); i++)
		add_provider(p->config, config_service(p->config, i));
	if (!map_count(&keeper.providers))
		return 0;
	wait_list_init(&keeper.run_ended);
	return helper_start(TOKEN_PROGRAM, config_main_view(p->config)->params->mail_owner, &keeper.helper, why);
}

/* --- accounts --------------------------------------------------------------------------------------- */

static struct account *account_of(struct str transport, struct str user, bool may_make)
{
	const struct provider *provider = map_find(&keeper.providers, transport);
	struct buf key = BUF_INIT(ARGUMENTS_SIZE_MAX);
	struct account *acc = NULL;

	if (!provider)
		return NULL;
	buf_add_lstr(&key, provider->command);
	buf_add(&key, user);
	if (!buf_check(&key))
		acc = map_find(&keeper.accounts, buf_str(&key));
	if (!acc && may_make && !buf_check(&key) && map_count(&keeper.accounts) < ACCOUNTS_MAX) {
		acc = mem_alloc(sizeof(*acc));
		*acc = (struct account){.provider = *provider, .user = str_cstr(user)};
		wait_list_init(&acc->ran);
		(void)map_set(&keeper.accounts, buf_str(&key), acc);
	}
	buf_done(&key);
	return acc;
}

static void forget_token(struct account *acc)
{
	if (acc->token)
		explicit_bzero(acc->token, strlen(acc->token));
	free(acc->token);
	acc->token = NULL;
}

static void keep_token(struct account *acc, struct str token, int64_t lifetime_s)
{
	int64_t life = lifetime_s < 0 ? UNTOLD_LIFE_S : lifetime_s > LIFE_MAX_S ? LIFE_MAX_S : lifetime_s;

	forget_token(acc);
	acc->token = str_cstr(token);
	acc->made_at = clock_now();
	acc->good_until = clock_deadline(duration_s(life > 2 * MARGIN_S ? life - MARGIN_S : life / 2));
	log_info("%s: a new access token for %s, good for %lld s%s", acc->provider.parameter, acc->user, (long long)life,
	         lifetime_s < 0 ? " or less: the command does not tell" : "");
}

static bool is_within(struct instant since, int64_t seconds)
{
	return since.ns && instant_is_before(clock_now(), instant_after(since, duration_s(seconds)));
}

/* --- the command ------------------------------------------------------------------------------------- */

/* One line of what it said. */
static void add_complaint(struct buf *why, struct str text)
{
	text = str_trim(text);
	if (text.len)
		buf_add(why, STR(": "));
	for (size_t i = 0; i < text.len; i++)
		buf_add_char(why, (unsigned char)text.ptr[i] < ' ' || text.ptr[i] == 127 ? ' ' : text.ptr[i]);
}

static void tell_failure(const struct message_token_output *m, struct buf *why)
{
	int status = (int)m->status;

	if (m->error == ETIMEDOUT)
		buf_addf(why, "was killed after %d s", (int)COMMAND_LIMIT_S);
	else if (m->error == EMSGSIZE)
		buf_addf(why, "printed more than %d bytes", (int)TOKEN_OUTPUT_MAX);
	else if (m->error)
		buf_addf(why, "cannot be run: %s", strerror((int)m->error));
	else if (WIFSIGNALED(status))
		buf_addf(why, "died with signal %d", WTERMSIG(status));
	else
		buf_addf(why, "ended with status %d", WEXITSTATUS(status));
	add_complaint(why, m->complaint);
}

static int take_output(struct account *acc, const struct message_token_output *m, struct buf *why)
{
	struct arena a = ARENA_INIT;
	struct str token;
	int64_t lifetime;
	int err = 0;

	if (m->error || m->status) {
		tell_failure(m, why);
		return -EAGAIN;
	}
	if (access_token_parse(m->output, &a, &token, &lifetime)) {
		buf_add(why, STR("printed no access token: its first line or \"access_token\" in JSON would be one"));
		add_complaint(why, m->complaint);
		err = -EAGAIN;
	} else if (lifetime == 0) {
		buf_add(why, STR("printed a token that has expired"));
		err = -EAGAIN;
	} else {
		keep_token(acc, token, lifetime);
	}
	if (!err)
		explicit_bzero((char *)(uintptr_t)token.ptr, token.len);
	arena_done(&a);
	return err;
}

static int run_command(struct account *acc, struct buf *why)
{
	struct buf arguments = BUF_INIT(ARGUMENTS_SIZE_MAX);
	struct message answer, m = {.type = MESSAGE_TOKEN_COMMAND, .token_command = {.time_limit_s = COMMAND_LIMIT_S}};
	struct channel *worker;
	int err = token_command_parse(acc->provider.command, str_of(acc->user), &arguments, why);

	m.token_command.arguments = buf_str(&arguments);
	if (!err) {
		err = helper_fork(keeper.helper, &m, &worker);
		if (err)
			buf_addf(why, "cannot be run: %s", err == -EPIPE ? "the program \"token\" ended" : strerror(-err));
		/* Only a new lookup process can start another one. */
		if (err == -EPIPE && !keeper.has_told_loss) {
			keeper.has_told_loss = true;
			process_table_changed(keeper.process, STR("the access tokens"));
		}
	}
	buf_done(&arguments);
	if (err)
		return err;
	err = channel_recv(worker, clock_deadline(duration_s(OUTPUT_WAIT_S)), &answer);
	if (!err && answer.type == MESSAGE_TOKEN_OUTPUT)
		err = take_output(acc, &answer.token_output, why);
	else
		buf_add(why, STR("was left alone: the process that ran it ended"));
	channel_free(worker);
	return err;
}

static int refresh(struct account *acc, struct instant deadline)
{
	struct buf why = BUF_INIT(4096);
	struct str program = acc->provider.command, rest = program;
	int err = 0;

	(void)str_next(&rest, " \t\r\n", &program);
	while (keeper.run_count >= RUNS_MAX && !err)
		err = wait_list_wait(&keeper.run_ended, deadline);
	if (err)
		return err;
	keeper.run_count++;
	err = run_command(acc, &why);
	keeper.run_count--;
	(void)wait_list_wake_one(&keeper.run_ended);
	if (err) {
		acc->next_run = clock_deadline(duration_s(PAUSE_S));
		log_warn("%s: no access token for %s: %.*s %s -- its mail waits; run the command as user %.*s to see more",
		         acc->provider.parameter, acc->user, STR_ARG(program), buf_cstr(&why),
		         STR_ARG(config_main_view(keeper.process->config)->params->mail_owner));
	}
	buf_done(&why);
	return err;
}

/* 0 when acc->token is good, for now. */
static int account_get(struct account *acc)
{
	struct instant deadline = clock_deadline(duration_s(TURN_WAIT_S));
	int err = 0;

	while (acc->is_running && !err)
		err = wait_list_wait(&acc->ran, deadline);
	if (err || (acc->token && instant_is_before(clock_now(), acc->good_until)))
		return err;
	if (instant_is_before(clock_now(), acc->next_run))
		return -EAGAIN;
	acc->is_running = true;
	forget_token(acc);
	err = refresh(acc, deadline);
	acc->is_running = false;
	wait_list_wake_all(&acc->ran);
	return err;
}

/* --- questions --------------------------------------------------------------------------------------- */

static void answer(struct client *c, uint64_t token, int err, const struct account *acc)
{
	struct message m = {.type = MESSAGE_ACCESS_TOKEN_ANSWER,
	                    .access_token_answer = {.token = token, .result = (uint32_t)-err}};

	if (!err) {
		m.access_token_answer.access_token = str_of(acc->token);
		m.access_token_answer.is_new = is_within(acc->made_at, PAUSE_S);
	}
	client_send(c, &m);
}

static void run_question(void *arg)
{
	struct question *q = arg;

	answer(q->client, q->token, account_get(q->account), q->account);
	keeper.question_count--;
	client_release(q->client);
	free(q);
}

void token_keeper_ask(struct client *c, const struct message_access_token_ask *m)
{
	struct account *acc = account_of(m->transport, m->user, true);
	struct question *q;

	if (!acc || keeper.question_count >= QUESTIONS_MAX) {
		answer(c, m->token, acc ? -EAGAIN : -ENOENT, NULL);
		return;
	}
	q = mem_alloc(sizeof(*q));
	*q = (struct question){.client = client_hold(c), .token = m->token, .account = acc};
	keeper.question_count++;
	fiber_start("access token", run_question, q);
}

/* One refusal may have its reason in the token; when the next one is refused as well, there is no hurry to make more. */
void token_keeper_refused(const struct message_access_token_refused *m)
{
	struct account *acc = account_of(m->transport, m->user, false);

	if (!acc || !acc->token || !str_eq(str_of(acc->token), m->access_token))
		return;
	forget_token(acc);
	if (is_within(acc->refused_at, PAUSE_S))
		acc->next_run = instant_after(acc->refused_at, duration_s(PAUSE_S));
	acc->refused_at = clock_now();
}
