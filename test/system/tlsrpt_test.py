# SPDX-License-Identifier: Apache-2.0
"""TLS reports (RFC 8460): outcomes are gathered, and go to the domains that ask for them when the period is over."""

import email
import gzip
import json
import re
import smtplib
import unittest

import far_world
from far_world import TEXT
from postrider import PATIENCE, wait_until

POLICY = "version: STSv1\nmode: enforce\nmx: mx.far.example\nmax_age: 86400\n"
# Reports to reports.example come to mailboxes of ours.
SETTINGS = """\
smtp_tlsrpt_enable = yes
postrider_tlsrpt_delay = 0
postrider_tlsrpt_organization = Example Ltd
virtual_alias_maps = inline:{tls@reports.example=demo@test.example}
virtual_alias_domains = reports.example
smtp_mta_sts = yes
smtp_connection_cache_on_demand = no
"""


class World(far_world.World):
    """far.example has one mail host, which shows `certificate`, a policy that names it, and wants reports at `rua`."""

    def __init__(self, rua: str, certificate: str = "mx.far.example", more: str = "postrider_tlsrpt_period = 8\n"):
        super().__init__(SETTINGS + more, (certificate,), ("mta-sts.far.example", "collector.example"))
        self.web.text = POLICY
        self.dns.zone.update({
            "far.example": [("MX", 10, "mx.far.example")], "_mta-sts.far.example": [("TXT", "v=STSv1; id=1")],
            "mta-sts.far.example": [("A", "127.0.0.1")], "collector.example": [("A", "127.0.0.1")],
            "_smtp._tls.far.example": [("TXT", "v=TLSRPTv1; rua=" + rua.replace("PORT", str(self.web.port)))] if rua else []})

    def deliver(self, name: str, status: str) -> None:
        self.send(name)
        self.ours.wait_log(rf"to=<{name}@far.example>, .*status={status}")


def total(reports: list, name: str) -> int:
    return sum(policy["summary"][name] for report in reports for policy in report["policies"])


class Reports(unittest.TestCase):
    def test_sessions_that_went_well_are_counted_and_reported_by_mail(self):
        with World("mailto:tls@reports.example") as world:
            for name in ("one", "two", "three"):
                world.deliver(name, "sent")
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
            world.deliver("one", "deferred")
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
            world.deliver("one", "sent")
            wait_until(lambda: self.posted(world), "a posted report")
            policy = self.posted(world)[0][1]["policies"][0]
        self.assertEqual(policy["policy"], {"policy-type": "sts", "policy-domain": "far.example"})
        self.assertEqual(policy["failure-details"][0]["result-type"], "sts-policy-invalid")

    def test_outcomes_survive_a_restart(self):
        with World("https://collector.example:PORT/v1/tlsrpt", more="postrider_tlsrpt_period = 30\n") as world:
            world.deliver("one", "sent")
            world.ours.stop()
            world.ours.start()
            wait_until(lambda: total([r for _, r in self.posted(world)], "total-successful-session-count") == 1, "the report")

    def test_outcomes_are_written_down_while_a_collector_takes_its_time(self):
        with World("https://collector.example:PORT/v1/tlsrpt") as world:
            world.web.holds_posts = True
            world.deliver("one", "sent")
            wait_until(lambda: self.posted(world), "a posted report")
            world.deliver("two", "sent")
            store = next(world.ours.folder.rglob("lookup.mdb"))
            wait_until(lambda: len(set(re.findall(rb"[0-9a-f]{16} far\.example", store.read_bytes()))) > 1, "the next report in the store")
            self.assertNotIn("TLS report", world.ours.log_text())
            world.web.holds_posts = False
            world.ours.wait_log(r"TLS report \S+ for far.example: sent to")

    def test_a_collector_that_fails_is_tried_again(self):
        with World("https://collector.example:PORT/v1/tlsrpt") as world:
            world.web.post_status = 500
            world.deliver("one", "sent")
            world.ours.wait_log(r"TLS report \S+ for far.example to https://collector.example\S+: the web server answered with status 500")
            world.web.post_status = 200
            world.ours.wait_log(r"TLS report \S+ for far.example: sent to https://collector.example")

    def test_a_collector_is_not_sought_over_a_protocol_that_is_off(self):
        with World("https://collector.example:PORT/v1/tlsrpt") as world:
            world.dns.zone["collector.example"] = [("AAAA", "::1")]
            world.deliver("one", "sent")
            world.ours.wait_log(r"TLS report \S+ for far.example to https://collector.example\S+: collector.example: Host or domain name not found. .* type=A: ")

    def test_who_asks_for_none_gets_none_and_the_parameter_turns_it_off(self):
        for rua, more in (("", ""), ("https://collector.example:PORT/v1/tlsrpt", "smtp_tlsrpt_enable = no\n")):
            with self.subTest(rua=rua), World(rua, more="postrider_tlsrpt_period = 1\n" + more) as world:
                world.deliver("one", "sent")
                # A restart comes behind whatever was gathered and sent.
                world.ours.stop()
                world.ours.start()
                world.deliver("two", "sent")
                self.assertEqual(self.posted(world), [])
                self.assertNotIn("TLS report", world.ours.log_text())

    def test_mail_that_does_not_care_for_tls_is_not_counted(self):
        with World("https://collector.example:PORT/v1/tlsrpt") as world:
            with smtplib.SMTP("127.0.0.1", world.ours.ports["smtp"], "client.example", timeout=PATIENCE) as session:
                session.sendmail("a@source.example", ["lax@far.example"], "TLS-Required: no\r\n" + TEXT)
            world.ours.wait_log(r"to=<lax@far.example>, .*status=sent")
            world.deliver("one", "sent")
            wait_until(lambda: self.posted(world), "a posted report")
            self.assertEqual(total([r for _, r in self.posted(world)], "total-successful-session-count"), 1)


if __name__ == "__main__":
    unittest.main()
