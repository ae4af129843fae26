/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the programs beside lookup have in common (ipc/helper.h): they fork a worker for each channel that lookup
 * sends them. Plain blocking code; packets are those of ipc/channel.h.
 */
#pragma once

#include "ipc/message.h"

/* A worker, in a process of its own that ends when it returns. `fd` is its blocking channel, `order` what lookup sent along. */
typedef void nursery_worker_fn(int fd, const struct message *order);
/* The whole life of such a program: becomes the user that its argument names, then forks a worker for each `order`. */
int nursery_main(int argc, char **argv, enum message_type order, nursery_worker_fn *work);

/* For workers: hands over each message until the channel ends. What it said is wiped. */
void nursery_serve(int fd, void (*take)(const struct message *m));
/* Ends the process if nobody can be told. */
void nursery_send(int fd, const struct message *m);
