/* SPDX-License-Identifier: Apache-2.0 */
/* The page that `postrider explain` prints: facts, stages with their rules, replies. */
#pragma once

#include "policy/policy.h"

struct explain_page;

/* Listens to the policy from now on. Lives in the arena. */
struct explain_page *explain_page_new(struct policy *p, struct arena *a);
/* "name   text"; an empty name continues the fact above. */
void explain_fact(struct explain_page *page, const char *name, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The command, and every rule that was asked since the last stage. */
void explain_stage(struct explain_page *page, const char *command);
void explain_note(struct explain_page *page, const struct policy_note *note);
/* What the client gets; code 0 is "go on". */
void explain_reply(struct explain_page *page, const struct reply *reply);
/* What is done to the message besides. */
void explain_actions(struct explain_page *page, const struct policy_action *act);
