/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loaded before libc into a program that is a test's peer: it asks the name server that OWN_RESOLVER names ("127.0.0.1:5353")
 * in place of those of resolv.conf.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <resolv.h>
#include <stdio.h>
#include <stdlib.h>

int __res_ninit(res_state state);

int __res_ninit(res_state state)
{
	int (*real)(res_state) = (int (*)(res_state))dlsym(RTLD_NEXT, "__res_ninit");
	const char *server = getenv("OWN_RESOLVER");
	char address[INET_ADDRSTRLEN];
	struct sockaddr_in at = {.sin_family = AF_INET};
	unsigned short port;
	int result = real(state);

	if (result || !server || sscanf(server, "%15[0-9.]:%hu", address, &port) != 2 ||
	    !inet_pton(AF_INET, address, &at.sin_addr))
		return result;
	at.sin_port = htons(port);
	state->nsaddr_list[0] = at;
	state->nscount = 1;
	return 0;
}
