# SPDX-License-Identifier: Apache-2.0
"""Deferral, retry, bounces, mailq, postqueue, postsuper and sendmail, with a next hop that does as it is told."""

import email
import email.policy
import json
import os
import re
import socket
import subprocess
import threading
import unittest
from pathlib import Path

from mail_host import MailHost, Session
from postrider import BUILD, IS_ROOT, PATIENCE, Postrider, wait_until

HELLO = "From: a@test.example\nTo: b@far.example\nSubject: hello\n\nIt works.\n"
MAIN = "relayhost = [127.0.0.1]:{hop}\n"


class NextHop(MailHost):
    """Answers RCPT by the recipient's name: later-x 450, never-x 550, else 250. Down until up()."""

    name = "far.example"

    def __init__(self):
        self.mail = []  # (MAIL command, recipients, content)
        super().__init__("127.0.0.1", is_up=False)

    def keywords(self, session: Session) -> list[str]:
        return []

    def judge(self, recipient: str) -> str:
        return {"late": "450 4.2.1 come back later", "neve": "550 5.1.1 no such user"}.get(recipient[:4]) or super().judge(recipient)

    def took(self, session: Session, content: bytes) -> None:
        self.mail.append((session.mail, session.recipients, content))


class QueueCase(unittest.TestCase):
    """A server whose mail for other domains goes to a next hop, which is down at first."""

    main = ""

    def setUp(self):
        self.hop = NextHop()
        self.addCleanup(self.hop.close)
        self.server = Postrider(main=MAIN.replace("{hop}", str(self.hop.port)) + self.main)
        self.addCleanup(self.server.close)

    def send(self, *recipients, sender="demo@test.example", text=HELLO):
        self.server.send(sender, list(recipients), text)

    def queue(self) -> list[dict]:
        done = self.server.run("postqueue", "-j")
        self.assertEqual(done.returncode, 0, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def wait_queue(self, name: str, count: int = 1) -> list[dict]:
        def look():
            items = [item for item in self.queue() if item["queue_name"] == name]
            return items if len(items) == count else None
        return wait_until(look, f"{count} messages in {name}")

    def wait_empty(self):
        wait_until(lambda: not self.queue(), "an empty queue")

    def postsuper(self, *args, text=None) -> str:
        done = self.server.run("postsuper", *args, input=text)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stderr

    def sendmail(self, *args, text=HELLO, env=None) -> subprocess.CompletedProcess:
        variables = {**os.environ, "MAIL_CONFIG": str(self.server.etc), **(env or {})}
        return subprocess.run([str(BUILD / "bin/sendmail"), *args], input=text, env=variables, capture_output=True, text=True,
                              timeout=PATIENCE)


class Retry(QueueCase):
    def test_mail_for_a_dead_next_hop_is_deferred_and_flushed_later(self):
        self.send("b@far.example", "c@far.example")
        item = self.wait_queue("deferred")[0]
        self.assertEqual(item["sender"], "demo@test.example")
        self.assertEqual([r["address"] for r in item["recipients"]], ["b@far.example", "c@far.example"])
        self.assertIn("Connection refused", item["recipients"][0]["delay_reason"])
        self.server.wait_log(r"postfix/qmgr\[\d+\]: \w+: from=<demo@test\.example>, size=\d+, nrcpt=2 \(queue active\)$")
        self.server.wait_log(r"to=<b@far\.example>, relay=none, delay=\S+, delays=\S+, tls=may\?, dsn=4\.4\.1, status=deferred \(connect to ")
        self.hop.up()
        self.assertEqual(self.server.run("postqueue", "-f").returncode, 0)
        self.wait_empty()
        self.assertEqual(sorted(self.hop.mail[0][1]), ["b@far.example", "c@far.example"])
        self.server.wait_log(rf"postfix/qmgr\[\d+\]: {item['queue_id']}: removed$")

    def test_one_message_is_tried_again_by_its_id(self):
        self.send("b@far.example")
        first = self.wait_queue("deferred")[0]["queue_id"]
        self.send("c@far.example")
        self.wait_queue("deferred", 2)
        self.hop.up()
        self.assertEqual(self.server.run("postqueue", "-i", first).returncode, 0)
        left = self.wait_queue("deferred")
        self.assertNotEqual(left[0]["queue_id"], first)

    def test_deferred_mail_survives_a_restart(self):
        self.send("b@far.example")
        item = self.wait_queue("deferred")[0]
        self.server.stop()
        down = self.server.run("postqueue", "-j")
        self.assertEqual(json.loads(down.stdout), item)
        self.assertIn("Mail system is down", down.stderr)
        self.assertIn("mail system is down", self.server.run("postsuper", "-d", "ALL").stderr)
        self.check_roots_files_are_safe()
        self.server.start()
        self.assertEqual(self.wait_queue("deferred")[0], item)

    def check_roots_files_are_safe(self):
        """mail_owner may do what it likes in its folder; what root then lists touches nothing but what mail_owner may."""
        private, lock = self.server.folder / "private", self.server.folder / "queue/postrider/index/lock.mdb"
        private.write_text("private")
        private.chmod(0o600)
        lock.unlink()
        lock.symlink_to(private)
        self.server.run("postqueue", "-p")
        lock.unlink()
        if IS_ROOT:
            self.assertEqual(private.read_text(), "private")

    def test_a_killed_queue_manager_loses_nothing(self):
        self.send("b@far.example")
        item = self.wait_queue("deferred")[0]
        self.server.kill("qmgr")
        wait_until(lambda: self.server.run("postqueue", "-j").returncode == 0, "another queue manager")
        self.assertEqual(self.wait_queue("deferred")[0]["queue_id"], item["queue_id"])
        self.send("c@far.example")
        self.wait_queue("deferred", 2)

    def test_files_of_a_dead_queue_manager_are_closed(self):
        def open_segments() -> list[str]:
            files = []
            for role in ("smtp", "local"):
                for pid in self.server.pids(role):
                    files += [os.readlink(f) for f in Path(f"/proc/{pid}/fd").iterdir()]
            return [f for f in files if "/segments/" in f]
        self.hop.up()
        self.send("b@far.example", "bob@test.example")
        self.server.wait_mail("bob")
        self.wait_empty()
        self.assertTrue(open_segments())
        self.server.kill("qmgr")
        wait_until(lambda: self.server.run("postqueue", "-j").returncode == 0, "another queue manager")
        wait_until(lambda: not open_segments(), "closed segments")
        self.send("bob@test.example")
        self.server.wait_mail("bob", 2)

    def test_partial_success_leaves_what_remains(self):
        self.hop.up()
        self.send("b@far.example", "later-c@far.example")
        item = self.wait_queue("deferred")[0]
        self.assertEqual([r["address"] for r in item["recipients"]], ["later-c@far.example"])
        self.assertEqual([mail[1] for mail in self.hop.mail], [["b@far.example"]])


class Bounce(QueueCase):
    def setUp(self):
        super().setUp()
        self.hop.up()

    def parts(self) -> tuple:
        text = self.server.wait_mail("demo")[0]
        message = email.message_from_bytes(text, policy=email.policy.default)
        self.assertEqual(message.get_content_type(), "multipart/report")
        self.assertEqual(message.get_param("report-type"), "delivery-status")
        return message, *message.iter_parts()

    def test_a_permanent_failure_comes_back_as_rfc_3464_says(self):
        self.send("never-b@far.example", "never-c@far.example", "d@far.example")
        message, notice, status, original = self.parts()
        self.assertEqual(message["Subject"], "Undelivered Mail Returned to Sender")
        self.assertEqual(message["To"], "demo@test.example")
        self.assertEqual(message["From"].addresses[0].username, "MAILER-DAEMON")
        self.assertEqual(message["Auto-Submitted"], "auto-replied")
        self.assertEqual(message["Return-Path"], "<>")
        self.assertEqual(notice.get_content_type(), "text/plain")
        self.assertIn("<never-b@far.example>: host 127.0.0.1[127.0.0.1] said: 550 5.1.1", " ".join(notice.get_content().split()))
        self.assertEqual(status.get_content_type(), "message/delivery-status")
        whole, *recipients = status.get_payload()
        self.assertEqual(whole["Reporting-MTA"], "dns; mx.test.example")
        self.assertEqual(whole["X-Postfix-Sender"], "rfc822; demo@test.example")
        self.assertTrue(email.utils.parsedate_to_datetime(whole["Arrival-Date"]))
        self.assertRegex(whole["X-Postfix-Queue-ID"], r"^\w+$")
        self.assertEqual([r["Final-Recipient"] for r in recipients], ["rfc822; never-b@far.example", "rfc822; never-c@far.example"])
        for fields in recipients:
            self.assertEqual(fields["Action"], "failed")
            self.assertEqual(fields["Status"], "5.1.1")
            self.assertRegex(fields["Remote-MTA"], "^dns; ")
            self.assertRegex(fields["Diagnostic-Code"], "^smtp; 550 5.1.1 ")
        self.assertEqual(original.get_content_type(), "message/rfc822")
        self.assertEqual(original.get_payload(0)["Subject"], "hello")
        self.assertIn("It works.", original.get_payload(0).get_content())
        self.server.wait_log(r"postfix/bounce\[\d+\]: \w+: sender non-delivery notification: \w+$")
        self.wait_empty()
        self.assertEqual(len(self.server.maildir("demo")), 1)

    def test_success_is_reported_when_asked_for(self):
        with self.server.smtp() as session:
            session.mail("demo@test.example", ["RET=HDRS", "ENVID=order+207"])
            session.rcpt("b@far.example", ["NOTIFY=SUCCESS", "ORCPT=rfc822;B@far.example"])
            session.data(HELLO)
        message, _, status, original = self.parts()
        self.assertEqual(message["Subject"], "Successful Mail Delivery Report")
        whole, recipient = status.get_payload()
        self.assertEqual(whole["Original-Envelope-Id"], "order 7")
        self.assertEqual(recipient["Action"], "relayed")
        self.assertEqual(recipient["Original-Recipient"], "rfc822;B@far.example")
        self.assertEqual(original.get_content_type(), "text/rfc822-headers")

    def test_notify_never_means_silence(self):
        with self.server.smtp() as session:
            session.mail("demo@test.example")
            session.rcpt("never-b@far.example", ["NOTIFY=NEVER"])
            session.data(HELLO)
        self.server.wait_log(r"status=bounced")
        self.wait_empty()
        self.assertEqual(self.server.maildir("demo"), [])

    def test_a_bounce_is_not_bounced(self):
        self.send("never-b@far.example", sender="")
        self.server.wait_log(r"status=bounced")
        self.wait_empty()
        self.server.wait_log(r": removed$")
        self.assertNotIn("notification", self.server.log_text())

    def test_an_expired_message_comes_back(self):
        self.send("later-b@far.example")
        item = self.wait_queue("deferred")[0]
        self.assertIn("Expired: 1 message", self.postsuper("-e", item["queue_id"]))
        _, _, status, _ = self.parts()
        self.assertEqual(status.get_payload()[1]["Action"], "failed")
        self.assertEqual(status.get_payload()[1]["Status"], "4.2.1")
        self.server.wait_log(rf"{item['queue_id']}: from=<demo@test\.example>, status=force-expired, returned to sender$")
        self.wait_empty()


class Templates(QueueCase):
    main = "bounce_template_file = {folder}/etc/bounce.cf\nnotify_classes = bounce\nbounce_notice_recipient = ann\n"
    FILE = """\
failure_template = <<END
Charset: iso-8859-1
From: The Post <post>
Subject: It came back
Postmaster-Subject: Copy

Here is $myhostname, and it costs $$5. Warning after ${delay_warning_time_hours}h, end after $maximal_queue_lifetime_days days.
END
"""

    def setUp(self):
        self.hop = NextHop().up()
        self.addCleanup(self.hop.close)
        self.server = Postrider(main=MAIN.replace("{hop}", str(self.hop.port)) + self.main, files={"bounce.cf": self.FILE})
        self.addCleanup(self.server.close)

    def test_a_report_has_the_headers_and_the_text_of_the_file(self):
        self.send("never-b@far.example")
        message = email.message_from_bytes(self.server.wait_mail("demo")[0], policy=email.policy.default)
        self.assertEqual((message["Subject"], message["From"]), ("It came back", "The Post <post@test.example>"))
        notice = next(message.iter_parts())
        self.assertEqual(notice.get_content_charset(), "iso-8859-1")
        lines = notice.get_content().splitlines()
        self.assertEqual(lines[0], "Here is mx.test.example, and it costs $5. Warning after 0h, end after 5 days.")
        self.assertRegex(lines[2], "^<never-b@far.example>: ")
        copy = email.message_from_bytes(self.server.wait_mail("ann")[0], policy=email.policy.default)
        self.assertEqual(copy["Subject"], "Copy")
        self.assertNotIn("Here is", next(copy.iter_parts()).get_content())

    def test_a_changed_file_counts_from_the_reload_on_and_a_broken_one_is_refused(self):
        self.server.write("bounce.cf", self.FILE.replace("It came back", "Again"))
        self.assertEqual(self.server.reload().returncode, 0)
        self.send("never-b@far.example")
        self.assertIn(b"Subject: Again", self.server.wait_mail("demo")[0])
        self.server.write("bounce.cf", self.FILE.replace("Charset", "Charsets"))
        done = self.server.reload()
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"error: \S+/main.cf:\d+: bounce_template_file: \S+/bounce.cf:2: the headers of a template are Charset")


