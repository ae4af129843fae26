/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program "cyrus": Cyrus SASL for the lookup role, see sasl/cyrus.h. First the nursery, which
 * does nothing but fork, then the workers, which block as they like.
 */
#include "sasl/cyrus.h"

#include <sasl/sasl.h>
#include <sasl/saslplug.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "role/lookup/nursery.h"

static struct {
	int fd;
	sasl_conn_t *conn;
	bool is_ready;      /* the library is initialised */
	char why[1200];     /* why not */
	char last_log[300]; /* what the library complained of in this call */
} worker;

static void answer(const struct message *m)
{
	nursery_send(worker.fd, m);
}

/* --- the library ------------------------------------------------------------------------------------- */

static int keep_log(void *context, int level, const char *text)
{
	if (level <= SASL_LOG_WARN && text)
		snprintf(worker.last_log, sizeof(worker.last_log), "%s", text);
	return SASL_OK;
}

static void start_library(struct str path, struct str config_path)
{
	static const sasl_callback_t callbacks[] = {{SASL_CB_LOG, (int (*)(void))(void (*)(void))keep_log, NULL},
	                                            {SASL_CB_LIST_END, NULL, NULL}};
	char *folders = str_cstr(config_path), *name = str_cstr(path);
	int result = sasl_set_path(SASL_PATH_TYPE_CONFIG, folders);

	if (result == SASL_OK)
		result = sasl_server_init(callbacks, name);
	worker.is_ready = result == SASL_OK;
	if (!worker.is_ready)
		snprintf(worker.why, sizeof(worker.why), "the library does not start with %s.conf of %s: %s %s", name, folders,
		         sasl_errstring(result, NULL, NULL), worker.last_log);
	/* The library keeps both. */
}

/* An absent one instead of an empty one. */
static char *text_or_null(struct str s)
{
	return s.len ? str_cstr(s) : NULL;
}

static int open_conn(struct str service, struct str host, struct str realm, struct str server, struct str client)
{
	/* SMTP has TLS: no layer of SASL's own. */
	static const sasl_security_properties_t no_layer = {.maxbufsize = 0};
	char *texts[] = {text_or_null(service), text_or_null(host), text_or_null(realm), text_or_null(server),
	                 text_or_null(client)};
	int result;

	sasl_dispose(&worker.conn);
	result = sasl_server_new(texts[0] ? texts[0] : "smtp", texts[1], texts[2], texts[3], texts[4], NULL, 0, &worker.conn);
	if (result == SASL_OK)
		result = sasl_setprop(worker.conn, SASL_SEC_PROPS, &no_layer);
	for (size_t i = 0; i < COUNT_OF(texts); i++)
		free(texts[i]);
	return result;
}

/* --- dialogues ---------------------------------------------------------------------------------------- */

static bool is_temporary(int result)
{
	switch (result) {
	case SASL_FAIL: /* what saslauthd's absence looks like */
	case SASL_NOMEM:
	case SASL_BUFOVER:
	case SASL_TRYAGAIN:
	case SASL_NOTINIT:
	case SASL_UNAVAIL:
	case SASL_CONFIGERR:
		return true;
	default:
		return false;
	}
}

static void answer_result(int result, const char *challenge, unsigned size)
{
	struct message m = {.type = MESSAGE_AUTH_ANSWER};
	const void *user = NULL;

	if (result == SASL_CONTINUE) {
		m.auth_answer.result = AUTH_GO_ON;
		m.auth_answer.challenge = str_n(challenge, challenge ? size : 0);
	} else if (result == SASL_OK && sasl_getprop(worker.conn, SASL_USERNAME, &user) == SASL_OK && user) {
		m.auth_answer.result = AUTH_OK;
		m.auth_answer.username = str_of(user);
	} else {
		m.auth_answer.result = result == SASL_OK || is_temporary(result) ? AUTH_TEMPORARY : AUTH_REFUSED;
		m.auth_answer.reason = str_of(sasl_errstring(result == SASL_NOUSER ? SASL_BADAUTH : result, NULL, NULL));
		m.auth_answer.detail = str_of(worker.last_log);
		if (!m.auth_answer.detail.len && worker.conn)
			m.auth_answer.detail = str_of(sasl_errdetail(worker.conn));
	}
	answer(&m);
	if (result != SASL_CONTINUE)
		sasl_dispose(&worker.conn);
}

