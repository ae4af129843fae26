# SPDX-License-Identifier: Apache-2.0
"""Speaks one side of an SMTP dialogue and writes down what the server answers.

A case is a text file:

    # what it shows
    main: PARAMETER = VALUE        (settings, any number)
    --- a second connection starts here
    C: a command line, sent with CRLF; \\xNN \\r \\n \\t \\\\ are bytes
    R: bytes as they stand, no CRLF added, no answer awaited
    <: waits for one reply (after R:)
    TLS: handshake (after a 220 to STARTTLS)
    EOF: closes our side, then reads to the end

Each C: line waits for its reply; so does the start of a connection, for the greeting.
"""

import codecs
import re
import socket
import ssl
from pathlib import Path

TIMEOUT = 60


class Case:
    def __init__(self, path: Path):
        self.name = path.stem
        self.main, self.steps = [], []
        for line in path.read_text().splitlines():
            if not line.strip() or line.startswith("#"):
                continue
            if line.startswith("---"):
                self.steps.append(("connect", b""))
                continue
            word, _, text = line.partition(":")
            text = text[1:] if text.startswith(" ") else text
            if word == "main":
                self.main.append(text)
            elif word in ("C", "R", "<", "TLS", "EOF"):
                self.steps.append((word, codecs.escape_decode(text.encode())[0]))
            else:
                raise ValueError(f"{path}: what is {line!r}?")
        if self.steps and self.steps[0][0] != "connect":
            self.steps.insert(0, ("connect", b""))

    def settings(self) -> str:
        return "\n".join(self.main)


class Connection:
    def __init__(self, port: int):
        self._sock = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self._data = b""

    def reply(self) -> list[str]:
        """The lines of one reply; "closed" when the server has gone."""
        lines = []
        while True:
            while b"\n" not in self._data:
                try:
                    piece = self._sock.recv(65536)
                except ConnectionResetError:
                    piece = b""
                except socket.timeout:
                    return lines + ["no answer"]
                if not piece:
                    return lines + ["closed"]
                self._data += piece
            line, self._data = self._data.split(b"\n", 1)
            lines.append(line.decode("utf-8", "replace").rstrip("\r"))
            if lines[-1][3:4] != "-":
                return lines

    def send(self, data: bytes) -> None:
        try:
            self._sock.sendall(data)
        except OSError:
            pass

    def start_tls(self) -> str:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            self._sock = context.wrap_socket(self._sock)
        except (ssl.SSLError, OSError) as error:
            return f"no handshake: {type(error).__name__}"
        return "handshake"

    def close(self) -> None:
        self._sock.close()


def normal(line: str) -> str:
    """Without what legitimately differs: queue ids, the address of our end."""
    line = re.sub(r"queued as \w+", "queued as ID", line)
    return re.sub(r"Ok: \d+ bytes", "Ok: N bytes", line)


def run(case: Case, port: int) -> list[str]:
    """The transcript: commands and normalised replies."""
    said, connection = [], None
    try:
        for kind, data in case.steps:
            if kind == "connect":
                if connection:
                    connection.close()
                connection = Connection(port)
                said.append("(connect)")
            elif kind == "C":
                said.append("C: " + data.decode("utf-8", "replace")[:200])
                connection.send(data + b"\r\n")
            elif kind == "R":
                said.append(f"R: {len(data)} bytes")
                connection.send(data)
                continue
            elif kind == "TLS":
                said.append(connection.start_tls())
                continue
            elif kind == "EOF":
                connection.close()
                connection = None
                continue
            said += ["S: " + normal(line) for line in connection.reply()]
    finally:
        if connection:
            connection.close()
    return said
