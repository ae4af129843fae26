# SPDX-License-Identifier: Apache-2.0
"""Small writes leave at once: no socket of the server or the client gathers them (TCP_NODELAY). The sockets themselves are asked."""

import contextlib
import ctypes
import os
import re
import socket
import tempfile
import unittest
from pathlib import Path

from next_hop import NextHop, make_authority
from postrider import Postrider, wait_until

PIDFD_GETFD = 438  # on all architectures


def borrow(pid: int, fd: int) -> socket.socket:
    """A descriptor of another process."""
    pidfd = os.pidfd_open(pid)
    try:
        got = ctypes.CDLL(None, use_errno=True).syscall(PIDFD_GETFD, pidfd, fd, 0)
        if got < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return socket.socket(fileno=got)
    finally:
        os.close(pidfd)


def sockets_of(server: Postrider, program: str) -> list[socket.socket]:
    """All TCP sockets of its processes of this program."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if not entry.name.isdigit() or (entry / "exe").resolve().name != program or str(server.master_pid()) not in (entry / "stat").read_text().split():
                continue
            for fd in (entry / "fd").iterdir():
                if not re.match(r"socket:", os.readlink(fd)):
                    continue
                s = borrow(int(entry.name), int(fd.name))
                if s.family in (socket.AF_INET, socket.AF_INET6) and s.type == socket.SOCK_STREAM:
                    found.append(s)
                else:
                    s.close()
    return found


def is_undelayed(s: socket.socket) -> bool:
    return s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


class SmallWrites(unittest.TestCase):
    def check(self, sockets: list[socket.socket], pick) -> None:
        with contextlib.ExitStack() as stack:
            for s in sockets:
                stack.enter_context(s)
            wanted = [s for s in sockets if pick(s)]
            self.assertTrue(wanted)
            self.assertEqual([s for s in wanted if not is_undelayed(s)], [])

    def test_what_smtpd_accepted_inherits_it_from_the_listening_socket(self):
        with Postrider() as server, server.smtp() as session:
            ours = session.sock.getsockname()
            self.check(sockets_of(server, "smtpd"), lambda s: s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
            self.check(sockets_of(server, "smtpd"), lambda s: not s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and s.getpeername() == ours)

    def test_what_the_client_opened_has_it(self):
        with tempfile.TemporaryDirectory(prefix="sockets-") as name:
            make_authority(Path(name))
            with NextHop(Path(name), fault="silent-at-end") as hop:
                with Postrider(main=f"relayhost = [127.0.0.2]:{hop.port}\nsmtp_tls_security_level = encrypt\n") as server:
                    server.send("a@source.example", ["b@far.example"], "Subject: hello\r\n\r\nbody\r\n")
                    wait_until(lambda: hop.messages, "the content of the mail")
                    self.check(sockets_of(server, "smtp"), lambda s: s.getpeername() == ("127.0.0.2", hop.port))
                    hop.go_on.set()
                    server.wait_log("status=sent")


if __name__ == "__main__":
    unittest.main()
