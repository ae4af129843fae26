# SPDX-License-Identifier: Apache-2.0
"""What published configurations promise their readers about encryption and passwords."""

import contextlib
import os
import smtplib
import socket
import ssl
import subprocess
import tempfile
import threading
import unittest
from pathlib import Path

import debian_packages
from certificates import Authority, alt_names, chain, self_signed, tlsa
from cyrus_sasl import make_sasldb
from debian_dovecot import DebianDovecot
from documents import Document
from mx_host import MxHost
from name_server import NameServer
from postrider import PATIENCE, Postrider, any_certificate, free_ports, make_certificate, wait_until
from signed_dns import SignedDns, Zone

TEXT = "Subject: hello\r\n\r\nbody\r\n"
STRANGER = "someone@elsewhere.example"
FIRST_STARTTLS = (530, b"5.7.0 Must issue a STARTTLS command first")


def plain_session(port: int) -> smtplib.SMTP:
    session = smtplib.SMTP("127.0.0.1", port, "client.example", timeout=PATIENCE)
    session.ehlo()
    return session


def tls_session(server: Document, service: str) -> smtplib.SMTP:
    """Encrypted, not logged in."""
    if service == "submissions":
        session = smtplib.SMTP_SSL("127.0.0.1", server.ports[service], "client.example", timeout=PATIENCE, context=any_certificate())
    else:
        session = plain_session(server.ports[service])
        session.starttls(context=any_certificate())
    session.ehlo()
    return session


def protocol_fails(server: Document, service: str, version: ssl.TLSVersion) -> bool:
    """Is this the version that the service does not speak?"""
    context = any_certificate()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with plain_session(server.ports[service]) as session:
        try:
            session.starttls(context=context)
        except (ssl.SSLError, OSError, smtplib.SMTPException):
            session.close()
            return True
        return False


class Cases(unittest.TestCase):
    """What several documents promise in the same words."""

    def check_no_command_before_tls(self, server: Document) -> None:
        with plain_session(server.ports["submission"]) as session:
            self.assertIn("starttls", session.esmtp_features)
            self.assertNotIn("auth", session.esmtp_features)
            for command in ("MAIL FROM:<a@test.example>", "AUTH PLAIN AGRlbW8Ac2VjcmV0", "VRFY demo", "RSET"):
                self.assertEqual(session.docmd(command), FIRST_STARTTLS, command)
            self.assertEqual(session.noop()[0], 250)

    def check_relay_only_after_login(self, server: Document, service: str) -> None:
        with tls_session(server, service) as session:
            self.assertIn("auth", session.esmtp_features)
            session.mail("a@test.example")
            self.assertEqual(session.rcpt(STRANGER)[0], 554)
            session.rset()
            self.assertEqual(session.login("demo", "secret")[0], 235)
            session.mail("a@test.example")
            self.assertEqual(session.rcpt(STRANGER)[0], 250)

    def check_a_wrapped_port_speaks_nothing_else(self, server: Document) -> None:
        with socket.create_connection(("127.0.0.1", server.ports["submissions"]), timeout=PATIENCE) as plain:
            plain.sendall(b"EHLO client.example\r\n")
            heard = b""
            with contextlib.suppress(ConnectionResetError):
                while chunk := plain.recv(4096):
                    heard += chunk
            self.assertNotIn(b"220", heard)
            self.assertNotIn(b"250", heard)

    def check_a_handshake_before_starttls_is_junk(self, server: Document) -> None:
        port = server.ports["submission"]
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as plain, self.assertRaises(OSError):
            any_certificate().wrap_socket(plain)

    def check_the_world_may_write_to_us(self, server: Document, user: str = "demo") -> None:
        """In clear and encrypted; to nobody else, and without a login."""
        for starts in (plain_session, lambda _: tls_session(server, "smtp")):
            with starts(server.ports["smtp"]) as session:
                self.assertNotIn("auth", session.esmtp_features)
                self.assertEqual(session.docmd("AUTH PLAIN AGRlbW8Ac2VjcmV0")[0], 503)
                session.mail("friend@elsewhere.example")
                self.assertIn(session.rcpt(STRANGER)[0], (454, 554))
                self.assertEqual(session.rcpt(f"{user}@test.example")[0], 250)
                self.assertEqual(session.data(TEXT)[0], 250)
        server.wait_mail(user, 2)
        tells = "received_header = yes" in server.run("postconf", "smtpd_tls_received_header").stdout
        self.assertEqual(any(b"(using TLSv1.3" in m for m in server.maildir(user)), tells)


