/* SPDX-License-Identifier: Apache-2.0 */
/* Taking requests for master.cf apart. */
#include "cmd/postconf/postconf_request.h"

#include <errno.h>

const struct str request_fields[REQUEST_FIELD_COUNT] = {
	STR("service"), STR("type"),   STR("private"),       STR("unprivileged"),
	STR("chroot"),  STR("wakeup"), STR("process_limit"), STR("command"),
};

bool request_part_matches(struct str part, struct str word)
{
	return str_eq(part, STR("*")) || str_eq(part, word);
}

/* The name of a service may hold slashes only before its type; the parts are found from the front, as no name in use has one. */
static void split(struct str path, struct request *r)
{
	struct str rest;

	r->name = path;
	if (!str_split(path, '/', &r->name, &rest))
		return;
	r->type = rest;
	if (!str_split(rest, '/', &r->type, &rest))
		return;
	r->detail = rest;
}

static const char *usage_of(const struct postconf *pc)
{
	const bool is_show = pc->action == ACTION_SHOW;

	switch (pc->object) {
	case OBJECT_FIELD:
		return is_show ? "-F option requires service_name[/type[/field]]" : "-Fe requires service_name/type/field=value";
	case OBJECT_SERVICE_PARAM:
		return is_show ? "-P option requires service_name[/type[/parameter]]"
		               : "-Pe or -PX requires service_name/type/parameter";
	default:
		return is_show ? "-M option requires service_name[/type]" : "-Me, -MX or -M# requires service_name/type";
	}
}

static bool is_field(struct str name)
{
	for (size_t i = 0; i < REQUEST_FIELD_COUNT; i++)
		if (request_part_matches(name, request_fields[i]))
			return true;
	return false;
}

int request_parse(const struct postconf *pc, struct str text, struct request *ret)
{
	struct str path = text;

	*ret = (struct request){0};
	if (pc->action == ACTION_EDIT) {
		ret->has_value = str_split(text, '=', &path, &ret->value);
		ret->value = str_trim(ret->value);
	}
	split(str_trim(path), ret);
	bool is_short = str_is_empty(ret->name) || (pc->action != ACTION_SHOW && str_is_empty(ret->type)) ||
	                (pc->action != ACTION_SHOW && pc->object != OBJECT_SERVICE && str_is_empty(ret->detail));
	bool is_long = pc->object == OBJECT_SERVICE && !str_is_empty(ret->detail);
	bool lacks_value = pc->action == ACTION_EDIT && !ret->has_value;
	if (is_short || is_long || lacks_value) {
		postconf_fatal("%s: \"%.*s\"", usage_of(pc), STR_ARG(text));
		return -EINVAL;
	}
	if (str_is_empty(ret->type))
		ret->type = STR("*");
	if (str_is_empty(ret->detail))
		ret->detail = STR("*");
	if (pc->object == OBJECT_FIELD && !is_field(ret->detail)) {
		postconf_fatal("invalid service attribute name: \"%.*s\"", STR_ARG(ret->detail));
		return -EINVAL;
	}
	return 0;
}
