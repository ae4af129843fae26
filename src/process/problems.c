/* SPDX-License-Identifier: Apache-2.0 */
#include "process/problems.h"

#include "base/log.h"

int problems_log(const struct config *c)
{
	int errors = 0;

	for (size_t i = 0; i < config_problem_count(c); i++) {
		const struct config_problem *p = config_problem(c, i);
		struct buf line = BUF_INIT(1 << 16);

		if (p->origin.file.len)
			buf_addf(&line, "%.*s:%u: ", STR_ARG(p->origin.file), p->origin.line);
		buf_add(&line, p->text);
		if (p->is_error)
			log_error("%s", buf_cstr(&line));
		else
			log_warn("%s", buf_cstr(&line));
		errors += p->is_error;
		buf_done(&line);
	}
	return errors;
}