class Inherited(Cases):
    """mydomain is the realm of its passwords."""

    ZONE = {"elsewhere.example": [("A", "127.0.0.2")], "test.example": [("A", "127.0.0.1")]}

    def begin(self, main: str = "", **more) -> Document:
        names = self.enterContext(NameServer(self.ZONE))
        server = self.enterContext(Document("inherited", start=False, main=f"postrider_dns_server = 127.0.0.1@{names.port}\n" + main,
                                            **more))
        make_sasldb(server.etc / "sasldb", {"demo": "secret"}, "sanitized.fqdn")
        return server.start()

    def test_it_is_taken_as_it_stands(self):
        server = self.begin()
        done = server.run("postfix", "check")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stderr, r"main\.cf:\d+: smtpd_sasl_authenticated_header is set a second time")
        self.assertRegex(done.stderr, r"main\.cf:\d+: postscreen_blacklist_action is an older name")

    def test_logins_on_587_and_465_open_the_relay(self):
        server = self.begin()
        self.check_no_command_before_tls(server)
        self.check_a_wrapped_port_speaks_nothing_else(server)
        for service in ("submission", "submissions"):
            self.check_relay_only_after_login(server, service)
        server.wait_log(r"postfix/submission/smtpd\[\d+\]: \S+: client=.*sasl_username=demo")

    def test_old_clients_get_a_line_of_their_own_inside_tls_alone(self):
        server = self.begin()
        with tls_session(server, "submissions") as session:
            self.assertIn(b"AUTH PLAIN", session.ehlo_resp)
            self.assertIn(b"AUTH=PLAIN", session.ehlo_resp)
            self.assertNotIn(b"ANONYMOUS", session.ehlo_resp)
        with plain_session(server.ports["smtp"]) as session:
            self.assertNotIn(b"AUTH", session.ehlo_resp)

    def test_port_25_takes_mail_for_us_and_relays_nothing(self):
        """The author's question; AUTH is off in main.cf, and on in master.cf where it belongs."""
        server = self.begin(main="smtpd_sasl_auth_enable = no\n")
        self.check_the_world_may_write_to_us(server)
        server.wait_log(r"Anonymous TLS connection established from localhost\[127.0.0.1\]: TLSv1.3 with cipher")
        self.check_relay_only_after_login(server, "submission")

    def test_senders_of_no_domain_are_refused_at_once(self):
        server = self.begin()
        with plain_session(server.ports["smtp"]) as session:
            self.assertEqual(session.mail("a@nowhere.example")[0], 450)
            self.assertEqual(session.mail("a@elsewhere.example")[0], 250)


class Holly(Cases):
    def begin(self, **more) -> Document:
        server = self.enterContext(Document("holly", start=False, **more))
        make_sasldb(server.etc / "sasldb", {"demo": "secret"}, "mx.test.example")
        return server.start()

    def test_mail_passes_when_it_is_for_us_or_its_client_logged_in(self):
        server = self.begin()
        for starts in (plain_session, lambda _: tls_session(server, "smtp")):
            with starts(server.ports["smtp"]) as session:
                session.mail("friend@elsewhere.example")
                self.assertEqual(session.rcpt(STRANGER)[0], 554)
                self.assertEqual(session.rcpt("demo@test.example")[0], 250)
        for service in ("smtp", "submission", "submissions"):
            self.check_relay_only_after_login(server, service)

    def test_passwords_never_travel_in_clear(self):
        with plain_session(self.begin().ports["smtp"]) as session:
            self.assertNotIn("auth", session.esmtp_features)
            self.assertEqual(session.docmd("AUTH PLAIN AGRlbW8Ac2VjcmV0")[0], 504)

    def test_one_port_cannot_do_both(self):
        server = self.begin()
        self.check_no_command_before_tls(server)
        self.check_a_wrapped_port_speaks_nothing_else(server)
        self.check_a_handshake_before_starttls_is_junk(server)

    def test_a_greeting_is_wanted_and_commands_in_their_turn(self):
        server = self.begin()
        with smtplib.SMTP("127.0.0.1", server.ports["smtp"], timeout=PATIENCE) as session:
            self.assertEqual(session.docmd("MAIL FROM:<a@elsewhere.example>"), (503, b"5.5.1 Error: send HELO/EHLO first"))
        with socket.create_connection(("127.0.0.1", server.ports["smtp"]), timeout=PATIENCE) as impatient:
            lines = impatient.makefile("rb")
            lines.readline()
            impatient.sendall(b"HELO client.example\r\nMAIL FROM:<a@elsewhere.example>\r\nRCPT TO:<demo@test.example>\r\nDATA\r\n")
            self.assertRegex(lines.readline(), rb"^5\d\d 5\.5\.0 .*(synchronization|pipelining)")
            self.assertEqual(lines.readline(), b"")


