# SPDX-License-Identifier: Apache-2.0
"""DANE where hosts have IPv6 alone, and what the parameters of the resolver make of it."""

import re
import tempfile
import unittest
from pathlib import Path

from certificates import chain, self_signed, tlsa
from mx_host import MxHost
from postrider import Postrider, free_ports
from signed_dns import SignedDns, Zone

TEXT = "Subject: hello\r\n\r\nbody\r\n"
JUNK = "00112233445566778899aabbccddeeff" * 2
NOT_VERIFIED = r"dsn=4.7.5, status=deferred \(Server certificate not verified\)"


class DaneSettings(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temp = tempfile.TemporaryDirectory(prefix="dane-settings-")
        cls.addClassCleanup(temp.cleanup)
        cls.folder = folder = Path(temp.name)
        for name in "good", "bad":
            self_signed(folder, name, "elsewhere.invalid")
        cls.port = free_ports(1)[0]
        cls.v4, cls.v6 = (MxHost(address, cls.port, chain(folder, "good")) for address in ("127.0.1.9", "::1"))
        for host in cls.v4, cls.v6:
            cls.addClassCleanup(host.close)
        cls.dns = SignedDns([Zone("example", cls.records())])
        cls.dns.__enter__()
        cls.addClassCleanup(cls.dns.__exit__)

    @classmethod
    def records(cls) -> str:
        good, bad = tlsa(cls.folder, "good"), tlsa(cls.folder, "bad")
        hosts = (("six", "AAAA ::1", [good]), ("six-bad", "AAAA ::1", [bad]), ("six-none", "AAAA ::1", []), ("six-unusable", "AAAA ::1", [f"0 0 1 {JUNK}"]),
                 ("four", "A 127.0.1.9", [good]), ("four-bad", "A 127.0.1.9", [bad]), ("sha512", "A 127.0.1.9", [tlsa(cls.folder, "good", 3, 1, 2)]),
                 ("agility", "A 127.0.1.9", [good, f"3 1 2 {JUNK}{JUNK}"]))
        text = "".join(f"{name} IN MX 10 mx.{name}\nmx.{name} IN {address}\n" + "".join(f"_{cls.port}._tcp.mx.{name} IN TLSA {r}\n" for r in found)
                       for name, address, found in hosts)
        # Nobody takes mail at the IPv4 address of this one.
        return text + f"both IN MX 10 mx.both\nmx.both IN A 127.0.1.10\nmx.both IN AAAA ::1\n_{cls.port}._tcp.mx.both IN TLSA {good}\n"

    def start(self, more: str = "", validates: bool = True) -> Postrider:
        at = f"postrider_dns_server = 127.0.0.1:{self.dns.port}\npostrider_dnssec_trust_anchors = {self.dns.anchors}\n"
        if not validates:
            at = f"postrider_dnssec_resolver = 127.0.0.1:{self.dns.validating_port}\n"
        self.v4.mail.clear()
        self.v6.mail.clear()
        return Postrider(main=f"inet_protocols = all\nsmtp_dns_support_level = dnssec\nsmtp_tls_security_level = dane\nsmtp_host_lookup = dns\n"
                              f"smtp_tls_loglevel = 1\nsmtp_tcp_port = {self.port}\n{at}{more}")

    def send(self, ours: Postrider, name: str, outcome: str) -> str:
        ours.send("a@source.example", [f"b@{name}.example"], TEXT)
        return ours.wait_log(rf"to=<b@{name}.example>, .*{outcome}").group(0)

    def test_hosts_with_ipv6_alone_are_held_to_their_records(self):
        for validates in True, False:
            with self.subTest(validates=validates), self.start(validates=validates) as ours:
                self.send(ours, "six", r"relay=mx.six.example\[::1\]:\d+, .*tls=dane, .*status=sent")
                ours.wait_log(r"Verified TLS connection established to mx.six.example\[::1\]:")
                self.send(ours, "six-bad", NOT_VERIFIED)
                self.send(ours, "six-none", "tls=dane:may, .*status=sent")
                self.send(ours, "six-unusable", "tls=dane:encrypt, .*status=sent")
                self.assertEqual(self.v6.mail, [("b@six.example", True, "mx.six.example"), ("b@six-none.example", True, ""),
                                                ("b@six-unusable.example", True, "")])

    def test_the_other_address_of_a_host_is_held_to_the_same_records(self):
        with self.start("smtp_address_preference = ipv4\n") as ours:
            self.send(ours, "both", r"relay=mx.both.example\[::1\]:\d+, .*tls=dane, .*status=sent")
            ours.wait_log(r"connect to mx.both.example\[127.0.1.10\]:\d+: Connection refused")

    def test_without_ipv6_such_a_host_cannot_be_reached(self):
        with self.start("inet_protocols = ipv4\n") as ours:
            self.send(ours, "six", r"tls=dane\?, .*status=(deferred|bounced)")
            self.assertEqual(self.v6.mail, [])

    def test_what_stands_in_the_way_of_dane_is_told_and_dane_only_waits(self):
        cases = (("smtp_dns_support_level = enabled", "smtp_dns_support_level is not dnssec"), ("smtp_host_lookup = native", "smtp_host_lookup has no dns"),
                 ("ignore_mx_lookup_error = yes", "ignore_mx_lookup_error is yes"),
                 ("smtp_dns_resolver_options = res_dnsrch", "smtp_dns_resolver_options add domains to names"),
                 ("smtp_dns_resolver_options = res_defnames", "smtp_dns_resolver_options add domains to names"),
                 ("tls_dane_digests = no-such-digest", "tls_dane_digests: "),
                 ("postrider_dnssec_resolver = name.example", 'postrider_dnssec_resolver: "name.example" is no address or address:port'))
        for line, reason in cases:
            with self.subTest(line=line):
                with self.start(f"{line}\nsmtp_tls_policy_maps = inline:{{ {{four-bad.example = dane-only}} }}\n") as ours:
                    ours.wait_log(rf'smtp\[\d+\]: warning: .*TLS level "dane" is no more than "may": {re.escape(reason)}')
                    self.send(ours, "four-bad", r"dsn=4.7.5, status=deferred \(client TLS configuration problem\)")

    def test_digests_count_in_the_order_of_tls_dane_digests(self):
        with self.start() as ours:
            self.send(ours, "sha512", "tls=dane, .*status=sent")
            self.send(ours, "agility", NOT_VERIFIED)
        with self.start("tls_dane_digests = sha256 sha512\n") as ours:
            self.send(ours, "sha512", "tls=dane, .*status=sent")
            self.send(ours, "agility", "tls=dane, .*status=sent")
        with self.start("tls_dane_digests = sha256\n") as ours:
            self.send(ours, "sha512", "tls=dane:encrypt, .*status=sent")
            self.send(ours, "agility", "tls=dane, .*status=sent")

    def test_dnssec_probe_asks_once_for_what_is_signed(self):
        # "four" is signed, its lookups need no probe; the literal address is not.
        for probe, warns in (("mx:six.example", False), ("mx:elsewhere.invalid", True), ("", False)):
            with self.subTest(probe=probe), self.start(f"dnssec_probe = {probe}\ntransport_maps = inline:{{ {{four-bad.example = smtp:[127.0.1.9]}} }}\n") as ours:
                self.send(ours, "four", "tls=dane, .*status=sent")
                self.send(ours, "four-bad", "tls=dane:may, .*status=sent")
                self.assertEqual("DNSSEC validation may be unavailable" in ours.log_text(), warns)

    def test_the_name_server_may_be_written_in_three_ways_and_a_wrong_one_is_refused(self):
        for form in "127.0.0.1:{}", "127.0.0.1@{}", "[127.0.0.1]:{}":
            with self.subTest(form=form), self.start(f"postrider_dns_server = {form.format(self.dns.port)}\n") as ours:
                self.send(ours, "four", "tls=dane, .*status=sent")
        with self.assertRaisesRegex(AssertionError, 'postrider_dns_server: "name.example" is no address'):
            self.start("postrider_dns_server = name.example\n").close()


if __name__ == "__main__":
    unittest.main()
