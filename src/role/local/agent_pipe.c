/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pipe: a command that master.cf names takes the message,
 *
 *	flags=DRhu user=vmail:vmail argv=/usr/bin/program -f ${sender} -- ${recipient}
 *
 * once for all recipients of a job. An argument with ${recipient}, ${user} and the like is
 * repeated for each. No shell is involved.
 */
#include <errno.h>
#include <grp.h>
#include <unistd.h>

#include "config/expand.h"
#include "mail/address.h"
#include "role/local/expansion.h"
#include "role/local/work.h"

enum { ARGUMENTS_MAX = 1 << 17 };

/* What the service's arguments say. */
struct pipe_service {
	struct str flags;
	struct str user;
	struct str group;
	struct str directory;
	struct str null_sender;
	long long size_limit;
	struct str *argv;
	size_t argc;
};

/* One expansion of an argument. */
struct macro {
	struct job *j;
	const struct pipe_service *s;
	const struct recipient *r;
	bool is_per_recipient; /* it named something of a recipient */
};

static bool has_flag(const struct pipe_service *s, char flag)
{
	return str_has(s->flags, flag);
}

static const char *read_service(const struct transport *t, struct pipe_service *s)
{
	const struct service *service = t->view->service;

	*s = (struct pipe_service){.null_sender = STR("MAILER-DAEMON")};
	for (size_t i = 0; i < service->arg_count; i++) {
		struct str arg = service->args[i], name, value;

		if (str_starts(arg, STR("-")) || !str_split(arg, '=', &name, &value)) {
			/* -o name=value was taken by the view. */
			i += str_eq(arg, STR("-o"));
			continue;
		}
		if (str_eq(name, STR("flags")))
			s->flags = value;
		else if (str_eq(name, STR("user")) && !str_split(value, ':', &s->user, &s->group))
			s->user = value;
		else if (str_eq(name, STR("directory")))
			s->directory = value;
		else if (str_eq(name, STR("null_sender")))
			s->null_sender = value;
		else if (str_eq(name, STR("size")) && str_parse_i64(value, &s->size_limit) != 0)
			return "bad size=";
		if (!str_eq(name, STR("argv")))
			continue;
		/* argv= takes the rest of the line. */
		s->argv = &service->args[i];
		s->argc = service->arg_count - i;
		break;
	}
	if (s->argc == 0)
		return "argv= is missing";
	return s->user.len == 0 ? "user= is missing" : NULL;
}

static struct str lowered(struct job *j, struct str s, bool is_wanted)
{
	return is_wanted ? arena_lower(&j->arena, s) : s;
}

static struct str quoted(struct job *j, const struct pipe_service *s, struct str address)
{
	return has_flag(s, 'q') ? address_external(&j->arena, address) : address;
}

