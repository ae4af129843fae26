# SPDX-License-Identifier: Apache-2.0
"""The same AUTH dialogues with Debian's Postfix and with ours, over Cyrus SASL and over Dovecot: codes and texts are equal. Needs root."""

import base64
import os
import smtplib
import tempfile
import unittest
from pathlib import Path

from debian_dovecot import DebianDovecot
from debian_postfix import DebianPostfix
from postrider import PATIENCE, Postrider, free_ports


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


GOOD = b64("\0demo\0secret")
DIALOGUES = {
    "syntax": ["AUTH", "AUTH PLAIN a b", "AUTH  PLAIN", "*", "AUTH FOO", "AUTH FOO abc", "AUTH PLAIN=", "AUTH plain " + GOOD],
    "base64": ["AUTH PLAIN !!!", "AUTH PLAIN", "no base64", "AUTH LOGIN", "=", "AUTH PLAIN " + GOOD[:-1], "AUTH PLAIN " + GOOD],
    "refused": ["AUTH PLAIN " + b64("\0demo\0wrong"), "AUTH PLAIN " + b64("\0nobody\0secret"), "AUTH LOGIN", b64("demo"), b64("wrong"), "NOOP"],
    "aborted": ["AUTH PLAIN", "*", "AUTH LOGIN", "*", "AUTH LOGIN", b64("demo"), "*", "AUTH CRAM-MD5 =", "NOOP"],
    "twice": ["AUTH LOGIN", b64("demo"), b64("secret"), "AUTH PLAIN " + GOOD, "AUTH", "RSET", "AUTH PLAIN " + GOOD, "EHLO again.example",
              "AUTH PLAIN " + GOOD],
    "in a transaction": ["MAIL FROM:<a@peer.example>", "AUTH PLAIN " + GOOD, "RSET", "AUTH PLAIN " + GOOD],
    "before EHLO": ["QUIT-EHLO", "AUTH PLAIN " + GOOD, "EHLO x.example", "AUTH PLAIN " + GOOD],
    "too long": ["AUTH PLAIN", "A" * 12000, "AUTH PLAIN", "A" * 13000, "NOOP", "AUTH PLAIN " + "A" * 1999, "NOOP", "AUTH PLAIN " + GOOD],
}


def converse(port: int, lines: list[str]) -> list[str]:
    """What the server says to each line."""
    begins_silent = lines[0] == "QUIT-EHLO"
    said = []
    with smtplib.SMTP("127.0.0.1", port, "client.example", timeout=PATIENCE) as session:
        if not begins_silent:
            session.ehlo()
            said += sorted(session.esmtp_features.get("auth", "").split())
        for line in lines[1:] if begins_silent else lines:
            code, text = session.docmd(line)
            if line.startswith("EHLO"):
                text = b""
            if line.startswith("AUTH CRAM"):
                text = b"CHALLENGE"
            said.append(f"{line[:30]} -> {code} {text.decode()}")
    return said


@unittest.skipUnless(os.geteuid() == 0, "Debian's Postfix starts as root only")
class Beside(unittest.TestCase):
    maxDiff = None

    def compare(self, main: str, known: dict | None = None) -> None:
        port, = free_ports(1)
        common = "smtpd_sasl_auth_enable = yes\nmynetworks =\nsmtpd_error_sleep_time = 0\nsmtpd_hard_error_limit = 100\nsmtpd_soft_error_limit = 90\n"
        with DebianPostfix(main=common + main, master=f"127.0.0.1:{port} inet n - n - - smtpd\n") as peer, \
                Postrider(main="myhostname = peer.example\n" + common + main) as server:
            peer.start(port)
            for name, lines in DIALOGUES.items():
                with self.subTest(name):
                    theirs, ours = converse(port, lines), converse(server.ports["smtp"], lines)
                    self.assertEqual([(known or {}).get(line, line) for line in theirs], ours)

    def test_cyrus(self):
        """Debian's takes its settings from /etc/postfix/sasl whatever main.cf says; with a name that has none both refuse everybody."""
        known = {}
        for lines in DIALOGUES.values():
            for line in lines:
                # What it says of base64 that is none: the library's last word from before.
                first = f"{line[:30]} -> 535 5.7.8 Error: authentication failed: another step is needed in authentication"
                known[first] = f"{line[:30]} -> 535 5.7.8 Error: authentication failed: Invalid base64 data in {'initial' if line.startswith('AUTH') else 'continued'} response"
                second = f"{line[:30]} -> 535 5.7.8 Error: authentication failed: bad protocol / cancel"
                if line == "no base64":
                    known[second] = known[first]
        known["AUTH FOO abc -> 535 5.7.8 Error: authentication failed: another step is needed in authentication"] = \
            "AUTH FOO abc -> 535 5.7.8 Error: authentication failed: no mechanism available"
        self.compare("smtpd_sasl_type = cyrus\nsmtpd_sasl_path = nothing-of-this-name\n", known)

    def test_dovecot(self):
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            with DebianDovecot(Path(folder) / "auth"):
                self.compare(f"smtpd_sasl_type = dovecot\nsmtpd_sasl_path = {folder}/auth\n")


