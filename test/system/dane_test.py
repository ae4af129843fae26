# SPDX-License-Identifier: Apache-2.0
"""DANE for SMTP: signed zones on NSD behind Unbound, and hosts that match their TLSA records or do not (RFC 7672)."""

import re
import subprocess
import tempfile
import unittest
from dataclasses import dataclass
from pathlib import Path

import mx_host
from mx_host import MxHost, tlsa
from postrider import BUILD, Postrider, free_ports
from signed_dns import SignedDns, Zone

TEXT = "Subject: hello\r\n\r\nbody\r\n"
JUNK = "00112233445566778899aabbccddeeff" * 2

# Outcomes: how the mail goes, or why it waits.
VERIFIED, TRUSTED, ENCRYPTED, CLEAR = "Verified", "Trusted", "Untrusted", "clear"
NOT_VERIFIED = r"4.7.5, status=deferred \(Server certificate not verified\)"
NO_TLS_OFFERED = r"4.7.4, status=deferred \(TLS is required, but was not offered by host "
NO_HANDSHAKE = r"4.7.5, status=deferred \(Cannot start TLS: handshake failure\)"
TLSA_ERROR = r"4.7.5, status=deferred \(TLSA lookup error for mx.[\w.-]+:\d+\)"
DNS_ERROR = r"4.4.3, status=deferred \(Host or domain name not found. Name service error for name=[\w.-]+ type=\w+: "
NO_TLSA = r"4.7.5, status=deferred \(no TLSA records found\)"
NONE_USABLE = r"4.7.5, status=deferred \(TLSA records unusable\)"
NOT_SIGNED = r"4.7.5, status=deferred \(non DNSSEC destination\)"

HOSTS = {"self": "127.0.1.1", "expired": "127.0.1.2", "other": "127.0.1.3", "ta": "127.0.1.4", "ta-expired": "127.0.1.5",
         "ta-misnamed": "127.0.1.6", "clear": "127.0.1.7", "junk": "127.0.1.8"}


@dataclass
class Case:
    """Mail to NAME.example, whose MX host mx.NAME is one of HOSTS and has these TLSA records. `zone` are further records or, with
    `has_mx` false, all of them."""
    name: str
    host: str
    tlsa: list
    outcome: str
    level: str = "dane"
    sni: str = ""  # "" means mx.NAME.example
    has_mx: bool = True
    zone: str = ""
    transport: str = ""  # as transport_maps has it


