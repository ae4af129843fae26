/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the text of a restriction list to rules. Names are looked up here, once, so that
 * running a list compares no strings. What Postfix finds out while it serves (unknown names,
 * missing arguments) becomes a rule that answers 451 4.3.5, and a warning at the start; what
 * cannot be built at all is an error.
 */
#include <errno.h>

#include "policy/policy_internal.h"

enum { RULES_MAX = 10000, CLASS_DEPTH_MAX = 100 };

static const char separators[] = ", \t\r\n";

/* While one list is read. */
struct parser {
	struct policy *p;
	struct arena *arena;
	enum policy_list list;
	struct str rest;
	struct origin origin;      /* of the item that is read */
	struct origin list_origin; /* of the parameter */
	struct str raw;            /* its value as it is written, and how far in it we are */
	size_t raw_at;
	struct rule_list *into;
	size_t room;
	bool has_tables; /* false inside a table's result */
	bool is_quiet;   /* no warnings: it may never be asked in this list */
	unsigned depth;
	struct buf *why;
};

static void warn(struct policy *p, struct origin origin, const char *fmt, ...) PRINTF_LIKE(3, 4);

static void warn(struct policy *p, struct origin origin, const char *fmt, ...)
{
	struct buf text = BUF_INIT(2048);
	struct str *larger;
	bool is_new = true;
	va_list args;

	if (!str_is_empty(origin.file))
		buf_addf(&text, "%.*s:%u: ", STR_ARG(origin.file), origin.line);
	va_start(args, fmt);
	buf_vaddf(&text, fmt, args);
	va_end(args);
	/* A class that several lists use is read for each. */
	for (size_t i = 0; i < p->warning_count; i++)
		is_new &= !str_eq(p->warnings[i], buf_str(&text));
	if (is_new) {
		larger = arena_alloc(&p->arena, sizeof(*larger) * (p->warning_count + 1));
		if (p->warning_count)
			memcpy(larger, p->warnings, sizeof(*larger) * p->warning_count);
		larger[p->warning_count++] = arena_str(&p->arena, buf_str(&text));
		p->warnings = larger;
	}
	buf_done(&text);
}

static void explain_place(struct parser *ps, struct str text)
{
	if (!str_is_empty(ps->origin.file))
		buf_addf(ps->why, "%.*s:%u: ", STR_ARG(ps->origin.file), ps->origin.line);
	buf_addf(ps->why, "%.*s: ", STR_ARG(text));
}

static struct rule *add_rule(struct parser *ps)
{
	struct rule_list *list = ps->into;

	if (list->count == ps->room) {
		size_t room = ps->room ? ps->room * 2 : 8;
		struct rule *larger = arena_alloc(ps->arena, sizeof(*larger) * room);

		if (list->count)
			memcpy(larger, list->rules, sizeof(*larger) * list->count);
		list->rules = larger;
		ps->room = room;
	}
	return &list->rules[list->count++];
}

static void make_broken(struct parser *ps, struct rule *rule, struct str complaint)
{
	rule->type = &rule_type_broken;
	rule->complaint = complaint;
	if (ps->has_tables && !ps->is_quiet)
		warn(ps->p, ps->origin, "%.*s: until this is mended, mail gets 451 4.3.5", STR_ARG(complaint));
}

int policy_open_table(struct policy *p, struct str spec, struct table **ret_table, struct buf *why)
{
	struct table *t = map_find(&p->tables, spec);

	if (!t) {
		int err = table_open(spec, TABLE_FOLD, p->view, &t, why);

		if (err)
			return err;
		if (why->len) {
			warn(p, (struct origin){0}, "%s", buf_cstr(why));
			buf_reset(why);
		}
		(void)map_set(&p->tables, spec, t);
	}
	*ret_table = t;
	return 0;
}

/* "{ type:table, ... }" of check_ccert_access: the table alone. */
static struct str first_in_braces(struct str argument)
{
	struct str rest, first;

	if (argument.len < 2 || argument.ptr[0] != '{')
		return argument;
	rest = str_cut(argument, 1, argument.len - 2);
	return str_next_braced(&rest, separators, &first) ? first : argument;
}