class Lifetime(QueueCase):
    main = "maximal_queue_lifetime = 0\n"

    def test_with_a_lifetime_of_zero_there_is_one_attempt(self):
        self.send("b@far.example")
        self.server.wait_log(r"from=<demo@test\.example>, status=expired, returned to sender$")
        self.server.wait_mail("demo")
        self.wait_empty()


class Warning(QueueCase):
    main = "delay_warning_time = 1s\nminimal_backoff_time = 1s\nmaximal_backoff_time = 1s\n"

    def test_a_delay_is_told_once(self):
        self.send("b@far.example")
        text = self.server.wait_mail("demo")[0].decode()
        self.assertIn("Subject: Delayed Mail (still being retried)", text)
        self.assertIn("Action: delayed", text)
        self.assertRegex(text, r"Will-Retry-Until: ")
        self.server.wait_log(r"status=deferred", 4)
        self.assertEqual(len(self.server.maildir("demo")), 1)


class Commands(QueueCase):
    def test_mailq_has_the_layout_of_postfix(self):
        self.assertEqual(self.server.run("postqueue", "-p").stdout, "Mail queue is empty\n")
        self.send("b@far.example")
        self.wait_queue("deferred")
        lines = self.server.run("postqueue", "-p").stdout.splitlines()
        self.assertEqual(lines[0], "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------")
        self.assertRegex(lines[1], r"^\w{10,16} +\d+ \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d demo@test\.example$")
        self.assertEqual(lines[1].index("demo@"), 47)
        self.assertRegex(lines[2], r"^ *\(.*Connection refused\)$")
        self.assertEqual(lines[3], " " * 47 + "b@far.example")
        self.assertEqual(lines[-1], "-- 0 Kbytes in 1 Request.")
        env = {**os.environ, "MAIL_CONFIG": str(self.server.etc)}
        for command in ("mailq",), ("sendmail", "-bp"):
            done = subprocess.run([str(BUILD / "bin" / command[0]), *command[1:]], env=env, capture_output=True, text=True)
            self.assertEqual(done.stdout.splitlines(), lines)

    def test_postsuper_goes_on_where_the_server_turned_it_away(self):
        self.send("a@far.example")
        self.send("b@far.example")
        ids = [item["queue_id"] for item in self.wait_queue("deferred", 2)]
        public = self.server.folder / "queue/public"
        (public / "qmgr").rename(public / "real")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as full:
            full.bind(str(public / "qmgr"))
            full.listen()

            def turn_away():
                full.accept()[0].close()
                (public / "real").rename(public / "qmgr")
            thread = threading.Thread(target=turn_away)
            thread.start()
            self.assertEqual(self.postsuper("-d", "-", text="\n".join(ids) + "\n"), "postsuper: Deleted: 2 messages\n")
            thread.join()
        self.wait_empty()

    def test_mail_is_held_and_released(self):
        self.send("b@far.example")
        queue_id = self.wait_queue("deferred")[0]["queue_id"]
        self.assertEqual(self.postsuper("-h", queue_id), "postsuper: Placed on hold: 1 message\n")
        self.wait_queue("hold")
        self.assertRegex(self.server.run("postqueue", "-p").stdout, rf"(?m)^{queue_id}!")
        self.hop.up()
        self.server.run("postqueue", "-f")
        # What is delivered after the order shows that the order was carried out.
        self.send("c@far.example")
        wait_until(lambda: self.hop.mail, "mail that is not on hold")
        self.assertEqual(self.hop.mail[0][1], ["c@far.example"])
        self.wait_queue("hold")
        self.assertEqual(self.postsuper("-H", "-", text=queue_id + "\n"), "postsuper: Released from hold: 1 message\n")
        self.server.run("postqueue", "-f")
        self.wait_empty()
        self.assertEqual([mail[1] for mail in self.hop.mail], [["c@far.example"], ["b@far.example"]])

    def test_an_order_for_one_queue_leaves_the_others_alone(self):
        for name in "bcd":
            self.send(f"{name}@far.example")
        held, first, _ = (item["queue_id"] for item in self.wait_queue("deferred", 3))
        self.postsuper("-h", held)
        self.assertEqual(self.postsuper("-d", held, "deferred"), "")
        self.assertEqual(self.postsuper("-d", "-", "hold", text=first + "\n"), "")
        self.assertEqual(self.postsuper("-d", "ALL", "incoming", "deferred"), "postsuper: Deleted: 2 messages\n")
        self.assertEqual([item["queue_id"] for item in self.queue()], [held])
        self.assertEqual(self.server.run("postsuper", "-d", "ALL", "defered").returncode, os.EX_USAGE)
        self.assertEqual(self.postsuper("-d", "ALL", "hold"), "postsuper: Deleted: 1 message\n")

    def test_mail_is_deleted_one_by_one_and_all_at_once(self):
        for name in "bcd":
            self.send(f"{name}@far.example")
        items = self.wait_queue("deferred", 3)
        self.assertEqual(self.postsuper("-d", items[0]["queue_id"]), "postsuper: Deleted: 1 message\n")
        self.wait_queue("deferred", 2)
        self.assertEqual(self.postsuper("-d", "ALL"), "postsuper: Deleted: 2 messages\n")
        self.wait_empty()
        self.assertEqual(self.postsuper("-d", "4NoSuchId1z2"), "")

    def test_a_requeued_message_gets_a_new_id(self):
        self.send("b@far.example")
        old = self.wait_queue("deferred")[0]["queue_id"]
        self.assertEqual(self.postsuper("-r", old), "postsuper: Requeued: 1 message\n")
        new = wait_until(lambda: [i for i in self.queue() if i["queue_id"] != old and i["queue_name"] == "deferred"], "a new id")[0]
        self.assertEqual([r["address"] for r in new["recipients"]], ["b@far.example"])
        self.assertEqual(len(self.queue()), 1)

    def test_without_a_queue_mailq_says_what_to_do(self):
        with Postrider(start=False) as other:
            done = other.run("postqueue", "-p")
            self.assertEqual(done.returncode, 69)
            self.assertIn("mail system is down", done.stderr)
            self.assertIn("postfix start", done.stderr)

    def test_only_fast_flush_sites_are_flushed_by_name(self):
        done = self.server.run("postqueue", "-s", "far.example")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn('Flush service is not configured for destination "far.example"', done.stderr)


