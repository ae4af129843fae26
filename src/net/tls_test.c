/* SPDX-License-Identifier: Apache-2.0 */
/* Handshakes between a server and a client of ours, with keys made on the spot. */
#include "net/tls.h"

#include <errno.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "config/config.h"
#include "fiber/fiber.h"
#include "net/stream.h"
#include "net/tls_log.h"
#include "net/tls_sessions.h"
#include "net/tls_settings.h"
#include "net/tls_sni.h"
#include "net/tls_tickets.h"

static const char *path_of(const char *name)
{
	static char paths[4][256];
	static size_t next;
	char *path = paths[next++ % COUNT_OF(paths)];

	snprintf(path, sizeof(paths[0]), "%s/%s", check_folder(), name);
	return path;
}

static void put_text(const char *name, const char *mode, const char *text)
{
	FILE *f = fopen(path_of(name), mode);

	CHECK(f != NULL);
	if (f) {
		fputs(text, f);
		fclose(f);
	}
}

static void write_text(const char *name, const char *text)
{
	put_text(name, "w", text);
}

/* `usage` "serverAuth" or the like; "" for any. */
static X509 *make_certificate(EVP_PKEY *key, const char *cn, const char *usage)
{
	X509 *x = X509_new();
	X509_NAME *name = X509_get_subject_name(x);

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -60);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, key);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
	X509_set_issuer_name(x, name);
	if (*usage) {
		X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, NID_ext_key_usage, usage);

		CHECK(e && X509_add_ext(x, e, -1));
		X509_EXTENSION_free(e);
	}
	X509_sign(x, key, EVP_sha256());
	return x;
}

/* A PEM file with key and certificate; `is_upside_down` puts the certificate first. */
static void make_chain_for(const char *file, bool is_rsa, bool is_upside_down, const char *usage)
{
	EVP_PKEY *key = is_rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
	X509 *x = make_certificate(key, "mail.example.org", usage);
	FILE *f = fopen(path_of(file), "w");

	CHECK(f != NULL);
	if (is_upside_down)
		PEM_write_X509(f, x);
	PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
	if (!is_upside_down)
		PEM_write_X509(f, x);
	fclose(f);
	X509_free(x);
	EVP_PKEY_free(key);
}

static void make_chain(const char *file, bool is_rsa, bool is_upside_down)
{
	make_chain_for(file, is_rsa, is_upside_down, "");
}

static struct config *configure(const char *text)
{
	write_text("main.cf", text);
	write_text("master.cf", "");
	return config_load(str_of(check_folder()), NULL, 0);
}

struct party {
	struct stream *s;
	struct tls_context *ctx;
	int err;
	char why[256];
	struct buf summary;
	struct buf binding;
	bool is_exporter;
	bool is_resumed;
	bool is_trusted;
	struct buf got;
};

static void finish(struct party *p, const char *why)
{
	struct str line;
	bool is_bare;

	snprintf(p->why, sizeof(p->why), "%s", p->err ? why : "");
	p->summary = BUF_INIT(1000);
	p->got = BUF_INIT(1000);
	p->binding = BUF_INIT(1000);
	if (!p->err)
		CHECK_INT(tls_channel_binding(p->s, &p->binding, &p->is_exporter), 0);
	if (!p->err)
		tls_info_summary(&p->summary, stream_tls(p->s));
	if (!p->err)
		p->is_trusted = stream_tls(p->s)->is_peer_trusted;
	if (!p->err)
		p->err = stream_printf(p->s, "hello\r\n");
	if (!p->err)
		p->err = stream_read_line(p->s, 100, &line, &is_bare);
	if (!p->err)
		buf_add(&p->got, line);
	stream_shutdown(p->s);
	stream_free(p->s);
}

static void serve(void *arg)
{
	struct party *p = arg;
	const char *why = "";

	p->err = stream_start_tls_server(p->s, p->ctx, &why);
	finish(p, why);
}

static const char *session_key = "";

static void connect_to(void *arg)
{
	struct party *p = arg;
	const char *why = "";

	struct tls_wish wish = {.servername = STR("mail.example.org"), .session_key = str_of(session_key)};

	wish.session_time = duration_s(100);
	p->err = stream_start_tls_client(p->s, p->ctx, &wish, &why);
	if (!p->err)
		p->is_resumed = stream_tls(p->s)->is_resumed;
	finish(p, why);
}

static tls_sni_find_fn *sni_find;