class World:
    """Certificates, hosts, and the cases in their zones."""

    def __init__(self):
        self._temp = tempfile.TemporaryDirectory(prefix="dane-")
        self.folder = Path(self._temp.name)
        self.port = free_ports(1)[0]
        self._make_certificates()
        self.cases = self._make_cases()
        chains = {name: self.folder / f"{name}.pem" for name in HOSTS if name not in ("clear", "junk")}
        self.hosts = {name: MxHost(address, self.port, chains.get(name), name == "junk") for name, address in HOSTS.items()}

    def close(self) -> None:
        for host in self.hosts.values():
            host.close()
        self._temp.cleanup()

    def _make_certificates(self) -> None:
        for key in ("a", "b"):
            mx_host.make_key(self.folder, key)
        mx_host.make_authority(self.folder, "ca")
        mx_host.make_leaf(self.folder, "self", "a", ["elsewhere.invalid"])
        mx_host.make_leaf(self.folder, "expired", "a", ["elsewhere.invalid"], days=-1)
        mx_host.make_leaf(self.folder, "other", "b", ["elsewhere.invalid"])
        names = ["mx.ta.example", "mx.ta-key.example", "ta-domain.example", "*.ta-wild.example", "mx.ta-whole.example",
                 "alias-domain.example"]
        mx_host.make_leaf(self.folder, "ta", "b", names, authority="ca")
        mx_host.make_leaf(self.folder, "ta-expired", "b", ["mx.ta-expired.example"], days=-1, authority="ca")
        mx_host.make_leaf(self.folder, "ta-misnamed", "b", ["elsewhere.invalid"], authority="ca")

    def _make_cases(self) -> list[Case]:
        f = self.folder
        ours, theirs = tlsa(f, "self"), tlsa(f, "other")
        pkix = [tlsa(f, "self", 0), tlsa(f, "self", 1)]
        at = f"_{self.port}._tcp"
        return [
            # Usage 3: the key or certificate is all that counts.
            Case("ee-key", "self", [ours], VERIFIED),
            Case("ee-certificate", "self", [tlsa(f, "self", 3, 0, 1)], VERIFIED),
            Case("ee-sha512", "self", [tlsa(f, "self", 3, 1, 2)], VERIFIED),
            Case("ee-whole-key", "self", [tlsa(f, "self", 3, 1, 0)], VERIFIED),
            Case("ee-whole-certificate", "self", [tlsa(f, "self", 3, 0, 0)], VERIFIED),
            Case("ee-mismatch", "self", [theirs], NOT_VERIFIED),
            Case("ee-expired", "expired", [tlsa(f, "expired")], VERIFIED),
            Case("ee-rollover", "self", [theirs, ours], VERIFIED),
            Case("ee-many", "self", [f"3 1 1 {i:02x}{JUNK[2:]}" for i in range(50)] + [ours], VERIFIED),
            Case("ee-attributes", "self", [ours], VERIFIED, level="dane protocols=TLSv1.2 ciphers=high"),
            Case("ee-only", "self", [ours], VERIFIED, level="dane-only"),
            # Usage 2: an authority of theirs vouches, for names and for as long as it says.
            Case("ta", "ta", [tlsa(f, "ca", 2, 0, 1)], VERIFIED),
            Case("ta-key", "ta", [tlsa(f, "ca", 2, 1, 2)], VERIFIED),
            Case("ta-whole", "ta", [tlsa(f, "ca", 2, 0, 0)], VERIFIED),
            Case("ta-domain", "ta", [tlsa(f, "ca", 2, 0, 1)], VERIFIED),
            Case("ta-wild", "ta", [tlsa(f, "ca", 2, 0, 1)], VERIFIED),
            Case("ta-expired", "ta-expired", [tlsa(f, "ca", 2, 0, 1)], NOT_VERIFIED),
            Case("ta-misnamed", "ta-misnamed", [tlsa(f, "ca", 2, 0, 1)], NOT_VERIFIED),
            Case("ta-unknown", "self", [tlsa(f, "ca", 2, 0, 1)], NOT_VERIFIED),
            Case("ta-or-ee", "ta-misnamed", [tlsa(f, "ca", 2, 0, 1), tlsa(f, "ta-misnamed")], VERIFIED),
            # Which records count.
            Case("agility", "self", [ours, f"3 1 2 {JUNK}{JUNK}"], NOT_VERIFIED),
            Case("agility-good", "self", [tlsa(f, "self", 3, 1, 2), f"3 1 1 {JUNK}"], VERIFIED),
            Case("mixed", "self", [*pkix, ours], VERIFIED),
            Case("unusable", "self", pkix, ENCRYPTED),
            Case("unusable-clear", "clear", pkix, NO_TLS_OFFERED),
            Case("unusable-only", "self", pkix, NONE_USABLE, level="dane-only"),
            Case("unusable-digest", "self", [f"3 1 77 {JUNK}"], ENCRYPTED),
            # No TLSA record, and no TLS.
            Case("none", "self", [], ENCRYPTED),
            Case("none-clear", "clear", [], CLEAR),
            Case("none-only", "self", [], NO_TLSA, level="dane-only"),
            Case("stripped", "clear", [ours], NO_TLS_OFFERED),
            Case("junk", "junk", [ours], NO_HANDSHAKE),
            # What is bogus or cannot be had.
            Case("bogus-mx", "self", [ours], DNS_ERROR, has_mx=False, zone="bogus-mx IN MX 77 mx.ee-key\n"),
            Case("bogus-address", "clear", [ours], DNS_ERROR, has_mx=False,
                 zone="bogus-address IN MX 10 mx.bogus-address\nmx.bogus-address IN A 127.0.1.177\n"),
            Case("bogus-tlsa", "clear", [f"3 1 1 77{JUNK[2:]}"], TLSA_ERROR),
            Case("dead-tlsa", "clear", [], TLSA_ERROR),
            Case("old-signatures", "clear", [], DNS_ERROR, has_mx=False),
            # Nobody vouches.
            Case("unsigned", "self", [], ENCRYPTED, has_mx=False),
            Case("unsigned-clear", "clear", [], CLEAR, has_mx=False),
            Case("unsigned-only", "self", [], NOT_SIGNED, level="dane-only", has_mx=False),
            Case("unsigned-mx", "self", [], TRUSTED, sni="mx.ee-key.example", has_mx=False),
            Case("unsigned-mx-mismatch", "self", [], NOT_VERIFIED, has_mx=False),
            Case("unsigned-mx-encrypt", "self", [], ENCRYPTED, has_mx=False, transport="half-encrypt"),
            Case("unsigned-mx-strip", "clear", [], NO_TLS_OFFERED, has_mx=False, transport="half-encrypt"),
            Case("unsigned-mx-may", "clear", [], CLEAR, has_mx=False, transport="half-may"),
            # Nobody vouches for the address either: TLSA records are not looked for, unless that is forced.
            Case("unsigned-dead", "self", [], ENCRYPTED, has_mx=False),
            Case("unsigned-forced", "self", [], TLSA_ERROR, has_mx=False, transport="forced"),
            # The way to the host.
            Case("alias", "self", [], VERIFIED, sni="mx.ee-key.example", has_mx=False,
                 zone="alias IN MX 10 mx.alias\nmx.alias IN CNAME mx.ee-key\n"),
            Case("alias-own", "self", [], VERIFIED, sni="mx.alias-own.example", has_mx=False,
                 zone=f"alias-own IN MX 10 mx.alias-own\nmx.alias-own IN CNAME mx.none\n{at}.mx.alias-own IN TLSA {ours}\n"),
            Case("alias-out", "self", [], VERIFIED, sni="mx.alias-out.example", has_mx=False,
                 zone=f"alias-out IN MX 10 mx.alias-out\nmx.alias-out IN CNAME mx.unsigned\n{at}.mx.alias-out IN TLSA {ours}\n"),
            Case("alias-tlsa", "self", [], VERIFIED,
                 zone=f"{at}.mx.alias-tlsa IN CNAME {at}.mx.ee-key\n"),
            Case("alias-domain", "ta", [], VERIFIED, sni="mx.ta.example", has_mx=False, zone="alias-domain IN CNAME ta\n"),
            Case("no-mx", "self", [], VERIFIED, sni="no-mx.example", has_mx=False,
                 zone=f"no-mx IN A {HOSTS['self']}\n{at}.no-mx IN TLSA {ours}\n"),
            Case("bracketed", "self", [], VERIFIED, sni="mx.ee-key.example", has_mx=False, transport="smtp:[mx.ee-key.example]",
                 zone="bracketed IN MX 10 mx.none-clear\n"),
            Case("literal", "self", [], ENCRYPTED, has_mx=False, transport=f"smtp:[{HOSTS['self']}]"),
            Case("two-hosts", "self", [], VERIFIED, sni="mx.ee-key.example", has_mx=False,
                 zone="two-hosts IN MX 10 mx.ee-mismatch\ntwo-hosts IN MX 20 mx.ee-key\n"),
        ]

    def zones(self) -> list[Zone]:
        """Most cases are names of the top zone; those that are broken as a whole have zones of their own."""
        at, top = f"_{self.port}._tcp", ""
        for case in self.cases:
            top += case.zone
            if case.has_mx:
                top += f"{case.name} IN MX 10 mx.{case.name}\nmx.{case.name} IN A {HOSTS[case.host]}\n"
            top += "".join(f"{at}.mx.{case.name} IN TLSA {data}\n" for data in case.tlsa)
        own = tlsa(self.folder, "self")

        def outside(name: str, host: str = "mx", **more) -> Zone:
            records = f"@ IN MX 10 {host}\nmx IN A {HOSTS['clear' if 'clear' in name else 'self']}\n{at}.mx IN TLSA {own}\n"
            return Zone(f"{name}.example", records, **more)

        return [
            Zone("example", top, spoil=[("MX\t77 ", "MX\t78 "), ("127.0.1.177", "127.0.1.7"), (f"3 1 1 77{JUNK[2:]}", f"3 1 1 78{JUNK[2:]}")]),
            Zone("_tcp.mx.dead-tlsa.example", "", is_served=False),
            *(Zone(f"_tcp.mx.{name}.example", "", is_signed=False, is_served=False, is_known=False) for name in ("unsigned-dead", "unsigned-forced")),
            *(Zone(f"{name}.example", f"@ IN MX 10 mx\nmx IN A {HOSTS['self']}\n_tcp.mx IN NS ns._tcp.mx\nns._tcp.mx IN A 127.0.0.1\n",
                   is_signed=False) for name in ("unsigned-dead", "unsigned-forced")),
            outside("old-signatures", is_expired=True),
            *(outside(name, is_signed=False) for name in ("unsigned", "unsigned-clear", "unsigned-only")),
            outside("unsigned-mx", "mx.ee-key.example.", is_signed=False),
            outside("unsigned-mx-mismatch", "mx.ee-mismatch.example.", is_signed=False),
            outside("unsigned-mx-encrypt", "mx.ee-mismatch.example.", is_signed=False),
            outside("unsigned-mx-strip", "mx.stripped.example.", is_signed=False),
            outside("unsigned-mx-may", "mx.stripped.example.", is_signed=False),
        ]

    def settings(self) -> dict:
        """Arguments for Postrider, but for where the DNS is."""
        policies = "".join(f"{case.name}.example {case.level}\n" for case in self.cases if case.level != "dane")
        transports = "".join(f"{case.name}.example {case.transport}\n" for case in self.cases if case.transport)
        main = f"""\
smtp_dns_support_level = dnssec
smtp_tls_security_level = dane
smtp_host_lookup = dns
smtp_tls_loglevel = 1
smtp_tcp_port = {self.port}
smtp_tls_policy_maps = texthash:{{folder}}/etc/policies
transport_maps = texthash:{{folder}}/etc/transports
"""
        master = "".join(f"half-{policy} unix - - n - - smtp\n  -o smtp_tls_dane_insecure_mx_policy={policy}\n" for policy in ("encrypt", "may"))
        master += "forced unix - - n - - smtp\n  -o smtp_tls_force_insecure_host_tlsa_lookup=yes\n"
        return {"main": main, "master": master, "files": {"policies": policies, "transports": transports}}


