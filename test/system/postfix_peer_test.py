# SPDX-License-Identifier: Apache-2.0
"""Debian's Postfix on both sides of us: as the sender and as the next hop. Needs root, as Postfix does."""

import email
import smtplib
import unittest

import debian_postfix
from postrider import PATIENCE, Postrider, free_ports, wait_until

BODY = "From: a@source.example\nTo: b@test.example\nSubject: {0}\n\n" + "line of text\n" * 20 + ".dot\n..two\n" + "x" * 900 + "\n"


def send(port: int, count: int) -> None:
    with smtplib.SMTP("127.0.0.1", port, "source.example", timeout=PATIENCE) as session:
        for n in range(count):
            session.sendmail("a@source.example", ["b@test.example"], BODY.format(n))


class PostfixPeer(unittest.TestCase):
    def test_postfix_as_sender_hands_over_with_starttls(self):
        with Postrider() as ours:
            main = (f"relayhost = [127.0.0.1]:{ours.ports['smtp']}\nsmtp_tls_security_level = encrypt\nsmtp_tls_loglevel = 1\n"
                    "mynetworks = 127.0.0.0/8\n")
            port = free_ports(1)[0]
            with debian_postfix.DebianPostfix(main=main, master=f"127.0.0.1:{port} inet n - n - - smtpd\n") as peer:
                peer.start(port)
                send(port, 20)
                got = [email.message_from_bytes(text) for text in ours.wait_mail("b", 20)]
            self.assertEqual({message["Subject"] for message in got}, {str(n) for n in range(20)})
            for message in got:
                self.assertIn("ESMTPS", message.get_all("Received")[0])
                self.assertIn("\n.dot\n..two\n", message.get_payload())

    def test_postfix_as_next_hop_gets_every_message_unchanged(self):
        port = free_ports(1)[0]
        with debian_postfix.DebianPostfix(master=f"127.0.0.1:{port} inet n - n - - smtpd\n", main=(
                "virtual_mailbox_domains = far.example\nvirtual_minimum_uid = 1\nvirtual_uid_maps = static:9\n"
                "virtual_gid_maps = static:9\nmynetworks = 127.0.0.0/8\n")) as peer:
            folder = peer.folder / "boxes"
            folder.mkdir()
            folder.chmod(0o777)
            with open(peer.config / "main.cf", "a", encoding="utf-8") as conf:
                conf.write(f"virtual_mailbox_base = {folder}\nvirtual_mailbox_maps = static:mail/\n")
            peer.start(port)
            with Postrider(main=f"relayhost = [127.0.0.1]:{port}\n") as ours:
                for n in range(20):
                    ours.send("a@source.example", ["b@far.example"], BODY.format(n))
                new = folder / "mail" / "new"
                wait_until(lambda: new.is_dir() and len(list(new.iterdir())) == 20, "20 messages at the next hop")
                ours.wait_log(r"to=<b@far.example>, relay=127.0.0.1\[127.0.0.1\]:\d+,.* status=sent \(250 2.0.0 Ok: queued as \w+\)", 20)
            for path in new.iterdir():
                message = email.message_from_bytes(path.read_bytes())
                self.assertEqual(message.get_payload(), BODY.split("\n\n", 1)[1])

    def test_a_refusal_of_postfix_becomes_a_bounce_with_its_words(self):
        port = free_ports(1)[0]
        refusing = "mynetworks = 10.0.0.0/8\nsmtpd_relay_restrictions = reject_unauth_destination\n"
        with debian_postfix.DebianPostfix(master=f"127.0.0.1:{port} inet n - n - - smtpd\n", main=refusing) as peer:
            peer.start(port)
            with Postrider(main=f"relayhost = [127.0.0.1]:{port}\n") as ours:
                ours.send("demo@test.example", ["b@far.example"], BODY.format(1))
                bounce = email.message_from_bytes(ours.wait_mail("demo")[0])
        self.assertEqual(bounce.get_content_type(), "multipart/report")
        status = bounce.get_payload()[1].get_payload()
        self.assertEqual(status[1]["Final-Recipient"], "rfc822; b@far.example")
        self.assertEqual(status[1]["Action"], "failed")
        self.assertEqual(status[1]["Status"], "5.7.1")
        self.assertIn("554 5.7.1 <b@far.example>: Relay access denied", " ".join(status[1]["Diagnostic-Code"].split()))


if __name__ == "__main__":
    unittest.main()
