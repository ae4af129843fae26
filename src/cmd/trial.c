/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/trial.h"

#include <errno.h>

#include "base/log.h"
#include "base/map.h"
#include "config/bounce_template.h"
#include "config/params.h"
#include "content/content.h"
#include "net/tls.h"
#include "policy/policy.h"
#include "route/resolve.h"
#include "sasl/server.h"
#include "table/table.h"

struct trial {
	const struct view *view;
	struct map told; /* lines that were logged: services share most of their settings */
	int error_count;
};

/* "FILE:LINE: " of the parameter that the text begins with, else of the service. */
static void add_place(const struct trial *t, struct buf *line, struct str text)
{
	struct str name = str_cut(text, 0, str_find_any(text, ": ="));
	struct origin at = {0};

	if (str_starts(text, STR("/")))
		return; /* it begins with its place */
	if (view_is_set(t->view, name))
		at = view_origin(t->view, name);
	else if (t->view->service)
		at = t->view->service->origin;
	if (at.file.len)
		buf_addf(line, "%.*s:%u: ", STR_ARG(at.file), at.line);
}

static void tell_line(struct trial *t, struct str text, bool is_error)
{
	static char mark;
	struct buf line = BUF_INIT(1 << 16);

	add_place(t, &line, text);
	buf_add(&line, text);
	if (!map_set(&t->told, buf_str(&line), &mark)) {
		if (is_error)
			log_error("%s", buf_cstr(&line));
		else
			log_warn("%s", buf_cstr(&line));
		t->error_count += is_error;
	}
	buf_done(&line);
}

static bool contains(struct str text, struct str part)
{
	return str_find_str(text, part) < text.len;
}

/*
 * Roles start with these and answer 451 to all that they touch, as Postfix does; nobody
 * means to have them. A table that is only missing may be about to be made.
 */
static bool is_broken(struct str warning)
{
	return contains(warning, STR("until this is mended")) || contains(warning, STR("unknown table type"));
}

/* Several problems stand in one text, each on its line. */
static void tell(struct trial *t, struct buf *why, int err)
{
	struct str rest = buf_str(why), line;

	if (err && !why->len)
		tell_line(t, str_of(strerror(-err)), true);
	while (str_next(&rest, "\n", &line))
		tell_line(t, line, err || is_broken(line));
	buf_reset(why);
}

/* What was found out about a parameter. */
static void tell_of(struct trial *t, const char *name, struct buf *inner, int err)
{
	struct buf why = BUF_INIT(1 << 16);
	struct str rest = buf_str(inner), line;

	while (str_next(&rest, "\n", &line))
		buf_addf(&why, "%s: %.*s\n", name, STR_ARG(line));
	tell(t, &why, err);
	buf_done(&why);
}

static void check_tables(struct trial *t, const char *name, unsigned flags)
{
	struct buf why = BUF_INIT(1 << 14);
	struct maps *maps;
	int err = maps_open(view_get(t->view, str_of(name)), TABLE_FOLD | TABLE_SURROGATE | flags, t->view, &maps, &why);

	if (!err)
		maps_close(maps);
	tell_of(t, name, &why, err);
	buf_done(&why);
}

/* Domains. A list that is not set has the value of another parameter, `source`: its line is told then. */
static void check_list(struct trial *t, const char *name, const char *source, unsigned flags)
{
	struct buf why = BUF_INIT(1 << 14), who = BUF_INIT(256);
	struct match_list *list;
	int err = match_list_open(view_get(t->view, str_of(name)), MATCH_DOMAIN, TABLE_SURROGATE | flags, t->view, &list, &why);

	if (!err)
		match_list_close(list);
	if (!view_is_set(t->view, str_of(name)))
		buf_addf(&who, "%s (as %s)", source, name);
	tell_of(t, who.len ? buf_cstr(&who) : name, &why, err);
	buf_done(&why);
	buf_done(&who);
}

static void check_policy(struct trial *t, struct router *r, struct buf *why)
{
	struct policy *policy;
	int err = policy_new(t->view, r, &policy, why);
	const char *text;

	tell(t, why, err);
	if (err)
		return;
	for (size_t i = 0; (text = policy_warning(policy, i)); i++)
		tell_line(t, str_of(text), is_broken(str_of(text)));
	policy_free(policy);
}

/* Puts the parameter that names the file in front, so that its line can be told. */
static void name_key_file(struct trial *t, struct buf *why)
{
	static const char *const names[] = {"smtpd_tls_chain_files", "smtpd_tls_key_file",    "smtpd_tls_cert_file",
	                                    "smtpd_tls_eckey_file",  "smtpd_tls_eccert_file", "smtpd_tls_dkey_file",
	                                    "smtpd_tls_dcert_file",  "smtpd_tls_CAfile"};
	struct buf text = BUF_INIT(1 << 16);

	for (size_t i = 0; i < COUNT_OF(names) && !text.len; i++) {
		struct str value = view_get(t->view, str_of(names[i]));

		if (value.len && contains(buf_str(why), value))
			buf_addf(&text, "%s: ", names[i]);
	}
	buf_add(&text, buf_str(why));
	buf_done(why);
	*why = text;
}

static void check_tls_server(struct trial *t, struct buf *why)
{
	const struct params *p = t->view->params;
	struct tls_context *tls;
	int err;

	if (!p->smtpd_tls_wrappermode && !p->smtpd_use_tls && !p->smtpd_enforce_tls &&
	    (!p->smtpd_tls_security_level.len || str_eq(p->smtpd_tls_security_level, STR("none"))))
		return;
	err = tls_server_context_new(t->view, &tls, why);
	if (err)
		name_key_file(t, why);
	tell(t, why, err);
	tls_context_free(tls);
}

