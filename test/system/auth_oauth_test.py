# SPDX-License-Identifier: Apache-2.0
"""OAUTHBEARER and XOAUTH2: tokens signed by keys that lie here, and tokens that a server is asked about."""

import base64
import contextlib
import http.server
import json
import os
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.parse
from pathlib import Path

from postrider import Postrider, wait_until

MAIN = ("smtpd_sasl_auth_enable = yes\nsmtpd_sasl_builtin_maps =\nmynetworks =\nsmtpd_sasl_oauth_audience = mail.test.example\n"
        "smtpd_sasl_oauth_issuer = https://id.test.example\n")


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def openssl(*args: str, data: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *args], input=data, capture_output=True, check=True).stdout


def raw_ecdsa(der: bytes) -> bytes:
    """The two numbers of a signature, 32 bytes each."""
    out, at = b"", 2
    for _ in range(2):
        size = der[at + 1]
        out += der[at + 2:at + 2 + size].lstrip(b"\0").rjust(32, b"\0")
        at += 2 + size
    return out


class Keys:
    """A key pair of each kind, made by openssl."""

    def __init__(self):
        self._temp = tempfile.TemporaryDirectory()
        self.folder = Path(self._temp.name)
        for name, args in (("rs", ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")), ("ed", ("-algorithm", "ed25519")),
                           ("es", ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")),
                           ("other", ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"))):
            openssl("genpkey", *args, "-out", str(self.folder / name))

    def public(self, name: str) -> str:
        return openssl("pkey", "-in", str(self.folder / name), "-pubout").decode()

    def jwk(self, name: str) -> dict:
        """The public half as token servers publish it, named as here."""
        der = openssl("pkey", "-in", str(self.folder / name), "-pubout", "-outform", "DER")
        if name == "ed":
            return {"kid": name, "kty": "OKP", "crv": "Ed25519", "x": url64(der[-32:])}
        if name == "rs":
            modulus = openssl("rsa", "-in", str(self.folder / name), "-noout", "-modulus").decode().strip().partition("=")[2]
            return {"kid": name, "kty": "RSA", "use": "sig", "alg": "RS256", "n": url64(bytes.fromhex(modulus)), "e": "AQAB"}
        return {"kid": name, "kty": "EC", "crv": "P-256", "x": url64(der[-64:-32]), "y": url64(der[-32:])}

    def sign(self, name: str, data: bytes) -> bytes:
        (self.folder / "data").write_bytes(data)
        if name == "ed":
            return openssl("pkeyutl", "-sign", "-rawin", "-inkey", str(self.folder / name), "-in", str(self.folder / "data"))
        signature = openssl("dgst", "-sha256", "-sign", str(self.folder / name), str(self.folder / "data"))
        return signature if name == "rs" else raw_ecdsa(signature)

    def token(self, name: str, header: dict | None = None, **claims) -> str:
        values = {"iss": "https://id.test.example", "aud": "mail.test.example", "email": "demo@test.example", "exp": time.time() + 300}
        values.update(claims)
        values = {key: value for key, value in values.items() if value is not None}
        head = {"alg": {"rs": "RS256", "ed": "EdDSA", "es": "ES256", "other": "ES256"}[name], "typ": "JWT", **(header or {})}
        text = url64(json.dumps(head).encode()) + "." + url64(json.dumps(values).encode())
        return text + "." + url64(self.sign(name, text.encode()))


def bearer(token: str, user: str = "") -> str:
    return b64(f"n,{'a=' + user if user else ''},\1host=mx.test.example\1port=25\1auth=Bearer {token}\1\1".encode())


def xoauth2(token: str, user: str = "demo@test.example") -> str:
    return b64(f"user={user}\1auth=Bearer {token}\1\1".encode())


class LocalKeys(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.keys = Keys()

    def server(self, names=("rs", "ed", "es"), more: str = "") -> Postrider:
        text = "".join(self.keys.public(name) for name in names)
        return Postrider(main=MAIN + "smtpd_sasl_oauth_key_file = {folder}/etc/keys\n" + more, files={"keys": text})

    def refused(self, session, mechanism: str, response: str) -> tuple[dict, int]:
        code, text = session.docmd("AUTH", f"{mechanism} {response}")
        self.assertEqual(code, 334, text)
        return json.loads(base64.b64decode(text)), session.docmd("AQ==")[0]

    def test_tokens_of_each_kind_of_key_log_in(self):
        with self.server() as server:
            for name in ("rs", "ed", "es"):
                for mechanism, make in (("OAUTHBEARER", bearer), ("XOAUTH2", xoauth2)):
                    with server.smtp() as session:
                        self.assertEqual(session.esmtp_features["auth"].split(), ["OAUTHBEARER", "XOAUTH2"])
                        self.assertEqual(session.docmd("AUTH", f"{mechanism} {make(self.keys.token(name))}")[0], 235, name)
                        session.mail("a@test.example")
                        self.assertEqual(session.rcpt("x@elsewhere.example")[0], 250)
            server.wait_log("sasl_method=OAUTHBEARER, sasl_username=demo@test.example")

    def test_a_set_of_keys_as_token_servers_publish_it(self):
        published = {"keys": [self.keys.jwk(name) for name in ("rs", "ed", "es")] + [{"kty": "RSA", "use": "enc", "kid": "x"}]}
        main = MAIN + "smtpd_sasl_oauth_key_file = {folder}/etc/keys\n"
        with Postrider(main=main, files={"keys": json.dumps(published)}) as server, server.smtp() as session:
            for name in ("rs", "ed", "es"):
                for header in ({}, {"kid": name}):
                    with server.smtp() as other:
                        self.assertEqual(other.docmd("AUTH", "OAUTHBEARER " + bearer(self.keys.token(name, header)))[0], 235, (name, header))
            for refused in (self.keys.token("es", {"kid": "rs"}), self.keys.token("es", {"kid": "new"}), self.keys.token("other")):
                self.assertEqual(self.refused(session, "OAUTHBEARER", bearer(refused))[1], 535)
            # The next set has a key more.
            published["keys"].append(self.keys.jwk("other"))
            (server.etc / "keys.new").write_text(json.dumps(published))
            (server.etc / "keys.new").rename(server.etc / "keys")

            def logs_in():
                with server.smtp() as other:
                    code, _ = other.docmd("AUTH", "XOAUTH2 " + xoauth2(self.keys.token("other", {"kid": "other"})))
                    return code == 235 or (code == 334 and other.docmd("")[0] != 535)
            wait_until(logs_in, "a login with the new key")

    def test_a_pipe_in_the_place_of_the_keys_holds_nobody_up(self):
        """Whether somebody has it open for writing, who says nothing, or nobody has."""
        for has_writer in False, True:
            with self.subTest(has_writer=has_writer):
                server = Postrider(main=MAIN + "smtpd_sasl_oauth_key_file = {folder}/etc/keys\n", start=False)
                with server, contextlib.ExitStack() as stack:
                    os.mkfifo(server.etc / "keys")
                    if has_writer:
                        stack.callback(os.close, os.open(server.etc / "keys", os.O_RDWR | os.O_NONBLOCK))
                    with self.assertRaisesRegex(AssertionError, "smtpd_sasl_oauth_key_file: .*/etc/keys: it is no regular file"):
                        server.start()

    def test_the_token_may_come_after_an_empty_challenge(self):
        with self.server() as server, server.smtp() as session:
            self.assertEqual(session.docmd("AUTH", "OAUTHBEARER"), (334, b""))
            self.assertEqual(session.docmd(bearer(self.keys.token("es"), "demo@test.example"))[0], 235)

    def test_a_long_token_fits(self):
        with self.server() as server, server.smtp() as session:
            token = self.keys.token("es", groups=["a group of many"] * 250)
            self.assertGreater(len(token), 6000)
            self.assertEqual(session.docmd("AUTH", "OAUTHBEARER " + bearer(token))[0], 235)
            self.assertEqual(session.docmd("NOOP", "x" * 4000)[0], 250)

    def test_what_is_wrong_with_a_token_is_in_the_log_and_not_told(self):
        token = self.keys.token
        cases = {
            "expired": token("es", exp=time.time() - 300), "does not say when": token("es", exp=None),
            "not valid yet": token("es", nbf=time.time() + 300), "another issuer": token("es", iss="https://evil.example"),
            "another audience": token("es", aud=["web", "other"]), "names no user": token("es", email=None, scope="smtp"),
            "none of the keys": token("other"), "algorithm is none": token("es", {"alg": "none"}),
            "is no JWT": "opaque", "lacks a scope": token("es", scope="imap")}
        more = "smtpd_sasl_oauth_scope = smtp\n"
        with self.server(more=more) as server, server.smtp() as session:
            for reason, refused in cases.items():
                error, code = self.refused(session, "OAUTHBEARER", bearer(refused))
                self.assertEqual((error["status"], error["scope"], code), ("invalid_token", "smtp", 535), reason)
                server.wait_log(f"SASL OAUTHBEARER authentication failed: authentication failure .*{reason}")
            self.assertEqual(session.docmd("AUTH", "OAUTHBEARER " + bearer(token("es", scope="imap smtp")))[0], 235)

    def test_the_kind_of_key_decides_on_the_algorithm(self):
        """A public key is no secret: a MAC made with it must not pass."""
        import hashlib
        import hmac
        with self.server(("rs",)) as server, server.smtp() as session:
            head = url64(json.dumps({"alg": "HS256"}).encode())
            body = url64(json.dumps({"iss": "https://id.test.example", "aud": "mail.test.example", "email": "demo", "exp": time.time() + 300}).encode())
            mac = hmac.digest(self.keys.public("rs").encode(), f"{head}.{body}".encode(), hashlib.sha256)
            self.assertEqual(self.refused(session, "XOAUTH2", xoauth2(f"{head}.{body}.{url64(mac)}", "demo"))[1], 535)

    def test_nobody_logs_in_with_the_token_of_another(self):
        with self.server() as server, server.smtp() as session:
            self.assertEqual(self.refused(session, "OAUTHBEARER", bearer(self.keys.token("es"), "root@test.example"))[1], 535)
            self.assertEqual(self.refused(session, "XOAUTH2", xoauth2(self.keys.token("es"), "root@test.example"))[1], 535)
            server.wait_log("the token belongs to demo@test.example")

    def test_junk_is_refused_at_once(self):
        with self.server() as server, server.smtp() as session:
            for text in (b"", b"n,,", b"n,,\1\1", b"p=x,,\1auth=Bearer x\1\1", b"n,,\1auth=Basic x\1\1", b"n,a==2X,\1auth=Bearer x\1\1", b"\0"):
                code, _ = session.docmd("AUTH", "OAUTHBEARER " + (b64(text) or "="))
                self.assertEqual(code, 535, text)
            self.assertEqual(session.docmd("AUTH", "XOAUTH2 " + b64(b"auth=Bearer x\1\1"))[0], 535)
            self.assertEqual(session.docmd("AUTH", "XOAUTH2 " + xoauth2(self.keys.token("es")))[0], 235)

    def test_a_new_key_is_taken_without_a_restart(self):
        with self.server(("rs",)) as server:
            server.write("keys", self.keys.public("rs") + self.keys.public("es"))

            def logs_in():
                with server.smtp() as session:
                    code, _ = session.docmd("AUTH", "OAUTHBEARER " + bearer(self.keys.token("es")))
                    if code == 334:
                        session.docmd("AQ==")
                    return code == 235
            wait_until(logs_in, "a login with the new key")


class FakeProvider(http.server.BaseHTTPRequestHandler):
    """RFC 7662 with three tokens: good, dead, slow; answers only to our login."""

    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        token = form["token"][0]
        if self.headers["Authorization"] != "Basic " + b64(b"postrider:p4ss"):
            return self.send_error(401)
        if token == "slow":
            self.server.hold.wait(600)
        answer = {"active": token == "good", "email": "demo@test.example", "scope": "smtp", "exp": time.time() + 60,
                  "iss": "https://id.test.example", "aud": "mail.test.example"}
        if token == "broken":
            answer = ["active"]
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        with contextlib.suppress(OSError):
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, *_):
        pass


class Introspection(unittest.TestCase):
    def setUp(self):
        self.provider = http.server.ThreadingHTTPServer(("127.0.0.1", 0), FakeProvider)
        self.provider.daemon_threads = True
        self.provider.hold = threading.Event()
        threading.Thread(target=self.provider.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.provider.server_address[1]}/introspect"

    def tearDown(self):
        self.provider.hold.set()
        self.provider.shutdown()
        self.provider.server_close()

    def server(self) -> Postrider:
        return Postrider(main=MAIN + f"smtpd_sasl_oauth_introspection_url = {self.url}\n"
                         "smtpd_sasl_oauth_client_file = {folder}/etc/client\n", files={"client": "postrider:p4ss\n"})

    def test_the_server_decides(self):
        with self.server() as server, server.smtp() as session:
            code, text = session.docmd("AUTH", "XOAUTH2 " + xoauth2("dead"))
            self.assertEqual((code, json.loads(base64.b64decode(text))["status"]), (334, "invalid_token"))
            self.assertEqual(session.docmd("")[0], 535)
            server.wait_log("the token is not active")
            self.assertEqual(session.docmd("AUTH", "XOAUTH2 " + xoauth2("broken"))[0], 454)
            self.assertEqual(session.docmd("AUTH", "OAUTHBEARER " + bearer("good"))[0], 235)

    def test_a_server_that_hangs_or_is_gone_is_a_temporary_failure_for_its_client(self):
        with self.server() as server, server.smtp() as waiting, server.smtp() as session:
            waiting.putcmd("AUTH", "OAUTHBEARER " + bearer("slow"))
            self.assertEqual(session.docmd("AUTH", "OAUTHBEARER " + bearer("good"))[0], 235)
            self.assertEqual(waiting.getreply()[0], 454)
            self.provider.shutdown()
            self.provider.server_close()
            self.assertEqual(waiting.docmd("AUTH", "OAUTHBEARER " + bearer("good"))[0], 454)


class Settings(unittest.TestCase):
    def refused(self, main: str) -> str:
        server = Postrider(main=MAIN + main, files={"junk": "junk\n", "client": "nothing\n", "two": "id:a\nid:b\n", "long": "x" * 70000}, start=False)
        try:
            return server.run("postfix", "start").stderr + server.log_text()
        finally:
            server.close()

    def test_what_cannot_work_is_told(self):
        url = "smtpd_sasl_oauth_introspection_url = http://127.0.0.1/\n"
        for main, reason in (("smtpd_sasl_oauth_key_file = {folder}/etc/junk\n", "neither public keys in PEM"),
                             ("smtpd_sasl_oauth_key_file = {folder}/etc/none\n", "No such file"),
                             ("smtpd_sasl_oauth_key_file = {folder}/etc/long\n", "etc/long: it is longer than 64 KiB"),
                             (url + "smtpd_sasl_oauth_client_file = {folder}/etc/two\n", "ID:SECRET"),
                             ("smtpd_sasl_oauth_key_file = {folder}/etc/junk\nsmtpd_sasl_oauth_audience =\n", "needs smtpd_sasl_oauth_audience"),
                             ("smtpd_sasl_oauth_introspection_url = http://id.test.example/\n", "by https only"),
                             ("smtpd_sasl_oauth_introspection_url = http://127.id.test.example/\n", "by https only"),
                             (url + "smtpd_sasl_oauth_client_file = {folder}/etc/client\n", "ID:SECRET"),
                             (url + "smtpd_sasl_builtin_mechanisms = FOO\n", "there is no FOO")):
            self.assertIn(reason, self.refused(main), main)


if __name__ == "__main__":
    unittest.main()
