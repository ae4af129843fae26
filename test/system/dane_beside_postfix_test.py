# SPDX-License-Identifier: Apache-2.0
"""DANE beside Debian's Postfix: the same zones, hosts and mail, and every case must come to the same end."""

import re
import smtplib
import unittest

import dane_cases
from dane_cases import ENCRYPTED, TEXT
from debian_postfix import DebianPostfix
from postrider import PATIENCE, Postrider, free_ports, wait_until
from signed_dns import SignedDns


class BesidePostfix(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.world = dane_cases.World()
        cls.addClassCleanup(cls.world.close)
        cls.dns = SignedDns(cls.world.zones())
        cls.dns.__enter__()
        cls.addClassCleanup(cls.dns.__exit__)

    def outcome(self, log_text, case: dane_cases.Case) -> tuple:
        """Of the first attempt: DSN code, status, does the log call the connection what it should, and how the mail arrived."""
        line = wait_until(lambda: re.search(rf"to=<b@{case.name}\.example>, relay=([^,]+),.* dsn=([\d.]+), status=(\w+)", log_text()),
                          f"an outcome of {case.name}")
        host, dsn, status = line.groups()
        words = re.findall(rf"(\w+) TLS connection established to {re.escape(host)}: ", log_text()) if status == "sent" else []
        # Where no host can be matched its name says nothing; Postfix sends it with some of these records, and with others not.
        arrived = [(is_encrypted, "" if case.outcome == ENCRYPTED else name) for is_encrypted, name in self.world.arrived(case)]
        return dsn, status, case.outcome in words, arrived

    def run_cases(self, cases: list[dane_cases.Case], port: int, log_text) -> dict:
        self.world.forget_mail()
        before = len(log_text())
        with smtplib.SMTP("127.0.0.1", port, "source.example", timeout=PATIENCE) as session:
            for case in cases:
                session.sendmail("a@source.example", [f"b@{case.name}.example"], TEXT)
        return {case.name: self.outcome(lambda: log_text()[before:], case) for case in cases}

    def test_every_case_ends_as_with_postfix(self):
        main, master = self.world.settings()
        main += "notify_classes =\nrelay_domains = static:all\nsmtp_tls_dane_insecure_mx_policy = dane\n"
        resolver = f"127.0.0.1:{self.dns.validating_port}"
        with Postrider(main=main + f"postrider_dnssec_resolver = {resolver}\n", master=master) as ours:
            got = self.run_cases(self.world.cases, ours.ports["smtp"], ours.log_text)
        port = free_ports(1)[0]
        main += "mynetworks = 127.0.0.0/8\nsmtpd_peername_lookup = no\n"
        with DebianPostfix(main=main, master=master + f"127.0.0.1:{port} inet n - n - - smtpd\n", resolver=resolver) as theirs:
            theirs.start(port)
            wanted = self.run_cases(self.world.cases, port, theirs.log_text)
            # libc gives an answer of the DNS a few seconds, which a busy machine may not keep to: once more, and alone.
            for case in self.world.cases:
                if wanted[case.name] != got[case.name]:
                    wanted |= self.run_cases([case], port, theirs.log_text)
        self.assertEqual(got, wanted)


if __name__ == "__main__":
    unittest.main()
