/* SPDX-License-Identifier: Apache-2.0 */
/* Asking an authorisation server about a token (RFC 7662): libcurl on a helper thread, under limits of size and time. */
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "fiber/fiber.h"
#include "net/dns.h"
#include "net/ip.h"
#include "sasl/oauth.h"
#include "sasl/server_internal.h"

enum {
	REQUESTS_MAX = 12, /* at once: the other helper threads hash passwords */
	WAITING_MAX = 500,
	TIMEOUT_S = 10,
	ANSWER_MAX = 32 << 10,
	ADDRESSES_MAX = 8,
};

static struct {
	size_t running, waiting;
	struct wait_list slots;
	bool is_open;
} web;

/* One request, while a helper thread works on it. */
struct request {
	char *url, *login, *ca_file, *resolve;
	struct buf form, answer;
	CURLcode code;
	long status;
	char error[CURL_ERROR_SIZE];
};

int introspect_open(void)
{
	if (!web.is_open)
		wait_list_init(&web.slots);
	web.is_open = true;
	return curl_global_init(CURL_GLOBAL_ALL) ? -ENOTSUP : 0;
}

/* The parts of the URL; all on the heap. */
static int split_url(struct str url, char **ret_scheme, char **ret_host, char **ret_port)
{
	CURLU *parts = curl_url();
	char *text = str_cstr(url), *scheme = NULL, *host = NULL, *port = NULL;
	int err = -EINVAL;

	if (parts && !curl_url_set(parts, CURLUPART_URL, text, 0) && !curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) &&
	    !curl_url_get(parts, CURLUPART_HOST, &host, 0) && !curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT)) {
		*ret_scheme = mem_strdup(scheme);
		*ret_host = mem_strdup(host);
		*ret_port = mem_strdup(port);
		err = 0;
	}
	curl_free(scheme);
	curl_free(host);
	curl_free(port);
	curl_url_cleanup(parts);
	free(text);
	return err;
}

static bool is_this_machine(struct str host)
{
	struct sockaddr_storage unused;

	/* A name may begin with digits as well. */
	return str_eq_nocase(host, STR("localhost")) || str_eq(host, STR("[::1]")) ||
	       (str_starts(host, STR("127.")) && !ip_parse(host, 0, &unused));
}

int introspect_check_url(struct str url, struct buf *why)
{
	char *scheme, *host, *port;
	bool is_good;

	if (split_url(url, &scheme, &host, &port)) {
		buf_addf(why, "\"%.*s\" is no URL", STR_ARG(url));
		return -EINVAL;
	}
	is_good = str_eq(str_of(scheme), STR("https")) || (str_eq(str_of(scheme), STR("http")) && is_this_machine(str_of(host)));
	if (!is_good)
		buf_addf(why, "\"%.*s\": tokens are sent by https only, by http to this machine", STR_ARG(url));
	free(scheme);
	free(host);
	free(port);
	return is_good ? 0 : -EINVAL;
}

/* "host:port:192.0.2.1,[2001:db8::1]" for libcurl, which itself asks no name server. Empty for addresses. */
static int resolve(struct str url, struct buf *to, struct buf *why)
{
	char *scheme, *host, *port;
	struct arena a = ARENA_INIT;
	struct dns_answer answer = {0};
	struct sockaddr_storage address;
	int err = split_url(url, &scheme, &host, &port);

	if (err)
		return err;
	if (!is_this_machine(str_of(host)) && host[0] != '[' && ip_parse(str_of(host), 0, &address)) {
		err = dns_addresses(str_of(host), true, true, true, &a, &answer);
		if (!err && (answer.status != DNS_FOUND || !answer.count))
			err = -EHOSTUNREACH;
		if (err)
			buf_addf(why, "%s: no address", host);
		buf_addf(to, "%s:%s:", host, port);
		for (size_t i = 0; i < size_min(answer.count, ADDRESSES_MAX); i++) {
			char text[IP_TEXT_SIZE];

			if (!ip_from_bytes(answer.records[i].data, 0, &address))
				buf_addf(to, address.ss_family == AF_INET6 ? "%s[%s]" : "%s%s", i ? "," : "",
				         ip_format((struct sockaddr *)&address, text));
		}
	}
	free(scheme);
	free(host);
	free(port);
	arena_done(&a);
	return err;
}

