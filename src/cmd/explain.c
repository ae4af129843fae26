/* SPDX-License-Identifier: Apache-2.0 */
/*
 * postrider explain: what would happen to a client that comes to this port, says this, and wants
 * to send there. The very code of the server runs on the configuration; no server is asked,
 * nothing is sent. Rules that ask DNS or a policy server do ask.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/commands.h"
#include "cmd/explain.h"
#include "cmd/libexec.h"
#include "config/config.h"
#include "config/params.h"
#include "fiber/fiber.h"
#include "ipc/helper.h"
#include "mail/address.h"
#include "net/dns.h"
#include "net/ip.h"
#include "route/resolve.h"
#include "sasl/server.h"

enum { RECIPIENTS_MAX = 100 };

static const char usage[] =
	"usage: postrider explain [-c DIR] --port PORT --client ADDRESS --from SENDER --rcpt RECIPIENT...\n"
	"\n"
	"  --port PORT          25, 587, 465, or the name of an inet service in master.cf\n"
	"  --client ADDRESS     the client's IP address\n"
	"  --client-name NAME   its name; \"unknown\" if it has none. Without this option DNS is asked\n"
	"  --helo NAME          what it says in EHLO; without this option it says nothing\n"
	"  --tls                it has used STARTTLS, or connects inside TLS\n"
	"  --certificate PRINT  its certificate, or the public key in it, has this fingerprint\n"
	"  --trusted            its certificate is verified\n"
	"  --user NAME          it has logged in under this name\n"
	"  --from SENDER        MAIL FROM; \"\" or \"<>\" is the null sender\n"
	"  --rcpt RECIPIENT     RCPT TO; may be given several times\n"
	"  --size BYTES         SIZE= of MAIL FROM\n"
	"\n"
	"Exit status: 0 every recipient is accepted, 1 one is refused, 2 the configuration or the options are wrong.\n";

struct question {
	const char *dir, *port, *client, *client_name, *helo, *user, *sender, *size;
	const char *recipients[RECIPIENTS_MAX];
	size_t recipient_count;
	bool has_tls;
	const char *certificate;
	bool is_trusted;
};

struct explanation {
	const struct question *q;
	struct config *config;
	const struct service *service;
	const struct view *view;
	struct router *router;
	struct policy *policy;
	struct sasl_server *sasl;
	struct str login_doubt; /* why its mechanisms are but assumed; or empty */
	struct policy_session session;
	struct policy_action action;
	struct arena arena;
	struct explain_page *page;
	int status;
};

/* --- the question -------------------------------------------------------------------------- */

static int parse_options(struct question *q, int argc, char **argv)
{
	static const struct option options[] = {
		{"port", required_argument, NULL, 'p'},
		{"client", required_argument, NULL, 'a'},
		{"client-name", required_argument, NULL, 'n'},
		{"helo", required_argument, NULL, 'h'},
		{"tls", no_argument, NULL, 't'},
		{"certificate", required_argument, NULL, 'k'},
		{"trusted", no_argument, NULL, 'v'},
		{"user", required_argument, NULL, 'u'},
		{"from", required_argument, NULL, 'f'},
		{"rcpt", required_argument, NULL, 'r'},
		{"size", required_argument, NULL, 's'},
		{0},
	};
	const char **const targets[] = {
		['p'] = &q->port,   ['a'] = &q->client, ['n'] = &q->client_name, ['h'] = &q->helo,       ['u'] = &q->user,
		['f'] = &q->sender, ['s'] = &q->size,   ['c'] = &q->dir,         ['k'] = &q->certificate};
	int option;

	while ((option = getopt_long(argc, argv, "c:", options, NULL)) != -1) {
		if (option == '?')
			return -EINVAL;
		if (option == 't')
			q->has_tls = true;
		else if (option == 'v')
			q->is_trusted = true;
		else if (option != 'r')
			*targets[option] = optarg;
		else if (q->recipient_count < RECIPIENTS_MAX)
			q->recipients[q->recipient_count++] = optarg;
	}
	return optind == argc && q->port && q->client && q->sender && q->recipient_count ? 0 : -EINVAL;
}

/* The port of an inet service: "smtp", "587", "127.0.0.1:10025". */
static bool serves_port(const struct service *service, uint16_t port)
{
	size_t colon = str_find_last(service->name, ':');
	struct str name = colon < service->name.len ? str_from(service->name, colon + 1) : service->name;
	uint16_t own;

	return str_eq(service->type, STR("inet")) && !ip_parse_port(name, &own) && own == port;
}

