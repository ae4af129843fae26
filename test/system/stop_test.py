# SPDX-License-Identifier: Apache-2.0
"""`postfix stop` while mail is on its way out."""

import contextlib
import os
import pwd
import signal
import socket
import threading
import time
import unittest

from postrider import IS_ROOT, PATIENCE, Postrider, is_alive, read_content, wait_until

USER = "games" if IS_ROOT else pwd.getpwuid(os.geteuid()).pw_name
MESSAGE = "From: a@far.example\nSubject: hello\n\nFrom the start.\n"
STOP_PATIENCE = 5


class SilentHost:
    """Takes mail on 127.0.0.2. Up to wake() it does not answer `verb`, which is DATA or the dot behind the content."""

    def __init__(self, verb: str):
        self.messages = []
        self.is_asked = threading.Event()
        self._verb, self._is_awake = verb.encode(), threading.Event()
        self._socket = socket.create_server(("127.0.0.2", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> "SilentHost":
        return self

    def __exit__(self, *_) -> None:
        self.wake()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def wake(self) -> None:
        self._is_awake.set()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._socket.accept()
                threading.Thread(target=self._converse, args=(sock,), daemon=True).start()

    def _wait_at(self, verb: bytes) -> None:
        if verb == self._verb:
            self.is_asked.set()
            self._is_awake.wait()

    def _converse(self, sock) -> None:
        with contextlib.suppress(OSError), sock:
            lines = sock.makefile("rwb")
            lines.write(b"220 mx.far.example\r\n")
            lines.flush()
            while line := lines.readline():
                verb = line.split()[0].upper()
                self._wait_at(verb)
                if verb == b"DATA":
                    lines.write(b"354 go on\r\n")
                    lines.flush()
                    self.messages.append(read_content(lines))
                    self._wait_at(b".")
                lines.write(b"250 Ok\r\n")
                lines.flush()


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
