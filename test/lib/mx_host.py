# SPDX-License-Identifier: Apache-2.0
"""Mail hosts on addresses of loopback that tell who asked for whom: what DANE wants to look at."""

from pathlib import Path

from mail_host import MailHost, Session, server_context


class MxHost(MailHost):
    """With STARTTLS when it has a certificate (PEM of key and chain); `breaks_tls` sends junk for a handshake. `mail` is a list
    of (recipient, is_encrypted, name asked for by SNI)."""

    def __init__(self, address: str, port: int, chain: Path | None = None, breaks_tls: bool = False):
        self.mail = []
        self._breaks_tls = breaks_tls
        context = server_context(chain) if chain else None
        if context:
            context.sni_callback = lambda sock, name, context: setattr(sock, "asked_for", name or "")
        super().__init__(address, port, context)

    def keywords(self, session: Session) -> list[str]:
        return ["STARTTLS", "PIPELINING"] if self._breaks_tls and not session.is_encrypted else super().keywords(session)

    def start_tls(self, session: Session) -> bool:
        return self.break_handshake(session) if self._breaks_tls else super().start_tls(session)

    def took(self, session: Session, content: bytes) -> None:
        name = getattr(session.sock, "asked_for", "")
        self.mail += [(recipient, session.is_encrypted, name) for recipient in session.recipients]
