# SPDX-License-Identifier: Apache-2.0
"""A server that takes all mail: what next hops of tests have in common. Each kind says what it does otherwise."""

import contextlib
import socket
import ssl
import threading
from pathlib import Path

from postrider import read_content


def server_context(chain: Path, key: Path | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return context


class Session:
    """One connection and what has been said on it."""

    def __init__(self, sock: socket.socket):
        self.opened = contextlib.ExitStack()
        self.is_encrypted = False
        self.mail = ""  # the MAIL command
        self.recipients = []
        self.use(sock)

    def use(self, sock: socket.socket) -> None:
        self.sock = self.opened.enter_context(sock)
        self.lines = self.opened.enter_context(sock.makefile("rwb"))

    def say(self, text: str) -> None:
        self.lines.write(text.encode() + b"\r\n")
        self.lines.flush()

    def say_keywords(self, words: list[str]) -> None:
        self.say("\r\n".join(f"250{'-' if at + 1 < len(words) else ' '}{word}" for at, word in enumerate(words)))


class MailHost:
    """On address and port. STARTTLS is offered when there is a context. Unless `is_up`, clients are refused until up()."""

    name = "mail.host.example"

    def __init__(self, address: str, port: int = 0, context: ssl.SSLContext | None = None, is_up: bool = True):
        self.context = context
        self._socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        # With it another test might be given the port while nobody listens here.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, is_up)
        self._socket.bind((address, port))
        self.port = self._socket.getsockname()[1]
        if is_up:
            self.up()

    def up(self):
        self._socket.listen()
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        # The thread that waits in accept() would keep the socket open.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    # --- what kinds of hosts do in their own way ---

    def begin(self, session: Session) -> None:
        """Before the greeting."""

    def heard_line(self, session: Session, line: bytes) -> None:
        """Every command, before it is answered."""

    def keywords(self, session: Session) -> list[str]:
        return ["STARTTLS", "PIPELINING"] if self.context and not session.is_encrypted else ["PIPELINING"]

    def greet(self, session: Session) -> bool:
        """The answer to EHLO. False ends the session."""
        session.say_keywords([self.name, *self.keywords(session)])
        return True

    def start_tls(self, session: Session) -> bool:
        """The answer to STARTTLS and the handshake. False ends the session."""
        session.say("220 go ahead")
        self.handshake(session)
        return True

    def judge(self, recipient: str) -> str:
        """The answer to RCPT."""
        return "250 2.1.5 Ok"

    def took(self, session: Session, content: bytes) -> None:
        """A whole message, before it is answered."""

    # --- the conversation ---

    def handshake(self, session: Session) -> None:
        session.use(self.context.wrap_socket(session.sock, server_side=True))
        session.is_encrypted = True

    def break_handshake(self, session: Session) -> bool:
        """An answer to STARTTLS that ends the session."""
        session.say("220 go ahead")
        session.sock.recv(1)  # what comes before the client speaks is another fault
        session.sock.sendall(b"this is no handshake\r\n")
        return False

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._guarded, args=(sock,), daemon=True).start()

    def _guarded(self, sock: socket.socket) -> None:
        # Clients hang up in the middle of things: that is what many tests are about.
        with contextlib.suppress(OSError, ValueError):
            session = Session(sock)
            with session.opened:
                self._converse(session)

    def _converse(self, session: Session) -> None:
        self.begin(session)
        session.say(f"220 {self.name} ESMTP")
        while line := session.lines.readline():
            self.heard_line(session, line)
            if not self.answer(session, line):
                return

    def answer(self, session: Session, line: bytes) -> bool:
        """To one command. False ends the session."""
        verb = line.split()[0].upper() if line.split() else b""
        if verb in (b"EHLO", b"LHLO"):
            return self.greet(session)
        if verb == b"STARTTLS":
            return self.start_tls(session)
        if verb == b"QUIT":
            session.say("221 bye")
            return False
        if verb == b"RCPT":
            self._add(session, line.decode().split("<")[1].split(">")[0])
        elif verb == b"DATA":
            self._take(session)
        else:
            if verb == b"MAIL":
                session.mail, session.recipients = line.decode().strip(), []
            session.say("250 2.0.0 Ok")
        return True

    def _add(self, session: Session, recipient: str) -> None:
        answer = self.judge(recipient)
        if answer.startswith("2"):
            session.recipients.append(recipient)
        session.say(answer)

    def _take(self, session: Session) -> None:
        if not session.recipients:
            session.say("554 5.5.1 no recipients")
            return
        session.say("354 go on")
        self.took(session, read_content(session.lines))
        session.say("250 2.0.0 Ok: kept")
