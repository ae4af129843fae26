# SPDX-License-Identifier: Apache-2.0
"""Restrictions that ask others: DNS, DNS lists, policy servers; and `postrider explain` on the same rules."""

import re
import socketserver
import subprocess
import threading
import unittest

from name_server import NameServer, reverse
from postrider import BUILD, Postrider, any_certificate, wait_until

ZONE = {
    "good.example": [("MX", 10, "mx.good.example")],
    "mx.good.example": [("A", "192.0.2.10")],
    "null.example": [("MX", 0, ".")],
    "only-a.example": [("A", "192.0.2.11")],
    "2.0.0.127.list.example": [("A", "127.0.0.4"), ("TXT", "seen sending rubbish")],
    "1.0.0.127.list.example": [("A", "127.0.0.2"), ("TXT", "loopback is bad")],
    "1.0.0.127.welcome.example": [("A", "127.0.0.1")],
    "bad.example.names.example": [("A", "127.0.0.2")],
    reverse("192.0.2.20"): [("PTR", "liar.example")],
    "liar.example": [("A", "192.0.2.99")],
    reverse("192.0.2.21"): [("PTR", "honest.example")],
    "honest.example": [("A", "192.0.2.21")],
    "ns.example": [("NS", "ns1.evil.example")],
    "ns1.evil.example": [("A", "192.0.2.66")],
    "backed.example": [("MX", 10, "mx.good.example"), ("MX", 20, "here.example")],
    "backed-by-proxy.example": [("MX", 10, "mx.good.example"), ("MX", 20, "proxy.example")],
    "primary.example": [("MX", 10, "here.example"), ("MX", 20, "mx.good.example")],
    "elsewhere.example": [("MX", 10, "only-a.example"), ("MX", 20, "here.example")],
    "unsure.example": [("MX", 10, "mx.broken"), ("MX", 20, "here.example")],
    "here.example": [("A", "127.0.0.1")],
    "proxy.example": [("A", "192.0.2.77")],
}
RCPT = "demo@test.example"


