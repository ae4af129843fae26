# SPDX-License-Identifier: Apache-2.0
"""Mail hosts on addresses of loopback, with certificates made for a test: what DANE and others want to look at."""

import hashlib
import subprocess
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


def _openssl(folder: Path, *arguments: str) -> bytes:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder).stdout


def make_key(folder: Path, name: str) -> None:
    """name.key"""
    _openssl(folder, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", f"{name}.key")


def make_leaf(folder: Path, name: str, key: str, names: list[str], days: int = 30, authority: str = "") -> Path:
    """name.pem: the key, its certificate for these names, and that of the authority, else signed by itself."""
    (folder / f"{name}.ext").write_text("subjectAltName=" + ",".join(f"DNS:{n}" for n in names) + "\n")
    _openssl(folder, "req", "-new", "-key", f"{key}.key", "-subj", f"/CN={names[0]}", "-out", f"{name}.csr")
    signer = ("-CA", f"{authority}.crt", "-CAkey", f"{authority}.key") if authority else ("-signkey", f"{key}.key")
    _openssl(folder, "x509", "-req", "-in", f"{name}.csr", *signer, "-extfile", f"{name}.ext", "-days", str(days), "-out", f"{name}.crt")
    parts = [folder / f"{key}.key", folder / f"{name}.crt"] + ([folder / f"{authority}.crt"] if authority else [])
    chain = folder / f"{name}.pem"
    chain.write_text("".join(part.read_text() for part in parts))
    return chain


def make_authority(folder: Path, name: str) -> None:
    """name.crt and name.key"""
    _openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
             "/CN=Test Authority", "-keyout", f"{name}.key", "-out", f"{name}.crt")


def tlsa(folder: Path, certificate: str, usage: int = 3, selector: int = 1, matching: int = 1) -> str:
    """The data of a TLSA record for name.crt: "3 1 1 ab12..."."""
    if selector:
        pem = _openssl(folder, "x509", "-in", f"{certificate}.crt", "-pubkey", "-noout")
        data = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=pem, check=True, capture_output=True).stdout
    else:
        data = _openssl(folder, "x509", "-in", f"{certificate}.crt", "-outform", "DER")
    if matching:
        data = hashlib.new({1: "sha256", 2: "sha512"}[matching], data).digest()
    return f"{usage} {selector} {matching} {data.hex()}"
