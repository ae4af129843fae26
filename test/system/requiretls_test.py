# SPDX-License-Identifier: Apache-2.0
"""REQUIRETLS and "TLS-Required: no" (RFC 8689): mail that must not travel without TLS, and mail that may."""

import smtplib
import subprocess
import unittest

import far_world
from postrider import BUILD, PATIENCE, Postrider, any_certificate

TEXT = "From: a@test.example\r\nSubject: hello\r\n\r\nsecret\r\n"


class World(far_world.World):
    """`best` and `second` are what the hosts offer inside TLS."""

    def __init__(self, more: str = "", names: tuple = ("far.example",), best: tuple = (), second: tuple = (), start: bool = True):
        super().__init__(more, names, start=start)
        self.best.more, self.second.more = best, second

    def send(self, name: str = "one", text: str = TEXT, domain: str = "far.example", options: tuple = ("REQUIRETLS",)) -> None:
        with smtplib.SMTP("127.0.0.1", self.ours.ports["smtp"], "client.example", timeout=PATIENCE) as session:
            session.starttls(context=any_certificate())
            session.sendmail("demo@test.example", [f"{name}@{domain}"], text, mail_options=options)


class Server(unittest.TestCase):
    def test_it_is_offered_and_accepted_inside_tls_only(self):
        with Postrider() as ours, smtplib.SMTP("127.0.0.1", ours.ports["smtp"], "client.example", timeout=PATIENCE) as session:
            session.ehlo()
            self.assertFalse(session.has_extn("requiretls"))
            self.assertEqual(session.docmd("MAIL FROM:<demo@test.example> REQUIRETLS")[0], 555)
            session.starttls(context=any_certificate())
            session.ehlo()
            self.assertTrue(session.has_extn("requiretls"))
            self.assertEqual(session.docmd("MAIL FROM:<> REQUIRETLS"), (503, b"5.5.4 Error: REQUIRETLS requires non-null sender"))
            self.assertEqual(session.docmd("MAIL FROM:<demo@test.example> REQUIRETLS")[0], 250)

    def test_where_it_is_turned_off_it_is_not_offered(self):
        with Postrider(main="requiretls_enable = no") as ours:
            with smtplib.SMTP("127.0.0.1", ours.ports["smtp"], "client.example", timeout=PATIENCE) as session:
                session.starttls(context=any_certificate())
                session.ehlo()
                self.assertFalse(session.has_extn("requiretls"))
                self.assertEqual(session.docmd("MAIL FROM:<demo@test.example> REQUIRETLS")[0], 555)


