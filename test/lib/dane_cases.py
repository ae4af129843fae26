# SPDX-License-Identifier: Apache-2.0
"""The cases of DANE for SMTP (RFC 7672): zones, hosts that match their TLSA records or do not, and what becomes of mail."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from certificates import Authority, alt_names, chain, self_signed, tlsa
from mx_host import MxHost
from postrider import free_ports
from signed_dns import Zone

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

    @property
    def is_sent(self) -> bool:
        return self.outcome in (VERIFIED, TRUSTED, ENCRYPTED, CLEAR)

    @property
    def tls(self) -> str:
        """tls= of the log line."""
        level = self.level.split()[0]
        if self.outcome == ENCRYPTED:
            return "dane:encrypt" if "unusable" in self.name or self.transport == "half-encrypt" else "dane:may"
        return {VERIFIED: level, TRUSTED: "dane:halfdane", CLEAR: "dane:none", NOT_VERIFIED: "!dane:encrypt", NO_TLS_OFFERED: "!dane:none",
                NO_TLSA: "!dane-only", NONE_USABLE: "!dane-only", NOT_SIGNED: "!dane-only"}.get(self.outcome, "dane?")


class World:
    """Certificates, hosts, and the cases in their zones."""

    def __init__(self):
        self._temp = tempfile.TemporaryDirectory(prefix="dane-")
        self.folder = Path(self._temp.name)
        self.folder.chmod(0o755)
        self.port = free_ports(1)[0]
        self._make_certificates()
        self.cases = self._make_cases()
        (self.folder / "policies").write_text("".join(f"{c.name}.example {c.level}\n" for c in self.cases if c.level != "dane"))
        (self.folder / "transports").write_text("".join(f"{c.name}.example {c.transport}\n" for c in self.cases if c.transport))
        self.hosts = {name: MxHost(address, self.port, self._chain(name), name == "junk") for name, address in HOSTS.items()}

    def close(self) -> None:
        for host in self.hosts.values():
            host.close()
        self._temp.cleanup()

    def _make_certificates(self) -> None:
        for name in ("self", "expired", "other"):
            self_signed(self.folder, name, "elsewhere.invalid", expired=name == "expired")
        ca = Authority(self.folder)
        ca.sign("ta", alt_names("mx.ta.example", "mx.ta-key.example", "ta-domain.example", "*.ta-wild.example", "mx.ta-whole.example",
                                "alias-domain.example"))
        ca.sign("ta-expired", alt_names("mx.ta-expired.example"), expired=True)
        ca.sign("ta-misnamed", alt_names("elsewhere.invalid"))

    def _chain(self, host: str) -> Path | None:
        return None if host in ("clear", "junk") else chain(self.folder, host, "ca" if host.startswith("ta") else "")

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

    def settings(self) -> tuple[str, str]:
        """Lines for main.cf, but for where the DNS is, and for master.cf."""
        main = f"""\
smtp_dns_support_level = dnssec
smtp_tls_security_level = dane
smtp_host_lookup = dns
smtp_tls_loglevel = 1
smtp_tcp_port = {self.port}
smtp_tls_policy_maps = texthash:{self.folder}/policies
transport_maps = texthash:{self.folder}/transports
"""
        master = "".join(f"half-{policy} unix - - n - - smtp\n  -o smtp_tls_dane_insecure_mx_policy={policy}\n" for policy in ("encrypt", "may"))
        master += "forced unix - - n - - smtp\n  -o smtp_tls_force_insecure_host_tlsa_lookup=yes\n"
        return main, master

    def arrived(self, case: Case) -> list[tuple]:
        """(was it encrypted, name asked for by SNI) of each mail of this case."""
        recipient = f"b@{case.name}.example"
        return [mail[1:] for host in self.hosts.values() for mail in host.mail if mail[0] == recipient]

    def forget_mail(self) -> None:
        for host in self.hosts.values():
            host.mail.clear()
