/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pipe: a command that master.cf names takes the message, once for all recipients of a job. An argument
 * with ${recipient}, ${user} and the like is repeated for each. No shell is involved.
 */
#include <errno.h>
#include <grp.h>
#include <unistd.h>

#include "config/expand.h"
#include "mail/address.h"
#include "role/local/expansion.h"
#include "role/local/pipe_service.h"
#include "role/local/work.h"

enum { ARGUMENTS_MAX = 1 << 17 };

/* One expansion of an argument. */
struct macro {
	struct job *j;
	const struct pipe_service *s;
	const struct recipient *r;
	bool is_per_recipient; /* it named something of a recipient */
};

static struct str lowered(struct job *j, struct str s, bool is_wanted)
{
	return is_wanted ? arena_lower(&j->arena, s) : s;
}

static struct str quoted(struct job *j, const struct pipe_service *s, struct str address)
{
	return pipe_service_has(s, 'q') ? address_external(&j->arena, address) : address;
}

/* The address with the case of its parts as the flags want it. */
static struct str folded(const struct macro *m, struct str address, struct str *ret_local, struct str *ret_domain)
{
	*ret_domain = (struct str){NULL, 0};
	if (!address_split(address, ret_local, ret_domain))
		*ret_local = address;
	*ret_local = lowered(m->j, *ret_local, pipe_service_has(m->s, 'u'));
	*ret_domain = lowered(m->j, *ret_domain, pipe_service_has(m->s, 'h'));
	if (ret_domain->len == 0)
		return *ret_local;
	return arena_printf(&m->j->arena, "%.*s@%.*s", STR_ARG(*ret_local), STR_ARG(*ret_domain));
}

/* What belongs to one recipient; false for other names. */
static bool recipient_macro(struct macro *m, struct str name, struct str *ret_value)
{
	const struct params *p = m->j->transport->params;
	struct str original = m->r->original.len > 0 ? m->r->original : m->r->address;
	struct str local, domain, user, extension = {NULL, 0}, address;

	if (str_eq(name, STR("original_recipient"))) {
		*ret_value = quoted(m->j, m->s, folded(m, original, &local, &domain));
		m->is_per_recipient = true;
		return true;
	}
	address = folded(m, m->r->address, &local, &domain);
	if (!split_extension(local, p->recipient_delimiter, p->owner_request_special, &user, &extension))
		user = local;
	if (str_eq(name, STR("recipient")))
		*ret_value = quoted(m->j, m->s, address);
	else if (str_eq(name, STR("user")))
		*ret_value = user;
	else if (str_eq(name, STR("extension")))
		*ret_value = extension;
	else if (str_eq(name, STR("mailbox")))
		*ret_value = local;
	else if (str_eq(name, STR("domain")))
		*ret_value = domain;
	else
		return false;
	m->is_per_recipient = true;
	return true;
}

static int get_macro(struct expand *e, struct str name, bool is_test, struct str *ret_value)
{
	struct macro *m = e->context;
	const struct envelope *env = &m->j->envelope;
	const struct {
		const char *name;
		struct str value;
	} all[] = {
		{"nexthop", lowered(m->j, m->j->nexthop, pipe_service_has(m->s, 'h'))},
		{"sender", env->sender.len > 0 ? quoted(m->j, m->s, env->sender) : m->s->null_sender},
		{"queue_id", str_of(env->queue_id)},
		{"envid", env->envid},
		{"client_address", env->client_address},
		{"client_hostname", env->client_name},
		{"client_helo", env->helo},
		{"client_port", env->client_port},
		{"client_protocol", env->protocol},
		{"sasl_method", env->sasl_method},
		{"sasl_sender", env->sasl_sender},
		{"sasl_username", env->sasl_username},
		{"size", arena_printf(&m->j->arena, "%llu", (unsigned long long)m->j->content_size)},
	};

	for (size_t i = 0; i < COUNT_OF(all); i++) {
		if (!str_eq(name, str_of(all[i].name)))
			continue;
		*ret_value = all[i].value;
		return 0;
	}
	return recipient_macro(m, name, ret_value) ? 0 : -ENOENT;
}

