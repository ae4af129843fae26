# SPDX-License-Identifier: Apache-2.0
"""Servers that mail goes to in tests, an authority for their certificates, and web servers that publish MTA-STS policies.

    authority = Authority(folder)
    with NextHop("127.0.0.2", certificate=authority.certificate("mx.far.example")) as hop:
        main = f"smtp_tcp_port = {hop.port}\\nsmtp_tls_CAfile = {authority.file}"
"""

import contextlib
import http.server
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

from postrider import read_content


class Authority:
    """In ca.pem of a folder; certificates become files there."""

    def __init__(self, folder: Path):
        self._folder = folder
        self.file = folder / "ca.pem"
        self._run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
                  "/CN=Test Authority", "-keyout", "ca.key", "-out", "ca.pem")

    def _run(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=self._folder)

    def certificate(self, *names: str, days: int = 30) -> Path:
        """A file with key and certificate; expired when `days` is negative."""
        stem = names[0].replace("*", "any")
        (self._folder / "names").write_text("subjectAltName=" + ",".join(f"DNS:{name}" for name in names) + "\n")
        self._run("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={names[0]}",
                  "-keyout", f"{stem}.key", "-out", "request")
        self._run("x509", "-req", "-in", "request", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names",
                  "-days", str(days), "-out", f"{stem}.crt")
        path = self._folder / f"{stem}.pem"
        path.write_text((self._folder / f"{stem}.key").read_text() + (self._folder / f"{stem}.crt").read_text())
        return path


def _context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


class NextHop:
    """An SMTP server that takes all mail. `keywords` are offered inside TLS only."""

    def __init__(self, address: str, port: int = 0, certificate: Path | None = None, keywords: tuple = ()):
        self.messages = []  # (was it encrypted, MAIL command, content)
        self.names = []     # SNI
        self._keywords = keywords
        self._context = _context(certificate) if certificate else None
        if self._context:
            self._context.sni_callback = lambda sock, name, context: self.names.append(name)
        self._socket = socket.create_server((address, port))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> "NextHop":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        # The thread that waits in accept() would keep the socket open.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._try_to_converse, args=(sock,), daemon=True).start()

    def _try_to_converse(self, sock) -> None:
        # A client may end the session wherever it likes.
        with contextlib.suppress(OSError, ValueError), contextlib.ExitStack() as opened:
            opened.enter_context(sock)
            self._converse(sock, opened)

    def _converse(self, sock, opened: contextlib.ExitStack) -> None:
        lines = opened.enter_context(sock.makefile("rwb"))
        is_encrypted, mail = False, ""

        def say(*texts: str) -> None:
            for i, text in enumerate(texts):
                lines.write(f"250{' ' if i == len(texts) - 1 else '-'}{text}\r\n".encode() if len(texts) > 1 else text.encode() + b"\r\n")
            lines.flush()

        say("220 next.hop.example ESMTP")
        while line := lines.readline():
            verb = line.split()[0].upper() if line.split() else b""
            if verb == b"EHLO":
                starttls = ["STARTTLS"] if self._context and not is_encrypted else []
                say("next.hop.example", *starttls, *(self._keywords if is_encrypted else ()), "PIPELINING")
            elif verb == b"STARTTLS":
                say("220 go ahead")
                sock = opened.enter_context(self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False))
                sock.do_handshake()
                lines, is_encrypted = opened.enter_context(sock.makefile("rwb")), True
            elif verb == b"MAIL":
                mail = line.decode().strip()
                say("250 2.1.0 Ok")
            elif verb == b"DATA":
                say("354 go on")
                content = read_content(lines)
                self.messages.append((is_encrypted, mail, content))
                say("250 2.0.0 Ok: kept")
            elif verb == b"QUIT":
                say("221 bye")
                return
            else:
                say("250 2.1.0 Ok")


class WebServer:
    """HTTPS on a port of `address`: `text` with `headers` and `status`, or with `post_status` to who posts something.
    `answers` may have another text for a host."""

    def __init__(self, certificate: Path, address: str = "127.0.0.1", text: str = "", port: int = 0):
        self.text = text
        self.answers = {}
        self.status = self.post_status = 200
        self.headers = {"Content-Type": "text/plain"}
        self.holds_posts = False  # their answers wait until it is False again
        self.requests = []  # (method, Host, path, headers, body)
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def _handle(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.requests.append((self.command, self.headers["Host"], self.path, dict(self.headers), body))
                while outer.holds_posts and self.command == "POST":
                    time.sleep(0.05)
                answer = outer.answers.get(self.headers["Host"], outer.text).encode()
                self.send_response(outer.post_status if self.command == "POST" else outer.status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(answer)

            do_GET = do_POST = _handle

            def log_message(self, *_):
                pass

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                """Handshakes that fail are part of the tests."""

        self._server = Quiet((address, port), Handler)
        self._server.socket = _context(certificate).wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> "WebServer":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._server.server_close()
