/* SPDX-License-Identifier: Apache-2.0 */
/* The life of the process: prepares its services, hands listeners and peers on, and drains. */
#include <errno.h>
#include <unistd.h>

#include "base/log.h"
#include "config/params.h"
#include "ipc/client_counts.h"
#include "net/dns.h"
#include "port.h"
#include "session.h"
#include "smtpd.h"

struct smtpd smtpd;

/* postscreen's listeners are served by the service that it would pass its clients to. */
static const struct service *behind_postscreen(const struct config *c, const struct service *s)
{
	const struct service *pass = config_find_service(c, config_service_view(c, s)->params->smtpd_service_name, STR("pass"));

	return pass ? pass : s;
}

static int prepare_ports(struct config *c, struct buf *why)
{
	int err = 0;

	smtpd.port_count = config_service_count(c);
	smtpd.ports = mem_alloc((smtpd.port_count + 1) * sizeof(struct port *));
	for (size_t i = 0; i < smtpd.port_count && !err; i++) {
		const struct service *s = config_service(c, i);
		bool is_postscreen = str_eq(s->program, STR("postscreen"));

		if (!str_eq(s->type, STR("inet")) || (!is_postscreen && !str_eq(s->program, STR("smtpd"))))
			continue;
		err = port_new(config_service_view(c, is_postscreen ? behind_postscreen(c, s) : s), true, &smtpd.ports[i], why);
		if (!err)
			sasl_server_set_remote(smtpd.ports[i]->sasl, smtpd.sasl);
	}
	return err;
}

static int prepare(struct process *p, struct buf *why)
{
	const struct service *pickup = config_find_service(p->config, STR("pickup"), STR("unix"));
	const struct view *v;
	int err;

	smtpd.process = p;
	list_init(&smtpd.sessions);
	smtpd.sasl = sasl_remote_new();
	smtpd.ids.tail = (uint64_t)getpid();
	if (!pickup)
		pickup = config_find_service(p->config, STR("pickup"), STR("fifo"));
	v = pickup ? config_service_view(p->config, pickup) : config_main_view(p->config);
	err = port_new(v, false, &smtpd.pickup, why);
	if (!err)
		err = prepare_ports(p->config, why);
	return err ? err : dns_init(config_main_view(p->config), why);
}

static int start(struct process *p, struct buf *why)
{
	peers_init();
	return client_counts_private(&smtpd.clients);
}

static void add_listener(struct process *p, const struct service *service, int fd)
{
	struct port *port = service->index < smtpd.port_count ? smtpd.ports[service->index] : NULL;

	if (port)
		accept_start(port, fd);
	else
		close(fd);
}

static void add_endpoint(struct process *p, struct str name, int fd)
{
	if (str_eq(name, STR("pickup")))
		submit_listen(fd);
	else
		close(fd);
}

static void add_clients(struct process *p, uint32_t column, int fd)
{
	struct client_counts *shared;
	int err = client_counts_open(fd, column, &shared);

	close(fd);
	if (err) {
		log_warn("clients are counted in this process alone: %s", strerror(-err));
		return;
	}
	client_counts_close(smtpd.clients);
	smtpd.clients = shared;
}

static void add_peer(struct process *p, enum ipc_role role, uint32_t id, struct channel *ch)
{
	peers_add(role, id, ch);
}

static void peer_draining(struct process *p, enum ipc_role role, uint32_t id)
{
	peers_drain(role, id);
}

static void end(void *arg)
{
	/* Seals the segments, so that qmgr can use them again. */
	appender_free(smtpd.appender);
	process_end(smtpd.process);
}

static void end_if_done(void)
{
	if (smtpd.is_draining && smtpd.busy_count == 0)
		fiber_start("end", end, NULL);
}

void smtpd_begin_work(void)
{
	smtpd.busy_count++;
}

void smtpd_end_work(void)
{
	smtpd.busy_count--;
	end_if_done();
}

static void drain(struct process *p)
{
	if (smtpd.is_draining)
		return;
	smtpd.is_draining = true;
	accept_stop_all();
	submit_stop();
	LIST_EACH(&smtpd.sessions, it)
		session_ask_to_end(LIST_ENTRY(it, struct session, link));
	end_if_done();
}

const struct role smtpd_role = {.id = ROLE_SMTPD,
                                .tls = &process_tls,
                                .prepare = prepare,
                                .start = start,
                                .listener = add_listener,
                                .clients = add_clients,
                                .endpoint = add_endpoint,
                                .peer = add_peer,
                                .peer_draining = peer_draining,
                                .drain = drain};
