# SPDX-License-Identifier: Apache-2.0
"""TLS reports (RFC 8460): outcomes are gathered, and go to the domains that ask for them when the period is over."""

import contextlib
import email
import gzip
import json
import re
import smtplib
import tempfile
import unittest
from pathlib import Path

from certificates import Authority
from far_hosts import NextHop, WebServer
from name_server import NameServer
from postrider import PATIENCE, Postrider, wait_until

TEXT = "Subject: hello\r\n\r\nbody\r\n"
POLICY = "version: STSv1\nmode: enforce\nmx: mx.far.example\nmax_age: 86400\n"
# Reports to reports.example come to mailboxes of ours.
SETTINGS = """\
smtp_tlsrpt_enable = yes
postrider_tlsrpt_delay = 0
postrider_tlsrpt_organization = Example Ltd
virtual_alias_maps = inline:{tls@reports.example=demo@test.example}
virtual_alias_domains = reports.example
smtp_tls_security_level = may
smtp_mta_sts = yes
smtp_connection_cache_on_demand = no
"""


class World:
    """far.example, whose mail host shows `certificate` and whose policy names it, and which wants reports at `rua`."""

    def __init__(self, rua: str, certificate: str = "mx.far.example", more: str = "postrider_tlsrpt_period = 8\n"):
        self._stack = contextlib.ExitStack()
        try:
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="rpt-")))
            folder.chmod(0o755)
            authority = Authority(folder)
            web_certificate = authority.host("mta-sts.far.example", "collector.example")
            self.web = self._stack.enter_context(WebServer(web_certificate, text=POLICY))
            self.hop = self._stack.enter_context(NextHop("127.0.0.2", certificate=authority.host(certificate)))
            zone = {"far.example": [("MX", 10, "mx.far.example")], "mx.far.example": [("A", "127.0.0.2")],
                    "_mta-sts.far.example": [("TXT", "v=STSv1; id=1")], "mta-sts.far.example": [("A", "127.0.0.1")],
                    "collector.example": [("A", "127.0.0.1")],
                    "_smtp._tls.far.example": [("TXT", "v=TLSRPTv1; rua=" + rua.replace("PORT", str(self.web.port)))] if rua else []}
            self.dns = self._stack.enter_context(NameServer(zone, ttl=0))
            main = (f"postrider_dns_server = 127.0.0.1@{self.dns.port}\nsmtp_tcp_port = {self.hop.port}\nsmtp_tls_CAfile = {authority.file}\n"
                    f"postrider_mta_sts_port = {self.web.port}\npostrider_mta_sts_CAfile = {authority.file}\n{SETTINGS}{more}")
            self.ours = self._stack.enter_context(Postrider(main=main))
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> "World":
        return self

    def __exit__(self, *what) -> None:
        self._stack.__exit__(*what)

    def send(self, name: str, status: str) -> None:
        self.ours.send("a@source.example", [f"{name}@far.example"], TEXT)
        self.ours.wait_log(rf"to=<{name}@far.example>, .*status={status}")


def total(reports: list, name: str) -> int:
    return sum(policy["summary"][name] for report in reports for policy in report["policies"])


