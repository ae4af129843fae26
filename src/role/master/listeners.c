/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets. They belong to master for as long as a configuration wants their
 * address: a reload gives the same sockets to the new processes, so that no connection
 * in a backlog is lost.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <unistd.h>

#include "base/log.h"
#include "net/connect.h"
#include "role/master/master.h"

enum { BACKLOG = 4096 }; /* the kernel cuts it to net.core.somaxconn */

/* What one service asks for while its addresses are gathered. */
struct request {
	struct master *master;
	const struct view *view;
	const struct service *service;
	char port[8];
	struct buf *why;
};

static int refuse(struct request *r, int err, struct str what)
{
	buf_addf(r->why, "%.*s:%u: service %.*s: %.*s", STR_ARG(r->service->origin.file), r->service->origin.line,
	         STR_ARG(r->service->name), STR_ARG(what));
	return err;
}

static bool wants_family(const struct view *v, int family)
{
	return config_allows_protocol(view_get(v, STR("inet_protocols")), family == AF_INET ? STR("ipv4") : STR("ipv6"));
}

/* "smtps=submissions=465": any name before the last one gives the last one. */
static bool find_known_port(struct str known, struct str name, struct str *ret_port)
{
	struct str item;

	while (str_next(&known, ", \t\n", &item)) {
		size_t last = str_find_last(item, '=');
		struct str names = str_cut(item, 0, last), alias;

		while (str_next(&names, "=", &alias)) {
			if (str_eq(alias, name) && last < item.len) {
				*ret_port = str_from(item, last + 1);
				return true;
			}
		}
	}
	return false;
}

static int find_port(struct request *r, struct str name)
{
	unsigned long long number;
	char *text;
	struct servent *entry;

	(void)find_known_port(view_get(r->view, STR("known_tcp_ports")), name, &name);
	if (!str_parse_u64(name, &number) && number > 0 && number < 65536) {
		snprintf(r->port, sizeof(r->port), "%llu", number);
		return 0;
	}
	text = str_cstr(name);
	entry = getservbyname(text, "tcp");
	free(text);
	if (!entry)
		return refuse(r, -EINVAL, STR("unknown port name; write its number, or add name=number to known_tcp_ports"));
	snprintf(r->port, sizeof(r->port), "%u", ntohs((uint16_t)entry->s_port));
	return 0;
}

static struct listener *find_listener(struct master *m, const struct addrinfo *ai)
{
	LIST_EACH(&m->listeners, it) {
		struct listener *l = LIST_ENTRY(it, struct listener, link);

		if (l->address_size == ai->ai_addrlen && !memcmp(&l->address, ai->ai_addr, ai->ai_addrlen))
			return l;
	}
	return NULL;
}

static int refuse_bind(struct request *r, const struct addrinfo *ai, int err)
{
	struct buf text = BUF_INIT(512);
	char host[INET6_ADDRSTRLEN] = "?";

	getnameinfo(ai->ai_addr, ai->ai_addrlen, host, sizeof(host), NULL, 0, NI_NUMERICHOST);
	buf_addf(&text, "listen on %s port %s: %s", host, r->port, strerror(-err));
	if (err == -EADDRINUSE)
		buf_addf(&text, "; another program has that port (see `ss -ltnp`)");
	if (err == -EACCES)
		buf_addf(&text, "; ports below 1024 need root");
	err = refuse(r, err, buf_str(&text));
	buf_done(&text);
	return err;
}

static char *service_key(const struct service *s)
{
	struct buf key = BUF_INIT(1024);

	buf_addf(&key, "%.*s/%.*s", STR_ARG(s->name), STR_ARG(s->type));
	return buf_take(&key);
}

static int open_one(struct request *r, const struct addrinfo *ai)
{
	struct listener *l = find_listener(r->master, ai);
	char *key = service_key(r->service);
	int fd = -1, err;

	if (l && l->wanted) {
		bool is_ours = !strcmp(l->wanted, key);

		free(key);
		return is_ours ? 0 : refuse(r, -EADDRINUSE, STR("another service of this file has the same address and port"));
	}
	if (!l) {
		err = listen_tcp(ai->ai_addr, BACKLOG, &fd);
		if (err) {
			free(key);
			return refuse_bind(r, ai, err);
		}
		l = mem_alloc(sizeof(*l));
		memcpy(&l->address, ai->ai_addr, ai->ai_addrlen);
		l->address_size = ai->ai_addrlen;
		l->fd = fd;
		list_add(&r->master->listeners, &l->link);
	}
	l->wanted = key;
	return 0;
}

/* `host` NULL is the wildcard address. IPv6 is passed over where this kernel does not have it. */
static int open_host(struct request *r, const char *host)
{
	struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM}, *found;
	int err = 0, status = getaddrinfo(host, r->port, &hints, &found);
	size_t count = 0; /* addresses that serve, or that this host does not have */

	if (status) {
		struct buf text = BUF_INIT(512);

		buf_addf(&text, "host %s: %s", host ? host : "*", gai_strerror(status));
		err = refuse(r, -EINVAL, buf_str(&text));
		buf_done(&text);
		return err;
	}
	for (struct addrinfo *ai = found; ai && !err; ai = ai->ai_next) {
		if (!wants_family(r->view, ai->ai_family))
			continue;
		err = open_one(r, ai);
		if ((err == -EAFNOSUPPORT || err == -EADDRNOTAVAIL) && ai->ai_family == AF_INET6) {
			buf_reset(r->why);
			err = 0;
		}
		count++;
	}
	freeaddrinfo(found);
	return err || count ? err : refuse(r, -EADDRNOTAVAIL, STR("no address of a family that inet_protocols allows"));
}

