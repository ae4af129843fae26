/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of libcurl. Names are looked up by our own resolver, so that curl needs none. */
#include "role/lookup/web.h"

#include <curl/curl.h>
#include <errno.h>

#include "config/config.h"
#include "fiber/fiber.h"
#include "net/dns.h"
#include "net/ip.h"

enum {
	REQUESTS_MAX = 16, /* at once: half of the helper threads are for what slow web servers must not hold up */
	REQUEST_MAX_S = 60,
	CONNECT_MAX_S = 20,
	ADDRESSES_MAX = 8
};

static struct {
	size_t running;
	struct wait_list slots;
} web;

/* One request, while a helper thread works on it. */
struct request {
	const struct web_wish *wish;
	const char *url;
	const char *host_header; /* "Host: name" */
	const char *resolve;     /* "host:port:address,address" */
	const char *ca_file;     /* NULL: the system's */
	const char *media_type;
	struct buf body;
	CURLcode code;
	char error[CURL_ERROR_SIZE];
	long status;
	char type[256]; /* of media */
};

int web_init(struct buf *why)
{
	wait_list_init(&web.slots);
	if (!curl_global_init(CURL_GLOBAL_ALL))
		return 0;
	buf_addf(why, "libcurl does not start");
	return -ENOTSUP;
}

static size_t take_bytes(char *bytes, size_t one, size_t count, void *arg)
{
	struct request *r = arg;

	buf_add(&r->body, str_n(bytes, count));
	/* A count that differs ends the transfer. */
	return buf_check(&r->body) ? 0 : count;
}

static void set_limits(CURL *curl, const struct request *r)
{
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)REQUEST_MAX_S);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_MAX_S);
	curl_easy_setopt(curl, CURLOPT_MAXFILESIZE, (long)r->wish->size_max);
	curl_easy_setopt(curl, CURLOPT_HTTP09_ALLOWED, 0L);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (r->ca_file)
		curl_easy_setopt(curl, CURLOPT_CAINFO, r->ca_file);
}

static void perform(void *arg)
{
	struct request *r = arg;
	CURL *curl = curl_easy_init();
	struct curl_slist *addresses = curl_slist_append(NULL, r->resolve), *headers = curl_slist_append(NULL, r->host_header);
	const char *type = NULL;

	r->code = CURLE_OUT_OF_MEMORY;
	if (curl && addresses && headers) {
		set_limits(curl, r);
		curl_easy_setopt(curl, CURLOPT_URL, r->url);
		curl_easy_setopt(curl, CURLOPT_RESOLVE, addresses);
		curl_easy_setopt(curl, CURLOPT_USERAGENT, "Postrider/" POSTRIDER_VERSION);
		curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, r->error);
		curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
		curl_easy_setopt(curl, CURLOPT_WRITEDATA, r);
		if (r->media_type) {
			headers = curl_slist_append(headers, r->media_type);
			curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->wish->body.len);
			curl_easy_setopt(curl, CURLOPT_POSTFIELDS, r->wish->body.ptr);
		}
		/* Without the port that a test may have put into the URL. */
		curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
		r->code = curl_easy_perform(curl);
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &r->status);
		if (!r->code && !curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type) && type)
			snprintf(r->type, sizeof(r->type), "%s", type);
	}
	curl_slist_free_all(headers);
	curl_slist_free_all(addresses);
	curl_easy_cleanup(curl);
}

/* A DNS record may have named it, and to libcurl "-", "*" and "@" mean something. */
static bool is_host(struct str host)
{
	for (size_t i = 0; i < host.len; i++)
		if (!ascii_is_alnum(host.ptr[i]) && (i == 0 || !memchr("-._", host.ptr[i], 3)))
			return false;
	return host.len > 0;
}

