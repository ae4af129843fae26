/* SPDX-License-Identifier: Apache-2.0 */
/* postconf -b and -t: the texts of delivery status reports. */
#include <stdio.h>

#include "cmd/postconf/postconf.h"
#include "config/bounce_template.h"
#include "config/params.h"

enum { TEXT_MAX = 1 << 20 };

static int print_template(const struct view *v, const struct bounce_template *t, bool is_expanded)
{
	struct buf text = BUF_INIT(TEXT_MAX), why = BUF_INIT(4096);
	int status = 0;

	if (!is_expanded)
		printf("%.*s_template = <<EOF\n%.*sEOF\n", STR_ARG(t->name), STR_ARG(t->source));
	else if (bounce_template_expand(t, v, &text, &why))
		status = postconf_fatal("%s", buf_cstr(&why));
	else
		printf("expanded_%.*s_text = <<EOF\n%.*sEOF\n", STR_ARG(t->name), STR_ARG(buf_str(&text)));
	buf_done(&text);
	buf_done(&why);
	return status;
}

int postconf_templates(const struct postconf *pc, const char *file, bool is_expanded)
{
	struct config *c = config_load_with(pc->dir, pc->overrides, pc->override_count, CONFIG_WITHOUT_ADVICE);
	const struct view *v = config_main_view(c);
	struct str path = file ? str_of(file) : view_get(v, STR("bounce_template_file"));
	struct bounce_templates templates;
	struct buf why = BUF_INIT(4096);
	int status = postconf_problems(pc, c);

	bounce_templates_init(&templates);
	if (status == 0 && !str_is_empty(path) && bounce_templates_read(&templates, path, &why))
		status = postconf_fatal("%s", buf_cstr(&why));
	for (size_t i = 0; i < REPORT_KIND_COUNT && status == 0; i++) {
		if (i > 0)
			putchar('\n');
		status = print_template(v, &templates.of[i], is_expanded);
	}
	bounce_templates_done(&templates);
	buf_done(&why);
	config_free(c);
	return status;
}
