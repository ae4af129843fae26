# SPDX-License-Identifier: Apache-2.0
"""What becomes of mail at each TLS level when the next hop, or someone on the way, does not do what it should: beside Debian's Postfix."""

import contextlib
import re
import smtplib
import subprocess
import tempfile
import unittest
from pathlib import Path

import debian_postfix
from certificates import fingerprint
from next_hop import NAME, NextHop, make_authority
from postrider import PATIENCE, Postrider, free_ports, wait_until

TEXT = "Subject: hello\r\n\r\nbody\r\n"
LEVELS = ("none", "may", "encrypt", "fingerprint match={self}", f"verify match={NAME}", f"secure match={NAME}")
# What is wrong: (name, certificate, fault).
WRONGS = (("no offer", "good", "no-offer"), ("stripped", "good", "stripped"), ("454 to STARTTLS", "good", "refused"),
          ("501 to STARTTLS", "good", "refused-for-good"), ("handshake fails", "good", "broken"), ("self-signed", "self", ""), ("wrong name", "wrong", ""), ("expired", "expired", ""),
          ("other authority", "other", ""), ("good", "good", ""), ("smuggled reply", "good", "smuggled"))


class Case:
    def __init__(self, at: int, level: str, name: str, hop: NextHop):
        self.title = f"{level.split()[0]}, {name}"
        self.domain = f"c{at}.example"
        self.nexthop = f"[127.0.0.2]:{hop.port}"
        self.level = level
        self.hop = hop


def configuration(folder: Path, cases: list[Case]) -> str:
    own = fingerprint(folder / "self.pem")
    policies = ", ".join(f"{{ {c.nexthop} = {c.level.replace('{self}', own)} }}" for c in cases)
    routes = ", ".join(f"{{ {c.domain} = smtp:{c.nexthop} }}" for c in cases)
    return (f"smtp_tls_loglevel = 1\nsmtp_tls_CAfile = {folder}/ca.pem\nsmtp_tls_fingerprint_digest = sha256\n"
            f"smtp_tls_policy_maps = inline:{{ {policies} }}\ntransport_maps = inline:{{ {routes} }}\n"
            "notify_classes =\nrelay_domains = static:all\n")


def send_all(port: int, cases: list[Case]) -> None:
    with smtplib.SMTP("127.0.0.1", port, "source.example", timeout=PATIENCE) as session:
        for case in cases:
            session.sendmail("a@source.example", [f"b@{case.domain}"], TEXT)


def first_outcome(log_text, case: Case) -> tuple:
    """Of the first attempt: the DSN code and the status."""
    pattern = re.compile(rf"to=<b@{case.domain}>.* dsn=([\d.]+), status=(\w+)")
    found = wait_until(lambda: pattern.search(log_text()), f"an outcome of {case.title}")
    return found.group(1), found.group(2)


def hops(folder: Path, stack: contextlib.ExitStack, levels=LEVELS, wrongs=WRONGS) -> list[Case]:
    return [Case(at, level, name, stack.enter_context(NextHop(folder, certificate, fault)))
            for at, (level, (name, certificate, fault)) in enumerate((level, wrong) for level in levels for wrong in wrongs)]


def run_ours(folder: Path, more: str = "", **what) -> dict:
    with contextlib.ExitStack() as stack:
        cases = hops(folder, stack, **what)
        with Postrider(main=configuration(folder, cases) + more) as ours:
            send_all(ours.ports["smtp"], cases)
            return outcomes(ours.log_text, cases, more)


def run_postfix(folder: Path, more: str = "", **what) -> dict:
    port = free_ports(1)[0]
    with contextlib.ExitStack() as stack:
        cases = hops(folder, stack, **what)
        with debian_postfix.DebianPostfix(main=configuration(folder, cases) + "mynetworks = 127.0.0.0/8\n" + more,
                                          master=f"127.0.0.1:{port} inet n - n - - smtpd\n") as peer:
            peer.start(port)
            send_all(port, cases)
            try:
                return outcomes(peer.log_text, cases, more)
            except AssertionError as error:
                raise AssertionError(f"{error}\n{peer.log_text()}") from error


