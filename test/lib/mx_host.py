# SPDX-License-Identifier: Apache-2.0
"""Mail hosts on addresses of loopback, with certificates made for a test: what DANE and others want to look at."""

import contextlib
import hashlib
import socket
import ssl
import subprocess
import threading
from pathlib import Path

from postrider import read_content


class MxHost:
    """Takes mail on address and port. With STARTTLS when it has a certificate (PEM of key and chain); `breaks_tls` sends junk for
    a handshake. `mail` is a list of (recipient, is_encrypted, name asked for by SNI)."""

    def __init__(self, address: str, port: int, chain: Path | None = None, breaks_tls: bool = False):
        self.mail = []
        self._breaks_tls = breaks_tls
        self._context = None
        if chain:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(chain)
            self._context.sni_callback = lambda sock, name, context: setattr(sock, "asked_for", name or "")
        self._socket = socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._converse_safely, args=(sock,), daemon=True).start()

    def _converse_safely(self, sock) -> None:
        with contextlib.suppress(OSError):
            self._converse(sock)
        sock.close()

    def _converse(self, sock) -> None:
        lines, recipients, is_encrypted = sock.makefile("rwb"), [], False

        def say(text: str) -> None:
            lines.write(text.encode() + b"\r\n")
            lines.flush()

        say("220 mail host ESMTP")
        while line := lines.readline():
            verb = line.split()[0].upper() if line.split() else b""
            if verb == b"EHLO":
                offers = (self._context or self._breaks_tls) and not is_encrypted
                say("250-mail.host" + ("\r\n250-STARTTLS" if offers else "") + "\r\n250 PIPELINING")
            elif verb == b"STARTTLS":
                say("220 go ahead")
                if self._breaks_tls:
                    sock.recv(1)
                    sock.sendall(b"this is no handshake\r\n")
                    return
                sock = self._context.wrap_socket(sock, server_side=True)
                lines, is_encrypted = sock.makefile("rwb"), True
            elif verb == b"RCPT":
                recipients.append(line.decode().split("<")[1].split(">")[0])
                say("250 2.1.5 Ok")
            elif verb == b"DATA":
                say("354 go on")
                read_content(lines)
                self.mail += [(recipient, is_encrypted, getattr(sock, "asked_for", "")) for recipient in recipients]
                recipients = []
                say("250 2.0.0 Ok: kept")
            elif verb == b"QUIT":
                say("221 bye")
                return
            else:
                say("250 2.0.0 Ok")


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