class Asking(unittest.TestCase):
    """One server with many restriction classes, chosen by the local part of the sender."""

    RULES = {
        "unknown-sender": "reject_unknown_sender_domain",
        "unknown-helo": "reject_unknown_helo_hostname",
        "rbl": "reject_rbl_client list.example",
        "rbl-filter": "reject_rbl_client list.example=127.0.0.[3..9]",
        "rbl-broken": "reject_rbl_client broken.example",
        "rhsbl": "reject_rhsbl_sender names.example",
        "dnswl": "permit_dnswl_client welcome.example, reject",
        "mx-access": "check_sender_mx_access inline:{{mx.good.example=REJECT that host}}",
        "mx-net": "check_sender_mx_access inline:{{192.0.2=REJECT that net}}",
        "a-access": "check_sender_a_access inline:{{192.0.2.11=REJECT that address}}",
        "ns-access": "check_sender_ns_access inline:{{evil.example=REJECT that server}}",
        "ok-access": "check_sender_mx_access static:OK",
    }

    @classmethod
    def setUpClass(cls):
        cls.dns = NameServer(ZONE).__enter__()
        classes = "".join(f"{name.replace('-', '_')} = {rule}\n" for name, rule in cls.RULES.items())
        senders = "".join(f"/^{name}@/ {name.replace('-', '_')}\n" for name in cls.RULES)
        cls.server = Postrider(main=f"postrider_dns_server = 127.0.0.1@{cls.dns.port}\nsmtpd_peername_lookup = no\n"
                                    "smtpd_restriction_classes = " + " ".join(n.replace("-", "_") for n in cls.RULES) + "\n" + classes +
                                    "smtpd_sender_restrictions = check_sender_access regexp:{folder}/etc/senders\n"
                                    "smtpd_error_sleep_time = 0\nsmtpd_hard_error_limit = 1000\n",
                               files={"senders": senders})

    @classmethod
    def tearDownClass(cls):
        cls.server.close()
        cls.dns.__exit__()

    def answer(self, sender: str, helo: str = "client.example") -> str:
        with self.server.smtp() as session:
            session.ehlo(helo)
            session.mail(sender)
            code, text = session.rcpt(RCPT)
            return f"{code} {text.decode()}"

    def test_domains_of_senders(self):
        rows = {
            "good.example": "250 2.1.5 Ok",
            "only-a.example": "250 2.1.5 Ok",
            "missing.example": "450 4.1.8 <unknown-sender@missing.example>: Sender address rejected: Domain not found",
            "null.example": "550 5.7.27 <unknown-sender@null.example>: Sender address rejected: Domain null.example does not accept mail (nullMX)",
            "x.broken": "450 4.1.8 <unknown-sender@x.broken>: Sender address rejected: Domain not found",
        }
        for domain, want in rows.items():
            self.assertEqual(self.answer("unknown-sender@" + domain), want)

    def test_domains_that_name_us_as_a_backup(self):
        main = (f"postrider_dns_server = 127.0.0.1@{self.dns.port}\nsmtpd_peername_lookup = no\nproxy_interfaces = 192.0.2.77\n"
                "permit_mx_backup_networks = 192.0.2.10\nsmtpd_relay_restrictions = permit_mx_backup, reject_unauth_destination\n"
                "smtpd_error_sleep_time = 0\nsmtpd_hard_error_limit = 100\ndefer_transports = smtp\n")
        denied = "554 5.7.1 <x@{}>: Relay access denied"
        unsure = "450 4.4.4 <x@{}>: Recipient address rejected: Unable to look up mail exchanger information"
        rows = {"backed.example": "250 2.1.5 Ok", "backed-by-proxy.example": "250 2.1.5 Ok", "test.example": "250 2.1.5 Ok",
                "primary.example": denied, "elsewhere.example": denied, "good.example": denied, "missing.example": denied,
                "only-a.example": denied, "null.example": denied, "unsure.example": unsure, "x.broken": unsure}
        with Postrider(main=main) as server, server.smtp() as session:
            session.mail("a@good.example")
            for domain, want in rows.items():
                code, text = session.rcpt(f"x@{domain}")
                self.assertEqual(f"{code} {text.decode()}", want.format(domain))
            session.rset()
            session.mail("a@good.example")
            self.assertEqual(session.rcpt("x%backed.example@backed.example")[0], 554)
            server.wait_log(r'warning: .*support for restriction "permit_mx_backup" will be removed')

    def test_names_of_helo(self):
        self.assertEqual(self.answer("unknown-helo@good.example", "mx.good.example"), "250 2.1.5 Ok")
        self.assertEqual(self.answer("unknown-helo@good.example", "good.example"), "250 2.1.5 Ok")
        self.assertEqual(self.answer("unknown-helo@good.example", "nowhere.example"),
                         "450 4.7.1 <nowhere.example>: Helo command rejected: Host not found")

    def test_lists_of_addresses(self):
        self.assertEqual(self.answer("rbl@good.example"),
                         "554 5.7.1 Service unavailable; Client host [127.0.0.1] blocked using list.example; loopback is bad")
        self.assertEqual(self.answer("rbl-filter@good.example"), "250 2.1.5 Ok")
        self.assertEqual(self.answer("rbl-broken@good.example"), "250 2.1.5 Ok")
        self.server.wait_log(r"warning: 1\.0\.0\.127\.broken\.example: RBL lookup error")
        self.assertEqual(self.answer("dnswl@good.example"), "250 2.1.5 Ok")

    def test_lists_of_names(self):
        self.assertEqual(self.answer("rhsbl@good.example"), "250 2.1.5 Ok")
        self.assertEqual(self.answer("rhsbl@bad.example"),
                         "554 5.7.1 Service unavailable; Sender address [rhsbl@bad.example] blocked using names.example")

    def test_hosts_behind_domains(self):
        rows = {
            "mx-access@good.example": "554 5.7.1 <mx-access@good.example>: Sender address rejected: that host",
            "mx-net@good.example": "554 5.7.1 <mx-net@good.example>: Sender address rejected: that net",
            "mx-net@only-a.example": "554 5.7.1 <mx-net@only-a.example>: Sender address rejected: that net",
            "a-access@only-a.example": "554 5.7.1 <a-access@only-a.example>: Sender address rejected: that address",
            "a-access@mx.good.example": "250 2.1.5 Ok",
            "ns-access@deep.sub.ns.example": "554 5.7.1 <ns-access@deep.sub.ns.example>: Sender address rejected: that server",
            "ok-access@good.example": "451 4.3.5 Server configuration error",
        }
        for sender, want in rows.items():
            self.assertEqual(self.answer(sender), want)

    def test_explain_says_the_same(self):
        for sender, part in (("rbl@good.example", "loopback is bad"), ("mx-net@only-a.example", "that net")):
            done = explain(self.server, "--client", "127.0.0.1", "--client-name", "unknown", "--helo", "client.example", "--from", sender,
                           "--rcpt", RCPT)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(part, done.stdout)


