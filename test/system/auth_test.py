# SPDX-License-Identifier: Apache-2.0
"""AUTH against the built-in tables and against a real Dovecot."""

import base64
import os
import socket
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from debian_dovecot import DebianDovecot
from postrider import Postrider, any_certificate, wait_until
from scram_client import Scram

MAIN_AUTH = "smtpd_sasl_auth_enable = yes\nmynetworks =\n"


def plain(user: str, password: str) -> str:
    return base64.b64encode(f"\0{user}\0{password}".encode()).decode()


def crypt_hash(password: str, method: str) -> str:
    return subprocess.run(["openssl", "passwd", method, password], capture_output=True, text=True, check=True).stdout.strip()


def crypt_with(password: str, setting: str) -> str:
    """crypt(3) itself; perl is on every Debian."""
    return subprocess.run(["perl", "-e", "print crypt($ARGV[0], $ARGV[1])", password, setting], capture_output=True, text=True,
                          check=True).stdout


class BuiltIn(unittest.TestCase):
    def test_plain_and_login_open_the_relay(self):
        with Postrider(main=MAIN_AUTH) as server:
            for mechanism in ("PLAIN", "LOGIN"):
                with server.smtp() as session:
                    self.assertIn("PLAIN", session.esmtp_features["auth"])
                    session.mail("a@test.example")
                    self.assertEqual(session.rcpt("x@elsewhere.example")[0], 554)
                    session.rset()
                    session.user, session.password = "demo", "secret"
                    self.assertEqual(session.auth(mechanism, getattr(session, "auth_" + mechanism.lower()))[0], 235)
                    session.mail("a@test.example")
                    self.assertEqual(session.rcpt("x@elsewhere.example")[0], 250)
            server.wait_log("sasl_method=LOGIN, sasl_username=demo")

    def test_wrong_passwords_and_unknown_names_get_the_same_answer(self):
        with Postrider(main=MAIN_AUTH) as server, server.smtp() as session:
            answers = {session.docmd("AUTH", "PLAIN " + plain(*pair)) for pair in (("demo", "wrong"), ("nobody", "secret"), ("demo", ""))}
            self.assertEqual(answers, {(535, b"5.7.8 Error: authentication failed: authentication failure")})
            server.wait_log("warning: .*: SASL PLAIN authentication failed: authentication failure", 3)
            self.assertNotIn("wrong", server.log_text())

    def test_all_usual_hashes_are_known(self):
        hashes = {"sha512": crypt_hash("s1", "-6"), "sha256": crypt_hash("s2", "-5"), "md5": crypt_hash("s3", "-1"),
                  "yescrypt": crypt_with("s5", "$y$j9T$saltsaltsalt$"), "bcrypt": crypt_with("s6", "$2b$05$abcdefghijklmnopqrstuu")}
        table = "".join(f"{name} {value}\n" for name, value in hashes.items()) + "prefixed {SHA512-CRYPT}" + crypt_hash("s4", "-6") + "\n"
        with Postrider(main=MAIN_AUTH, files={"passwords": table}) as server, server.smtp() as session:
            for user, password in (("sha512", "s1"), ("sha256", "s2"), ("md5", "s3"), ("prefixed", "s4"), ("yescrypt", "s5"),
                                   ("bcrypt", "s6")):
                with server.smtp() as session:
                    self.assertEqual(session.docmd("AUTH", "PLAIN " + plain(user, password))[0], 235, user)

    def test_a_dialogue_can_be_given_up(self):
        with Postrider(main=MAIN_AUTH) as server, server.smtp() as session:
            self.assertEqual(session.docmd("AUTH", "LOGIN")[0], 334)
            self.assertEqual(session.docmd("*")[0], 501)
            self.assertEqual(session.docmd("AUTH", "PLAIN")[0], 334)
            self.assertEqual(session.docmd("no base64!")[0], 535)
            self.assertEqual(session.docmd("AUTH", "PLAIN " + plain("demo", "secret"))[0], 235)

    def test_auth_is_offered_inside_tls_only_where_it_must(self):
        with Postrider(main=MAIN_AUTH + "smtpd_tls_auth_only = yes\n") as server, server.smtp() as session:
            self.assertNotIn("auth", session.esmtp_features)
            session.starttls(context=any_certificate())
            session.ehlo()
            self.assertIn("auth", session.esmtp_features)
            self.assertEqual(session.docmd("AUTH", "PLAIN " + plain("demo", "secret"))[0], 235)

    def test_a_changed_table_is_read_without_a_restart(self):
        with Postrider(main=MAIN_AUTH) as server:
            server.write("passwords", "demo " + crypt_hash("fresh", "-6") + "\n")

            def logs_in():
                with server.smtp() as session:
                    return session.docmd("AUTH", "PLAIN " + plain("demo", "fresh"))[0] == 235
            wait_until(logs_in, "a login with the new password")

    def test_a_replaced_lookup_process_ends_and_dialogues_go_on(self):
        with Postrider(main=MAIN_AUTH) as server, server.smtp() as session:
            before = server.pids("lookup")
            self.assertEqual(session.docmd("AUTH", "LOGIN")[0], 334)
            server.write("passwords", "demo " + crypt_hash("fresh", "-6") + "\n")

            def is_replaced():
                with server.smtp() as other:
                    other.docmd("AUTH", "PLAIN " + plain("demo", "fresh"))
                return any(pid not in before for pid in server.pids("lookup"))
            wait_until(is_replaced, "a new lookup process")
            self.assertEqual(session.docmd(base64.b64encode(b"demo").decode())[0], 334)
            self.assertEqual(session.docmd(base64.b64encode(b"secret").decode())[0], 235)
            wait_until(lambda: not set(before) & set(server.pids("lookup")), "the end of the old lookup process")

    def test_a_dead_lookup_process_is_replaced(self):
        with Postrider(main=MAIN_AUTH) as server, server.smtp() as session:
            before = server.pids("lookup")
            server.kill("lookup")
            wait_until(lambda: server.pids("lookup") not in ([], before), "a new lookup process")

            def logs_in():
                with server.smtp() as other:
                    return other.docmd("AUTH", "PLAIN " + plain("demo", "secret"))[0] == 235
            wait_until(logs_in, "a login")


