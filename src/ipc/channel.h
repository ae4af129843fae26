/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A channel: messages both ways between two processes over a SOCK_SEQPACKET socket.
 *
 * Messages that are sent in one round of the loop leave together, in one packet where
 * they fit (up to 128 KiB and 16 descriptors). A packet is
 *
 *	0  u8  version, 1
 *	1  u8  1 when the message goes on in the next packet, else 0
 *	2      whole frames (message.h), or a part of one frame
 *
 * so a message larger than a packet is split, up to MESSAGE_SIZE_MAX. Descriptors travel
 * with the packet that holds the beginning of their message, in the order of the frames.
 * Bytes from the other side are hostile until decoded: junk ends the channel with -EBADMSG.
 */
#pragma once

#include <sys/types.h>

#include "base/clock.h"
#include "fiber/fiber.h"
#include "ipc/message.h"

struct channel;

enum {
	CHANNEL_QUEUE_MAX = 64 << 20, /* bytes waiting to be sent before channel_send() fails */
	CHANNEL_ROOM = 1 << 20,       /* channel_wait_room() waits while more than this is queued */
};

/* Once, after loop_init(): channels are flushed by a hook of the loop. */
void channel_loop_init(void);
/* Is there anything on any channel that leaves in this round? */
bool channel_any_unsent(void);

/* Both ends of a new pair, non-blocking and close-on-exec, with large socket buffers. */
[[nodiscard]] int channel_socketpair(int ret_fds[2]);
/* Takes the descriptor over. */
[[nodiscard]] struct channel *channel_new(int fd);
/* Closes; what is queued is tried once more and then dropped. NULL is fine. No fiber may be waiting in it. */
void channel_free(struct channel *ch);

/* A local endpoint: a listening socket at `path` with the given mode; an older one is replaced. */
[[nodiscard]] int channel_listen(const char *path, mode_t mode, int *ret_fd);
[[nodiscard]] int channel_connect(const char *path, struct channel **ret_channel);
/* Waits for one connection to a listening socket. */
[[nodiscard]] int channel_accept(struct watch *w, struct channel **ret_channel) WAITS;
/* Who connected, as the kernel says. */
[[nodiscard]] int channel_peer_uid(const struct channel *ch, uid_t *ret_uid);

/*
 * Queues a message; it leaves at the end of this round. Never waits. The message's
 * descriptor stays the caller's: a duplicate is sent. -EPIPE when the peer is gone,
 * -EMSGSIZE when the message is too large, -ENOBUFS when too much is queued: the
 * message was not queued then.
 */
[[nodiscard]] int channel_send(struct channel *ch, const struct message *m);
/* Waits until the peer has taken most of what was queued: for senders of much. -EPIPE, -ETIMEDOUT, -ECANCELED. */
[[nodiscard]] int channel_wait_room(struct channel *ch, struct instant deadline) WAITS;
/* Bytes that wait to be sent. */
size_t channel_queued(const struct channel *ch);

/*
 * Waits for the next message. Its strings are valid until the next call; its descriptor
 * (close-on-exec) becomes the caller's. -EPIPE when the peer is gone, -EBADMSG when it sent
 * junk, -ETIMEDOUT, -ECANCELED. One fiber a channel receives.
 */
[[nodiscard]] int channel_recv(struct channel *ch, struct instant deadline, struct message *ret_message) WAITS;