/* "cert_fingerprint, pubkey_fingerprint", either one or both. */
static bool parse_search_order(struct rule *rule, struct str words)
{
	struct str word;
	size_t count = 0;

	while (str_next(&words, separators, &word)) {
		bool is_key = str_eq_nocase(word, STR("pubkey_fingerprint"));

		if (count++ == 2 || (!is_key && !str_eq_nocase(word, STR("cert_fingerprint"))))
			return false;
		if (count == 1) {
			rule->searches_key_only = rule->searches_key_first = is_key;
			rule->searches_certificate_only = !is_key;
		} else if (is_key == rule->searches_key_first) {
			return false;
		} else {
			rule->searches_key_only = rule->searches_certificate_only = false;
		}
	}
	return count > 0;
}

/* What stands behind the table in "{ type:table, { search_order = ... } }". */
static bool parse_table_options(struct rule *rule)
{
	struct str rest, item, name, value;

	if (rule->argument.len < 2 || rule->argument.ptr[0] != '{')
		return true;
	rest = str_cut(rule->argument, 1, rule->argument.len - 2);
	(void)str_next_braced(&rest, separators, &item);
	while (str_next_braced(&rest, separators, &item)) {
		if (item.len < 2 || item.ptr[0] != '{' || !str_split(str_cut(item, 1, item.len - 2), '=', &name, &value) ||
		    !str_eq_nocase(str_trim(name), STR("search_order")) || !parse_search_order(rule, value))
			return false;
	}
	return true;
}

static int take_table(struct parser *ps, struct rule *rule)
{
	struct str spec = first_in_braces(rule->argument);
	int err;

	if ((rule->type->flags & RULE_NEEDS_CCERT) && !parse_table_options(rule)) {
		make_broken(ps, rule,
		            arena_printf(ps->arena,
		                         "restriction %s: bad options in \"%.*s\": need { search_order = "
		                         "cert_fingerprint, pubkey_fingerprint }",
		                         rule->type->name, STR_ARG(rule->argument)));
		return 0;
	}

	if (!str_has(spec, ':')) {
		make_broken(ps, rule,
		            arena_printf(ps->arena, "restriction %s: bad argument \"%.*s\": need maptype:mapname",
		                         rule->type->name, STR_ARG(str_is_empty(spec) ? str_of(rule->type->name) : spec)));
		return 0;
	}
	err = policy_open_table(ps->p, spec, &rule->table, ps->why);
	if (err) {
		struct buf words = BUF_INIT(4096);

		buf_add(&words, buf_str(ps->why));
		buf_reset(ps->why);
		explain_place(ps, rule->text);
		buf_add(ps->why, buf_str(&words));
		buf_done(&words);
	}
	return err;
}

static int take_number(struct parser *ps, struct rule *rule)
{
	unsigned long long value;

	if (str_parse_u64(rule->argument, &value) || value > 86400)
		make_broken(ps, rule, arena_printf(ps->arena, "restriction %s must be followed by number", rule->type->name));
	else
		rule->number = (int64_t)value;
	return 0;
}

static int take_service(struct parser *ps, struct rule *rule)
{
	if (str_is_empty(rule->argument)) {
		make_broken(ps, rule,
		            arena_printf(ps->arena, "restriction %s must be followed by transport:server", rule->type->name));
		return 0;
	}
	return policy_service_open(ps->p, rule->argument, &rule->service, ps->why);
}

static int take_argument(struct parser *ps, struct rule *rule)
{
	switch (rule->type->argument) {
	case ARGUMENT_TABLE:
		return take_table(ps, rule);
	case ARGUMENT_NUMBER:
		return take_number(ps, rule);
	case ARGUMENT_SERVICE:
		return take_service(ps, rule);
	case ARGUMENT_DOMAIN:
		return dnsbl_parse(ps->p, rule->argument, &rule->dnsbl, ps->why);
	case ARGUMENT_NONE:
		break;
	}
	return 0;
}

/* The check that a bare "type:table" stands for in this list; NULL where there is none. */
static const char *default_check(enum policy_list list)
{
	static const char *const names[LIST_COUNT] = {
		[LIST_CLIENT] = "check_client_access",       [LIST_HELO] = "check_helo_access",
		[LIST_SENDER] = "check_sender_access",       [LIST_RELAY] = "check_recipient_access",
		[LIST_RECIPIENT] = "check_recipient_access", [LIST_ETRN] = "check_etrn_access",
	};

	return names[list];
}

static int parse_list(struct parser *ps);

