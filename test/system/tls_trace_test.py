# SPDX-License-Identifier: Apache-2.0
"""Traces of TLS sessions: ",trace" in a TLS loglevel leaves a file for each, in tlstrace/ below queue_directory."""

import re
import ssl
import stat
import tempfile
import unittest
from pathlib import Path

from next_hop import NextHop, make_authority
from postrider import Postrider, wait_until

TEXT = "Subject: hello\r\n\r\nbody\r\n"
NAME = r"(smtpd|smtp)-\d{14}\.\d{6}-127\.0\.0\.[12]-[0-9a-f]{6}"


def traces(server: Postrider) -> list[Path]:
    return sorted((server.folder / "queue/tlstrace").iterdir())


class Traces(unittest.TestCase):
    def talk(self, server: Postrider, version=None) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if version:
            context.maximum_version = version
        with server.smtp() as session:
            session.starttls(context=context)
            session.docmd("NOOP", "said-inside-tls")

    def test_a_session_with_a_client_is_traced_and_what_is_said_in_it_is_not(self):
        for version, word in ((None, "EncryptedExtensions"), (ssl.TLSVersion.TLSv1_2, "ServerKeyExchange")):
            with self.subTest(version=version), Postrider(main="smtpd_tls_loglevel = 1,trace\n") as server:
                self.talk(server, version)
                file = wait_until(lambda s=server: traces(s), "a trace")[0]
                self.assertRegex(file.name, f"^{NAME}$")
                self.assertTrue(file.name.startswith("smtpd-"))
                self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
                self.assertEqual(stat.S_IMODE(file.parent.stat().st_mode), 0o700)
                server.wait_log(f"master.*TLS trace in tlstrace/{file.name}")
                text = file.read_text()
                for part in "ClientHello", "ServerHello", word, "Finished", "ApplicationData":
                    self.assertIn(part, text)
                self.assertNotIn("said-inside-tls", text)
                self.assertIn("Anonymous TLS connection established", server.log_text())
                self.assertNotIn("SSL_accept:", server.log_text())

    def test_no_more_are_made_than_the_rate_allows_and_none_is_longer_than_its_limit(self):
        lines = "smtpd_tls_loglevel = trace\nsmtpd_tls_trace_size_limit = 1000\n"
        with Postrider(main=lines + "tls_trace_rate_limit = 2\n") as server:
            for _ in range(5):
                self.talk(server)
            wait_until(lambda: len(traces(server)) == 2, "two traces")
            self.talk(server)
            server.wait_log("disconnect from", 6)
            self.assertEqual([file.stat().st_size for file in traces(server)], [1000, 1000])

    def test_a_handshake_that_fails_is_traced(self):
        with Postrider(main="smtpd_tls_loglevel = 0,trace\nsmtpd_tls_protocols = >=TLSv1.3\n") as server:
            with self.assertRaises(ssl.SSLError):
                self.talk(server, ssl.TLSVersion.TLSv1_2)
            text = wait_until(lambda: traces(server), "a trace")[0].read_text()
            self.assertIn("ClientHello", text)
            self.assertRegex(text, "Alert|Level=fatal")

    def test_a_session_with_a_server_that_a_table_names_is_traced(self):
        with tempfile.TemporaryDirectory(prefix="trace-") as name:
            folder = Path(name)
            folder.chmod(0o755)
            make_authority(folder)
            with NextHop(folder) as hop, NextHop(folder) as other:
                main = ("smtp_tls_security_level = encrypt\nsmtp_tls_loglevel = 0\n"
                        f"transport_maps = inline:{{ {{one.example = smtp:[127.0.0.2]:{hop.port}}}, {{two.example = smtp:[127.0.0.2]:{other.port}}} }}\n"
                        f"smtp_tls_loglevel_maps = inline:{{ {{[127.0.0.2]:{hop.port} = trace}} }}\n")
                with Postrider(main=main) as ours:
                    for domain in "two", "one":
                        ours.send("a@source.example", [f"b@{domain}.example"], TEXT)
                        ours.wait_log(rf"to=<b@{domain}.example>, .*status=sent")
                    file = wait_until(lambda: traces(ours), "a trace")[0]
                    self.assertTrue(re.fullmatch(NAME, file.name) and file.name.startswith("smtp-"), file.name)
                    self.assertIn("ClientHello", file.read_text())
                    self.assertEqual(len(traces(ours)), 1)


if __name__ == "__main__":
    unittest.main()