static const struct service *find_service(const struct config *c, struct str wanted)
{
	const struct service *found = config_find_service(c, wanted, STR("inet"));
	uint16_t port;

	if (!found && !ip_parse_port(wanted, &port))
		for (size_t i = 0; i < config_service_count(c) && !found; i++)
			if (serves_port(config_service(c, i), port))
				found = config_service(c, i);
	/* postscreen hands its clients on. */
	if (found && str_eq(found->program, STR("postscreen")))
		found = config_find_service(c, config_service_view(c, found)->params->smtpd_service_name, STR("pass"));
	return found && str_eq(found->program, STR("smtpd")) ? found : NULL;
}

static int complain(const char *fmt, ...) PRINTF_LIKE(1, 2);

static int complain(const char *fmt, ...)
{
	va_list args;

	fputs("postrider explain: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	return -EINVAL;
}

static int load(struct explanation *e)
{
	struct sockaddr_storage address;

	if (ip_parse(str_of(e->q->client), 0, &address))
		return complain("--client %s is no IP address", e->q->client);
	e->config = config_load(command_config_dir(e->q->dir), NULL, 0);
	for (size_t i = 0; i < config_problem_count(e->config); i++) {
		const struct config_problem *problem = config_problem(e->config, i);
		struct buf line = BUF_INIT(4096);

		if (problem->is_error) {
			config_problem_format(&line, problem);
			(void)complain("%s", buf_cstr(&line));
		}
		buf_done(&line);
	}
	if (config_has_errors(e->config))
		return -EINVAL;
	e->service = find_service(e->config, str_of(e->q->port));
	if (!e->service)
		return complain("no smtpd of master.cf listens on port %s", e->q->port);
	e->view = config_service_view(e->config, e->service);
	return 0;
}

/* The back ends themselves tell what they offer. One whose secrets we may not read is taken for a usual one. */
static int open_login(struct explanation *e, struct buf *why)
{
	struct buf folder = BUF_INIT(4096), doubt = BUF_INIT(4096);
	int err;

	if (!libexec_find(&folder))
		helper_set_folder(buf_str(&folder));
	err = sasl_server_new(e->view, sasl_all_backends, &e->sasl, &doubt);
	if (err) {
		e->login_doubt = arena_str(&e->arena, buf_str(&doubt));
		err = sasl_server_new(e->view, sasl_smtpd_backends, &e->sasl, why);
	}
	buf_done(&folder);
	buf_done(&doubt);
	return err;
}

static int open_parts(struct explanation *e)
{
	struct buf why = BUF_INIT(8192);
	int err = router_new(e->view, &e->router, &why);

	if (!err) {
		buf_reset(&why);
		err = policy_new(e->view, e->router, &e->policy, &why);
	}
	if (!err)
		err = open_login(e, &why);
	if (!err)
		err = dns_init(e->view, &why);
	if (err)
		(void)complain("%s", buf_cstr(&why));
	buf_done(&why);
	return err;
}

/* --- the session ------------------------------------------------------------------------------ */

static void ask_client_name(struct explanation *e)
{
	struct policy_session *s = &e->session;
	enum dns_status ptr = DNS_NO_NAME, forward = DNS_NO_NAME;
	struct sockaddr_storage address;
	struct str name = {0};

	s->client_name = s->client_reverse_name = STR("unknown");
	if (e->q->client_name) {
		s->client_name = s->client_reverse_name = str_of(e->q->client_name);
		return;
	}
	if (ip_parse(s->client_address, 0, &address) ||
	    dns_host_name((struct sockaddr *)&address, &e->arena, &name, &ptr, &forward))
		ptr = DNS_TRY_AGAIN;
	if (ptr == DNS_FOUND && !str_is_empty(name))
		s->client_reverse_name = name;
	if (ptr == DNS_FOUND && forward == DNS_FOUND)
		s->client_name = name;
	s->is_reverse_name_tempfail = ptr == DNS_TRY_AGAIN;
	s->is_client_name_tempfail = ptr == DNS_TRY_AGAIN || forward == DNS_TRY_AGAIN;
}

static struct str internal_form(struct explanation *e, const char *address)
{
	struct str text = str_trim(str_of(address));
	struct str result;

	if (text.len >= 2 && text.ptr[0] == '<' && text.ptr[text.len - 1] == '>')
		text = str_cut(text, 1, text.len - 2);
	if (str_is_empty(text) || address_parse(text, ADDRESS_UTF8, &e->arena, &result))
		return text;
	return result;
}

static bool is_encrypt(const struct params *p)
{
	struct str level = p->smtpd_tls_security_level;

	return str_is_empty(level) ? p->smtpd_enforce_tls : str_eq_nocase(level, STR("encrypt"));
}

static void describe_login(struct explanation *e)
{
	struct policy_session *s = &e->session;
	/* TLS of today gives a channel binding. */
	struct sasl_peer peer = {
		.has_tls = s->has_tls, .binding = s->has_tls ? STR("any") : STR(""), .client_address = s->client_address};
	const char *why = NULL;
	struct str mechanisms = sasl_server_mechanisms(e->sasl, &peer, &e->arena, &why);

	if (!str_is_empty(mechanisms))
		explain_fact(e->page, "AUTH", "offered: %.*s", STR_ARG(mechanisms));
	else
		explain_fact(e->page, "AUTH", "not offered: %s", why ? why : "no mechanism is left");
	if (!str_is_empty(e->login_doubt) && !str_is_empty(mechanisms))
		explain_fact(e->page, "", "(assumed, for it cannot be seen from here: %.*s)", STR_ARG(e->login_doubt));
	if (!e->q->user) {
		explain_fact(e->page, "login", "none");
	} else if (str_is_empty(mechanisms)) {
		explain_fact(e->page, "login", "not possible here: %s stays a stranger", e->q->user);
	} else {
		s->sasl_username = str_of(e->q->user);
		s->sasl_method = str_cut(mechanisms, 0, str_find(mechanisms, ' '));
		explain_fact(e->page, "login", "%s", e->q->user);
	}
}

static void describe_session(struct explanation *e)
{
	struct policy_session *s = &e->session;
	const struct params *p = e->view->params;
	const char *lookup = s->is_client_name_tempfail ? " (DNS did not answer)" : "";

	explain_fact(e->page, "service", "%.*s %.*s, %.*s:%u", STR_ARG(e->service->name), STR_ARG(e->service->type),
	             STR_ARG(e->service->origin.file), e->service->origin.line);
	explain_fact(e->page, "client", "%.*s, name %.*s%s", STR_ARG(s->client_address), STR_ARG(s->client_name), lookup);
	if (!str_eq(s->client_name, s->client_reverse_name))
		explain_fact(e->page, "", "its PTR name %.*s does not lead back to the address", STR_ARG(s->client_reverse_name));
	explain_fact(e->page, "TLS", "%s%s", s->has_tls ? "yes" : "no",
	             p->smtpd_tls_wrappermode ? ", this port speaks TLS from the first byte" : "");
	describe_login(e);
	explain_fact(e->page, "checks", "%s",
	             p->smtpd_delay_reject ? "all lists run at RCPT TO (smtpd_delay_reject = yes)"
	                                   : "each list runs at its own stage (smtpd_delay_reject = no)");
}

/* --- what happens ------------------------------------------------------------------------------- */

/* Prints a stage; false when the client was refused. */
static bool stage(struct explanation *e, const char *command, struct reply reply)
{
	struct policy_action *act = &e->action;

	explain_stage(e->page, command);
	for (const struct policy_note *note = act->notes; note; note = note->next)
		explain_note(e->page, note);
	explain_reply(e->page, &reply);
	if (reply.code || act->is_hangup)
		e->status = 1;
	return !reply.code && !act->is_hangup;
}

static struct str class_name(enum address_class class)
{
	static const char *const names[] = {[CLASS_DEFAULT] = "not ours",
	                                    [CLASS_LOCAL] = "local",
	                                    [CLASS_VIRTUAL_ALIAS] = "virtual alias",
	                                    [CLASS_VIRTUAL_MAILBOX] = "virtual mailbox",
	                                    [CLASS_RELAY] = "relay"};

	return str_of(names[class]);
}

static void show_route(struct explanation *e, struct str address)
{
	struct buf why = BUF_INIT(1024);
	struct route route;

	if (router_resolve(e->router, e->session.sender, address, &e->arena, &route, &why))
		explain_fact(e->page, "", "%.*s: the resolver fails: %s", STR_ARG(address), buf_cstr(&why));
	else if (route.is_error)
		explain_fact(e->page, "", "%.*s (%.*s): cannot be delivered: %.*s", STR_ARG(address),
		             STR_ARG(class_name(route.class)), STR_ARG(route.nexthop));
	else
		explain_fact(e->page, "", "%.*s (%.*s) by transport %.*s to %.*s", STR_ARG(address),
		             STR_ARG(class_name(route.class)), STR_ARG(route.transport), STR_ARG(route.nexthop));
	buf_done(&why);
}

static void show_delivery(struct explanation *e)
{
	struct str recipient = e->session.recipient, *final;
	struct buf why = BUF_INIT(1024);
	size_t count;

	if (e->action.is_discarded)
		explain_fact(e->page, "then", "nothing is delivered: the message is discarded");
	else if (router_canonical(e->router, recipient, SIDE_ENVELOPE_RECIPIENT, &e->arena, &recipient, &why) ||
	         router_expand_virtual(e->router, recipient, &e->arena, &final, &count, &why))
		explain_fact(e->page, "then", "its aliases cannot be looked up: %s", buf_cstr(&why));
	else {
		explain_fact(e->page, "then",
		             count == 1 && str_eq(final[0], e->session.recipient) ? "it is delivered:"
		                                                                  : "it becomes, and is delivered:");
		for (size_t i = 0; i < count; i++)
			show_route(e, final[i]);
	}
	buf_done(&why);
}

static void show_recipient(struct explanation *e, const char *recipient)
{
	struct policy_session *s = &e->session;
	struct str command;

	s->recipient_raw = internal_form(e, recipient);
	s->recipient = router_rewrite(e->router, s->recipient_raw, e->view->params->myorigin, &e->arena);
	command = arena_printf(&e->arena, "RCPT TO:<%.*s>", STR_ARG(address_external(&e->arena, s->recipient_raw)));
	if (!stage(e, command.ptr, policy_check_rcpt(e->policy, s, &e->action)))
		return;
	s->recipient_count++;
	show_delivery(e);
}

static bool begin_session(struct explanation *e)
{
	struct policy_session *s = &e->session;
	struct str command;

	if (e->view->params->smtpd_tls_wrappermode && !s->has_tls) {
		explain_fact(e->page, "then", "it gets no answer: it should begin with TLS (explain that with --tls)");
		e->status = 1;
		return false;
	}
	if (!stage(e, "connect", policy_check_connect(e->policy, s, &e->action)))
		return false;
	if (e->q->helo) {
		s->helo = str_of(e->q->helo);
		s->is_esmtp = true;
		command = arena_printf(&e->arena, "EHLO %s", e->q->helo);
		if (!stage(e, command.ptr, policy_check_helo(e->policy, s, &e->action)))
			return false;
	}
	s->has_sender = true;
	s->sender_raw = internal_form(e, e->q->sender);
	s->sender = str_is_empty(s->sender_raw) ? STR("")
	                                        : router_rewrite(e->router, s->sender_raw, e->view->params->myorigin, &e->arena);
	command = arena_printf(&e->arena, "MAIL FROM:<%.*s>", STR_ARG(address_external(&e->arena, s->sender_raw)));
	if (is_encrypt(e->view->params) && !s->has_tls)
		return stage(
			e, command.ptr,
			(struct reply){.code = 530, .dsn = DSN(5, 7, 0), .text = STR("Must issue a STARTTLS command first")});
	if (!e->q->helo && e->view->params->smtpd_helo_required)
		return stage(e, command.ptr,
		             (struct reply){.code = 503, .dsn = DSN(5, 5, 1), .text = STR("Error: send HELO/EHLO first")});
	return stage(e, command.ptr, policy_check_mail(e->policy, s, &e->action));
}

static void run(void *arg)
{
	struct explanation *e = arg;
	struct policy_session *s = &e->session;
	unsigned long long size = 0;

	e->status = 2;
	if (open_parts(e))
		return;
	e->status = 0;
	s->arena = &e->arena;
	s->client_address = str_of(e->q->client);
	s->has_tls = e->q->has_tls || e->q->certificate || e->q->is_trusted;
	s->is_ccert_trusted = e->q->is_trusted;
	/* It may be either: who asks has one of the two at hand. */
	s->ccert_fingerprint = s->ccert_pubkey_fingerprint = str_of(e->q->certificate);
	if (e->q->size && !str_parse_u64(str_of(e->q->size), &size))
		s->size = size;
	ask_client_name(e);
	e->page = explain_page_new(e->policy, &e->arena);
	describe_session(e);
	if (begin_session(e)) {
		for (size_t i = 0; i < e->q->recipient_count; i++)
			show_recipient(e, e->q->recipients[i]);
		if (s->recipient_count != 1)
			s->recipient = STR("");
	}
	if (s->recipient_count && stage(e, "DATA", policy_check_data(e->policy, s, &e->action)))
		(void)stage(e, "end of data", policy_check_end_of_data(e->policy, s, &e->action));
	explain_actions(e->page, &e->action);
}

int cmd_explain(int argc, char **argv)
{
	struct question q = {0};
	struct explanation e = {.q = &q, .status = 2};

	if (argc > 1 && strcmp(argv[1], "--help") == 0)
		return fputs(usage, stdout) < 0 ? 2 : 0;
	if (parse_options(&q, argc, argv)) {
		fputs(usage, stderr);
		return 2;
	}
	if (!load(&e)) {
		loop_init();
		channel_loop_init();
		fiber_start("explain", run, &e);
		loop_run();
		sasl_server_free(e.sasl);
		policy_free(e.policy);
		router_free(e.router);
		dns_done();
		loop_done();
	}
	config_free(e.config);
	arena_done(&e.arena);
	return e.status;
}
