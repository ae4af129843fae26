# SPDX-License-Identifier: Apache-2.0
"""Start, stop, reload and what happens when processes die."""

import fcntl
import os
import re
import select
import signal
import smtplib
import subprocess
import unittest

from postrider import BUILD, IS_ROOT, PATIENCE, Postrider, is_alive, wait_until

HELLO = "From: a@example.org\nTo: demo@test.example\nSubject: hello\n\nIt works.\n"
ROLES = ("smtpd", "qmgr", "smtp", "local", "lookup")


class Start(unittest.TestCase):
    def test_start_returns_when_the_server_answers(self):
        with Postrider() as server:
            with server.smtp() as session:
                self.assertEqual(session.noop()[0], 250)

    def test_status_tells_by_its_exit_status(self):
        with Postrider(start=False) as server:
            done = server.run("postfix", "status")
            self.assertEqual(done.returncode, 1)
            self.assertIn("the Postfix mail system is not running", done.stderr)
            server.start()
            done = server.run("postfix", "status")
            self.assertEqual(done.returncode, 0)
            self.assertIn(f"the Postfix mail system is running: PID: {server.master_pid()}", done.stderr)

    def test_a_lock_that_somebody_else_holds_hinders_nobody(self):
        with Postrider() as server:
            server.stop()
            with open(server.folder / "queue/pid/master.pid") as old:
                fcntl.flock(old, fcntl.LOCK_SH)
                fcntl.lockf(old, fcntl.LOCK_SH)
                server.start()
                with open(server.folder / "queue/pid/master.pid") as new:
                    fcntl.flock(new, fcntl.LOCK_SH)
                    self.assertRaises(BlockingIOError, fcntl.lockf, new, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    self.assertEqual(server.run("postfix", "status").returncode, 0)
            self.assertEqual((server.folder / "queue/pid/master.lock").stat().st_mode & 0o777, 0o600)

    def test_the_queue_directory_may_be_a_link(self):
        with Postrider(start=False) as server:
            (server.folder / "queue").mkdir(exist_ok=True)
            (server.folder / "queue").rename(server.folder / "elsewhere")
            (server.folder / "queue").symlink_to("elsewhere")
            server.start()
            self.assertTrue((server.folder / "elsewhere/postrider").is_dir())

    def test_a_second_start_is_refused(self):
        with Postrider() as server:
            done = server.run("postfix", "start")
            self.assertEqual(done.returncode, 1)
            self.assertIn("fatal: the Postfix mail system is already running", done.stderr)

    def test_a_port_that_is_taken_is_named_with_its_line(self):
        with Postrider() as first, Postrider(start=False) as second:
            text = (second.etc / "master.cf").read_text()
            second.write("master.cf", text.replace(str(second.ports["smtp"]), str(first.ports["smtp"])))
            done = second.run("postfix", "start")
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, rf"master\.cf:\d+: service {first.ports['smtp']}: listen on 127\.0\.0\.1 .*in use")

    def test_every_problem_of_a_configuration_is_shown_at_once(self):
        with Postrider(start=False) as server:
            lines = (server.etc / "main.cf").read_text().count("\n")
            server.append("main.cf", "smtpd_timeout = soon\nsoft_bounce = maybe\n")
            for verb in ("check", "start"):
                done = server.run("postfix", verb)
                self.assertEqual(done.returncode, 1, verb)
                self.assertRegex(done.stderr, rf"error: \S+/main\.cf:{lines + 1}: smtpd_timeout = soon")
                self.assertRegex(done.stderr, rf"error: \S+/main\.cf:{lines + 2}: soft_bounce = maybe")
            self.assertEqual(server.master_pid(), 0)

    def test_problems_are_shown_once_at_the_start(self):
        with Postrider(main="smtpd_require_helo = yes\n", start=False) as server:
            done = server.run("postfix", "start")
            self.assertEqual(done.stderr.count("unknown parameter smtpd_require_helo"), 1, done.stderr)

    def test_problems_are_told_once_at_a_reload(self):
        with Postrider() as server:
            server.append("main.cf", "smtpd_require_helo = yes\n")
            for turn in range(2):
                done = server.reload()
                self.assertEqual(done.stderr.count("unknown parameter smtpd_require_helo"), 1, done.stderr)
                self.assertEqual(server.log_text().count("unknown parameter smtpd_require_helo"), turn + 1)
            os.kill(server.master_pid(), signal.SIGHUP)
            server.wait_log("reload -- version", 3)
            self.assertEqual(server.log_text().count("unknown parameter smtpd_require_helo"), 3)

    def test_a_domain_in_two_lists_is_told_at_the_start_and_when_it_gets_mail(self):
        with Postrider(main="relay_domains = test.example\nvirtual_alias_domains = local.example\nvirtual_alias_maps =\n",
                       start=False) as server:
            done = server.run("postfix", "start")
            for domain, lists in (("local.example", "mydestination and virtual_alias_domains"),
                                  ("test.example", "virtual_mailbox_domains and relay_domains")):
                self.assertRegex(done.stderr, rf"main\.cf:\d+: \w+: do not list domain {domain} in BOTH {lists}\n")
            for _ in range(2):
                server.send("a@sender.example", ["demo@test.example"], HELLO)
            server.wait_mail("demo", 2)
            warning = "postfix/trivial-rewrite[%d]: warning: do not list domain test.example in BOTH virtual_mailbox_domains and relay_domains\n"
            self.assertEqual(server.log_text().count(warning % server.pids("qmgr")[0]), 1, server.log_text())

    def test_what_cannot_work_is_refused_with_its_line(self):
        for setting, complaint in (
                ("smtpd_recipient_restrictions = permit_everybody", 'unknown smtpd restriction: "permit_everybody"'),
                ("virtual_alias_maps = nosuch:table", "virtual_alias_maps: table nosuch:table: unknown table type"),
                ("smtpd_tls_key_file = /nonexistent/key", "smtpd_tls_key_file: cannot open /nonexistent/key"),
                ("smtpd_relay_restrictions = permit", "strangers could send mail to anyone through this server"),
                ("smtpd_sasl_type = nosuch", "smtpd_sasl_type = nosuch: there are")):
            with self.subTest(setting), Postrider(main=setting, start=False) as server:
                line = (server.etc / "main.cf").read_text().count("\n")
                for verb in ("check", "start"):
                    done = server.run("postfix", verb)
                    self.assertEqual(done.returncode, 1)
                    self.assertRegex(done.stderr, rf"error: \S+/main\.cf:{line}: .*{re.escape(complaint)}")

    def test_a_missing_table_is_a_warning_with_the_command_that_makes_it(self):
        with Postrider(main="transport_maps = hash:{folder}/etc/transport", start=False) as server:
            done = server.run("postfix", "check")
            self.assertEqual(done.returncode, 0)
            self.assertRegex(done.stderr, rf"warning: \S+/main\.cf:\d+: .*run: postmap hash:{server.etc}/transport")

    def test_a_script_that_starts_the_server_is_not_held_by_a_pipe_it_left_open(self):
        with Postrider(start=False) as server:
            ours, theirs = os.pipe()
            with open(ours, "rb") as pipe:
                done = server.run("postfix", "start", pass_fds=(theirs,))
                os.close(theirs)
                server.is_running = done.returncode == 0
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(select.select([pipe], [], [], PATIENCE)[0], [pipe])
                self.assertEqual(pipe.read(), b"")

    def test_stop_ends_all_processes(self):
        with Postrider() as server:
            pids = [pid for role in ROLES for pid in server.pids(role)]
            self.assertGreaterEqual(len(pids), len(ROLES))
            self.assertEqual(server.stop().returncode, 0)
            self.assertEqual([pid for pid in pids if is_alive(pid)], [])
            done = server.run("postfix", "stop")
            self.assertEqual(done.returncode, 1)
            self.assertIn("fatal: the Postfix mail system is not running", done.stderr)


