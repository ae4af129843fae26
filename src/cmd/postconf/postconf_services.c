/* SPDX-License-Identifier: Apache-2.0 */
/* postconf: showing services of master.cf, their fields and their settings. */
#include <stdio.h>
#include <stdlib.h>

#include "cmd/postconf/postconf.h"
#include "cmd/postconf/postconf_request.h"
#include "config/param.h"

enum { TEXT_MAX = 1 << 24 };

static const struct view *expansion_view(const struct postconf *pc, const struct config *c, const struct service *s)
{
	return pc->is_expanded ? config_service_view(c, s) : NULL;
}

static void show_service(const struct postconf *pc, const struct config *c, const struct service *s)
{
	struct buf text = BUF_INIT(TEXT_MAX), name = BUF_INIT(TEXT_MAX);

	if (pc->is_json) {
		buf_addf(&name, "%.*s/%.*s", STR_ARG(s->name), STR_ARG(s->type));
		for (size_t i = 0; i < COUNT_OF(s->fields) - 1; i++)
			buf_addf(&text, "%.*s ", STR_ARG(s->fields[i]));
		postconf_format_command(&text, s, expansion_view(pc, c, s), false);
		postconf_print(pc, buf_str(&name), buf_str(&text));
	} else {
		postconf_format_service(&text, s, expansion_view(pc, c, s), pc->is_folded);
		puts(buf_cstr(&text));
	}
	buf_done(&text);
	buf_done(&name);
}

static bool show_fields(const struct postconf *pc, const struct config *c, const struct service *s, struct str wanted)
{
	bool is_found = false;

	for (size_t i = 0; i < REQUEST_FIELD_COUNT; i++) {
		struct buf name = BUF_INIT(TEXT_MAX), value = BUF_INIT(TEXT_MAX);

		if (!request_part_matches(wanted, request_fields[i]))
			continue;
		is_found = true;
		buf_addf(&name, "%.*s/%.*s/%.*s", STR_ARG(s->name), STR_ARG(s->type), STR_ARG(request_fields[i]));
		if (i + 1 < REQUEST_FIELD_COUNT)
			buf_add(&value, s->fields[i]);
		else
			postconf_format_command(&value, s, expansion_view(pc, c, s), false);
		postconf_print(pc, buf_str(&name), buf_str(&value));
		buf_done(&name);
		buf_done(&value);
	}
	return is_found;
}

static bool show_param(const struct postconf *pc, const struct config *c, const struct service *s, struct str param)
{
	const struct view *v = config_service_view(c, s);
	struct buf name = BUF_INIT(TEXT_MAX);

	buf_addf(&name, "%.*s/%.*s/%.*s", STR_ARG(s->name), STR_ARG(s->type), STR_ARG(param));
	postconf_print(pc, buf_str(&name), pc->is_expanded ? view_get(v, param) : view_get_raw(v, param));
	buf_done(&name);
	return true;
}

static int compare_names(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* The -o settings of a service in order of their names, or with -PP all parameters that it sees. */
static bool show_params(const struct postconf *pc, const struct config *c, const struct service *s, struct str wanted)
{
	size_t count = config_override_count(c, s), size = count + (pc->has_unset ? param_count : 0);
	struct str *names = mem_alloc((size + 1) * sizeof(*names));
	bool is_found = false;

	for (size_t i = 0; i < count; i++)
		names[i] = config_override_name(c, s, i);
	for (size_t i = 0; pc->has_unset && i < param_count; i++)
		if (param_has_field(&param_table[i]))
			names[count++] = param_table[i].name;
	if (count > 0)
		qsort(names, count, sizeof(*names), compare_names);
	for (size_t i = 0; i < count; i++)
		if (request_part_matches(wanted, names[i]) && (i == 0 || !str_eq(names[i], names[i - 1])))
			is_found |= show_param(pc, c, s, names[i]);
	free(names);
	return is_found;
}

static bool show(const struct postconf *pc, const struct config *c, const struct service *s, const struct request *r)
{
	switch (pc->object) {
	case OBJECT_FIELD:
		return show_fields(pc, c, s, r->detail);
	case OBJECT_SERVICE_PARAM:
		return show_params(pc, c, s, r->detail);
	default:
		show_service(pc, c, s);
		return true;
	}
}

/* All that was asked for, service by service. */
static void show_requests(const struct postconf *pc, const struct config *c, const struct request *requests, size_t count)
{
	bool *is_found = mem_alloc(count + 1);

	for (size_t i = 0; i < config_service_count(c); i++) {
		const struct service *s = config_service(c, i);

		for (size_t r = 0; r < count; r++)
			if (request_part_matches(requests[r].name, s->name) && request_part_matches(requests[r].type, s->type))
				is_found[r] |= show(pc, c, s, &requests[r]);
	}
	for (size_t r = 0; r < pc->arg_count; r++)
		if (!is_found[r])
			postconf_warn("unmatched request: \"%s\"", pc->args[r]);
	free(is_found);
}

int postconf_show_services(const struct postconf *pc)
{
	struct config *c = config_load_with(pc->dir, pc->overrides, pc->override_count, CONFIG_WITHOUT_ADVICE);
	struct request *requests = mem_alloc((pc->arg_count + 1) * sizeof(*requests));
	int status = postconf_problems(pc, c);

	requests[0] = (struct request){.name = STR("*"), .type = STR("*"), .detail = STR("*")};
	for (size_t i = 0; i < pc->arg_count && status == 0; i++)
		status = request_parse(pc, str_of(pc->args[i]), &requests[i]) ? 1 : 0;
	if (status == 0)
		show_requests(pc, c, requests, size_max(pc->arg_count, 1));
	free(requests);
	config_free(c);
	return status;
}