/* What belongs to one recipient; false for other names. */
static bool recipient_macro(struct macro *m, struct str name, struct str *ret_value)
{
	const struct params *p = m->j->transport->params;
	struct str local, domain = {NULL, 0}, user, extension = {NULL, 0};
	struct arena *a = &m->j->arena;

	if (!address_split(m->r->address, &local, &domain))
		local = m->r->address;
	local = lowered(m->j, local, has_flag(m->s, 'u'));
	domain = lowered(m->j, domain, has_flag(m->s, 'h'));
	if (!split_extension(local, p->recipient_delimiter, p->owner_request_special, &user, &extension))
		user = local;
	if (str_eq(name, STR("recipient")))
		*ret_value = quoted(m->j, m->s,
		                    domain.len > 0 ? arena_printf(a, "%.*s@%.*s", STR_ARG(local), STR_ARG(domain)) : local);
	else if (str_eq(name, STR("original_recipient")))
		*ret_value = quoted(m->j, m->s, m->r->original.len > 0 ? m->r->original : m->r->address);
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
		{"nexthop", lowered(m->j, m->j->nexthop, has_flag(m->s, 'h'))},
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

/* All arguments, each ended by a NUL. */
static int build_argv(struct job *j, const struct pipe_service *s, struct buf *to, struct buf *why)
{
	for (size_t i = 0; i < s->argc; i++) {
		struct str arg = i == 0 ? str_from(s->argv[0], 5) : s->argv[i];

		for (uint32_t r = 0; r < j->envelope.recipient_count; r++) {
			struct macro m = {.j = j, .s = s, .r = &j->envelope.recipients[r]};
			struct expand e = {.get = get_macro, .context = &m};
			int err = expand_text(&e, arg, to);

			if (err) {
				buf_addf(why, "%.*s: %s", STR_ARG(arg), e.why ? e.why : strerror(-err));
				return err;
			}
			buf_add_char(to, '\0');
			if (!m.is_per_recipient)
				break;
		}
	}
	return buf_check(to);
}

static struct str build_head(struct job *j, const struct pipe_service *s)
{
	const struct recipient *r = &j->envelope.recipients[0];
	struct buf head = BUF_INIT(1 << 16);
	struct str result;

	if (has_flag(s, 'F'))
		buf_addf(&head, "%.*s\n", STR_ARG(delivery_from_line(j)));
	if (has_flag(s, 'R'))
		buf_addf(&head, "Return-Path: <%.*s>\n", STR_ARG(address_external(&j->arena, j->envelope.sender)));
	if (has_flag(s, 'O'))
		buf_addf(&head, "X-Original-To: %.*s\n",
		         STR_ARG(address_external(&j->arena, r->original.len > 0 ? r->original : r->address)));
	if (has_flag(s, 'D'))
		buf_addf(&head, "Delivered-To: %.*s\n", STR_ARG(address_external(&j->arena, r->address)));
	result = arena_str(&j->arena, buf_str(&head));
	buf_done(&head);
	return result;
}

static struct outcome configuration_error(struct job *j, const char *what)
{
	return outcome_of(j, "4.3.5", "mail system configuration error: service %.*s: %s", STR_ARG(j->transport->name), what);
}

static struct outcome run(struct job *j, const struct pipe_service *s)
{
	const struct params *p = j->transport->params;
	struct message m = {.type = MESSAGE_WORK_COMMAND, .fd = -1};
	struct message_work_command *c = &m.work_command;
	struct buf argv = BUF_INIT(ARGUMENTS_MAX), why = BUF_INIT(4096);
	struct work_answer answer;
	struct outcome o;
	struct user u;
	struct group *g;

	if (user_find(s->user, &j->arena, &u) != 0)
		return configuration_error(j, "user= names nobody");
	if (s->group.len > 0) {
		g = getgrnam(arena_cstr(&j->arena, s->group));
		if (!g)
			return configuration_error(j, "user= names an unknown group");
		u.gid = g->gr_gid;
	}
	if (build_argv(j, s, &argv, &why) != 0) {
		o = configuration_error(j, buf_cstr(&why));
	} else {
		c->content_at = j->content_at;
		c->content_size = j->content_size;
		c->command = buf_str(&argv);
		c->head = build_head(j, s);
		c->environment = str_n("PATH=/usr/bin:/bin", sizeof("PATH=/usr/bin:/bin"));
		c->folder = s->directory.len > 0 ? s->directory : p->queue_directory;
		c->time_limit = (uint32_t)(p->command_time_limit.ns / NS_PER_S);
		c->flags = WORK_ARGV | (has_flag(s, '>') ? WORK_QUOTE_FROM : 0);
		workers_run(u.uid, u.gid, &m, j->file, &j->arena, &answer);
		o = outcome_from_worker(&answer);
		if (o.status == DELIVERY_SENT)
			o = outcome_of(j, "2.0.0", "delivered via %.*s service", STR_ARG(j->transport->name));
	}
	buf_done(&argv);
	buf_done(&why);
	return o;
}

void agent_pipe(struct job *j)
{
	char *relay = arena_cstr(&j->arena, j->transport->name);
	struct pipe_service s;
	const char *problem = read_service(j->transport, &s);
	struct outcome o;

	if (problem)
		o = configuration_error(j, problem);
	else if (!j->file)
		o = outcome_of(j, "4.3.0", "the content of the message is not open here");
	else if (s.size_limit > 0 && j->content_size > (unsigned long long)s.size_limit)
		o = outcome_of(j, "5.2.3", "message size %llu exceeds size limit %lld of service %s",
		               (unsigned long long)j->content_size, s.size_limit, relay);
	else
		o = run(j, &s);
	for (uint32_t i = 0; i < j->envelope.recipient_count; i++) {
		outcome_log(j, &o, j->envelope.recipients[i].address, j->envelope.recipients[i].original, relay);
		outcome_report(j, &o, i);
	}
}
