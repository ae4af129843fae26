# SPDX-License-Identifier: Apache-2.0
"""far.example with two mail hosts, a name server that knows them, and a Postrider that sends there.

    with World("smtp_mta_sts = yes\\n", web_names=("mta-sts.far.example",)) as world:
        world.send()
        self.assertIn("status=sent", world.outcome())
"""

import contextlib
import tempfile
from pathlib import Path

from certificates import Authority
from far_hosts import NextHop, WebServer
from name_server import NameServer
from postrider import Postrider

TEXT = "Subject: hello\r\n\r\nbody\r\n"
ZONE = {"far.example": [("MX", 10, "mx.far.example"), ("MX", 20, "other.far.example")],
        "mx.far.example": [("A", "127.0.0.2")], "other.far.example": [("A", "127.0.0.3")]}


class World:
    """`best` and `second` have the same port and one certificate for `names`; without any they have no STARTTLS. `web` is there when
    it has names, on 127.0.0.1."""

    def __init__(self, main: str = "", names: tuple = ("mx.far.example",), web_names: tuple = (), start: bool = True):
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="far-")))
            folder.chmod(0o755)
            self.authority = authority = Authority(folder)
            certificate = authority.host(*names) if names else None
            self.best = stack.enter_context(NextHop("127.0.0.2", certificate=certificate))
            self.second = stack.enter_context(NextHop("127.0.0.3", self.best.port, certificate))
            self.dns = stack.enter_context(NameServer(ZONE, ttl=0))
            common = (f"postrider_dns_server = 127.0.0.1@{self.dns.port}\nsmtp_tcp_port = {self.best.port}\n"
                      f"smtp_tls_CAfile = {authority.file}\nsmtp_tls_security_level = may\nsmtp_tls_loglevel = 1\n")
            if web_names:
                self.web = stack.enter_context(WebServer(authority.host(*web_names)))
                common += f"postrider_mta_sts_port = {self.web.port}\npostrider_mta_sts_CAfile = {authority.file}\n"
            self.ours = stack.enter_context(Postrider(main=common + main, start=start))
            self._stack = stack.pop_all()

    def __enter__(self):
        return self

    def __exit__(self, *what) -> None:
        self._stack.__exit__(*what)

    def send(self, name: str = "one") -> None:
        self.ours.send("a@source.example", [f"{name}@far.example"], TEXT)

    def outcome(self, name: str = "one") -> str:
        """The line of the log."""
        return self.ours.wait_log(rf"to=<{name}@far.example>, .*").group(0)
