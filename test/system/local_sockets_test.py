# SPDX-License-Identifier: Apache-2.0
"""The local sockets of commands: one user cannot hold them against root and the others."""

import os
import pwd
import socket
import subprocess
import unittest

from postrider import BUILD, IS_ROOT, PATIENCE, Postrider, wait_until

STRANGERS = ("nobody", "daemon", "bin", "sys", "games", "man")


class LocalSockets(unittest.TestCase):
    def hold(self, server: Postrider, name: str, user: str, count: int) -> list[socket.socket]:
        """Connections of a user who says nothing. The kernel tells the server who connected."""
        held = []
        uid = pwd.getpwnam(user).pw_uid
        for _ in range(count):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.addCleanup(sock.close)
            if IS_ROOT:
                os.seteuid(uid)
            try:
                sock.connect(str(server.folder / "queue/public" / name))
            finally:
                if IS_ROOT:
                    os.seteuid(0)
            held.append(sock)
        return held

    def open_ones(self, held: list) -> int:
        count = 0
        for sock in held:
            sock.setblocking(False)
            try:
                if sock.recv(1000):
                    continue
            except BlockingIOError:
                count += 1
            except ConnectionError:
                pass
        return count

    def send(self, server: Postrider, user: str | None = None) -> subprocess.CompletedProcess:
        return subprocess.run([str(BUILD / "bin/sendmail"), "demo@test.example"], input="Subject: x\n\nhi\n", text=True,
                              env=dict(os.environ, MAIL_CONFIG=str(server.etc)), capture_output=True, timeout=2 * PATIENCE,
                              user=user if IS_ROOT else None)

    def test_strangers_that_hold_the_pickup_socket_leave_room_for_root_and_others(self):
        with Postrider(main="postrider_process_count = 1\n") as server:
            held = [sock for user in STRANGERS for sock in self.hold(server, "pickup", user, 150)]
            if IS_ROOT:
                wait_until(lambda: self.open_ones(held) == 224, "the last refusal")
            else:
                wait_until(lambda: self.open_ones(held) <= 256, "the last refusal")
            self.assertEqual(self.send(server).returncode, 0)
            # Who is quiet makes room for an ordinary user too; sendmail waits for it.
            done = self.send(server, "nobody")
            self.assertEqual(done.returncode, 0, done.stderr)
            server.wait_mail("demo", 2)

    def test_strangers_that_hold_the_queue_socket_leave_room_for_root_and_others(self):
        with Postrider() as server:
            held = [sock for user in STRANGERS for sock in self.hold(server, "qmgr", user, 30)]
            if IS_ROOT:
                wait_until(lambda: self.open_ones(held) == 80, "the last refusal")
            else:
                wait_until(lambda: self.open_ones(held) <= 100, "the last refusal")
            done = server.run("postqueue", "-p")
            self.assertIn("Mail queue is empty", done.stdout, done.stderr)
            # A session is sent away for another after five quiet seconds.
            wait_until(lambda: server.run("postqueue", "-p", **({"user": "nobody"} if IS_ROOT else {})).returncode == 0, "room for a user")

    def test_many_users_of_sendmail_at_once_are_all_served(self):
        with Postrider() as server:
            command = [str(BUILD / "bin/sendmail"), "demo@test.example"]
            running = [subprocess.Popen(command, stdin=subprocess.PIPE, env=dict(os.environ, MAIL_CONFIG=str(server.etc)),
                                        stderr=subprocess.PIPE, user="nobody" if IS_ROOT else None) for _ in range(150)]
            for process in running:
                process.stdin.write(b"Subject: x\n\nhi\n")
                process.stdin.close()
            for process in running:
                with process.stderr:
                    self.assertEqual(process.stderr.read(), b"")
                self.assertEqual(process.wait(), 0)
            server.wait_mail("demo", 150)


if __name__ == "__main__":
    unittest.main()