class Flush(QueueCase):
    main = "fast_flush_domains = far.example\n"

    def test_a_site_is_flushed_by_its_name(self):
        self.send("b@far.example")
        self.send("c@other.example")
        self.wait_queue("deferred", 2)
        self.hop.up()
        self.assertEqual(self.server.run("postqueue", "-s", "far.example").returncode, 0)
        left = self.wait_queue("deferred")
        self.assertEqual(left[0]["recipients"][0]["address"], "c@other.example")


class Reload(QueueCase):
    def test_a_new_relayhost_holds_for_waiting_and_new_mail(self):
        self.send("b@far.example")
        self.wait_queue("deferred")
        other = NextHop().up()
        self.addCleanup(other.close)
        self.server.append("main.cf", f"relayhost = [127.0.0.1]:{other.port}\n")
        self.assertEqual(self.server.reload().returncode, 0)
        self.send("c@far.example")
        wait_until(lambda: len(other.mail) == 1, "new mail at the new next hop")
        self.server.run("postqueue", "-f")
        self.wait_empty()
        self.assertEqual(sorted(mail[1][0] for mail in other.mail), ["b@far.example", "c@far.example"])


class ManyRecipients(QueueCase):
    main = "smtp_destination_recipient_limit = 20\nsmtpd_recipient_limit = 1000\n"

    def test_each_gets_one_copy_in_groups(self):
        self.hop.up()
        names = [f"r{i}@far.example" for i in range(300)]
        self.send(*names)
        self.server.wait_log("status=sent", 300)
        self.wait_empty()
        self.assertEqual(sorted(name for mail in self.hop.mail for name in mail[1]), sorted(names))
        self.assertEqual({len(mail[1]) for mail in self.hop.mail}, {20})
        self.assertEqual(len(re.findall("status=sent", self.server.log_text())), 300)


