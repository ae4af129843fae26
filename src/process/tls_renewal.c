/* SPDX-License-Identifier: Apache-2.0 */
/* Renewed keys and certificates: master sees them, opens them with its rights, and they are used from then on. */
#include "base/log.h"
#include "net/tls.h"
#include "net/tls_files.h"
#include "net/tls_tickets.h"
#include "process/process.h"
#include "process/tls_trace.h"

static struct tls_files *arriving;

static void watch(struct process *p)
{
	struct tls_stamp stamp;
	struct str path;

	tls_trace_init(p);
	for (size_t i = 0; tls_files_opened(i, &path, &stamp); i++) {
		struct message m = {.type = MESSAGE_TLS_WATCH,
		                    .tls_watch = {.path = path,
		                                  .device = stamp.device,
		                                  .inode = stamp.inode,
		                                  .size = stamp.size,
		                                  .modified_ns = stamp.modified_ns}};

		if (channel_send(p->master, &m))
			log_warn("%.*s will not be noticed when it is renewed: master cannot be told", STR_ARG(path));
	}
}

static void take_file(struct process *p, struct str path, int fd)
{
	if (!arriving)
		arriving = tls_files_new();
	tls_files_add(arriving, path, fd);
}

static void renew(struct process *p, bool is_reporter)
{
	struct buf why = BUF_INIT(8000);
	int err = tls_contexts_renew(arriving, &why);

	if (is_reporter && err)
		log_warn("TLS: keys or certificates have changed, but what was there before stays in use: %s", buf_cstr(&why));
	else if (is_reporter)
		log_info("TLS: renewed keys and certificates are in use");
	tls_files_free(arriving);
	arriving = NULL;
	buf_done(&why);
}

static void take_ticket_keys(struct process *p, struct str keys)
{
	if (tls_tickets_set(keys))
		log_warn("TLS: master sent no keys of session tickets");
}

const struct process_tls process_tls = {.watch = watch, .file = take_file, .renew = renew, .ticket_keys = take_ticket_keys};
