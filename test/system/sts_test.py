# SPDX-License-Identifier: Apache-2.0
"""MTA-STS (RFC 8461): a policy is fetched over HTTPS, kept and obeyed."""

import contextlib
import itertools
import tempfile
import unittest
from pathlib import Path

import far_world
from certificates import Authority, tlsa
from far_hosts import NextHop, WebServer
from far_world import TEXT
from postrider import Postrider, wait_until
from signed_dns import SignedDns, Zone


def policy(mode: str, *hosts: str, age: int = 86400) -> str:
    return f"version: STSv1\nmode: {mode}\n" + "".join(f"mx: {host}\n" for host in hosts) + f"max_age: {age}\n"


class World(far_world.World):
    """Its web server publishes the policy `text` for far.example."""

    def __init__(self, text: str, more: str = "", names: tuple = ("mx.far.example",), web_name: str = "mta-sts.far.example", start: bool = True):
        super().__init__("smtp_mta_sts = yes\nsmtp_tls_fingerprint_digest = sha256\n" + more, names, (web_name,), start)
        self.web.text = text
        self.dns.zone["mta-sts.far.example"] = [("A", "127.0.0.1")]
        self.announce("1")

    def announce(self, identity: str) -> None:
        self.dns.zone["_mta-sts.far.example"] = [("TXT", "some other text"), ("TXT", f"v=STSv1; id={identity};")]


class Enforce(unittest.TestCase):
    def test_a_policy_that_is_met_lets_mail_through_and_verifies_the_host_by_its_own_name(self):
        with World(policy("enforce", "mx.far.example")) as world:
            world.send("one")
            self.assertIn("status=sent", world.outcome("one"))
            world.ours.wait_log(r"Verified TLS connection established to mx.far.example\[127.0.0.2\]")
            world.send("two")
            self.assertIn("status=sent", world.outcome("two"))
            self.assertEqual(world.best.names[0], "mx.far.example")
            self.assertEqual([(m, h, p) for m, h, p, *_ in world.web.requests],
                             [("GET", "mta-sts.far.example", "/.well-known/mta-sts.txt")])
        self.assertTrue(all(is_encrypted for is_encrypted, *_ in world.best.messages))

    def test_a_certificate_of_another_name_puts_mail_off(self):
        with World(policy("enforce", "*.far.example"), names=("wrong.example",)) as world:
            world.send("one")
            self.assertRegex(world.outcome("one"), r"dsn=4.7.5, status=deferred \(Server certificate not verified\)")
        self.assertEqual(world.best.messages + world.second.messages, [])

    def test_a_certificate_that_no_authority_signed_puts_mail_off(self):
        with World(policy("enforce", "*.far.example"), more="smtp_tls_CAfile = /dev/null\nsmtp_tls_CApath = /var/empty\n", start=False) as world:
            world.ours.append("main.cf", "smtp_tls_CAfile = \n")
            world.ours.start()
            world.send("one")
            self.assertRegex(world.outcome("one"), r"dsn=4.7.5, status=deferred \(Server certificate not trusted\)")
        self.assertEqual(world.best.messages, [])

    def test_a_server_without_starttls_gets_nothing(self):
        with World(policy("enforce", "*.far.example"), names=()) as world:
            world.send("one")
            self.assertRegex(world.outcome("one"), r"dsn=4.7.4, status=deferred \(TLS is required, but was not offered by host")
        self.assertEqual(world.best.messages, [])

    def test_a_host_that_the_policy_does_not_name_is_passed_over(self):
        with World(policy("enforce", "other.far.example"), names=("other.far.example",)) as world:
            world.send("one")
            self.assertIn("relay=other.far.example[127.0.0.3]", world.outcome("one"))
            world.ours.wait_log(r"mx.far.example is not used: the MTA-STS policy of far.example does not name it")
        self.assertEqual((len(world.best.messages), len(world.second.messages)), (0, 1))

    def test_without_any_host_that_the_policy_names_mail_waits(self):
        with World(policy("enforce", "*.mx.far.example", "elsewhere.example")) as world:
            world.send("one")
            self.assertRegex(world.outcome("one"), r"dsn=4.7.5, status=deferred \(no mail host of far.example is named by its MTA-STS policy\)")

    def test_a_policy_table_wins(self):
        with World(policy("enforce", "elsewhere.example"), more="smtp_tls_policy_maps = inline:{far.example=may}\n") as world:
            world.send("one")
            self.assertIn("status=sent", world.outcome("one"))
        self.assertEqual(world.web.requests, [])

    def test_a_relay_in_brackets_has_no_policy(self):
        with World(policy("enforce", "elsewhere.example"), more="relayhost = [mx.far.example]\n") as world:
            world.send("one")
            self.assertIn("status=sent", world.outcome("one"))
        self.assertEqual(world.web.requests, [])