class Foreground(unittest.TestCase):
    def test_start_fg_logs_to_standard_output(self):
        with Postrider(main="maillog_file = /dev/stdout", start=False) as server:
            process = subprocess.Popen([BUILD / "bin/postfix", "-c", server.etc, "start-fg"], stdout=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL, text=True)
            try:
                line = process.stdout.readline()
                while "daemon started" not in line and line:
                    line = process.stdout.readline()
                self.assertRegex(line, r"postfix/master\[\d+\]: daemon started -- version .*, configuration ")
                with server.smtp() as session:
                    session.noop()
                process.send_signal(signal.SIGTERM)
                rest = process.stdout.read()
                self.assertIn(": connect from localhost[127.0.0.1]", rest)
                self.assertIn("terminating on signal 15", rest)
                self.assertEqual(process.wait(PATIENCE), 0)
            finally:
                process.kill()
                process.wait()
                process.stdout.close()

    def test_standard_output_as_log_needs_the_foreground(self):
        with Postrider(main="maillog_file = /dev/stdout", start=False) as server:
            done = server.run("postfix", "start")
            self.assertEqual(done.returncode, 1)
            self.assertIn("start-fg", done.stderr)


class Reload(unittest.TestCase):
    def test_a_session_outlives_a_reload_in_the_middle_of_its_message(self):
        with Postrider() as server:
            session = server.smtp()
            session.mail("a@example.org")
            session.rcpt("demo@test.example")
            session.putcmd("data")
            self.assertEqual(session.getreply()[0], 354)
            session.send("Subject: first half\r\n\r\n")
            server.reload()
            session.send("second half\r\n.\r\n")
            self.assertEqual(session.getreply()[0], 250)
            session.close()
            self.assertIn(b"second half", server.wait_mail("demo")[0])

    def test_a_session_outlives_a_stop_in_the_middle_of_its_message(self):
        with Postrider() as server:
            session = server.smtp()
            session.mail("a@example.org")
            session.rcpt("demo@test.example")
            session.putcmd("data")
            self.assertEqual(session.getreply()[0], 354)
            os.kill(server.master_pid(), signal.SIGTERM)
            server.wait_log("terminating on signal 15")
            session.send("Subject: late\r\n\r\nbut in time\r\n.\r\n")
            self.assertEqual(session.getreply()[0], 250)
            session.close()
            wait_until(lambda: not server.master_pid(), "the end of the server")
            server.start()
            self.assertIn(b"but in time", server.wait_mail("demo")[0])

    def test_new_processes_have_the_new_configuration(self):
        with Postrider() as server:
            old = server.pids("smtpd")
            qmgr = server.pids("qmgr")
            server.append("main.cf", "smtpd_banner = changed.example ESMTP\n")
            self.assertEqual(server.reload().returncode, 0)
            with smtplib.SMTP() as session:
                self.assertEqual(session.connect("127.0.0.1", server.ports["smtp"]), (220, b"changed.example ESMTP"))
            wait_until(lambda: not set(old) & set(server.pids("smtpd")), "the old processes to end")
            self.assertEqual(server.pids("qmgr"), qmgr)
            server.send("a@example.org", ["demo@test.example"], HELLO)
            server.wait_mail("demo")

    def test_a_broken_configuration_changes_nothing(self):
        with Postrider() as server:
            old = server.pids("smtpd")
            server.append("main.cf", "smtpd_banner = changed.example ESMTP\nsmtpd_timeout = soon\n")
            done = server.reload()
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, r"error: \S+/main\.cf:\d+: smtpd_timeout = soon")
            os.kill(server.master_pid(), signal.SIGHUP)
            server.wait_log("error: reload refused, the running configuration stays")
            self.assertEqual(server.pids("smtpd"), old)
            with smtplib.SMTP() as session:
                self.assertIn(b"mx.test.example", session.connect("127.0.0.1", server.ports["smtp"])[1])

    def test_a_new_service_listens_and_a_removed_one_does_not(self):
        with Postrider() as server:
            text = (server.etc / "master.cf").read_text()
            server.write("master.cf", text.replace(f"{server.ports['submission']} inet", f"{server.ports['submission']} unix"))
            self.assertEqual(server.reload().returncode, 0)

            def is_refused():
                try:
                    smtplib.SMTP("127.0.0.1", server.ports["submission"], timeout=PATIENCE).close()
                except ConnectionRefusedError:
                    return True
                except smtplib.SMTPServerDisconnected:
                    pass  # it waited in the backlog of the socket that was just closed
                return False
            wait_until(is_refused, "the port to be closed")

    def test_the_log_moves_to_another_file_and_gets_another_name(self):
        with Postrider() as server:
            server.append("main.cf", f"maillog_file = {server.folder}/other\nsyslog_name = mail-in\n")
            self.assertEqual(server.run("postfix", "reload").returncode, 0)
            other = server.folder / "other"
            wait_until(lambda: other.exists() and "mail-in/master[" in other.read_text(), "the line in the other file")
            self.assertRegex(other.read_text(), r"mail-in/master\[\d+\]: reload -- version")
            server.send("a@example.org", ["demo@test.example"], HELLO)
            wait_until(lambda: re.search(r"mail-in/qmgr\[\d+\]: \w+: removed", other.read_text()), "the story of a message there")

    def test_the_queue_directory_cannot_move(self):
        with Postrider() as server:
            server.append("main.cf", f"queue_directory = {server.folder}/other\n")
            os.kill(server.master_pid(), signal.SIGHUP)
            server.wait_log("error: reload refused, .*queue_directory has changed")

    def test_the_log_file_is_opened_again(self):
        with Postrider() as server:
            moved = server.log.rename(server.folder / "maillog.1")
            os.kill(server.master_pid(), signal.SIGHUP)
            server.wait_log("reload -- version")
            with server.smtp() as session:
                session.noop()
            server.wait_log("disconnect from localhost")
            self.assertIn("daemon started", moved.read_text())

    def test_logrotate_starts_a_new_file_and_compresses_the_old_one(self):
        with Postrider() as server:
            done = server.run("postfix", "logrotate")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(len(list(server.folder.glob("maillog.*.gz"))), 1)
            with server.smtp() as session:
                session.noop()
            server.wait_log("connect from localhost")