static size_t take_bytes(char *bytes, size_t one, size_t count, void *arg)
{
	struct request *r = arg;

	buf_add(&r->answer, str_n(bytes, count));
	/* A count that differs ends the transfer. */
	return buf_check(&r->answer) ? 0 : count;
}

static void set_options(CURL *curl, struct request *r, struct curl_slist *addresses, struct curl_slist *headers)
{
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)TIMEOUT_S);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
	curl_easy_setopt(curl, CURLOPT_URL, r->url);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "Postrider/" POSTRIDER_VERSION);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, r->error);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, r);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->form.len);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, r->form.ptr);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	if (addresses)
		curl_easy_setopt(curl, CURLOPT_RESOLVE, addresses);
	if (r->ca_file)
		curl_easy_setopt(curl, CURLOPT_CAINFO, r->ca_file);
	if (r->login) {
		curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
		curl_easy_setopt(curl, CURLOPT_USERPWD, r->login);
	}
}

static void perform(void *arg)
{
	struct request *r = arg;
	CURL *curl = curl_easy_init();
	struct curl_slist *addresses = r->resolve ? curl_slist_append(NULL, r->resolve) : NULL;
	struct curl_slist *headers = curl_slist_append(NULL, "Accept: application/json");

	r->code = CURLE_OUT_OF_MEMORY;
	if (curl && headers) {
		set_options(curl, r, addresses, headers);
		r->code = curl_easy_perform(curl);
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &r->status);
	}
	curl_slist_free_all(headers);
	curl_slist_free_all(addresses);
	curl_easy_cleanup(curl);
}

/* Everything but letters and digits as %XX. */
static void add_encoded(struct buf *to, struct str text)
{
	for (size_t i = 0; i < text.len; i++)
		if (ascii_is_alnum(text.ptr[i]))
			buf_add_char(to, text.ptr[i]);
		else
			buf_addf(to, "%%%02X", (unsigned char)text.ptr[i]);
}

static int wait_for_slot(void)
{
	if (web.waiting >= WAITING_MAX)
		return -EAGAIN;
	while (web.running >= REQUESTS_MAX) {
		int err;

		web.waiting++;
		err = wait_list_wait(&web.slots, clock_deadline(duration_s(TIMEOUT_S)));
		web.waiting--;
		if (err)
			return -EAGAIN;
	}
	web.running++;
	return 0;
}

static int judge(const struct request *r, struct str url, struct buf *why)
{
	if (r->code)
		buf_addf(why, "%.*s: %s", STR_ARG(url), r->error[0] ? r->error : curl_easy_strerror(r->code));
	else if (r->status != 200)
		buf_addf(why, "%.*s answers with status %ld", STR_ARG(url), r->status);
	return r->code || r->status != 200 ? -EIO : 0;
}

int introspect(const struct introspection *i, struct str token, struct buf *ret_json, struct buf *why)
{
	struct buf addresses = BUF_INIT(2048);
	struct request *r;
	int err = resolve(i->url, &addresses, why);

	if (!err) {
		err = wait_for_slot();
		if (err)
			buf_add(why, STR("too many tokens are asked about at once"));
	}
	if (err) {
		buf_done(&addresses);
		return err;
	}
	r = mem_alloc(sizeof(*r));
	r->url = str_cstr(i->url);
	r->login = i->login.len ? str_cstr(i->login) : NULL;
	r->ca_file = i->ca_file.len ? str_cstr(i->ca_file) : NULL;
	r->resolve = addresses.len ? buf_take(&addresses) : NULL;
	r->form = BUF_INIT(4 * token.len + 100);
	r->answer = BUF_INIT(ANSWER_MAX);
	(void)!buf_room(&r->form, 3 * token.len + 100);
	buf_add(&r->form, STR("token_type_hint=access_token&token="));
	add_encoded(&r->form, token);
	(void)fiber_work(perform, r);
	web.running--;
	(void)wait_list_wake_one(&web.slots);
	err = judge(r, i->url, why);
	if (!err)
		buf_add(ret_json, buf_str(&r->answer));
	sasl_wipe(&r->form);
	buf_done(&r->answer);
	free(r->url);
	free(r->login);
	free(r->ca_file);
	free(r->resolve);
	free(r);
	buf_done(&addresses);
	return err;
}