/* Domains that are written down in two lists which exclude each other. */
static void check_domains(struct trial *t, struct router *r)
{
	const struct params *p = t->view->params;
	const struct str lists[] = {p->mydestination, p->virtual_alias_domains, p->virtual_mailbox_domains};
	struct buf line = BUF_INIT(4096), why = BUF_INIT(4096);
	struct route_conflict conflicts[2];
	enum address_class class;

	for (size_t i = 0; i < COUNT_OF(lists); i++) {
		struct str rest = lists[i], domain;

		while (str_next(&rest, ", \t\r\n", &domain)) {
			if (str_find_any(domain, ":/!$") < domain.len || router_class(r, domain, &class, &why))
				continue;
			for (size_t k = 0, count = router_conflicts(r, domain, class, conflicts); k < count; k++) {
				buf_reset(&line);
				buf_addf(&line, "%s: do not list domain %.*s in BOTH %s and %s", conflicts[k].second,
				         STR_ARG(domain), conflicts[k].first, conflicts[k].second);
				tell_line(t, buf_str(&line), false);
			}
		}
	}
	buf_done(&line);
	buf_done(&why);
}

static void check_receiver(struct trial *t, bool is_smtp)
{
	struct buf why = BUF_INIT(1 << 16);
	struct sasl_server *sasl;
	struct content *content;
	struct router *r;
	int err = router_new(t->view, &r, &why);

	tell(t, &why, err);
	if (!err) {
		check_domains(t, r);
		if (is_smtp)
			check_policy(t, r, &why);
		err = content_new(t->view, r, &content, &why);
		tell(t, &why, err);
		if (!err)
			content_free(content);
		router_free(r);
	}
	if (is_smtp) {
		err = sasl_server_new(t->view, sasl_smtpd_backends, &sasl, &why);
		tell(t, &why, err);
		if (!err)
			sasl_server_free(sasl);
		check_tables(t, "smtpd_sasl_builtin_maps", 0);
		check_tls_server(t, &why);
	}
	buf_done(&why);
}

static void check_client(struct trial *t)
{
	struct buf why = BUF_INIT(1 << 16);
	struct tls_context *tls;
	int err = tls_client_context_new(t->view, false, &tls, &why);

	tell(t, &why, err);
	if (!err)
		tls_context_free(tls);
	buf_done(&why);
}

/* What the queue manager asks about every recipient, and local delivery about those of aliases. */
static void check_routes(struct trial *t)
{
	static const char *const maps[] = {"transport_maps", "relocated_maps", "sender_dependent_relayhost_maps",
	                                   "sender_dependent_default_transport_maps"};
	static const char *const lists[][2] = {{"mydestination", "myhostname"},
	                                       {"virtual_alias_domains", "virtual_alias_maps"},
	                                       {"virtual_mailbox_domains", "virtual_mailbox_maps"},
	                                       {"relay_domains", "mydestination"}};

	for (size_t i = 0; i < COUNT_OF(maps); i++)
		check_tables(t, maps[i], TABLE_NOW);
	for (size_t i = 0; i < COUNT_OF(lists); i++)
		check_list(t, lists[i][0], lists[i][1], TABLE_NOW);
}

/* A service that nothing but a table can choose may never have work. */
static bool is_chosen(const struct service *s, struct str transport)
{
	return str_eq(str_cut(transport, 0, str_find(transport, ':')), s->name);
}

static void check_local(struct trial *t, const struct service *s)
{
	static const char *const maps[] = {"alias_maps", "mailbox_command_maps", "mailbox_transport_maps",
	                                   "fallback_transport_maps"};
	bool is_used = is_chosen(s, t->view->params->local_transport);

	for (size_t i = 0; i < COUNT_OF(maps); i++)
		check_tables(t, maps[i], is_used ? TABLE_NOW : 0);
	if (is_used)
		check_routes(t);
}

static void check_virtual(struct trial *t, const struct service *s)
{
	static const char *const maps[] = {"virtual_mailbox_maps", "virtual_uid_maps", "virtual_gid_maps"};

	for (size_t i = 0; i < COUNT_OF(maps) && is_chosen(s, t->view->params->virtual_transport); i++)
		check_tables(t, maps[i], TABLE_NOW);
}

static void check_templates(struct trial *t)
{
	struct str path = t->view->params->bounce_template_file;
	struct bounce_templates templates;
	struct buf why = BUF_INIT(1 << 14);

	bounce_templates_init(&templates);
	if (path.len && bounce_templates_read(&templates, path, &why))
		tell_of(t, "bounce_template_file", &why, -EINVAL);
	bounce_templates_done(&templates);
	buf_done(&why);
}

static void check_service(struct trial *t, const struct service *s)
{
	if (str_eq(s->program, STR("smtpd")))
		check_receiver(t, true);
	else if (str_eq(s->program, STR("pickup")))
		check_receiver(t, false);
	else if (str_eq(s->program, STR("smtp")) || str_eq(s->program, STR("lmtp")))
		check_client(t);
	else if (str_eq(s->program, STR("local")))
		check_local(t, s);
	else if (str_eq(s->program, STR("virtual")))
		check_virtual(t, s);
}

int trial_run(const struct config *c)
{
	struct trial t = {0};

	for (size_t i = 0; i < config_service_count(c); i++) {
		t.view = config_service_view(c, config_service(c, i));
		check_service(&t, config_service(c, i));
	}
	t.view = config_main_view(c);
	check_routes(&t);
	check_templates(&t);
	map_done(&t.told);
	return t.error_count;
}
