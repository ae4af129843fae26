# SPDX-License-Identifier: Apache-2.0
"""How mail comes in: large, local, under reload, inside TLS."""

import os
import re
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
import postrider  # noqa: E402


def sendmail(server: postrider.Postrider, text: str, *args: str) -> subprocess.CompletedProcess:
    env = dict(os.environ, MAIL_CONFIG=str(server.etc))
    return subprocess.run([str(postrider.BUILD / "bin/sendmail"), *args], env=env, input=text, capture_output=True, text=True,
                          timeout=postrider.PATIENCE)


class IntakeTest(unittest.TestCase):
    def test_a_message_larger_than_a_record_survives_byte_for_byte(self):
        body = b"".join(b"%07d %s\r\n" % (n, b"x" * (n % 900)) for n in range(20000))
        with postrider.Postrider(main="message_size_limit = 60000000") as server:
            with server.smtp() as session:
                session.sendmail("a@sender.example", ["demo@test.example"], b"Subject: big\r\n\r\n" + body)
            message = server.wait_mail("demo")[0]
        self.assertEqual(message.split(b"\n\n", 1)[1], body.replace(b"\r\n", b"\n"))

    def test_checks_see_all_of_a_message_larger_than_a_record(self):
        main = ("message_size_limit = 60000000\n"
                "mime_header_checks = regexp:{{{/^Content-Type:.*name=\"?evil/ REJECT evil attachment}}}\n"
                "nested_header_checks = regexp:{{{/^Subject: bad/ REPLACE Subject: good}}}\n"
                "body_checks = regexp:{{{/^secret/ REJECT secret} {/^remove/ IGNORE}}}")

        def part(header: bytes, body: bytes) -> bytes:
            return b"--b\r\n" + header + b"\r\n\r\n" + body

        fill = part(b"Content-Type: application/x", b"z" * 998 + b"\r\n" + (b"y" * 76 + b"\r\n") * 70000)
        head = b"Subject: big\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        nested = part(b"Content-Type: message/rfc822", b"Subject: bad\r\n\r\nremove\r\nhello\r\n")
        with postrider.Postrider(main=main.replace("{{{", "{{").replace("}}}", "}}")) as server, server.smtp() as session:
            for last, answer in ((part(b"Content-Type: text/x;\r\n name=evil.exe", b"x\r\n"), "evil attachment"),
                                 (part(b"X: y", b"secret\r\n"), "secret")):
                with self.assertRaisesRegex(postrider.smtplib.SMTPDataError, answer):
                    session.sendmail("a@sender.example", ["demo@test.example"], head + fill + last + b"--b--\r\n")
            session.sendmail("a@sender.example", ["demo@test.example"], head + fill + nested + b"--b--\r\n")
            message = server.wait_mail("demo")[0]
        self.assertTrue(message.endswith(b"\nContent-Type: message/rfc822\n\nSubject: good\n\nhello\n--b--\n"))
        self.assertEqual(message.count(b"y" * 76 + b"\n"), 70000)

    def test_long_recipients_are_not_taken_for_the_same(self):
        with postrider.Postrider(main="smtpd_error_sleep_time = 0\n") as server:
            done = sendmail(server, "Subject: long\n\nhi\n", "-f", "a@test.example", "x" * 9000 + "@local.example", "y" * 9000 + "@local.example")
            self.assertEqual(done.returncode, 0, done.stderr)
            server.wait_log(r"from=<a@test\.example>, size=\d+, nrcpt=2 \(queue active\)")

    def test_mail_waits_while_a_table_for_its_addresses_fails(self):
        main = "masquerade_domains = test.example\nmasquerade_exceptions = fail:broken\n"
        with postrider.Postrider(main=main) as server, server.smtp() as session:
            session.mail("a@host.test.example")
            session.rcpt("demo@test.example")
            self.assertEqual(session.data(b"Subject: x\r\n\r\nbody\r\n"), (451, b"4.3.0 Error: queue file write error"))

    def test_a_header_that_grows_much_keeps_all_its_addresses(self):
        domain = "d" * 60 + ".example"
        with postrider.Postrider(main=f"myorigin = {domain}\n") as server:
            with server.smtp() as session:
                session.sendmail("a@sender.example", ["demo@test.example"], b"To: " + b", ".join([b"u"] * 30000) + b"\r\n\r\nbody\r\n")
            message = server.wait_mail("demo")[0]
        self.assertEqual(message.count(b"u@" + domain.encode()), 30000)

    def test_headers_longer_than_their_limit_are_cut(self):
        head = (b"Spaced" + b" " * 300 + b": x\r\nBcc: hidden@test.example\r\nFolded: " + b"a" * 90 + b"\r\n" + b" b" * 50
                + b"\r\nLong: " + b"c" * 200 + b"\r\nLast: y\r\n")
        with postrider.Postrider(main="header_size_limit = 100\n") as server:
            with server.smtp() as session:
                session.sendmail("a@sender.example", ["demo@test.example"], head + b"\r\nbody\r\n")
            message = server.wait_mail("demo")[0]
        self.assertIn(b"\nSpaced:\nFolded: " + b"a" * 90 + b"\nLong: " + b"c" * 94 + b"\nLast: y\n", message.split(b"\n\n")[0] + b"\n")
        self.assertNotIn(b"hidden", message)

    def test_a_session_in_a_message_outlives_a_reload_and_an_idle_one_is_told(self):
        with postrider.Postrider() as server:
            busy, idle = server.smtp(), server.smtp()
            busy.mail("a@sender.example")
            busy.rcpt("demo@test.example")
            busy.docmd("DATA")
            self.assertEqual(server.reload().returncode, 0)
            postrider.wait_until(lambda: idle.docmd("NOOP")[0] == 421, "the end of the idle session")
            busy.send(b"Subject: over the reload\r\n\r\nhi\r\n.\r\n")
            self.assertEqual(busy.getreply()[0], 250)
            self.assertEqual(busy.docmd("NOOP")[0], 421)
            self.assertIn(b"over the reload", server.wait_mail("demo")[0])
            server.send("a@sender.example", ["demo@test.example"], "Subject: next\n\nhi\n")
            self.assertEqual(len(server.wait_mail("demo", 2)), 2)

    def test_sendmail_completes_and_logs(self):
        with postrider.Postrider() as server:
            done = sendmail(server, "Subject: local\nTo: joe\n\nhello\n.\nnot seen\n", "-f", "me@sender.example", "demo@test.example")
            self.assertEqual(done.returncode, 0, done.stderr)
            message = server.wait_mail("demo")[0].decode()
            self.assertRegex(message, r"Received: by mx\.test\.example \(Postfix, from userid \d+\)\n\tid \w+; ")
            self.assertIn("\nTo: joe@test.example\n", message)
            self.assertRegex(message, r"\nMessage-Id: <\d{14}\.\w+@mx\.test\.example>\n")
            self.assertTrue(message.endswith("\n\nhello\n"))
            server.wait_log(r"postfix/pickup\[\d+\]: \w+: uid=\d+ from=<me@sender\.example>")
            server.wait_log(r"postfix/cleanup\[\d+\]: \w+: message-id=<")

    def test_received_tells_of_tls_and_authentication(self):
        main = "smtpd_tls_received_header = yes\nsmtpd_sasl_authenticated_header = yes"
        with postrider.Postrider(main=main) as server:
            server.send("demo@test.example", ["demo@test.example"], "Subject: x\n\nhi\n", service="submission")
            message = server.wait_mail("demo")[0].decode()
        self.assertRegex(message, r"\(using TLSv1\.3 with cipher \S+ \(\d+/\d+ bits\)\n\t key-exchange .*\)\n")
        self.assertIn("\n\t(No client certificate requested)\n\t(Authenticated sender: demo)\n\tby mx.test.example (Postfix) with ESMTPSA id ",
                      message)

    def test_a_chunked_message_comes_whole(self):
        with postrider.Postrider() as server:
            with server.smtp() as session:
                session.mail("a@sender.example")
                session.rcpt("demo@test.example")
                for chunk, last in ((b"Subject: ch", b""), (b"unks\r\n\r\n.\r\none", b""), (b" line\r\n..two", b" LAST")):
                    session.send(b"BDAT %d%s\r\n%s" % (len(chunk), last, chunk))
                    self.assertEqual(session.getreply()[0], 250)
            message = server.wait_mail("demo")[0].decode()
        self.assertTrue(message.endswith("\n\n.\none line\n..two\n"), message)

    def test_a_footer_that_is_too_long_for_a_reply_is_cut_at_a_line(self):
        with postrider.Postrider(main="smtpd_reject_footer = one" + r"\nx" * 1900) as server, server.smtp() as session:
            session.putcmd("RCPT", "TO:<demo@test.example>")
            code, text = session.getreply()
            self.assertEqual(code, 503)
            lines = text.decode().split("\n")
            self.assertEqual(lines[:3], ["5.5.1 Error: need MAIL command", "5.5.1 one", "5.5.1 x"])
            self.assertGreater(len(lines), 1200)
            self.assertEqual(session.noop()[0], 250)

    def test_an_empty_last_chunk_is_told_as_such(self):
        with postrider.Postrider() as server, server.smtp() as session:
            session.mail("a@sender.example")
            session.rcpt("demo@test.example")
            session.send(b"BDAT 14\r\nSubject: x\r\n\r\n")
            self.assertEqual(session.getreply(), (250, b"2.0.0 Ok: 14 bytes"))
            session.send(b"BDAT 0 LAST\r\n")
            code, text = session.getreply()
            self.assertEqual(code, 250)
            self.assertRegex(text, rb"^2\.0\.0 Ok: 0 bytes queued as \w+$")
            self.assertIn(b"Subject: x", server.wait_mail("demo")[0])

    def test_the_queue_id_is_the_same_everywhere(self):
        with postrider.Postrider() as server:
            with server.smtp() as session:
                session.mail("a@sender.example")
                session.rcpt("demo@test.example")
                reply = session.data("Subject: x\r\n\r\nhi\r\n")[1].decode()
            queue_id = re.search(r"queued as (\w+)", reply).group(1)
            for pattern in ("smtpd.*: client=", "cleanup.*: message-id=", r"qmgr.*: from=<a@sender\.example>", "virtual.*: to=<demo"):
                program, rest = pattern.split(".*")
                server.wait_log(rf"postfix/{program}\[\d+\]: {queue_id}{rest}")
            self.assertIn(queue_id, server.wait_mail("demo")[0].decode())


if __name__ == "__main__":
    unittest.main()