/* "host:port:192.0.2.1,[2001:db8::1]" */
static int add_addresses(struct buf *to, const struct web_wish *wish, struct arena *a, struct buf *why)
{
	struct dns_answer answer;
	bool wants_v4 = config_allows_protocol(wish->protocols, STR("ipv4"));
	bool wants_v6 = config_allows_protocol(wish->protocols, STR("ipv6"));
	int err;

	if (!is_host(wish->host)) {
		buf_addf(why, "\"%.*s\" is no host name", STR_ARG(wish->host));
		return -EINVAL;
	}
	err = dns_addresses(wish->host, true, wants_v4, wants_v6, a, &answer);
	if (err == -ECANCELED)
		return err;
	if (err || answer.status != DNS_FOUND) {
		buf_addf(why, "%.*s: %.*s", STR_ARG(wish->host),
		         STR_ARG(err ? STR("the name server does not answer") : answer.reason));
		return -EIO;
	}
	buf_addf(to, "%.*s:%u:", STR_ARG(wish->host), wish->port);
	for (size_t i = 0; i < size_min(answer.count, ADDRESSES_MAX); i++) {
		struct sockaddr_storage address;
		char text[IP_TEXT_SIZE];

		if (!ip_from_bytes(answer.records[i].data, wish->port, &address))
			buf_addf(to, address.ss_family == AF_INET6 ? "%s[%s]" : "%s%s", i ? "," : "",
			         ip_format((struct sockaddr *)&address, text));
	}
	return buf_check(to);
}

static int wait_for_slot(void)
{
	while (web.running >= REQUESTS_MAX) {
		int err = wait_list_wait(&web.slots, INSTANT_NEVER);

		if (err)
			return err;
	}
	web.running++;
	return 0;
}

static bool is_about_tls(CURLcode code)
{
	return code == CURLE_SSL_CONNECT_ERROR || code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_ISSUER_ERROR ||
	       code == CURLE_SSL_CERTPROBLEM || code == CURLE_SSL_INVALIDCERTSTATUS;
}

static int run(struct request *r, struct arena *a, struct web_answer *ret_answer, struct buf *why)
{
	int err = wait_for_slot();

	if (err)
		return err;
	err = fiber_work(perform, r);
	web.running--;
	(void)wait_list_wake_one(&web.slots);
	if (err)
		return err;
	ret_answer->is_certificate_bad = is_about_tls(r->code);
	if (r->code) {
		buf_addf(why, "%.*s: %s", STR_ARG(r->wish->host), r->error[0] ? r->error : curl_easy_strerror(r->code));
		return -EIO;
	}
	ret_answer->status = r->status;
	ret_answer->media_type = arena_str(a, str_of(r->type));
	ret_answer->body = arena_str(a, buf_str(&r->body));
	return 0;
}

int web_request(const struct web_wish *wish, struct arena *a, struct web_answer *ret_answer, struct buf *why)
{
	struct buf addresses = BUF_INIT(2048);
	struct request *r;
	int err = add_addresses(&addresses, wish, a, why);

	*ret_answer = (struct web_answer){0};
	if (err) {
		buf_done(&addresses);
		return err;
	}
	/* Its error text alone is too much for a fiber's stack. */
	r = mem_alloc(sizeof(*r));
	r->wish = wish;
	r->url = arena_printf(a, "https://%.*s:%u%.*s", STR_ARG(wish->host), wish->port, STR_ARG(wish->path)).ptr;
	r->host_header = arena_printf(a, "Host: %.*s", STR_ARG(wish->host)).ptr;
	r->resolve = arena_cstr(a, buf_str(&addresses));
	r->ca_file = wish->ca_file.len ? arena_cstr(a, wish->ca_file) : NULL;
	r->media_type = wish->media_type.len ? arena_printf(a, "Content-Type: %.*s", STR_ARG(wish->media_type)).ptr : NULL;
	r->body = BUF_INIT(wish->size_max);
	err = run(r, a, ret_answer, why);
	buf_done(&r->body);
	free(r);
	buf_done(&addresses);
	return err;
}
