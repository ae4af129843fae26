# SPDX-License-Identifier: Apache-2.0
"""The SMTP client: which host it goes to, and what it makes of TLS."""

import contextlib
import email
import unittest

from certificates import fingerprint
from name_server import NameServer
from next_hop import NAME, NextHop, make_authority
from postrider import Postrider, make_certificate

TEXT = "Subject: hello\r\n\r\nbody\r\n"


def relay(host: NextHop, more: str) -> str:
    return f"relayhost = [127.0.0.2]:{host.port}\nsmtp_tls_loglevel = 1\n{more}\n"


class Tls(unittest.TestCase):
    def test_mail_goes_encrypted_and_the_log_says_how(self):
        with Postrider(start=False) as ours, contextlib.ExitStack() as stack:
            make_certificate(ours.etc, NAME)
            host = stack.enter_context(NextHop(ours.etc, "cert"))
            ours.append("main.cf", relay(host, "smtp_tls_security_level = encrypt"))
            ours.start()
            ours.send("a@source.example", ["b@far.example"], TEXT)
            ours.wait_log(r"smtp\[\d+\]: \w+: to=<b@far.example>, relay=127.0.0.2\[127.0.0.2\]:\d+, .* status=sent \(250 2.0.0 Ok: kept\)")
            ours.wait_log(rf"smtp\[\d+\]: Untrusted TLS connection established to 127.0.0.2\[127.0.0.2\]:{host.port}: TLSv1.3 with cipher "
                          r"TLS_AES_256_GCM_SHA384 \(256/256 bits\) key-exchange X25519 server-signature ECDSA \(prime256v1\) "
                          r"server-digest SHA256")
        is_encrypted, content = host.messages[0]
        self.assertTrue(is_encrypted)
        self.assertEqual(email.message_from_bytes(content).get_payload(), "body\r\n")

    def test_encryption_that_must_be_is_never_given_up(self):
        with NextHop() as host, Postrider(main=relay(host, "smtp_tls_security_level = encrypt")) as ours:
            ours.send("a@source.example", ["b@far.example"], TEXT)
            ours.wait_log(r"dsn=4.7.4, status=deferred \(TLS is required, but was not offered by host 127.0.0.2\[127.0.0.2\]\)")
        self.assertEqual(host.messages, [])

    def test_a_failed_handshake_puts_mail_off_and_old_mail_goes_in_clear(self):
        quick = "smtp_tls_security_level = may\nminimal_backoff_time = 1s\nmaximal_backoff_time = 1s\nqueue_run_delay = 1s"
        with NextHop(fault="broken") as host, Postrider(main=relay(host, quick)) as ours:
            ours.send("a@source.example", ["b@far.example"], TEXT)
            ours.wait_log(r"dsn=4.7.5, status=deferred \(Cannot start TLS: handshake failure\)")
            ours.wait_log(r"status=sent \(250 2.0.0 Ok: kept\)")
        self.assertEqual([is_encrypted for is_encrypted, _ in host.messages], [False])