class Filter(QueueCase):
    main = "content_filter = smtp:[127.0.0.1]:{filter}\n"

    def setUp(self):
        self.filter = NextHop().up()
        self.addCleanup(self.filter.close)
        self.main = Filter.main.replace("{filter}", str(self.filter.port))
        super().setUp()

    def test_all_mail_goes_to_the_filter(self):
        self.send("b@far.example", "demo@test.example")
        wait_until(lambda: self.filter.mail, "mail at the filter")
        self.assertEqual(sorted(self.filter.mail[0][1]), ["b@far.example", "demo@test.example"])
        self.wait_empty()

    def test_bounces_go_past_the_filter(self):
        self.send("never-b@far.example")
        self.server.wait_mail("demo")
        self.assertEqual(self.filter.mail, [])


class Users(QueueCase):
    main = "authorized_submit_users = no-such-user\n"

    def test_only_users_on_the_list_may_send(self):
        done = self.sendmail("demo@test.example")
        self.assertEqual(done.returncode, 69)
        self.assertIn(f"User id {os.getuid()} is not allowed to submit mail", done.stderr)
        self.assertEqual(self.queue(), [])


class Sendmail(QueueCase):
    def test_a_message_from_the_command_line_arrives(self):
        done = self.sendmail("-F", "Joe User", "-f", "joe@test.example", "demo@test.example", text="Subject: x\n\nline\n.\nlost\n")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        text = self.server.wait_mail("demo")[0].decode()
        self.assertIn("\nFrom: Joe User <joe@test.example>\n", text.replace("\r\n", "\n"))
        self.assertIn("line", text)
        self.assertNotIn("lost", text)
        self.server.wait_log(r"postfix/pickup\[\d+\]: \w+: uid=\d+ from=<joe@test\.example>$")

    def test_recipients_come_from_the_header(self):
        text = "To: demo@test.example\nCc: ann@test.example\nBcc: bob@test.example\nSubject: x\n\n.\nafter the dot\n"
        self.assertEqual(self.sendmail("-ti", "-f", "joe@test.example", text=text).returncode, 0)
        for user in ("demo", "ann", "bob"):
            mail = self.server.wait_mail(user)[0].decode()
            self.assertIn("after the dot", mail)
            self.assertNotIn("Bcc", mail)

    def test_without_a_server_the_status_says_try_again(self):
        self.server.stop()
        done = self.sendmail("demo@test.example")
        self.assertEqual(done.returncode, 75)
        self.assertIn("the mail system is down", done.stderr)

    def test_smtp_is_spoken_on_standard_input(self):
        text = ("EHLO me\r\nMAIL FROM:<joe@test.example>\r\nRCPT TO:<demo@test.example>\r\nDATA\r\n"
                "Subject: by pipe\r\n\r\n..x\r\n.\r\nQUIT\r\n")
        done = self.sendmail("-bs", text=text)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"(?s)^220 mx\.test\.example ESMTP Postfix.*250 2\.0\.0 Ok: queued as \w+.*221 2\.0\.0 Bye")
        self.assertIn(b"\n.x", self.server.wait_mail("demo")[0])

    def test_verification_reports_and_delivers_nothing(self):
        self.hop.up()
        done = self.sendmail("-bv", "-f", "demo@test.example", "b@far.example", "never-c@far.example", "ann@test.example",
                             "nosuch@test.example")
        self.assertEqual(done.returncode, 0, done.stderr)
        status = self.server.wait_mail("demo")[0].decode()
        for who, action in (("b@far", "deliverable"), ("never-c@far", "undeliverable"), ("ann@test", "deliverable"),
                            ("nosuch@test", "undeliverable")):
            self.assertRegex(status, rf"Final-Recipient: rfc822; {who}\.example\r?\nAction: {action}\r?\n")
        self.assertEqual(self.hop.mail + self.server.maildir("ann"), [])
        self.wait_empty()

    def test_mistakes_of_the_caller_are_usage_errors(self):
        for args in ([], ["-t"], ["-bz", "x"], ["-N", "often", "x"]):
            done = self.sendmail(*args, text="Subject: x\n\n")
            self.assertEqual(done.returncode, 64, args)
            self.assertIn("sendmail: fatal: ", done.stderr)

    def test_queue_options_do_what_postqueue_does(self):
        self.send("b@far.example")
        self.wait_queue("deferred")
        self.hop.up()
        self.assertEqual(self.sendmail("-q30m").returncode, 0)
        self.assertEqual(self.sendmail("-q").returncode, 0)
        self.wait_empty()


if __name__ == "__main__":
    unittest.main()
