# SPDX-License-Identifier: Apache-2.0
"""What operators have: swaks to send by hand, pflogsumm and fail2ban to read the log."""

import re
import smtplib
import unittest

from log_readers import fail2ban_regex, pflogsumm, swaks
from postrider import PATIENCE, Postrider, any_certificate

HELLO = "From: a@example.org\nTo: demo@test.example\nSubject: hello\n\nIt works.\n"


class Sending(unittest.TestCase):
    def test_smtplib_sends_on_each_port(self):
        with Postrider() as server:
            for service in server.ports:
                server.send("a@example.org", ["demo@test.example"], HELLO.replace("hello", service), service)
            subjects = {re.search(rb"^Subject: (\w+)", m, re.M).group(1).decode() for m in server.wait_mail("demo", 3)}
            self.assertEqual(subjects, set(server.ports))

    def check_swaks(self, server: Postrider, *args: str) -> str:
        done = swaks("--server", "127.0.0.1", "--from", "a@example.org", "--to", "demo@test.example", "--helo", "client.example", *args)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"<[-~*]+\s+250 2\.0\.0 Ok: queued as \w+")
        return done.stdout

    def test_swaks_sends_in_clear(self):
        with Postrider() as server:
            self.check_swaks(server, "--port", str(server.ports["smtp"]))
            server.wait_mail("demo")

    def test_swaks_sends_with_starttls_and_each_mechanism(self):
        with Postrider() as server:
            for mechanism in ("PLAIN", "LOGIN"):
                text = self.check_swaks(server, "--port", str(server.ports["submission"]), "--tls", "--auth", mechanism,
                                        "--auth-user", "demo", "--auth-password", "secret")
                self.assertIn("235 2.7.0 Authentication successful", text)
            server.wait_mail("demo", 2)

    def test_swaks_sends_with_tls_from_the_first_byte(self):
        with Postrider() as server:
            self.check_swaks(server, "--port", str(server.ports["submissions"]), "--tls-on-connect", "--auth", "PLAIN",
                             "--auth-user", "demo", "--auth-password", "secret")
            server.wait_mail("demo")

    def test_swaks_logs_in_by_each_mechanism_in_both_kinds_of_tls(self):
        main = "smtpd_sasl_builtin_mechanisms = PLAIN, LOGIN, CRAM-MD5\n"
        with Postrider(main=main, files={"passwords": "demo {PLAIN}secret\n"}) as server:
            for service, option in (("submission", "--tls"), ("submissions", "--tls-on-connect")):
                for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5"):
                    with self.subTest(service=service, mechanism=mechanism):
                        common = ("--port", str(server.ports[service]), option, "--auth", mechanism, "--auth-user", "demo", "--auth-password")
                        self.check_swaks(server, *common, "secret")
                        server.wait_log(rf"/{service}/smtpd\[.*sasl_method={mechanism}, sasl_username=demo$")
                        done = swaks("--server", "127.0.0.1", "--to", "demo@test.example", "--helo", "client.example", *common, "guess")
                        self.assertIn("535 5.7.8 Error: authentication failed", done.stdout)
                        self.assertNotEqual(done.returncode, 0)
            self.assertEqual(len(server.wait_mail("demo", 6)), 6)

    def test_a_wrong_password_is_refused(self):
        with Postrider() as server:
            done = swaks("--server", "127.0.0.1", "--port", str(server.ports["submission"]), "--tls", "--auth", "PLAIN",
                         "--auth-user", "demo", "--auth-password", "guess", "--to", "demo@test.example")
            self.assertIn("535 5.7.8 Error: authentication failed", done.stdout)
            self.assertNotEqual(done.returncode, 0)


class Log(unittest.TestCase):
    def test_pflogsumm_counts_what_happened(self):
        with Postrider() as server:
            for _ in range(3):
                server.send("a@example.org", ["demo@test.example", "other@test.example"], HELLO)
            with server.smtp() as session:
                session.mail("a@example.org")
                self.assertEqual(session.rcpt("not an address@")[0] // 100, 5)
            server.wait_log(r": removed$", 3)
            server.wait_log(r"disconnect from", 4)
            report = pflogsumm(server.log)
            self.assertRegex(report, r"\b3\s+received\n")
            self.assertRegex(report, r"\b6\s+delivered\n")
            self.assertRegex(report, r"\b0\s+bounced\n")
            self.assertRegex(report, r"\b2\s+recipients\n")
            self.assertRegex(report, r"Illegal address syntax")

    def test_fail2ban_sees_relay_attempts_and_wrong_passwords(self):
        strict = "mynetworks = 192.0.2.1\n"
        with Postrider(main=strict) as server:
            with server.smtp() as session:
                session.mail("a@example.org")
                self.assertEqual(session.rcpt("victim@elsewhere.example")[0], 554)
            session = smtplib.SMTP_SSL("127.0.0.1", server.ports["submissions"], "client.example", timeout=PATIENCE,
                                       context=any_certificate())
            with self.assertRaises(smtplib.SMTPAuthenticationError):
                session.login("demo", "guess")
            session.quit()
            server.wait_log("disconnect from", 2)
            report = fail2ban_regex(server.log)
            self.assertRegex(report, r"554 5\.7\.1 <victim@elsewhere\.example>: Relay access denied")
            self.assertRegex(report, r"SASL \S+ authentication failed")
            self.assertRegex(report, r"Failregex: [2-9]\d* total")


if __name__ == "__main__":
    unittest.main()
