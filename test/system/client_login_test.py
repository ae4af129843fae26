# SPDX-License-Identifier: Apache-2.0
"""Logging in to real servers: Dovecot's submission service, Debian's Postfix with Dovecot or Cyrus SASL behind it."""

import base64
import contextlib
import json
import re
import smtplib
import tempfile
import unittest
from pathlib import Path

import debian_dovecot
import debian_postfix
from auth_oauth_test import MAIN as OAUTH_MAIN
from auth_oauth_test import Keys
from cyrus_sasl import make_sasldb
from next_hop import NextHop, make_authority
from postrider import PATIENCE, Postrider, any_certificate, free_ports, wait_until

TEXT = "Subject: hello\r\n\r\nbody\r\n"


def logging_in(port: int, who: str, more: str = "") -> str:
    return (f"relayhost = [127.0.0.1]:{port}\nsmtp_tls_security_level = encrypt\nsmtp_tls_loglevel = 1\nsmtp_sasl_auth_enable = yes\n"
            f"smtp_sasl_password_maps = inline:{{ {{[127.0.0.1]:{port} = {who}}} }}\nsmtp_sasl_tls_security_options = noanonymous\n{more}\n")


class Servers(unittest.TestCase):
    def setUp(self):
        temp = tempfile.TemporaryDirectory(prefix="login-")
        self.addCleanup(temp.cleanup)
        self.folder = Path(temp.name)
        self.folder.chmod(0o755)
        make_authority(self.folder)
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)

    def dovecot(self, mechanisms: str) -> tuple:
        """Its submission service, on a port, and the host that it hands mail to."""
        hop = self.stack.enter_context(NextHop())
        port = free_ports(1)[0]
        server = debian_dovecot.DebianDovecot(self.folder / "auth", {"demo": "secret", "ann": "anns"}, mechanisms, more=debian_dovecot.SUBMISSION,
                                              packages=("dovecot-submissiond",), port=port, relay_port=hop.port, certificates=self.folder)
        return self.stack.enter_context(server), port, hop

    def test_each_mechanism_of_dovecot_is_one_of_ours(self):
        wanted = ("scram-sha-256", "scram-sha-1", "cram-md5", "plain", "login")
        dovecot, port, hop = self.dovecot(" ".join(wanted))
        for mechanism in wanted:
            with self.subTest(mechanism=mechanism), Postrider(main=logging_in(port, "demo:secret", f"smtp_sasl_mechanism_filter = {mechanism}")) as ours:
                ours.send("a@source.example", ["b@far.example"], TEXT)
                ours.wait_log(r"status=sent \(250 2.0.0 ")
                wait_until(lambda m=mechanism: f"user=<demo>, method={m.upper()}," in dovecot.log_text(), "Dovecot's line about the login")
        self.assertEqual(len(hop.messages), len(wanted))

    def test_the_strongest_mechanism_is_taken_and_a_wrong_password_waits(self):
        dovecot, port, hop = self.dovecot("plain login cram-md5 scram-sha-1 scram-sha-256")
        with Postrider(main=logging_in(port, "demo:wrong")) as ours:
            ours.send("a@source.example", ["b@far.example"], TEXT)
            ours.wait_log(r"dsn=4.7.8, status=deferred \(SASL authentication failed; server 127.0.0.1\[127.0.0.1\] said: 535 5.7.8 ")
            wait_until(lambda: "method=SCRAM-SHA-256" in dovecot.log_text(), "Dovecot's line about the mechanism")
        self.assertEqual(hop.messages, [])

    def test_an_access_token_gets_in(self):
        dovecot, port, hop = self.dovecot("plain xoauth2 oauthbearer")
        # Nobody here issues tokens: what Dovecot makes of one is enough to see that it understood us.
        (self.folder / "token").write_text('{"access_token": "ya29.abc"}')
        for mechanism in ("oauthbearer", "xoauth2"):
            with Postrider(main=logging_in(port, f"demo:{{token_file={self.folder}/token}}", f"smtp_sasl_mechanism_filter = {mechanism}")) as ours:
                ours.send("a@source.example", ["b@far.example"], TEXT)
                ours.wait_log(r"dsn=4.7.[08], status=deferred \(SASL authentication failed; server 127.0.0.1\[127.0.0.1\] said: 535 5.7.8 ")
        self.assertEqual(hop.messages, [])

    def test_a_login_is_tied_to_its_tls_connection(self):
        for version in (">=TLSv1.3", "<=TLSv1.2"):
            with self.subTest(version=version), Postrider(main="smtpd_sasl_auth_enable = yes\nmynetworks =\nsmtpd_tls_loglevel = 1\n",
                                                          files={"passwords": "demo {PLAIN}secret\n"}) as next_hop:
                more = f"smtp_tls_mandatory_protocols = {version}\nvirtual_mailbox_domains ="
                with Postrider(main=logging_in(next_hop.ports["smtp"], "demo:secret", more)) as ours:
                    ours.send("a@source.example", ["b@test.example"], TEXT)
                    ours.wait_log(r"status=sent \(250 2.0.0 Ok: queued as")
                next_hop.wait_log("sasl_method=SCRAM-SHA-256-PLUS, sasl_username=demo")

    def test_a_good_access_token_gets_in_and_a_new_one_is_read_from_the_file(self):
        keys = Keys()
        main = OAUTH_MAIN + "smtpd_sasl_oauth_key_file = {folder}/etc/keys\n"
        with Postrider(main=main, files={"keys": keys.public("es")}) as next_hop:
            token = self.folder / "token"
            token.write_text(keys.token("other") + "\n")
            who = f"demo@test.example:{{token_file={token}}}"
            with Postrider(main=logging_in(next_hop.ports["smtp"], who, "virtual_mailbox_domains =")) as ours:
                ours.send("a@source.example", ["b@test.example"], TEXT)
                ours.wait_log(r"status=deferred \(SASL authentication failed; ")
                token.write_text(json.dumps({"access_token": keys.token("es"), "expires_in": 300}))

                def is_sent():
                    """The log tells of the deferral before the queue knows; a flush may come too early."""
                    ours.run("postqueue", "-f")
                    return "status=sent (250 2.0.0 Ok: queued as" in ours.log_text()
                wait_until(is_sent, "the delivery with the new token")
            next_hop.wait_log("sasl_method=OAUTHBEARER, sasl_username=demo@test.example")

    def test_each_sender_has_a_connection_of_its_own(self):
        dovecot, port, hop = self.dovecot("plain")
        more = ("smtp_sender_dependent_authentication = yes\n"
                f"smtp_sasl_password_maps = inline:{{ {{ann@source.example = ann:anns}}, {{demo@source.example = demo:secret}} }}\n"
                f"sender_dependent_relayhost_maps = inline:{{ {{@source.example = [127.0.0.1]:{port}}} }}\n"
                "smtp_connection_cache_destinations = static:all\nrelayhost = [127.0.0.1]:1\n")
        with Postrider(main=logging_in(port, "nobody:x", more)) as ours:
            for n in range(12):
                ours.send(("ann", "demo")[n % 2] + "@source.example", ["b@far.example"], f"Subject: {n}\r\n\r\nbody\r\n")
            ours.wait_log(r"status=sent \(250 2.0.0 ", 12)
        # Dovecot's words for who sent what.
        for name in ("ann", "demo"):
            line = rf"submission\({name}\)<\d+><[^>]+>: Info: Successfully relayed message: from=<{name}@source.example>"
            wait_until(lambda line=line: len(re.findall(line, dovecot.log_text())) == 6, "Dovecot's lines about the messages")
        log = dovecot.log_text()
        self.assertNotRegex(log, r"submission\(ann\)<[^\n]*from=<demo@")
        self.assertNotRegex(log, r"submission\(demo\)<[^\n]*from=<ann@")

    def test_postfix_with_dovecot_behind_it(self):
        self.stack.enter_context(debian_dovecot.DebianDovecot(self.folder / "auth", mechanisms="plain login cram-md5 scram-sha-256"))
        port = free_ports(1)[0]
        main = (f"smtpd_tls_cert_file = {self.folder}/good.pem\nsmtpd_tls_key_file = {self.folder}/key.pem\nsmtpd_tls_security_level = encrypt\n"
                f"smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = {self.folder}/auth\nmynetworks = 10.0.0.0/8\n"
                "smtpd_relay_restrictions = permit_sasl_authenticated, reject\ndefault_transport = discard\n")
        with debian_postfix.DebianPostfix(main=main, master=f"127.0.0.1:{port} inet n - n - - smtpd\n") as peer:
            peer.start(port)
            with Postrider(main=logging_in(port, "demo:secret")) as ours:
                ours.send("a@source.example", ["b@far.example"], TEXT)
                ours.wait_log(r"status=sent \(250 2.0.0 Ok: queued as")
            wait_until(lambda: "sasl_method=SCRAM-SHA-256, sasl_username=demo" in peer.log_text(), "Postfix's line about the login")

    def postfix_with_cyrus(self) -> tuple:
        """Debian's, and its port."""
        make_sasldb(self.folder / "sasldb", {"demo": "secret"}, "peer.example")
        port = free_ports(1)[0]
        main = (f"smtpd_tls_cert_file = {self.folder}/good.pem\nsmtpd_tls_key_file = {self.folder}/key.pem\nsmtpd_tls_security_level = encrypt\n"
                f"smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = cyrus\nsmtpd_sasl_path = smtpd\n"
                "smtpd_sasl_local_domain = peer.example\nsmtpd_sasl_tls_security_options = noanonymous\nmynetworks = 10.0.0.0/8\n"
                "smtpd_relay_restrictions = permit_sasl_authenticated, reject\ndefault_transport = discard\n")
        peer = self.stack.enter_context(debian_postfix.DebianPostfix(main=main, master=f"127.0.0.1:{port} inet n - n - - smtpd\n"))
        # Where it looks for settings.
        (peer.config / "sasl").mkdir()
        (peer.config / "sasl/smtpd.conf").write_text(
            f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {self.folder}/sasldb\n"
            "mech_list: PLAIN LOGIN CRAM-MD5 DIGEST-MD5 SCRAM-SHA-1 SCRAM-SHA-256\n")
        return peer.start(port), port

    def test_postfix_with_cyrus_behind_it(self):
        peer, port = self.postfix_with_cyrus()
        with smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE) as session:
            session.starttls(context=any_certificate())
            session.ehlo()
            self.assertEqual(set(session.esmtp_features["auth"].split()),
                             {"PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"})
        # DIGEST-MD5 is obsolete (RFC 6331): where it is all that is left, nothing is.
        cases = [(f"smtp_sasl_mechanism_filter = {m.lower()}", m) for m in ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256")]
        cases += [("", "SCRAM-SHA-256"), ("smtp_sasl_mechanism_filter = !scram-sha-256, static:all", "SCRAM-SHA-1")]
        cases += [(f"smtp_sasl_mechanism_filter = {m.lower()}\nsend_cyrus_sasl_authzid = yes", m) for m in ("PLAIN", "SCRAM-SHA-256")]
        for settings, mechanism in cases:
            with self.subTest(settings=settings), Postrider(main=logging_in(port, "demo:secret", settings)) as ours:
                before = peer.log_text().count(f"sasl_method={mechanism}, sasl_username=demo@peer.example")
                ours.send("a@source.example", ["b@far.example"], TEXT)
                ours.wait_log(r"status=sent \(250 2.0.0 Ok: queued as")
                line = f"sasl_method={mechanism}, sasl_username=demo@peer.example"
                wait_until(lambda line=line, count=before + 1: peer.log_text().count(line) == count, "Postfix's line about the login")

    def test_a_password_that_cyrus_refuses_waits(self):
        peer, port = self.postfix_with_cyrus()
        for mechanism in ("plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256"):
            with self.subTest(mechanism=mechanism), Postrider(main=logging_in(port, "demo:wrong", f"smtp_sasl_mechanism_filter = {mechanism}")) as ours:
                ours.send("a@source.example", ["b@far.example"], TEXT)
                ours.wait_log(r"dsn=4.7.8, status=deferred \(SASL authentication failed; server 127.0.0.1\[127.0.0.1\] said: 535 5.7.8 ")
        with Postrider(main=logging_in(port, "demo:secret", "smtp_sasl_mechanism_filter = digest-md5")) as ours:
            ours.send("a@source.example", ["b@far.example"], TEXT)
            ours.wait_log(r"dsn=4.7.0, status=deferred \(SASL authentication failed; server .* offered no compatible authentication mechanisms")
        self.assertNotIn("client=", peer.log_text())

    def test_demands_depend_on_what_tls_has_shown(self):
        """No password in clear; in TLS only with a server that proved its name; and then PLAIN is good enough."""
        options = ("smtp_sasl_security_options = noplaintext, noanonymous\nsmtp_sasl_tls_security_options = noplaintext, noanonymous\n"
                   f"smtp_sasl_tls_verified_security_options = noanonymous\nsmtp_tls_CAfile = {self.folder}/ca.pem\n"
                   "smtp_tls_verify_cert_match = mx.far.example\n")
        cases = (("none", "good", False), ("encrypt", "good", False), ("verify", "good", True))
        for level, certificate, is_sent in cases:
            with self.subTest(level=level), NextHop(self.folder, certificate, more=("AUTH PLAIN LOGIN",)) as hop:
                main = logging_in(0, "demo:secret", options).replace("[127.0.0.1]:0", f"[127.0.0.2]:{hop.port}").replace("= encrypt", f"= {level}")
                with Postrider(main=main) as ours:
                    ours.send("a@source.example", ["b@far.example"], TEXT)
                    ours.wait_log(r"status=sent \(250 2.0.0 Ok: kept\)" if is_sent else
                                  r"dsn=4.7.0, status=deferred \(SASL authentication failed; server .* offered no compatible authentication")
                said = [line for _, line in hop.heard if line.startswith(b"AUTH")]
                self.assertEqual(said, [b"AUTH PLAIN " + base64.b64encode(b"\0demo\0secret") + b"\r\n"] if is_sent else [])


if __name__ == "__main__":
    unittest.main()
