# SPDX-License-Identifier: Apache-2.0
"""`postfix stop` while mail is on its way out."""

import os
import pwd
import signal
import threading
import time
import unittest

from mail_host import MailHost, Session
from postrider import IS_ROOT, PATIENCE, Postrider, is_alive, wait_until

USER = "games" if IS_ROOT else pwd.getpwuid(os.geteuid()).pw_name
MESSAGE = "From: a@far.example\nSubject: hello\n\nFrom the start.\n"
STOP_PATIENCE = 5


class SilentHost(MailHost):
    """Up to wake() it does not answer `verb`, which is DATA or the dot behind the content."""

    name = "mx.far.example"

    def __init__(self, verb: str):
        self.messages = []
        self.is_asked = threading.Event()
        self._verb, self._is_awake = verb.encode(), threading.Event()
        super().__init__("127.0.0.2")

    def close(self) -> None:
        self.wake()
        super().close()

    def wake(self) -> None:
        self._is_awake.set()

    def _wait_at(self, verb: bytes) -> None:
        if verb == self._verb:
            self.is_asked.set()
            self._is_awake.wait()

    def keywords(self, session: Session) -> list[str]:
        return []

    def heard_line(self, session: Session, line: bytes) -> None:
        self._wait_at(line.strip())

    def took(self, session: Session, content: bytes) -> None:
        self.messages.append(content)
        self._wait_at(b".")


def relay_to(host: SilentHost) -> Postrider:
    server = Postrider(main=f"relayhost = [127.0.0.2]:{host.port}\n")
    try:
        server.send("a@far.example", ["b@elsewhere.example"], MESSAGE)
        if not host.is_asked.wait(PATIENCE):
            raise AssertionError("nothing came")
    except BaseException:
        server.close()
        raise
    return server


class Stop(unittest.TestCase):
    def test_mail_to_a_host_that_says_nothing_waits_for_the_next_start(self):
        with SilentHost("DATA") as host, relay_to(host) as server:
            self.assertEqual(server.stop().returncode, 0)
            self.assertNotIn("did not finish", server.log_text())
            self.assertNotIn("status=", server.log_text())
            host.wake()
            server.start()
            server.wait_log("relay=127.0.0.2.*status=sent")
            self.assertEqual(len(host.messages), 1)

    def test_an_answer_that_a_host_owes_is_waited_for(self):
        with SilentHost(".") as host, relay_to(host) as server:
            os.kill(server.master_pid(), signal.SIGTERM)
            time.sleep(STOP_PATIENCE + 1)
            host.wake()
            wait_until(lambda: not server.master_pid(), "the end of the server")
            self.assertRegex(server.log_text(), "relay=127.0.0.2.*status=sent")
            server.start()
            self.assertIn("Mail queue is empty", server.run("postqueue", "-p").stdout)
            self.assertEqual(len(host.messages), 1)

    def test_a_command_that_takes_long_is_ended_and_runs_again(self):
        main = "transport_maps = inline:{ pipe.example=feed: }\nrelay_domains = pipe.example\n"
        with Postrider(main=main, start=False) as server:
            out = server.folder / "out"
            out.mkdir()
            out.chmod(0o1777)
            with open(server.etc / "master.cf", "a", encoding="utf-8") as f:
                f.write(f"feed unix - n n - - pipe user={USER} argv=/bin/sh -c {{echo $$$$ > {out}/new; mv {out}/new {out}/pid; exec sleep 1000}}\n")
            pid = out / "pid"
            server.start()
            server.send("a@far.example", ["bob@pipe.example"], MESSAGE)
            wait_until(pid.exists, "the command")
            first = pid.read_text().strip()
            self.assertEqual(server.stop().returncode, 0)
            self.assertNotIn("did not finish", server.log_text())
            wait_until(lambda: not is_alive(int(first)), "the end of the command")
            server.start()
            wait_until(lambda: pid.read_text().strip() != first, "the command again")


if __name__ == "__main__":
    unittest.main()