/* One connection between a server and a client with this configuration. */
static void converse(const char *main_cf, struct party *server, struct party *client)
{
	struct config *c = configure(main_cf);
	const struct view *v = config_main_view(c);
	struct buf why = BUF_INIT(1000);
	int fds[2];

	*server = *client = (struct party){0};
	CHECK_INT(tls_server_context_new(v, &server->ctx, &why), 0);
	CHECK_INT(tls_client_context_new(v, false, &client->ctx, &why), 0);
	CHECK_STR(buf_str(&why), STR(""));
	if (sni_find)
		tls_context_set_sni(server->ctx, tls_sni_new(sni_find, NULL));
	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	loop_init();
	server->s = stream_new(fds[0]);
	client->s = stream_new(fds[1]);
	fiber_start("server", serve, server);
	fiber_start("client", connect_to, client);
	loop_run();
	loop_done();
	tls_context_free(server->ctx);
	tls_context_free(client->ctx);
	buf_done(&why);
	config_free(c);
}

static void parties_done(struct party *a, struct party *b)
{
	buf_done(&a->summary);
	buf_done(&a->got);
	buf_done(&a->binding);
	buf_done(&b->summary);
	buf_done(&b->binding);
	buf_done(&b->got);
}

/* A main.cf with this chain file and more lines. */
static const char *main_cf(const char *more, const char *file)
{
	static char text[2048];
	char chain[300];

	snprintf(chain, sizeof(chain), "%s", path_of(file));
	snprintf(text, sizeof(text), "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = %s\n%s\n", chain, more);
	return text;
}

TEST(both_sides_agree_and_talk)
{
	struct party server, client;

	make_chain("ec.pem", false, false);
	converse(main_cf("", "ec.pem"), &server, &client);
	CHECK_INT(server.err, 0);
	CHECK_INT(client.err, 0);
	CHECK_STR(buf_str(&server.got), STR("hello"));
	CHECK_STR(buf_str(&client.got), STR("hello"));
	CHECK_STR(buf_str(&server.summary), STR("TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange X25519 "
	                                        "server-signature ECDSA (prime256v1) server-digest SHA256"));
	CHECK_STR(buf_str(&client.summary), buf_str(&server.summary));
	CHECK_INT(client.binding.len, 32);
	CHECK_STR(buf_str(&client.binding), buf_str(&server.binding));
	CHECK(client.is_exporter && server.is_exporter);
	parties_done(&server, &client);
}

TEST(rsa_and_older_protocols_work_as_well)
{
	struct party server, client;

	make_chain("rsa.pem", true, false);
	converse(main_cf("smtp_tls_protocols = TLSv1.2, !TLSv1.3\nsmtp_tls_exclude_ciphers = aNULL", "rsa.pem"), &server,
	         &client);
	CHECK_INT(server.err, 0);
	CHECK_STR(buf_str(&client.summary), STR("TLSv1.2 with cipher ECDHE-RSA-AES256-GCM-SHA384 (256/256 bits)"));
	CHECK_INT(client.binding.len, 12);
	CHECK_STR(buf_str(&client.binding), buf_str(&server.binding));
	CHECK(!client.is_exporter && !server.is_exporter);
	parties_done(&server, &client);
}

/* Is the next connection with this key a resumed one? */
static bool is_resumed(const char *key, const char *more, bool *ret_is_trusted)
{
	struct party server, client;

	session_key = key;
	converse(main_cf(more, "ec.pem"), &server, &client);
	session_key = "";
	CHECK_INT(server.err, 0);
	CHECK_INT(client.err, 0);
	*ret_is_trusted = client.is_trusted;
	parties_done(&server, &client);
	return client.is_resumed;
}

TEST(a_session_is_resumed_under_its_key_and_judged_anew)
{
	char trusting[600];
	bool is_trusted;

	make_chain("ec.pem", false, false);
	snprintf(trusting, sizeof(trusting), "smtp_tls_CAfile = %s", path_of("ec.pem"));
	CHECK(!is_resumed("a", trusting, &is_trusted));
	CHECK(is_trusted);
	CHECK(!is_resumed("b", trusting, &is_trusted));
	CHECK(is_resumed("a", trusting, &is_trusted));
	CHECK(is_trusted);
	/* The authority is no longer ours. */
	CHECK(is_resumed("a", "", &is_trusted));
	CHECK(!is_trusted);
	CHECK(!is_resumed("", trusting, &is_trusted));
	tls_sessions_forget();
	CHECK(!is_resumed("a", trusting, &is_trusted));
	tls_sessions_forget();
}