class Slowly(Cases):
    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)

    def begin(self, **more) -> Document:
        server = self.stack.enter_context(Document("slowly", **more))
        socket_path = server.folder / "queue/private/auth"
        self.stack.enter_context(DebianDovecot(socket_path))
        return server

    def test_logins_only_where_they_belong(self):
        server = self.begin()
        self.check_the_world_may_write_to_us(server)
        self.check_no_command_before_tls(server)
        for service in ("submission", "submissions"):
            self.check_relay_only_after_login(server, service)
        server.wait_log(r"postfix/submission/smtpd\[\d+\]: \S+: client=.*sasl_username=demo")
        self.check_a_wrapped_port_speaks_nothing_else(server)

    def test_465_answers_to_its_older_name(self):
        with Document("slowly", start=False) as server:
            text = (server.etc / "master.cf").read_text()
            self.assertIn(f"{server.ports['submissions']} inet", text)
            for name in ("smtps", "submissions"):
                server.write("master.cf", text.replace(f"{server.ports['submissions']} inet", f"{name} inet"))
                self.assertNotIn("error", server.run("postfix", "check").stderr)

    def test_old_versions_are_out_where_the_document_says_so_and_nowhere_else(self):
        server = self.begin()
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            self.assertTrue(protocol_fails(server, "smtp", version), version)
            self.assertFalse(protocol_fails(server, "submission", version), version)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            self.assertFalse(protocol_fails(server, "smtp", version), version)
        strict = self.begin(main="smtpd_tls_protocols = >=TLSv1\nsmtpd_tls_mandatory_protocols = !TLSv1, !TLSv1.1\n")
        self.assertFalse(protocol_fails(strict, "smtp", ssl.TLSVersion.TLSv1_1))
        self.assertTrue(protocol_fails(strict, "submission", ssl.TLSVersion.TLSv1_1))

    def test_mail_goes_out_encrypted_where_the_other_side_can_and_in_clear_where_not(self):
        for level, is_encrypted in (("may", True), ("none", False)):
            with Postrider(main=f"smtpd_tls_security_level = {level}\nsmtpd_tls_received_header = yes\n") as far:
                server = self.begin(main=f"relayhost = [127.0.0.1]:{far.ports['smtp']}\nmynetworks = 127.0.0.0/8\n"
                                         "virtual_mailbox_domains =\nsmtpd_relay_restrictions = permit_mynetworks, reject\n")
                server.send("a@local.example", ["demo@test.example"], TEXT)
                message = far.wait_mail("demo")[0]
                self.assertEqual(b"(using TLSv1.3" in message, is_encrypted)

    def test_loglevel_2_shows_the_handshake_and_no_key(self):
        server = self.begin()
        with tls_session(server, "smtp"):
            pass
        server.wait_log(r"SSL_accept:.*(write|read)")
        self.assertNotIn("PRIVATE KEY", server.log_text())
        self.assertNotIn("master_secret", server.log_text().lower())

    def test_the_whole_chain_is_sent_and_a_renewed_one_is_used_without_a_restart(self):
        server = self.begin()
        first = ssl.get_server_certificate(("127.0.0.1", server.ports["submissions"]))
        before = server.pids("smtpd")
        make_certificate(server.etc, "mx.test.example")
        for name, source in (("privkey.pem", "key.pem"), ("fullchain.pem", "cert.pem")):
            (server.etc / (name + ".new")).write_bytes((server.etc / source).read_bytes())
            (server.etc / (name + ".new")).replace(server.etc / name)
        wait_until(lambda: ssl.get_server_certificate(("127.0.0.1", server.ports["submissions"])) != first, "the renewed certificate")
        self.assertEqual(server.pids("smtpd"), before)


