/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Traces of TLS sessions: a role sends the text, its file is made here. A role that was taken over can fill it with what it
 * likes, but chooses neither the folder nor an existing file, nor how many there are.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/random.h"
#include "config/params.h"
#include "role/master/master.h"

enum { NAME_LEN_MAX = 200, NAME_TRIES = 10 };

static bool is_good_name(struct str name)
{
	for (size_t i = 0; i < name.len; i++)
		if (!ascii_is_alnum(name.ptr[i]) && (i == 0 || !memchr("-._:", name.ptr[i], 4)))
			return false;
	return name.len > 0 && name.len <= NAME_LEN_MAX;
}

static bool is_too_many(struct instance *i, const struct params *p)
{
	struct trace_count *t = &i->master->traces[i->role];

	if (instant_is_before(t->unit_ends, clock_now()))
		*t = (struct trace_count){.unit_ends = clock_deadline(p->anvil_rate_time_unit)};
	t->count++;
	return p->tls_trace_rate_limit && t->count > p->tls_trace_rate_limit;
}

/* A file that was not there before, in *ret_name. */
static int create(int folder, struct str name, struct buf *ret_name)
{
	int fd = -1;

	for (int i = 0; i < NAME_TRIES && fd < 0; i++) {
		uint32_t number;

		random_bytes(&number, sizeof(number));
		buf_reset(ret_name);
		buf_addf(ret_name, "%.*s-%06x", STR_ARG(name), number & 0xffffff);
		fd = openat(folder, buf_cstr(ret_name), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0 && errno != EEXIST)
			return -errno;
	}
	return fd < 0 ? -EEXIST : fd;
}

static int write_all(int fd, struct str text)
{
	while (text.len) {
		ssize_t n = write(fd, text.ptr, text.len);

		if (n < 0)
			return -errno;
		text = str_from(text, (size_t)n);
	}
	return 0;
}

static int save(const struct params *p, struct str name, struct str text, struct buf *ret_name)
{
	struct buf path = BUF_INIT(4096);
	int folder, fd, err;

	buf_addf(&path, "%.*s/" TRACE_FOLDER, STR_ARG(p->queue_directory));
	folder = open(buf_cstr(&path), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	err = folder < 0 ? -errno : 0;
	buf_done(&path);
	if (err)
		return err;
	fd = create(folder, name, ret_name);
	close(folder);
	if (fd < 0)
		return fd;
	err = write_all(fd, text);
	close(fd);
	return err;
}

void trace_save(struct instance *i, struct str name, struct str text)
{
	const struct params *p = config_main_view(i->master->config)->params;
	struct buf file = BUF_INIT(NAME_LEN_MAX + 10);
	int err;

	if (!is_good_name(name)) {
		log_warn("process %s pid %d sent a TLS trace with a bad name", i->rights->program, (int)i->pid);
		return;
	}
	if (is_too_many(i, p))
		return;
	err = save(p, name, text, &file);
	if (err)
		log_warn("%.*s/" TRACE_FOLDER ": a TLS trace is lost: %s", STR_ARG(p->queue_directory), strerror(-err));
	else
		log_info("TLS trace in " TRACE_FOLDER "/%s", buf_cstr(&file));
	buf_done(&file);
}