/* The ticket keys are the same for all services, and after a reload. */
TEST(a_client_that_one_authority_knows_is_not_resumed_under_another)
{
	char ours[1500], theirs[1500], blind[600];
	bool unused;

	make_chain("ec.pem", false, false);
	make_chain("other.pem", false, false);
	snprintf(blind, sizeof(blind), "smtp_tls_chain_files = %s", path_of("ec.pem"));
	snprintf(ours, sizeof(ours), "%s\nsmtpd_tls_ask_ccert = yes\nsmtpd_tls_CAfile = %s", blind, path_of("ec.pem"));
	snprintf(theirs, sizeof(theirs), "%s\nsmtpd_tls_ask_ccert = yes\nsmtpd_tls_CAfile = %s", blind, path_of("other.pem"));
	CHECK(!is_resumed("c", ours, &unused));
	CHECK(is_resumed("c", ours, &unused));
	CHECK(!is_resumed("c", theirs, &unused));
	CHECK(is_resumed("c", theirs, &unused));
	CHECK(!is_resumed("c", blind, &unused));
	CHECK(!is_resumed("c", ours, &unused));
	tls_sessions_forget();
}

/* Does a server with this authority trust a client whose certificate is for servers? */
static bool is_trusted_by(const char *authority)
{
	struct party server, client;
	char more[1500], own[300];

	snprintf(own, sizeof(own), "%s", path_of("client.pem"));
	snprintf(more, sizeof(more),
	         "smtp_tls_chain_files = %s\nsmtpd_tls_ask_ccert = yes\nsmtpd_tls_CAfile = %s\ntls_trust_server_ccerts = yes",
	         own, path_of(authority));
	converse(main_cf(more, "ec.pem"), &server, &client);
	CHECK_INT(server.err, 0);
	parties_done(&server, &client);
	return server.is_trusted;
}

TEST(a_server_certificate_makes_a_trusted_client_if_nothing_else_is_wrong_with_it)
{
	make_chain("ec.pem", false, false);
	make_chain_for("client.pem", false, false, "serverAuth");
	CHECK(is_trusted_by("client.pem"));
	CHECK(!is_trusted_by("ec.pem"));
}

TEST(no_common_protocol_is_told_on_both_sides)
{
	struct party server, client;

	make_chain("ec.pem", false, false);
	converse(main_cf("smtp_tls_protocols = <=TLSv1.2\nsmtpd_tls_protocols = >=TLSv1.3", "ec.pem"), &server, &client);
	CHECK_INT(server.err, -EPROTO);
	CHECK_STR(str_of(server.why), STR("unsupported protocol"));
	CHECK_INT(client.err, -EPROTO);
	CHECK_STR(str_of(client.why), STR("tlsv1 alert protocol version"));
	parties_done(&server, &client);
}

/* As a table that waits while another connection fails. */
static int find_among_failures(void *arg, struct str key, struct tls_sni_value *ret_value, struct buf *why)
{
	ERR_raise(ERR_LIB_SSL, SSL_R_BAD_SIGNATURE);
	return -ENOENT;
}

TEST(a_failure_elsewhere_while_the_chain_is_looked_up_does_no_harm)
{
	struct party server, client;

	make_chain("ec.pem", false, false);
	sni_find = find_among_failures;
	converse(main_cf("smtp_tls_protocols = <=TLSv1.2", "ec.pem"), &server, &client);
	sni_find = NULL;
	CHECK_INT(server.err, 0);
	CHECK_STR(buf_str(&client.got), STR("hello"));
	parties_done(&server, &client);
}

static void be_left(void *arg)
{
	struct stream *s = arg;
	const char *why = "";

	CHECK_INT(stream_printf(s, "220 2.0.0 Ready to start TLS\r\n"), 0);
	CHECK_INT(stream_start_tls_server(s, NULL, &why), -EPIPE);
	CHECK_STR(str_of(why), STR("the peer broke off the TLS handshake"));
	stream_free(s);
}

TEST(a_client_that_left_before_the_handshake_is_told_as_such)
{
	int fds[2];

	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	close(fds[1]);
	loop_init();
	fiber_start("server", be_left, stream_new(fds[0]));
	loop_run();
	loop_done();
}

