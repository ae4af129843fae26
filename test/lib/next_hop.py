# SPDX-License-Identifier: Apache-2.0
"""Next hops on 127.0.0.2 that do one thing wrong, or nothing: what a client does about it is the test."""

import base64
import threading
from pathlib import Path

from certificates import Authority, alt_names
from mail_host import MailHost, Session, server_context
from postrider import make_certificate

NAME = "mx.far.example"


class NextHop(MailHost):
    """`certificate` names a file of `folder` without ".pem"; `fault` is one of those below."""

    FAULTS = ("", "no-offer", "stripped", "refused", "refused-for-good", "broken", "smuggled", "silent-auth", "wrapper", "hangs-up", "early",
              "hangs-up-at-end", "silent-at-end")
    name = NAME

    def __init__(self, folder: Path | None = None, certificate: str = "good", fault: str = "", more: tuple = (), bits8: bool = True,
                 tokens: set | None = None):
        assert fault in self.FAULTS
        self.messages = []  # (was it encrypted, content)
        self.heard = []  # (was it encrypted, line)
        self.resumed = []  # of each handshake
        self.shown = []  # the client's certificate in each
        self.tokens = tokens  # that may log in by XOAUTH2; None: whoever says AUTH
        self.tried_tokens = []
        self.go_on = threading.Event()  # ends the silence of silent-at-end
        self._fault = fault
        self._more = more + (("8BITMIME",) if bits8 else ())
        context = server_context(folder / f"{certificate}.pem", folder / "key.pem") if folder else None
        super().__init__("127.0.0.2", context=context)

    def clear_mail(self) -> list[bytes]:
        """Whatever of a message came outside TLS."""
        return [content for is_encrypted, content in self.messages if not is_encrypted] + [
            line for is_encrypted, line in self.heard if not is_encrypted and line.upper().startswith((b"MAIL", b"RCPT", b"AUTH"))]

    def begin(self, session: Session) -> None:
        if self._fault == "wrapper":
            self.handshake(session)

    def handshake(self, session: Session) -> None:
        super().handshake(session)
        self.resumed.append(session.sock.session_reused)
        self.shown.append(session.sock.getpeercert(True))

    def heard_line(self, session: Session, line: bytes) -> None:
        self.heard.append((session.is_encrypted, line))

    def keywords(self, session: Session) -> list[str]:
        offers = (self.context or self._fault == "broken") and not session.is_encrypted and self._fault != "no-offer"
        start_tls = ("XXXXXXXA" if self._fault == "stripped" else "STARTTLS",) if offers else ()
        is_silent = self._fault == "silent-auth" and session.is_encrypted
        return ["PIPELINING", *start_tls, *(word for word in self._more if not (is_silent and word.startswith("AUTH")))]

    def greet(self, session: Session) -> bool:
        if self._fault == "hangs-up" and session.is_encrypted:
            return False
        words = [self.name, *self.keywords(session)]
        if self._fault == "early" and session.is_encrypted:
            words[-1] += "\r\n250 2.0.0 Ok: nobody said that"
        session.say_keywords(words)
        return True

    def start_tls(self, session: Session) -> bool:
        refusals = {"no-offer": "502 5.5.1 what?", "stripped": "502 5.5.1 what?", "refused": "454 4.7.0 TLS not available due to temporary reason",
                    "refused-for-good": "501 5.5.4 no TLS for you"}
        if self._fault in refusals:
            session.say(refusals[self._fault])
            return True
        if self._fault == "broken":
            return self.break_handshake(session)
        session.say("220 2.0.0 ready" + ("\r\n250-injected\r\n250 AUTH PLAIN" if self._fault == "smuggled" else ""))
        self.handshake(session)
        return True

    def answer(self, session: Session, line: bytes) -> bool:
        if self.tokens is None or not line.upper().startswith(b"AUTH "):
            return super().answer(session, line)
        token = base64.b64decode(line.split()[2]).decode().partition("Bearer ")[2].rstrip("\x01")
        self.tried_tokens.append(token)
        if token in self.tokens:
            session.say("235 2.7.0 welcome")
        else:
            session.say("334 " + base64.b64encode(b'{"status": "400"}').decode())
            self.heard.append((session.is_encrypted, session.lines.readline()))
            session.say("535 5.7.8 bad token")
        return True

    def took(self, session: Session, content: bytes) -> None:
        self.messages.append((session.is_encrypted, content))
        if self._fault == "hangs-up-at-end":
            raise ConnectionAbortedError("as was asked for")
        if self._fault == "silent-at-end":
            self.go_on.wait(60)


def make_authority(folder: Path) -> None:
    """Two authorities in ca.pem and strange.pem; of one key, key.pem: good.pem, expired.pem, wrong.pem (another name), wild.pem,
    other.pem (of the strange authority), self.pem and cert.pem (signed by itself)."""
    ca, strange = (Authority(folder, name, subject=f"/CN=Test Authority {name}") for name in ("ca", "strange"))
    make_certificate(folder, NAME)
    (folder / "self.pem").write_bytes((folder / "cert.pem").read_bytes())
    for name, host, authority in (("good", NAME, ca), ("expired", NAME, ca), ("wrong", "mx.wrong.example", ca),
                                  ("wild", "*.far.example", ca), ("other", NAME, strange)):
        authority.sign(name, alt_names(host), f"/CN={host}", expired=name == "expired", key=("-key", str(folder / "key.pem"), "-nodes"))
