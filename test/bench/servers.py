# SPDX-License-Identifier: Apache-2.0
"""The two servers of a benchmark behind one interface: Postrider at its defaults, Debian's Postfix at its best tuning."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
import debian_postfix  # noqa: E402

# What was found to make Postfix fastest on such a machine; everything else is its default.
POSTFIX_TUNING = """\
in_flow_delay = 0
default_process_limit = 300
max_use = 100000
max_idle = 600
default_destination_concurrency_limit = 10
initial_destination_concurrency = 10
smtp_connection_cache_on_demand = no
smtp_send_xforward_command = no
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_client_event_limit_exceptions = static:all
receive_override_options = no_address_mappings, no_header_body_checks
enable_long_queue_ids = yes
smtpd_recipient_restrictions =
"""


class CpuAccount:
    """CPU seconds of a group of processes: a cpuacct control group where we may make one, else /proc."""

    BASE = Path("/sys/fs/cgroup/cpuacct")

    def __init__(self, name: str):
        self._group = self.BASE / f"postrider-bench-{name}-{os.getpid()}"
        try:
            self._group.mkdir()
        except OSError:
            self._group = None
        self.pids = lambda: []

    def join(self) -> None:
        """For preexec_fn: puts the calling process, and so its children, into the group."""
        if self._group:
            (self._group / "tasks").write_text(str(os.getpid()))

    def seconds(self) -> float:
        if self._group:
            return int((self._group / "cpuacct.usage").read_text()) / 1e9
        ticks = 0
        for pid in self.pids():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            ticks += sum(int(f) for f in fields[11:15])
        return ticks / os.sysconf("SC_CLK_TCK")

    def members(self) -> list[int]:
        if self._group:
            return [int(p) for p in (self._group / "cgroup.procs").read_text().split()]
        return self.pids()

    def close(self) -> None:
        if self._group:
            for _ in range(50):
                try:
                    self._group.rmdir()
                    return
                except OSError:
                    time.sleep(0.1)


def session_pids(leader: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.getsid(int(entry.name)) == leader:
                found.append(int(entry.name))
        except (ProcessLookupError, PermissionError):
            pass
    return found


class Postfix:
    name = "postfix"

    def __init__(self, folder: Path, port: int, main: str, user: str):
        tuned = POSTFIX_TUNING if "untuned" not in main else ""
        self._server = debian_postfix.DebianPostfix(
            main=tuned + main.replace("untuned", ""),
            master=f"127.0.0.1:{port} inet n - n - - smtpd\n", folder=str(folder))
        self.account = CpuAccount("postfix")
        self.port = port

    def start(self) -> None:
        self._server.start(self.port, preexec=self.account.join)
        self.account.pids = self._server.pids

    def queue_listing_command(self) -> tuple[list[str], dict]:
        return [debian_postfix.tool("postqueue"), "-c", str(self._server.config), "-p"], debian_postfix.environment()

    def pids(self) -> list[int]:
        return self.account.members() or self._server.pids()

    def log_text(self) -> str:
        return self._server.log_text()

    def stop(self) -> None:
        self._server.stop()

    def close(self) -> None:
        self._server.close()
        self.account.close()


class Postrider:
    name = "postrider"

    def __init__(self, folder: Path, port: int, main: str, user: str, build: Path = Path("build-release")):
        self.folder = folder / f"postrider-{port}"
        self.port = port
        self.config = self.folder / "etc"
        self.log = self.folder / "maillog"
        self._bin = build.resolve() / "bin"
        self.account = CpuAccount("postrider")
        self.config.mkdir(parents=True)
        os.chmod(self.folder, 0o755)
        owner = f"mail_owner = {user}\n" if os.geteuid() == 0 else ""
        (self.config / "main.cf").write_text(f"""\
compatibility_level = 3.6
queue_directory = {self.folder}/queue
data_directory = {self.folder}/data
{owner}inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = bench.example
mydestination =
alias_maps =
maillog_file = {self.log}
maillog_file_prefixes = /
smtpd_client_connection_count_limit = 0
{main.replace("untuned", "")}
""")
        (self.config / "master.cf").write_text(MASTER_CF.format(port=port))

    def _postfix(self, command: str) -> None:
        done = subprocess.run([str(self._bin / "postfix"), "-c", str(self.config), command], capture_output=True, text=True,
                              preexec_fn=self.account.join, timeout=60)
        if done.returncode:
            raise RuntimeError(f"postfix {command}: {done.stdout}{done.stderr}{self.log_text()[-2000:]}")

    def start(self) -> None:
        self._postfix("start")
        pid = int((self.folder / "queue/pid/master.pid").read_text())
        self.account.pids = lambda: session_pids(pid)

    def queue_listing_command(self) -> tuple[list[str], dict]:
        return [str(self._bin / "postqueue"), "-c", str(self.config), "-p"], dict(os.environ)

    def pids(self) -> list[int]:
        return self.account.members()

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stop(self) -> None:
        self._postfix("stop")

    def close(self) -> None:
        try:
            self.stop()
        except RuntimeError:
            pass
        self.account.close()
        shutil.rmtree(self.folder, ignore_errors=True)


MASTER_CF = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup    unix  n       -       n       60      1       pickup
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
smtp      unix  -       -       n       -       -       smtp
relay     unix  -       -       n       -       -       smtp
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
discard   unix  -       -       n       -       -       discard
local     unix  -       n       n       -       -       local
virtual   unix  -       n       n       -       -       virtual
"""
