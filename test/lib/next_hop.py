# SPDX-License-Identifier: Apache-2.0
"""Next hops on 127.0.0.2 that do one thing wrong, or nothing: what a client does about it is the test."""

import base64
import contextlib
import hashlib
import socket
import ssl
import subprocess
import threading
from pathlib import Path

from postrider import make_certificate, read_content

NAME = "mx.far.example"


class NextHop:
    """Takes mail. `certificate` names a file of `folder` without ".pem"; `fault` is one of those below."""

    FAULTS = ("", "no-offer", "stripped", "refused", "refused-for-good", "broken", "smuggled", "silent-auth", "wrapper", "hangs-up", "early", "hangs-up-at-end",
              "silent-at-end")

    def __init__(self, folder: Path | None = None, certificate: str = "", fault: str = "", more: tuple = (), bits8: bool = True,
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
        self._context = None
        if folder:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(folder / f"{certificate or 'good'}.pem", folder / "key.pem")
        self._socket = socket.create_server(("127.0.0.2", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> "NextHop":
        return self

    def __exit__(self, *_) -> None:
        # The thread that waits in accept() would keep the socket open.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    @property
    def context(self) -> ssl.SSLContext:
        return self._context

    def clear_mail(self) -> list[bytes]:
        """Whatever of a message came outside TLS."""
        return [content for is_encrypted, content in self.messages if not is_encrypted] + [
            line for is_encrypted, line in self.heard if not is_encrypted and line.upper().startswith((b"MAIL", b"RCPT", b"AUTH"))]

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._guarded, args=(sock,), daemon=True).start()

    def _guarded(self, sock) -> None:
        # Clients hang up in the middle of things: that is what many tests are about.
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError, ValueError):
            self._converse(stack.enter_context(contextlib.closing(sock)), stack)

    def _start_tls(self, sock):
        if self._fault == "refused":
            sock.sendall(b"454 4.7.0 TLS not available due to temporary reason\r\n")
            return None
        if self._fault == "refused-for-good":
            sock.sendall(b"501 5.5.4 no TLS for you\r\n")
            return None
        sock.sendall(b"220 2.0.0 ready\r\n" + (b"250-injected\r\n250 AUTH PLAIN\r\n" if self._fault == "smuggled" else b""))
        if self._fault == "broken":
            sock.sendall(b"this is no handshake\r\n")
            sock.close()
            raise OSError("hung up")
        return self._handshake(sock)

    def _handshake(self, sock) -> ssl.SSLSocket:
        secure = self._context.wrap_socket(sock, server_side=True)
        self.resumed.append(secure.session_reused)
        self.shown.append(secure.getpeercert(True))
        return secure

    def _extensions(self, is_encrypted: bool) -> list[str]:
        offers = (self._context is not None or self._fault == "broken") and not is_encrypted and self._fault != "no-offer"
        start_tls = ("XXXXXXXA" if self._fault == "stripped" else "STARTTLS",) if offers else ()
        more = tuple(word for word in self._more if not (self._fault == "silent-auth" and is_encrypted and word.startswith("AUTH")))
        return ["PIPELINING", *start_tls, *more]

    def _converse(self, sock, stack: contextlib.ExitStack) -> None:
        is_encrypted = self._fault == "wrapper"
        if is_encrypted:
            sock = stack.enter_context(contextlib.closing(self._handshake(sock)))
        lines = sock.makefile("rwb")

        def say(text: str) -> None:
            lines.write(text.encode() + b"\r\n")
            lines.flush()

        say(f"220 {NAME} ESMTP")
        while line := lines.readline():
            self.heard.append((is_encrypted, line))
            verb = line.split()[0].upper() if line.split() else b""
            if verb in (b"EHLO", b"LHLO"):
                words = self._extensions(is_encrypted)
                if self._fault == "hangs-up" and is_encrypted:
                    break
                say(f"250-{NAME}\r\n" + "\r\n".join(f"250{'-' if at + 1 < len(words) else ' '}{word}" for at, word in enumerate(words)) +
                    ("\r\n250 2.0.0 Ok: nobody said that" if self._fault == "early" and is_encrypted else ""))
            elif verb == b"STARTTLS" and self._fault not in ("no-offer", "stripped"):
                secure = self._start_tls(sock)
                if secure:
                    sock, lines, is_encrypted = stack.enter_context(contextlib.closing(secure)), secure.makefile("rwb"), True
            elif verb == b"STARTTLS":
                say("502 5.5.1 what?")
            elif verb == b"AUTH" and self.tokens is not None:
                token = base64.b64decode(line.split()[2]).decode().partition("Bearer ")[2].rstrip("\x01")
                self.tried_tokens.append(token)
                if token in self.tokens:
                    say("235 2.7.0 welcome")
                else:
                    say("334 " + base64.b64encode(b'{"status": "400"}').decode())
                    self.heard.append((is_encrypted, lines.readline()))
                    say("535 5.7.8 bad token")
            elif verb == b"DATA":
                say("354 go on")
                content = read_content(lines)
                self.messages.append((is_encrypted, content))
                if self._fault == "hangs-up-at-end":
                    break
                if self._fault == "silent-at-end":
                    self.go_on.wait(60)
                say("250 2.0.0 Ok: kept")
            elif verb == b"QUIT":
                say("221 bye")
                break
            else:
                say("250 2.1.0 Ok")


def make_authority(folder: Path) -> None:
    """Two authorities in ca.pem and strange.pem; of one key: good.pem, expired.pem, wrong.pem (another name), wild.pem,
    other.pem (of the strange authority), self.pem (signed by itself)."""
    def run(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    for name in ("ca", "strange"):
        run("req", "-x509", *new_key, "-days", "30", "-subj", f"/CN=Test Authority {name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")
    make_certificate(folder, NAME)
    (folder / "self.pem").write_bytes((folder / "cert.pem").read_bytes())
    for name, host, days, issuer in (("good", NAME, "30", "ca"), ("expired", NAME, "-1", "ca"), ("wrong", "mx.wrong.example", "30", "ca"),
                                     ("wild", "*.far.example", "30", "ca"), ("other", NAME, "30", "strange")):
        (folder / "names").write_text(f"subjectAltName=DNS:{host}\n")
        run("req", "-new", "-key", "key.pem", "-subj", f"/CN={host}", "-out", "request")
        run("x509", "-req", "-in", "request", "-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key", "-extfile", "names", "-days", days,
            "-out", f"{name}.pem")


def fingerprint(pem: Path) -> str:
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.read_text())).hexdigest()
    return ":".join(digest[i:i + 2] for i in range(0, 64, 2))
