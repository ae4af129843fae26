# SPDX-License-Identifier: Apache-2.0
"""Servers that mail goes to in tests, and web servers that publish MTA-STS policies.

    authority = Authority(folder)
    with NextHop("127.0.0.2", certificate=authority.host("mx.far.example")) as hop:
        main = f"smtp_tcp_port = {hop.port}\\nsmtp_tls_CAfile = {authority.file}"
"""

import contextlib
import http.server
import threading
import time
from pathlib import Path

from mail_host import MailHost, Session, server_context


class NextHop(MailHost):
    """STARTTLS is offered when there is a certificate, `more` inside TLS only."""

    name = "next.hop.example"

    def __init__(self, address: str, port: int = 0, certificate: Path | None = None):
        self.messages = []  # (was it encrypted, MAIL command, content)
        self.names = []     # SNI
        self.more = ()
        context = server_context(certificate) if certificate else None
        if context:
            context.sni_callback = lambda sock, name, context: self.names.append(name)
        super().__init__(address, port, context)

    def keywords(self, session: Session) -> list[str]:
        return [*(self.more if session.is_encrypted else ()), *super().keywords(session)]

    def took(self, session: Session, content: bytes) -> None:
        self.messages.append((session.is_encrypted, session.mail, content))


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
        self._server.socket = server_context(certificate).wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> "WebServer":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._server.server_close()
