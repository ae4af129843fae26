# SPDX-License-Identifier: Apache-2.0
"""socketmap tables: a server as postfix-mta-sts-resolver and postfix-tlspol are, asked for TLS policies and by the way in."""

import contextlib
import socketserver
import tempfile
import threading
import unittest
from pathlib import Path

from certificates import Authority
from far_hosts import NextHop
from far_world import TEXT, World
from name_server import NameServer
from postrider import Postrider
from sts_resolver import StsResolver


class SocketMap:
    """Answers from a dictionary of "map key": "OK ..."; what is not there is NOTFOUND."""

    def __init__(self, answers: dict):
        self.answers = answers
        self.asked = []
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                with contextlib.suppress(OSError, ValueError):
                    while True:
                        digits = b""
                        while (byte := self.rfile.read(1)) != b":":
                            digits += byte if byte else b"x"
                        question = self.rfile.read(int(digits)).decode()
                        self.rfile.read(1)
                        outer.asked.append(question)
                        answer = outer.answers.get(question, "NOTFOUND ").encode()
                        self.wfile.write(str(len(answer)).encode() + b":" + answer + b",")

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> "SocketMap":
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._server.server_close()


class Policies(unittest.TestCase):
    """What these servers answer is a policy of level secure with the names of the mail hosts, and for reports where it came from."""

    def check(self, answer: str, more: str = "") -> tuple[str, str]:
        """The outcome and the whole log."""
        with SocketMap({"postfix far.example": answer} if answer else {}) as server:
            main = f"smtp_tls_policy_maps = socketmap:inet:127.0.0.1:{server.port}:postfix\n{more}"
            with World(main, names=("mx.far.example", "other.far.example")) as world:
                world.ours.send("a@source.example", ["one@far.example", "two@far.example"], TEXT)
                line = world.outcome("one")
                self.assertIn("postfix far.example", server.asked)
                return line, world.ours.log_text()

    def test_a_policy_of_mta_sts_resolver_is_obeyed(self):
        line, log = self.check("OK secure match=mx.far.example servername=hostname policy_type=sts policy_domain=far.example policy_ttl=86400 "
                               "{ policy_string = version: STSv1 } { policy_string = mode: enforce } mx_host_pattern=mx.far.example")
        self.assertIn("relay=mx.far.example[127.0.0.2]", line)
        self.assertIn("status=sent", line)
        self.assertIn("Verified TLS connection established to mx.far.example", log)

    def test_only_hosts_that_its_patterns_name_are_used(self):
        policy = "OK secure match=other.far.example servername=hostname policy_type=sts policy_domain=far.example mx_host_pattern=other.far.example"
        self.assertIn("relay=other.far.example[127.0.0.3]", self.check(policy)[0])
        line, _ = self.check(policy, "smtp_tls_enforce_sts_mx_patterns = no\n")
        self.assertIn("relay=mx.far.example[127.0.0.2]", line)

    def test_a_name_that_the_policy_does_not_have_puts_mail_off(self):
        line, _ = self.check("OK secure match=elsewhere.example servername=hostname")
        self.assertIn("dsn=4.7.5, status=deferred (Server certificate not verified)", line)

    def test_no_policy_is_the_level_of_the_parameters(self):
        line, log = self.check("")
        self.assertIn("status=sent", line)
        self.assertIn("Trusted TLS connection established to mx.far.example", log)

    def test_failures_put_mail_off(self):
        for answer in ("TEMP later", "PERM never", "nonsense"):
            line, log = self.check(answer)
            self.assertIn("dsn=4.7.5, status=deferred (client TLS configuration problem)", line)
            self.assertIn(f'"{answer}"' if answer == "nonsense" else f"the server says: {answer}", log)