static void begin(const struct message_cyrus_begin *m)
{
	char *mechanism = str_cstr(m->mechanism);
	const char *out = NULL;
	unsigned size = 0;
	int result = open_conn(m->service, m->host, m->realm, m->server, m->client);

	if (result == SASL_OK)
		result = sasl_server_start(worker.conn, mechanism, m->has_initial ? (m->initial.ptr ? m->initial.ptr : "") : NULL,
		                           (unsigned)m->initial.len, &out, &size);
	answer_result(result, out, size);
	free(mechanism);
}

static void step(const struct message_cyrus_step *m)
{
	const char *out = NULL;
	unsigned size = 0;
	int result = SASL_BADPROT;

	if (worker.conn)
		result = sasl_server_step(worker.conn, m->response.ptr ? m->response.ptr : "", (unsigned)m->response.len, &out,
		                          &size);
	answer_result(result, out, size);
}

/* --- what there is ------------------------------------------------------------------------------------- */

/* The numbers of sasl/server_internal.h's enum mechanism_flag, from what a module says of itself. */
static unsigned flags_of(unsigned security)
{
	unsigned flags = 0;

	flags |= security & SASL_SEC_NOPLAINTEXT ? 0 : 1;
	flags |= security & SASL_SEC_NOANONYMOUS ? 0 : 2;
	flags |= security & SASL_SEC_NODICTIONARY ? 0 : 4;
	flags |= security & SASL_SEC_NOACTIVE ? 0 : 8;
	flags |= security & SASL_SEC_FORWARD_SECRECY ? 16 : 0;
	flags |= security & SASL_SEC_MUTUAL_AUTH ? 32 : 0;
	return flags;
}

static void add_module(server_sasl_mechanism_t *mechanism, sasl_info_callback_stage_t stage, void *arg)
{
	const sasl_server_plug_t *module = mechanism ? mechanism->plug : NULL;
	struct buf *to = arg;

	if (stage == SASL_INFO_LIST_MECH && module)
		buf_addf(to, "%s%s %u", to->len ? " " : "", module->mech_name, flags_of(module->security_flags));
}

static void list(const struct message_cyrus_list *m)
{
	struct buf text = BUF_INIT(8192);
	struct message a = {.type = MESSAGE_AUTH_OFFER};
	const char *names = NULL;
	int result = open_conn(m->service, m->host, m->realm, STR(""), STR(""));

	if (result == SASL_OK)
		result = sasl_listmech(worker.conn, NULL, "", " ", "", &names, NULL, NULL);
	/* One at a time: the call with a list of them wants another form than it gives. */
	for (struct str rest = str_of(names), name; result == SASL_OK && str_next(&rest, " ", &name);) {
		char *one = str_cstr(name);

		(void)sasl_server_plugin_info(one, add_module, &text);
		free(one);
	}
	a.auth_offer.mechanisms = buf_str(&text);
	if (!text.len)
		a.auth_offer.reason =
			str_of(result == SASL_OK ? "no mechanism is installed" : sasl_errstring(result, NULL, NULL));
	answer(&a);
	buf_done(&text);
	sasl_dispose(&worker.conn);
}

static void answer_unready(enum message_type type)
{
	struct message offer = {.type = MESSAGE_AUTH_OFFER, .auth_offer.reason = str_of(worker.why)},
		       refusal = {.type = MESSAGE_AUTH_ANSWER,
	                          .auth_answer = {.result = AUTH_TEMPORARY,
	                                          .reason = STR("authentication is not available"),
	                                          .detail = str_of(worker.why)}};

	answer(type == MESSAGE_CYRUS_LIST ? &offer : &refusal);
}

static void serve(const struct message *m)
{
	worker.last_log[0] = 0;
	/* Without a handler it ends the process, whatever hangs in it. */
	alarm(CYRUS_CALL_LIMIT_S);
	if (!worker.is_ready)
		answer_unready(m->type);
	else if (m->type == MESSAGE_CYRUS_LIST)
		list(&m->cyrus_list);
	else if (m->type == MESSAGE_CYRUS_BEGIN)
		begin(&m->cyrus_begin);
	else if (m->type == MESSAGE_CYRUS_STEP)
		step(&m->cyrus_step);
	else
		_exit(1);
	alarm(0);
}

static void work(int fd, const struct message *order)
{
	worker.fd = fd;
	alarm(CYRUS_CALL_LIMIT_S);
	start_library(order->cyrus_worker.path, order->cyrus_worker.config_path);
	alarm(0);
	nursery_serve(fd, serve);
}

int main(int argc, char **argv)
{
	return nursery_main(argc, argv, MESSAGE_CYRUS_WORKER, work);
}
