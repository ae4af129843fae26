# SPDX-License-Identifier: Apache-2.0
"""Limits a client are counted by all smtpd processes together, and nothing stays counted of one that has gone."""

import os
import re
import selectors
import signal
import socket
import unittest

from postrider import Postrider, wait_until

MAIN = "postrider_process_count = 2\nsmtpd_client_event_limit_exceptions =\n"


class ClientLimits(unittest.TestCase):
    def burst(self, server: Postrider, count: int) -> list[tuple[socket.socket, bytes]]:
        """So many connections at once, so that both processes get some; each with its first answer."""
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
                for key, _ in waiting.select():
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

    def servers_of(self, server: Postrider) -> set[int]:
        return {int(pid) for pid in re.findall(r"smtpd\[(\d+)\]: connect from", server.log_text())}

    def fill(self, server: Postrider, limit: int) -> list[socket.socket]:
        """Exactly `limit` connections stay, served by both processes."""
        # The second process takes what the first one is too busy for.
        for turn in range(1, 41):
            held = self.welcome(self.burst(server, min(8 * turn, 20) * limit))
            self.assertEqual(len(held), limit)
            if len(self.servers_of(server)) == 2:
                return held
            for sock in held:
                sock.close()
            self.wait_free(server)
        raise AssertionError("one process served all")

    def wait_free(self, server: Postrider) -> None:
        def is_quiet():
            log = server.log_text()
            return len(re.findall(r": connect from", log)) == len(re.findall(r": disconnect from", log))
        wait_until(is_quiet, "the end of all sessions")

    def test_two_processes_count_connections_together(self):
        with Postrider(main=MAIN + "smtpd_client_connection_count_limit = 40\n") as server:
            held = self.fill(server, 40)
            self.assertEqual(self.welcome(self.burst(server, 10)), [])
            for sock in held[:7]:
                sock.close()
            wait_until(lambda: self.places(server, 20) == 7, "their places")
            server.wait_log(r"warning: Connection concurrency limit exceeded: \d+ from \S+\[127\.0\.0\.1\] for service \d+")

    def test_connections_of_a_killed_process_are_given_back(self):
        with Postrider(main=MAIN + "smtpd_client_connection_count_limit = 40\n") as server:
            self.fill(server, 40)
            for _ in range(2):
                victim = server.pids("smtpd")[0]
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
