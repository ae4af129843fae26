# SPDX-License-Identifier: Apache-2.0
"""SMTP dialogues as text files, TOPIC/name.txt, each spoken with a running server.

    # what it shows
    main: PARAMETER = VALUE     settings, any number; files with the same settings share a server
    port: submission            the service to connect to (smtp, submission, submissions)
    ---                         a further connection; the first opens by itself and reads the greeting
    C: a line, sent with CRLF   \\xNN \\r \\n \\t \\\\ are bytes; then a whole reply is read
    R: bytes as they stand      no CRLF added, no answer awaited
    <:                          reads one reply
    S: a line of that reply     as it stands, or /a pattern/; "S: ..." passes over the rest of the reply
    S: closed                   the server has hung up
    TLS:                        the handshake
    CLOSE:                      hangs up
    ALSO:                       a further connection beside the others, which stay open
    LOG: pattern                stands in the log in the end
    NOLOG: pattern              does not
    REPEAT n: C or R line       sent n times without reading
"""

import atexit
import codecs
import re
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
sys.path.insert(0, str(HERE.parent / "differential"))
import postrider  # noqa: E402
import talk  # noqa: E402

servers: dict = {}


def server_for(main: str) -> postrider.Postrider:
    if main not in servers:
        servers[main] = postrider.Postrider(main=main)
    return servers[main]


def close_servers() -> None:
    while servers:
        servers.popitem()[1].close()


atexit.register(close_servers)


def unescape(text: str) -> bytes:
    return codecs.escape_decode(text.encode())[0]


class Dialogue:
    """One file being spoken."""

    def __init__(self, test: unittest.TestCase, path: Path):
        self.test, self.path = test, path
        self.lines = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
        self.main = "\n".join(line[6:] for line in self.lines if line.startswith("main: "))
        self.port = next((line[6:].strip() for line in self.lines if line.startswith("port: ")), "smtp")
        self.connection = None
        self.others: list = []
        self.pending: list = []
        self.said = ""

    def fail(self, why: str) -> None:
        self.test.fail(f"{self.path.relative_to(HERE)}: after {self.said!r}: {why}")

    def read_reply(self) -> None:
        if self.pending:
            self.fail(f"not looked at: {self.pending}")
        self.pending = self.connection.reply()

    def expect(self, want: str) -> None:
        if want == "...":
            self.pending = []
            return
        if not self.pending:
            self.pending = self.connection.reply()
        got = self.pending.pop(0)
        is_pattern = len(want) > 1 and want[0] == want[-1] == "/"
        if got != want and not (is_pattern and re.fullmatch(want[1:-1], got)):
            self.fail(f"{got!r} instead of {want!r}")

    def connect(self, keeps_others: bool = False) -> None:
        if self.connection and keeps_others:
            self.others.append(self.connection)
        elif self.connection:
            self.connection.close()
        self.pending = []
        self.connection = talk.Connection(self.server.ports[self.port])
        if self.port == "submissions":
            self.connection.start_tls()

    def step(self, line: str) -> None:
        word, _, text = line.partition(":")
        text = text[1:] if text.startswith(" ") else text
        count = 1
        if word.startswith("REPEAT "):
            count, line = int(word[7:]), text
            word, text = text[0], text[3:]
        if line.startswith("---"):
            self.connect()
        elif word == "ALSO":
            self.connect(keeps_others=True)
        elif word in ("C", "R"):
            self.said = line
            data = unescape(text) + (b"\r\n" if word == "C" else b"")
            if word == "C" and self.pending:
                self.fail(f"not looked at: {self.pending}")
            self.connection.send(data * count)
        elif word == "S":
            self.expect(text)
        elif word == "<":
            self.read_reply()
        elif word == "TLS":
            self.test.assertEqual(self.connection.start_tls(), "handshake")
        elif word == "CLOSE":
            self.connection.close()
            self.connection = None
        elif word == "LOG":
            self.server.wait_log(text)
        elif word == "NOLOG":
            self.test.assertNotRegex(self.server.log_text(), text)
        elif word not in ("main", "port"):
            self.fail(f"what is {line!r}?")

    def speak(self) -> None:
        self.server = server_for(self.main)
        try:
            self.connect()
            for line in self.lines:
                self.step(line)
            if self.pending:
                self.fail(f"not looked at: {self.pending}")
        finally:
            for connection in self.others + [self.connection]:
                if connection:
                    connection.close()


class DialogueTest(unittest.TestCase):
    @classmethod
    def tearDownClass(cls) -> None:
        close_servers()


def add_tests() -> None:
    paths = sorted(HERE.glob("*/*.txt"))
    for path in paths:
        name = "test_" + re.sub(r"\W", "_", f"{path.parent.name}_{path.stem}")
        setattr(DialogueTest, name, lambda self, path=path: Dialogue(self, path).speak())


add_tests()

if __name__ == "__main__":
    unittest.main()
