# SPDX-License-Identifier: Apache-2.0
"""The LMTP client: Dovecot's LMTP service on a local socket, and a recipient's own answer behind the content."""

import tempfile
import unittest
from pathlib import Path

import debian_dovecot
from postrider import Postrider, wait_until


class Lmtp(unittest.TestCase):
    def test_dovecot_takes_mail_for_whom_it_knows(self):
        with tempfile.TemporaryDirectory(prefix="lmtp-") as name:
            folder = Path(name)
            folder.chmod(0o755)
            dovecot = debian_dovecot.DebianDovecot(folder / "auth", {"ann@far.example": "x", "bob@far.example": "x"}, more=debian_dovecot.LMTP,
                                                   packages=("dovecot-lmtpd",), lmtp=folder / "lmtp")
            main = f"relay_domains = far.example\nrelay_recipient_maps =\nrelay_transport = lmtp:unix:{folder}/lmtp\n"
            with dovecot, Postrider(main=main) as ours:
                ours.send("a@source.example", ["ann@far.example", "bob@far.example", "nobody@far.example"], "Subject: one\r\n\r\n.dot\r\n")
                for who in ("ann", "bob"):
                    ours.wait_log(rf"lmtp\[\d+\]: \w+: to=<{who}@far.example>, relay=mx.test.example\[{folder}/lmtp\], .* "
                                  rf"dsn=2.0.0, status=sent \(250 2.0.0 <{who}@far.example> \S+ Saved\)")
                ours.wait_log(r"to=<nobody@far.example>, .* dsn=5.1.1, status=bounced \(host \S+ said: 550 5.1.1 <nobody@far.example> "
                              r"User doesn't exist: nobody@far.example \(in reply to RCPT TO command\)\)")
                for who in ("ann", "bob"):
                    new = dovecot.folder / "mail" / f"{who}@far.example" / "new"
                    files = wait_until(lambda n=new: n.is_dir() and list(n.iterdir()), f"mail of {who}")
                    self.assertIn(b"\n.dot\n", files[0].read_bytes())


if __name__ == "__main__":
    unittest.main()
