# SPDX-License-Identifier: Apache-2.0
"""tls= of delivery lines (smtp_log_tls_feature_status): the level that was wanted, and what came of it."""

import contextlib
import re
import tempfile
import unittest
from pathlib import Path

from next_hop import NAME, NextHop, make_authority
from postrider import Postrider, free_ports

TEXT = "Subject: hello\r\n\r\nbody\r\n"


class Status(unittest.TestCase):
    def setUp(self):
        temp = tempfile.TemporaryDirectory(prefix="status-")
        self.addCleanup(temp.cleanup)
        self.folder = Path(temp.name)
        self.folder.chmod(0o755)
        make_authority(self.folder)

    def test_each_level_and_fault_has_its_word(self):
        # (level, certificate, fault, tls=, is it sent)
        cases = (("none", "good", "", "none", True), ("may", "good", "", "may", True), ("may", "good", "no-offer", "may:none", True),
                 ("may", "good", "refused", "may:none", True), ("may", "good", "broken", "may?", False),
                 ("encrypt", "self", "", "encrypt", True), ("encrypt", "good", "no-offer", "!encrypt:none", False),
                 ("encrypt", "good", "refused", "!encrypt:none", False), ("encrypt", "good", "broken", "encrypt?", False),
                 ("fingerprint match=00:11", "good", "", "!fingerprint:encrypt", False),
                 (f"verify match={NAME}", "good", "", "verify", True), (f"verify match={NAME}", "wrong", "", "!verify:encrypt", False),
                 (f"secure match={NAME}", "good", "", "secure", True), (f"secure match={NAME}", "self", "", "!secure:encrypt", False),
                 (f"secure match={NAME}", "expired", "", "!secure:encrypt", False), (f"secure match={NAME}", "good", "no-offer", "!secure:none", False))
        with contextlib.ExitStack() as stack:
            hops = [stack.enter_context(NextHop(self.folder, certificate, fault)) for _, certificate, fault, _, _ in cases]
            routes = [f"{{ c{at}.example = smtp:[127.0.0.2]:{hop.port} }}" for at, hop in enumerate(hops)]
            policies = [f"{{ [127.0.0.2]:{hop.port} = {case[0]} }}" for case, hop in zip(cases, hops)]
            nobody = free_ports(1)[0]
            routes.append(f"{{ nobody.example = smtp:[127.0.0.2]:{nobody} }}")
            main = (f"smtp_tls_CAfile = {self.folder}/ca.pem\nsmtp_tls_fingerprint_digest = sha256\nsmtp_tls_security_level = encrypt\n"
                    f"smtp_tls_policy_maps = inline:{{ {', '.join(policies)} }}\ntransport_maps = inline:{{ {', '.join(routes)} }}\n")
            ours = stack.enter_context(Postrider(main=main))
            for at in range(len(cases)):
                ours.send("a@source.example", [f"b@c{at}.example"], TEXT)
            ours.send("a@source.example", ["b@nobody.example"], TEXT)
            for at, (level, _, fault, word, is_sent) in enumerate(cases):
                with self.subTest(level=level, fault=fault):
                    line = ours.wait_log(rf"to=<b@c{at}.example>, .*").group(0)
                    self.assertRegex(line, rf", delays=[\d./]+, tls={re.escape(word)}, dsn=[\d.]+, status={'sent' if is_sent else 'deferred'} ")
            ours.wait_log(r"to=<b@nobody.example>, .*, tls=encrypt\?, dsn=4.4.1, status=deferred")

    def test_connections_that_were_kept_say_the_same(self):
        with NextHop(self.folder) as hop:
            main = (f"relayhost = [127.0.0.2]:{hop.port}\nsmtp_tls_security_level = encrypt\n"
                    "smtp_connection_cache_destinations = static:all\n")
            with Postrider(main=main) as server:
                for _ in range(12):
                    server.send("a@source.example", ["b@far.example"], TEXT)
                server.wait_log(r"delays=\S+, tls=encrypt, dsn=2.0.0, status=sent", 12)
                server.wait_log(r"conn_use=\d+, delay=\S+, delays=\S+, tls=encrypt, dsn=2.0.0, status=sent")

    def test_a_switch_turns_it_off(self):
        with NextHop(self.folder) as hop:
            main = f"relayhost = [127.0.0.2]:{hop.port}\nsmtp_tls_security_level = may\nsmtp_log_tls_feature_status = no\n"
            with Postrider(main=main) as ours:
                ours.send("a@source.example", ["b@far.example"], TEXT)
                self.assertNotIn("tls=", ours.wait_log(r"to=<b@far.example>, .*status=sent").group(0))

    def test_lmtp_has_a_switch_of_its_own(self):
        with NextHop(self.folder) as hop:
            main = f"relayhost =\ntransport_maps = static:lmtp:inet:127.0.0.2:{hop.port}\nlmtp_tls_security_level = encrypt\n"
            for more, is_there in (("", True), ("lmtp_log_tls_feature_status = no\n", False)):
                with Postrider(main=main + more) as ours:
                    ours.send("a@source.example", ["b@far.example"], TEXT)
                    self.assertEqual("tls=encrypt," in ours.wait_log(r"to=<b@far.example>, .*status=sent").group(0), is_there)


if __name__ == "__main__":
    unittest.main()