def explain(server: Postrider, *args: str, port: str = "smtp") -> subprocess.CompletedProcess:
    return subprocess.run([str(BUILD / "bin" / "postrider"), "explain", "-c", str(server.etc), "--port", str(server.ports[port]), *args],
                          capture_output=True, text=True, timeout=60)


class Tables(unittest.TestCase):
    def test_a_changed_access_table_counts_from_the_next_session_on(self):
        with Postrider(main="smtpd_sender_restrictions = check_sender_access texthash:{folder}/etc/senders\n",
                       files={"senders": "other@elsewhere.example REJECT\n"}) as server:
            def answer():
                with server.smtp() as session:
                    session.mail("a@elsewhere.example")
                    return session.rcpt(RCPT)[0]
            kept = server.smtp()
            kept.mail("a@elsewhere.example")
            self.assertEqual(answer(), 250)
            server.write("senders", "a@elsewhere.example REJECT no more\n")
            wait_until(lambda: answer() == 554, "the new table")
            server.wait_log("has changed -- restarting smtpd")
            with kept:
                self.assertEqual(kept.rcpt(RCPT)[0], 250)


    def test_changed_lists_of_clients_count_from_the_next_session_on(self):
        for name, keyword, is_offered in (("smtpd_authorized_xclient_hosts", "xclient", True),
                                          ("smtpd_sasl_exceptions_networks", "auth", False)):
            with self.subTest(name), Postrider(main=name + " = {folder}/etc/clients\nsmtpd_sasl_auth_enable = yes\n",
                                               files={"clients": "192.0.2.1\n"}) as server:
                def has_keyword():
                    with server.smtp() as session:
                        return keyword in session.esmtp_features
                self.assertNotEqual(has_keyword(), is_offered)
                server.write("clients", "127.0.0.1\n")
                wait_until(lambda: has_keyword() == is_offered, "the new list")