class Tables(unittest.TestCase):
    def send(self, server: Postrider, recipient: str) -> None:
        try:
            server.send("", [recipient], HELLO)
        except smtplib.SMTPException:
            pass # the process is being replaced

    def check_second(self, server: Postrider, recipient: str, user: str) -> None:
        """Mail for the recipient soon reaches another mailbox than before; until then it may reach the old one."""
        def arrives():
            self.send(server, recipient)
            return server.maildir(user)
        wait_until(arrives, f"mail for {user}")

    def test_a_changed_transport_table_is_used_without_a_reload(self):
        with Postrider(main="transport_maps = texthash:{folder}/etc/transport\n", files={"transport": ""}) as server:
            server.send("a@example.org", ["demo@test.example"], HELLO)
            server.wait_mail("demo")
            server.write("transport.new", "demo@test.example error:5.1.6 gone\n")
            (server.etc / "transport.new").rename(server.etc / "transport")

            def is_refused():
                self.send(server, "demo@test.example")
                return re.search(r"status=bounced \(gone\)|550 5\.1\.6", server.log_text())
            wait_until(is_refused, "a bounce")

    def test_a_changed_alias_table_is_used_without_a_reload(self):
        with Postrider(main="alias_maps = texthash:{folder}/etc/aliases\n", files={"aliases": "joe demo@test.example\n"}) as server:
            server.send("a@example.org", ["joe@local.example"], HELLO)
            server.wait_mail("demo")
            server.write("aliases.new", "joe other@test.example\n")
            (server.etc / "aliases.new").rename(server.etc / "aliases")
            self.check_second(server, "joe@local.example", "other")


