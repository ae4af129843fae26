# SPDX-License-Identifier: Apache-2.0
"""TLS of the server: who is let in by certificate, which chain is shown, and what the log says of it."""

import contextlib
import os
import socket
import ssl
import tempfile
import threading
import unittest
from pathlib import Path

import certificates
import debian_postfix
from postrider import Postrider, free_ports, wait_until

PATIENCE = 60


class Talk:
    """A session that keeps all it heard."""

    def __init__(self, port: int, wrapped: bool = False, certificate: Path | None = None, sni: str | None = None,
                 session: ssl.SSLSession | None = None, context: ssl.SSLContext | None = None, ask=("EHLO c.example",)):
        self.heard: list[str] = []
        self._buffer = b""
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        if not wrapped:
            self.line()
            self.say("EHLO c.example")
            self.say("STARTTLS")
        self.context = context or client_context()
        if certificate:
            self.context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        self._socket = self.context.wrap_socket(self._socket, server_hostname=sni, session=session)
        if wrapped:
            self.line()
        for line in ask:
            self.say(line)

    def line(self) -> str:
        """One reply; "" at the end of the connection."""
        while True:
            lines = self._buffer.split(b"\r\n")
            whole = [i for i, line in enumerate(lines[:-1]) if line[3:4] != b"-"]
            if whole:
                self._buffer = b"\r\n".join(lines[whole[0] + 1:])
                self.heard.append(lines[whole[0]].decode())
                return self.heard[-1]
            try:
                more = self._socket.recv(4096)
            except (ssl.SSLError, ConnectionError):
                more = b""
            if not more:
                return ""
            self._buffer += more

    def say(self, line: str) -> str:
        try:
            self._socket.sendall(line.encode() + b"\r\n")
        except (ssl.SSLError, ConnectionError):
            pass
        return self.line()

    @property
    def tls(self) -> ssl.SSLSocket:
        return self._socket

    def peer_name(self) -> str:
        """The common name of the server's certificate."""
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as f:
            f.write(ssl.DER_cert_to_PEM_cert(self._socket.getpeercert(True)))
            f.flush()
            subject = ssl._ssl._test_decode_cert(f.name)["subject"]  # pylint: disable=protected-access
        return dict(pair for part in subject for pair in part)["commonName"]

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> "Talk":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def client_context(newest: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if newest:
        context.maximum_version = newest
    return context


@contextlib.contextmanager
def both(main: str, master: str = "", wrapped: bool = False):
    """The same lines for Debian's Postfix and for us; yields [(port, log_text)]."""
    port = free_ports(1)[0]
    service = f"127.0.0.1:{port} inet n - n - 1 smtpd\n" + ("  -o smtpd_tls_wrappermode=yes\n" if wrapped else "") + master
    with debian_postfix.DebianPostfix(main=main, master=service) as theirs:
        theirs.start(port)
        with Postrider(main=main, master=master.replace("{smtp}", "")) as ours:
            yield [(port, theirs.log_text), (ours.ports["submissions" if wrapped else "smtp"], ours.log_text)]


class Certificates(unittest.TestCase):
    """One folder with everybody's certificates, made once."""

    @classmethod
    def setUpClass(cls):
        cls.temp = tempfile.TemporaryDirectory(prefix="pr-tls-")
        cls.folder = Path(cls.temp.name)
        cls.folder.chmod(0o755)
        ca = certificates.Authority(cls.folder)
        cls.server = ca.sign("mx.test.example", "subjectAltName=DNS:mx.test.example")
        cls.trusted = ca.sign("trusted.example", "extendedKeyUsage=clientAuth")
        cls.for_servers = ca.sign("for-servers.example", "extendedKeyUsage=serverAuth")
        cls.expired = ca.sign("expired.example", expired=True)
        cls.own = certificates.self_signed(cls.folder, "own.example")
        cls.stranger = certificates.Authority(cls.folder, "other").sign("stranger.example")
        below = certificates.Authority(cls.folder, "below", ca)
        cls.deep = certificates.Authority(cls.folder, "deeper", below).sign("deep.example")
        cls.everybody = {None: None, "trusted": cls.trusted, "for_servers": cls.for_servers, "expired": cls.expired,
                         "own": cls.own, "stranger": cls.stranger, "deep": cls.deep}
        cls.base = (f"smtpd_tls_cert_file = {cls.server}\nsmtpd_tls_key_file = {cls.server.with_suffix('.key')}\n"
                    f"smtpd_tls_CAfile = {cls.folder}/ca.pem\nsmtpd_tls_loglevel = 1\nsmtpd_peername_lookup = no\n"
                    "mynetworks = 10.0.0.0/8\nrelay_domains =\n")

    @classmethod
    def tearDownClass(cls):
        cls.temp.cleanup()

    def relay(self, port: int, certificate: Path | None, wrapped: bool = False) -> str:
        """The answer to a relay attempt, or what came instead."""
        with Talk(port, wrapped, certificate) as talk:
            if talk.heard[-1].startswith("250"):
                talk.say("MAIL FROM:<a@far.example>")
                talk.say("RCPT TO:<b@far.example>")
            # Inside TLS from the start, Postfix greets whom it has just sent away.
            last = next((line for line in talk.heard if line.startswith("421")), talk.heard[-1])
            return " ".join(last.replace("peer.example", "mx.test.example").split())

    def outcomes(self, main: str, wrapped: bool = False) -> dict:
        """By name of certificate; the same from both servers."""
        with both(self.base + main, wrapped=wrapped) as servers:
            theirs, ours = ({name: self.relay(port, file, wrapped) for name, file in self.everybody.items()}
                            for port, _ in servers)
        self.assertEqual(ours, theirs)
        return ours


GRANTED = "250 2.1.5 Ok"
DENIED = "554 5.7.1 <b@far.example>: Relay access denied"
ALL_CERTIFICATES = "smtpd_relay_restrictions = permit_tls_all_clientcerts, reject_unauth_destination\n"


class ClientCertificates(Certificates):
    def test_permit_tls_all_clientcerts_relays_for_verified_ones_alone(self):
        got = self.outcomes("smtpd_tls_security_level = may\nsmtpd_tls_ask_ccert = yes\n" + ALL_CERTIFICATES)
        self.assertEqual({name for name, answer in got.items() if answer == GRANTED}, {"trusted", "deep"})
        self.assertEqual({answer for answer in got.values()}, {GRANTED, DENIED})

    def test_without_ask_ccert_nobody_is_known(self):
        got = self.outcomes("smtpd_tls_security_level = may\nsmtpd_tls_req_ccert = yes\n" + ALL_CERTIFICATES)
        self.assertEqual(set(got.values()), {DENIED})

    def test_req_ccert_sends_away_who_is_not_verified(self):
        lines = "smtpd_tls_security_level = encrypt\nsmtpd_tls_req_ccert = yes\n" + ALL_CERTIFICATES
        for wrapped in False, True:
            with self.subTest(wrapped=wrapped):
                got = self.outcomes(lines, wrapped)
                self.assertEqual(got[None], "421 4.7.1 mx.test.example Error: No client certificate presented")
                self.assertEqual(got["trusted"], GRANTED)
                for name in "for_servers", "expired", "own", "stranger":
                    self.assertEqual(got[name], "421 4.7.1 mx.test.example Error: Client certificate not trusted")

    def test_the_chain_may_be_as_long_as_ccert_verifydepth_says(self):
        for depth, answer in (0, DENIED), (1, GRANTED):
            got = self.outcomes(f"smtpd_tls_security_level = may\nsmtpd_tls_ask_ccert = yes\nsmtpd_tls_ccert_verifydepth = {depth}\n"
                                + ALL_CERTIFICATES)
            self.assertEqual(got["deep"], answer)

    def test_listed_fingerprints_need_no_trust(self):
        prints = f"{{ {certificates.fingerprint(self.own)} = x }}, {{ {certificates.key_fingerprint(self.stranger)} = x }}"
        got = self.outcomes("smtpd_tls_security_level = may\nsmtpd_tls_ask_ccert = yes\nsmtpd_tls_fingerprint_digest = sha256\n"
                            f"relay_clientcerts = inline:{{ {prints} }}\n"
                            "smtpd_relay_restrictions = permit_tls_clientcerts, reject_unauth_destination\n")
        self.assertEqual({name for name, answer in got.items() if answer == GRANTED}, {"own", "stranger"})

    def test_check_ccert_access_asks_for_both_fingerprints_in_order(self):
        table = (f"inline:{{ {{ {certificates.fingerprint(self.own)} = REJECT by certificate }}, "
                 f"{{ {certificates.key_fingerprint(self.own)} = OK }} }}")
        lines = "smtpd_tls_security_level = may\nsmtpd_tls_ask_ccert = yes\nsmtpd_tls_fingerprint_digest = sha256\n"
        for argument, answer in ((table, "554 5.7.1 <own.example>: Client certificate rejected: by certificate"),
                                 (f"{{ {table}, {{ search_order = pubkey_fingerprint, cert_fingerprint }} }}", GRANTED),
                                 (f"{{ {table}, {{ search_order = pubkey_fingerprint }} }}", GRANTED)):
            got = self.outcomes(lines + f"smtpd_relay_restrictions = check_ccert_access {argument}, reject_unauth_destination\n")
            self.assertEqual(got["own"], answer)
            self.assertEqual(got["trusted"], DENIED)

    def test_the_digest_follows_the_compatibility_level(self):
        for level, digest in ("3.5", "md5"), ("3.6", "sha256"):
            lines = (f"compatibility_level = {level}\nsmtpd_tls_security_level = may\nsmtpd_tls_ask_ccert = yes\nappend_dot_mydomain = no\n"
                     f"relay_clientcerts = inline:{{ {{ {certificates.fingerprint(self.own, digest)} = x }} }}\n"
                     "smtpd_relay_restrictions = permit_tls_clientcerts, reject_unauth_destination\n")
            self.assertEqual(self.outcomes(lines)["own"], GRANTED)

    def test_tls_trust_server_ccerts_takes_certificates_made_for_servers(self):
        lines = self.base + "smtpd_tls_ask_ccert = yes\ntls_trust_server_ccerts = yes\n" + ALL_CERTIFICATES
        with Postrider(main=lines) as server:
            got = {name: self.relay(server.ports["smtp"], file) for name, file in self.everybody.items()}
        self.assertEqual({name for name, answer in got.items() if answer == GRANTED}, {"trusted", "deep", "for_servers"})

    def test_the_log_and_received_tell_who_it_was(self):
        lines = self.base + "smtpd_tls_security_level = may\nsmtpd_tls_ask_ccert = yes\nsmtpd_tls_received_header = yes\n"
        suites = (r"TLSv1\.3 with cipher TLS_AES_256_GCM_SHA384 \(256/256 bits\) key-exchange X25519 server-signature "
                  r"ECDSA \(prime256v1\) server-digest SHA256")
        with Postrider(main=lines) as server:
            for number, (name, word) in enumerate(((None, "Anonymous"), ("trusted", "Trusted"), ("expired", "Untrusted"))):
                with Talk(server.ports["smtp"], certificate=self.everybody[name]) as talk:
                    for line in "MAIL FROM:<a@far.example>", "RCPT TO:<demo@test.example>", "DATA", f"Subject: {name}\r\n\r\n.":
                        talk.say(line)
                    self.assertEqual(talk.say("QUIT"), "221 2.0.0 Bye")
                tail = " client-signature ECDSA (prime256v1) client-digest SHA256" if name else ""
                server.wait_log(rf"{word} TLS connection established from unknown\[127\.0\.0\.1\]: {suites}"
                                + tail.replace("(", r"\(").replace(")", r"\)") + "$")
                head = " ".join(server.wait_mail("demo", number + 1)[-1].decode().split("Subject:")[0].split())
                who = ("(Client did not present a certificate)" if not name else
                       f'(Client CN "{name}.example", Issuer "ca" ({"verified OK" if name == "trusted" else "not verified"}))')
                self.assertIn(f"server-digest SHA256{tail}) {who} by mx.test.example", head)

    def test_the_reason_is_logged_where_a_certificate_is_required(self):
        lines = self.base + "smtpd_tls_security_level = encrypt\nsmtpd_tls_req_ccert = yes\n"
        with both(lines) as servers:
            for port, log_text in servers:
                for name in "own", "expired", "stranger", None:
                    self.relay(port, self.everybody[name])
                wait_until(lambda text=log_text: text().count("NOQUEUE: abort") == 4, "the aborts")
                for line in ("certificate verification failed for unknown[127.0.0.1]: self-signed certificate",
                             "certificate verification failed for unknown[127.0.0.1]: certificate has expired",
                             "certificate verification failed for unknown[127.0.0.1]: untrusted issuer ",
                             "NOQUEUE: abort: TLS from unknown[127.0.0.1]: Client certificate not trusted",
                             "NOQUEUE: abort: TLS from unknown[127.0.0.1]: No client certificate presented"):
                    self.assertIn(line, log_text())

    def test_policy_servers_hear_of_the_certificate(self):
        asked: list[dict] = []
        with policy_server(asked) as port:
            lines = (self.base + "smtpd_tls_ask_ccert = yes\nsmtpd_tls_fingerprint_digest = sha1\nsmtpd_relay_restrictions = "
                     f"check_policy_service inet:127.0.0.1:{port}, reject\n")
            with Postrider(main=lines) as server:
                for name in "trusted", "own":
                    self.relay(server.ports["smtp"], self.everybody[name])
        self.assertEqual([a["ccert_subject"] for a in asked], ["trusted.example", ""])
        self.assertEqual([a["ccert_issuer"] for a in asked], ["ca", ""])
        for a, file in zip(asked, (self.trusted, self.own)):
            self.assertEqual(a["ccert_fingerprint"], certificates.fingerprint(file, "sha1"))
            self.assertEqual(a["ccert_pubkey_fingerprint"], certificates.key_fingerprint(file, "sha1"))
            self.assertEqual(a["encryption_protocol"], "TLSv1.3")


@contextlib.contextmanager
def policy_server(asked: list):
    """Answers DUNNO to everything and remembers it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(peer: socket.socket):
        with peer, peer.makefile("rw") as stream:
            request: dict = {}
            for line in stream:
                if line != "\n":
                    request.update([line.rstrip("\n").split("=", 1)])
                    continue
                asked.append(request)
                request = {}
                stream.write("action=DUNNO\n\n")
                stream.flush()

    def accept():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


if __name__ == "__main__":
    unittest.main()