class Policy(unittest.TestCase):
    """Levels against certificates: what the policy says, which certificate the server shows, and what the log says then."""

    NOT_TRUSTED = r"dsn=4.7.5, status=deferred \(Server certificate not trusted\)"
    NOT_VERIFIED = r"dsn=4.7.5, status=deferred \(Server certificate not verified\)"
    BAD_POLICY = r"dsn=4.7.5, status=deferred \(client TLS configuration problem\)"
    SENT = r"status=sent \(250 2.0.0 Ok: kept\)"
    CASES = (
        ("may", "good", "Trusted", SENT),
        ("may", "expired", "Untrusted", SENT),
        ("encrypt", "self", "Untrusted", SENT),
        ("secure match=mx.far.example", "good", "Verified", SENT),
        ("secure match=mx.far.example", "expired", "Untrusted", NOT_TRUSTED),
        ("secure match=mx.far.example", "wrong", "Trusted", NOT_VERIFIED),
        ("secure match=mx.far.example", "self", "Untrusted", NOT_TRUSTED),
        ("secure match=mx.far.example", "wild", "Verified", SENT),
        ("secure match=far.example", "wild", "Trusted", NOT_VERIFIED),
        ("secure match=.far.example", "good", "Verified", SENT),
        ("secure match=nobody.example:mx.wrong.example", "wrong", "Verified", SENT),
        ("secure", "good", "Trusted", NOT_VERIFIED),
        ("verify", "good", "Trusted", NOT_VERIFIED),
        ("secure match=mx.far.example tafile={etc}/self.pem", "self", "Verified", SENT),
        ("secure match=mx.far.example tafile={etc}/self.pem", "good", "Untrusted", NOT_TRUSTED),
        ("secure match=mx.far.example tafile={etc}/nothing.pem", "good", None, r"dsn=4.7.5, status=deferred"),
        ("verify match=mx.far.example servername=mx.far.example ciphers=high protocols=>=TLSv1.2", "good", "Verified", SENT),
        ("fingerprint match=00:11|{self}", "self", "Verified", SENT),
        ("fingerprint match={expired}", "expired", "Verified", SENT),
        ("fingerprint match={self}", "good", "Trusted", NOT_VERIFIED),
        ("fingerprint", "self", None, BAD_POLICY),
        ("encrpyt", "good", None, BAD_POLICY),
        ("secure match=mx.far.example colour=red", "good", None, BAD_POLICY),
        ("dane-only", "good", None, BAD_POLICY),
        ("dane", "self", "Untrusted", SENT),
    )

    def test_each_level_takes_the_certificates_it_should_and_no_other(self):
        with Postrider(start=False) as ours, contextlib.ExitStack() as stack:
            make_authority(ours.etc)
            # In capitals they are the same, as the other tests have it.
            prints = {name: fingerprint(ours.etc / f"{name}.pem").lower() for name in ("self", "expired")}
            hosts, routes, policies = [], [], []
            for i, (policy, certificate, _, _) in enumerate(self.CASES):
                hosts.append(stack.enter_context(NextHop(ours.etc, certificate)))
                nexthop = f"[127.0.0.2]:{hosts[i].port}"
                routes.append(f"{{ c{i}.example = smtp:{nexthop} }}")
                policies.append(f"{{ {nexthop} = {policy.format(etc=ours.etc, **prints)} }}")
            ours.append("main.cf", f"smtp_tls_loglevel = 1\nsmtp_tls_CAfile = {ours.etc}/ca.pem\n"
                                   f"smtp_tls_policy_maps = inline:{{ {', '.join(policies)} }}\n"
                                   f"transport_maps = inline:{{ {', '.join(routes)} }}\n")
            ours.start()
            for i in range(len(self.CASES)):
                ours.send("a@source.example", [f"b@c{i}.example"], TEXT)
            for i, (policy, certificate, word, outcome) in enumerate(self.CASES):
                with self.subTest(policy=policy, certificate=certificate):
                    ours.wait_log(rf"to=<b@c{i}.example>, .*{outcome}")
                    if word:
                        ours.wait_log(rf"{word} TLS connection established to 127.0.0.2\[127.0.0.2\]:{hosts[i].port}[ :]")
                    if policy == "dane":
                        ours.wait_log('TLS level "dane" of a policy is no more than "may": smtp_dns_support_level is not dnssec')
                    self.assertEqual([is_encrypted for is_encrypted, _ in hosts[i].messages], [True] if outcome == self.SENT else [])


class Login(unittest.TestCase):
    def test_mail_goes_through_a_submission_port_with_a_password(self):
        with Postrider() as next_hop:
            port = next_hop.ports["submission"]
            main = (f"relayhost = [127.0.0.1]:{port}\nsmtp_tls_security_level = encrypt\nsmtp_sasl_auth_enable = yes\n"
                    f"smtp_sasl_password_maps = inline:{{ {{[127.0.0.1]:{port} = demo:secret}} }}\n"
                    "smtp_sasl_security_options = noanonymous\nvirtual_mailbox_domains =\n")
            with Postrider(main=main) as ours:
                ours.send("demo@test.example", ["a@test.example"], TEXT)
                ours.wait_log(r"status=sent \(250 2.0.0 Ok: queued as")
            next_hop.wait_mail("a")
            next_hop.wait_log(r"submission/smtpd\[\d+\]: \w+: client=.*, sasl_method=PLAIN, sasl_username=demo")


class Content(unittest.TestCase):
    def test_a_large_message_arrives_byte_for_byte(self):
        body = "".join(f"{'.' * (n % 3)}{n} {'x' * (n % 900)}\r\n" for n in range(12000))
        with NextHop(bits8=False) as host, Postrider(main=relay(host, "smtp_tls_security_level = none")) as ours:
            ours.send("a@source.example", ["b@far.example"], "Subject: large\r\n\r\n" + body)
            ours.wait_log(r"status=sent \(250 2.0.0 Ok: kept\)")
        content = host.messages[0][1].replace(b"\r\n..", b"\r\n.")
        self.assertGreater(len(content), 5000000)
        self.assertEqual(content.split(b"\r\n\r\n", 1)[1], body.encode())


