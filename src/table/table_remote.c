/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables that another program answers for, over a connection:
 *
 *	socketmap:inet:host:port:name, socketmap:unix:path:name
 *		"12:name the key," as a netstring; the answer is one of
 *		"OK value", "NOTFOUND ", "TEMP why", "TIMEOUT why", "PERM why"
 *
 *	tcp:host:port
 *		"get key\n" with what is no plain text as %XX; the answer is
 *		"200 value", "500 why" for not found, or "400 why"
 *
 * Lookups wait on their fiber. A connection serves one question at a time and is kept for the next one.
 */
#include <errno.h>

#include "base/list.h"
#include "config/config.h"
#include "config/params.h"
#include "fiber/fiber.h"
#include "net/connect.h"
#include "net/dns.h"
#include "net/ip.h"
#include "table/table_internal.h"

enum {
	ANSWER_WAIT_S = 100, /* for a whole question; Postfix's figures, as the next two */
	IDLE_MAX_S = 10,
	LIFE_MAX_S = 100,
	CONNECTIONS_MAX = 50, /* of one table of one process; more questions wait */
	TCP_REPLY_MAX = 4096,
	DIGITS_MAX = 9,
	TRIES = 2 /* a connection that was kept may be dead */
};

struct remote;

struct remote_type {
	int (*ask)(struct remote *r, struct stream *s, struct str key, struct buf *reply);
	int (*judge)(struct remote *r, struct str reply, struct arena *a, struct str *ret_value, struct buf *why);
};

struct remote {
	struct table table;
	const struct remote_type *how;
	char *host; /* NULL: a local socket */
	char *path;
	char *name; /* of the map; socketmap only */
	uint16_t port;
	size_t query_max;
	size_t reply_max;
	struct list idle;
	size_t connection_count;
	struct wait_list free_place;
};

struct link {
	struct list link;
	struct stream *stream;
	struct instant made_at;
	struct instant used_at;
};

static bool never_waits;

void table_never_wait(void)
{
	never_waits = true;
}

/* --- connections --------------------------------------------------------------------------- */

static void link_free(struct remote *r, struct link *l)
{
	stream_free(l->stream);
	free(l);
	r->connection_count--;
	(void)wait_list_wake_one(&r->free_place);
}

/* One that was kept and may still be good, or NULL. */
static struct link *take_idle(struct remote *r)
{
	struct list *first;

	while ((first = list_first(&r->idle))) {
		struct link *l = LIST_ENTRY(first, struct link, link);
		struct instant now = clock_now();

		list_remove(&l->link);
		if (stream_is_quiet(l->stream) && instant_is_before(now, instant_after(l->used_at, duration_s(IDLE_MAX_S))) &&
		    instant_is_before(now, instant_after(l->made_at, duration_s(LIFE_MAX_S))))
			return l;
		link_free(r, l);
	}
	return NULL;
}

static int connect_path(const struct remote *r, struct stream **ret_stream)
{
	int fd, err = connect_local(str_of(r->path), duration_s(ANSWER_WAIT_S), &fd);

	if (!err)
		*ret_stream = stream_new(fd);
	return err;
}

static int connect_host(const struct remote *r, struct stream **ret_stream)
{
	struct arena a = ARENA_INIT;
	struct sockaddr_storage to;
	struct dns_answer answer = {0};
	int err = ip_parse(str_of(r->host), r->port, &to);

	if (!err) {
		err = connect_stream((struct sockaddr *)&to, NULL, duration_s(ANSWER_WAIT_S), ret_stream);
	} else {
		err = dns_addresses(str_of(r->host), true, true, true, &a, &answer);
		if (!err && answer.status != DNS_FOUND)
			err = -EHOSTUNREACH;
		for (size_t i = 0; i < answer.count; i++)
			if (!ip_from_bytes(answer.records[i].data, r->port, &to) &&
			    !(err = connect_stream((struct sockaddr *)&to, NULL, duration_s(ANSWER_WAIT_S), ret_stream)))
				break;
	}
	arena_done(&a);
	return err;
}

