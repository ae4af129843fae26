# SPDX-License-Identifier: Apache-2.0
"""TLS of the SMTP client: sites, sessions, certificates of its own, names, and what it does when things break."""

import contextlib
import os
import ssl
import subprocess
import tempfile
import unittest
from pathlib import Path

from name_server import NameServer
from next_hop import NAME, NextHop, make_authority
from postrider import Postrider, make_certificate

TEXT = "Subject: hello\r\n\r\nbody\r\n"
SENT = r"status=sent \(250 2.0.0 Ok: kept\)"
# Mail is soon old enough to go in clear, where that is allowed.
QUICK = "minimal_backoff_time = 1s\nmaximal_backoff_time = 1s\nqueue_run_delay = 1s\n"


class ClientTls(unittest.TestCase):
    def setUp(self):
        temp = tempfile.TemporaryDirectory(prefix="client-tls-")
        self.addCleanup(temp.cleanup)
        self.folder = Path(temp.name)
        self.folder.chmod(0o755)
        make_authority(self.folder)

    def relay(self, hop: NextHop, more: str) -> str:
        return f"relayhost = [127.0.0.2]:{hop.port}\nsmtp_tls_loglevel = 1\nsmtp_tls_CAfile = {self.folder}/ca.pem\n{more}\n"

    def send(self, ours: Postrider, outcome: str = SENT, count: int = 1) -> None:
        ours.send("a@source.example", ["b@far.example"], TEXT)
        ours.wait_log(outcome, count)

    def test_the_site_table_has_the_old_words_and_their_precedence(self):
        """As Postfix was seen to do it."""
        not_verified = r"dsn=4.7.5, status=deferred \(Server certificate not verified\)"
        broken = r"dsn=4.7.5, status=deferred \(client TLS configuration problem\)"
        cases = (("smtp_use_tls = yes", "{127.0.0.2 = NONE}", SENT, [False]), ("smtp_use_tls = yes", "{[127.0.0.2]:PORT = MUST}", not_verified, []),
                 ("", "{127.0.0.2 = MUST_NOPEERMATCH}", SENT, [True]), ("", "{127.0.0.2 = MAY}", SENT, [True]),
                 ("smtp_use_tls = yes", "{127.0.0.2 = junk}", broken, []), ("", "{127.0.0.2 = NONE}, {[127.0.0.2]:PORT = MAY}", SENT, [False]),
                 ("", "{127.0.0.2 = MAY}, {[127.0.0.2]:PORT = NONE}", SENT, [False]),
                 ("", "{127.0.0.2 = MUST_NOPEERMATCH}, {[127.0.0.2]:PORT = NONE}", SENT, [True]),
                 ("smtp_enforce_tls = yes", "{127.0.0.2 = MAY}", not_verified, []),
                 ("smtp_enforce_tls = yes\nsmtp_tls_enforce_peername = no", "{127.0.0.3 = MAY}", SENT, [True]))
        with contextlib.ExitStack() as stack:
            for more, sites, outcome, mail in cases:
                with self.subTest(more=more, sites=sites):
                    hop = stack.enter_context(NextHop(self.folder))
                    table = sites.replace("PORT", str(hop.port))
                    with Postrider(main=self.relay(hop, f"smtp_tls_security_level =\nsmtp_tls_per_site = inline:{{ {table} }}\n{more}")) as ours:
                        self.send(ours, outcome)
                    self.assertEqual([is_encrypted for is_encrypted, _ in hop.messages], mail)

    def test_a_session_is_resumed_and_its_certificate_is_looked_at_again(self):
        with NextHop(self.folder) as hop:
            more = (f"smtp_tls_security_level = secure\nsmtp_tls_secure_cert_match = {NAME}\nsmtp_connection_cache_on_demand = no\n"
                    "smtp_tls_session_cache_database = btree:$data_directory/sessions\npostrider_process_count = 1")
            with Postrider(main=self.relay(hop, more)) as ours:
                for n in range(3):
                    self.send(ours, count=n + 1)
                ours.wait_log("Verified TLS connection established to", 3)
        self.assertEqual(hop.resumed, [False, True, True])

    def test_sessions_are_not_kept_unless_that_is_asked_for(self):
        with NextHop(self.folder) as hop:
            with Postrider(main=self.relay(hop, "smtp_tls_security_level = encrypt\nsmtp_connection_cache_on_demand = no\npostrider_process_count = 1")) as ours:
                for n in range(2):
                    self.send(ours, count=n + 1)
        self.assertEqual(hop.resumed, [False, False])

    def test_wrapper_mode_needs_a_level_that_fits(self):
        with NextHop(self.folder, fault="wrapper") as hop:
            with Postrider(main=self.relay(hop, "smtp_tls_wrappermode = yes\nsmtp_tls_security_level = encrypt")) as ours:
                self.send(ours)
            self.assertEqual([is_encrypted for is_encrypted, _ in hop.messages], [True])
            with Postrider(main=self.relay(hop, "smtp_tls_wrappermode = yes\nsmtp_tls_security_level = may")) as ours:
                self.send(ours, r"dsn=4.7.5, status=deferred \(client TLS configuration problem\)")
                ours.wait_log("smtp_tls_wrappermode needs smtp_tls_security_level = encrypt, or stronger")

    def test_a_certificate_of_our_own_is_shown_and_renewed_without_reload(self):
        own = self.folder / "own"
        own.mkdir()
        own.chmod(0o755)

        def renew(name: str) -> bytes:
            make_certificate(own, name)
            (own / "new").write_text((own / "key.pem").read_text() + (own / "cert.pem").read_text())
            os.chmod(own / "new", 0o644)
            (own / "new").rename(own / "chain.pem")
            return ssl.PEM_cert_to_DER_cert((own / "cert.pem").read_text())

        first = renew("one.example")
        with NextHop(self.folder) as hop:
            hop.context.verify_mode = ssl.CERT_OPTIONAL
            hop.context.load_verify_locations(own / "cert.pem")
            more = (f"smtp_tls_security_level = encrypt\nsmtp_tls_chain_files = {own}/chain.pem\npostrider_process_count = 1\n"
                    "smtp_connection_cache_on_demand = no")
            with Postrider(main=self.relay(hop, more)) as ours:
                self.send(ours)
                second = renew("two.example")
                hop.context.load_verify_locations(own / "cert.pem")
                ours.wait_log(r"/smtp\[\d+\]: TLS: renewed keys and certificates are in use")
                self.send(ours, count=2)
        self.assertEqual(hop.shown, [first, second])

    def test_where_names_come_from(self):
        """Strategies against a server found by MX: its certificate holds its own name, not the domain's."""
        zone = {"far.example": [("MX", 5, NAME)], NAME: [("A", "127.0.0.2")], "other.example": [("MX", 5, NAME)]}
        cases = (("verify", "smtp_tls_verify_cert_match = hostname", True), ("verify", "smtp_tls_verify_cert_match = nexthop", False),
                 ("secure", "smtp_tls_secure_cert_match = nexthop, dot-nexthop", True), ("secure", "smtp_tls_secure_cert_match = nexthop", False),
                 ("secure", "smtp_tls_secure_cert_match = .example", True))
        with NameServer(zone) as dns:
            for level, match, is_sent in cases:
                with self.subTest(match=match), NextHop(self.folder) as hop:
                    main = (f"postrider_dns_server = 127.0.0.1@{dns.port}\nsmtp_tcp_port = {hop.port}\nsmtp_tls_loglevel = 1\n"
                            f"smtp_tls_CAfile = {self.folder}/ca.pem\nsmtp_tls_security_level = {level}\n{match}\n")
                    with Postrider(main=main) as ours:
                        self.send(ours, SENT if is_sent else r"status=deferred \(Server certificate not verified\)")

    def test_servername_asks_for_a_name(self):
        with NextHop(self.folder) as hop:
            names = []
            hop.context.sni_callback = lambda sock, name, context: names.append(name)
            with Postrider(main=self.relay(hop, f"smtp_tls_security_level = encrypt\nsmtp_tls_servername = {NAME}")) as ours:
                self.send(ours)
                ours.wait_log(rf"Trusted TLS connection established to 127.0.0.2\[127.0.0.2\]:{hop.port} to {NAME}: TLSv1.3 with cipher")
        self.assertEqual(names, [NAME])

    def test_mail_that_waited_goes_in_clear_when_tls_breaks_off(self):
        quick = "smtp_tls_security_level = may\nminimal_backoff_time = 1s\nmaximal_backoff_time = 1s\nqueue_run_delay = 1s"
        with NextHop(self.folder, fault="hangs-up") as hop:
            with Postrider(main=self.relay(hop, quick)) as ours:
                self.send(ours)
                ours.wait_log(r"dsn=4.4.2, status=deferred \(lost connection with 127.0.0.2\[127.0.0.2\] while performing the EHLO handshake\)")
        self.assertEqual([is_encrypted for is_encrypted, _ in hop.messages], [False])

    def test_who_may_have_taken_the_mail_gets_it_no_second_time_in_clear(self):
        """The end of data was said inside TLS, and then TLS broke off: neither SMTP nor LMTP begin anew in clear at once."""
        for client, to in (("smtp", "smtp:[127.0.0.2]:{}"), ("lmtp", "lmtp:inet:127.0.0.2:{}")):
            with self.subTest(client=client), NextHop(self.folder, fault="hangs-up-at-end") as hop:
                main = f"transport_maps = static:{to.format(hop.port)}\n{client}_tls_security_level = may\n{QUICK}"
                with Postrider(main=main) as ours:
                    self.send(ours, r"dsn=4.4.2, status=deferred \(lost connection with .* while sending end of data -- message may be sent more than once\)", 3)
                self.assertEqual({is_encrypted for is_encrypted, _ in hop.messages}, {True})
                self.assertEqual(hop.clear_mail(), [])

    def test_an_lmtp_server_that_breaks_off_tls_is_tried_in_clear_only_where_that_is_allowed(self):
        for level, in_clear in (("may", True), ("encrypt", False), (f"secure match={NAME}", False)):
            for fault in "hangs-up", "broken":
                with self.subTest(level=level, fault=fault), NextHop(self.folder, fault=fault) as hop:
                    to = f"inet:127.0.0.2:{hop.port}"
                    main = (f"transport_maps = static:lmtp:{to}\nlmtp_tls_policy_maps = static:{{{level}}}\n{QUICK}"
                            f"lmtp_tls_CAfile = {self.folder}/ca.pem\n")
                    with Postrider(main=main) as ours:
                        self.send(ours, *((SENT, 1) if in_clear else ("status=deferred", 3)))
                    self.assertEqual([is_encrypted for is_encrypted, _ in hop.messages], [False] if in_clear else [])
                    self.assertEqual(bool(hop.clear_mail()), in_clear)

    def test_a_reply_before_its_time_is_noticed(self):
        with NextHop(self.folder, fault="early") as hop:
            with Postrider(main=self.relay(hop, "smtp_tls_security_level = encrypt\nsmtp_tls_block_early_mail_reply = yes")) as ours:
                self.send(ours, r"dsn=4.7.0, status=deferred \(host 127.0.0.2\[127.0.0.2\] replied before it was asked")
        self.assertEqual(hop.messages, [])

    def test_a_public_key_may_be_the_trust_anchor_also_of_a_session_that_is_resumed(self):
        key = subprocess.run(["openssl", "x509", "-in", "ca.pem", "-noout", "-pubkey"], cwd=self.folder, capture_output=True, check=True).stdout
        (self.folder / "ca-key.pem").write_bytes(key)
        more = (f"smtp_tls_security_level = secure\nsmtp_tls_secure_cert_match = {NAME}\nsmtp_tls_trust_anchor_file = {self.folder}/ca-key.pem\n"
                "smtp_tls_session_cache_database = lmdb:x\nsmtp_connection_cache_on_demand = no\npostrider_process_count = 1")
        with NextHop(self.folder) as hop, Postrider(main=self.relay(hop, more)) as ours:
            for count in 1, 2:
                self.send(ours, count=count)
            ours.wait_log("Verified TLS connection established to 127.0.0.2", 2)
            self.assertEqual(hop.resumed, [False, True])
        for certificate in "other", "self", "expired":
            with self.subTest(certificate=certificate), NextHop(self.folder, certificate) as hop, Postrider(main=self.relay(hop, more)) as ours:
                self.send(ours, r"status=deferred \(Server certificate not trusted\)")
                self.assertEqual(hop.messages, [])

    def test_the_level_of_logging_depends_on_the_server(self):
        with NextHop(self.folder) as hop:
            with Postrider(main=self.relay(hop, "smtp_tls_security_level = encrypt\nsmtp_tls_loglevel_maps = inline:{ {127.0.0.2 = 2} }")) as ours:
                self.send(ours)
                peer = rf"127.0.0.2\[127.0.0.2\]:{hop.port}"
                for line in (f"setting up TLS connection to {peer}", "SSL_connect:before SSL initialization", rf"{peer}: depth=0 verify=1 subject=/CN={NAME}",
                             rf"{peer}: subject_CN={NAME}, issuer_CN=Test Authority ca, fingerprint=[0-9A-F:]+, pkey_fingerprint=[0-9A-F:]+",
                             f"Trusted TLS connection established to {peer}"):
                    ours.wait_log(line)
                self.assertNotIn("read from", ours.log_text())
            with Postrider(main=self.relay(hop, "smtp_tls_security_level = encrypt\nsmtp_tls_loglevel_maps = inline:{ {127.0.0.2 = 0} }")) as ours:
                self.send(ours)
                self.assertNotIn("TLS connection", ours.log_text())
            with Postrider(main=self.relay(hop, "smtp_tls_security_level = encrypt\nsmtp_tls_loglevel_maps = inline:{ {127.0.0.2 = 3} }")) as ours:
                self.send(ours)
                ours.wait_log(rf"write to {peer} \(\d+ bytes => \d+\)")
                # What is encrypted, and what is said inside, stays out of the log.
                self.assertNotIn("MAIL FROM", ours.log_text())

    def test_an_offer_is_noted_where_tls_is_off(self):
        with NextHop(self.folder) as hop:
            with Postrider(main=self.relay(hop, "smtp_tls_security_level = none\nsmtp_tls_note_starttls_offer = yes")) as ours:
                self.send(ours)
                ours.wait_log(r"Host offered STARTTLS: \[127.0.0.2\]")
        self.assertEqual([is_encrypted for is_encrypted, _ in hop.messages], [False])

    def test_lmtp_has_settings_of_its_own(self):
        with NextHop(self.folder, more=("AUTH PLAIN",)) as hop:
            main = (f"relay_domains = far.example\nrelay_transport = lmtp:inet:127.0.0.2:{hop.port}\nsmtp_tls_security_level = none\n"
                    f"lmtp_tls_security_level = secure\nlmtp_tls_secure_cert_match = {NAME}\nlmtp_tls_CAfile = {self.folder}/ca.pem\n"
                    "lmtp_tls_loglevel = 1\nlmtp_sasl_auth_enable = yes\nlmtp_sasl_password_maps = static:demo:secret\n"
                    "lmtp_sasl_tls_security_options = noanonymous\n")
            with Postrider(main=main) as ours:
                self.send(ours)
                ours.wait_log(r"lmtp\[\d+\]: Verified TLS connection established to 127.0.0.2\[127.0.0.2\]")
        self.assertIn((True, b"AUTH PLAIN AGRlbW8Ac2VjcmV0\r\n"), hop.heard)


if __name__ == "__main__":
    unittest.main()