class PolicyServer(socketserver.ThreadingTCPServer):
    """Answers each request with `action(request)`; None hangs up."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, action):
        self.action, self.requests, self.connections = action, [], 0
        super().__init__(("127.0.0.1", 0), PolicyHandler)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *args):
        self.shutdown()
        super().__exit__(*args)


class PolicyHandler(socketserver.StreamRequestHandler):
    def handle(self):
        self.server.connections += 1
        request = {}
        for line in self.rfile:
            name, separator, value = line.decode().rstrip("\n").partition("=")
            if separator:
                request[name] = value
                continue
            self.server.requests.append(request)
            action = self.server.action(request)
            if action is None:
                return
            self.wfile.write(f"action={action}\n\n".encode())
            request = {}


class PolicyService(unittest.TestCase):
    def rcpt(self, server: Postrider, sender: str = "a@elsewhere.example") -> str:
        with server.smtp() as session:
            session.mail(sender)
            code, text = session.rcpt(RCPT)
            return f"{code} {text.decode()}"

    def test_the_server_is_told_and_obeyed(self):
        def action(request):
            return {"a": "DUNNO", "b": "REJECT 5.7.9 not you", "c": "450 4.2.1 later", "d": "defer_if_permit wait",
                    "e": "OK", "f": "reject_plaintext_session"}[request["sender"][0]]

        with PolicyServer(action) as policy, Postrider(
                main=f"smtpd_recipient_restrictions = check_policy_service inet:127.0.0.1:{policy.port}, permit\n") as server:
            rows = {
                "a": "250 2.1.5 Ok",
                "b": f"554 5.7.9 <{RCPT}>: Recipient address rejected: not you",
                "c": f"450 4.2.1 <{RCPT}>: Recipient address rejected: later",
                "d": f"450 4.7.1 <{RCPT}>: Recipient address rejected: wait",
                "e": "250 2.1.5 Ok",
                "f": "450 4.7.1 Session encryption is required",
            }
            for letter, want in rows.items():
                self.assertEqual(self.rcpt(server, letter + "@elsewhere.example"), want)
            request = policy.requests[0]
            for name, value in {"request": "smtpd_access_policy", "protocol_state": "RCPT", "protocol_name": "ESMTP", "helo_name": "client.example",
                                "sender": "a@elsewhere.example", "recipient": RCPT, "recipient_count": "0", "client_address": "127.0.0.1",
                                "sasl_username": "", "size": "0", "queue_id": ""}.items():
                self.assertEqual(request[name], value, name)
            # Each smtpd keeps its connection.
            for _ in range(20):
                self.rcpt(server)
            self.assertLessEqual(policy.connections, len(server.pids("smtpd")))

    def test_all_recipients_of_a_message_have_one_instance(self):
        with PolicyServer(lambda request: "REJECT" if request["recipient"].startswith("no") else "DUNNO") as policy, Postrider(
                main=f"smtpd_recipient_restrictions = check_policy_service inet:127.0.0.1:{policy.port}, permit\n"
                     f"smtpd_data_restrictions = check_policy_service inet:127.0.0.1:{policy.port}\n") as server:
            with server.smtp() as session:
                session.mail("a@elsewhere.example")
                for recipient in ("no@test.example", RCPT, "no@test.example"):
                    session.rcpt(recipient)
                session.data("Subject: x\n\nx\n")
                session.mail("a@elsewhere.example")
                session.rcpt(RCPT)
            first, second = {r["instance"] for r in policy.requests[:4]}, policy.requests[4]["instance"]
            self.assertEqual(len(first), 1)
            self.assertNotIn(second, first | {""})
            self.assertEqual([r["protocol_state"] for r in policy.requests], ["RCPT", "RCPT", "RCPT", "DATA", "RCPT"])
            self.assertEqual([r["recipient"] for r in policy.requests[2:4]], ["no@test.example", RCPT])
            self.assertEqual(policy.requests[3]["recipient_count"], "1")

    def test_a_connection_that_was_closed_is_made_anew(self):
        with PolicyServer(lambda request: "DUNNO" if len(policy.requests) % 2 else None) as policy, Postrider(
                main="smtpd_recipient_restrictions = check_policy_service { inet:127.0.0.1:" + str(policy.port) +
                     ", retry_delay = 1s }, permit\n") as server:
            for _ in range(3):
                self.assertEqual(self.rcpt(server), "250 2.1.5 Ok")

    def test_without_a_server_the_default_action_counts(self):
        with Postrider(main="smtpd_policy_service_retry_delay = 1s\n"
                            "smtpd_recipient_restrictions = check_policy_service unix:private/nowhere\n") as server:
            self.assertEqual(self.rcpt(server), f"451 4.3.5 <{RCPT}>: Recipient address rejected: Server configuration problem")
            server.wait_log("warning: problem talking to server private/nowhere: No such file or directory")
        with Postrider(main="smtpd_recipient_restrictions = check_policy_service { unix:private/nowhere, default_action = DUNNO, "
                            "try_limit = 1 }\n") as server:
            self.assertEqual(self.rcpt(server), "250 2.1.5 Ok")


class Explain(unittest.TestCase):
    def test_a_stranger_may_not_relay_and_a_user_may(self):
        with Postrider(main="mynetworks =\n", start=False) as server:
            stranger = ("--client", "203.0.113.5", "--client-name", "unknown", "--helo", "h.example", "--from", "a@b.example")
            done = explain(server, *stranger, "--rcpt", "x@elsewhere.example")
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertRegex(done.stdout, r"main\.cf:\d+ +reject_unauth_destination +reject +elsewhere\.example is not one of ours")
            self.assertRegex(done.stdout, r"-> 554 5\.7\.1 <x@elsewhere\.example>: Relay access denied")
            done = explain(server, *stranger, "--tls", "--user", "demo", "--rcpt", "x@elsewhere.example", port="submission")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn("logged in as demo", done.stdout)
            self.assertIn("by transport smtp to elsewhere.example", done.stdout)

    def test_each_rule_is_shown_with_its_own_line(self):
        main = ("clients = permit_mynetworks\n"
                "smtpd_recipient_restrictions =\n"
                "  # first\n"
                "  reject_non_fqdn_sender, reject_non_fqdn_recipient\n"
                "  $clients,\n"
                "\n"
                "  ours\n"
                "  reject_unauth_destination\n"
                "ours = permit_sasl_authenticated\n"
                "\treject_unlisted_recipient\n"
                "smtpd_restriction_classes = ours\n"
                "mynetworks =\n")
        with Postrider(main=main, start=False) as server:
            lines = (server.etc / "main.cf").read_text().splitlines()
            done = explain(server, "--client", "203.0.113.5", "--client-name", "unknown", "--helo", "h.example", "--from", "a@b.example",
                           "--rcpt", "demo@test.example")
            for rule, written in (("reject_non_fqdn_sender", "  reject_non_fqdn_sender, reject_non_fqdn_recipient"),
                                  ("reject_non_fqdn_recipient", "  reject_non_fqdn_sender, reject_non_fqdn_recipient"),
                                  ("permit_mynetworks", "  $clients,"), ("ours", "  ours"),
                                  ("permit_sasl_authenticated", "ours = permit_sasl_authenticated"),
                                  ("reject_unlisted_recipient", "\treject_unlisted_recipient"),
                                  ("reject_unauth_destination", "  reject_unauth_destination")):
                self.assertRegex(done.stdout, rf"main\.cf:{lines.index(written) + 1} +{rule}\b", done.stdout)

    def test_the_mechanisms_are_those_of_the_server(self):
        def shown(server: Postrider, *options: str) -> str:
            done = explain(server, "--client", "127.0.0.1", "--client-name", "unknown", "--from", "a@b.example", "--rcpt", RCPT, *options)
            found = re.search(r"^ *AUTH +offered: (.*)\n *(\(assumed.*)?", done.stdout, re.M)
            self.assertTrue(found, done.stdout + done.stderr)
            return found[1] + " ".join(filter(None, found.groups()[1:]))

        main = "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_security_options = noplaintext, noanonymous\nsmtpd_sasl_tls_security_options = noanonymous\n"
        for passwords in ("demo {PLAIN}secret\n", "demo {PLAIN}secret\nother $6$x$y\n"):
            with self.subTest(passwords), Postrider(main=main, files={"passwords": passwords}) as server:
                with server.smtp() as session:
                    in_clear = session.esmtp_features.get("auth", "").split()
                    session.starttls(context=any_certificate())
                    session.ehlo()
                    self.assertEqual(shown(server, "--tls").split(), session.esmtp_features["auth"].split())
                if in_clear:
                    self.assertEqual(shown(server).split(), in_clear)
        with Postrider(main=main, start=False) as server:
            (server.etc / "passwords").unlink()
            self.assertRegex(shown(server, "--tls"), r"^PLAIN LOGIN ?\(assumed, for it cannot be seen from here: smtpd_sasl_builtin_maps: .*passwords")

    def test_auth_that_is_not_offered_is_no_login(self):
        with Postrider(main="mynetworks =\n", start=False) as server:
            done = explain(server, "--client", "203.0.113.5", "--client-name", "unknown", "--user", "demo", "--helo", "h.example",
                           "--from", "a@b.example", "--rcpt", "x@elsewhere.example", port="smtp")
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stdout, r"AUTH +not offered: smtpd_sasl_auth_enable = no")
            self.assertIn("demo stays a stranger", done.stdout)
            done = explain(server, "--client", "203.0.113.5", "--client-name", "unknown", "--helo", "h.example", "--from", "a@b.example",
                           "--rcpt", RCPT, port="submission")
            self.assertIn("-> 530 5.7.0 Must issue a STARTTLS command first", done.stdout)

    def test_where_a_local_recipient_goes(self):
        with Postrider(start=False) as server:
            done = explain(server, "--client", "127.0.0.1", "--client-name", "localhost", "--from", "", "--rcpt", RCPT)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertRegex(done.stdout, rf"{re.escape(RCPT)} \(virtual mailbox\) by transport virtual to test\.example")

    def test_what_cannot_be_explained_is_told(self):
        with Postrider(start=False) as server:
            done = explain(server, "--client", "localhost", "--from", "a@b", "--rcpt", RCPT)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn("no IP address", done.stderr)
            server.append("main.cf", "smtpd_relay_restrictions =\nsmtpd_recipient_restrictions =\n")
            done = explain(server, "--client", "127.0.0.1", "--from", "a@b", "--rcpt", RCPT)
            self.assertEqual(done.returncode, 2)
            self.assertIn("specify at least one working instance", done.stderr)


if __name__ == "__main__":
    unittest.main()