static int take_link(struct remote *r, bool is_fresh, struct link **ret_link)
{
	struct instant deadline = clock_deadline(duration_s(ANSWER_WAIT_S));
	struct stream *stream;
	int err = 0;

	while (!err && (is_fresh || !(*ret_link = take_idle(r)))) {
		if (r->connection_count < CONNECTIONS_MAX)
			break;
		err = wait_list_wait(&r->free_place, deadline);
	}
	if (err || *ret_link)
		return err;
	r->connection_count++;
	err = r->host ? connect_host(r, &stream) : connect_path(r, &stream);
	if (err) {
		r->connection_count--;
		(void)wait_list_wake_one(&r->free_place);
		return err;
	}
	*ret_link = mem_alloc(sizeof(**ret_link));
	**ret_link = (struct link){.stream = stream, .made_at = clock_now()};
	list_init(&(*ret_link)->link);
	return 0;
}

static void keep_link(struct remote *r, struct link *l)
{
	l->used_at = clock_now();
	stream_set_deadline(l->stream, INSTANT_NEVER);
	list_add_first(&r->idle, &l->link);
	(void)wait_list_wake_one(&r->free_place);
}

/* --- questions ----------------------------------------------------------------------------- */

/* One try; *ret_was_kept says that another connection may do better. */
static int ask_once(struct remote *r, struct str key, bool is_fresh, struct buf *reply, bool *ret_was_kept)
{
	struct link *l = NULL;
	int err = take_link(r, is_fresh, &l);

	*ret_was_kept = false;
	if (err)
		return err;
	*ret_was_kept = l->used_at.ns != 0;
	stream_set_timeout(l->stream, duration_s(ANSWER_WAIT_S));
	stream_set_deadline(l->stream, clock_deadline(duration_s(ANSWER_WAIT_S)));
	err = r->how->ask(r, l->stream, key, reply);
	if (err || stream_has_input(l->stream))
		link_free(r, l);
	else
		keep_link(r, l);
	return err;
}

static void say_failure(const struct remote *r, int err, struct buf *why)
{
	buf_addf(why, "table %s: %s", r->table.spec,
	         err == -EPIPE     ? "the server hung up"
	         : err == -EPROTO  ? "the server does not keep to the protocol"
	         : err == -E2BIG   ? "the key is too long"
	         : err == -ENOBUFS ? "the answer is too long"
	                           : strerror(-err));
}

static int ask(struct remote *r, struct str key, struct arena *a, struct str *ret_value, struct buf *why)
{
	struct buf reply = BUF_INIT(r->reply_max + DIGITS_MAX + 2);
	bool was_kept = true;
	int err = -EPIPE, cause;

	for (int i = 0; i < TRIES && was_kept && (err == -EPIPE || err == -ECONNRESET); i++) {
		buf_reset(&reply);
		err = ask_once(r, key, i > 0, &reply, &was_kept);
	}
	cause = err;
	/* Whatever went wrong on the way there: it is never "not found". */
	if (err && err != -ECANCELED)
		err = -EAGAIN;
	if (err)
		say_failure(r, cause, why);
	else
		err = r->how->judge(r, buf_str(&reply), a, ret_value, why);
	buf_done(&reply);
	return err;
}

/* A command has no loop of its own: one runs as long as the question takes. */
struct lone_question {
	struct remote *remote;
	struct str key;
	struct arena *arena;
	struct str *value;
	struct buf *why;
	int err;
};

static void ask_alone(void *arg)
{
	struct lone_question *q = arg;

	q->err = ask(q->remote, q->key, q->arena, q->value, q->why);
	loop_stop();
}

static int remote_find(struct table *t, struct str key, struct arena *a, struct str *ret_value, struct buf *why)
{
	struct lone_question q = {.remote = (struct remote *)t, .key = key, .arena = a, .value = ret_value, .why = why};
	static bool has_loop;

	if (never_waits) {
		buf_addf(why,
		         "table %s: this process cannot wait for answers; only mail that comes in and SMTP clients ask such "
		         "tables",
		         t->spec);
		return -EAGAIN;
	}
	if (fiber_self())
		return ask(q.remote, key, a, ret_value, why);
	if (!has_loop)
		loop_init();
	has_loop = true;
	fiber_start("table", ask_alone, &q);
	loop_run();
	return q.err;
}

/* --- socketmap ----------------------------------------------------------------------------- */

