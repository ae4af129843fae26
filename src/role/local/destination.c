/* SPDX-License-Identifier: Apache-2.0 */
/* Commands, files and new mail that local makes of a recipient. */
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config/expand.h"
#include "mail/address.h"
#include "mail/mail_date.h"
#include "role/local/expansion.h"
#include "role/local/forward.h"
#include "role/local/work.h"

/* --- templates ---------------------------------------------------------------------- */

struct template_context {
	struct expansion *x;
	const struct template *t;
};

static struct str filtered(struct str value, struct str allowed, struct arena *a)
{
	char *text = arena_cstr(a, value);

	for (size_t i = 0; i < value.len; i++)
		if (!str_has(allowed, text[i]))
			text[i] = '_';
	return str_n(text, value.len);
}

static int template_get(struct expand *e, struct str name, bool is_test, struct str *ret_value)
{
	const struct template_context *c = e->context;
	const struct params *p = c->x->j->transport->params;
	const struct user *user = c->t->user;
	const struct mail_name *n = c->t->name;
	struct str value;

	if (str_eq(name, STR("user")))
		value = n->user;
	else if (str_eq(name, STR("local")))
		value = n->local;
	else if (str_eq(name, STR("extension")))
		value = n->extension;
	else if (str_eq(name, STR("domain")))
		value = n->domain;
	else if (str_eq(name, STR("recipient")))
		value = c->x->r->address;
	else if (str_eq(name, STR("home")))
		value = user ? user->home : STR("");
	else if (str_eq(name, STR("shell")))
		value = user ? user->shell : STR("");
	else if (str_eq(name, STR("recipient_delimiter")))
		/* The one that was used, where several would do. */
		value = n->extension.len > 0 ? str_n(n->local.ptr + n->user.len, 1) : str_cut(p->recipient_delimiter, 0, 1);
	else
		return -ENOENT;
	*ret_value = filtered(value, c->t->filter, &c->x->j->arena);
	return 0;
}

int template_expand(struct expansion *x, const struct template *t, struct str *ret_text, struct buf *why)
{
	struct template_context c = {x, t};
	struct expand e = {.get = template_get, .context = &c};
	struct buf result = BUF_INIT(1 << 16);
	int err = expand_text(&e, t->text, &result);

	if (err)
		buf_addf(why, "%.*s: %s", STR_ARG(t->text), e.why ? e.why : strerror(-err));
	else
		*ret_text = arena_str(&x->j->arena, buf_str(&result));
	buf_done(&result);
	return err;
}

/* --- commands and files ---------------------------------------------------------------- */

static void add_setting(struct buf *to, const char *name, struct str value, struct str filter)
{
	buf_addf(to, "%s=", name);
	for (size_t i = 0; i < value.len; i++)
		buf_add_char(to, str_has(filter, value.ptr[i]) ? value.ptr[i] : '_');
	buf_add_char(to, '\0');
}

void environment_add_exported(struct buf *to, struct str list)
{
	struct str item;

	while (str_next_braced(&list, ", \t\r\n", &item)) {
		char *text = str_cstr(item);
		const char *value = str_has(item, '=') ? NULL : getenv(text);

		if (str_has(item, '='))
			buf_addf(to, "%s", text);
		else if (value)
			buf_addf(to, "%s=%s", text, value);
		if (str_has(item, '=') || value)
			buf_add_char(to, '\0');
		free(text);
	}
}

static struct str environment_of(struct expansion *x, const struct user *u, const struct mail_name *n)
{
	const struct params *p = x->j->transport->params;
	const struct envelope *e = &x->j->envelope;
	struct str filter = p->command_expansion_filter, local, domain, result;
	struct buf text = BUF_INIT(1 << 16);

