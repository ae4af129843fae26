# SPDX-License-Identifier: Apache-2.0
"""TLS of the server: who is let in by certificate, which chain is shown, and what the log says of it."""

import contextlib
import re
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path

import certificates
import debian_postfix
from postrider import BUILD, Postrider, free_ports, make_certificate, wait_until

PATIENCE = 60


class Talk:
    """A session that keeps all it heard."""

    def __init__(self, port: int, wrapped: bool = False, certificate: Path | None = None, sni: str | None = None,
                 session: ssl.SSLSession | None = None, context: ssl.SSLContext | None = None, ask=("EHLO c.example",)):
        self.heard: list[str] = []
        self._buffer = b""
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        if not wrapped:
            self.line()
            self.say("EHLO c.example")
            self.say("STARTTLS")
        self.context = context or client_context()
        if certificate:
            self.context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        self._socket = self.context.wrap_socket(self._socket, server_hostname=sni, session=session)
        if wrapped:
            self.line()
        for line in ask:
            self.say(line)

    def line(self) -> str:
        """One reply; "" at the end of the connection."""
        while True:
            lines = self._buffer.split(b"\r\n")
            whole = [i for i, line in enumerate(lines[:-1]) if line[3:4] != b"-"]
            if whole:
                self._buffer = b"\r\n".join(lines[whole[0] + 1:])
                self.heard.append(lines[whole[0]].decode())
                return self.heard[-1]
            try:
                more = self._socket.recv(4096)
            except (ssl.SSLError, ConnectionError):
                more = b""
            if not more:
                return ""
            self._buffer += more

    def say(self, line: str) -> str:
        try:
            self._socket.sendall(line.encode() + b"\r\n")
        except (ssl.SSLError, ConnectionError):
            pass
        return self.line()

    @property
    def tls(self) -> ssl.SSLSocket:
        return self._socket

    def peer_name(self) -> str:
        """The common name of the server's certificate."""
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as f:
            f.write(ssl.DER_cert_to_PEM_cert(self._socket.getpeercert(True)))
            f.flush()
            subject = ssl._ssl._test_decode_cert(f.name)["subject"]  # pylint: disable=protected-access
        return dict(pair for part in subject for pair in part)["commonName"]

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> "Talk":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def client_context(newest: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if newest:
        context.maximum_version = newest
    return context


@contextlib.contextmanager
def both(main: str, master: str = "", wrapped: bool = False):
    """The same lines for Debian's Postfix and for us; yields [(port, log_text)]."""
    port = free_ports(1)[0]
    service = f"127.0.0.1:{port} inet n - n - 1 smtpd\n" + ("  -o smtpd_tls_wrappermode=yes\n" if wrapped else "") + master
    with debian_postfix.DebianPostfix(main=main, master=service) as theirs:
        theirs.start(port)
        with Postrider(main=main, master=master.replace("{smtp}", "")) as ours:
            yield [(port, theirs.log_text), (ours.ports["submissions" if wrapped else "smtp"], ours.log_text)]


class Certificates(unittest.TestCase):
    """One folder with everybody's certificates, made once."""

    @classmethod
    def setUpClass(cls):
        cls.temp = tempfile.TemporaryDirectory(prefix="pr-tls-")
        cls.folder = Path(cls.temp.name)
        cls.folder.chmod(0o755)
        ca = certificates.Authority(cls.folder)
        cls.server = ca.sign("mx.test.example", "subjectAltName=DNS:mx.test.example")
        cls.trusted = ca.sign("trusted.example", "extendedKeyUsage=clientAuth")
        cls.for_servers = ca.sign("for-servers.example", "extendedKeyUsage=serverAuth")
        cls.expired = ca.sign("expired.example", expired=True)
        cls.own = certificates.self_signed(cls.folder, "own.example")
        cls.stranger = certificates.Authority(cls.folder, "other").sign("stranger.example")
        below = certificates.Authority(cls.folder, "below", ca)
        cls.deep = certificates.Authority(cls.folder, "deeper", below).sign("deep.example")
        cls.everybody = {None: None, "trusted": cls.trusted, "for_servers": cls.for_servers, "expired": cls.expired,
                         "own": cls.own, "stranger": cls.stranger, "deep": cls.deep}
        cls.base = (f"smtpd_tls_cert_file = {cls.server}\nsmtpd_tls_key_file = {cls.server.with_suffix('.key')}\n"
                    f"smtpd_tls_CAfile = {cls.folder}/ca.pem\nsmtpd_tls_loglevel = 1\nsmtpd_peername_lookup = no\n"
                    "mynetworks = 10.0.0.0/8\nrelay_domains =\n")

    @classmethod
    def tearDownClass(cls):
        cls.temp.cleanup()

    def relay(self, port: int, certificate: Path | None, wrapped: bool = False) -> str:
        """The answer to a relay attempt, or what came instead."""
        with Talk(port, wrapped, certificate) as talk:
            if talk.heard[-1].startswith("250"):
                talk.say("MAIL FROM:<a@far.example>")
                talk.say("RCPT TO:<b@far.example>")
            # Inside TLS from the start, Postfix greets whom it has just sent away.
            last = next((line for line in talk.heard if line.startswith("421")), talk.heard[-1])
            return " ".join(last.replace("peer.example", "mx.test.example").split())

    def outcomes(self, main: str, wrapped: bool = False) -> dict:
        """By name of certificate; the same from both servers."""
        with both(self.base + main, wrapped=wrapped) as servers:
            theirs, ours = ({name: self.relay(port, file, wrapped) for name, file in self.everybody.items()}
                            for port, _ in servers)
        self.assertEqual(ours, theirs)
        return ours


GRANTED = "250 2.1.5 Ok"
DENIED = "554 5.7.1 <b@far.example>: Relay access denied"
ALL_CERTIFICATES = "smtpd_relay_restrictions = permit_tls_all_clientcerts, reject_unauth_destination\n"


class ClientCertificates(Certificates):
    def test_permit_tls_all_clientcerts_relays_for_verified_ones_alone(self):
        got = self.outcomes("smtpd_tls_security_level = may\nsmtpd_tls_ask_ccert = yes\n" + ALL_CERTIFICATES)
        self.assertEqual({name for name, answer in got.items() if answer == GRANTED}, {"trusted", "deep"})
        self.assertEqual({answer for answer in got.values()}, {GRANTED, DENIED})

    def test_without_ask_ccert_nobody_is_known(self):
        got = self.outcomes("smtpd_tls_security_level = may\nsmtpd_tls_req_ccert = yes\n" + ALL_CERTIFICATES)
        self.assertEqual(set(got.values()), {DENIED})

    def test_req_ccert_sends_away_who_is_not_verified(self):
        lines = "smtpd_tls_security_level = encrypt\nsmtpd_tls_req_ccert = yes\n" + ALL_CERTIFICATES
        for wrapped in False, True:
            with self.subTest(wrapped=wrapped):
                got = self.outcomes(lines, wrapped)
                self.assertEqual(got[None], "421 4.7.1 mx.test.example Error: No client certificate presented")
                self.assertEqual(got["trusted"], GRANTED)
                for name in "for_servers", "expired", "own", "stranger":
                    self.assertEqual(got[name], "421 4.7.1 mx.test.example Error: Client certificate not trusted")

    def test_the_chain_may_be_as_long_as_ccert_verifydepth_says(self):
        for depth, answer in (0, DENIED), (1, GRANTED):
            got = self.outcomes(f"smtpd_tls_security_level = may\nsmtpd_tls_ask_ccert = yes\nsmtpd_tls_ccert_verifydepth = {depth}\n"
                                + ALL_CERTIFICATES)
            self.assertEqual(got["deep"], answer)

    def test_listed_fingerprints_need_no_trust(self):
        prints = f"{{ {certificates.fingerprint(self.own)} = x }}, {{ {certificates.key_fingerprint(self.stranger)} = x }}"
        got = self.outcomes("smtpd_tls_security_level = may\nsmtpd_tls_ask_ccert = yes\nsmtpd_tls_fingerprint_digest = sha256\n"
                            f"relay_clientcerts = inline:{{ {prints} }}\n"
                            "smtpd_relay_restrictions = permit_tls_clientcerts, reject_unauth_destination\n")
        self.assertEqual({name for name, answer in got.items() if answer == GRANTED}, {"own", "stranger"})

    def test_check_ccert_access_asks_for_both_fingerprints_in_order(self):
        table = (f"inline:{{ {{ {certificates.fingerprint(self.own)} = REJECT by certificate }}, "
                 f"{{ {certificates.key_fingerprint(self.own)} = OK }} }}")
        lines = "smtpd_tls_security_level = may\nsmtpd_tls_ask_ccert = yes\nsmtpd_tls_fingerprint_digest = sha256\n"
        for argument, answer in ((table, "554 5.7.1 <own.example>: Client certificate rejected: by certificate"),
                                 (f"{{ {table}, {{ search_order = pubkey_fingerprint, cert_fingerprint }} }}", GRANTED),
                                 (f"{{ {table}, {{ search_order = pubkey_fingerprint }} }}", GRANTED)):
            got = self.outcomes(lines + f"smtpd_relay_restrictions = check_ccert_access {argument}, reject_unauth_destination\n")
            self.assertEqual(got["own"], answer)
            self.assertEqual(got["trusted"], DENIED)

    def test_explain_knows_certificates(self):
        with Postrider(main=self.base + "smtpd_tls_ask_ccert = yes\nrelay_clientcerts = inline:{AB:01=x}\nsmtpd_relay_restrictions = "
                            "permit_tls_clientcerts, permit_tls_all_clientcerts, reject_unauth_destination\n") as server:
            for args, status in ((), 1), (("--tls",), 1), (("--certificate", "AB:01"), 0), (("--certificate", "AB:02"), 1), (("--trusted",), 0):
                done = subprocess.run([BUILD / "bin/postrider", "explain", "-c", server.etc, "--port", str(server.ports["smtp"]), "--client",
                                       "192.0.2.1", "--client-name", "unknown", "--from", "a@far.example", "--rcpt", "b@far.example", *args],
                                      capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, status, done.stdout + done.stderr)

    def test_the_digest_follows_the_compatibility_level(self):
        for level, digest in ("3.5", "md5"), ("3.6", "sha256"):
            lines = (f"compatibility_level = {level}\nsmtpd_tls_security_level = may\nsmtpd_tls_ask_ccert = yes\nappend_dot_mydomain = no\n"
                     f"relay_clientcerts = inline:{{ {{ {certificates.fingerprint(self.own, digest)} = x }} }}\n"
                     "smtpd_relay_restrictions = permit_tls_clientcerts, reject_unauth_destination\n")
            self.assertEqual(self.outcomes(lines)["own"], GRANTED)

    def test_tls_trust_server_ccerts_takes_certificates_made_for_servers(self):
        lines = self.base + "smtpd_tls_ask_ccert = yes\ntls_trust_server_ccerts = yes\n" + ALL_CERTIFICATES
        with Postrider(main=lines) as server:
            got = {name: self.relay(server.ports["smtp"], file) for name, file in self.everybody.items()}
        self.assertEqual({name for name, answer in got.items() if answer == GRANTED}, {"trusted", "deep", "for_servers"})

    def test_the_log_and_received_tell_who_it_was(self):
        lines = self.base + "smtpd_tls_security_level = may\nsmtpd_tls_ask_ccert = yes\nsmtpd_tls_received_header = yes\n"
        suites = (r"TLSv1\.3 with cipher TLS_AES_256_GCM_SHA384 \(256/256 bits\) key-exchange X25519 server-signature "
                  r"ECDSA \(prime256v1\) server-digest SHA256")
        with Postrider(main=lines) as server:
            for number, (name, word) in enumerate(((None, "Anonymous"), ("trusted", "Trusted"), ("expired", "Untrusted"))):
                with Talk(server.ports["smtp"], certificate=self.everybody[name]) as talk:
                    for line in "MAIL FROM:<a@far.example>", "RCPT TO:<demo@test.example>", "DATA", f"Subject: {name}\r\n\r\n.":
                        talk.say(line)
                    self.assertEqual(talk.say("QUIT"), "221 2.0.0 Bye")
                tail = " client-signature ECDSA (prime256v1) client-digest SHA256" if name else ""
                server.wait_log(rf"{word} TLS connection established from unknown\[127\.0\.0\.1\]: {suites}"
                                + tail.replace("(", r"\(").replace(")", r"\)") + "$")
                head = " ".join(server.wait_mail("demo", number + 1)[-1].decode().split("Subject:")[0].split())
                who = ("(Client did not present a certificate)" if not name else
                       f'(Client CN "{name}.example", Issuer "ca" ({"verified OK" if name == "trusted" else "not verified"}))')
                self.assertIn(f"server-digest SHA256{tail}) {who} by mx.test.example", head)

    def test_the_reason_is_logged_where_a_certificate_is_required(self):
        lines = self.base + "smtpd_tls_security_level = encrypt\nsmtpd_tls_req_ccert = yes\n"
        with both(lines) as servers:
            for port, log_text in servers:
                for name in "own", "expired", "stranger", None:
                    self.relay(port, self.everybody[name])
                wait_until(lambda text=log_text: text().count("NOQUEUE: abort") == 4, "the aborts")
                for line in ("certificate verification failed for unknown[127.0.0.1]: self-signed certificate",
                             "certificate verification failed for unknown[127.0.0.1]: certificate has expired",
                             "certificate verification failed for unknown[127.0.0.1]: untrusted issuer ",
                             "NOQUEUE: abort: TLS from unknown[127.0.0.1]: Client certificate not trusted",
                             "NOQUEUE: abort: TLS from unknown[127.0.0.1]: No client certificate presented"):
                    self.assertIn(line, log_text())

    def test_policy_servers_hear_of_the_certificate(self):
        asked: list[dict] = []
        with policy_server(asked) as port:
            lines = (self.base + "smtpd_tls_ask_ccert = yes\nsmtpd_tls_fingerprint_digest = sha1\nsmtpd_relay_restrictions = "
                     f"check_policy_service inet:127.0.0.1:{port}, reject\n")
            with Postrider(main=lines) as server:
                for name in "trusted", "own":
                    self.relay(server.ports["smtp"], self.everybody[name])
        self.assertEqual([a["ccert_subject"] for a in asked], ["trusted.example", ""])
        self.assertEqual([a["ccert_issuer"] for a in asked], ["ca", ""])
        for a, file in zip(asked, (self.trusted, self.own)):
            self.assertEqual(a["ccert_fingerprint"], certificates.fingerprint(file, "sha1"))
            self.assertEqual(a["ccert_pubkey_fingerprint"], certificates.key_fingerprint(file, "sha1"))
            self.assertEqual(a["encryption_protocol"], "TLSv1.3")


class Renewal(unittest.TestCase):
    """Files are replaced under a server that is never reloaded."""

    def setUp(self):
        self.temp = tempfile.TemporaryDirectory(prefix="pr-tls-")
        self.folder = Path(self.temp.name)
        self.folder.chmod(0o755)
        # What a certificate client leaves: only root may enter.
        self.live = self.folder / "live"
        self.live.mkdir(mode=0o700)

    def tearDown(self):
        self.temp.cleanup()

    def make(self, name: str) -> Path:
        certificates.self_signed(self.live, name)
        return certificates.chain(self.live, name)

    @staticmethod
    def shown(server: Postrider, service: str = "smtp") -> str:
        with Talk(server.ports[service], service == "submissions") as talk:
            return talk.peer_name()

    def shown_by_all(self, server: Postrider) -> set[str]:
        names = set()
        for pid in server.pids("smtpd"):
            with server.only("smtpd", pid):
                names.add(self.shown(server))
        return names

    def wait_shown(self, server: Postrider, name: str) -> None:
        """Every process of the role has to have it."""
        wait_until(lambda: self.shown_by_all(server) == {name}, f"the certificate of {name}")

    def test_a_swapped_link_is_noticed_though_only_root_may_read_behind_it(self):
        self.make("one.example"), self.make("two.example")
        link = self.live / "chain.pem"
        link.symlink_to("one.example.chain")
        with Postrider(main=f"smtpd_tls_chain_files = {link}\n") as server:
            self.assertEqual(self.shown(server), "one.example")
            pids = server.pids("smtpd")
            with Talk(server.ports["smtp"]) as old:
                swap(link, "two.example.chain")
                self.wait_shown(server, "two.example")
                self.assertEqual(self.shown(server, "submissions"), "two.example")
                self.assertEqual(old.say("NOOP"), "250 2.0.0 Ok")
            self.assertEqual(server.pids("smtpd"), pids)
            server.wait_log("TLS: renewed keys and certificates are in use")
            self.assertEqual(server.log_text().count("TLS: renewed keys and certificates are in use"), 1)

    def test_key_and_certificate_may_come_one_after_the_other(self):
        self.make("one.example"), self.make("two.example")
        key, pem = self.live / "key.pem", self.live / "cert.pem"
        key.symlink_to("one.example.key"), pem.symlink_to("one.example.pem")
        with Postrider(main=f"smtpd_tls_cert_file = {pem}\nsmtpd_tls_key_file = {key}\n") as server:
            self.assertEqual(self.shown(server), "one.example")
            swap(key, "two.example.key")
            server.wait_log(r"warning: TLS: keys or certificates have changed, but what was there before stays in use: "
                            r".*/cert.pem: private key and certificate do not belong together")
            self.assertEqual(self.shown(server), "one.example")
            swap(pem, "two.example.pem")
            self.wait_shown(server, "two.example")
            self.assertEqual(server.log_text().count("stays in use"), 1)

    def test_a_broken_file_is_told_once_and_the_old_one_stays(self):
        chain = self.make("one.example")
        self.make("two.example")
        with Postrider(main=f"smtpd_tls_chain_files = {chain}\n") as server:
            replace(chain, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
            server.wait_log(rf"stays in use: {chain}: bad private key: ")
            self.assertEqual(self.shown(server), "one.example")
            replace(chain, b"")
            server.wait_log(rf"stays in use: {chain}: holds nothing in PEM format")
            chain.unlink()
            self.assertEqual(self.shown(server), "one.example")
            replace(chain, (self.live / "two.example.chain").read_bytes())
            self.wait_shown(server, "two.example")
            self.assertEqual(server.log_text().count("stays in use"), 2)

    def test_tls_that_could_not_begin_begins_when_the_file_is_there(self):
        chain = self.live / "late.example.chain"
        with Postrider(main=f"smtpd_tls_chain_files = {chain}\n", checked=False) as server:
            with server.smtp() as session:
                self.assertEqual(session.docmd("STARTTLS"), (454, b"4.7.0 TLS not available due to local problem"))
            self.make("late.example")
            server.wait_log("TLS: renewed keys and certificates are in use")
            self.wait_shown(server, "late.example")


class ClientRenewal(unittest.TestCase):
    def test_a_client_shows_its_renewed_certificate_too(self):
        with tempfile.TemporaryDirectory(prefix="pr-tls-") as name:
            folder = Path(name)
            folder.chmod(0o755)
            for who in "one.example", "two.example":
                certificates.self_signed(folder, who)
            shown = folder / "shown.chain"
            replace(shown, certificates.chain(folder, "one.example").read_bytes())
            with Postrider(main="smtpd_tls_ask_ccert = yes\n") as far:
                lines = (f"relayhost = [127.0.0.1]:{far.ports['smtp']}\nsmtp_tls_security_level = encrypt\n"
                         f"smtp_tls_chain_files = {shown}\nvirtual_mailbox_domains =\n")
                far.append("main.cf", "smtpd_tls_received_header = yes\n")
                far.reload()
                with Postrider(main=lines) as near:
                    near.send("a@far.example", ["demo@test.example"], "Subject: 1\n\n")
                    self.assertIn(b'Client CN "one.example"', far.wait_mail("demo")[0])
                    replace(shown, certificates.chain(folder, "two.example").read_bytes())
                    near.wait_log("smtp.*TLS: renewed keys and certificates are in use")
                    # The connection may have been kept from before.
                    def latest() -> bool:
                        count = len(far.maildir("demo"))
                        near.send("a@far.example", ["demo@test.example"], "Subject: 2\n\n")
                        return b'Client CN "two.example"' in far.wait_mail("demo", count + 1)[-1]
                    wait_until(latest, "the new certificate")


def swap(link: Path, target: str) -> None:
    """As certbot does it: another link takes the name."""
    new = link.with_suffix(".new")
    new.symlink_to(target)
    new.replace(link)


def replace(path: Path, content: bytes) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.chmod(0o600)
    new.replace(path)


class Sessions(unittest.TestCase):
    def resume(self, port: int, newest: ssl.TLSVersion, count: int, between=lambda: None) -> list[bool]:
        """Each session is resumed by the next one: who could?"""
        context, session, reused = client_context(newest), None, []
        for _ in range(count):
            with Talk(port, session=session, context=context) as talk:
                talk.say("NOOP")
                reused.append(talk.tls.session_reused)
                session = talk.tls.session
            between()
        return reused

    def test_a_session_is_resumed_in_any_process_and_every_time(self):
        with Postrider(main="postrider_process_count = 4\n") as server:
            pids = server.pids("smtpd")
            self.assertEqual(len(pids), 4)
            # Each session comes from the process before, or from the same one.
            turns = [pids[n // 2 % 4] for n in range(25)]
            for newest in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
                context, session, reused = client_context(newest), None, []
                for pid in turns:
                    with server.only("smtpd", pid), Talk(server.ports["smtp"], session=session, context=context) as talk:
                        talk.say("NOOP")
                        reused.append(talk.tls.session_reused)
                        session = talk.tls.session
                self.assertEqual(reused, [False] + [True] * 24)
            server.wait_log("Anonymous TLS connection reused from", 48)
            served = re.findall(r"smtpd\[(\d+)\]: Anonymous TLS connection reused from", server.log_text())
            self.assertEqual({int(pid) for pid in served}, set(pids))

    def test_sessions_survive_a_reload(self):
        with Postrider() as server:
            got = self.resume(server.ports["smtp"], ssl.TLSVersion.TLSv1_3, 4, server.reload)
            self.assertEqual(got, [False, True, True, True])

    def test_a_ticket_lives_as_long_as_the_cache_timeout(self):
        with Postrider(main="smtpd_tls_session_cache_timeout = 4s\n") as server:
            context = client_context()

            def resumed() -> ssl.SSLSession | None:
                """A session that was resumed; none where the machine was too slow for that."""
                begin = time.monotonic()
                with Talk(server.ports["smtp"], context=context) as talk:
                    session = talk.tls.session
                with Talk(server.ports["smtp"], session=session, context=context) as talk:
                    is_reused = talk.tls.session_reused
                self.assertTrue(is_reused or time.monotonic() > begin + 2)
                return session if is_reused else None
            session = wait_until(resumed, "a session that is resumed")
            time.sleep(6)
            with Talk(server.ports["smtp"], session=session, context=context) as talk:
                self.assertFalse(talk.tls.session_reused)

    def test_timeout_0_and_an_empty_ticket_cipher_switch_resumption_off(self):
        for line in "smtpd_tls_session_cache_timeout = 0", "tls_session_ticket_cipher =":
            with Postrider(main=line + "\n") as server:
                for newest in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
                    self.assertEqual(self.resume(server.ports["smtp"], newest, 3), [False] * 3)

    def test_an_expired_certificate_does_not_live_on_in_its_session(self):
        with tempfile.TemporaryDirectory(prefix="pr-tls-") as name:
            folder = Path(name)
            folder.chmod(0o755)
            authority = certificates.Authority(folder)
            lines = (f"smtpd_tls_CAfile = {folder}/ca.pem\nsmtpd_tls_ask_ccert = yes\nmynetworks = 10.0.0.0/8\n"
                     "smtpd_relay_restrictions = permit_tls_all_clientcerts, reject_unauth_destination\n")
            relay = ("EHLO c.example", "MAIL FROM:<a@far.example>", "RCPT TO:<b@far.example>")
            with Postrider(main=lines) as server:
                def granted() -> tuple | None:
                    """Context, session and end of a certificate that was good when it came; none where the machine was too slow."""
                    brief, end, context = authority.sign("brief.example", seconds=8), time.time() + 9, client_context()
                    with Talk(server.ports["smtp"], certificate=brief, context=context, ask=relay) as talk:
                        self.assertTrue(talk.heard[-1] == GRANTED or time.time() > end - 3, talk.heard[-1])
                        return (context, talk.tls.session, end) if talk.heard[-1] == GRANTED else None
                context, session, end = wait_until(granted, "a certificate that is good")
                time.sleep(max(0, end - time.time()))
                with Talk(server.ports["smtp"], context=context, session=session, ask=relay) as talk:
                    self.assertTrue(talk.tls.session_reused)
                    self.assertEqual(talk.heard[-1], DENIED)


class Authorities(unittest.TestCase):
    """smtpd_tls_CApath is looked at without a reload, and no session outlives the authority that vouched for its client."""

    def setUp(self):
        temp = tempfile.TemporaryDirectory(prefix="pr-tls-")
        self.addCleanup(temp.cleanup)
        self.folder = Path(temp.name)
        self.folder.chmod(0o755)
        self.client = certificates.Authority(self.folder).sign("client.example")
        certificates.Authority(self.folder, "other")
        name = subprocess.run(["openssl", "x509", "-in", str(self.folder / "ca.pem"), "-noout", "-subject_hash"], capture_output=True, text=True, check=True)
        (self.folder / "authorities").mkdir()
        self.link = self.folder / "authorities" / (name.stdout.strip() + ".0")
        self.file = self.folder / "vouched.pem"
        self.context = client_context()

    def start(self) -> Postrider:
        return Postrider(main=f"smtpd_tls_CApath = {self.folder}/authorities\nsmtpd_tls_ask_ccert = yes\nmynetworks = 10.0.0.0/8\n"
                              "smtpd_relay_restrictions = permit_tls_all_clientcerts, reject_unauth_destination\npostrider_process_count = 1\n")

    def relay(self, server: Postrider, session=None) -> tuple:
        """(was the session resumed, what RCPT heard, the session)"""
        relay = ("EHLO c.example", "MAIL FROM:<a@far.example>", "RCPT TO:<b@far.example>")
        with Talk(server.ports["smtp"], certificate=self.client, context=self.context, session=session, ask=relay) as talk:
            return talk.tls.session_reused, talk.heard[-1], talk.tls.session

    def test_sessions_end_with_the_authority(self):
        def unlink() -> None:
            self.link.unlink()

        def replace_file() -> None:
            replace(self.file, (self.folder / "other.pem").read_bytes())
            self.file.chmod(0o644)

        for take_away in unlink, replace_file:
            with self.subTest(how=take_away.__name__):
                self.link.unlink(missing_ok=True)
                self.file.write_bytes((self.folder / "ca.pem").read_bytes())
                self.link.symlink_to("../vouched.pem")
                with self.start() as server:
                    reused, heard, session = self.relay(server)
                    self.assertEqual((reused, heard), (False, GRANTED))
                    self.assertEqual(self.relay(server, session)[:2], (True, GRANTED))
                    take_away()
                    server.wait_log(r"smtpd\[\d+\]: TLS: renewed keys and certificates are in use")
                    self.assertEqual(self.relay(server, session)[:2], (False, DENIED))
                    self.assertEqual(self.relay(server)[:2], (False, DENIED))

    def test_a_new_authority_counts_without_a_reload(self):
        self.file.write_bytes((self.folder / "ca.pem").read_bytes())
        with self.start() as server:
            self.assertEqual(self.relay(server)[:2], (False, DENIED))
            self.link.symlink_to("../vouched.pem")
            server.wait_log(r"smtpd\[\d+\]: TLS: renewed keys and certificates are in use")
            self.assertEqual(self.relay(server)[:2], (False, GRANTED))


class NamesOfServers(unittest.TestCase):
    """tls_server_sni_maps."""

    @classmethod
    def setUpClass(cls):
        cls.temp = tempfile.TemporaryDirectory(prefix="pr-tls-")
        cls.folder = Path(cls.temp.name)
        cls.folder.chmod(0o755)
        for name in "usual.example", "one.example", "two.example", "new.example":
            certificates.self_signed(cls.folder, name)
            certificates.chain(cls.folder, name).chmod(0o600)
        (cls.folder / "junk.chain").write_text("junk\n")
        f = cls.folder
        cls.source = f"one.example {f}/one.example.chain\n.two.example {f}/two.example.chain\n"
        (f / "names").write_text(cls.source)
        cls.base = (f"smtpd_tls_chain_files = {f}/usual.example.chain\nsmtpd_tls_security_level = may\nsmtpd_tls_loglevel = 1\n"
                    "smtpd_peername_lookup = no\n")

    @classmethod
    def tearDownClass(cls):
        cls.temp.cleanup()

    ASKED = {None: "usual.example", "one.example": "one.example", "ONE.Example": "one.example", "x.one.example": "usual.example",
             "two.example": "usual.example", "a.two.example": "two.example", "a.b.two.example": "two.example",
             "other.example": "usual.example", "bad_name.example": "usual.example"}

    @staticmethod
    def shown(port: int, name: str | None, wrapped: bool = False) -> str:
        with Talk(port, wrapped, sni=name) as talk:
            return talk.peer_name()

    def check(self, port: int) -> None:
        for asked, shown in self.ASKED.items():
            self.assertEqual(self.shown(port, asked), shown, asked)

    def test_each_name_has_its_chain_as_in_postfix(self):
        with both(self.base + f"tls_server_sni_maps = texthash:{self.folder}/names\n") as servers:
            for port, log_text in servers:
                self.check(port)
                for line in ("TLS SNI x.one.example from unknown[127.0.0.1] not matched, using default chain",
                             "TLS SNI bad_name.example from unknown[127.0.0.1] not matched, using default chain",
                             "Anonymous TLS connection established from unknown[127.0.0.1] to a.b.two.example: TLSv1.3 with",
                             "Anonymous TLS connection established from unknown[127.0.0.1]: TLSv1.3 with"):
                    wait_until(lambda text=log_text, line=line: line in text(), line)

    def test_a_table_made_by_postmap_holds_the_chains_itself(self):
        for kind in "lmdb", "hash":
            with Postrider(main=self.base, start=False) as server:
                (server.etc / "names").write_text(self.source)
                made = server.run("postmap", "-F", f"{kind}:{server.etc}/names")
                self.assertEqual(made.returncode, 0, made.stderr)
                server.append("main.cf", f"tls_server_sni_maps = {kind}:{server.etc}/names\n")
                server.start()
                self.check(server.ports["smtp"])
                self.assertEqual(self.shown(server.ports["submissions"], "one.example", True), "one.example")

    def test_a_broken_chain_ends_the_handshake_for_its_name_alone(self):
        table = (f"inline:{{ {{ one.example = {self.folder}/one.example.chain }}, {{ junk.example = {self.folder}/junk.chain }}, "
                 f"{{ none.example = {self.folder}/none.chain }} }}")
        with both(self.base + f"tls_server_sni_maps = inline:{{ {{ one.example = {self.folder}/one.example.chain }}, "
                              f"{{ junk.example = {self.folder}/junk.chain }} }}\n") as servers:
            for port, _ in servers:
                with self.assertRaisesRegex(ssl.SSLError, "(?i)internal.error"):
                    self.shown(port, "junk.example")
                self.assertEqual(self.shown(port, "one.example"), "one.example")
        with Postrider(main=self.base + f"tls_server_sni_maps = {table}\n") as server:
            server.wait_log(r"warning: .*none.example gets no TLS until this is mended: cannot open .*/none.chain: No such file")
            with self.assertRaisesRegex(ssl.SSLError, "(?i)internal.error"):
                self.shown(server.ports["smtp"], "none.example")
            server.wait_log("warning: error loading private keys and certificates from: SNI data for none.example: aborting TLS")

    def test_chains_of_names_are_renewed_too(self):
        file = self.folder / "renewed.chain"
        file.write_bytes((self.folder / "one.example.chain").read_bytes())
        file.chmod(0o600)
        with Postrider(main=self.base + f"tls_server_sni_maps = inline:{{ {{ some.example = {file} }} }}\n") as server:
            self.assertEqual(self.shown(server.ports["smtp"], "some.example"), "one.example")
            replace(file, (self.folder / "new.example.chain").read_bytes())
            wait_until(lambda: {self.shown(server.ports["smtp"], "some.example") for _ in range(8)} == {"new.example"}, "the new one")
            self.assertEqual(self.shown(server.ports["smtp"], None), "usual.example")

    def test_many_made_up_names_cost_nothing_that_lasts(self):
        table = f"static:{self.folder}/one.example.chain"
        (self.folder / "one.example.chain").chmod(0o644)
        with Postrider(main=self.base + f"tls_server_sni_maps = {table}\npostrider_process_count = 1\n") as server:
            for n in range(300):
                self.assertEqual(self.shown(server.ports["submissions"], f"n{n}.example", True), "one.example")


class Protocols(unittest.TestCase):
    def test_a_client_that_came_for_another_protocol_is_refused(self):
        with Postrider() as server:
            for service in "smtp", "submissions":
                for offered, chosen in ((None, None), (["smtp"], "smtp"), (["h2", "smtp"], "smtp")):
                    context = client_context()
                    if offered:
                        context.set_alpn_protocols(offered)
                    with Talk(server.ports[service], service == "submissions", context=context) as talk:
                        self.assertEqual(talk.tls.selected_alpn_protocol(), chosen)
                for offered in ["http/1.1"], ["h2", "imap"], ["SMTP"]:
                    context = client_context()
                    context.set_alpn_protocols(offered)
                    with self.assertRaisesRegex(ssl.SSLError, "(?i)no.application.protocol"):
                        Talk(server.ports[service], service == "submissions", context=context).close()
            server.wait_log(r"SSL_accept error from localhost\[127.0.0.1\]: no application protocol", 6)


    def test_a_stalled_or_dripping_handshake_ends_and_disturbs_nobody(self):
        with Postrider(main="smtpd_starttls_timeout = 10s\npostrider_process_count = 1\n") as server:
            stalled = []
            for n in range(40):
                s = socket.create_connection(("127.0.0.1", server.ports["submissions"]), timeout=PATIENCE)
                # The beginning of a hello; every other client drips the rest.
                s.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
                stalled.append(s)
            with Talk(server.ports["smtp"]) as talk:
                self.assertEqual(talk.say("NOOP"), "250 2.0.0 Ok")
            dripping = set(stalled[::2])
            while dripping:
                for s in list(dripping):
                    try:
                        s.sendall(b"x")
                    except OSError:
                        dripping.discard(s)
                time.sleep(0.2)
            for s in stalled[1::2]:
                self.assertEqual(s.recv(100), b"")
            for s in stalled:
                s.close()
            server.wait_log(r"SSL_accept error from localhost\[127\.0\.0\.1\]: the TLS handshake took too long", 40)
            server.wait_log(r"lost connection after CONNECT from localhost\[127\.0\.0\.1\]", 40)

    def test_what_came_before_the_handshake_is_never_run(self):
        with both("smtpd_tls_security_level = may\nsmtpd_tls_cert_file = {folder}/etc/cert.pem\n"
                  "smtpd_tls_key_file = {folder}/etc/key.pem\nsmtpd_peername_lookup = no\n".replace("{folder}/etc/", self.pair)) as servers:
            heard = []
            for port, _ in servers:
                with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as s:
                    s.recv(1000)
                    s.sendall(b"EHLO c.example\r\n")
                    s.recv(4000)
                    s.sendall(b"STARTTLS\r\nMAIL FROM:<smuggled@far.example>\r\nRSET\r\n")
                    self.assertEqual(s.recv(1000)[:3], b"220")
                    with client_context().wrap_socket(s) as tls:
                        tls.sendall(b"RCPT TO:<demo@test.example>\r\n")
                        heard.append(tls.recv(1000))
            self.assertEqual(heard[1], heard[0])
            self.assertIn(b"503 5.5.1", heard[1])

    @classmethod
    def setUpClass(cls):
        cls.temp = tempfile.TemporaryDirectory(prefix="pr-tls-")
        Path(cls.temp.name).chmod(0o755)
        make_certificate(Path(cls.temp.name), "mx.test.example")
        cls.pair = cls.temp.name + "/"

    @classmethod
    def tearDownClass(cls):
        cls.temp.cleanup()

    def chosen(self, server: Postrider, newest: ssl.TLSVersion | None = None, ciphers: str = "") -> str:
        context = client_context(newest)
        if ciphers:
            context.set_ciphers(ciphers)
        with Talk(server.ports["smtp"], context=context) as talk:
            return talk.tls.cipher()[0]

    def test_openssl_reads_the_settings_file_that_is_named(self):
        suites = {"one": "TLS_CHACHA20_POLY1305_SHA256", "other": "TLS_AES_128_GCM_SHA256"}
        conf = "openssl_conf = one\npostrider = other\n" + "".join(
            f"[{name}]\nssl_conf = ssl_{name}\n[ssl_{name}]\nsystem_default = sd_{name}\n[sd_{name}]\nCiphersuites = {suite}\n"
            for name, suite in suites.items())
        for lines, suite in (("", "TLS_AES_256_GCM_SHA384"), ("tls_config_file = none", "TLS_AES_256_GCM_SHA384"),
                             ("tls_config_file = {folder}/etc/ssl.conf", suites["one"]),
                             ("tls_config_file = {folder}/etc/ssl.conf\ntls_config_name = postrider", suites["other"])):
            with Postrider(main=lines + "\n", files={"ssl.conf": conf}) as server:
                self.assertEqual(self.chosen(server), suite, lines)
        for lines, word in (("tls_config_file = {folder}/etc/none.conf", "OpenSSL cannot use .*/etc/none.conf"),
                            ("tls_config_file = etc/x", "neither default nor none nor an absolute path")):
            with Postrider(main=lines + "\n", checked=False) as server:
                server.wait_log("TLS is off until this is mended: tls_config_file: .*" + word)

    def test_options_have_effect_and_unknown_ones_are_warned_about(self):
        newest = ssl.TLSVersion.TLSv1_2
        both_orders = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"
        for lines, suite in (("", "ECDHE-ECDSA-AES128-GCM-SHA256"), ("tls_preempt_cipherlist = yes", "ECDHE-ECDSA-AES256-GCM-SHA384"),
                             ("tls_ssl_options = 0x400000", "ECDHE-ECDSA-AES256-GCM-SHA384")):
            with Postrider(main=lines + "\n") as server:
                self.assertEqual(self.chosen(server, newest, both_orders), suite, lines)
        with Postrider(main="tls_ssl_options = NO_TICKET, BOGUS\ntls_disable_workarounds = TLSEXT_PADDING, CVE-2010-4180, x\n"
                            "smtpd_tls_enable_rpk = yes\n") as server:
            for line in ('unknown tls_ssl_options value "BOGUS"', 'unknown tls_disable_workarounds value "x"',
                         "smtpd_tls_enable_rpk: raw public keys are not asked for"):
                server.wait_log("warning: .*" + line)
            context = client_context(newest)
            with Talk(server.ports["smtp"], context=context) as talk:
                self.assertFalse(talk.tls.session.has_ticket)

    def test_curves_and_groups_are_what_the_parameters_say(self):
        def groups(server: Postrider, group: str) -> bool:
            done = subprocess.run(["openssl", "s_client", "-starttls", "smtp", "-connect", f"127.0.0.1:{server.ports['smtp']}",
                                   "-groups", group, "-tls1_3"], input="QUIT\n", capture_output=True, text=True, timeout=PATIENCE)
            return "New, TLSv1.3" in done.stdout
        with Postrider(main="tls_eecdh_auto_curves = prime256v1 no-such-curve\ntls_ffdhe_auto_groups = ffdhe3072\n") as server:
            got = {group: groups(server, group) for group in ("P-256", "X25519", "P-384", "ffdhe2048", "ffdhe3072")}
        self.assertEqual(got, {"P-256": True, "X25519": False, "P-384": False, "ffdhe2048": False, "ffdhe3072": True})


class Grades(Certificates):
    def test_smtpd_tls_eecdh_grade_changes_nothing_as_in_postfix(self):
        def agreed(port: int, version: str) -> list[str]:
            done = subprocess.run(["openssl", "s_client", "-starttls", "smtp", "-connect", f"127.0.0.1:{port}", version], input="QUIT\n",
                                  capture_output=True, text=True, timeout=PATIENCE)
            return re.findall(r"Cipher is (\S+)|Server Temp Key: (.*)", done.stdout)
        for grade in "none", "strong", "ultra":
            with self.subTest(grade=grade), both(self.base + f"smtpd_tls_security_level = may\nsmtpd_tls_eecdh_grade = {grade}\n") as servers:
                for version in "-tls1_2", "-tls1_3":
                    theirs, ours = (agreed(port, version) for port, _ in servers)
                    self.assertEqual(ours, theirs)
                    self.assertIn("X25519", str(ours))


class Levels(Certificates):
    """smtpd_tls_loglevel beside Postfix."""

    # Of OpenSSL's steps, and what comes around them; Postfix tells the time of a key, and wraps names of versions differently.
    SAME = (r"setting up TLS connection from unknown\[127\.0\.0\.1\]$", r"unknown\[127\.0\.0\.1\]: TLS cipher list \"",
            r"SSL_accept:before SSL initialization$", r"SSL_accept:SSLv3/TLS read client hello$",
            r"SSL_accept:TLSv1\.3 write encrypted extensions$", r"SSL_accept:SSLv3/TLS write certificate request$",
            r"SSL_accept:SSLv3/TLS read finished$", r"unknown\[127\.0\.0\.1\]: depth=1 verify=1 subject=/CN=ca$",
            r"unknown\[127\.0\.0\.1\]: depth=0 verify=1 subject=/CN=trusted\.example$",
            r"unknown\[127\.0\.0\.1\]: Issuing session ticket", r"SSL_accept:SSLv3/TLS write session ticket$",
            r"unknown\[127\.0\.0\.1\]: subject_CN=trusted\.example, issuer=ca, fingerprint=([0-9A-F]{2}:){31}[0-9A-F]{2}, pkey_fingerprint=",
            r"Trusted TLS connection established from unknown\[127\.0\.0\.1\]: TLSv1\.3 with cipher")
    DUMP = r"0000 16 03 01 0\d .*\.\.\.\."

    def shown(self, log_text, level: str) -> set:
        """Which of the lines stand in the log of one session at this level."""
        text = wait_until(lambda: (t := log_text()) and "rcpt=0/1" in t and t, "the end of the session")
        return {p for p in self.SAME + (self.DUMP,) if re.search(r"\]: " + p, text, re.M)}

    def test_each_level_tells_what_postfix_tells(self):
        for level in "0", "1", "2", "3", "4":
            lines = self.base + f"smtpd_tls_ask_ccert = yes\nsmtpd_tls_security_level = may\nsmtpd_tls_loglevel = {level}\n"
            with both(lines + "smtpd_tls_fingerprint_digest = sha256\nsmtpd_relay_restrictions = reject_unauth_destination\n") as servers:
                got = []
                for port, log_text in servers:
                    self.relay(port, self.trusted)
                    got.append(self.shown(log_text, level))
            self.assertEqual(got[1], got[0], level)
            self.assertEqual(len(got[1]), {"0": 0, "1": 1, "2": len(self.SAME)}.get(level, len(self.SAME) + 1))

    def test_levels_have_names_and_parts(self):
        for level, lines in (("none", 0), ("routine", 1), ("debug", 13), ("ssl-debug", 6), ("peercert,summary", 2), ("bogus", 0)):
            with Postrider(main=self.base + f"smtpd_tls_ask_ccert = yes\nsmtpd_tls_loglevel = {level}\nsmtpd_relay_restrictions = "
                                            "reject_unauth_destination\n") as server:
                self.relay(server.ports["smtp"], self.trusted)
                self.assertEqual(len(self.shown(server.log_text, level)), lines, level)
                self.assertEqual("bad level" in server.log_text(), level == "bogus")

    def test_a_client_may_have_a_level_of_its_own(self):
        for key in "localhost", "127.0.0.1":
            lines = self.base + f"smtpd_peername_lookup = yes\nsmtpd_tls_loglevel = 0\nsmtpd_tls_loglevel_maps = inline:{{{key}=1}}\n"
            with Postrider(main=lines) as server:
                self.relay(server.ports["smtp"], None)
                server.wait_log("Anonymous TLS connection established from localhost")

    def test_no_password_is_dumped(self):
        with Postrider(main="smtpd_tls_loglevel = 4\nsmtpd_tls_auth_only = yes\n") as server:
            for newest in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
                with Talk(server.ports["submission"], context=client_context(newest)) as talk:
                    self.assertEqual(talk.say("AUTH PLAIN AGRlbW8Ac2VjcmV0")[:3], "235")
                    self.assertEqual(talk.say("QUIT")[:3], "221")
            server.wait_log("disconnect from", 2)
            self.assertIn("write to localhost[127.0.0.1] (", server.log_text())
            # Columns of a dump may break it anywhere: look at all their text at once.
            dumped = "".join(re.sub(r"[ |]", "", m[1]) for m in re.finditer(r"\]: [0-9a-f]{4} .{48} (.*)$", server.log_text(), re.M))
            for part in "AGRlbW8", "AUTH", "secret":
                self.assertNotIn(part, dumped)


@contextlib.contextmanager
def policy_server(asked: list):
    """Answers DUNNO to everything and remembers it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(peer: socket.socket):
        with peer, peer.makefile("rw") as stream:
            request: dict = {}
            for line in stream:
                if line != "\n":
                    request.update([line.rstrip("\n").split("=", 1)])
                    continue
                asked.append(request)
                request = {}
                stream.write("action=DUNNO\n\n")
                stream.flush()

    def accept():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


if __name__ == "__main__":
    unittest.main()
