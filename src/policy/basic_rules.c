/* SPDX-License-Identifier: Apache-2.0 */
/* Rules that look at nothing but the session: permit, reject, defer, sleep, plaintext, pipelining. */
#include "fiber/fiber.h"
#include "policy/policy_internal.h"

enum verdict rule_permit(struct run *r, const struct rule *rule)
{
	return run_permit(r, STR("permit"), run_subject(r), STR(""));
}

enum verdict rule_reject(struct run *r, const struct rule *rule)
{
	return run_reject_subject(r, run_subject(r), (int)r->p->params->reject_code, DSN(5, 7, 1), STR("Access denied"));
}

enum verdict rule_defer(struct run *r, const struct rule *rule)
{
	return run_reject_subject(r, run_subject(r), (int)r->p->params->defer_code, DSN(4, 3, 2), STR("Try again later"));
}

enum verdict rule_defer_if_permit(struct run *r, const struct rule *rule)
{
	return run_defer_if_permit(r, run_subject(r), 450, DSN(4, 7, 0), STR("defer_if_permit requested"));
}

enum verdict rule_defer_if_reject(struct run *r, const struct rule *rule)
{
	return run_defer_if_reject(r, run_subject(r), 450, DSN(4, 7, 0), STR("defer_if_reject requested"));
}

enum verdict rule_sleep(struct run *r, const struct rule *rule)
{
	/* A cancelled session ends at its next wait; the answer does not matter then. */
	if (fiber_self())
		(void)!fiber_sleep(duration_s(rule->number));
	return DUNNO;
}

enum verdict rule_unknown(struct run *r, const struct rule *rule)
{
	run_note(r, NOTE_WARNING, STR(""), "unknown smtpd restriction: \"%.*s\"", STR_ARG(rule->argument));
	run_explain(r, "there is no such restriction or class");
	return run_server_error(r);
}

enum verdict rule_broken(struct run *r, const struct rule *rule)
{
	run_note(r, NOTE_WARNING, STR(""), "%.*s", STR_ARG(rule->complaint));
	run_explain(r, "%.*s", STR_ARG(rule->complaint));
	return run_server_error(r);
}

enum verdict rule_reject_plaintext_session(struct run *r, const struct rule *rule)
{
	if (r->s->has_tls)
		return DUNNO;
	return run_reject(r, (int)r->p->params->plaintext_reject_code, DSN(4, 7, 1), "Session encryption is required");
}

enum verdict rule_reject_unauth_pipelining(struct run *r, const struct rule *rule)
{
	if (!r->s->has_bad_pipelining)
		return DUNNO;
	return run_reject_subject(r, run_subject(r), 503, DSN(5, 5, 0), STR("Improper use of SMTP command pipelining"));
}

enum verdict rule_reject_multi_recipient_bounce(struct run *r, const struct rule *rule)
{
	uint32_t count = r->s->recipient_count;

	/* At RCPT the recipient in question comes on top of those accepted. */
	if (r->list != LIST_DATA && r->list != LIST_END_OF_DATA && !str_is_empty(r->s->recipient))
		count++;
	if (!str_is_empty(r->s->sender) || count <= 1)
		return DUNNO;
	return run_reject_subject(r, run_subject(r), (int)r->p->params->multi_recipient_bounce_reject_code, DSN(5, 5, 3),
	                          STR("Multi-recipient bounce"));
}
