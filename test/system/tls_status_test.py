# SPDX-License-Identifier: Apache-2.0
"""tls= of the delivery lines (smtp_log_tls_feature_status)."""

import tempfile
import unittest
from pathlib import Path

from next_hop import NextHop, make_authority
from postrider import Postrider, free_ports

TEXT = "Subject: hello\r\n\r\nbody\r\n"


class Status(unittest.TestCase):
    def setUp(self):
        temp = tempfile.TemporaryDirectory(prefix="status-")
        self.addCleanup(temp.cleanup)
        self.folder = Path(temp.name)
        self.folder.chmod(0o755)
        make_authority(self.folder)

    def check(self, level: str, hop: NextHop | None, want: str, status: str, more: str = "") -> None:
        port = hop.port if hop else free_ports(1)[0]
        main = (f"relayhost = [127.0.0.2]:{port}\nsmtp_tls_security_level = {level}\nsmtp_tls_CAfile = {self.folder}/ca.pem\n"
                f"smtp_tls_secure_cert_match = mx.far.example\nsmtp_tls_verify_cert_match = mx.far.example\n{more}\n")
        with self.subTest(level=level, want=want), Postrider(main=main) as server:
            server.send("a@source.example", ["b@far.example"], TEXT)
            server.wait_log(rf"to=<b@far.example>, relay=\S+, delay=\S+, delays=\S+,{want} dsn=\S+, status={status} ")

    def test_each_level_says_what_became_of_it(self):
        clear, secure = NextHop(), NextHop(self.folder)
        wrong, broken = NextHop(self.folder, "wrong"), NextHop(self.folder, fault="broken")
        for hop in (clear, secure, wrong, broken):
            self.addCleanup(hop.__exit__)
        self.check("none", secure, " tls=none,", "sent")
        self.check("may", secure, " tls=may,", "sent")
        self.check("may", clear, " tls=may:none,", "sent")
        self.check("may", None, r" tls=may\?,", "deferred")
        self.check("may", broken, r" tls=may\?,", "deferred")
        self.check("encrypt", secure, " tls=encrypt,", "sent")
        self.check("encrypt", clear, " tls=!encrypt,", "deferred")
        self.check("encrypt", broken, r" tls=encrypt\?,", "deferred")
        self.check("encrypt", None, r" tls=encrypt\?,", "deferred")
        self.check("verify", secure, " tls=verify,", "sent")
        self.check("secure", secure, " tls=secure,", "sent")
        self.check("secure", wrong, " tls=!secure,", "deferred")
        self.check("fingerprint", wrong, " tls=!fingerprint,", "deferred", "smtp_tls_fingerprint_cert_match = 00:11")

    def test_it_can_be_left_out(self):
        with NextHop(self.folder) as hop:
            self.check("may", hop, "", "sent", "smtp_log_tls_feature_status = no")

    def test_connections_that_were_kept_say_the_same(self):
        with NextHop(self.folder) as hop:
            main = (f"relayhost = [127.0.0.2]:{hop.port}\nsmtp_tls_security_level = encrypt\n"
                    "smtp_connection_cache_destinations = static:all\n")
            with Postrider(main=main) as server:
                for _ in range(12):
                    server.send("a@source.example", ["b@far.example"], TEXT)
                server.wait_log(r"delays=\S+, tls=encrypt, dsn=2.0.0, status=sent", 12)
                server.wait_log(r"conn_use=\d+, delay=\S+, delays=\S+, tls=encrypt, dsn=2.0.0, status=sent")


if __name__ == "__main__":
    unittest.main()
