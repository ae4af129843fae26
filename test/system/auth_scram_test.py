# SPDX-License-Identifier: Apache-2.0
"""SCRAM, CRAM-MD5 and ANONYMOUS of the built-in back end, with clients of the test's own and GNU SASL's."""

import os
import ssl
import subprocess
import unittest

import debian_packages
from postrider import BUILD, Postrider, any_certificate, wait_until
from scram_client import Scram, stored_secret

MAIN = "smtpd_sasl_auth_enable = yes\nmynetworks =\n"


def server_with(entries: dict, main: str = "") -> Postrider:
    return Postrider(main=MAIN + main, files={"passwords": "".join(f"{name} {value}\n" for name, value in entries.items())})


def run_plain(name: str, *args: str, **more) -> subprocess.CompletedProcess:
    return subprocess.run([str(BUILD / "bin" / name), *args], capture_output=True, text=True, timeout=60, **more)


def starttls(session, version=None) -> None:
    context = any_certificate()
    if version:
        context.minimum_version = context.maximum_version = version
    session.starttls(context=context)
    session.ehlo()


def gsasl(server: Postrider, mechanism: str, user: str, password: str, *more: str) -> subprocess.CompletedProcess:
    """GNU SASL's command as an SMTP client; it uses STARTTLS where that is offered."""
    root = debian_packages.unpacked("gsasl")
    env = dict(os.environ, LD_LIBRARY_PATH=debian_packages.library_path(root))
    return subprocess.run([str(root / "usr/bin/gsasl"), "--smtp", f"--mechanism={mechanism}", f"--authentication-id={user}", "--authorization-id=",
                           f"--password={password}", "--no-client-first", "--x509-ca-file=", "127.0.0.1", str(server.ports["smtp"]), *more], env=env, input="",
                          capture_output=True, text=True, timeout=120)


