# SPDX-License-Identifier: Apache-2.0
"""Clients that mean harm or do not know better: they cost bounded memory and nothing else."""

import os
import random
import resource
import select
import smtplib
import socket
import ssl
import threading
import time
import unittest
from pathlib import Path

from postrider import PATIENCE, Postrider, any_certificate, wait_until


def pss_kb(pids) -> int:
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total


def is_sanitized() -> bool:
    return "asan" in os.environ.get("POSTRIDER_BUILD", "")


def read_until_closed(sock) -> bytes:
    data = b""
    try:
        while piece := sock.recv(65536):
            data += piece
    except OSError:
        pass
    return data


class Hostile(unittest.TestCase):
    def setUp(self):
        self.server = Postrider(main="smtpd_client_connection_count_limit = 0\nsmtpd_error_sleep_time = 0\n")
        self.addCleanup(self.server.close)

    def connect(self, at: int = 0) -> socket.socket:
        sock = socket.socket()
        sock.bind((f"127.0.{1 + at // 200}.{1 + at % 200}", 0))
        sock.settimeout(PATIENCE)
        sock.connect(("127.0.0.1", self.server.ports["smtp"]))
        return sock

    def check_still_serves(self):
        before = len(self.server.maildir("demo"))
        self.server.send("a@source.example", ["demo@test.example"], "Subject: still\n\nhere\n")
        self.server.wait_mail("demo", before + 1)

    def test_binary_junk_is_answered_and_the_session_ended(self):
        chance = random.Random(1)
        for _ in range(20):
            with self.connect() as sock:
                try:
                    for _ in range(20):
                        sock.sendall(chance.randbytes(4096))
                    sock.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
                data = read_until_closed(sock)
                self.assertTrue(data == b"" or data.startswith(b"220 "), data[:80])
        self.check_still_serves()

    def test_a_line_of_ten_megabytes_costs_no_memory(self):
        pids = self.server.pids("smtpd")
        with self.connect() as sock:
            sock.recv(1000)
            before = pss_kb(pids)
            try:
                for _ in range(160):
                    sock.sendall(b"A" * 65536)
            except OSError:
                pass
            self.assertLess(pss_kb(pids) - before, 4096)
        self.check_still_serves()

    def test_an_endless_header_meets_the_size_limit(self):
        with Postrider(main="message_size_limit = 100000\n") as small, small.smtp() as session:
            session.mail("a@source.example")
            session.rcpt("demo@test.example")
            code, text = session.data(b"X-Long: " + b"y" * 500000 + b"\r\n\r\nbody\r\n")
            self.assertEqual(code, 552)
            self.assertIn(b"5.3.4", text)
            self.assertEqual(session.noop()[0], 250)

    def test_headers_without_end_are_refused(self):
        with Postrider() as server, server.smtp() as session:
            for start in (b"", b"From \r\n" * 10, b">From x\r\nFrom y\r\n"):
                session.mail("a@source.example")
                session.rcpt("demo@test.example")
                code, text = session.data(start + b"X-Line: and more of it\r\n" * 30000)
                self.assertEqual((code, text), (552, b"5.3.4 Error: message headers too long"))
            # No header at all is no header without end.
            server.send("a@source.example", ["demo@test.example"], "no header\n" + "x\n" * 400000)
            server.wait_mail("demo")

    def stop_inside_content(self, server, count: int, start: bytes, size: int) -> list:
        """Clients who send `size` bytes of content and then no more."""
        held = []
        line = b"x" * 998 + b"\r\n"
        for at in range(count):
            sock = socket.socket()
            sock.bind((f"127.0.{1 + at // 200}.{1 + at % 200}", 0))
            sock.settimeout(PATIENCE)
            sock.connect(("127.0.0.1", server.ports["smtp"]))
            held.append(sock)
            self.addCleanup(sock.close)
            sock.recv(1000)
            sock.sendall(b"EHLO slow.example\r\nMAIL FROM:<a@source.example>\r\nRCPT TO:<demo@test.example>\r\nDATA\r\n")
            answer = b""
            while b"354 " not in answer:
                answer += sock.recv(1000)
            sock.sendall(start + line * (size // len(line)))
        return held

    def check_stopped_clients_leave_memory(self, count: int, start: bytes, size: int, ends: list):
        main = "smtpd_client_connection_count_limit = 0\nsmtpd_forbid_unauth_pipelining = no\n"
        with Postrider(main=main) as server:
            held = self.stop_inside_content(server, count, start, size)
            for _ in range(8):
                # smtplib gives up sooner than the server would, were there no memory.
                with smtplib.SMTP("127.0.0.1", server.ports["smtp"], "quick.example", timeout=50) as session:
                    session.sendmail("a@source.example", ["b@test.example"], b"Subject: quick\r\n\r\n" + b"y\r\n" * 20000)
            server.wait_mail("b", 8)
            for sock in held[:3]:
                sock.sendall(b"\r\nlast line\r\n.\r\n")
                self.assertRegex(sock.recv(1000).decode(), "|".join(ends))
            return server.maildir("demo") if ends != ["^250 "] else server.wait_mail("demo", 3)

    def test_clients_that_stop_inside_large_mail_do_not_keep_the_memory(self):
        # Twice what both processes may use, if nothing moved.
        kept = self.check_stopped_clients_leave_memory(140, b"Subject: held\r\n\r\n", 1900000, ["^250 "])
        for message in kept:
            self.assertEqual(message.split(b"\n\n", 1)[1], (b"x" * 998 + b"\n") * 1900 + b"\nlast line\n")

    def test_many_clients_that_stop_inside_small_mail_do_not_keep_the_memory(self):
        self.check_stopped_clients_leave_memory(1500, b"Subject: held\r\n\r\n", 100000, ["^250 "])

    def test_clients_that_stop_inside_endless_headers_have_to_go(self):
        self.check_stopped_clients_leave_memory(400, b"Subject: held\r\n" + b"X: y\r\n" * 100 + b"X-Long: ", 400000,
                                                ["^250 ", r"^452 4\.3\.1 "])

    def flood(self, server, start: bytes, more: bytes) -> None:
        """Sends without end, and takes the answers, in the background."""
        sock = socket.create_connection(("127.0.0.1", server.ports["smtp"]), PATIENCE)
        self.addCleanup(sock.close)
        sock.sendall(start)

        def send():
            try:
                while True:
                    sock.sendall(more)
            except OSError:
                pass

        threads = [threading.Thread(target=send), threading.Thread(target=read_until_closed, args=[sock])]
        for thread in threads:
            thread.start()
            self.addCleanup(thread.join)
        self.addCleanup(sock.shutdown, socket.SHUT_RDWR)

    def test_others_have_their_turn_while_commands_and_content_flood_in(self):
        main = ("postrider_process_count = 1\nsmtpd_junk_command_limit = 1000000000\nsmtpd_forbid_unauth_pipelining = no\n"
                "message_size_limit = 10000\nsmtpd_client_connection_count_limit = 0\n")
        envelope = b"EHLO x\r\nMAIL FROM:<a@source.example>\r\nRCPT TO:<demo@test.example>\r\n"
        with Postrider(main=main) as server:
            self.flood(server, b"EHLO x\r\n", b"NOOP\r\n" * 50000)
            self.flood(server, envelope + b"DATA\r\n", (b"x" * 998 + b"\r\n") * 300)
            self.flood(server, envelope + b"BDAT 1000000000000\r\n", b"x" * 300000)
            self.flood(server, b"", b"x" * 300000)
            for _ in range(5):
                server.send("a@source.example", ["b@test.example"], "Subject: between\n\nhi\n")
            server.wait_mail("b", 5)
            self.doCleanups()

    def test_early_commands_inside_tls_do_not_change_the_one_before(self):
        with Postrider(main="smtpd_forbid_unauth_pipelining = no\nmynetworks =\n") as server:
            inside, outside = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = any_certificate().wrap_bio(inside, outside)
            with socket.create_connection(("127.0.0.1", server.ports["smtp"]), PATIENCE) as sock:
                sock.recv(1000)
                sock.sendall(b"STARTTLS\r\n")
                sock.recv(1000)
                while True:
                    try:
                        tls.do_handshake()
                        break
                    except ssl.SSLWantReadError:
                        sock.sendall(outside.read())
                        inside.write(sock.recv(65536))
                for line in (b"EHLO first.example\r\n", b"MAIL FROM:<a@source.example>\r\nRCPT TO:<b@far.example>\r\nQUIT\r\n"):
                    tls.write(line)
                # In one segment, so that the second record is there when the first is served.
                sock.sendall(outside.read())
                read_until_closed(sock)
            server.wait_log(r"NOQUEUE: reject: RCPT .* helo=<first\.example>$")

    def test_one_byte_at_a_time_is_served_too(self):
        with self.connect() as sock:
            sock.recv(1000)
            for byte in b"EHLO slow.example\r\n":
                sock.sendall(bytes([byte]))
                time.sleep(0.01)
            self.assertIn(b"250", sock.recv(1000))

    def test_a_client_slower_than_the_timeout_is_sent_away(self):
        with Postrider(main="smtpd_timeout = 2s\n") as server:
            with socket.create_connection(("127.0.0.1", server.ports["smtp"]), PATIENCE) as sock:
                sock.recv(1000)
                sock.sendall(b"EHLO")
                self.assertIn(b"421 4.4.2", read_until_closed(sock))

    def test_content_that_drips_meets_the_deadline(self):
        main = "smtpd_timeout = 3s\nsmtpd_per_request_deadline = yes\nsmtpd_forbid_unauth_pipelining = no\n"
        with Postrider(main=main) as server:
            for command in (b"DATA", b"BDAT 1000000"):
                with socket.create_connection(("127.0.0.1", server.ports["smtp"]), 30) as sock:
                    sock.sendall(b"EHLO x\r\nMAIL FROM:<a@source.example>\r\nRCPT TO:<demo@test.example>\r\n" + command + b"\r\n")
                    # Each byte comes in time, but all of them are too few.
                    for _ in range(100):
                        sock.sendall(b"x")
                        if b"421 4.4.2" in (sock.recv(4096) if select.select([sock], [], [], 0.5)[0] else b""):
                            break
                    else:
                        self.fail(f"{command} may take for ever")

    def test_content_that_keeps_up_with_the_least_rate_may_take_longer(self):
        main = "smtpd_timeout = 3s\nsmtpd_per_request_deadline = yes\nsmtpd_min_data_rate = 1\n"
        with Postrider(main=main) as server, server.smtp() as session:
            session.mail("a@source.example")
            session.rcpt("demo@test.example")
            session.docmd("DATA")
            for _ in range(10):
                session.send(b"slowly\r\n")
                time.sleep(0.5)
            self.assertEqual(session.docmd(".")[0], 250)

    def test_a_client_that_takes_no_answers_is_sent_away(self):
        main = ("smtpd_timeout = 2s\nsmtpd_junk_command_limit = 1000000\nsmtpd_forbid_unauth_pipelining = no\n"
                "smtpd_error_sleep_time = 0\n")
        with Postrider(main=main) as server, socket.socket() as sock:
            pids = server.pids("smtpd")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", server.ports["smtp"]))
            sock.sendall(b"EHLO deaf.example\r\n" * 40000)
            server.wait_log("timeout after EHLO from ")
            server.wait_log("disconnect from ")
            self.assertEqual(server.pids("smtpd"), pids)

    def test_half_closed_sockets_end_their_sessions(self):
        for _ in range(200):
            with self.connect() as sock:
                sock.sendall(b"EHLO half.example\r\n")
                sock.shutdown(socket.SHUT_WR)
                read_until_closed(sock)
        self.server.wait_log(r"lost connection after \w+ from", 1)
        self.check_still_serves()

    def test_ten_thousand_connections_at_once_are_served(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 11000), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        count = min(10000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1000)
        before = pss_kb(self.server.pids("smtpd"))
        held = [self.connect(at) for at in range(count)]
        try:
            greeted = self.count_greetings(held)
            self.assertEqual(greeted, count)
            if not is_sanitized():
                self.assertLess((pss_kb(self.server.pids("smtpd")) - before) / count, 64, "KB a connection")
            self.check_still_serves()
        finally:
            for sock in held:
                sock.close()
        wait_until(lambda: self.server.log_text().count("disconnect from") >= count, "the end of all sessions")

    def count_greetings(self, held: list) -> int:
        by_fd = {sock.fileno(): sock for sock in held}
        greeted, deadline = 0, time.monotonic() + 120
        with select.epoll() as poll:
            for fd in by_fd:
                poll.register(fd, select.EPOLLIN)
            while greeted < len(held) and time.monotonic() < deadline:
                for fd, _ in poll.poll(1):
                    greeted += by_fd[fd].recv(1000).startswith(b"220 ")
                    poll.unregister(fd)
        return greeted


if __name__ == "__main__":
    unittest.main()
