/* SPDX-License-Identifier: Apache-2.0 */
/* The hosts file: "address name alias...". It is looked at again at most once a second, and read again when it changed. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/map.h"
#include "net/dns_internal.h"
#include "net/ip.h"

enum { FILE_MAX = 4 << 20, NAME_MAX_LEN = 255 };

static struct {
	const char *path;
	struct arena arena;
	struct map names;     /* name: struct host_name */
	struct map addresses; /* address as text: the first name, as char * */
	struct instant looked_at;
	struct timespec changed_at;
	off_t size;
} hosts = {.path = "/etc/hosts"};

struct host_name {
	struct dns_record *records;
	size_t count;
};

static void forget(void)
{
	map_done(&hosts.names);
	map_done(&hosts.addresses);
	arena_done(&hosts.arena);
	hosts.names = hosts.addresses = MAP_INIT;
	hosts.arena = ARENA_INIT;
}

void hosts_clear(void)
{
	forget();
	hosts.looked_at.ns = 0;
	hosts.changed_at = (struct timespec){0};
}

void hosts_set_file(const char *path)
{
	hosts_clear();
	hosts.path = path;
}

static void add_record(struct str name, struct dns_record record)
{
	struct str lower = arena_lower(&hosts.arena, name);
	struct host_name *h = map_find(&hosts.names, lower);
	struct dns_record *records;

	if (!h) {
		h = arena_alloc(&hosts.arena, sizeof(*h));
		(void)map_set(&hosts.names, lower, h);
	}
	records = arena_alloc(&hosts.arena, (h->count + 1) * sizeof(*records));
	if (h->count)
		memcpy(records, h->records, h->count * sizeof(*records));
	records[h->count++] = record;
	h->records = records;
}

static void add_line(struct str line)
{
	struct str address, name;
	struct sockaddr_storage a;
	char text[IP_TEXT_SIZE];
	struct dns_record r = {.name = STR("")};
	bool is_first = true;

	line = str_cut(line, 0, str_find(line, '#'));
	if (!str_next(&line, " \t\r", &address) || ip_parse(address, 0, &a))
		return;
	r.type = a.ss_family == AF_INET ? DNS_A : DNS_AAAA;
	r.data = arena_str(&hosts.arena, ip_bytes((struct sockaddr *)&a));
	ip_format((struct sockaddr *)&a, text);
	while (str_next(&line, " \t\r", &name)) {
		if (name.len > NAME_MAX_LEN)
			continue;
		add_record(name, r);
		if (is_first && !map_find(&hosts.addresses, str_of(text)))
			(void)map_set(&hosts.addresses, str_of(text), arena_cstr(&hosts.arena, name));
		is_first = false;
	}
}

static void read_file(int fd, size_t size)
{
	char *text = mem_alloc(size + 1);
	ssize_t n = read(fd, text, size);
	struct str rest = str_n(text, n > 0 ? (size_t)n : 0), line;

	forget();
	while (str_next(&rest, "\n", &line))
		add_line(line);
	free(text);
}

/* A file that cannot be read leaves what was known. */
static void refresh(void)
{
	struct instant now = clock_now();
	struct stat st;
	int fd;

	if (hosts.looked_at.ns && now.ns - hosts.looked_at.ns < NS_PER_S)
		return;
	hosts.looked_at = now;
	if (stat(hosts.path, &st) || st.st_size > FILE_MAX ||
	    (st.st_mtim.tv_sec == hosts.changed_at.tv_sec && st.st_mtim.tv_nsec == hosts.changed_at.tv_nsec &&
	     st.st_size == hosts.size))
		return;
	fd = open(hosts.path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	hosts.changed_at = st.st_mtim;
	hosts.size = st.st_size;
	read_file(fd, (size_t)st.st_size);
	close(fd);
}

bool hosts_find_name(struct str name, bool want_v4, bool want_v6, struct arena *a, struct dns_answer *ret_answer)
{
	struct host_name *h;
	struct dns_answer answer = {.status = DNS_FOUND, .canonical = name, .ttl = 1};

	refresh();
	h = map_find(&hosts.names, arena_lower(a, name));
	if (!h)
		return false;
	answer.records = arena_alloc(a, h->count * sizeof(*answer.records));
	for (size_t i = 0; i < h->count; i++)
		if (h->records[i].type == DNS_A ? want_v4 : want_v6)
			answer.records[answer.count++] = h->records[i];
	dns_answer_copy(ret_answer, &answer, a);
	return answer.count > 0;
}

bool hosts_find_address(const struct sockaddr *address, struct arena *a, struct str *ret_name)
{
	char text[IP_TEXT_SIZE];
	const char *name;

	refresh();
	name = map_find(&hosts.addresses, str_of(ip_format(address, text)));
	if (name)
		*ret_name = arena_str(a, str_of(name));
	return name != NULL;
}
