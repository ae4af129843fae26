/* SPDX-License-Identifier: Apache-2.0 */
/* Access tokens: the parameters, and who judges a token. */
#include "sasl/oauth.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "sasl/claims.h"
#include "sasl/jwt.h"
#include "sasl/server_internal.h"

enum { FILE_MAX = 64 << 10, JSON_MAX = 32 << 10 };

/* A file that was read, and how it was then. */
struct source {
	char *path;
	struct stat state;
};

struct oauth {
	const struct params *params;
	struct jwt_keys *keys; /* NULL: none */
	struct introspection introspection;
	char *login;
	struct source key_file, client_file;
};

/* --- the parameters --------------------------------------------------------------------------------------- */

static int read_source(struct source *s, struct str path, struct buf *to, struct buf *why)
{
	char bytes[4096];
	ssize_t size = -1;
	int fd;

	s->path = str_cstr(path);
	fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	errno = fd < 0 ? errno : EINVAL;
	/* Nobody waits for what a pipe may say. */
	if (fd >= 0 && !fstat(fd, &s->state) && S_ISREG(s->state.st_mode))
		while ((size = read(fd, bytes, sizeof(bytes))) > 0 && !buf_check(to))
			buf_add_bytes(to, bytes, (size_t)size);
	if (size < 0)
		buf_addf(why, "%s: %s", s->path, errno == EINVAL ? "it is no regular file" : strerror(errno));
	else if (buf_check(to))
		buf_addf(why, "%s: it is longer than %d KiB", s->path, FILE_MAX >> 10);
	explicit_bzero(bytes, sizeof(bytes));
	if (fd >= 0)
		close(fd);
	return size < 0 ? -EINVAL : buf_check(to);
}

static bool has_changed(const struct source *s)
{
	struct stat now;

	return s->path && !stat(s->path, &now) &&
	       (now.st_ino != s->state.st_ino || now.st_mtim.tv_sec != s->state.st_mtim.tv_sec ||
	        now.st_mtim.tv_nsec != s->state.st_mtim.tv_nsec || now.st_size != s->state.st_size);
}

static int read_keys(struct oauth *o, struct buf *why)
{
	struct str path = o->params->smtpd_sasl_oauth_key_file;
	struct buf text = BUF_INIT(FILE_MAX);
	int err;

	if (str_is_empty(path))
		return 0;
	/* Without one a token that was given to any other application would do here. */
	if (str_is_empty(str_trim(o->params->smtpd_sasl_oauth_audience))) {
		buf_add(why,
		        STR("smtpd_sasl_oauth_key_file needs smtpd_sasl_oauth_audience: for whom tokens must be made out to log "
		            "in here"));
		return -EINVAL;
	}
	buf_add(why, STR("smtpd_sasl_oauth_key_file: "));
	err = read_source(&o->key_file, path, &text, why);
	if (!err)
		err = jwt_keys_parse(buf_str(&text), &o->keys, why);
	sasl_wipe(&text);
	if (!err)
		buf_reset(why);
	return err;
}

static int read_introspection(struct oauth *o, struct buf *why)
{
	const struct params *p = o->params;
	struct buf text = BUF_INIT(FILE_MAX);
	struct str line;
	int err;

	if (str_is_empty(p->smtpd_sasl_oauth_introspection_url))
		return 0;
	o->introspection.url = p->smtpd_sasl_oauth_introspection_url;
	o->introspection.ca_file = p->smtpd_sasl_oauth_CAfile;
	buf_add(why, STR("smtpd_sasl_oauth_introspection_url: "));
	err = introspect_open();
	if (err)
		buf_add(why, STR("libcurl does not start"));
	if (!err)
		err = introspect_check_url(o->introspection.url, why);
	if (!err)
		buf_reset(why);
	if (err || str_is_empty(p->smtpd_sasl_oauth_client_file))
		return err;
	buf_add(why, STR("smtpd_sasl_oauth_client_file: "));
	err = read_source(&o->client_file, p->smtpd_sasl_oauth_client_file, &text, why);
	line = str_trim(buf_str(&text));
	if (!err && (!str_has(line, ':') || str_has(line, '\n'))) {
		buf_add(why, STR("it must hold one line, ID:SECRET"));
		err = -EINVAL;
	}
	if (!err) {
		o->login = str_cstr(line);
		o->introspection.login = str_of(o->login);
		buf_reset(why);
	}
	sasl_wipe(&text);
	return err;
}