class Replacement(unittest.TestCase):
    def check_killed(self, role: str) -> None:
        with Postrider() as server:
            count = len(server.pids(role))
            killed = server.kill(role)
            server.wait_log(rf"master\[\d+\]: warning: process \S+/{role} pid {killed} killed by signal 9")
            wait_until(lambda: len(server.pids(role)) == count and killed not in server.pids(role), f"another {role}")

            def is_sent():
                try:
                    server.send("a@example.org", ["demo@test.example"], HELLO)
                except (smtplib.SMTPException, OSError):
                    return False
                return True
            wait_until(is_sent, "a message to be accepted")
            server.wait_mail("demo")

    def test_a_dead_smtpd_is_replaced(self):
        self.check_killed("smtpd")

    def test_a_dead_qmgr_is_replaced(self):
        self.check_killed("qmgr")

    def test_a_dead_smtp_is_replaced(self):
        self.check_killed("smtp")

    def test_a_dead_local_is_replaced(self):
        self.check_killed("local")

    def test_a_dead_lookup_is_replaced(self):
        self.check_killed("lookup")

    def test_without_master_all_processes_end(self):
        with Postrider() as server:
            pids = [pid for role in ROLES for pid in server.pids(role)]
            os.kill(server.master_pid(), signal.SIGKILL)
            wait_until(lambda: not any(is_alive(pid) for pid in pids), "the roles to end")
            server.start()
            server.send("a@example.org", ["demo@test.example"], HELLO)
            server.wait_mail("demo")


