/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smallest role, for process_test: it has the rights of lookup, tells each new peer
 * who it is and what its sandbox forbids, and ends when it is drained.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "process/process.h"

/* What a role without the right to write gets when it tries to; 0 if nothing stops it. */
static uint32_t create_error(void)
{
	int fd = open("/tmp/postrider-example-role", O_WRONLY | O_CREAT | O_CLOEXEC, 0600), err = errno;

	if (fd < 0)
		return (uint32_t)err;
	close(fd);
	unlink("/tmp/postrider-example-role");
	return 0;
}

static void add_peer(struct process *p, enum ipc_role role, uint32_t id, struct channel *ch)
{
	struct str name = view_get(config_main_view(p->config), STR("myhostname"));
	struct message m = {.type = MESSAGE_QUEUE_END, .queue_end = {.error = create_error(), .count = getuid(), .text = name}};

	if (channel_send(ch, &m))
		process_end(p);
}

static int refuse_some(struct process *p, struct buf *why)
{
	if (!str_eq(view_get(config_main_view(p->config), STR("mydomain")), STR("refuse.example")))
		return 0;
	buf_addf(why, "this domain is not served");
	return -EINVAL;
}

int main(int argc, char **argv)
{
	static const struct role role = {.id = ROLE_LOOKUP, .prepare = refuse_some, .peer = add_peer};

	return process_main(&role, argc, argv);
}
