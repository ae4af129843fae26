# SPDX-License-Identifier: Apache-2.0
"""smtpd_sasl_type = cyrus: the real library with a sasldb of saslpasswd2, and with saslauthd."""

import base64
import contextlib
import os
import re
import signal
import subprocess
import unittest
from pathlib import Path

from cyrus_sasl import Saslauthd, make_sasldb
from postrider import BUILD, PATIENCE, Postrider, any_certificate, wait_until
from scram_client import Scram

MAIN = "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = cyrus\nsmtpd_sasl_path = smtpd\nmynetworks =\n"
IN_MAIN = MAIN + "cyrus_sasl_config_path = {folder}/etc\n"


def plain(user: str, password: str) -> str:
    return base64.b64encode(f"\0{user}\0{password}".encode()).decode()


def cyrus_pids(server: Postrider) -> dict:
    """The processes of Cyrus SASL by parent: {nursery: lookup, worker: nursery ...}."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cmdline").read_bytes().startswith(b"cyrus\0"):
                found[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    lookup = server.pids("lookup")
    nurseries = [pid for pid, parent in found.items() if parent in lookup]
    return {pid: parent for pid, parent in found.items() if parent in lookup or parent in nurseries}


def sockets_of(pid: int) -> set:
    """What it holds beside its input and output."""
    folder = Path(f"/proc/{pid}/fd")
    return {link for entry in folder.iterdir() if int(entry.name) > 2 and (link := os.readlink(entry)).startswith("socket:")}


class SaslDb(unittest.TestCase):
    def server(self, settings: str = "", main: str = IN_MAIN, start: bool = True) -> Postrider:
        server = Postrider(main=main, files={
            "smtpd.conf": "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: @FOLDER@/sasldb\n" + settings}, start=False)
        server.write("smtpd.conf", (server.etc / "smtpd.conf").read_text().replace("@FOLDER@", str(server.etc)))
        make_sasldb(server.etc / "sasldb", {"demo": "secret", "other": "word"}, "mx.test.example")
        return server.start() if start else server

    def test_every_mechanism_of_the_library_works(self):
        with self.server("mech_list: PLAIN LOGIN CRAM-MD5 DIGEST-MD5 SCRAM-SHA-1 SCRAM-SHA-256\n") as server:
            with server.smtp() as session:
                self.assertEqual(set(session.esmtp_features["auth"].split()),
                                 {"PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"})
            for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5"):
                with server.smtp() as session:
                    session.user, session.password = "demo", "secret"
                    method = getattr(session, "auth_" + mechanism.lower().replace("-", "_"))
                    self.assertEqual(session.auth(mechanism, method)[0], 235)
                    session.mail("a@test.example")
                    self.assertEqual(session.rcpt("x@elsewhere.example")[0], 250)
            server.wait_log("sasl_method=CRAM-MD5, sasl_username=demo$")
            for mechanism in ("SCRAM-SHA-1", "SCRAM-SHA-256"):
                for password, code in (("wrong", 535), ("secret", 235)):
                    with server.smtp() as session:
                        self.assertEqual(Scram("demo", password, mechanism).login(session)[0], code, mechanism)

    def test_wrong_passwords_and_unknown_names_are_refused_alike(self):
        with self.server() as server, server.smtp() as session:
            answers = {session.docmd("AUTH", "PLAIN " + plain(*pair)) for pair in (("demo", "wrong"), ("nobody", "secret"))}
            self.assertEqual(answers, {(535, b"5.7.8 Error: authentication failed: authentication failure")})
            self.assertEqual(session.docmd("AUTH", "PLAIN " + plain("demo", "secret"))[0], 235)

    def test_explain_knows_what_is_offered(self):
        with self.server("mech_list: LOGIN CRAM-MD5 SCRAM-SHA-256\n", start=False) as server:
            for arguments in ((), ("--tls",)):
                done = subprocess.run([str(BUILD / "bin/postrider"), "explain", "-c", str(server.etc), "--port", str(server.ports["smtp"]),
                                       "--client", "127.0.0.1", "--from", "a@test.example", "--rcpt", "demo@test.example", *arguments],
                                      capture_output=True, text=True, timeout=PATIENCE)
                offered = re.search(r"^ *AUTH +offered: (.*)$", done.stdout, re.M)
                self.assertEqual(set(offered[1].split()) if offered else done.stdout + done.stderr, {"LOGIN", "CRAM-MD5", "SCRAM-SHA-256"})

    def test_options_take_mechanisms_away(self):
        main = IN_MAIN + "smtpd_sasl_security_options = noanonymous, noplaintext\nsmtpd_sasl_tls_security_options = noanonymous\n"
        with self.server("mech_list: PLAIN LOGIN CRAM-MD5 ANONYMOUS\n", main) as server, server.smtp() as session:
            self.assertEqual(set(session.esmtp_features["auth"].split()), {"CRAM-MD5"})
            session.starttls(context=any_certificate())
            session.ehlo()
            self.assertEqual(set(session.esmtp_features["auth"].split()), {"PLAIN", "LOGIN", "CRAM-MD5"})
            self.assertEqual(session.docmd("AUTH", "ANONYMOUS Zm9v")[0], 535)

    def test_anonymous_logs_in_where_no_option_forbids_it(self):
        main = IN_MAIN + "smtpd_sasl_security_options =\n"
        with self.server("mech_list: ANONYMOUS\n", main) as server, server.smtp() as session:
            self.assertEqual(session.docmd("AUTH", "ANONYMOUS Zm9v")[0], 235)

    def test_the_realm_is_smtpd_sasl_local_domain(self):
        with self.server(main=IN_MAIN + "smtpd_sasl_local_domain = realm.example\n", start=False) as server:
            make_sasldb(server.etc / "sasldb", {"demo": "there"}, "realm.example")
            server.start()
            with server.smtp() as session:
                self.assertEqual(session.docmd("AUTH", "PLAIN " + plain("demo", "secret"))[0], 535)
                self.assertEqual(session.docmd("AUTH", "PLAIN " + plain("demo", "there"))[0], 235)

    def test_the_settings_are_found_in_the_sasl_folder_beside_main_cf(self):
        with self.server("mech_list: CRAM-MD5\n", MAIN, start=False) as server:
            (server.etc / "sasl").mkdir()
            (server.etc / "smtpd.conf").rename(server.etc / "sasl" / "smtpd.conf")
            server.start()
            with server.smtp() as session:
                self.assertEqual(session.esmtp_features["auth"].split(), ["CRAM-MD5"])

    def test_a_dialogue_can_be_given_up_and_leaves_nothing_behind(self):
        with self.server() as server, server.smtp() as session:
            for _ in range(3):
                self.assertEqual(session.docmd("AUTH", "LOGIN")[0], 334)
                self.assertEqual(session.docmd("*"), (501, b"5.7.0 Authentication aborted"))
            self.assertEqual(session.docmd("AUTH", "LOGIN")[0], 334)
            self.assertEqual(session.docmd("no base64!")[0], 535)
            self.assertEqual(session.docmd("AUTH", "PLAIN " + plain("demo", "secret"))[0], 235)

    def test_a_worker_holds_no_channel_but_its_own(self):
        main = IN_MAIN + "smtpd_client_connection_count_limit = 0\n"
        with self.server(main=main) as server, contextlib.ExitStack() as stack:
            sessions = [server.smtp() for _ in range(40)]
            for session in sessions:
                stack.callback(session.close)
                session.putcmd("AUTH", "LOGIN")
            self.assertEqual({session.getreply()[0] for session in sessions}, {334})
            lookup = server.pids("lookup")
            held = [sockets_of(pid) for pid, parent in cyrus_pids(server).items() if parent not in lookup]
            self.assertEqual({len(sockets) for sockets in held}, {1})
            self.assertGreaterEqual(len(held), len(sessions))

    def test_who_holds_dialogues_open_gives_way_to_who_does_not(self):
        main = IN_MAIN + "smtpd_client_connection_count_limit = 0\n"
        with self.server(main=main) as server, contextlib.ExitStack() as stack:
            slow = [server.smtp() for _ in range(103)]
            for session in slow:
                stack.callback(session.close)
                self.assertEqual(session.docmd("AUTH", "LOGIN")[0], 334)
            with server.smtp() as session:
                self.assertEqual(session.docmd("AUTH", "PLAIN " + plain("demo", "secret"))[0], 235)
            demo, secret = base64.b64encode(b"demo").decode(), base64.b64encode(b"secret").decode()
            self.assertEqual(slow[0].docmd(demo)[0], 454)
            self.assertEqual(slow[0].noop()[0], 250)
            self.assertEqual(slow[-1].docmd(demo)[0], 334)
            self.assertEqual(slow[-1].docmd(secret)[0], 235)
            wait_until(lambda: len(cyrus_pids(server)) <= 101, "the end of the workers that gave way")

    def test_who_comes_while_all_workers_are_called_gets_the_first_that_waits_for_its_client(self):
        main = IN_MAIN + "smtpd_client_connection_count_limit = 0\n"
        with self.server(main=main) as server, contextlib.ExitStack() as stack:
            sessions = [server.smtp() for _ in range(130)]
            for session in sessions:
                stack.callback(session.close)
            for session in sessions:
                session.putcmd("AUTH", "LOGIN")
            self.assertEqual({session.getreply()[0] for session in sessions}, {334})

    def test_a_killed_worker_is_a_temporary_failure_for_its_client_alone(self):
        with self.server() as server, server.smtp() as session, server.smtp() as other:
            self.assertEqual(session.docmd("AUTH", "LOGIN")[0], 334)
            processes = cyrus_pids(server)
            workers = [pid for pid, parent in processes.items() if parent in processes]
            for pid in workers:
                os.kill(pid, signal.SIGKILL)
            self.assertEqual(session.docmd(base64.b64encode(b"demo").decode())[0], 454)
            self.assertEqual(other.docmd("AUTH", "PLAIN " + plain("demo", "secret"))[0], 235)
            self.assertEqual(session.docmd("AUTH", "PLAIN " + plain("demo", "secret"))[0], 235)

    def test_a_killed_nursery_is_replaced(self):
        with self.server() as server:
            processes = cyrus_pids(server)
            with server.smtp():
                pass
            for pid in list(cyrus_pids(server)):
                os.kill(pid, signal.SIGKILL)

            def logs_in():
                with server.smtp() as session:
                    return session.docmd("AUTH", "PLAIN " + plain("demo", "secret"))[0] == 235
            wait_until(logs_in, "a login")
            self.assertNotEqual(set(cyrus_pids(server)) & set(processes), set(processes))


class WithSaslauthd(unittest.TestCase):
    def server(self, path) -> Postrider:
        return Postrider(main=IN_MAIN, files={"smtpd.conf": f"pwcheck_method: saslauthd\nmech_list: PLAIN LOGIN\nsaslauthd_path: {path}\n"})

    def test_saslauthd_decides(self):
        with Saslauthd({"demo": "secret"}) as daemon, self.server(daemon.path) as server, server.smtp() as session:
            self.assertEqual(session.docmd("AUTH", "PLAIN " + plain("demo", "wrong"))[0], 535)
            self.assertEqual(session.docmd("AUTH", "PLAIN " + plain("demo", "secret"))[0], 235)
            server.wait_log("SASL PLAIN authentication failed: authentication failure")

    def test_pam_decides_behind_saslauthd(self):
        with Saslauthd({"demo": "secret", "o'neill": "x y"}, has_pam=True) as daemon, self.server(daemon.path) as server, server.smtp() as session:
            for name, password, code in (("demo", "wrong", 535), ("nobody", "secret", 535), ("demo", "secret", 235)):
                self.assertEqual(session.docmd("AUTH", "PLAIN " + plain(name, password))[0], code, (name, password))
            with server.smtp() as other:
                self.assertEqual(other.docmd("AUTH", "PLAIN " + plain("o'neill", "x y"))[0], 235)
            server.wait_log("SASL PLAIN authentication failed: authentication failure", 2)

    def test_without_saslauthd_it_is_a_temporary_failure_until_it_comes(self):
        with Saslauthd({"demo": "secret"}) as daemon, self.server(daemon.path) as server, server.smtp() as session:
            hidden = daemon.path.rename(daemon.path.with_name("hidden"))
            self.assertEqual(session.docmd("AUTH", "PLAIN " + plain("demo", "secret"))[0], 454)
            hidden.rename(daemon.path)
            self.assertEqual(session.docmd("AUTH", "PLAIN " + plain("demo", "secret"))[0], 235)

    def test_a_saslauthd_that_hangs_for_one_client_serves_the_others(self):
        with Saslauthd({"demo": "secret"}) as daemon, self.server(daemon.path) as server, server.smtp() as hung:
            hung.putcmd("AUTH", "PLAIN " + plain("slow", "secret"))
            for _ in range(3):
                with server.smtp() as session:
                    self.assertEqual(session.docmd("AUTH", "PLAIN " + plain("demo", "secret"))[0], 235)
            code, text = hung.getreply()
            self.assertEqual((code, text[:5]), (454, b"4.7.0"))
            self.assertEqual(hung.docmd("AUTH", "PLAIN " + plain("demo", "secret"))[0], 235)
            self.assertEqual(len(server.pids("lookup")), 1)


if __name__ == "__main__":
    unittest.main()