/* What is said about a broken set-up. */
static void expect_why(const char *text, int want_err, const char *want)
{
	struct config *c = configure(text);
	struct tls_context *ctx;
	struct buf why = BUF_INIT(1000);

	CHECK_INT(tls_server_context_new(config_main_view(c), &ctx, &why), want_err);
	if (*want ? str_find_str(buf_str(&why), str_of(want)) == why.len : why.len > 0)
		check_failed(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", buf_cstr(&why), want);
	tls_context_free(ctx);
	buf_done(&why);
	config_free(c);
}

TEST(what_is_wrong_with_the_files_is_told)
{
	make_chain("bad.pem", false, true);
	write_text("junk.pem", "hello\n");
	make_chain("cut.pem", false, false);
	put_text("cut.pem", "a", "-----BEGIN CERTIFICATE-----\nMIIB\n");
	make_chain("noted.pem", false, false);
	put_text("noted.pem", "a", "A note of its owner.\n");
	expect_why("", -ENOENT, "no server certificate: set smtpd_tls_chain_files");
	expect_why(main_cf("", "none.pem"), -ENOENT, "none.pem: No such file or directory");
	CHECK_INT(mkfifo(path_of("pipe.pem"), 0600), 0);
	expect_why(main_cf("", "pipe.pem"), -ENOENT, "pipe.pem: it is no regular file");
	CHECK_INT(symlink("/dev/zero", path_of("endless.pem")), 0);
	expect_why(main_cf("", "endless.pem"), -ENOENT, "endless.pem: it is no regular file");
	expect_why(main_cf("", "junk.pem"), -EINVAL, "junk.pem: holds nothing in PEM format");
	expect_why(main_cf("", "cut.pem"), -EINVAL, "cut.pem: a part of it is garbled or broken off");
	expect_why(main_cf("", "noted.pem"), 0, "");
	expect_why(main_cf("", "bad.pem"), -EINVAL, "a certificate stands before its private key: put the key first");
	expect_why("smtpd_tls_cert_file = none\n", 0, "");
	expect_why("smtpd_tls_cert_file = none\nsmtpd_tls_protocols = TLSv9\n", -EINVAL, "unknown protocol \"TLSv9\"");
	/* Others may know it. */
	expect_why("smtpd_tls_cert_file = none\ntls_ssl_options = NO_SUCH\n", 0, "");
}

TEST(the_older_file_parameters_work)
{
	char text[2000];

	make_chain("ec.pem", false, true);
	make_chain("rsa.pem", true, true);
	snprintf(text, sizeof(text), "smtpd_tls_eccert_file = %s\nsmtpd_tls_cert_file = %s\n", path_of("ec.pem"),
	         path_of("rsa.pem"));
	expect_why(text, 0, "");
	snprintf(text, sizeof(text), "smtpd_tls_key_file = %s\nsmtpd_tls_cert_file = %s\n", path_of("ec.pem"),
	         path_of("rsa.pem"));
	expect_why(text, -EINVAL, "private key and certificate do not belong together");
}

TEST(protocol_lists_of_both_kinds_are_understood)
{
	enum { V0 = 1, V1 = 2, V2 = 4, V3 = 8, ALL = 15 };
	static const struct {
		char list[48];
		int allowed;
	} cases[] = {
		{"", ALL},
		{">=TLSv1", ALL},
		{"!SSLv2,!SSLv3", ALL},
		{">=TLSv1.2, <=TLSv1.2", V2},
		{"!SSLv2, !SSLv3, !TLSv1, !TLSv1.1", V2 | V3},
		{"!TLSv1, !TLSv1.1", V2 | V3},
		{"TLSv1.2", V2},
		{"TLSv1.2:TLSv1.3", V2 | V3},
		{"TLSv1, TLSv1.2", V0 | V2},
		{"!SSLv3 !TLSv1.1", V0 | V2 | V3},
		{">=0303", V2 | V3},
		{">=0x0302 !TLSv1.3", V1 | V2},
		{">=SSLv3", ALL},
		{"SSLv3", 0},
		{"<=SSLv2", 0},
		{">=TLS1.2", 0},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct buf why = BUF_INIT(1000);
		int want = cases[i].allowed;
		uint64_t off = 0;

		CHECK_CASE(tls_protocols_parse(str_of(cases[i].list), &off, &why) == (want ? 0 : -EINVAL), cases[i].list);
		CHECK_CASE(!want == !!why.len, cases[i].list);
		if (!want)
			off = SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1 | SSL_OP_NO_TLSv1_2 | SSL_OP_NO_TLSv1_3;
		CHECK_CASE(!(off & SSL_OP_NO_TLSv1) == !!(want & V0), cases[i].list);
		CHECK_CASE(!(off & SSL_OP_NO_TLSv1_1) == !!(want & V1), cases[i].list);
		CHECK_CASE(!(off & SSL_OP_NO_TLSv1_2) == !!(want & V2), cases[i].list);
		CHECK_CASE(!(off & SSL_OP_NO_TLSv1_3) == !!(want & V3), cases[i].list);
		buf_done(&why);
	}
}

TEST(levels_of_logging_have_numbers_names_and_parts)
{
	static const struct {
		const char *text;
		unsigned has, lacks;
		bool is_bad;
	} cases[] = {
		{"", 0, ~0U, false},
		{"0", 0, ~0U, false},
		{"none", 0, ~0U, false},
		{"1", TLS_LOG_SUMMARY, ~(unsigned)TLS_LOG_SUMMARY, false},
		{"2", TLS_LOG_SUMMARY | TLS_LOG_STATES, TLS_LOG_HANDSHAKE_DUMP | TLS_LOG_SESSION_DUMP, false},
		{"SSL-Expert", TLS_LOG_STATES | TLS_LOG_HANDSHAKE_DUMP, TLS_LOG_SESSION_DUMP, false},
		{"4,trace", TLS_LOG_SESSION_DUMP | TLS_LOG_TRACE, 0, false},
		{"summary, peercert", TLS_LOG_SUMMARY | TLS_LOG_PEERCERT, TLS_LOG_STATES, false},
		{"5", 0, ~0U, true},
		{"1 loud", 0, ~0U, true},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		bool is_good;
		unsigned parts = tls_log_parse(str_of(cases[i].text), &is_good);

		CHECK_CASE((parts & cases[i].has) == cases[i].has && !(parts & cases[i].lacks), cases[i].text);
		CHECK_CASE(is_good != cases[i].is_bad, cases[i].text);
	}
}

TEST(only_whole_keys_of_tickets_are_taken)
{
	static const char bytes[(TLS_TICKET_KEYS_MAX + 1) * TLS_TICKET_KEY_SIZE];

	CHECK_INT(tls_tickets_set(str_n(bytes, 0)), -EINVAL);
	CHECK_INT(tls_tickets_set(str_n(bytes, TLS_TICKET_KEY_SIZE - 1)), -EINVAL);
	CHECK_INT(tls_tickets_set(str_n(bytes, sizeof(bytes))), -EINVAL);
	CHECK_INT(tls_tickets_set(str_n(bytes, 2 * (size_t)TLS_TICKET_KEY_SIZE)), 0);
}

/* A server whose files change under it. */
TEST(a_broken_renewal_leaves_what_was_there)
{
	struct config *c;
	struct tls_context *ctx;
	struct buf why = BUF_INIT(2000);

	make_chain("renewed.pem", false, false);
	c = configure(main_cf("", "renewed.pem"));
	CHECK_INT(tls_server_context_new(config_main_view(c), &ctx, &why), 0);
	write_text("renewed.pem", "junk\n");
	CHECK_INT(tls_contexts_renew(NULL, &why), -EINVAL);
	CHECK(str_find_str(buf_str(&why), STR("renewed.pem: holds nothing in PEM format")) < why.len);
	CHECK(tls_context_is_ready(ctx));
	buf_reset(&why);
	make_chain("renewed.pem", true, false);
	CHECK_INT(tls_contexts_renew(NULL, &why), 0);
	CHECK_INT(why.len, 0);
	tls_context_free(ctx);
	config_free(c);
	buf_done(&why);
}

TEST(a_server_without_keys_begins_when_they_come)
{
	struct config *c;
	struct tls_context *ctx;
	struct buf why = BUF_INIT(2000);

	c = configure(main_cf("", "late.pem"));
	CHECK_INT(tls_server_context_new(config_main_view(c), &ctx, &why), -ENOENT);
	CHECK(!tls_context_is_ready(ctx));
	make_chain("late.pem", false, false);
	CHECK_INT(tls_contexts_renew(NULL, &why), 0);
	CHECK(tls_context_is_ready(ctx));
	tls_context_free(ctx);
	config_free(c);
	buf_done(&why);
}
