# SPDX-License-Identifier: Apache-2.0
"""The SMTP client: which host it goes to, and what it makes of TLS."""

import email
import socket
import ssl
import threading
import unittest
from pathlib import Path

from name_server import NameServer
from postrider import Postrider, make_certificate

TEXT = "Subject: hello\r\n\r\nbody\r\n"


class Host:
    """A server that takes mail on 127.0.0.2: with STARTTLS when it has a certificate; `breaks_tls` sends junk for a handshake."""

    def __init__(self, folder: Path | None = None, breaks_tls: bool = False):
        self.messages = []  # (was it encrypted, content)
        self._breaks_tls = breaks_tls
        self._context = None
        if folder:
            make_certificate(folder, "mx.far.example")
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        self._socket = socket.create_server(("127.0.0.2", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> "Host":
        return self

    def __exit__(self, *_) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._converse, args=(sock,), daemon=True).start()

    def _converse(self, sock) -> None:
        lines = sock.makefile("rwb")
        is_encrypted = False

        def say(text: str) -> None:
            lines.write(text.encode() + b"\r\n")
            lines.flush()

        say("220 mx.far.example ESMTP")
        while line := lines.readline():
            verb = line.split()[0].upper() if line.split() else b""
            if verb == b"EHLO":
                offer = self._context or self._breaks_tls
                say("250-mx.far.example" + ("\r\n250-STARTTLS" if offer and not is_encrypted else "") + "\r\n250 PIPELINING")
            elif verb == b"STARTTLS":
                say("220 go ahead")
                if self._breaks_tls:
                    sock.sendall(b"this is no handshake\r\n")
                    sock.close()
                    return
                sock = self._context.wrap_socket(sock, server_side=True)
                lines, is_encrypted = sock.makefile("rwb"), True
            elif verb == b"DATA":
                say("354 go on")
                content = b"".join(iter(lines.readline, b".\r\n"))
                self.messages.append((is_encrypted, content))
                say("250 2.0.0 Ok: kept")
            elif verb == b"QUIT":
                say("221 bye")
                break
            else:
                say("250 2.1.0 Ok")
        lines.close()
        sock.close()


def relay(host: Host, more: str) -> str:
    return f"relayhost = [127.0.0.2]:{host.port}\nsmtp_tls_loglevel = 1\n{more}\n"


class Tls(unittest.TestCase):
    def test_mail_goes_encrypted_and_the_log_says_how(self):
        with Postrider(start=False) as ours, Host(ours.etc) as host:
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
        with Host() as host, Postrider(main=relay(host, "smtp_tls_security_level = encrypt")) as ours:
            ours.send("a@source.example", ["b@far.example"], TEXT)
            ours.wait_log(r"dsn=4.7.4, status=deferred \(TLS is required, but was not offered by host 127.0.0.2\[127.0.0.2\]\)")
        self.assertEqual(host.messages, [])

    def test_a_failed_handshake_puts_mail_off_and_old_mail_goes_in_clear(self):
        quick = "smtp_tls_security_level = may\nminimal_backoff_time = 1s\nmaximal_backoff_time = 1s\nqueue_run_delay = 1s"
        with Host(breaks_tls=True) as host, Postrider(main=relay(host, quick)) as ours:
            ours.send("a@source.example", ["b@far.example"], TEXT)
            ours.wait_log(r"dsn=4.7.5, status=deferred \(Cannot start TLS: handshake failure\)")
            ours.wait_log(r"status=sent \(250 2.0.0 Ok: kept\)")
        self.assertEqual([is_encrypted for is_encrypted, _ in host.messages], [False])


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
        with Host() as host, Postrider(main=relay(host, "smtp_tls_security_level = none")) as ours:
            ours.send("a@source.example", ["b@far.example"], "Subject: large\r\n\r\n" + body)
            ours.wait_log(r"status=sent \(250 2.0.0 Ok: kept\)")
        content = host.messages[0][1].replace(b"\r\n..", b"\r\n.")
        self.assertGreater(len(content), 5000000)
        self.assertEqual(content.split(b"\r\n\r\n", 1)[1], body.encode())


class Mx(unittest.TestCase):
    def deliver(self, zone: dict, domain: str, pattern: str, host: Host) -> None:
        with NameServer(zone) as dns:
            main = f"postrider_dns_server = 127.0.0.1@{dns.port}\nsmtp_tcp_port = {host.port}\nsmtp_tls_security_level = none\n"
            with Postrider(main=main) as ours:
                ours.send("demo@test.example", ["b@" + domain], TEXT)
                ours.wait_log(pattern)

    def test_the_next_host_is_tried_when_the_best_is_down(self):
        zone = {"far.example": [("MX", 5, "dead.far.example"), ("MX", 10, "mx.far.example")],
                "dead.far.example": [("A", "127.0.0.3")], "mx.far.example": [("A", "127.0.0.2")]}
        with Host() as host:
            self.deliver(zone, "far.example", r"to=<b@far.example>, relay=mx.far.example\[127.0.0.2\]:\d+, .* status=sent", host)
        self.assertEqual(len(host.messages), 1)

    def test_a_domain_without_mx_is_its_own_host(self):
        with Host() as host:
            self.deliver({"far.example": [("A", "127.0.0.2")]}, "far.example", r"relay=far.example\[127.0.0.2\]:\d+, .* status=sent", host)

    def test_a_domain_that_takes_no_mail_bounces(self):
        with Host() as host:
            self.deliver({"far.example": [("MX", 0, ".")]}, "far.example",
                         r"dsn=5.1.0, status=bounced \(Domain far.example does not accept mail \(nullMX\)\)", host)

    def test_a_domain_that_does_not_exist_bounces(self):
        with Host() as host:
            self.deliver({}, "far.example", r"dsn=5.4.4, status=bounced \(Host or domain name not found. Name service error for "
                         r"name=far.example type=A: Host not found\)", host)

    def test_a_name_server_in_trouble_puts_mail_off(self):
        with Host() as host:
            self.deliver({}, "far.broken", r"dsn=4.4.3, status=deferred \(Host or domain name not found. Name service error for "
                         r"name=far.broken type=MX: Host not found, try again\)", host)

    def test_mail_for_ourselves_by_mx_is_a_loop(self):
        zone = {"far.example": [("MX", 5, "us.far.example"), ("MX", 10, "mx.far.example")],
                "us.far.example": [("A", "127.0.0.1")], "mx.far.example": [("A", "127.0.0.2")]}
        with Host() as host:
            self.deliver(zone, "far.example", r"dsn=5.4.6, status=bounced \(mail for far.example loops back to myself\)", host)
        self.assertEqual(host.messages, [])


if __name__ == "__main__":
    unittest.main()