class Mx(unittest.TestCase):
    def deliver(self, zone: dict, domain: str, pattern: str, host: NextHop) -> list:
        """Returns the names that were asked for."""
        with NameServer(zone) as dns:
            main = f"postrider_dns_server = 127.0.0.1@{dns.port}\nsmtp_tcp_port = {host.port}\nsmtp_tls_security_level = none\n"
            with Postrider(main=main) as ours:
                ours.send("demo@test.example", ["b@" + domain], TEXT)
                ours.wait_log(pattern)
            return dns.questions

    def test_the_next_host_is_tried_when_the_best_is_down(self):
        zone = {"far.example": [("MX", 5, "dead.far.example"), ("MX", 10, "mx.far.example")],
                "dead.far.example": [("A", "127.0.0.3")], "mx.far.example": [("A", "127.0.0.2")]}
        with NextHop() as host:
            self.deliver(zone, "far.example", r"to=<b@far.example>, relay=mx.far.example\[127.0.0.2\]:\d+, .* status=sent", host)
        self.assertEqual(len(host.messages), 1)

    def test_no_more_hosts_are_looked_up_than_can_be_tried(self):
        best = {f"mx{n}.far.example": [("A", "127.0.0.2")] for n in range(6)}
        zone = {"far.example": [("MX", 10, name) for name in best] + [("MX", 20, "second.far.example")],
                "second.far.example": [("A", "127.0.0.3")], **best}
        with NextHop() as host:
            questions = self.deliver(zone, "far.example", r"relay=mx\d.far.example\[127.0.0.2\]:\d+, .* status=sent", host)
        self.assertEqual(set(questions) & set(zone), {"far.example", *best})

    def test_a_domain_with_very_many_hosts_is_not_looked_up_to_the_end(self):
        zone = {"far.example": [("MX", 10, "mx.far.example")] + [("MX", 20, f"h{n}.far.example") for n in range(100)],
                "mx.far.example": [("A", "127.0.0.2")]}
        with NextHop() as host:
            questions = self.deliver(zone, "far.example", r"relay=mx.far.example\[127.0.0.2\]:\d+, .* status=sent", host)
        self.assertEqual(len({name for name in questions if name.endswith(".far.example")}), 30)

    def test_hosts_that_were_not_looked_up_are_no_reason_to_bounce(self):
        zone = {"far.example": [("MX", 20, f"h{n}.far.example") for n in range(100)]}
        with NextHop() as host:
            self.deliver(zone, "far.example", r"dsn=4.4.3, status=deferred \(Host or domain name not found. ", host)

    def test_a_domain_without_mx_is_its_own_host(self):
        with NextHop() as host:
            self.deliver({"far.example": [("A", "127.0.0.2")]}, "far.example", r"relay=far.example\[127.0.0.2\]:\d+, .* status=sent", host)

    def test_a_domain_that_takes_no_mail_bounces(self):
        with NextHop() as host:
            self.deliver({"far.example": [("MX", 0, ".")]}, "far.example",
                         r"dsn=5.1.0, status=bounced \(Domain far.example does not accept mail \(nullMX\)\)", host)

    def test_a_domain_that_does_not_exist_bounces(self):
        with NextHop() as host:
            self.deliver({}, "far.example", r"dsn=5.4.4, status=bounced \(Host or domain name not found. Name service error for "
                         r"name=far.example type=A: Host not found\)", host)

    def test_a_name_server_in_trouble_puts_mail_off(self):
        with NextHop() as host:
            self.deliver({}, "far.broken", r"dsn=4.4.3, status=deferred \(Host or domain name not found. Name service error for "
                         r"name=far.broken type=MX: Host not found, try again\)", host)

    def test_mail_for_ourselves_by_mx_is_a_loop(self):
        zone = {"far.example": [("MX", 5, "us.far.example"), ("MX", 10, "mx.far.example")],
                "us.far.example": [("A", "127.0.0.1")], "mx.far.example": [("A", "127.0.0.2")]}
        with NextHop() as host:
            self.deliver(zone, "far.example", r"dsn=5.4.6, status=bounced \(mail for far.example loops back to myself\)", host)
        self.assertEqual(host.messages, [])


if __name__ == "__main__":
    unittest.main()