static int open_interface(struct request *r, struct str host)
{
	char *text;
	int err;

	if (str_starts(host, STR("[")) && str_ends(host, STR("]")))
		host = str_cut(host, 1, host.len - 2);
	text = str_cstr(host);
	err = open_host(r, text);
	free(text);
	return err;
}

static int open_loopback(struct request *r)
{
	int err = wants_family(r->view, AF_INET) ? open_interface(r, STR("127.0.0.1")) : 0;

	if (!err && wants_family(r->view, AF_INET6))
		err = open_interface(r, STR("::1"));
	return err;
}

static int open_interfaces(struct request *r)
{
	struct str list = view_get(r->view, STR("inet_interfaces")), word;
	int err = 0;

	while (!err && str_next(&list, ", \t\n", &word)) {
		if (str_eq_nocase(word, STR("all")))
			err = open_host(r, NULL);
		else if (str_eq_nocase(word, STR("loopback-only")))
			err = open_loopback(r);
		else
			err = open_interface(r, word);
	}
	return err;
}

/* A list of "type" or "name/type" (a dot instead of the slash is the older form) that shall not listen. */
static bool is_disabled(const struct config *c, const struct service *s)
{
	struct str list = view_get(config_main_view(c), STR("master_service_disable")), item;

	while (str_next(&list, ", \t\n", &item)) {
		size_t mark = str_has(item, '/') ? str_find_last(item, '/') : str_find_last(item, '.');
		bool has_name = mark < item.len;
		struct str type = has_name ? str_from(item, mark + 1) : item;

		if (str_eq(type, s->type) && (!has_name || str_eq(str_cut(item, 0, mark), s->name)))
			return true;
	}
	return false;
}

static int open_service(struct master *m, const struct config *c, const struct service *s, struct buf *why)
{
	struct request r = {.master = m, .view = config_service_view(c, s), .service = s, .why = why};
	size_t colon = str_find_last(s->name, ':');
	bool has_host = colon < s->name.len && !str_ends(s->name, STR("]"));
	int err = find_port(&r, has_host ? str_from(s->name, colon + 1) : s->name);

	if (err)
		return err;
	return has_host ? open_interface(&r, str_cut(s->name, 0, colon)) : open_interfaces(&r);
}

int listeners_open(struct master *m, const struct config *c, struct buf *why)
{
	int err = 0;

	for (size_t i = 0; i < config_service_count(c) && !err; i++) {
		const struct service *s = config_service(c, i);

		if (!str_eq(s->type, STR("inet")) || is_disabled(c, s))
			continue;
		if (!str_eq(s->program, STR("smtpd")) && !str_eq(s->program, STR("postscreen"))) {
			log_warn("%.*s:%u: service %.*s: no program %.*s for inet services here; nothing listens there",
			         STR_ARG(s->origin.file), s->origin.line, STR_ARG(s->name), STR_ARG(s->program));
			continue;
		}
		err = open_service(m, c, s, why);
	}
	if (err)
		listeners_abort(m);
	return err;
}

static void listener_close(struct listener *l)
{
	list_remove(&l->link);
	close(l->fd);
	free(l->service);
	free(l->wanted);
	free(l);
}

void listeners_commit(struct master *m)
{
	LIST_EACH(&m->listeners, it) {
		struct listener *l = LIST_ENTRY(it, struct listener, link);

		free(l->service);
		l->service = l->wanted;
		l->wanted = NULL;
		if (!l->service)
			listener_close(l);
	}
}

void listeners_abort(struct master *m)
{
	LIST_EACH(&m->listeners, it) {
		struct listener *l = LIST_ENTRY(it, struct listener, link);

		free(l->wanted);
		l->wanted = NULL;
		if (!l->service)
			listener_close(l);
	}
}

static int endpoint_open(struct master *m, struct str queue, const char *name, struct buf *why)
{
	struct buf path = BUF_INIT(4096);
	int fd, err;

	buf_addf(&path, "%.*s/public/%s", STR_ARG(queue), name);
	err = channel_listen(buf_cstr(&path), 0666, &fd);
	if (err) {
		buf_addf(why, "%s: %s%s", buf_cstr(&path), strerror(-err),
		         err == -ENAMETOOLONG ? "; a socket's path has at most 107 bytes: choose a shorter queue_directory" : "");
	} else {
		m->endpoints[m->endpoint_count].name = name;
		m->endpoints[m->endpoint_count++].fd = fd;
	}
	buf_done(&path);
	return err;
}

int endpoints_open(struct master *m, const struct config *c, struct buf *why)
{
	struct str queue = view_get(config_main_view(c), STR("queue_directory"));
	int err = 0;

	for (enum ipc_role role = 0; role < ROLE_COUNT && !err; role++) {
		const struct rights *rights = rights_of(role);

		for (size_t i = 0; rights && rights->endpoints[i] && !err; i++)
			err = endpoint_open(m, queue, rights->endpoints[i], why);
	}
	return err;
}
