# SPDX-License-Identifier: Apache-2.0
"""The local sockets of commands: one user cannot hold them against root and the others."""

import os
import pwd
import re
import socket
import struct
import subprocess
import tempfile
import threading
import unittest

from postrider import BUILD, IS_ROOT, PATIENCE, TOP, Postrider, wait_until

STRANGERS = ("nobody", "daemon", "bin", "sys", "games", "man")


def encoded(text: bytes) -> bytes:
    return struct.pack("<I", len(text)) + text


def memory_file():
    return os.fdopen(os.memfd_create("message"), "w+b")


class Pickup:
    """Speaks to public/pickup as sendmail does, but gives what descriptor it likes."""

    def __init__(self, server: Postrider):
        types = re.findall(r"^MESSAGE\((\w+)", (TOP / "src/ipc/messages.def").read_text(), re.M)
        self.submit_type, self.submitted_type = types.index("SUBMIT") + 1, types.index("SUBMITTED") + 1
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(server.folder / "queue/public/pickup"))

    def submit(self, fd: int, recipient: bytes = b"demo@test.example") -> tuple[int, str]:
        strings = [b"a@test.example"] + [b""] * 12
        envelope = (b"\x01" + encoded(b"") + struct.pack("<QIBQ", 0, 0, 0, 0) + b"".join(map(encoded, strings))
                    + struct.pack("<I", 1) + encoded(recipient) + encoded(b"") * 2 + b"\x00")
        fields = bytes([self.submit_type]) + struct.pack("<Q", 7) + encoded(envelope)
        socket.send_fds(self.sock, [b"\x01\x00" + encoded(fields)], [fd])
        answer = self.sock.recv(10000)[6:]
        assert answer[0] == self.submitted_type
        token, code, size = struct.unpack_from("<QII", answer, 1)
        assert token == 7
        return code, answer[17:17 + size].decode()


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

    def test_a_submitted_file_without_end_is_refused_and_harms_nobody(self):
        with Postrider(main="message_size_limit = 1000000\npostrider_process_count = 1\n") as server:
            pickup = Pickup(server)
            self.addCleanup(pickup.sock.close)
            with memory_file() as file:
                file.write(b"Subject: x\n\nhi\n")
                file.flush()
                self.assertEqual(pickup.submit(file.fileno())[0], 250)
                server.wait_mail("demo", 1)
                # Exabytes of nothing.
                file.truncate(1 << 42)
                self.assertEqual(pickup.submit(file.fileno()), (552, "Error: message file too big"))
            with memory_file() as file:
                file.write(b"Subject: x\n\n" + b"line\n" * 1000)
                file.flush()
                ends = threading.Event()
                grower = threading.Thread(target=self.grow, args=[file, ends])
                grower.start()
                self.addCleanup(grower.join)
                self.addCleanup(ends.set)
                code, _ = pickup.submit(file.fileno())
                self.assertIn(code, (250, 552))
                ends.set()
                grower.join()
            read_end, write_end = os.pipe()
            self.addCleanup(os.close, read_end)
            self.addCleanup(os.close, write_end)
            self.assertEqual(pickup.submit(read_end), (554, "Error: malformed submission"))
            # Behind a file on a file system there may be a program that never answers.
            with tempfile.TemporaryFile(dir=TOP) as file:
                self.assertEqual(pickup.submit(file.fileno()), (554, "Error: malformed submission"))
            self.assertEqual(self.send(server).returncode, 0)

    def test_a_submitted_address_with_a_line_end_is_refused(self):
        with Postrider() as server, memory_file() as file:
            pickup = Pickup(server)
            self.addCleanup(pickup.sock.close)
            file.write(b"Subject: x\n\nhi\n")
            file.flush()
            for recipient in (b'"a\nb"@test.example', b'"a\rb"@test.example', b"demo@test.example\r\nDATA", b"demo\0@test.example"):
                self.assertEqual(pickup.submit(file.fileno(), recipient), (554, "Error: malformed submission"), recipient)
            self.assertEqual(pickup.submit(file.fileno())[0], 250)
            server.wait_mail("demo", 1)

    def grow(self, file, ends: threading.Event) -> None:
        """Faster than anybody reads; for a minute at most."""
        for _ in range(60 * PATIENCE):
            if ends.is_set():
                return
            file.write(b"line\n" * 20000)
            file.flush()
            if file.tell() > 1 << 28:
                file.seek(1 << 20)

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
