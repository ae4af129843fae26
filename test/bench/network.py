# SPDX-License-Identifier: Apache-2.0
"""A network of the benchmark's own: a loopback whose packets are as long as those of real networks."""

import ctypes
import fcntl
import os
import socket
import struct

CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS, SIOCSIFMTU, IFF_UP = 0x8914, 0x8922, 1
MTU = 1500


def enter() -> str:
    """Moves this process, and what it starts, into a network of its own; says in which one the figures are made.

    On the host's loopback, with packets of 64 KB, smtp-source allocates and wipes two buffers of that size for every
    session. Two thousand of them do not fit into any cache, and it would be smtp-source that gets slow.
    """
    if os.geteuid() != 0:
        return "the host's loopback (as root: one of its own, with packets of an Ethernet)"
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "cannot make a network of its own")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, SIOCSIFMTU, struct.pack("16si12x", b"lo", MTU))
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
    return f"a loopback of its own, MTU {MTU}"