def outcomes(log_text, cases: list[Case], more: str) -> dict:
    """{title: (dsn, status, was mail encrypted, did any of it go in clear)}; with `more` those of the second attempt count."""
    table = {}
    for case in cases:
        dsn, status = first_outcome(log_text, case)
        if more and status == "deferred":
            wait_until(lambda c=case: c.hop.messages, f"mail in clear: {case.title}")
            status = "sent later"
        table[case.title] = (dsn, status, [is_encrypted for is_encrypted, _ in case.hop.messages], bool(case.hop.clear_mail()))
    return table


class Outcomes(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        temp = tempfile.TemporaryDirectory(prefix="outcomes-")
        self.addCleanup(temp.cleanup)
        self.folder = Path(temp.name)
        self.folder.chmod(0o755)
        make_authority(self.folder)

    def test_every_level_does_with_every_fault_what_postfix_does(self):
        ours = run_ours(self.folder)
        theirs = run_postfix(self.folder)
        # Postfix throws such a reply away and goes on; here nobody is trusted who talks that way. Neither takes it for an answer.
        for level in LEVELS[1:]:
            title = f"{level.split()[0]}, smuggled reply"
            self.assertEqual(ours.pop(title), ("4.7.5", "deferred", [], False))
            self.assertFalse(theirs.pop(title)[3])
        self.assertEqual(ours, theirs)

    def test_trust_anchors_are_certificates_or_public_keys_as_in_postfix(self):
        key = subprocess.run(["openssl", "x509", "-in", "ca.pem", "-noout", "-pubkey"], cwd=self.folder, capture_output=True, check=True).stdout
        (self.folder / "ca-key.pem").write_bytes(key)
        (self.folder / "both.pem").write_bytes((self.folder / "strange.pem").read_bytes() + key)
        wrongs = tuple(wrong for wrong in WRONGS if wrong[0] in ("self-signed", "wrong name", "expired", "other authority", "good"))
        trusted = {"ca.pem": {"good"}, "ca-key.pem": {"good"}, "strange.pem": {"other authority"}, "both.pem": {"good", "other authority"}}
        for anchor, names in trusted.items():
            with self.subTest(anchor=anchor):
                levels = (f"secure match={NAME} tafile={self.folder}/{anchor}",)
                ours = run_ours(self.folder, levels=levels, wrongs=wrongs)
                self.assertEqual({title.split(", ")[1] for title, outcome in ours.items() if outcome[1] == "sent"}, names)
                self.assertEqual(ours, run_postfix(self.folder, levels=levels, wrongs=wrongs))

    def test_mail_that_waited_goes_in_clear_where_postfix_lets_it(self):
        quick = "minimal_backoff_time = 1s\nmaximal_backoff_time = 1s\nqueue_run_delay = 1s\n"
        faults = tuple(wrong for wrong in WRONGS if wrong[2] == "broken")
        ours = run_ours(self.folder, quick, levels=("may",), wrongs=faults)
        self.assertEqual(ours, run_postfix(self.folder, quick, levels=("may",), wrongs=faults))
        self.assertEqual(ours, {"may, handshake fails": ("4.7.5", "sent later", [False], True)})

    def test_what_was_offered_in_clear_is_forgotten_inside_tls(self):
        with NextHop(self.folder, fault="silent-auth", more=("AUTH PLAIN",)) as hop:
            main = (f"relayhost = [127.0.0.2]:{hop.port}\nsmtp_tls_security_level = encrypt\nsmtp_sasl_auth_enable = yes\n"
                    "smtp_sasl_password_maps = static:demo:secret\nsmtp_sasl_security_options =\n")
            with Postrider(main=main) as ours:
                ours.send("a@source.example", ["b@far.example"], TEXT)
                ours.wait_log(r"status=sent \(250 2.0.0 Ok: kept\)")
        self.assertEqual([line for _, line in hop.heard if line.upper().startswith(b"AUTH")], [])


if __name__ == "__main__":
    unittest.main()