	if (!address_split(x->r->address, &local, &domain))
		local = x->r->address;
	add_setting(&text, "PATH", STR("/usr/bin:/bin"), filter);
	if (u) {
		add_setting(&text, "HOME", u->home, filter);
		add_setting(&text, "SHELL", u->shell.len > 0 ? u->shell : STR("/bin/sh"), filter);
		add_setting(&text, "LOGNAME", u->name, filter);
		add_setting(&text, "USER", u->name, filter);
	}
	if (n && n->extension.len > 0)
		add_setting(&text, "EXTENSION", n->extension, filter);
	add_setting(&text, "DOMAIN", n ? n->domain : domain, filter);
	add_setting(&text, "LOCAL", n ? n->local : local, filter);
	add_setting(&text, "RECIPIENT", x->r->address, filter);
	add_setting(&text, "ORIGINAL_RECIPIENT", x->r->original.len > 0 ? x->r->original : x->r->address, filter);
	add_setting(&text, "SENDER", e->sender.len > 0 ? e->sender : STR("MAILER-DAEMON"), filter);
	add_setting(&text, "ENVID", e->envid, filter);
	add_setting(&text, "CLIENT_ADDRESS", e->client_address, filter);
	add_setting(&text, "CLIENT_HOSTNAME", e->client_name, filter);
	add_setting(&text, "CLIENT_HELO", e->helo, filter);
	add_setting(&text, "CLIENT_PROTOCOL", e->protocol, filter);
	add_setting(&text, "SASL_METHOD", e->sasl_method, filter);
	add_setting(&text, "SASL_USERNAME", e->sasl_username, filter);
	add_setting(&text, "SASL_SENDER", e->sasl_sender, filter);
	environment_add_exported(&text, p->export_environment);
	result = arena_str(&x->j->arena, buf_str(&text));
	buf_done(&text);
	return result;
}

static struct str head_for(struct expansion *x, const char *what)
{
	bool has_header = str_list_has_exactly(x->j->transport->params->prepend_delivered_header, str_of(what));

	return delivery_head(x->j, x->r, has_header ? x->r->address : (struct str){NULL, 0});
}

void deliver_command(struct expansion *x, struct str command, const struct user *user, const struct mail_name *n,
                     const struct level *lv)
{
	const struct params *p = x->j->transport->params;
	struct identity who = {.uid = user ? user->uid : lv->uid, .gid = user ? user->gid : lv->gid};
	struct message m = {.type = MESSAGE_WORK_COMMAND, .fd = -1};
	struct message_work_command *c = &m.work_command;
	struct template folder = {p->command_execution_directory, user, n, p->execution_directory_expansion_filter};
	struct work_answer answer;
	struct outcome o;
	struct buf why = BUF_INIT(1024);
	struct user u;

	/* Mail for root runs nothing as root. */
	if (geteuid() == 0 && who.uid == 0)
		default_rights(x, &who.uid, &who.gid);
	if (expansion_was_here(x, "command", arena_printf(&x->j->arena, "%lu %.*s", (unsigned long)who.uid, STR_ARG(command))))
		return;
	if (!user && strcmp(lv->kind, "forward") == 0 && user_find(lv->name, &x->j->arena, &u) == 0)
		folder.user = user = &u;
	c->content_at = x->j->content_at;
	c->content_size = x->j->content_size;
	c->command = command;
	c->head = arena_printf(&x->j->arena, "%.*s\n%.*s", STR_ARG(delivery_from_line(x->j)), STR_ARG(head_for(x, "command")));
	c->environment = environment_of(x, user, n);
	c->folder = p->queue_directory;
	if (user && p->command_execution_directory.len > 0 && n && template_expand(x, &folder, &c->folder, &why) != 0)
		c->folder = p->queue_directory;
	c->shell = p->local_command_shell;
	c->line_end = STR("\n");
	c->time_limit = (uint32_t)(p->command_time_limit.ns / NS_PER_S);
	workers_run(&who, &m, x->j->file, &x->j->arena, &answer);
	o = outcome_from_worker(&answer);
	expansion_note(x, &o, x->r->address);
	buf_done(&why);
}

void deliver_file(struct expansion *x, struct str path, const struct level *lv)
{
	struct message_work_mailbox m = {
		.path = path, .flags = WORK_PLAIN_FILE, .limit = (uint64_t)x->j->transport->params->mailbox_size_limit};
	struct outcome o;

	if (expansion_was_here(x, "file", path))
		return;
	m.head = head_for(x, "file");
	o = deliver_mailbox(x->j, lv->uid, lv->gid, &m);
	expansion_note(x, &o, x->r->address);
}

/* --- new mail ------------------------------------------------------------------------- */

