# SPDX-License-Identifier: Apache-2.0
"""local and virtual: aliases, lists, .forward, commands, files, mailboxes; as root and as an ordinary user."""

import os
import pwd
import re
import shutil
import subprocess
import unittest

from postrider import BUILD, IS_ROOT, Postrider, wait_until

USER = "games" if IS_ROOT else pwd.getpwuid(os.geteuid()).pw_name
OTHER = "news" if IS_ROOT else USER
MESSAGE = "From: a@far.example\nTo: x@local.example\nSubject: hello\n\nFrom the start.\n"
MAIN = """\
myorigin = local.example
recipient_delimiter = +
alias_maps = hash:{folder}/etc/aliases
alias_database = hash:{folder}/etc/aliases
mail_spool_directory = {folder}/boxes
relayhost = [127.0.0.1]:1
default_privs = """ + USER + "\n"


class Local(Postrider):
    """An instance with aliases, and a spool folder that every user may write to."""

    def __init__(self, aliases: str, main: str = "", master: str = ""):
        super().__init__(main=MAIN + main, master=master, start=False)
        self.boxes = self.folder / "boxes"
        self.out = self.folder / "out"
        for folder in (self.boxes, self.out):
            folder.mkdir()
            folder.chmod(0o1777)
        self.write("aliases", aliases.replace("{out}", str(self.out)).replace("{user}", USER).replace("{other}", OTHER))
        made = self.run("postalias", f"hash:{self.etc}/aliases")
        if made.returncode or made.stderr:
            raise AssertionError(made.stderr)
        self.start()

    def deliver(self, local: str) -> str:
        """Sends to local@local.example; the last to= line about it."""
        self.send("a@far.example", [f"{local}@local.example"], MESSAGE)
        name = re.escape(f"<{local}@local.example>")
        line = rf"^.*(?:: to=|, orig_to=){name}.*$"
        self.wait_log(line)
        wait_until(lambda: re.search(r": removed$", self.log_text(), re.M) or "status=deferred" in self.log_text(), "an end")
        return re.findall(line, self.log_text(), re.M)[-1]

    def box(self, user: str) -> str:
        path = self.boxes / user
        return path.read_text() if path.exists() else ""


def make_jail(root) -> None:
    """A root folder with a shell and what it needs, and a tmp."""
    needs = re.findall(r"/\S+", subprocess.run(["ldd", "/bin/sh"], capture_output=True, text=True, check=True).stdout)
    for path in ["/bin/sh", *needs]:
        to = root / path.lstrip("/")
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to)
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)