static int find_class(struct parser *ps, struct str name, struct rule_list **ret_class)
{
	struct policy *p = ps->p;
	/* A bare table inside means something else in each list, so each list has its own reading of a class. */
	struct str key = arena_printf(ps->arena, "%d %.*s", ps->list, STR_ARG(name));
	struct rule_list *class = map_find(&p->classes, key);
	struct parser inner;

	*ret_class = class;
	if (class)
		return 0;
	if (ps->depth >= CLASS_DEPTH_MAX) {
		explain_place(ps, name);
		buf_add(ps->why, STR("restriction classes are nested too deep"));
		return -ELOOP;
	}
	class = arena_alloc(&p->arena, sizeof(*class));
	/* Known before it is read: a class that names itself is found at run time, as a loop. */
	(void)map_set(&p->classes, key, class);
	class->origin = view_origin(p->view, name);
	inner = (struct parser){.p = p,
	                        .arena = &p->arena,
	                        .list = ps->list,
	                        .rest = view_get(p->view, name),
	                        .origin = class->origin,
	                        .list_origin = class->origin,
	                        .raw = view_get_raw(p->view, name),
	                        .into = class,
	                        .has_tables = true,
	                        .is_quiet = ps->is_quiet,
	                        .depth = ps->depth + 1,
	                        .why = ps->why};
	*ret_class = class;
	return parse_list(&inner);
}

static bool is_class_name(struct policy *p, struct str name)
{
	struct str rest = p->params->smtpd_restriction_classes;
	struct str class;

	while (str_next(&rest, separators, &class))
		if (str_eq(class, name))
			return true;
	return false;
}

static bool asks_certificates(const struct policy *p)
{
	const struct params *params = p->params;
	bool is_mandatory = params->smtpd_tls_wrappermode || params->smtpd_enforce_tls ||
	                    !(str_is_empty(params->smtpd_tls_security_level) ||
	                      str_eq_nocase(params->smtpd_tls_security_level, STR("none")) ||
	                      str_eq_nocase(params->smtpd_tls_security_level, STR("may")));

	return params->smtpd_tls_ask_ccert || (params->smtpd_tls_req_ccert && is_mandatory);
}

static int parse_name(struct parser *ps, struct rule *rule, struct str name)
{
	rule->type = rule_type_find(name);
	if (!rule->type && is_class_name(ps->p, name)) {
		struct rule_list *class;
		int err = find_class(ps, name, &class);

		rule->type = &rule_type_class;
		rule->list = class;
		return err;
	}
	if (!rule->type) {
		rule->type = &rule_type_unknown;
		rule->argument = arena_str(ps->arena, name);
		if (ps->has_tables && !ps->is_quiet)
			warn(ps->p, ps->origin, "unknown smtpd restriction: \"%.*s\": until this is mended, mail gets 451 4.3.5",
			     STR_ARG(name));
		return 0;
	}
	if ((rule->type->flags & RULE_NEEDS_CCERT) && ps->has_tables && !ps->is_quiet && !asks_certificates(ps->p))
		warn(ps->p, ps->origin, "%.*s is requested, but \"smtpd_tls_ask_ccert = no\"", STR_ARG(name));
	if (rule->type->flags & RULE_OUTDATED)
		warn(ps->p, ps->origin,
		     "support for restriction \"%.*s\" will be removed from Postfix; instead, use \"relay_domains\"",
		     STR_ARG(name));
	if (rule->type->flags & RULE_UNBUILT) {
		explain_place(ps, name);
		buf_add(ps->why,
		        STR("this restriction is not supported yet: take it out, or keep using Postfix for this service"));
		return -ENOTSUP;
	}
	return 0;
}

