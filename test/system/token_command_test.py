# SPDX-License-Identifier: Apache-2.0
"""smtp_sasl_token_command: access tokens that a program of the operator's fetches."""

import json
import os
import pwd
import time
import unittest
from pathlib import Path

from next_hop import NextHop
from postrider import MAIL_OWNER, Postrider, wait_until

TEXT = "Subject: hello\r\n\r\nbody\r\n"
USER = "demo@far.example"


class Commands(unittest.TestCase):
    def hop(self, *tokens: str) -> NextHop:
        hop = NextHop(more=("AUTH PLAIN XOAUTH2",), tokens=set(tokens))
        self.addCleanup(hop.__exit__)
        return hop

    def server(self, hop: NextHop, body: str, command: str = "{folder}/etc/token", more: str = "") -> Postrider:
        """`body` is what the command does, in Python; RUNS is a folder that it may write in."""
        server = Postrider(start=False, main=(
            f"relayhost = [127.0.0.2]:{hop.port}\nsmtp_tls_security_level = none\nsmtp_sasl_auth_enable = yes\n"
            f"smtp_connection_cache_on_demand = no\nsmtp_sasl_security_options = noanonymous\nsmtp_sasl_token_command = {command}\n"
            f"smtp_sasl_password_maps = inline:{{ {{[127.0.0.2]:{hop.port} = {USER}:{{token_command}}}} }}\n{more}\n"))
        self.addCleanup(server.close)
        self.runs = server.folder / "runs"
        self.runs.mkdir()
        self.runs.chmod(0o777)
        self.write_command(server, body)
        return server.start()

    def write_command(self, server: Postrider, body: str) -> None:
        new = server.etc / "token.new"
        new.write_text(f"#!/usr/bin/env python3\nimport os, sys, time\nRUNS = {str(self.runs)!r}\n"
                       "open(f'{RUNS}/{os.getpid()}.{time.monotonic_ns()}', 'w').close()\n" + body)
        new.chmod(0o755)
        new.rename(server.etc / "token")

    def run_count(self) -> int:
        return len(list(self.runs.glob("*.*")))

    def send(self, server: Postrider) -> None:
        server.send("a@source.example", ["b@far.example"], TEXT)

    def flush_until_sent(self, server: Postrider, count: int) -> None:
        """The log tells of a deferral before the queue knows; a flush may come too early."""
        def is_sent():
            server.run("postqueue", "-f")
            return server.log_text().count("status=sent (250 2.0.0 Ok: kept)") >= count
        wait_until(is_sent, "the delivery")

    def test_a_token_is_made_once_and_kept(self):
        hop = self.hop("ya29.abc")
        server = self.server(hop, "print('ya29.abc')\n")
        for n in range(1, 4):
            self.send(server)
            server.wait_log(r"status=sent \(250 2.0.0 Ok: kept\)", n)
        self.assertEqual((self.run_count(), hop.tried_tokens), (1, ["ya29.abc"] * 3))
        server.wait_log(rf"smtp_sasl_token_command: a new access token for {USER}, good for 300 s or less")
        self.assertNotIn("ya29.abc", server.log_text())

    def test_the_command_gets_its_arguments_and_nothing_else(self):
        server = self.server(self.hop("t1"), "import json\n"
                             "json.dump([sys.argv[1:], os.getresuid(), sorted(os.environ), os.getcwd(), sys.stdin.read(),\n"
                             "           sorted(map(int, os.listdir('/proc/self/fd')))[:-1], os.getsid(0) == os.getpid(),\n"
                             "           [l for l in open('/proc/self/status') if l.startswith('NoNewPrivs')]], open(RUNS + '/seen', 'w'))\n"
                             "print('t1')\n", "{folder}/etc/token -v {two words} $mydomain")
        self.send(server)
        server.wait_log(r"status=sent \(250 2.0.0 Ok: kept\)")
        uid = pwd.getpwnam(MAIL_OWNER).pw_uid
        self.assertEqual(json.loads((self.runs / "seen").read_text()),
                         [["-v", "two words", "test.example", USER], [uid] * 3, ["LC_ALL", "PATH"], "/", "", [0, 1, 2], True,
                          ["NoNewPrivs:\t1\n"]])

    def test_those_who_wait_share_one_command(self):
        hop = self.hop("t1")
        server = self.server(hop, "time.sleep(2)\nprint('t1')\n")
        for _ in range(5):
            self.send(server)
        server.wait_log(r"status=sent \(250 2.0.0 Ok: kept\)", 5)
        self.assertEqual(self.run_count(), 1)

    def test_a_token_that_expires_is_replaced(self):
        hop = self.hop("t1", "t2")
        server = self.server(hop, "first = not os.path.exists(RUNS + '/first')\nopen(RUNS + '/first', 'w').close()\n"
                             "print('{\"access_token\": \"%s\", \"expires_in\": %s}' % (('t1', 2) if first else ('t2', '\"3600\"')))\n")
        self.send(server)
        server.wait_log(r"a new access token for \S+, good for 2 s$")
        server.wait_log(r"status=sent \(250 2.0.0 Ok: kept\)")

        def is_replaced():
            count = len(hop.tried_tokens)
            self.send(server)
            wait_until(lambda: len(hop.tried_tokens) > count, "a login")
            return hop.tried_tokens[-1] == "t2"
        wait_until(is_replaced, "the second token")
        server.wait_log(r"a new access token for \S+, good for 3600 s$")
        self.assertEqual(self.run_count(), 2)

    def test_a_kept_token_that_is_refused_is_replaced_on_the_same_connection(self):
        hop = self.hop("t1")
        server = self.server(hop, "print('t1')\n")
        self.send(server)
        server.wait_log(r"status=sent \(250 2.0.0 Ok: kept\)")
        hop.tokens = {"t2"}
        self.write_command(server, "print('t2')\n")
        # A token that is as good as new is not replaced at once.
        time.sleep(6)
        del hop.heard[:]
        self.send(server)
        server.wait_log(r"status=sent \(250 2.0.0 Ok: kept\)", 2)
        self.assertEqual(hop.tried_tokens, ["t1", "t1", "t2"])
        self.assertEqual([line.split()[0] for _, line in hop.heard if line.strip()][:4], [b"EHLO", b"AUTH", b"AUTH", b"MAIL"])

    def test_tokens_that_are_all_refused_put_the_mail_off(self):
        hop = self.hop()
        server = self.server(hop, "print('t%d' % time.monotonic_ns())\n")
        for n in range(1, 4):
            self.send(server)
            server.wait_log(r"dsn=4.7.[08], status=deferred \(SASL authentication failed; ", n)
        server.wait_log(r"dsn=4.7.8, status=deferred \(SASL authentication failed; server .* said: 535 5.7.8 bad token\)")
        server.wait_log(r"dsn=4.7.0, status=deferred \(SASL authentication failed; there is no access token \(smtp_sasl_token_command\)\)")
        self.assertEqual(len(set(hop.tried_tokens)), len(hop.tried_tokens))
        self.assertEqual(hop.messages, [])
        hop.tokens = {"t9"}
        self.write_command(server, "print('t9')\n")
        self.flush_until_sent(server, 3)

    def test_a_command_that_fails_puts_the_mail_off_and_the_log_says_why(self):
        cases = (
            ("sys.exit('invalid_grant: account disabled')\n", "ended with status 1: invalid_grant: account disabled"),
            ("os.kill(os.getpid(), 9)\n", "died with signal 9"),
            ("print('no network today')\n", 'printed no access token: its first line or "access_token" in JSON would be one'),
            ("print('{\"access_token\": \"x\", \"expires_in\": 0}')\n", "printed a token that has expired"),
            ("print('x' * 100000)\n", "printed more than 32768 bytes"),
        )
        hop = self.hop("t1")
        server = self.server(hop, "")
        for n, (body, words) in enumerate(cases):
            with self.subTest(words):
                self.write_command(server, body)
                self.send(server)

                def is_told():
                    server.run("postqueue", "-f")
                    return f"smtp_sasl_token_command: no access token for {USER}: {server.etc}/token {words} -- its mail waits; " \
                           f"run the command as user {MAIL_OWNER} to see more\n" in server.log_text()
                wait_until(is_told, words)
        server.wait_log(r"dsn=4.7.0, status=deferred \(SASL authentication failed; there is no access token \(smtp_sasl_token_command\)\)")
        self.assertEqual(([], []), (hop.tried_tokens, hop.messages))
        self.write_command(server, "print('t1')\n")
        self.flush_until_sent(server, len(cases))

    def test_a_program_that_is_not_there_is_told(self):
        hop = self.hop("t1")
        server = self.server(hop, "", "/nowhere/token")
        self.send(server)
        server.wait_log(r"smtp_sasl_token_command: no access token for \S+: /nowhere/token cannot be run: No such file or directory -- its")
        self.assertEqual(hop.tried_tokens, [])

    def test_a_command_that_hangs_is_killed_and_holds_nobody_else_up(self):
        hop, other = self.hop("t1"), NextHop()
        self.addCleanup(other.__exit__)
        server = self.server(hop, "import subprocess\nchild = subprocess.Popen(['sleep', '1000'])\n"
                             "open(RUNS + '/child', 'w').write(str(child.pid))\nchild.wait()\n",
                             more=f"transport_maps = inline:{{ {{other.example = smtp:[127.0.0.2]:{other.port}}} }}")
        self.send(server)
        child = wait_until(lambda: (self.runs / "child").exists() and (self.runs / "child").read_text(), "the command")
        server.send("a@source.example", ["b@other.example"], TEXT)
        server.wait_log(r"to=<b@other.example>, .*status=sent")
        self.assertTrue(Path(f"/proc/{child}").exists())
        server.wait_log(r"no access token for \S+: \S+ was killed after 30 s -- its mail waits")
        wait_until(lambda: not is_alive(child), "the end of the command's child")
        server.wait_log(r"to=<b@far.example>, .*dsn=4.7.0, status=deferred \(SASL authentication failed; there is no access token")

    def test_a_stop_ends_the_command(self):
        server = self.server(self.hop("t1"), "open(RUNS + '/pid', 'w').write(str(os.getpid()))\ntime.sleep(1000)\n")
        self.send(server)
        pid = wait_until(lambda: (self.runs / "pid").exists() and (self.runs / "pid").read_text(), "the command")
        self.assertEqual(server.stop().returncode, 0)
        wait_until(lambda: not is_alive(pid), "the end of the command")

    def test_a_reload_takes_another_command(self):
        hop = self.hop("t1", "t2")
        server = self.server(hop, "print(sys.argv[1])\n", "{folder}/etc/token t1")
        self.send(server)
        server.wait_log(r"status=sent \(250 2.0.0 Ok: kept\)")
        server.append("main.cf", f"smtp_sasl_token_command = {server.etc}/token t2\n")
        self.assertEqual(server.reload().returncode, 0)
        self.send(server)
        server.wait_log(r"status=sent \(250 2.0.0 Ok: kept\)", 2)
        self.assertEqual(hop.tried_tokens, ["t1", "t2"])

    def test_settings_that_cannot_work_are_told(self):
        with Postrider(start=False, main="smtp_sasl_auth_enable = yes\nsmtp_sasl_token_command = token -v\n") as server:
            done = server.run("postfix", "start")
            self.assertNotEqual(done.returncode, 0)
            self.assertRegex(done.stdout + done.stderr, r'smtp_sasl_token_command: "token -v" must begin with the full path of a program')
        hop = self.hop("t1")
        server = self.server(hop, "", "")
        self.send(server)
        server.wait_log(rf'smtp_sasl_password_maps: "{USER}:\{{token_command\}}" needs smtp_sasl_token_command')
        server.wait_log(r"status=deferred \(SASL password lookup error\)")


def is_alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


if __name__ == "__main__":
    unittest.main()