class Offered(unittest.TestCase):
    def offered(self, entries: dict, main: str = "", tls: bool = False) -> list[str]:
        with server_with(entries, main) as server, server.smtp() as session:
            if tls:
                starttls(session)
            return session.esmtp_features["auth"].split()

    def test_what_every_entry_can_do_is_offered(self):
        scram, crypt = stored_secret("secret"), "$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/"
        self.assertEqual(self.offered({"a": scram}), ["SCRAM-SHA-256", "PLAIN", "LOGIN"])
        self.assertEqual(self.offered({"a": scram}, tls=True), ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"])
        self.assertEqual(self.offered({"a": scram, "b": crypt}), ["PLAIN", "LOGIN"])
        self.assertEqual(self.offered({"a": "{PLAIN}x"}), ["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN"])

    def test_named_mechanisms_and_the_filter_decide(self):
        named = "smtpd_sasl_builtin_mechanisms = PLAIN, cram-md5, SCRAM-SHA-256\n"
        self.assertEqual(self.offered({"a": "$1$x$y"}, named), ["PLAIN", "CRAM-MD5", "SCRAM-SHA-256"])
        self.assertEqual(self.offered({"a": "$1$x$y"}, named + "smtpd_sasl_mechanism_filter = !cram-md5, static:rest\n"),
                         ["PLAIN", "SCRAM-SHA-256"])
        self.assertEqual(self.offered({"a": "$1$x$y"}, named + "smtpd_sasl_security_options = noplaintext, nodictionary\n"),
                         ["SCRAM-SHA-256"])
        self.assertEqual(self.offered({"a": "$1$x$y"}, named + "smtpd_sasl_security_options = mutual_auth\n"), ["SCRAM-SHA-256"])

    def test_a_table_that_becomes_fit_is_noticed(self):
        with server_with({"demo": "$1$x$y"}) as server:
            with server.smtp() as session:
                self.assertNotIn("SCRAM", session.esmtp_features["auth"])
            server.write("passwords", "demo " + stored_secret("secret") + "\n")

            def is_offered():
                with server.smtp() as session:
                    session.docmd("AUTH", "PLAIN AGRlbW8AeA==")
                    return "SCRAM-SHA-256" in session.esmtp_features["auth"]
            wait_until(is_offered, "SCRAM in EHLO")


class Made(unittest.TestCase):
    def test_what_the_command_makes_lets_its_password_in(self):
        with Postrider(main=MAIN + "smtpd_sasl_builtin_mechanisms = PLAIN SCRAM-SHA-256 SCRAM-SHA-1\n") as server:
            def made(*args):
                done = run_plain("postrider", "password", *args, input="secret\n")
                self.assertEqual(done.returncode, 0, done.stderr)
                return done.stdout.strip()
            entries = {"scram": made(), "more": made("-i", "5000"), "old": made("-s", "scram-sha-1"), "crypt": made("-s", "CRYPT"),
                       "plain": made("-s", "PLAIN")}
            self.assertTrue(entries["more"].startswith("{SCRAM-SHA-256}5000,"))
            self.assertNotEqual(entries["scram"], made())
            server.write("passwords", "".join(f"{name} {value}\n" for name, value in entries.items()))
            server.reload()
            for user, mechanism in (("scram", "SCRAM-SHA-256"), ("more", "SCRAM-SHA-256"), ("old", "SCRAM-SHA-1"), ("plain", "SCRAM-SHA-1")):
                with server.smtp() as session:
                    self.assertEqual(Scram(user, "secret", mechanism).login(session)[0], 235, user)
            for user in entries:
                with server.smtp() as session:
                    session.user, session.password = user, "secret"
                    self.assertEqual(session.auth("PLAIN", session.auth_plain)[0], 235, user)

    def test_a_password_that_cannot_be_is_refused(self):
        for args, text in (((), "\n"), ((), ""), (("-s", "ROT13"), "x\n"), (("-i", "1"), "x\n"), ((), "x" * 2000 + "\n")):
            self.assertEqual(run_plain("postrider", "password", *args, input=text).returncode, 1, args)


class Login(unittest.TestCase):
    ENTRIES = {"demo": stored_secret("secret"), "clear": "{PLAIN}secret", "old": stored_secret("secret", "SCRAM-SHA-1"),
               "many": stored_secret("secret", iterations=20000, salt=b"x" * 24)}
    ALL = "smtpd_sasl_builtin_mechanisms = SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 PLAIN LOGIN ANONYMOUS\n"

    def test_scram_with_stored_and_with_plain_secrets(self):
        with server_with(self.ENTRIES, self.ALL) as server:
            for user, mechanism in (("demo", "SCRAM-SHA-256"), ("clear", "SCRAM-SHA-256"), ("many", "SCRAM-SHA-256"),
                                    ("clear", "SCRAM-SHA-1"), ("old", "SCRAM-SHA-1")):
                for first_with_auth in (True, False):
                    with server.smtp() as session:
                        self.assertEqual(Scram(user, "secret", mechanism).login(session, first_with_auth)[0], 235, (user, mechanism))
                        session.mail("a@test.example")
                        self.assertEqual(session.rcpt("x@elsewhere.example")[0], 250)
            server.wait_log("sasl_method=SCRAM-SHA-256, sasl_username=demo$")

    def test_wrong_passwords_unfit_secrets_and_unknown_names_get_the_same_answer(self):
        with server_with(self.ENTRIES, self.ALL) as server, server.smtp() as session:
            answers = {Scram(user, password).login(session) for user, password in
                       (("demo", "wrong"), ("clear", "wrong"), ("old", "secret"), ("nobody", "secret"))}
            self.assertEqual(answers, {(535, b"5.7.8 Error: authentication failed: authentication failure")})
            self.assertEqual(Scram("demo", "secret").login(session)[0], 235)
            server.wait_log("SASL SCRAM-SHA-256 authentication failed: authentication failure, sasl_username=nobody")

    def test_an_unknown_name_has_a_salt_that_stays(self):
        with server_with({"demo": stored_secret("secret", iterations=7000)}) as server:
            def seen(user):
                with server.smtp() as session:
                    client = Scram(user, "guess")
                    client.login(session)
                    return client.salt, client.iterations
            first = seen("nobody")
            self.assertEqual(first[1], 7000)
            self.assertEqual(len(first[0]), len(seen("demo")[0]))
            self.assertEqual(seen("nobody"), first)
            self.assertEqual(seen("NoBody"), first)
            self.assertNotEqual(seen("nobody2")[0], first[0])
            server.reload()
            self.assertEqual(seen("nobody"), first)

    def test_nobody_acts_for_another(self):
        with server_with(self.ENTRIES, self.ALL) as server, server.smtp() as session:
            self.assertEqual(Scram("demo", "secret", authzid="root").login(session)[0], 535)
            self.assertEqual(Scram("demo", "secret", authzid="demo").login(session)[0], 235)

    def test_the_channel_is_bound(self):
        with server_with(self.ENTRIES, self.ALL) as server:
            with server.smtp() as session:
                starttls(session, ssl.TLSVersion.TLSv1_2)
                binding = session.sock.get_channel_binding("tls-unique")
                plus = dict(mechanism="SCRAM-SHA-256-PLUS", binding=binding)
                self.assertEqual(Scram("demo", "secret", mechanism="SCRAM-SHA-256-PLUS", binding=b"x" * 12).login(session)[0], 535)
                self.assertEqual(Scram("demo", "secret", binding_name="tls-exporter", **plus).login(session)[0], 535)
                self.assertEqual(Scram("demo", "secret", **plus).login(session)[0], 235)

    def test_a_client_that_was_shown_no_plus_is_refused(self):
        with server_with(self.ENTRIES, self.ALL) as server, server.smtp() as session:
            self.assertEqual(Scram("demo", "secret", flag="y").login(session)[0], 235)
        with server_with(self.ENTRIES, self.ALL) as server, server.smtp() as session:
            starttls(session, ssl.TLSVersion.TLSv1_2)
            self.assertEqual(Scram("demo", "secret", flag="y").login(session)[0], 535)
            self.assertEqual(Scram("demo", "secret", flag="n").login(session)[0], 235)

    def test_junk_in_a_dialogue_is_refused_and_forgotten(self):
        with server_with(self.ENTRIES, self.ALL) as server, server.smtp() as session:
            for line in ("AAAA", "bix4", "biwsbj1kZW1vLHI9", "eSwsbj1kZW1vLHI9YQ==x"):
                code, _ = session.docmd("AUTH", "SCRAM-SHA-256 " + line)
                if code == 334:
                    code, _ = session.docmd("biws")
                self.assertEqual(code, 535, line)
            self.assertEqual(session.docmd("AUTH", "SCRAM-SHA-256 =")[0], 334)
            self.assertEqual(session.docmd("*")[0], 501)
            self.assertEqual(Scram("demo", "secret").login(session)[0], 235)

    def test_gnu_sasl_logs_in_with_everything_it_knows(self):
        with server_with(self.ENTRIES, self.ALL) as server:
            for mechanism, user in (("SCRAM-SHA-256-PLUS", "demo"), ("SCRAM-SHA-256", "demo"), ("SCRAM-SHA-1", "old"),
                                    ("CRAM-MD5", "clear"), ("PLAIN", "many"), ("LOGIN", "demo")):
                binding = [] if "PLUS" in mechanism else ["--no-cb"]
                done = gsasl(server, mechanism, user, "secret", *binding)
                self.assertIn("235 2.7.0", done.stdout + done.stderr, mechanism)
                done = gsasl(server, mechanism, user, "wrong", *binding)
                self.assertNotIn("235 2.7.0", done.stdout + done.stderr, mechanism)

    def test_cram_md5_needs_a_plain_secret(self):
        with server_with(self.ENTRIES, self.ALL) as server:
            for user, password, code in (("clear", "secret", 235), ("clear", "wrong", 535), ("demo", "secret", 535), ("nobody", "x", 535)):
                with server.smtp() as session:
                    session.user, session.password = user, password
                    try:
                        self.assertEqual(session.auth("CRAM-MD5", session.auth_cram_md5)[0], code)
                    except Exception as refusal:
                        self.assertEqual(refusal.smtp_code, code)

    def test_anonymous_only_where_it_is_not_forbidden(self):
        with server_with(self.ENTRIES, self.ALL + "smtpd_sasl_security_options =\n") as server, server.smtp() as session:
            self.assertEqual(session.docmd("AUTH", "ANONYMOUS Zm9v")[0], 235)
        with server_with(self.ENTRIES, self.ALL) as server, server.smtp() as session:
            self.assertEqual(session.docmd("AUTH", "ANONYMOUS Zm9v")[0], 535)


if __name__ == "__main__":
    unittest.main()