/* One item with its argument; *ret_rule is NULL for warn_if_reject at the very end. */
static int parse_item(struct parser *ps, struct str name, struct rule **ret_rule)
{
	struct rule *rule;
	const char *start = name.ptr;
	bool is_warn_only = false;
	int err;

	*ret_rule = NULL;
	while (str_eq_nocase(name, STR("warn_if_reject"))) {
		is_warn_only = true;
		if (!str_next_braced(&ps->rest, separators, &name))
			return 0;
	}
	*ret_rule = rule = add_rule(ps);
	*rule = (struct rule){.is_warn_only = is_warn_only, .origin = ps->origin};
	rule->text = arena_str(ps->arena, str_n(start, (size_t)(name.ptr + name.len - start)));
	if (str_has(name, ':')) {
		const char *check = default_check(ps->list);

		if (!check || !ps->has_tables) {
			rule->type = &rule_type_unknown;
			make_broken(
				ps, rule,
				arena_printf(ps->arena,
			                     "specify one of (check_client_access, check_reverse_client_hostname_access, "
			                     "check_helo_access, check_sender_access, check_recipient_access, check_etrn_access) "
			                     "before %s restriction \"%.*s\"",
			                     ps->list == LIST_DATA ? "Data command" : "End-of-data", STR_ARG(name)));
			return 0;
		}
		rule->type = rule_type_find(str_of(check));
		rule->argument = arena_str(ps->arena, name);
		return take_argument(ps, rule);
	}
	err = parse_name(ps, rule, name);
	if (!err && rule->type->argument != ARGUMENT_NONE) {
		struct str argument = STR("");

		if (str_next_braced(&ps->rest, separators, &argument))
			rule->text = arena_str(ps->arena, str_n(start, (size_t)(argument.ptr + argument.len - start)));
		rule->argument = arena_str(ps->arena, argument);
		err = take_argument(ps, rule);
	}
	return err;
}

static int parse_list(struct parser *ps)
{
	const struct rule *last = NULL;
	struct str name;

	while (str_next_braced(&ps->rest, separators, &name)) {
		struct rule *rule;
		int err;

		ps->origin = origin_of_word(ps->list_origin, ps->raw, name, &ps->raw_at);
		if (ps->into->count >= RULES_MAX) {
			explain_place(ps, name);
			buf_addf(ps->why, "more than %d restrictions in one list", RULES_MAX);
			return -E2BIG;
		}
		if (last && ps->has_tables) {
			if (!ps->is_quiet)
				warn(ps->p, ps->origin, "restriction `%.*s' after `%s' is ignored", STR_ARG(name),
				     last->type->name);
			return 0;
		}
		err = parse_item(ps, name, &rule);
		if (err)
			return err;
		if (rule && (rule->type->flags & RULE_ENDS_LIST) && !rule->is_warn_only)
			last = rule;
	}
	return 0;
}

int policy_parse_parameter(struct policy *p, enum policy_list list, struct str name, struct rule_list *ret_list, struct buf *why)
{
	struct parser ps = {.p = p,
	                    .arena = &p->arena,
	                    .list = list,
	                    .rest = view_get(p->view, name),
	                    .raw = view_get_raw(p->view, name),
	                    .into = ret_list,
	                    .has_tables = true,
	                    .why = why};

	ps.origin = ps.list_origin = ret_list->origin = view_origin(p->view, name);
	return parse_list(&ps);
}

int policy_parse_classes(struct policy *p, struct buf *why)
{
	struct str rest = p->params->smtpd_restriction_classes;
	struct str name;
	int err = 0;

	while (!err && str_next(&rest, separators, &name))
		for (int list = 0; list < LIST_COUNT && !err; list++) {
			struct parser ps = {.p = p,
			                    .arena = &p->arena,
			                    .list = (enum policy_list)list,
			                    .has_tables = true,
			                    .is_quiet = list != LIST_RECIPIENT,
			                    .why = why};
			struct rule_list *class;

			err = find_class(&ps, name, &class);
		}
	return err;
}

void policy_parse_result(struct policy *p, enum policy_list list, struct str text, struct arena *a, struct rule_list *ret_list)
{
	struct buf why = BUF_INIT(1024);
	struct parser ps = {.p = p, .arena = a, .list = list, .rest = text, .into = ret_list, .why = &why};

	*ret_list = (struct rule_list){0};
	/* What is not built is known to be so by name alone: it answers as an unknown one. */
	if (parse_list(&ps))
		ret_list->rules[ret_list->count - 1].type = &rule_type_unknown;
	buf_done(&why);
}

static bool guards_relay(const struct rule_list *list, unsigned depth)
{
	for (size_t i = 0; i < list->count && depth < CLASS_DEPTH_MAX; i++) {
		const struct rule *rule = &list->rules[i];

		if (rule->is_warn_only)
			continue;
		if (rule->type == &rule_type_class ? guards_relay(rule->list, depth + 1)
		                                   : (rule->type->flags & RULE_GUARDS_RELAY) != 0)
			return true;
		if (rule->type->flags & RULE_ENDS_LIST)
			break;
	}
	return false;
}

bool policy_guards_relay(const struct rule_list *list)
{
	return guards_relay(list, 0);
}
