# SPDX-License-Identifier: Apache-2.0
"""A SCRAM client (RFC 5802, 7677) over smtplib, and the secrets that servers store; nothing of it comes from the program under test."""

import base64
import hashlib
import hmac
import secrets
import smtplib


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _hash_name(mechanism: str) -> str:
    return "sha1" if "SHA-1" in mechanism and "SHA-256" not in mechanism else "sha256"


def stored_secret(password: str, mechanism: str = "SCRAM-SHA-256", iterations: int = 4096, salt: bytes = b"salt of the test") -> str:
    """{SCRAM-SHA-256}iterations,salt,StoredKey,ServerKey."""
    name = _hash_name(mechanism)
    salted = hashlib.pbkdf2_hmac(name, password.encode(), salt, iterations)
    stored = hashlib.new(name, hmac.digest(salted, b"Client Key", name)).digest()
    return f"{{{mechanism}}}{iterations},{_encode(salt)},{_encode(stored)},{_encode(hmac.digest(salted, b'Server Key', name))}"


class Scram:
    """One dialogue. `binding` are the bytes of the channel binding `binding_name`; `flag` is what GS2 says without one."""

    def __init__(self, user: str, password: str, mechanism: str = "SCRAM-SHA-256", flag: str = "n", binding: bytes = b"",
                 binding_name: str = "tls-unique", authzid: str = ""):
        self.mechanism = mechanism
        self._hash = _hash_name(mechanism)
        self._password = password.encode()
        self._binding = binding
        flag = f"p={binding_name}" if mechanism.endswith("-PLUS") else flag
        self._head = f"{flag},{'a=' + authzid if authzid else ''},"
        self._nonce = secrets.token_hex(12)
        self._bare = f"n={user},r={self._nonce}"
        self.salt = b""
        self.iterations = 0
        self._proof_of_server = b""

    def first(self) -> str:
        return _encode((self._head + self._bare).encode())

    def final(self, server_first: bytes) -> str:
        text = base64.b64decode(server_first).decode()
        fields = dict(field.split("=", 1) for field in text.split(","))
        if not fields["r"].startswith(self._nonce) or len(fields["r"]) <= len(self._nonce):
            raise AssertionError("the server's nonce does not continue ours")
        self.salt, self.iterations = base64.b64decode(fields["s"]), int(fields["i"])
        salted = hashlib.pbkdf2_hmac(self._hash, self._password, self.salt, self.iterations)
        key = hmac.digest(salted, b"Client Key", self._hash)
        bound = self._head.encode() + (self._binding if self.mechanism.endswith("-PLUS") else b"")
        bare = f"c={_encode(bound)},r={fields['r']}"
        message = f"{self._bare},{text},{bare}".encode()
        signature = hmac.digest(hashlib.new(self._hash, key).digest(), message, self._hash)
        self._proof_of_server = hmac.digest(hmac.digest(salted, b"Server Key", self._hash), message, self._hash)
        return _encode(f"{bare},p={_encode(bytes(a ^ b for a, b in zip(key, signature)))}".encode())

    def check(self, server_final: bytes) -> None:
        if base64.b64decode(server_final) != b"v=" + _encode(self._proof_of_server).encode():
            raise AssertionError("the server does not know the password")

    def login(self, session: smtplib.SMTP, first_with_auth: bool = True) -> tuple[int, bytes]:
        """The last reply: 235 when both sides are convinced."""
        if first_with_auth:
            code, text = session.docmd("AUTH", f"{self.mechanism} {self.first()}")
        else:
            code, text = session.docmd("AUTH", self.mechanism)
            if code == 334 and not text:
                code, text = session.docmd(self.first())
        if code != 334:
            return code, text
        code, text = session.docmd(self.final(text))
        if code != 334:
            return code, text
        self.check(text)
        return session.docmd("")
