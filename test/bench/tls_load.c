/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A load of TLS clients: `tls_load PORT WHAT CLIENTS SECONDS [12|13]`. WHAT is "handshake" (TLS from the first byte, no
 * word of SMTP), "resume" (the same, with the ticket of the connection before), or "session" (SMTP with STARTTLS, from
 * greeting to QUIT). Prints how many were done, in how many seconds, how many were resumed, and the median and
 * the longest of them in milliseconds. One thread a client.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS_MAX = 256, TIMES_MAX = 1 << 20, LINE_MAX_SIZE = 4096 };

static struct {
	struct sockaddr_in address;
	bool has_smtp, resumes;
	double until;
	SSL_CTX *ctx;
	pthread_mutex_t lock;
	size_t count, resumed, failed;
	float *times;
} load = {.lock = PTHREAD_MUTEX_INITIALIZER};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A whole reply, in clear or inside TLS. */
static bool hear(int fd, SSL *ssl)
{
	char text[LINE_MAX_SIZE];
	size_t len = 0;

	for (;;) {
		int got = ssl ? SSL_read(ssl, text + len, (int)(sizeof(text) - len))
		              : (int)recv(fd, text + len, sizeof(text) - len, 0);
		size_t start;

		if (got <= 0)
			return false;
		len += (size_t)got;
		if (text[len - 1] != '\n')
			continue;
		for (start = len - 1; start && text[start - 1] != '\n';)
			start--;
		if (len - start > 3 && text[start + 3] == ' ')
			return text[start] == '2';
	}
}

static bool say(int fd, SSL *ssl, const char *line)
{
	int len = (int)strlen(line);

	return (ssl ? SSL_write(ssl, line, len) : (int)send(fd, line, (size_t)len, MSG_NOSIGNAL)) == len && hear(fd, ssl);
}

static int dial(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	if (fd >= 0 && !connect(fd, (struct sockaddr *)&load.address, sizeof(load.address))) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

/* One connection; *session is used and replaced where sessions are resumed. */
static bool once(SSL_SESSION **session, bool *ret_resumed)
{
	int fd = dial();
	SSL *ssl = fd < 0 ? NULL : SSL_new(load.ctx);
	bool is_good = ssl && (!load.has_smtp ||
	                       (hear(fd, NULL) && say(fd, NULL, "EHLO load.example\r\n") && say(fd, NULL, "STARTTLS\r\n")));

	if (is_good) {
		SSL_set_fd(ssl, fd);
		if (*session)
			SSL_set_session(ssl, *session);
		is_good = SSL_connect(ssl) == 1;
	}
	*ret_resumed = is_good && SSL_session_reused(ssl);
	if (is_good && load.has_smtp)
		is_good = say(fd, ssl, "EHLO load.example\r\n") && say(fd, ssl, "QUIT\r\n");
	/* A ticket comes behind the handshake: with what is read next. */
	else if (is_good && load.resumes)
		is_good = hear(fd, ssl);
	if (is_good && load.resumes) {
		SSL_SESSION_free(*session);
		*session = SSL_get1_session(ssl);
	}
	if (ssl) {
		/* To OpenSSL a session that was not ended in order is not to be resumed. */
		SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
		SSL_free(ssl);
	}
	if (fd >= 0)
		close(fd);
	return is_good;
}

static void *client(void *arg)
{
	SSL_SESSION *session = NULL;

	while (now() < load.until) {
		double start = now();
		bool is_resumed, is_good = once(&session, &is_resumed);

		pthread_mutex_lock(&load.lock);
		if (!is_good)
			load.failed++;
		else if (load.count < TIMES_MAX)
			load.times[load.count++] = (float)(1000 * (now() - start));
		load.resumed += is_resumed;
		pthread_mutex_unlock(&load.lock);
	}
	SSL_SESSION_free(session);
	return NULL;
}

static int by_size(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	pthread_t threads[CLIENTS_MAX];
	int clients = argc > 4 ? (int)strtol(argv[3], NULL, 10) : 0;
	double start = now();

	if (clients < 1 || clients > CLIENTS_MAX) {
		fprintf(stderr, "usage: tls_load PORT handshake|resume|session CLIENTS SECONDS [12|13]\n");
		return 2;
	}
	load.address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10))};
	load.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	load.has_smtp = !strcmp(argv[2], "session");
	load.resumes = !strcmp(argv[2], "resume");
	load.until = start + strtod(argv[4], NULL);
	load.times = calloc(TIMES_MAX, sizeof(*load.times));
	load.ctx = SSL_CTX_new(TLS_client_method());
	if (argc > 5)
		SSL_CTX_set_max_proto_version(load.ctx, !strcmp(argv[5], "12") ? TLS1_2_VERSION : TLS1_3_VERSION);
	for (int i = 0; i < clients; i++)
		pthread_create(&threads[i], NULL, client, NULL);
	for (int i = 0; i < clients; i++)
		pthread_join(threads[i], NULL);
	qsort(load.times, load.count, sizeof(*load.times), by_size);
	printf("%zu %.3f %zu %zu %.2f %.2f\n", load.count, now() - start, load.resumed, load.failed,
	       load.count ? (double)load.times[load.count / 2] : 0, load.count ? (double)load.times[load.count - 1] : 0);
	return load.failed > load.count;
}