/* An argument with all that it stands for. */
static int add_argument(struct job *j, const struct pipe_service *s, struct str arg, struct buf *to, struct buf *why)
{
	for (uint32_t r = 0; r < j->envelope.recipient_count; r++) {
		struct macro m = {.j = j, .s = s, .r = &j->envelope.recipients[r]};
		struct expand e = {.get = get_macro, .context = &m};
		int err = expand_text(&e, arg, to);

		if (err && err != -EMSGSIZE)
			buf_addf(why, "%.*s: %s", STR_ARG(arg), e.why ? e.why : strerror(-err));
		if (err)
			return err;
		buf_add_char(to, '\0');
		if (!m.is_per_recipient)
			break;
	}
	return buf_check(to);
}

/* All arguments, each ended by a NUL. */
static int build_argv(struct job *j, const struct pipe_service *s, struct buf *to, struct buf *why)
{
	int err = 0;

	for (size_t i = 0; !err && i < s->argc; i++)
		err = add_argument(j, s, s->argv[i], to, why);
	if (err == -EMSGSIZE)
		buf_addf(why, "its arguments are longer than %d bytes: lower %.*s_destination_recipient_limit", ARGUMENTS_MAX,
		         STR_ARG(j->transport->name));
	return err;
}

static struct str build_head(struct job *j, const struct pipe_service *s)
{
	const struct recipient *r = &j->envelope.recipients[0];
	struct str sender = j->envelope.sender.len > 0 ? address_external(&j->arena, j->envelope.sender) : s->null_sender;
	struct str end = s->line_end;
	struct buf head = BUF_INIT(1 << 16);
	struct str result;

	if (pipe_service_has(s, 'F'))
		buf_addf(&head, "%.*s%.*s", STR_ARG(from_line_of(j, sender)), STR_ARG(end));
	if (pipe_service_has(s, 'R'))
		buf_addf(&head, "Return-Path: <%.*s>%.*s", STR_ARG(sender), STR_ARG(end));
	if (pipe_service_has(s, 'O'))
		buf_addf(&head, "X-Original-To: %.*s%.*s",
		         STR_ARG(address_external(&j->arena, r->original.len > 0 ? r->original : r->address)), STR_ARG(end));
	if (pipe_service_has(s, 'D'))
		buf_addf(&head, "Delivered-To: %.*s%.*s", STR_ARG(address_external(&j->arena, r->address)), STR_ARG(end));
	result = arena_str(&j->arena, buf_str(&head));
	buf_done(&head);
	return result;
}

static struct outcome configuration_error(struct job *j, const char *what)
{
	return outcome_of(j, "4.3.5", "mail system configuration error: service %.*s: %s", STR_ARG(j->transport->name), what);
}

/* NULL, or what is wrong with user=. */
static const char *find_identity(struct job *j, const struct pipe_service *s, struct identity *ret_identity)
{
	struct user u;
	struct group *g;

	if (user_find(s->user, &j->arena, &u) != 0)
		return "user= names nobody";
	*ret_identity = (struct identity){u.uid, u.gid, s->chroot};
	if (s->group.len > 0) {
		g = getgrnam(arena_cstr(&j->arena, s->group));
		if (!g)
			return "user= names an unknown group";
		ret_identity->gid = g->gr_gid;
	}
	if (geteuid() != 0)
		return NULL;
	/* A program that mail may take over must not own the machine or the queue. */
	if (ret_identity->uid == 0 || ret_identity->gid == 0)
		return "user= has the rights of root";
	return str_eq(s->user, j->transport->params->mail_owner) ? "user= is the owner of the mail system" : NULL;
}