class Commands(unittest.TestCase):
    def test_postlog_writes_into_the_mail_log(self):
        with Postrider(start=False) as server:
            server.log.touch()
            self.assertEqual(server.run("postlog", "-p", "warn", "-t", "script", "disk", "nearly full").returncode, 0)
            self.assertRegex(server.log_text(), r" script\[\d+\]: warning: disk nearly full\n")

    def test_postlog_reads_standard_input(self):
        with Postrider(start=False) as server:
            server.log.touch()
            server.run("postlog", input="one\ntwo\n")
            self.assertEqual(re.findall(r"postfix/postlog\[\d+\]: (\w+)", server.log_text()), ["one", "two"])

    def test_a_table_of_passwords_stays_closed_when_it_changes(self):
        with Postrider(files={"secrets": "[host.example] user:one\n"}, start=False) as server:
            source, table = server.etc / "secrets", server.etc / "secrets.lmdb"
            source.chmod(0o600)
            for args, text in ((), ""), (("-i",), "[other.example] user:two\n"), (("-d", "[host.example]"), ""):
                done = server.run("postmap", *args, f"hash:{source}", input=text)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(table.stat().st_mode & 0o777, 0o600, args)

    def test_a_table_is_made_with_the_rights_of_its_owner(self):
        with Postrider(start=False) as server:
            folder, owner = server.folder / "theirs", server.mail.stat()
            source, table = folder / "list", folder / "list.lmdb"
            folder.mkdir()
            source.write_text("key value\n")
            for path in folder, source:
                os.chown(path, owner.st_uid, owner.st_gid)
            for args in (), ("-d", "key"), ():
                self.assertEqual(server.run("postmap", *args, f"hash:{source}").returncode, 0)
                self.assertEqual(table.stat().st_uid, owner.st_uid)
            if IS_ROOT:
                os.chown(folder, 0, 0)
                done = server.run("postmap", f"hash:{source}")
                self.assertEqual(done.returncode, 1)
                self.assertIn("rights of the file's owner; with -o it is done as root", done.stderr)
            self.assertEqual(server.run("postmap", "-o", f"hash:{source}").returncode, 0)
            self.assertEqual(table.stat().st_uid, os.geteuid())

    def test_commands_tell_their_usage(self):
        listed = subprocess.run([BUILD / "bin/postrider", "help"], capture_output=True, text=True, check=True).stdout
        names = re.findall(r"(?m)^  (\w+) ", listed)
        self.assertGreater(len(names), 10)
        for name in names:
            done = subprocess.run([BUILD / "bin/postrider", name, "--help"], capture_output=True, text=True, check=True)
            self.assertRegex(done.stdout, rf"\Ausage: (postrider )?{name}\b")
            self.assertEqual(done.stderr, "")


if __name__ == "__main__":
    unittest.main()