class Dane(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = World()
        cls.addClassCleanup(cls.world.close)
        cls.dns = SignedDns(cls.world.zones())
        cls.dns.__enter__()
        cls.addClassCleanup(cls.dns.__exit__)

    def start(self, more: str) -> Postrider:
        settings = self.world.settings()
        settings["main"] += more
        return Postrider(**settings)

    def check_mail(self, case: Case) -> None:
        """What arrived, and how."""
        recipient = f"b@{case.name}.example"
        arrived = [mail for host in self.world.hosts.values() for mail in host.mail if mail[0] == recipient]
        if case.outcome in (VERIFIED, TRUSTED):
            self.assertEqual(arrived, [(recipient, True, case.sni or f"mx.{case.name}.example")])
        elif case.outcome in (ENCRYPTED, CLEAR):
            self.assertEqual([is_encrypted for _, is_encrypted, _ in arrived], [case.outcome == ENCRYPTED])
        else:
            self.assertEqual(arrived, [])

    def run_cases(self, ours: Postrider) -> None:
        for host in self.world.hosts.values():
            host.mail.clear()
        for case in self.world.cases:
            ours.send("a@source.example", [f"b@{case.name}.example"], TEXT)
        for case in self.world.cases:
            with self.subTest(case=case.name):
                is_sent = case.outcome in (VERIFIED, TRUSTED, ENCRYPTED, CLEAR)
                ours.wait_log(rf"to=<b@{case.name}.example>, .*dsn={r'2.0.0, status=sent' if is_sent else case.outcome}")
                if is_sent and case.outcome != CLEAR:
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
        settings = self.world.settings()
        settings["main"] += more
        with Postrider(start=False, **settings) as ours:
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