static unsigned command_flags(const struct pipe_service *s)
{
	return WORK_ARGV | (pipe_service_has(s, '>') ? WORK_QUOTE_FROM : 0) | (pipe_service_has(s, '.') ? WORK_DOUBLE_DOTS : 0) |
	       (pipe_service_has(s, 'B') ? WORK_BLANK_LINE : 0);
}

static struct str build_environment(struct job *j)
{
	struct buf text = BUF_INIT(1 << 16);
	struct str result;

	buf_add_bytes(&text, "PATH=/usr/bin:/bin", sizeof("PATH=/usr/bin:/bin"));
	environment_add_exported(&text, j->transport->params->export_environment);
	result = arena_str(&j->arena, buf_str(&text));
	buf_done(&text);
	return result;
}

static struct str working_folder(const struct job *j, const struct pipe_service *s)
{
	if (s->directory.len > 0)
		return s->directory;
	return s->chroot.len > 0 ? STR("/") : j->transport->params->queue_directory;
}

static struct outcome run(struct job *j, const struct pipe_service *s)
{
	struct message m = {.type = MESSAGE_WORK_COMMAND, .fd = -1};
	struct message_work_command *c = &m.work_command;
	struct buf argv = BUF_INIT(ARGUMENTS_MAX), why = BUF_INIT(4096);
	struct work_answer answer;
	struct identity who;
	struct outcome o;
	const char *problem = find_identity(j, s, &who);

	if (problem)
		return configuration_error(j, problem);
	if (build_argv(j, s, &argv, &why) != 0) {
		o = configuration_error(j, buf_cstr(&why));
	} else {
		c->content_at = j->content_at;
		c->content_size = j->content_size;
		c->command = buf_str(&argv);
		c->head = build_head(j, s);
		c->environment = build_environment(j);
		c->folder = working_folder(j, s);
		c->line_end = s->line_end;
		c->loop = pipe_service_has(s, 'D') ? j->envelope.recipients[0].address : STR("");
		c->time_limit = (uint32_t)view_transport_int(j->transport->view, j->transport->name, STR("time_limit"));
		c->flags = command_flags(s);
		workers_run(&who, &m, j->file, &j->arena, &answer);
		o = outcome_from_worker(&answer);
	}
	if (o.status == DELIVERY_SENT) {
		o = outcome_of(j, "2.0.0", "delivered via %.*s service", STR_ARG(j->transport->name));
		o.action = pipe_service_has(s, 'X') ? STR("delivered") : STR("relayed");
	}
	buf_done(&argv);
	buf_done(&why);
	return o;
}

/* What is wrong before anything runs; NULL for nothing. */
static const char *find_problem(struct job *j, struct pipe_service *s)
{
	const char *problem = pipe_service_read(j->transport->view->service, &j->arena, s);

	if (problem || j->envelope.recipient_count == 1)
		return problem;
	/* One header cannot name them all. */
	if (pipe_service_has(s, 'D'))
		return "flag D needs a _destination_recipient_limit of 1";
	return pipe_service_has(s, 'O') ? "flag O needs a _destination_recipient_limit of 1" : NULL;
}

void agent_pipe(struct job *j)
{
	char *relay = arena_cstr(&j->arena, j->transport->name);
	struct pipe_service s;
	const char *problem = find_problem(j, &s);
	struct outcome o;

	if (problem)
		o = configuration_error(j, problem);
	else if (!j->file)
		o = outcome_of(j, "4.3.0", "the content of the message is not open here");
	else if (s.size_limit > 0 && j->content_size > (uint64_t)s.size_limit)
		o = outcome_of(j, "5.2.3", "message size %llu exceeds size limit %lld of service %s",
		               (unsigned long long)j->content_size, (long long)s.size_limit, relay);
	else
		o = run(j, &s);
	for (uint32_t i = 0; i < j->envelope.recipient_count; i++) {
		outcome_log(j, &o, j->envelope.recipients[i].address, j->envelope.recipients[i].original, relay);
		outcome_report(j, &o, i);
	}
}
