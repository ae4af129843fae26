/* SPDX-License-Identifier: Apache-2.0 */
#include "role/qmgr/settings.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"
#include "base/log.h"
#include "config/params.h"

enum { REPORT_SIZE_MAX = 64 << 20 };

static const struct {
	const char *program;
	enum ipc_role role;
	bool is_final;
	bool is_error;
} programs[] = {
	{"smtp", ROLE_SMTP, false, false},    {"lmtp", ROLE_SMTP, true, false},    {"local", ROLE_LOCAL, true, false},
	{"virtual", ROLE_LOCAL, true, false}, {"pipe", ROLE_LOCAL, true, false},   {"error", ROLE_LOCAL, true, true},
	{"retry", ROLE_LOCAL, true, true},    {"discard", ROLE_LOCAL, true, true}, {"spawn", ROLE_LOCAL, true, false},
};

static struct feedback transport_feedback(const struct view *v, struct str transport, struct str suffix)
{
	struct feedback f;

	if (feedback_parse(view_transport_text(v, transport, suffix), &f))
		return (struct feedback){FEEDBACK_CONSTANT, 1};
	return f;
}

static unsigned transport_unsigned(const struct view *v, struct str transport, struct str suffix)
{
	int64_t value = view_transport_int(v, transport, suffix);

	return value < 0 ? 0 : value > UINT32_MAX ? UINT32_MAX : (unsigned)value;
}

static void transport_limits(const struct view *v, struct str name, const struct service *service, struct schedule_limits *l)
{
	*l = (struct schedule_limits){
		.process_limit = service ? service->process_limit : 0,
		.concurrency_limit = transport_unsigned(v, name, STR("destination_concurrency_limit")),
		.failed_cohort_limit = transport_unsigned(v, name, STR("destination_concurrency_failed_cohort_limit")),
		.positive = transport_feedback(v, name, STR("destination_concurrency_positive_feedback")),
		.negative = transport_feedback(v, name, STR("destination_concurrency_negative_feedback")),
		.destination_delay = duration_s(view_transport_int(v, name, STR("destination_rate_delay"))),
		.transport_delay = duration_s(view_transport_int(v, name, STR("transport_rate_delay"))),
		.slot_cost = transport_unsigned(v, name, STR("delivery_slot_cost")),
		.initial_concurrency = transport_unsigned(v, name, STR("initial_destination_concurrency")),
	};
}

static void transport_fill(const struct settings *s, struct str name, struct transport_info *t)
{
	const struct view *v = s->view;
	const struct service *service = config_find_service(s->config, name, STR("unix"));

	*t = (struct transport_info){.role = ROLE_LOCAL, .is_deferred = str_list_has_exactly(v->params->defer_transports, name)};
	for (size_t i = 0; service && i < COUNT_OF(programs); i++)
		if (str_eq(service->program, str_of(programs[i].program))) {
			t->is_known = true;
			t->role = programs[i].role;
			t->is_final = programs[i].is_final;
			t->is_error = programs[i].is_error;
		}
	t->recipient_limit = transport_unsigned(v, name, STR("destination_recipient_limit"));
	transport_limits(v, name, service, &t->limits);
	t->bulk_count = t->limits.slot_cost * transport_unsigned(v, name, STR("minimum_delivery_slots"));
}

static unsigned notify_classes(struct str text)
{
	unsigned classes = 0;
	struct str word;

	while (str_next(&text, ", \t\r\n", &word)) {
		if (str_eq_nocase(word, STR("bounce")))
			classes |= NOTIFY_CLASS_BOUNCE;
		else if (str_eq_nocase(word, STR("2bounce")))
			classes |= NOTIFY_CLASS_2BOUNCE;
		else if (str_eq_nocase(word, STR("delay")))
			classes |= NOTIFY_CLASS_DELAY;
	}
	return classes;
}

/* Whatever is wrong with the file, there is a text. */
static void read_templates(struct settings *s, struct str path)
{
	struct buf why = BUF_INIT(4096);

	bounce_templates_done(&s->templates);
	bounce_templates_init(&s->templates);
	if (path.len && bounce_templates_read(&s->templates, path, &why)) {
		log_warn("bounce_template_file: reports have the built-in texts until this is mended: %s", buf_cstr(&why));
		bounce_templates_done(&s->templates);
		bounce_templates_init(&s->templates);
	}
	buf_done(&why);
}

void settings_apply(struct settings *s, const struct config *c)
{
	const struct view *v = config_main_view(c);
	const struct params *p = v->params;
	size_t at = 0;
	struct str name;
	void *info;

	s->config = c;
	s->view = v;
	s->backoff = (struct backoff){p->minimal_backoff_time, p->maximal_backoff_time, p->maximal_queue_lifetime,
	                              p->bounce_queue_lifetime};
	s->warning_time = p->delay_warning_time;
	s->active_limit = (uint32_t)p->qmgr_message_active_limit;
	s->active_recipient_limit = (uint32_t)p->qmgr_message_recipient_limit;
	s->bounce_size_limit = (uint32_t)p->bounce_size_limit;
	s->report_size_max = REPORT_SIZE_MAX;
	s->redacts_requiretls = p->requiretls_redact_dsn;
	s->header_size_limit = (uint32_t)p->header_size_limit;
	s->notify_classes = notify_classes(p->notify_classes);
	s->delay_digits = (int)p->delay_logging_resolution_limit;
	s->is_soft_bounce = p->soft_bounce;
	s->is_threaded = p->enable_threaded_bounces;
	s->is_delay_clear_confirmed = p->confirm_delay_cleared;
	s->hostname = p->myhostname;
	s->origin = p->myorigin;
	s->mail_name = p->mail_name;
	s->double_bounce = p->double_bounce_sender;
	s->bounce_notice = p->bounce_notice_recipient;
	s->double_bounce_notice = p->p_2bounce_notice_recipient;
	s->delay_notice = p->delay_notice_recipient;
	s->recipient_delimiter = p->recipient_delimiter;
	s->filter_nexthop = p->default_filter_nexthop;
	snprintf(s->bounce_tag, sizeof s->bounce_tag, "%.*s/bounce", STR_ARG(p->syslog_name));
	read_templates(s, p->bounce_template_file);
	while (map_next(&s->transports, &at, &name, &info))
		transport_fill(s, name, info);
}

struct settings *settings_new(const struct config *c)
{
	struct settings *s = mem_alloc(sizeof *s);

	settings_apply(s, c);
	return s;
}

void settings_free(struct settings *s)
{
	size_t at = 0;
	void *info;

	if (!s)
		return;
	while (map_next(&s->transports, &at, NULL, &info))
		free(info);
	map_done(&s->transports);
	bounce_templates_done(&s->templates);
	free(s);
}

const struct transport_info *settings_transport(struct settings *s, struct str name)
{
	struct transport_info *t = map_find(&s->transports, name);

	if (t)
		return t;
	t = mem_alloc(sizeof *t);
	transport_fill(s, name, t);
	map_set(&s->transports, name, t);
	return t;
}

void settings_limits(void *arg, struct str transport, struct schedule_limits *ret_limits)
{
	*ret_limits = settings_transport(arg, transport)->limits;
}
