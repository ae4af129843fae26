# SPDX-License-Identifier: Apache-2.0
"""Limits a client are counted by all smtpd processes together, and nothing stays counted of one that has gone."""

import os
import selectors
import signal
import socket
import unittest

from postrider import PATIENCE, Postrider, wait_until

MAIN = "postrider_process_count = 2\nsmtpd_client_event_limit_exceptions =\n"


class ClientLimits(unittest.TestCase):
    def burst(self, server: Postrider, count: int) -> list[tuple[socket.socket, bytes]]:
        """So many connections at once; each with its first answer."""
        socks = []
        for _ in range(count):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", server.ports["smtp"]))
            self.addCleanup(sock.close)
            socks.append(sock)
        answered = []
        with selectors.DefaultSelector() as waiting:
            for sock in socks:
                waiting.register(sock, selectors.EVENT_READ)
            while waiting.get_map():
                ready = waiting.select(PATIENCE)
                self.assertTrue(ready, "no answer")
                for key, _ in ready:
                    answered.append((key.fileobj, key.fileobj.recv(1000)))
                    waiting.unregister(key.fileobj)
        return answered

    def welcome(self, answered: list) -> list[socket.socket]:
        for _, answer in answered:
            self.assertRegex(answer.decode(), r"^(220 |421 4\.7\.0 mx\.test\.example Error: too many connections from 127)")
        return [sock for sock, answer in answered if answer.startswith(b"220 ")]

    def places(self, server: Postrider, count: int) -> int:
        """How many of so many connections are welcome; none stays."""
        answered = self.burst(server, count)
        for sock, _ in answered:
            sock.close()
        return len(self.welcome(answered))

    def fill(self, server: Postrider, limit: int) -> list[socket.socket]:
        """Exactly `limit` connections stay, half of them in each process."""
        held: list[socket.socket] = []

        def have(count: int) -> bool:
            held.extend(self.welcome(self.burst(server, count - len(held))))
            return len(held) == count
        first, second = server.pids("smtpd")
        for pid, count in (first, limit // 2), (second, limit):
            with server.only("smtpd", pid):
                wait_until(lambda count=count: have(count), f"{count} places")
        self.assertEqual(self.welcome(self.burst(server, 2 * limit)), [])
        return held

    def test_two_processes_count_connections_together(self):
        with Postrider(main=MAIN + "smtpd_client_connection_count_limit = 40\n") as server:
            self.assertEqual(self.places(server, 400), 40)
            held = self.fill(server, 40)
            for sock in held[:7]:
                sock.close()
            wait_until(lambda: self.places(server, 20) == 7, "their places")
            server.wait_log(r"warning: Connection concurrency limit exceeded: \d+ from \S+\[127\.0\.0\.1\] for service \d+")

    def test_connections_of_a_killed_process_are_given_back(self):
        with Postrider(main=MAIN + "smtpd_client_connection_count_limit = 40\n") as server:
            self.fill(server, 40)
            for victim in server.pids("smtpd"):
                os.kill(victim, signal.SIGKILL)
                wait_until(lambda: victim not in server.pids("smtpd") and len(server.pids("smtpd")) == 2, "another smtpd")
            # Both that held connections are gone, so all places are free again, and no more than those.
            wait_until(lambda: self.places(server, 80) == 40, "all places")

    def test_rates_hold_over_a_reload(self):
        with Postrider(main=MAIN + "smtpd_client_message_rate_limit = 3\n") as server:
            codes = []
            for turn in range(6):
                if turn == 2:
                    self.assertEqual(server.reload().returncode, 0)
                with server.smtp() as session:
                    codes.append(session.mail("a@sender.example")[0])
            self.assertEqual(codes, [250, 250, 250, 450, 450, 450])


if __name__ == "__main__":
    unittest.main()