/* 0 and what is inside "N:bytes,", -EAGAIN for the beginning of one, -EPROTO, -ENOBUFS. */
static int netstring_parse(struct str text, size_t max, struct str *ret_inside)
{
	size_t colon = str_find(text, ':');
	unsigned long long len;

	if (colon == text.len && text.len <= DIGITS_MAX)
		return text.len && !ascii_is_digit(text.ptr[text.len - 1]) ? -EPROTO : -EAGAIN;
	if (colon > DIGITS_MAX || str_parse_u64(str_cut(text, 0, colon), &len))
		return -EPROTO;
	if (len > max)
		return -ENOBUFS;
	if (text.len < colon + len + 2)
		return -EAGAIN;
	if (text.len > colon + len + 2 || text.ptr[text.len - 1] != ',')
		return -EPROTO;
	*ret_inside = str_cut(text, colon + 1, (size_t)len);
	return 0;
}

static int socketmap_ask(struct remote *r, struct stream *s, struct str key, struct buf *reply)
{
	size_t size = strlen(r->name) + 1 + key.len;
	struct str bytes;
	int err;

	if (size > r->query_max)
		return -E2BIG;
	err = stream_printf(s, "%zu:%s ", size, r->name);
	if (!err)
		err = stream_write(s, key);
	if (!err)
		err = stream_write(s, STR(","));
	if (!err)
		err = stream_flush(s);
	while (!err) {
		err = stream_read_some(s, r->reply_max + DIGITS_MAX + 2 - reply->len, &bytes);
		if (err)
			break;
		buf_add(reply, bytes);
		err = netstring_parse(buf_str(reply), r->reply_max, &bytes);
		if (err != -EAGAIN)
			break;
		err = 0;
	}
	return err;
}

static int socketmap_judge(struct remote *r, struct str reply, struct arena *a, struct str *ret_value, struct buf *why)
{
	struct str inside, word, rest = STR("");

	if (netstring_parse(reply, r->reply_max, &inside))
		return -EAGAIN;
	if (!str_split(inside, ' ', &word, &rest))
		word = inside;
	if (str_eq(word, STR("NOTFOUND")))
		return -ENOENT;
	if (str_eq(word, STR("OK")) && rest.len) {
		*ret_value = arena_str(a, rest);
		return 0;
	}
	if (str_eq(word, STR("TEMP")) || str_eq(word, STR("TIMEOUT")) || str_eq(word, STR("PERM")))
		buf_addf(why, "table %s: the server says: %.*s", r->table.spec, (int)size_min(inside.len, 200), inside.ptr);
	else
		buf_addf(why, "table %s: the server answers \"%.*s\"", r->table.spec, (int)size_min(inside.len, 200), inside.ptr);
	return -EAGAIN;
}

/* --- tcp ------------------------------------------------------------------------------------ */

static bool is_plain(char c)
{
	return c > ' ' && c < 127 && c != '%';
}

static int tcp_ask(struct remote *r, struct stream *s, struct str key, struct buf *reply)
{
	struct str line;
	bool is_bare;
	int err = stream_write(s, STR("get "));

	for (size_t i = 0; !err && i < key.len; i++)
		err = is_plain(key.ptr[i]) ? stream_write(s, str_cut(key, i, 1))
		                           : stream_printf(s, "%%%02X", (unsigned char)key.ptr[i]);
	if (!err)
		err = stream_write(s, STR("\n"));
	if (!err)
		err = stream_flush(s);
	if (!err)
		err = stream_read_line(s, TCP_REPLY_MAX, &line, &is_bare);
	if (!err)
		buf_add(reply, line);
	return err == -EMSGSIZE ? -ENOBUFS : err;
}

