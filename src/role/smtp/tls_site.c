/* SPDX-License-Identifier: Apache-2.0 */
/* Levels by site. */
#include "role/smtp/tls_site.h"

#include <errno.h>

#include "base/arena.h"
#include "table/table.h"

enum site { SITE_UNKNOWN, SITE_MAY, SITE_NONE, SITE_ENCRYPT, SITE_VERIFY };

static const struct {
	const char *word;
	enum site site;
} words[] = {{"NONE", SITE_NONE}, {"MAY", SITE_MAY}, {"MUST_NOPEERMATCH", SITE_ENCRYPT}, {"MUST", SITE_VERIFY}};

/* What demands more wins; NONE wins over MAY, which says no more than that TLS is allowed. */
static int raise_site(const struct smtp_settings *s, struct str name, enum site *site, struct buf *why)
{
	struct arena a = ARENA_INIT;
	struct str value;
	int err = name.len ? maps_find(s->tls_sites, name, false, &a, &value, why) : -ENOENT;

	if (!err) {
		size_t at = 0;

		while (at < COUNT_OF(words) && !str_eq_nocase(str_trim(value), str_of(words[at].word)))
			at++;
		if (at == COUNT_OF(words)) {
			buf_addf(why, "smtp_tls_per_site: \"%.*s\" for %.*s is none of NONE, MAY, MUST_NOPEERMATCH, MUST",
			         STR_ARG(value), STR_ARG(name));
			err = -EINVAL;
		} else if (words[at].site > *site) {
			*site = words[at].site;
		}
	}
	arena_done(&a);
	return err == -ENOENT ? 0 : err;
}

int tls_site_level(const struct smtp_settings *s, struct str nexthop, struct str host, struct str *level, struct buf *why)
{
	enum site site = SITE_UNKNOWN;
	bool is_off = str_eq_nocase(*level, STR("none"));
	int err = raise_site(s, nexthop, &site, why);

	if (!err)
		err = raise_site(s, host, &site, why);
	if (err)
		return err;
	if (site == SITE_NONE)
		*level = STR("none");
	else if (site == SITE_MAY && is_off)
		*level = STR("may");
	else if (site == SITE_ENCRYPT)
		*level = STR("encrypt");
	else if (site == SITE_VERIFY)
		*level = STR("verify");
	return 0;
}