@unittest.skipUnless(os.geteuid() == 0, "Debian's Postfix starts as root only")
class Settings(unittest.TestCase):
    """What is offered and answered under each setting, over one Dovecot."""

    maxDiff = None
    CASES = {
        "two lines": "broken_sasl_auth_clients = yes",
        "an exception": "smtpd_sasl_exceptions_networks = 127.0.0.0/8",
        "no exception": "smtpd_sasl_exceptions_networks = !127.0.0.1, 127.0.0.0/8",
        "no plaintext": "smtpd_sasl_security_options = noplaintext, noanonymous",
        "filtered": "smtpd_sasl_mechanism_filter = !login, static:rest",
        "one": "smtpd_sasl_mechanism_filter = plain",
        "rate": "smtpd_client_auth_rate_limit = 2\nsmtpd_client_event_limit_exceptions =",
        "no keyword": "smtpd_discard_ehlo_keywords = auth",
        "off": "smtpd_sasl_auth_enable = no",
    }
    LINES = ["AUTH PLAIN " + b64("\0demo\0wrong"), "AUTH LOGIN", "*", "AUTH PLAIN " + GOOD, "AUTH PLAIN " + GOOD]

    def ask(self, port: int) -> list[str]:
        said = []
        with smtplib.SMTP("127.0.0.1", port, "client.example", timeout=PATIENCE) as session:
            _, lines = session.ehlo()
            said += [" ".join(sorted(line.replace("=", "= ").split())) for line in lines.decode().split("\n") if line.startswith("AUTH")]
            code = 0
            for line in self.LINES:
                # Outside of a dialogue "*" is no SMTP, and both hang up. What the filter takes away Postfix still does for Dovecot when
                # asked; here it is refused.
                if (line == "*" and code != 334) or (line == "AUTH LOGIN" and "LOGIN" not in str(said[:1])):
                    continue
                code, text = session.docmd(line)
                said.append(f"{line[:12]} -> {code} {text.decode()}")
        return said

    def test_each_setting_does_what_it_does_in_postfix(self):
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            with DebianDovecot(Path(folder) / "auth"):
                for name, setting in self.CASES.items():
                    port, = free_ports(1)
                    main = (f"smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = {folder}/auth\nmynetworks =\n"
                            f"smtpd_error_sleep_time = 0\n{setting}\n")
                    with self.subTest(name), DebianPostfix(main=main, master=f"127.0.0.1:{port} inet n - n - - smtpd\n") as peer, \
                            Postrider(main="myhostname = peer.example\n" + main) as server:
                        peer.start(port)
                        self.assertEqual(self.ask(port), self.ask(server.ports["smtp"]))


@unittest.skipUnless(os.geteuid() == 0, "Debian's Postfix starts as root only")
class LoginMaps(unittest.TestCase):
    """Who may use which sender address."""

    RULES = ("reject_sender_login_mismatch", "reject_authenticated_sender_login_mismatch", "reject_known_sender_login_mismatch",
             "reject_unauthenticated_sender_login_mismatch")

    @staticmethod
    def ask(port: int) -> list[str]:
        said = []
        for logs_in in (False, True):
            for sender in ("own@peer.example", "shared@peer.example", "others@peer.example", "nobodys@peer.example", ""):
                with smtplib.SMTP("127.0.0.1", port, "client.example", timeout=PATIENCE) as session:
                    session.ehlo()
                    if logs_in:
                        session.docmd("AUTH", "PLAIN " + GOOD)
                    session.mail(sender)
                    code, text = session.rcpt("postmaster2@local.example")
                    said.append(f"{logs_in} <{sender}> -> {code} {text.decode()}")
        return said

    def test_each_rule_refuses_what_postfix_refuses(self):
        owners = "inline:{{own@peer.example=demo},{shared@peer.example=other, demo},{others@peer.example=other}}"
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            with DebianDovecot(Path(folder) / "auth"):
                for rule in self.RULES:
                    port, = free_ports(1)
                    main = (f"smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = {folder}/auth\nmynetworks =\n"
                            f"mydestination = local.example\nlocal_recipient_maps =\nsmtpd_error_sleep_time = 0\n"
                            f"smtpd_sender_login_maps = {owners}\nsmtpd_sender_restrictions = {rule}\n")
                    with self.subTest(rule), DebianPostfix(main=main, master=f"127.0.0.1:{port} inet n - n - - smtpd\n") as peer, \
                            Postrider(main="myhostname = peer.example\n" + main) as server:
                        peer.start(port)
                        self.assertEqual(self.ask(port), self.ask(server.ports["smtp"]))


if __name__ == "__main__":
    unittest.main()