class Aliases(unittest.TestCase):
    def test_a_user_has_an_mbox_with_the_delivery_in_front(self):
        with Local("x: y\n") as server:
            line = server.deliver(USER + "+ext")
            self.assertIn("relay=local,", line)
            self.assertIn("dsn=2.0.0, status=sent (delivered to mailbox)", line)
            box = server.box(USER)
            self.assertRegex(box, r"\AFrom a@far\.example  \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}\n")
            self.assertIn(f"Return-Path: <a@far.example>\nX-Original-To: {USER}+ext@local.example\n"
                          f"Delivered-To: {USER}+ext@local.example\nReceived: ", box)
            self.assertTrue(box.endswith("\n\n>From the start.\n\n"), box[-60:])
            if IS_ROOT:
                self.assertEqual(pwd.getpwuid((server.boxes / USER).stat().st_uid).pw_name, USER)

    def test_an_alias_goes_on_in_the_same_message(self):
        with Local("Team: {user}\n") as server:
            line = server.deliver("team")
            self.assertIn(f"to=<{USER}@local.example>, orig_to=<team@local.example>, relay=local", line)
            self.assertEqual(server.box(USER).count("Subject: hello"), 1)

    def test_a_list_with_an_owner_is_new_mail_from_the_owner(self):
        with Local("list: {user}\nowner-list: {user}\n") as server:
            server.deliver("list")
            queue_id = server.wait_log(r"orig_to=<list@local\.example>, relay=local, .*status=sent \(forwarded as (\w+)\)$")[1]
            server.wait_log(rf": {queue_id}: removed$")
            server.wait_log(rf": {queue_id}: from=<owner-list@local.example>,")
            self.assertIn("Delivered-To: list@local.example\n", server.box(USER))

    def test_members_of_an_included_file_are_new_mail(self):
        with Local("list: :include:{out}/members\n") as server:
            (server.out / "members").write_text(f"# ours\n{USER},\n {USER}\n")
            server.deliver("list")
            queue_id = server.wait_log(r"orig_to=<list@local\.example>, relay=local, .*status=sent \(forwarded as (\w+)\)$")[1]
            server.wait_log(rf": {queue_id}: removed$")
            self.assertEqual(server.box(USER).count("Subject: hello"), 1)

    def test_a_command_gets_the_message_and_facts_about_it(self):
        with Local("prog: \"|cat > {out}/mail; env > {out}/env\"\n") as server:
            line = server.deliver("prog")
            self.assertIn("status=sent (delivered to command: cat > ", line)
            self.assertIn("\n\nFrom the start.\n", (server.out / "mail").read_text())
            env = (server.out / "env").read_text()
            self.assertIn("SENDER=a@far.example\n", env)
            self.assertIn("RECIPIENT=prog@local.example\n", env)

    def test_the_exit_status_of_a_command_decides(self):
        aliases = "full: \"|echo too much; exit 75\"\nwrong: \"|exit 67\"\nown: \"|echo 5.2.2 no room; exit 1\"\n"
        with Local(aliases) as server:
            self.assertIn("dsn=4.3.0, status=deferred (temporary failure. Command output: too much)", server.deliver("full"))
            self.assertIn("dsn=5.1.1, status=bounced (user unknown)", server.deliver("wrong"))
            self.assertIn("dsn=5.2.2, status=bounced (no room)", server.deliver("own"))

    def test_a_file_is_appended_to(self):
        with Local("archive: {out}/archive\n") as server:
            self.assertIn(f"status=sent (delivered to file: {server.out}/archive)", server.deliver("archive"))
            self.assertIn("Subject: hello\n", (server.out / "archive").read_text())

    def test_aliases_of_each_other_end(self):
        with Local("one: two\ntwo: one\n") as server:
            self.assertIn("status=bounced (unknown user: \"one\")", server.deliver("one"))

    def test_nobody_is_unknown(self):
        with Local("x: y\n") as server:
            self.assertIn("dsn=5.1.1, status=bounced (unknown user: \"no-such-user\")", server.deliver("no-such-user"))

    def test_mail_that_was_here_before_is_a_loop(self):
        with Local("x: y\n") as server:
            server.send("a@far.example", [f"{USER}@local.example"], f"Delivered-To: {USER}@local.example\n" + MESSAGE)
            server.wait_log(rf"dsn=5\.4\.6, status=bounced \(mail forwarding loop for {USER}@local\.example\)")


    def test_a_replaced_table_is_used_without_reload(self):
        with Local("x: y\n") as server:
            self.assertIn("unknown user: \"team\"", server.deliver("team"))
            server.write("aliases", f"team: {USER}\n")
            self.assertEqual(server.run("postalias", f"hash:{server.etc}/aliases").returncode, 0)

            def look():
                server.send("a@far.example", ["team@local.example"], MESSAGE)
                return server.box(USER)
            wait_until(look, "mail by the new table")

    def test_a_probe_says_what_would_happen_and_does_nothing(self):
        with Local(f"prog: \"|touch {{out}}/ran\"\nteam: {USER}, prog\n") as server:
            done = subprocess.run([str(BUILD / "bin/sendmail"), "-bv", "team@local.example"], capture_output=True, text=True, timeout=60,
                                  env=dict(os.environ, MAIL_CONFIG=str(server.etc)))
            self.assertEqual(done.returncode, 0, done.stderr)
            server.wait_log(r"to=<team@local\.example>, .*status=deliverable ")
            self.assertNotIn("To: x@local.example", server.box(USER))
            self.assertFalse((server.out / "ran").exists())


