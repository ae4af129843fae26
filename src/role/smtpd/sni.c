/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_server_sni_maps: chains by the name that a client asks for. Tables that `postmap -F` made, and those that
 * others keep, hold the PEM text itself as base64. Where people write the table that is read, its values are
 * files; those of texthash and inline are read at the start, as long as root's rights are there.
 */
#include <errno.h>

#include "base/encoding.h"
#include "base/log.h"
#include "config/params.h"
#include "net/tls.h"
#include "net/tls_sni.h"
#include "port.h"
#include "table/table.h"

/* No PEM text begins with what base64 would write as a slash. */
static bool is_files(struct str value)
{
	return str_starts(value, STR("/"));
}

static int find(void *arg, struct str key, struct tls_sni_value *ret_value, struct buf *why)
{
	struct port *port = arg;
	struct arena a = ARENA_INIT;
	struct str value;
	int err = maps_find(port->sni_maps, key, false, &a, &value, why);

	if (!err && is_files(value)) {
		buf_add(&ret_value->files, value);
	} else if (!err && base64_decode(&ret_value->pem, value)) {
		buf_addf(why,
		         "tls_server_sni_maps: the value for %.*s is neither base64 nor a file: make the table with postmap -F",
		         STR_ARG(key));
		err = -EINVAL;
	}
	arena_done(&a);
	return err;
}

struct reading {
	struct port *port;
	struct tls_sni *sni;
};

static bool read_entry(struct str key, struct str value, void *arg)
{
	struct reading *r = arg;
	struct buf why = BUF_INIT(2000);

	if (is_files(value) && tls_sni_add_files(r->sni, key, value, &why))
		log_warn("%.*s: tls_server_sni_maps: %.*s gets no TLS until this is mended: %s", STR_ARG(r->port->tag),
		         STR_ARG(key), buf_cstr(&why));
	buf_done(&why);
	return true;
}

static bool is_written_by_hand(const struct table *t)
{
	return str_starts(table_spec(t), STR("texthash:")) || str_starts(table_spec(t), STR("inline:"));
}

void port_open_sni(struct port *port)
{
	struct buf why = BUF_INIT(2000);
	struct reading r = {.port = port};
	struct str maps = port->view->params->tls_server_sni_maps;

	if (maps_open(maps, TABLE_FOLD | TABLE_SURROGATE, port->view, &port->sni_maps, &why)) {
		port->sni_maps = NULL;
		log_warn("%.*s: tls_server_sni_maps is not used: %s", STR_ARG(port->tag), buf_cstr(&why));
	} else {
		if (why.len)
			log_warn("%.*s: tls_server_sni_maps: %s", STR_ARG(port->tag), buf_cstr(&why));
		r.sni = tls_sni_new(find, port);
		for (size_t i = 0; i < maps_count(port->sni_maps); i++)
			if (is_written_by_hand(maps_table(port->sni_maps, i)))
				(void)!table_walk(maps_table(port->sni_maps, i), read_entry, &r);
		tls_context_set_sni(port->tls, r.sni);
	}
	buf_done(&why);
}
