# SPDX-License-Identifier: Apache-2.0
"""DANE for SMTP: signed zones on NSD behind Unbound, and hosts that match their TLSA records or do not (RFC 7672)."""

import re
import subprocess
import unittest

import dane_cases
from dane_cases import CLEAR, TEXT, TRUSTED, VERIFIED
from postrider import BUILD, Postrider
from signed_dns import SignedDns


class Dane(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = dane_cases.World()
        cls.addClassCleanup(cls.world.close)
        cls.dns = SignedDns(cls.world.zones())
        cls.dns.__enter__()
        cls.addClassCleanup(cls.dns.__exit__)

    def start(self, more: str) -> Postrider:
        main, master = self.world.settings()
        return Postrider(main=main + more, master=master)

    def check_mail(self, case: dane_cases.Case) -> None:
        """What arrived, and how."""
        arrived = self.world.arrived(case)
        if case.outcome in (VERIFIED, TRUSTED):
            self.assertEqual(arrived, [(True, case.sni or f"mx.{case.name}.example")])
        elif case.is_sent:
            self.assertEqual([is_encrypted for is_encrypted, _ in arrived], [case.outcome != CLEAR])
        else:
            self.assertEqual(arrived, [])

    def run_cases(self, ours: Postrider) -> None:
        self.world.forget_mail()
        for case in self.world.cases:
            ours.send("a@source.example", [f"b@{case.name}.example"], TEXT)
        for case in self.world.cases:
            with self.subTest(case=case.name):
                ours.wait_log(rf"to=<b@{case.name}.example>, .*tls={re.escape(case.tls)}, dsn={'2.0.0, status=sent' if case.is_sent else case.outcome}")
                if case.is_sent and case.outcome != CLEAR:
                    host = ours.wait_log(rf"to=<b@{case.name}.example>, relay=([^,]+),").group(1)
                    ours.wait_log(rf"{case.outcome} TLS connection established to {re.escape(host)}: ")
                self.check_mail(case)

    def test_every_case_of_rfc_7672_with_answers_that_we_validate(self):
        more = f"postrider_dns_server = 127.0.0.1:{self.dns.port}\npostrider_dnssec_trust_anchors = {self.dns.anchors}\n"
        with self.start(more) as ours:
            self.run_cases(ours)
            ours.wait_log("warning: DNSSEC validation may be unavailable")

    def test_without_trust_anchors_dane_is_no_more_than_may_and_dane_only_waits(self):
        more = f"postrider_dns_server = 127.0.0.1:{self.dns.port}\npostrider_dnssec_trust_anchors = {{folder}}/none\n"
        with self.start(more) as ours:
            ours.wait_log(r'smtp\[\d+\]: warning: .*TLS level "dane" is no more than "may": no DNSSEC trust anchors '
                          r"\(postrider_dnssec_trust_anchors = /.*/none\): No such file or directory")
            for name in ("ee-mismatch", "ee-only"):
                ours.send("a@source.example", [f"b@{name}.example"], TEXT)
            ours.wait_log(r"to=<b@ee-mismatch.example>, .*status=sent")
            ours.wait_log(r"to=<b@ee-only.example>, .*dsn=4.7.5, status=deferred \(client TLS configuration problem\)")

    def test_the_command_tells_what_delivery_would_do(self):
        more = f"postrider_dns_server = 127.0.0.1:{self.dns.port}\npostrider_dnssec_trust_anchors = {self.dns.anchors}\n"
        wanted = [("ee-key.example", 0, r"MX signed: +yes\n +address signed: yes\n +TLSA records: +1 in use, below mx.ee-key.example\n +3 1 1 \w+\n"
                                        r" +mail goes: +encrypted, if the host matches a TLSA record \(dane\)"),
                  ("unusable.example", 0, r"TLSA records: +0 in use[^|]*encrypted, whoever the host is"),
                  ("unsigned.example", 0, r"MX signed: +no[^|]*where the host offers it"),
                  ("alias.example", 0, r"stands for: +mx.ee-key.example"),
                  ("none-only.example", 1, r"not there: no TLSA records found"),
                  ("bogus-mx.example", 1, r"DNSSEC validation failure")]
        main, master = self.world.settings()
        with Postrider(main=main + more, master=master, start=False) as ours:
            for domain, status, text in wanted:
                with self.subTest(domain=domain):
                    done = subprocess.run([str(BUILD / "bin" / "postrider"), "dane", "-c", str(ours.etc), domain], capture_output=True,
                                          text=True, timeout=60)
                    self.assertEqual(done.returncode, status, done.stdout + done.stderr)
                    self.assertRegex(done.stdout, text)

    def test_every_case_of_rfc_7672_with_a_resolver_that_is_trusted(self):
        with self.start(f"postrider_dnssec_resolver = 127.0.0.1:{self.dns.validating_port}\ndnssec_probe = mx:ee-key.example\n") as ours:
            self.run_cases(ours)
            self.assertNotIn("DNSSEC validation may be unavailable", ours.log_text())


if __name__ == "__main__":
    unittest.main()