class RealResolver(unittest.TestCase):
    """The same by postfix-mta-sts-resolver itself, as Debian has it."""

    def test_its_policies_are_obeyed(self):
        def policy(mode: str, host: str) -> str:
            return f"version: STSv1\nmode: {mode}\nmx: {host}\nmax_age: 86400\n"

        policies = {"good.example": policy("enforce", "mx.good.example"), "wild.example": policy("enforce", "*.wild.example"),
                    "other.example": policy("enforce", "elsewhere.invalid"), "testing.example": policy("testing", "elsewhere.invalid"),
                    "off.example": policy("none", "mx.off.example"), "junk.example": "this is no policy"}
        sent = r"tls={}, dsn=2\.0\.0, status=sent"
        outcomes = {"good": sent.format("secure"), "wild": sent.format("secure"),
                    "other": r"tls=!secure:encrypt, dsn=4\.7\.5, status=deferred \(Server certificate not verified\)",
                    **{name: sent.format("may") for name in ("testing", "off", "junk", "none")}}
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sm-")))
            folder.chmod(0o755)
            authority = Authority(folder)
            names = [f"mx.{name}.example" for name in outcomes]
            zone = {f"{name}.example": [("MX", 10, f"mx.{name}.example")] for name in outcomes} | {name: [("A", "127.0.0.2")] for name in names}
            dns = stack.enter_context(NameServer(zone))
            hop = stack.enter_context(NextHop("127.0.0.2", certificate=authority.host(*names)))
            sts = stack.enter_context(StsResolver(folder, policies))
            main = (f"postrider_dns_server = 127.0.0.1@{dns.port}\nsmtp_tcp_port = {hop.port}\nsmtp_tls_CAfile = {authority.file}\n"
                    f"smtp_tls_security_level = may\nsmtp_tls_loglevel = 1\nsmtp_tls_policy_maps = socketmap:unix:{sts.socket}:postfix\n")
            ours = stack.enter_context(Postrider(main=main))
            for name in outcomes:
                ours.send("a@source.example", [f"b@{name}.example"], TEXT)
            for name, outcome in outcomes.items():
                with self.subTest(name=name):
                    self.assertRegex(ours.wait_log(rf"to=<b@{name}.example>, .*").group(0), outcome)


class Elsewhere(unittest.TestCase):
    def test_postmap_asks_it(self):
        with SocketMap({"map key": "OK a value"}) as server:
            spec = f"socketmap:inet:127.0.0.1:{server.port}:map"
            with Postrider(start=False) as ours:
                done = ours.run("postmap", "-q", "key", spec)
                self.assertEqual((done.returncode, done.stdout), (0, "a value\n"), done.stderr)
                self.assertEqual(ours.run("postmap", "-q", "other", spec).returncode, 1)

    def test_senders_are_rewritten_by_it_while_other_sessions_go_on(self):
        with SocketMap({"srs a@source.example": "OK srs@test.example"}) as server:
            with Postrider(main=f"sender_canonical_maps = socketmap:inet:127.0.0.1:{server.port}:srs\n") as ours:
                for i in range(5):
                    ours.send("a@source.example", ["demo@test.example"], TEXT)
                ours.wait_mail("demo", 5)
                ours.wait_log(r"from=<srs@test.example>", 5)

    def test_where_waiting_is_impossible_the_mail_waits_and_the_log_says_why(self):
        main = "transport_maps = socketmap:inet:127.0.0.1:{}:t\n"
        with SocketMap({}) as server, Postrider(main=main.format(server.port), checked=False) as ours:
            ours.send("a@source.example", ["demo@test.example"], TEXT)
            ours.wait_log(r"to=<demo@test.example>.*status=deferred")
            ours.wait_log(r"this process cannot wait for answers")

    def test_where_waiting_is_impossible_a_configuration_is_refused(self):
        table = "socketmap:inet:127.0.0.1:9:t"
        why = f"table {table}: queue manager and local delivery cannot wait for another program, .*name a table in a file"
        for name, value in (("transport_maps", table), ("transport_maps", "unionmap:{inline:{a=b},proxy:" + table + "}"),
                            ("virtual_mailbox_domains", table), ("virtual_alias_maps", table), ("relay_domains", "b.example, " + table),
                            ("alias_maps", table), ("virtual_mailbox_maps", table), ("virtual_uid_maps", table), ("relocated_maps", table)):
            with self.subTest(name=name, value=value), Postrider(main=f"{name} = {value}", start=False) as ours:
                number = (ours.etc / "main.cf").read_text().count("\n")
                told = r"virtual_alias_maps \(as virtual_alias_domains\)" if name == "virtual_alias_maps" else name
                for verb in "check", "start":
                    done = ours.run("postfix", verb)
                    self.assertEqual(done.returncode, 1)
                    self.assertRegex(done.stderr, rf"error: \S+/main\.cf:{number}: {told}: {why}")
                    self.assertEqual(done.stderr.count("error: "), 1, done.stderr)

    def test_where_nobody_has_to_wait_it_is_taken(self):
        table = "socketmap:inet:127.0.0.1:9:t"
        for main in (f"virtual_mailbox_maps = {table}\nvirtual_transport = lmtp:unix:private/x\n", f"recipient_bcc_maps = {table}\n",
                     f"virtual_alias_maps = {table}\nvirtual_alias_domains =\n", f"smtpd_sender_login_maps = {table}\n"):
            with self.subTest(main=main), Postrider(main=main, start=False) as ours:
                done = ours.run("postfix", "check")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertNotIn("cannot wait", done.stderr)


if __name__ == "__main__":
    unittest.main()