void forward_later(struct expansion *x, struct str address, const struct level *lv)
{
	struct arena *a = &x->j->arena;
	struct forwarding *f = x->forwardings;

	while (f && !(str_eq(f->sender, lv->sender) && f->is_list == lv->has_owner))
		f = f->next;
	if (!f) {
		f = arena_alloc(a, sizeof(*f));
		*f = (struct forwarding){.next = x->forwardings, .sender = arena_str(a, lv->sender), .is_list = lv->has_owner};
		x->forwardings = f;
	}
	if (expansion_was_here(x, f->is_list ? "list" : "forward to", address))
		return;
	if (f->count == f->size) {
		struct str *larger = arena_alloc(a, (2 * f->size + 8) * sizeof(*larger));

		if (f->count > 0)
			memcpy(larger, f->addresses, f->count * sizeof(*larger));
		f->addresses = larger;
		f->size = 2 * f->size + 8;
	}
	f->addresses[f->count++] = arena_str(a, address);
}

/* The content as a file of its own, for smtpd. */
struct copying {
	struct str head;
	struct work_content content;
	int fd; /* or -errno */
};

static void copy(void *arg)
{
	struct copying *c = arg;
	int err;

	c->fd = memfd_create("forwarded", MFD_CLOEXEC);
	if (c->fd < 0) {
		c->fd = -errno;
		return;
	}
	err = copy_content(c->fd, c->head, &c->content, &copy_plain);
	if (!err && lseek(c->fd, 0, SEEK_SET) != 0)
		err = -errno;
	if (err) {
		close(c->fd);
		c->fd = err;
	}
}

static struct str forwarded_head(struct expansion *x)
{
	const struct params *p = x->j->transport->params;
	struct buf head = BUF_INIT(8192);
	struct str result;

	buf_addf(&head, "Received: by %.*s (%.*s)\n\tid %s; ", STR_ARG(p->myhostname), STR_ARG(p->mail_name),
	         x->j->envelope.queue_id);
	mail_date_format(&head, clock_wall());
	buf_addf(&head, "\nDelivered-To: ");
	address_format(&head, x->r->address);
	buf_add_char(&head, '\n');
	result = arena_str(&x->j->arena, buf_str(&head));
	buf_done(&head);
	return result;
}

static struct envelope envelope_for(struct expansion *x, const struct forwarding *f)
{
	struct envelope e = {.arrival = clock_wall(), .sender = f->sender, .recipient_count = (uint32_t)f->count};

	e.flags = ENVELOPE_INTERNAL | (x->j->envelope.flags & (ENVELOPE_SMTPUTF8 | ENVELOPE_8BITMIME | ENVELOPE_REQUIRETLS));
	e.recipients = arena_alloc(&x->j->arena, f->count * sizeof(*e.recipients));
	for (size_t i = 0; i < f->count; i++) {
		e.recipients[i].address = f->addresses[i];
		e.recipients[i].original = x->r->original.len > 0 ? x->r->original : x->r->address;
		/* The owner of a list takes the reports over; else only success is told here already. */
		if (!f->is_list) {
			e.recipients[i].orcpt = x->r->orcpt;
			e.recipients[i].notify =
				x->r->notify == NOTIFY_SUCCESS ? NOTIFY_NEVER : (uint8_t)(x->r->notify & ~NOTIFY_SUCCESS);
		}
	}
	if (!f->is_list) {
		e.ret = x->j->envelope.ret;
		e.envid = x->j->envelope.envid;
	}
	return e;
}

static void send_one(struct expansion *x, const struct forwarding *f)
{
	struct copying c = {.head = forwarded_head(x), .content = {x->j->file->fd, x->j->content_at, x->j->content_size}};
	struct envelope e = envelope_for(x, f);
	struct str text = {NULL, 0}, id = {NULL, 0};
	struct outcome o;
	uint32_t code = 451;

	(void)fiber_work(copy, &c);
	if (c.fd < 0) {
		o = outcome_of(x->j, "4.3.0", "cannot forward: %s", strerror(-c.fd));
	} else {
		forward_submit(&e, c.fd, &x->j->arena, &code, &text, &id);
		close(c.fd);
		if (code / 100 == 2)
			o = outcome_of(x->j, "2.0.0", "forwarded as %.*s", STR_ARG(id));
		else
			o = outcome_of(x->j, code / 100 == 5 ? "5.3.0" : "4.3.0", "unable to forward message: %.*s",
			               STR_ARG(text));
	}
	/* The list's owner answers for its mail from here on; otherwise reports come from where it goes. */
	o.action = f->is_list ? STR("delivered") : STR("expanded");
	for (size_t i = 0; i < f->count; i++)
		expansion_note(x, &o, f->addresses[i]);
}

void forward_now(struct expansion *x)
{
	for (const struct forwarding *f = x->forwardings; f; f = f->next)
		if (f->count > 0)
			send_one(x, f);
}