class OtherModes(unittest.TestCase):
    def test_a_policy_in_testing_is_told_about_and_not_obeyed(self):
        with World(policy("testing", "mx.far.example"), names=("wrong.example",)) as world:
            world.send("one")
            self.assertIn("status=sent", world.outcome("one"))
            world.ours.wait_log(r"MTA-STS policy of far.example, in testing, would not allow mx.far.example\[127.0.0.2\]:\d+: certificate-host-mismatch")

    def test_a_policy_in_testing_takes_nothing_from_what_the_operator_demands_of_a_host(self):
        for level in "may", "dane":
            table = f"smtp_tls_security_level = {level}\nsmtp_tls_per_site = inline:{{ {{mx.far.example = MUST}}, {{other.far.example = MUST}} }}\n"
            with self.subTest(level=level), World(policy("testing", "mx.far.example"), more=table, names=()) as world:
                world.send("b")
                self.assertIn("TLS is required, but was not offered", world.outcome("b"))
                self.assertFalse(world.best.messages or world.second.messages)

    def test_mode_none_demands_nothing(self):
        with World(policy("none"), names=("wrong.example",)) as world:
            world.send("one")
            self.assertIn("status=sent", world.outcome("one"))

    def test_without_a_record_nobody_asks_the_web_server(self):
        with World(policy("enforce", "elsewhere.example")) as world:
            for records in ([], [("TXT", "v=STSv1; id=1"), ("TXT", "v=STSv1; id=2")], [("TXT", "v=STSv1; id=bad-id")]):
                world.dns.zone["_mta-sts.far.example"] = records
                name = f"n{len(records)}"
                world.send(name)
                self.assertIn("status=sent", world.outcome(name))
        self.assertEqual(world.web.requests, [])


class Fetch(unittest.TestCase):
    def check_no_policy(self, world: World, word: str) -> None:
        """A policy that cannot be had is none, while there is no older one (RFC 8461, 3.3)."""
        world.send("one")
        self.assertIn("status=sent", world.outcome("one"))
        world.ours.wait_log(rf"MTA-STS policy of far.example \(id 1\) cannot be had: {word}: .")

    def test_a_web_server_with_the_wrong_name_is_not_believed(self):
        with World(policy("enforce", "elsewhere.example"), web_name="www.far.example") as world:
            self.check_no_policy(world, "sts-webpki-invalid")
        self.assertEqual(world.web.requests, [])

    def test_a_web_server_of_an_unknown_authority_is_not_believed(self):
        with World(policy("enforce", "elsewhere.example"), more="postrider_mta_sts_CAfile = \n") as world:
            self.check_no_policy(world, "sts-webpki-invalid")
        self.assertEqual(world.web.requests, [])

    def test_redirects_errors_other_types_and_what_is_too_large_are_no_policies(self):
        good = policy("enforce", "elsewhere.example")
        cases = [(301, {"Content-Type": "text/plain", "Location": "/elsewhere"}, good, "sts-policy-fetch-error"),
                 (404, {"Content-Type": "text/plain"}, good, "sts-policy-fetch-error"),
                 (200, {"Content-Type": "text/html"}, good, "sts-policy-fetch-error"),
                 (200, {"Content-Type": "text/plain"}, good + "x: " + 70000 * "y", "sts-policy-fetch-error"),
                 (200, {"Content-Type": "text/plain"}, good.replace("STSv1", "STSv2"), "sts-policy-invalid")]
        with World(good) as world:
            for i, (status, headers, text, word) in enumerate(cases):
                world.web.status, world.web.headers, world.web.text = status, headers, text
                world.announce(f"a{i}")
                world.send(f"n{i}")
                self.assertIn("status=sent", world.outcome(f"n{i}"))
                world.ours.wait_log(rf"MTA-STS policy of far.example \(id a{i}\) cannot be had: {word}: .")
        self.assertEqual(len(world.web.requests), len(cases))

    def test_a_failure_is_remembered_for_a_while(self):
        with World("nonsense") as world:
            for i in range(3):
                world.send(f"n{i}")
                self.assertIn("status=sent", world.outcome(f"n{i}"))
        self.assertEqual(len(world.web.requests), 1)

    def test_mail_at_the_same_moment_makes_one_fetch(self):
        with World(policy("enforce", "mx.far.example")) as world:
            for i in range(5):
                world.send(f"n{i}")
            for i in range(5):
                self.assertIn("status=sent", world.outcome(f"n{i}"))
        self.assertEqual(len(world.web.requests), 1)