class Rights(unittest.TestCase):
    def test_what_a_user_includes_is_read_as_that_user(self):
        with Local("x: y\n", main="forward_path = {folder}/out/$user.forward\n") as server:
            secret = server.out / "secret"
            secret.write_text("word-of-the-other\n")
            secret.chmod(0o600)
            forward = server.out / f"{USER}.forward"
            forward.write_text(f":include:{secret}\n")
            if IS_ROOT:
                shutil.chown(secret, OTHER)
                shutil.chown(forward, USER)
            line = server.deliver(USER)
            if IS_ROOT:
                self.assertIn("dsn=4.3.0, status=deferred (cannot open include file", line)
                self.assertNotIn("word-of-the-other", server.log_text())
            else:
                self.assertIn("word-of-the-other", server.log_text())

    def test_what_a_user_includes_runs_with_the_rights_of_that_user(self):
        main = "forward_path = {folder}/out/$user.forward\nallow_mail_to_commands = include\n"
        with Local("x: y\n", main=main) as server:
            program = server.out / "program"
            program.write_text(f"\"|id -un > {server.out}/who\"\n")
            forward = server.out / f"{USER}.forward"
            forward.write_text(f":include:{program}\n")
            if IS_ROOT:
                shutil.chown(program, OTHER)
                shutil.chown(forward, USER)
            self.assertIn("status=sent (delivered to command: id -un", server.deliver(USER))
            self.assertEqual((server.out / "who").read_text(), USER + "\n")

    def test_what_an_alias_of_root_includes_runs_with_the_rights_of_its_owner(self):
        with Local("list: :include:{out}/program\n", main="allow_mail_to_commands = include\n") as server:
            program = server.out / "program"
            program.write_text(f"\"|id -un > {server.out}/who\"\n")
            if IS_ROOT:
                shutil.chown(program, OTHER)
            self.assertIn("status=sent (delivered to command: id -un", server.deliver("list"))
            self.assertEqual((server.out / "who").read_text(), OTHER + "\n")

    def test_mail_for_root_runs_nothing_as_root(self):
        with Local("x: y\n", main="mailbox_command = id -un > {folder}/out/who\n") as server:
            server.deliver("root" if IS_ROOT else USER)
            self.assertEqual((server.out / "who").read_text(), USER + "\n")


class Mailboxes(unittest.TestCase):
    def test_mailbox_command_and_its_expansion(self):
        main = "mailbox_command = /bin/sh -c \"cat > {folder}/out/$user-$extension\"\n"
        with Local("x: y\n", main=main) as server:
            server.deliver(USER + "+ext")
            self.assertIn("Subject: hello", (server.out / f"{USER}-ext").read_text())

    def test_mailbox_transport_takes_the_recipient_over(self):
        with Local("team: {user}\n", main="mailbox_transport = virtual\n") as server:
            server.append("mailboxes", f"{USER}@local.example joe/\n")
            server.reload()
            self.assertIn("relay=virtual", server.deliver(USER))
            server.wait_log(rf": \w+: passing <{USER}@local\.example> to transport=virtual$")
            self.assertEqual(len(server.maildir("joe")), 1)

    def test_luser_relay_gets_mail_for_nobody(self):
        with Local("x: y\n", main="luser_relay = {user}+$user\n".replace("{user}", USER)) as server:
            self.assertIn("status=sent (delivered to mailbox)", server.deliver("no-such-user"))
            self.assertEqual(server.box(USER).count("Subject: hello"), 1)

    def test_a_full_mailbox_bounces_and_stays_whole(self):
        with Local("x: y\n", main="message_size_limit = 2000\nmailbox_size_limit = 2000\n") as server:
            server.deliver(USER)
            before = server.box(USER)
            server.send("a@far.example", [f"{USER}@local.example"], MESSAGE + "x" * 900 + "\n")
            server.send("a@far.example", [f"{USER}@local.example"], MESSAGE + "x" * 900 + "\n")
            server.wait_log(r"dsn=5\.2\.2, status=bounced \(cannot update mailbox .*: File too large\)")
            self.assertTrue(server.box(USER).startswith(before))

    def test_a_locked_mailbox_waits(self):
        with Local("x: y\n", main="deliver_lock_attempts = 1\n") as server:
            (server.boxes / f"{USER}.lock").touch()
            self.assertIn("dsn=4.2.0, status=deferred (unable to lock ", server.deliver(USER))
            self.assertEqual(server.box(USER), "")

    def test_mail_of_other_users_needs_root(self):
        with Local("x: y\n") as server:
            want = r"sent \(delivered to mailbox\)" if IS_ROOT else r"deferred \(.*cannot deliver as user id 1: not started by root\)"
            self.assertRegex(server.deliver("daemon"), "status=" + want)