class Client(unittest.TestCase):
    def test_it_is_passed_on_to_a_server_that_is_who_it_should_be(self):
        with World(best=("REQUIRETLS",)) as world:
            world.send()
            self.assertIn(", tls=secure/requiretls, dsn=2.0.0, status=sent", world.outcome())
            world.ours.wait_log(r"Verified TLS connection established to mx.far.example")
        is_encrypted, mail, content = world.best.messages[0]
        self.assertTrue(is_encrypted)
        self.assertTrue(mail.endswith(" REQUIRETLS"), mail)
        self.assertIn(b"\r\nRequire-TLS-ESMTP: yes\r\n", content)

    def test_a_server_that_does_not_offer_it_is_passed_over(self):
        with World(second=("REQUIRETLS",)) as world:
            world.send()
            self.assertRegex(world.outcome(), r"relay=other.far.example\[127.0.0.3\].*status=sent")
        self.assertEqual((len(world.best.messages), len(world.second.messages)), (0, 1))

    def test_where_nobody_offers_it_the_mail_is_returned_without_its_body(self):
        with World() as world:
            world.send()
            self.assertRegex(world.outcome(), r"tls=secure/!requiretls, dsn=5.7.30, status=bounced \(REQUIRETLS support required: it was not offered by host other.far.example")
            bounce = world.ours.wait_mail("demo")[0]
            self.assertIn(b"Status: 5.7.30", bounce)
            self.assertIn(b"Subject: hello", bounce)
            self.assertNotIn(b"secret", bounce)
        self.assertEqual(world.best.messages + world.second.messages, [])

    def test_a_certificate_of_another_domain_returns_the_mail(self):
        with World(names=("wrong.example",), best=("REQUIRETLS",), second=("REQUIRETLS",)) as world:
            world.send()
            self.assertRegex(world.outcome(), r"tls=!secure:encrypt/!requiretls, dsn=5.7.30, status=bounced \(REQUIRETLS support required: Server certificate not verified\)")
        self.assertEqual(world.best.messages + world.second.messages, [])

    def test_servers_without_tls_return_the_mail_and_ordinary_mail_goes(self):
        with World(names=()) as world:
            world.send()
            self.assertRegex(world.outcome(), r"tls=!secure:none/!requiretls, dsn=5.7.30, status=bounced \(REQUIRETLS support required: TLS is required, but was not offered by host")
            world.send("two", options=())
            self.assertIn("status=sent", world.outcome("two"))
        self.assertEqual([is_encrypted for is_encrypted, *_ in world.best.messages], [False])

    def test_a_connection_kept_from_mail_that_did_not_ask_for_it_is_not_used(self):
        more = ("smtp_tls_security_level = encrypt\nsmtp_tls_per_site = inline:{mx.far.example=NONE}\n"
                "smtp_requiretls_policy = opportunistic+starttls\nsmtp_connection_cache_time_limit = 60s\n")
        with World(more=more) as world:
            for i in range(12):
                world.send(f"n{i}", options=())
            for i in range(12):
                self.assertIn("status=sent", world.outcome(f"n{i}"))
            world.send("last", TEXT.replace("hello", "guarded"))
            self.assertIn("status=sent", world.outcome("last"))
        self.assertEqual({is_encrypted for is_encrypted, _, content in world.best.messages if b"guarded" in content}, {True})
        self.assertIn(False, {is_encrypted for is_encrypted, *_ in world.best.messages})

    def test_a_host_whose_policy_cannot_be_read_lets_the_mail_wait(self):
        with World(names=(), more="smtp_tls_per_site = inline:{other.far.example=NONSENSE}\n") as world:
            world.send()
            self.assertRegex(world.outcome(), r"status=deferred")

    def test_a_client_whose_keys_cannot_be_read_lets_the_mail_wait(self):
        with World(more="smtp_tls_cert_file = {folder}/etc/client.pem\npostrider_process_count = 1\n", best=("REQUIRETLS",), start=False) as world:
            keys = world.ours.etc / "client.pem"
            keys.write_bytes(world.authority.host("client.example").read_bytes())
            world.ours.start()
            keys.write_text("nothing\n")
            world.ours.kill("smtp")
            world.send()
            self.assertRegex(world.outcome(), r"dsn=4.7.5, status=deferred \(TLS is required, but our TLS engine is unavailable")

    def test_a_client_without_tls_returns_the_mail(self):
        with World(more="smtp_tls_security_level = none\n", best=("REQUIRETLS",)) as world:
            world.send()
            self.assertRegex(world.outcome(), r"dsn=5.7.30, status=bounced \(REQUIRETLS support required, but our TLS client is off\)")

    def test_a_host_that_is_not_there_leaves_hope(self):
        with World() as world:
            world.best.close()
            world.send()
            self.assertRegex(world.outcome(), r"status=deferred")

    def test_the_policy_says_how_much_is_asked_of_whom(self):
        cases = [("opportunistic", (), "tls=may:none/requiretls:none, dsn=2.0.0, status=sent"),
                 ("opportunistic+starttls", (), "tls=!encrypt:none/requiretls?, dsn=5.7.30, status=bounced"),
                 ("opportunistic+starttls", ("any.example",), "tls=encrypt/requiretls:none, dsn=2.0.0, status=sent"),
                 ("inline:{far.example=opportunistic}, enforce", (), "status=sent")]
        for policy, names, want in cases:
            with self.subTest(policy=policy, names=names), World(more=f"smtp_requiretls_policy = {policy}\n", names=names) as world:
                world.send()
                self.assertIn(want, world.outcome())

    def test_an_opportunistic_destination_that_offers_it_gets_it(self):
        with World(more="smtp_requiretls_policy = opportunistic\n", names=("wrong.example",), best=("REQUIRETLS",)) as world:
            world.send()
            self.assertIn("status=sent", world.outcome())
        self.assertTrue(world.best.messages[0][1].endswith(" REQUIRETLS"))

    def test_ordinary_mail_does_not_ask_for_it(self):
        with World(best=("REQUIRETLS",)) as world:
            world.send(options=())
            self.assertIn("status=sent", world.outcome())
        self.assertNotIn("REQUIRETLS", world.best.messages[0][1])
        self.assertNotIn(b"Require-TLS-ESMTP", world.best.messages[0][2])