class Dovecot(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="auth-")
        os.chmod(self.folder.name, 0o755)
        self.socket = Path(self.folder.name) / "auth"
        self.main = MAIN_AUTH + f"smtpd_sasl_type = dovecot\nsmtpd_sasl_path = {self.socket}\n"

    def tearDown(self):
        self.folder.cleanup()

    def test_a_real_dovecot_checks_passwords(self):
        with DebianDovecot(self.socket) as dovecot, Postrider(main=self.main) as server:
            with server.smtp() as session:
                self.assertEqual(session.esmtp_features["auth"].split(), ["PLAIN", "LOGIN", "CRAM-MD5"])
            for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5"):
                with server.smtp() as session:
                    session.user, session.password = "demo", "secret"
                    method = getattr(session, "auth_" + mechanism.lower().replace("-", "_"))
                    self.assertEqual(session.auth(mechanism, method)[0], 235, dovecot.log_text())
                    session.mail("a@test.example")
                    self.assertEqual(session.rcpt("x@elsewhere.example")[0], 250)
            server.wait_log("sasl_method=CRAM-MD5, sasl_username=demo")
            with server.smtp() as session:
                self.assertEqual(session.docmd("AUTH", "PLAIN " + plain("demo", "wrong"))[0], 535)
                self.assertEqual(session.docmd("AUTH", "PLAIN " + plain("demo", "secret"))[0], 235)

    def test_scram_of_a_real_dovecot(self):
        with DebianDovecot(self.socket, mechanisms="plain scram-sha-1 scram-sha-256") as dovecot, Postrider(main=self.main) as server:
            for mechanism in ("SCRAM-SHA-1", "SCRAM-SHA-256"):
                for password, code in (("wrong", 535), ("secret", 235)):
                    with server.smtp() as session:
                        self.assertIn(mechanism, session.esmtp_features["auth"].split())
                        self.assertEqual(Scram("demo", password, mechanism).login(session)[0], code, dovecot.log_text())
            server.wait_log("sasl_method=SCRAM-SHA-256, sasl_username=demo|SASL SCRAM-SHA-256 authentication failed")

    def test_security_options_take_mechanisms_away(self):
        main = self.main + "smtpd_sasl_security_options = noanonymous, noplaintext\nsmtpd_sasl_tls_security_options = noanonymous\n"
        with DebianDovecot(self.socket), Postrider(main=main) as server, server.smtp() as session:
            self.assertEqual(session.esmtp_features["auth"].split(), ["CRAM-MD5"])
            session.starttls(context=any_certificate())
            session.ehlo()
            self.assertEqual(session.esmtp_features["auth"].split(), ["PLAIN", "LOGIN", "CRAM-MD5"])

    def test_a_dovecot_that_is_gone_is_a_temporary_failure_and_may_come_back(self):
        with Postrider(main=self.main) as server:
            with server.smtp() as session:
                self.assertNotIn("auth", session.esmtp_features)
            server.wait_log(r"warning: localhost\[127.0.0.1\]: AUTH is not offered: .*Dovecot")
            with DebianDovecot(self.socket):
                def logs_in():
                    with server.smtp() as session:
                        return session.docmd("AUTH", "PLAIN " + plain("demo", "secret"))[0] == 235
                wait_until(logs_in, "a login at the Dovecot that came")
                waiting = server.smtp()
            with waiting:
                self.assertEqual(waiting.docmd("AUTH", "PLAIN " + plain("demo", "secret"))[0], 454)
                self.assertEqual(waiting.noop()[0], 250)
                self.socket.unlink(missing_ok=True)
                with DebianDovecot(self.socket):
                    def is_in():
                        """It is tried again some seconds after it was found gone; a session may fail only so often."""
                        time.sleep(1)
                        return waiting.docmd("AUTH", "PLAIN " + plain("demo", "secret"))[0] == 235
                    wait_until(is_in, "a login at the Dovecot that came back")

    def test_a_dovecot_that_is_gone_is_not_noticed_before_tls_where_tls_must_come_first(self):
        main = self.main + "smtpd_tls_security_level = encrypt\npostrider_process_count = 1\n"
        with Postrider(main=main) as server, server.smtp() as inside, server.smtp() as outside:
            inside.starttls(context=any_certificate())
            inside.ehlo()
            server.wait_log("AUTH is not offered: .*Dovecot")
            self.assertEqual(outside.ehlo()[0], 250)
            self.assertEqual(outside.quit()[0], 221)
            server.wait_log("disconnect from")
            self.assertEqual(server.log_text().count("AUTH is not offered"), 1)

    def test_a_dovecot_that_hangs_holds_nobody_else_up(self):
        with socket.socket(socket.AF_UNIX) as silent, Postrider(main=self.main) as server:
            with DebianDovecot(self.socket):
                with server.smtp() as session:
                    self.assertIn("auth", session.esmtp_features)
            self.socket.unlink(missing_ok=True)
            silent.bind(str(self.socket))
            self.socket.chmod(0o666)
            silent.listen(10)
            with server.smtp() as session, server.smtp() as other:
                session.putcmd("AUTH", "PLAIN " + plain("demo", "secret"))
                other.mail("a@elsewhere.example")
                self.assertEqual(other.rcpt("demo@test.example")[0], 250)
                self.assertEqual(session.getreply()[0], 454)


if __name__ == "__main__":
    unittest.main()