class LibreLamp(Cases):
    def test_its_own_parameter_decides_about_submission(self):
        with Document("librelamp") as server, DebianDovecot(server.folder / "queue/private/auth"):
            self.check_no_command_before_tls(server)
            self.check_relay_only_after_login(server, "submission")
            self.check_relay_only_after_login(server, "submissions")
            self.check_the_world_may_write_to_us(server)
            context = any_certificate()
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers("DHE-RSA-AES256-GCM-SHA384")
            with plain_session(server.ports["smtp"]) as session:
                session.starttls(context=context)
            with plain_session(server.ports["submission"]) as session, self.assertRaises((ssl.SSLError, OSError)):
                session.starttls(context=context)

    def test_small_dh_groups_are_refused_with_a_reason(self):
        with Document("librelamp", start=False) as server:
            # 1024 bits: the second Oakley group's size.
            subprocess.run(["openssl", "dhparam", "-dsaparam", "-out", str(server.etc / "dh1024.pem"), "1024"], check=True,
                           capture_output=True)
            for name, is_good in (("dh1024.pem", False), ("dh4096.pem", True), ("auto", True)):
                path = name if name == "auto" else server.etc / name
                server.append("main.cf", f"smtpd_tls_dh1024_param_file = {path}\n")
                done = server.run("postfix", "check")
                self.assertEqual(done.returncode == 0, is_good, done.stderr)
                if not is_good:
                    self.assertRegex(done.stderr, "1024.*2048")


class LibreLampSends(Cases):
    """DANE where the other side has it, the policy file before all, and what is left in the way of may."""

    HOSTS = {"good": "127.0.1.21", "other": "127.0.1.22", "clear": "127.0.1.23", "trusted": "127.0.1.24"}

    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="librelamp-")))
        self.port = free_ports(1)[0]
        for name in ("good", "other"):
            self_signed(self.folder, name, "elsewhere.invalid")
        Authority(self.folder).sign("trusted", alt_names("mx.listed.example"))
        self.hosts = {name: MxHost(address, self.port, None if name == "clear" else chain(self.folder, name, "ca" if name == "trusted" else ""))
                      for name, address in self.HOSTS.items()}
        for host in self.hosts.values():
            self.addCleanup(host.close)

    def zone(self) -> str:
        """Domain, its host, and the TLSA record of it."""
        record, text = tlsa(self.folder, "good"), ""
        for domain, host, data in (("match", "good", record), ("mismatch", "other", record), ("stripped", "clear", record),
                                   ("unusable", "good", tlsa(self.folder, "good", 1)), ("none", "clear", ""),
                                   ("listed", "trusted", ""), ("listed-clear", "clear", ""), ("listed-other", "trusted", "")):
            text += f"{domain} IN MX 10 mx.{domain}\nmx.{domain} IN A {self.HOSTS[host]}\n"
            text += f"_{self.port}._tcp.mx.{domain} IN TLSA {data}\n" if data else ""
        return text + "bogus IN MX 77 mx.match\n"

    def begin(self, dns: SignedDns) -> Document:
        server = self.enterContext(Document("librelamp", start=False, main=f"""\
postrider_dns_server = 127.0.0.1:{dns.port}
postrider_dnssec_trust_anchors = {dns.anchors}
smtp_tcp_port = {self.port}
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
"""))
        (server.etc / "authorities/ca.pem").write_bytes((self.folder / "ca.pem").read_bytes())
        subprocess.run(["openssl", "rehash", str(server.etc / "authorities")], check=True, capture_output=True)
        lines = "".join(f"{d}.example secure match=mx.{d}.example:.{d}.example protocols=!SSLv2:!SSLv3:!TLSv1:!TLSv1.1 ciphers=high\n"
                        for d in ("listed", "listed-clear", "listed-other"))
        server.write("starttls_everywhere_policy", lines)
        self.assertEqual(server.run("postmap", f"hash:{server.etc}/starttls_everywhere_policy").returncode, 0)
        return server.start()

    def test_nothing_goes_in_clear_or_to_a_wrong_host_where_somebody_said_so(self):
        sent = {"match": "Verified", "unusable": "Untrusted", "none": "", "listed": "Verified"}
        kept = ("mismatch", "stripped", "bogus", "listed-clear", "listed-other")
        with SignedDns([Zone("example", self.zone(), spoil=[("MX\t77 ", "MX\t78 ")])]) as dns:
            server = self.begin(dns)
            for domain in (*sent, *kept):
                server.send("a@local.example", [f"b@{domain}.example"], TEXT)
            for domain in sent:
                server.wait_log(rf"to=<b@{domain}.example>, .*status=sent")
            for domain in kept:
                server.wait_log(rf"to=<b@{domain}.example>, .*status=deferred")
            for word in filter(None, sent.values()):
                server.wait_log(rf"{word} TLS connection established to mx\.")
            arrived = {recipient: is_encrypted for host in self.hosts.values() for recipient, is_encrypted, _ in host.mail}
            self.assertEqual(arrived, {f"b@{domain}.example": domain != "none" for domain in sent})