class Inside(unittest.TestCase):
    def test_aliases_and_the_sendmail_command_keep_it(self):
        more = "virtual_alias_maps = inline:{alias@test.example=one@far.example}\n"
        with World(more=more) as world:
            world.send("alias", domain="test.example")
            self.assertRegex(world.ours.wait_log(r"to=<one@far.example>, .*").group(0), "dsn=5.7.30, status=bounced")
            done = subprocess.run([str(BUILD / "bin/sendmail"), "-C", str(world.ours.etc), "-O", "requiretls=yes", "-f", "demo@test.example",
                                   "two@far.example"], input="Subject: x\n\ny\n", capture_output=True, text=True, timeout=PATIENCE)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("dsn=5.7.30, status=bounced", world.outcome("two"))

    def test_the_header_of_a_filter_brings_it_back(self):
        with World() as world:
            world.send(text="Require-TLS-ESMTP: yes\r\n" + TEXT, options=())
            self.assertIn("dsn=5.7.30, status=bounced", world.outcome())

    def test_a_message_keeps_it_over_a_restart(self):
        with World(more="defer_transports = smtp\n") as world:
            world.send()
            self.assertIn("status=deferred", world.outcome())
            world.ours.stop()
            world.ours.append("main.cf", "defer_transports =\n")
            world.ours.start()
            world.ours.run("postqueue", "-f")
            world.ours.wait_log(r"to=<one@far.example>, .*dsn=5.7.30, status=bounced")


class TlsRequiredNo(unittest.TestCase):
    HEADER = "TLS-Required: no\r\n"

    def test_mail_that_says_so_goes_where_tls_fails(self):
        with World(more="smtp_tls_security_level = encrypt\n", names=()) as world:
            world.send(options=())
            self.assertRegex(world.outcome(), r"dsn=4.7.4, status=deferred")
            world.send("two", text=self.HEADER + TEXT, options=())
            self.assertIn("status=sent", world.outcome("two"))
        self.assertEqual(len(world.best.messages), 1)
        self.assertIn(b"TLS-Required: no", world.best.messages[0][2])

    def test_it_takes_back_neither_requiretls_nor_a_setting(self):
        with World(names=()) as world:
            world.send(text=self.HEADER + TEXT)
            self.assertIn("dsn=5.7.30, status=bounced", world.outcome())
        with World(more="smtp_tls_security_level = encrypt\ntls_required_enable = no\n", names=()) as world:
            world.send(text=self.HEADER + TEXT, options=())
            self.assertIn("dsn=4.7.4, status=deferred", world.outcome())

    def test_a_client_that_logs_in_does_not_heed_it(self):
        more = "smtp_tls_security_level = encrypt\nsmtp_sasl_auth_enable = yes\nsmtp_sasl_password_maps = inline:{far.example=u:p}\n"
        with World(more=more, names=()) as world:
            world.send(text=self.HEADER + TEXT, options=())
            self.assertIn("dsn=4.7.4, status=deferred", world.outcome())


if __name__ == "__main__":
    unittest.main()