class Cache(unittest.TestCase):
    def test_a_policy_stays_in_force_over_a_restart_without_web_server_and_record(self):
        with World(policy("enforce", "mx.far.example")) as world:
            world.send("one")
            self.assertIn("status=sent", world.outcome("one"))
            world.ours.stop()
            del world.dns.zone["_mta-sts.far.example"]
            world.web.status = 404
            world.dns.zone["far.example"] = [("MX", 10, "other.far.example")]
            world.ours.start()
            world.send("two")
            self.assertRegex(world.outcome("two"), r"status=deferred \(no mail host of far.example is named by its MTA-STS policy\)")

    def test_a_new_id_brings_the_new_policy_and_a_failed_fetch_keeps_the_old_one(self):
        with World(policy("enforce", "elsewhere.example")) as world:
            world.send("one")
            self.assertIn("status=deferred", world.outcome("one"))
            world.web.status = 500
            world.announce("2")
            world.send("two")
            self.assertIn("status=deferred", world.outcome("two"))
            world.web.status, world.web.text = 200, policy("enforce", "mx.far.example")
            world.announce("3")
            world.send("three")
            self.assertIn("status=sent", world.outcome("three"))

    def test_a_policy_ends_with_its_age(self):
        with World(policy("enforce", "elsewhere.example", age=10)) as world:
            world.send("one")
            self.assertIn("status=deferred", world.outcome("one"))
            world.web.status = 404
            world.announce("2")
            numbers = itertools.count()

            def goes() -> bool:
                name = f"n{next(numbers)}"
                world.send(name)
                outcome = world.outcome(name)
                self.assertRegex(outcome, "status=(sent|deferred)")
                return "status=sent" in outcome
            wait_until(goes, "the end of the policy")

    def test_reload_and_a_killed_lookup_change_nothing(self):
        with World(policy("enforce", "mx.far.example")) as world:
            world.ours.reload()
            wait_until(lambda: len(world.ours.pids("lookup")) == 1, "the end of the old lookup")
            world.send("one")
            self.assertIn("status=sent", world.outcome("one"))
            world.ours.kill("lookup")
            world.send("two")
            self.assertIn("status=sent", world.outcome("two"))
            world.ours.wait_log(r"Verified TLS connection")
        self.assertEqual(len(world.web.requests), 1)


class DaneFirst(unittest.TestCase):
    """RFC 8461, 2: where a domain has both, DANE decides alone; where it has no TLSA records, or none that can be used, the policy holds."""

    OUTCOMES = {"good": "status=sent", "bad": "dsn=4.7.5, status=deferred (Server certificate not verified)", "none": "status=sent",
                "strange": "dsn=4.7.5, status=deferred (mail host mx.strange.example is not named by the MTA-STS policy of strange.example)",
                "unusable": "dsn=4.7.5, status=deferred (mail host mx.unusable.example is not named by the MTA-STS policy of unusable.example)"}

    def test_dane_decides_where_there_is_some_and_the_policy_elsewhere(self):
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sts-")))
            folder.chmod(0o755)
            authority = Authority(folder)
            certificate = authority.host(*(f"mx.{name}.example" for name in self.OUTCOMES))
            web_certificate = authority.host(*(f"mta-sts.{name}.example" for name in self.OUTCOMES))
            web = stack.enter_context(WebServer(web_certificate, text=policy("enforce", "mx.bad.example", "mx.none.example")))
            hop = stack.enter_context(NextHop("127.0.0.2", certificate=certificate))
            records = "".join(f"{name} IN MX 10 mx.{name}\nmx.{name} IN A 127.0.0.2\nmta-sts.{name} IN A 127.0.0.1\n"
                              f'_mta-sts.{name} IN TXT "v=STSv1; id=1"\n' for name in self.OUTCOMES)
            records += f"_{hop.port}._tcp.mx.good IN TLSA {tlsa(folder, 'mx.good.example')}\n_{hop.port}._tcp.mx.bad IN TLSA 3 1 1 {64 * '0'}\n"
            records += f"_{hop.port}._tcp.mx.unusable IN TLSA 0 1 1 {64 * '0'}\n"
            dns = stack.enter_context(SignedDns([Zone("example", records)]))
            ours = stack.enter_context(Postrider(main=f"""\
postrider_dns_server = 127.0.0.1:{dns.port}
postrider_dnssec_trust_anchors = {dns.anchors}
smtp_dns_support_level = dnssec
smtp_host_lookup = dns
smtp_tls_security_level = dane
smtp_tcp_port = {hop.port}
smtp_tls_CAfile = {authority.file}
smtp_tls_loglevel = 1
smtp_mta_sts = yes
postrider_mta_sts_port = {web.port}
postrider_mta_sts_CAfile = {authority.file}
"""))
            for name in self.OUTCOMES:
                ours.send("a@source.example", [f"x@{name}.example"], TEXT)
            for name, want in self.OUTCOMES.items():
                with self.subTest(name=name):
                    self.assertIn(want, ours.wait_log(rf"to=<x@{name}.example>, .*").group(0))
            ours.wait_log(r"Verified TLS connection established to mx.good.example")
            ours.wait_log(r"Verified TLS connection established to mx.none.example")
        self.assertEqual(len(hop.messages), 2)


if __name__ == "__main__":
    unittest.main()
