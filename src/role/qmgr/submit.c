/* SPDX-License-Identifier: Apache-2.0 */
/* New mail of our own goes to a receiver, which takes it in like any other mail. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "role/qmgr/qmgr.h"
#include "spool/reader.h"

enum { ANSWER_TIME = 300, TRIES = 3 };

/* A message under way to a receiver; lies on the stack of the fiber that waits. */
struct submit {
	struct list link; /* in peer.submits */
	uint64_t token;
	struct wait_list answer;
	bool is_answered;
	uint32_t code; /* 0 when the receiver died */
	struct buf text;
	char queue_id[QUEUE_ID_SIZE];
};

static int content_file(struct str content)
{
	int fd = memfd_create("report", MFD_CLOEXEC);

	while (fd >= 0 && content.len) {
		ssize_t size = write(fd, content.ptr, content.len);

		if (size <= 0) {
			close(fd);
			return -EIO;
		}
		content = str_from(content, (size_t)size);
	}
	return fd < 0 ? -errno : fd;
}

/* A receiver, each time another one. */
static struct peer *choose_receiver(struct qmgr *q)
{
	LIST_EACH(&q->peers, it) {
		struct peer *p = LIST_ENTRY(it, struct peer, link);

		if (p->role != ROLE_SMTPD || p->is_draining || p->is_gone)
			continue;
		list_remove(&p->link);
		list_add(&q->peers, &p->link);
		return p;
	}
	return NULL;
}

/* One receiver asked: 0 when it answered, whatever it said. */
static int ask(struct qmgr *q, struct submit *s, const struct envelope *e, int fd)
{
	struct peer *p = choose_receiver(q);
	struct instant deadline = clock_deadline(duration_s(ANSWER_TIME));
	struct message m = {.type = MESSAGE_SUBMIT, .fd = fd};
	struct buf envelope = BUF_INIT(MESSAGE_SIZE_MAX);
	int err;

	if (!p)
		return -EAGAIN;
	s->token = ++q->last_token;
	s->is_answered = false;
	envelope_encode(&envelope, e);
	m.submit = (struct message_submit){.token = s->token, .envelope = buf_str(&envelope)};
	err = channel_send(p->channel, &m);
	buf_done(&envelope);
	if (err)
		return err;
	list_add(&p->submits, &s->link);
	while (!err && !s->is_answered)
		err = wait_list_wait(&s->answer, deadline);
	list_remove(&s->link);
	if (!s->is_answered)
		return err;
	return s->code ? 0 : -EPIPE;
}

int submit_message(struct qmgr *q, const struct envelope *e, struct str content, char ret_id[QUEUE_ID_SIZE], struct buf *why)
{
	struct submit s = {.text = BUF_INIT(2000)};
	int fd = content_file(content), err;

	if (fd < 0) {
		buf_addf(why, "its content finds no memory: %s", strerror(-fd));
		return -EAGAIN;
	}
	list_init(&s.link);
	wait_list_init(&s.answer);
	err = ask(q, &s, e, fd);
	for (int i = 1; i < TRIES && err == -EPIPE; i++)
		err = ask(q, &s, e, fd);
	close(fd);
	if (err)
		buf_addf(why, "no receiver takes mail in: %s", strerror(-err));
	else if (s.code != 250)
		buf_addf(why, "%u %.*s", s.code, STR_ARG(buf_str(&s.text)));
	else
		memcpy(ret_id, s.queue_id, sizeof s.queue_id);
	buf_done(&s.text);
	if (err == -ECANCELED)
		return err;
	if (err)
		return -EAGAIN;
	return s.code == 250 ? 0 : s.code == 552 ? -EMSGSIZE : s.code >= 500 ? -EACCES : -EAGAIN;
}

static struct submit *find_submit(struct peer *p, uint64_t token)
{
	LIST_EACH(&p->submits, it)
		if (LIST_ENTRY(it, struct submit, link)->token == token)
			return LIST_ENTRY(it, struct submit, link);
	return NULL;
}

void submit_answered(struct peer *p, const struct message_submitted *m)
{
	struct submit *s = find_submit(p, m->token);

	if (!s)
		return;
	s->is_answered = true;
	s->code = m->code ? m->code : 451;
	buf_reset(&s->text);
	buf_add(&s->text, str_cut(m->text, 0, 1000));
	memset(s->queue_id, 0, sizeof s->queue_id);
	memcpy(s->queue_id, m->queue_id.ptr, size_min(m->queue_id.len, sizeof s->queue_id - 1));
	wait_list_wake_all(&s->answer);
}

void submit_peer_gone(struct peer *p)
{
	LIST_EACH(&p->submits, it) {
		struct submit *s = LIST_ENTRY(it, struct submit, link);

		list_remove(&s->link);
		s->is_answered = true;
		s->code = 0;
		wait_list_wake_all(&s->answer);
	}
}

int content_load(struct qmgr *q, const struct spool_message *m, size_t max, struct buf *to)
{
	uint64_t size = m->envelope.content_size < max ? m->envelope.content_size : max;
	struct content c;
	int fd, err = m->large ? spool_large_fd(q->spool, m, &fd) : spool_segment_fd(q->spool, m, &fd);

	if (err)
		return err;
	c = (struct content){.fd = fd, .start = m->content_at, .size = size};
	while (!err) {
		char *room = buf_room(to, 16384);
		size_t got = 0;

		err = room ? content_read(&c, room, 16384, &got) : -EMSGSIZE;
		if (!got)
			break;
		buf_added(to, got);
	}
	return err;
}