static int hex_digit(char c)
{
	c = ascii_lower(c);
	return ascii_is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static struct str percent_decode(struct str text, struct arena *a)
{
	char *to = arena_alloc(a, text.len + 1);
	size_t len = 0;

	for (size_t i = 0; i < text.len; i++) {
		bool is_coded = text.ptr[i] == '%' && i + 2 < text.len && hex_digit(text.ptr[i + 1]) >= 0 &&
		                hex_digit(text.ptr[i + 2]) >= 0;

		to[len++] = is_coded ? (char)(hex_digit(text.ptr[i + 1]) * 16 + hex_digit(text.ptr[i + 2])) : text.ptr[i];
		i += is_coded ? 2 : 0;
	}
	return str_n(to, len);
}

static int tcp_judge(struct remote *r, struct str reply, struct arena *a, struct str *ret_value, struct buf *why)
{
	struct str code, text;

	if (!str_split(reply, ' ', &code, &text))
		code = reply, text = STR("");
	if (str_eq(code, STR("500")))
		return -ENOENT;
	if (str_eq(code, STR("200")) && text.len) {
		*ret_value = percent_decode(text, a);
		return 0;
	}
	buf_addf(why, "table %s: the server answers \"%.*s\"", r->table.spec, (int)size_min(reply.len, 200), reply.ptr);
	return -EAGAIN;
}

/* --- opening -------------------------------------------------------------------------------- */

/* "host:port" off the front of *rest, with "[::1]" for IPv6. */
static int take_host(struct remote *r, struct str *rest)
{
	struct str host, port;

	if (str_starts(*rest, STR("["))) {
		size_t end = str_find(*rest, ']');

		host = str_cut(*rest, 1, end - 1);
		if (end + 1 >= rest->len || rest->ptr[end + 1] != ':')
			return -EINVAL;
		*rest = str_from(*rest, end + 2);
	} else if (!str_split(*rest, ':', &host, rest)) {
		return -EINVAL;
	}
	if (!str_split(*rest, ':', &port, rest)) {
		port = *rest;
		*rest = STR("");
	}
	r->host = str_cstr(host);
	return host.len && !ip_parse_port(port, &r->port) ? 0 : -EINVAL;
}

static int take_path(struct remote *r, struct str *rest, const struct view *view)
{
	struct buf path = BUF_INIT(4096);
	struct str name;

	if (!str_split(*rest, ':', &name, rest) || !name.len)
		return -EINVAL;
	if (!str_starts(name, STR("/")) && view)
		buf_addf(&path, "%.*s/", STR_ARG(view->params->queue_directory));
	buf_add(&path, name);
	r->path = buf_take(&path);
	return 0;
}

static void remote_close(struct table *t)
{
	struct remote *r = (struct remote *)t;
	struct list *first;

	while ((first = list_first(&r->idle))) {
		struct link *l = LIST_ENTRY(first, struct link, link);

		list_remove(&l->link);
		link_free(r, l);
	}
	free(r->host);
	free(r->path);
	free(r->name);
}

static struct remote *remote_new(const struct remote_type *how, const struct view *view)
{
	struct remote *r = mem_alloc(sizeof(*r));

	r->how = how;
	r->table.may_wait = true;
	r->query_max = view ? (size_t)view->params->socketmap_max_query_size : 10000;
	r->reply_max = view ? (size_t)view->params->socketmap_max_reply_size : 100000;
	list_init(&r->idle);
	wait_list_init(&r->free_place);
	return r;
}

static int socketmap_open(const struct table_type *type, struct str name, unsigned flags, const struct view *view,
                          struct table **ret_table, struct buf *why)
{
	static const struct remote_type how = {socketmap_ask, socketmap_judge};
	struct remote *r = remote_new(&how, view);
	struct str rest = name;
	int err = -EINVAL;

	if (str_starts(name, STR("inet:"))) {
		rest = str_from(name, 5);
		err = take_host(r, &rest);
	} else if (str_starts(name, STR("unix:"))) {
		rest = str_from(name, 5);
		err = take_path(r, &rest, view);
	}
	r->name = str_cstr(rest);
	if (!err && rest.len) {
		*ret_table = &r->table;
		return 0;
	}
	buf_addf(why, "table socketmap:%.*s: expected socketmap:inet:host:port:name or socketmap:unix:path:name", STR_ARG(name));
	remote_close(&r->table);
	free(r);
	return -EINVAL;
}

static int tcp_open(const struct table_type *type, struct str name, unsigned flags, const struct view *view,
                    struct table **ret_table, struct buf *why)
{
	static const struct remote_type how = {tcp_ask, tcp_judge};
	struct remote *r = remote_new(&how, view);
	struct str rest = name;
	int err = take_host(r, &rest);

	r->reply_max = TCP_REPLY_MAX;
	if (err || rest.len)
		buf_addf(why, "table tcp:%.*s: expected tcp:host:port", STR_ARG(name));
	else if (flags & TABLE_PARANOID)
		buf_addf(why, "table tcp:%.*s: answers over the network are not allowed for what decides about security",
		         STR_ARG(name));
	else {
		*ret_table = &r->table;
		return 0;
	}
	remote_close(&r->table);
	free(r);
	return -EINVAL;
}

const struct table_type table_socketmap = {"socketmap", false, socketmap_open, remote_find, NULL, remote_close};
const struct table_type table_tcp = {"tcp", false, tcp_open, remote_find, NULL, remote_close};