class Mailbox:
    """A POP3 server with one message, for fetchmail to empty."""

    def __init__(self):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.is_emptied = False
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> "Mailbox":
        return self

    def __exit__(self, *_) -> None:
        self._socket.close()

    def _serve(self) -> None:
        message = b"From: friend@elsewhere.example\r\n" + TEXT.encode()
        answers = {b"USER": b"", b"PASS": b"", b"STAT": b"1 %d" % len(message), b"LAST": b"0",
                   b"LIST": b"1 %d" % len(message),
                   b"RETR": b"%d octets\r\n%s." % (len(message), message), b"QUIT": b""}
        with contextlib.suppress(OSError):
            sock, _ = self._socket.accept()
            lines = sock.makefile("rwb")
            lines.write(b"+OK ready\r\n")
            lines.flush()
            while line := lines.readline():
                verb = line.split()[0].upper()
                self.is_emptied |= verb == b"DELE"
                good = verb in answers or verb == b"DELE"
                lines.write((b"+OK " + answers.get(verb, b"") if good else b"-ERR unknown") + b"\r\n")
                lines.flush()


class Wiki(Cases):
    def test_a_real_fetchmail_delivers_beside_enforced_tls(self):
        root = debian_packages.unpacked("fetchmail", "libgssapi-krb5-2", "libkrb5-3", "libk5crypto3", "libkrb5support0",
                                        "libkeyutils1", "libcom-err2")
        with Document("wiki") as server, Mailbox() as mailbox:
            server.write("fetchmailrc", f"poll 127.0.0.1 protocol pop3 port {mailbox.port} auth password\n"
                         f"user remote password secret is demo@test.example here smtphost 127.0.0.1/{server.plain_port} fetchall sslproto ''\n")
            (server.etc / "fetchmailrc").chmod(0o600)
            env = dict(os.environ, LD_LIBRARY_PATH=debian_packages.library_path(root), FETCHMAILHOME=str(server.folder))
            done = subprocess.run([str(root / "usr/bin/fetchmail"), "--fetchmailrc", str(server.etc / "fetchmailrc"), "--nodetach",
                                   "--nosyslog"], env=env, capture_output=True, text=True, timeout=2 * PATIENCE)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn(b"Subject: hello", server.wait_mail("demo")[0])
            self.assertTrue(mailbox.is_emptied)

    def test_a_port_for_fetchmail_needs_no_tls(self):
        with Document("wiki") as server:
            with plain_session(server.ports["smtp"]) as session:
                self.assertEqual(session.mail("a@test.example"), FIRST_STARTTLS)
            with plain_session(server.plain_port) as session:
                self.assertNotIn("starttls", session.esmtp_features)
                session.mail("a@test.example")
                self.assertEqual(session.rcpt("demo@test.example")[0], 250)
                self.assertEqual(session.data(TEXT)[0], 250)
            server.wait_mail("demo")

    def test_the_older_switches_stand_below_the_levels(self):
        levels = {"smtpd_use_tls = yes\n": ("may", "offered"), "smtpd_enforce_tls = yes\n": ("encrypt", "demanded"),
                  "smtpd_use_tls = yes\nsmtpd_tls_security_level = none\n": ("none", ""),
                  "smtpd_enforce_tls = yes\nsmtpd_tls_security_level = may\n": ("may", "offered"),
                  "smtpd_use_tls = no\nsmtpd_tls_security_level = encrypt\n": ("encrypt", "demanded")}
        for lines, (_, outcome) in levels.items():
            with Document("wiki", main="smtpd_tls_security_level =\n" + lines) as server, plain_session(server.ports["smtp"]) as session:
                self.assertEqual("starttls" in session.esmtp_features, bool(outcome), lines)
                self.assertEqual(session.mail("a@test.example") == FIRST_STARTTLS, outcome == "demanded", lines)


if __name__ == "__main__":
    unittest.main()