class Pipes(unittest.TestCase):
    MAIN = "transport_maps = inline:{ pipe.example=feed: }\nrelay_domains = pipe.example\n"

    def test_a_program_gets_the_message_and_its_arguments(self):
        master = f"feed unix - n n - - pipe\n  flags=DRhu user={USER} argv=/bin/sh -c {{out=$$0; cat > $$out; echo \"$$@\" >> $$out}}\n" \
                 "    {folder}/out/piped ${sender} ${user} ${extension} ${domain} ${recipient}\n"
        with Local("x: y\n", main=self.MAIN, master=master) as server:
            server.send("a@far.example", ["Bob+Ext@PIPE.example"], MESSAGE)
            server.wait_log(r"postfix/pipe\[\d+\]: \w+: to=<Bob\+Ext@PIPE\.example>, relay=feed, .*dsn=2\.0\.0, "
                            r"status=sent \(delivered via feed service\)$")
            text = (server.out / "piped").read_text()
            self.assertTrue(text.startswith("Return-Path: <a@far.example>\nDelivered-To: Bob+Ext@PIPE.example\nReceived: "), text)
            self.assertTrue(text.endswith("\n\nFrom the start.\na@far.example bob ext pipe.example bob+ext@pipe.example\n"), text)

    def test_its_exit_status_decides(self):
        with Local("x: y\n", main=self.MAIN, master=f"feed unix - n n - - pipe user={USER} argv=/bin/false\n") as server:
            server.send("a@far.example", ["bob@pipe.example"], MESSAGE)
            server.wait_log(r"relay=feed, .*dsn=5\.3\.0, status=bounced \(Command died with status 1: \"/bin/false\"\)$")

    def piped(self, attributes: str, sender: str, recipients: list, message: str = MESSAGE, **more) -> str:
        """What the program read, and its arguments, when mail is piped to it by a service with these attributes."""
        command = "{out=$$0; cat > $$out; echo \"$$@\" >> $$out; pwd >> $$out; env >> $$out}"
        master = f"feed unix - n n - - pipe\n  {attributes} user={USER} argv=/bin/sh -c {command}\n" \
                 "    {folder}/out/piped ${sender} ${original_recipient}\n"
        with Local("x: y\n", main=self.MAIN + more.get("main", ""), master=master) as server:
            server.send(sender, recipients, message)
            server.wait_log(r"relay=feed, .*status=sent \(delivered via feed service\)$")
            return (server.out / "piped").read_bytes().decode()

    def test_lines_are_written_as_the_program_wants_them(self):
        text = self.piped(r"flags=ROB. eol=\r\n null_sender=", "", ["bob@pipe.example"], MESSAGE + ".hidden\nFrom here\n")
        self.assertTrue(text.startswith("Return-Path: <>\r\nX-Original-To: bob@pipe.example\r\nReceived: "), text)
        self.assertIn("\r\n\r\nFrom the start.\r\n..hidden\r\nFrom here\r\n\r\n", text)

    def test_case_null_sender_folder_and_environment(self):
        text = self.piped("flags=FRhu> directory=/", "", ["Bob@PIPE.example"], main="export_environment = FOO=bar\n")
        self.assertRegex(text, r"\AFrom MAILER-DAEMON  .*\nReturn-Path: <MAILER-DAEMON>\n")
        self.assertIn("\n>From the start.\nMAILER-DAEMON bob@pipe.example\n/\n", text)
        self.assertIn("\nFOO=bar\n", text)

    def test_mail_that_was_here_before_is_a_loop(self):
        with Local("x: y\n", main=self.MAIN, master=f"feed unix - n n - - pipe flags=D user={USER} argv=/bin/true\n") as server:
            server.send("a@far.example", ["bob@pipe.example"], "Delivered-To: bob@pipe.example\n" + MESSAGE)
            server.wait_log(r"relay=feed, .*dsn=5\.4\.6, status=bounced \(mail forwarding loop for bob@pipe\.example\)$")

    def test_a_program_has_the_time_limit_of_its_service(self):
        with Local("x: y\n", main=self.MAIN + "feed_time_limit = 1s\n",
                   master=f"feed unix - n n - - pipe user={USER} argv=/bin/sleep 1000\n") as server:
            server.send("a@far.example", ["bob@pipe.example"], MESSAGE)
            server.wait_log(r"relay=feed, .*dsn=4\.3\.0, status=deferred \(Command time limit exceeded: \"/bin/sleep\"\)$")

    def test_what_cannot_be_meant_waits(self):
        wrong = {"flags=Z": "flags= has one that is unknown", "fags=D": "unknown attribute fags="}
        if IS_ROOT:
            wrong["user=root"] = "user= has the rights of root"
        for attribute, text in wrong.items():
            with self.subTest(attribute), Local("x: y\n", main=self.MAIN, master=f"feed unix - n n - - pipe user={USER} {attribute} "
                                                "argv=/bin/true\n") as server:
                server.send("a@far.example", ["bob@pipe.example"], MESSAGE)
                server.wait_log(rf"dsn=4\.3\.5, status=deferred \(mail system configuration error: service feed: {re.escape(text)}\)$")

    def test_more_arguments_than_a_program_can_have_are_an_error_of_the_operator(self):
        master = f"feed unix - n n - - pipe user={USER} argv=/bin/true {'${recipient}' * 2000}\n"
        with Local("x: y\n", main=self.MAIN, master=master) as server:
            server.send("a@far.example", ["b" * 60 + "@pipe.example"], MESSAGE)
            server.wait_log(r"dsn=4\.3\.5, status=deferred \(.*: service feed: its arguments are longer than 131072 bytes: "
                            r"lower feed_destination_recipient_limit\)$")

    def test_chroot_shuts_the_program_in(self):
        # Only what the shell has built in.
        command = "/bin/sh -c {while read -r line; do echo \"$$line\"; done > /tmp/mail; echo /* >> /tmp/mail}"
        master = f"feed unix - n n - - pipe user={USER} chroot={{folder}}/jail argv={command}\n"
        with Local("x: y\n", main=self.MAIN, master=master) as server:
            jail = server.folder / "jail"
            make_jail(jail)
            server.send("a@far.example", ["bob@pipe.example"], MESSAGE)
            if IS_ROOT:
                server.wait_log(r"relay=feed, .*status=sent ")
                self.assertTrue((jail / "tmp/mail").read_text().endswith("From the start.\n/bin /lib /lib64 /tmp\n"))
            else:
                server.wait_log(r"status=deferred \(cannot change root to .*/jail: not started by root\)$")


