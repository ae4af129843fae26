/* SPDX-License-Identifier: Apache-2.0 */
#include "process/tls_trace.h"

#include <time.h>

#include "base/log.h"
#include "config/params.h"
#include "process/process.h"

static struct {
	struct process *process;
	struct instant unit_ends;
	int64_t begun_count;
} trace;

void tls_trace_init(struct process *p)
{
	trace.process = p;
}

bool tls_trace_may_begin(const struct params *p)
{
	if (instant_is_before(trace.unit_ends, clock_now())) {
		trace.unit_ends = clock_deadline(p->anvil_rate_time_unit);
		trace.begun_count = 0;
	}
	trace.begun_count++;
	return !p->tls_trace_rate_limit || trace.begun_count <= p->tls_trace_rate_limit;
}

void tls_trace_send(const char *program, struct str address, struct str text)
{
	struct wall_time now = clock_wall();
	time_t seconds = now.us / 1000000;
	char name[200], date[32];
	struct tm parts;
	struct message m = {.type = MESSAGE_TLS_TRACE};

	strftime(date, sizeof(date), "%Y%m%d%H%M%S", localtime_r(&seconds, &parts));
	snprintf(name, sizeof(name), "%s-%s.%06lld-%.*s", program, date, (long long)(now.us % 1000000), STR_ARG(address));
	m.tls_trace = (struct message_tls_trace){.name = str_of(name), .text = text};
	if (trace.process && channel_send(trace.process->master, &m))
		log_warn("a trace of TLS is lost: master cannot be told");
}