class Reports(unittest.TestCase):
    def test_sessions_that_went_well_are_counted_and_reported_by_mail(self):
        with World("mailto:tls@reports.example") as world:
            for name in ("one", "two", "three"):
                world.send(name, "sent")
            reports = []

            def look() -> bool:
                reports[:] = [self.read_mail(mail) for mail in world.ours.maildir("demo")]
                return total(reports, "total-successful-session-count") == 3

            wait_until(look, "reports about three sessions")
            policy = reports[0]["policies"][0]
            self.assertEqual(policy["policy"], {"policy-type": "sts", "policy-domain": "far.example", "mx-host": ["mx.far.example"],
                                                "policy-string": POLICY.splitlines()})
            self.assertNotIn("failure-details", policy)
            world.ours.wait_log(r"TLS report \S+ for far.example: sent to mailto:tls@reports.example")

    def read_mail(self, content: bytes) -> dict:
        """The report in a mail of RFC 8460, 5.3."""
        mail = email.message_from_bytes(content)
        self.assertEqual(mail.get_content_type(), "multipart/report")
        self.assertEqual(mail.get_param("report-type"), "tlsrpt")
        self.assertEqual((mail["TLS-Report-Domain"], mail["TLS-Report-Submitter"], mail["TLS-Required"]), ("far.example", "test.example", "no"))
        self.assertRegex(mail["Subject"], r"^Report Domain: far.example\s+Submitter: test.example\s+Report-ID: <\S+>$")
        self.assertIn("postmaster@test.example", mail["From"])
        words, attachment = mail.get_payload()
        self.assertIn("TLS report", words.get_payload())
        self.assertEqual(attachment.get_content_type(), "application/tlsrpt+gzip")
        self.assertRegex(attachment.get_filename(), r"^test.example!far.example!\d+!\d+!\S+\.json\.gz$")
        report = json.loads(gzip.decompress(attachment.get_payload(decode=True)))
        self.assertEqual(report["organization-name"], "Example Ltd")
        self.assertEqual(report["contact-info"], "postmaster@test.example")
        self.assertIn(report["report-id"], mail["Subject"])
        self.assertEqual(set(report["date-range"]), {"start-datetime", "end-datetime"})
        return report

    def posted(self, world: World) -> list:
        return [(headers, json.loads(gzip.decompress(body))) for method, _, path, headers, body in world.web.requests
                if method == "POST" and path == "/v1/tlsrpt"]

    def test_failures_are_told_in_detail_and_posted(self):
        with World("https://collector.example:PORT/v1/tlsrpt", certificate="wrong.example") as world:
            world.send("one", "deferred")
            wait_until(lambda: self.posted(world), "a posted report")
            headers, report = self.posted(world)[0]
        self.assertEqual(headers["Content-Type"], "application/tlsrpt+gzip")
        policy = report["policies"][0]
        self.assertEqual(policy["summary"], {"total-successful-session-count": 0, "total-failure-session-count": 1})
        self.assertEqual(policy["failure-details"], [{
            "result-type": "certificate-host-mismatch", "sending-mta-ip": "127.0.0.1", "receiving-mx-hostname": "mx.far.example",
            "receiving-mx-helo": "next.hop.example", "receiving-ip": "127.0.0.2", "failed-session-count": 1}])

    def test_a_policy_that_cannot_be_had_is_a_failure(self):
        with World("https://collector.example:PORT/v1/tlsrpt") as world:
            world.web.text = "nonsense"
            world.send("one", "sent")
            wait_until(lambda: self.posted(world), "a posted report")
            policy = self.posted(world)[0][1]["policies"][0]
        self.assertEqual(policy["policy"], {"policy-type": "sts", "policy-domain": "far.example"})
        self.assertEqual(policy["failure-details"][0]["result-type"], "sts-policy-invalid")

    def test_outcomes_survive_a_restart(self):
        with World("https://collector.example:PORT/v1/tlsrpt", more="postrider_tlsrpt_period = 30\n") as world:
            world.send("one", "sent")
            world.ours.stop()
            world.ours.start()
            wait_until(lambda: total([r for _, r in self.posted(world)], "total-successful-session-count") == 1, "the report")

    def test_outcomes_are_written_down_while_a_collector_takes_its_time(self):
        with World("https://collector.example:PORT/v1/tlsrpt") as world:
            world.web.holds_posts = True
            world.send("one", "sent")
            wait_until(lambda: self.posted(world), "a posted report")
            world.send("two", "sent")
            store = next(world.ours.folder.rglob("lookup.mdb"))
            wait_until(lambda: len(set(re.findall(rb"[0-9a-f]{16} far\.example", store.read_bytes()))) > 1, "the next report in the store")
            self.assertNotIn("TLS report", world.ours.log_text())
            world.web.holds_posts = False
            world.ours.wait_log(r"TLS report \S+ for far.example: sent to")

    def test_a_collector_that_fails_is_tried_again(self):
        with World("https://collector.example:PORT/v1/tlsrpt") as world:
            world.web.post_status = 500
            world.send("one", "sent")
            world.ours.wait_log(r"TLS report \S+ for far.example to https://collector.example\S+: the web server answered with status 500")
            world.web.post_status = 200
            world.ours.wait_log(r"TLS report \S+ for far.example: sent to https://collector.example")

    def test_who_asks_for_none_gets_none_and_the_parameter_turns_it_off(self):
        for rua, more in (("", ""), ("https://collector.example:PORT/v1/tlsrpt", "smtp_tlsrpt_enable = no\n")):
            with self.subTest(rua=rua), World(rua, more="postrider_tlsrpt_period = 1\n" + more) as world:
                world.send("one", "sent")
                # A restart comes behind whatever was gathered and sent.
                world.ours.stop()
                world.ours.start()
                world.send("two", "sent")
                self.assertEqual(self.posted(world), [])
                self.assertNotIn("TLS report", world.ours.log_text())

    def test_mail_that_does_not_care_for_tls_is_not_counted(self):
        with World("https://collector.example:PORT/v1/tlsrpt") as world:
            with smtplib.SMTP("127.0.0.1", world.ours.ports["smtp"], "client.example", timeout=PATIENCE) as session:
                session.sendmail("a@source.example", ["lax@far.example"], "TLS-Required: no\r\n" + TEXT)
            world.ours.wait_log(r"to=<lax@far.example>, .*status=sent")
            world.send("one", "sent")
            wait_until(lambda: self.posted(world), "a posted report")
            self.assertEqual(total([r for _, r in self.posted(world)], "total-successful-session-count"), 1)


if __name__ == "__main__":
    unittest.main()
