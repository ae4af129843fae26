# SPDX-License-Identifier: Apache-2.0
"""8-bit content for a server that takes seven bits only: what arrives is what Debian's Postfix makes of it."""

import smtplib
import unittest

import debian_postfix
from next_hop import NextHop
from postrider import PATIENCE, Postrider, free_ports, wait_until

MIME = b"Subject: x\r\nMIME-Version: 1.0\r\n"
TEXT = b"Content-Type: text/plain; charset=utf-8\r\n"
EIGHT = b"Content-Transfer-Encoding: 8bit\r\n"
MESSAGES = {
    "text": MIME + TEXT + EIGHT + b"\r\nHei \xc3\xa4\xc3\xb6 = end \r\n.dot\r\ntrailing tab\t\r\n" + b"\xc3\xa4" * 60 + b"\r\nlast\r\n",
    "text that is ascii after all": MIME + TEXT + EIGHT + b"\r\nonly ascii = \r\n",
    "nothing about it": b"Subject: x\r\n\r\n\xc3\xa4\r\n",
    "no encoding": MIME + TEXT + b"\r\n\xc3\xa4\r\n",
    "encoding before type": MIME + EIGHT + TEXT + b"\r\n\xc3\xa4\r\n",
    "binary": b"Subject: x\xc3\xa4\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\n\r\na\xff=b\r\n",
    "multipart": (MIME + b"Content-Type: multipart/mixed; boundary=bb\r\n" + EIGHT + b"\r\npre\xc3\xa4\r\n--bb\r\n" + TEXT + EIGHT + b"\r\n\xc3\xa4=\r\n--bb\r\n"
                  b"Content-Type: text/plain\r\n\r\nplain=\r\n--bb\r\n" + TEXT + b"Content-Transfer-Encoding: base64\r\n\r\nw6Q=\r\n--bb\r\n"
                  b"Content-Type: message/rfc822\r\n" + EIGHT + b"\r\nSubject: in\r\n" + EIGHT + b"\r\ninner \xc3\xa4\r\n--bb--\r\nepi\xc3\xa4\r\n"),
}


def what_counts(content: bytes) -> bytes:
    """Without the headers that tell of the way."""
    head, _, body = content.partition(b"\r\n\r\n")
    return b"\r\n".join(line for line in head.split(b"\r\n") if line.startswith((b"Content", b"Subject", b"MIME"))) + b"\r\n\r\n" + body


def pass_on(port: int, hop: NextHop) -> dict:
    arrived = {}
    for name, message in MESSAGES.items():
        with smtplib.SMTP("127.0.0.1", port, "source.example", timeout=PATIENCE) as session:
            session.sendmail("a@source.example", ["b@far.example"], message, mail_options=["BODY=8BITMIME"])
        wait_until(lambda: len(hop.messages) > len(arrived), name)
        arrived[name] = what_counts(hop.messages[-1][1])
    return arrived


class EightBit(unittest.TestCase):
    maxDiff = None

    def test_what_arrives_is_what_postfix_sends(self):
        with NextHop(bits8=False) as hop, Postrider(main=f"relayhost = [127.0.0.2]:{hop.port}\n") as ours:
            mine = pass_on(ours.ports["smtp"], hop)
        self.assertNotIn(b"BODY=8BITMIME", b"".join(line for _, line in hop.heard))
        port = free_ports(1)[0]
        with NextHop(bits8=False) as hop, debian_postfix.DebianPostfix(main=f"relayhost = [127.0.0.2]:{hop.port}\nmynetworks = 127.0.0.0/8\n",
                                                                       master=f"127.0.0.1:{port} inet n - n - - smtpd\n") as peer:
            peer.start(port)
            self.assertEqual(mine, pass_on(port, hop))

    def test_it_goes_as_it_is_where_it_may(self):
        for bits8, more in ((True, ""), (False, "disable_mime_output_conversion = yes\n")):
            with NextHop(bits8=bits8) as hop, Postrider(main=f"relayhost = [127.0.0.2]:{hop.port}\n{more}") as ours:
                arrived = pass_on(ours.ports["smtp"], hop)
            self.assertEqual(arrived["multipart"], MESSAGES["multipart"])


if __name__ == "__main__":
    unittest.main()