class Virtual(unittest.TestCase):
    def test_maildir_and_mbox_and_unknown(self):
        with Postrider(files={"mailboxes": "demo@test.example demo/\nbox@test.example box\n@test.example rest/\n"}) as server:
            for name in ("demo+ext", "box", "anyone"):
                server.send("a@far.example", [f"{name}@test.example"], MESSAGE)
            self.assertIn(b"Delivered-To: anyone@test.example\n", server.wait_mail("rest", 2)[-1] + server.maildir("rest")[0])
            wait_until(lambda: (server.mail / "box").exists() and (server.mail / "box").stat().st_size > 0, "the mbox")
            server.wait_log(r"to=<box@test\.example>, relay=virtual, .*dsn=2\.0\.0, status=sent \(delivered to mailbox\)")

    def test_a_uid_below_the_minimum_is_an_error_of_the_operator(self):
        with Postrider(main="virtual_minimum_uid = 100000\n") as server:
            server.send("a@far.example", ["demo@test.example"], MESSAGE)
            server.wait_log(r"dsn=4\.3\.5, status=deferred \(.*below virtual_minimum_uid\)")

    def test_a_uid_that_no_user_can_have_is_an_error_of_the_operator(self):
        with Postrider(main="virtual_uid_maps = static:4294967296\n") as server:
            server.send("a@far.example", ["demo@test.example"], MESSAGE)
            server.wait_log(r"dsn=4\.3\.5, status=deferred \(.*bad id \"4294967296\" in virtual_uid_maps\)")

    def test_error_and_discard_transports(self):
        main = "transport_maps = inline:{ { gone.example = discard:thrown away }, { closed.example = error:5.7.1 no mail here } }\n"
        with Postrider(main=main + "relay_domains = gone.example closed.example\nsmtpd_reject_unlisted_recipient = no\n") as server:
            server.send("a@far.example", ["x@gone.example"], MESSAGE)
            server.wait_log(r"postfix/discard\[\d+\]: \w+: to=<x@gone\.example>, relay=none, .*dsn=2\.0\.0, status=sent \(thrown away\)")


if __name__ == "__main__":
    unittest.main()