int oauth_new(const struct view *v, struct oauth **ret_oauth, struct buf *why)
{
	struct oauth *o = mem_alloc(sizeof(*o));
	int err;

	o->params = v->params;
	err = read_keys(o, why);
	if (!err)
		err = read_introspection(o, why);
	if (err || (!o->keys && !o->introspection.url.len)) {
		oauth_free(o);
		if (!err)
			*ret_oauth = NULL;
		return err;
	}
	*ret_oauth = o;
	return 0;
}

void oauth_free(struct oauth *o)
{
	if (!o)
		return;
	jwt_keys_free(o->keys);
	free(o->login);
	free(o->key_file.path);
	free(o->client_file.path);
	free(o);
}

bool oauth_has_changed(const struct oauth *o)
{
	return o && (has_changed(&o->key_file) || has_changed(&o->client_file));
}

/* --- tokens ------------------------------------------------------------------------------------------------ */

static void set_rules(const struct oauth *o, struct claim_rules *rules)
{
	const struct params *p = o->params;

	*rules = (struct claim_rules){.issuer = p->smtpd_sasl_oauth_issuer,
	                              .audience = str_trim(p->smtpd_sasl_oauth_audience),
	                              .scope = p->smtpd_sasl_oauth_scope,
	                              .username = p->smtpd_sasl_oauth_username_claim,
	                              .now = (int64_t)time(NULL)};
}

static enum sasl_status check_here(const struct oauth *o, struct str token, struct arena *a, struct str *ret_username,
                                   struct buf *reason)
{
	struct claim_rules rules;
	const char *why = "";

	set_rules(o, &rules);
	rules.must_expire = true;
	if (!jwt_check(token, o->keys, &rules, a, ret_username, &why))
		return SASL_OK;
	buf_add(reason, str_of(why));
	return SASL_FAILED;
}

static enum sasl_status check_there(const struct oauth *o, struct str token, struct arena *a, struct str *ret_username,
                                    struct buf *reason)
{
	struct buf text = BUF_INIT(JSON_MAX);
	struct claim_rules rules;
	enum sasl_status status = SASL_TRY_LATER;
	const char *why = "";
	json_t *claims = NULL;

	set_rules(o, &rules);
	if (introspect(&o->introspection, token, &text, reason)) {
		buf_done(&text);
		return SASL_TRY_LATER;
	}
	claims = claims_parse(buf_str(&text));
	if (!json_is_boolean(json_object_get(claims, "active")))
		why = "the introspection answer is none";
	else if (!json_is_true(json_object_get(claims, "active")))
		status = SASL_FAILED, why = "the token is not active";
	else
		status = claims_check(claims, &rules, a, ret_username, &why) ? SASL_FAILED : SASL_OK;
	if (status != SASL_OK)
		buf_add(reason, str_of(why));
	json_decref(claims);
	buf_done(&text);
	return status;
}

enum sasl_status oauth_check(struct oauth *o, struct str token, struct arena *a, struct str *ret_username, struct buf *reason)
{
	if (o->keys && (!o->introspection.url.len || jwt_has_form(token)))
		return check_here(o, token, a, ret_username, reason);
	return check_there(o, token, a, ret_username, reason);
}

static void add_member(struct buf *to, const char *name, struct str value)
{
	buf_addf(to, ",\"%s\":\"", name);
	for (size_t i = 0; i < value.len; i++) {
		if (value.ptr[i] == '"' || value.ptr[i] == '\\')
			buf_add_char(to, '\\');
		buf_add_char(to, value.ptr[i]);
	}
	buf_add_char(to, '"');
}

void oauth_format_error(const struct oauth *o, struct buf *to)
{
	buf_add(to, STR("{\"status\":\"invalid_token\",\"schemes\":\"bearer\""));
	if (!str_is_empty(o->params->smtpd_sasl_oauth_scope))
		add_member(to, "scope", o->params->smtpd_sasl_oauth_scope);
	if (!str_is_empty(o->params->smtpd_sasl_oauth_openid_configuration))
		add_member(to, "openid-configuration", o->params->smtpd_sasl_oauth_openid_configuration);
	buf_add_char(to, '}');
}
