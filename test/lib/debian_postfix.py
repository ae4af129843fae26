# SPDX-License-Identifier: Apache-2.0
"""Debian's Postfix, unpacked and run from a private folder on test ports: a peer and an oracle.

Starting its daemons needs root (Postfix insists); the tools smtp-source, smtp-sink, postconf
and postmap do not. Nothing of the host's mail system is touched.
"""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import debian_packages
from postrider import PATIENCE, accepts, is_alive, wait_until, whole_lines

PACKAGES = ("postfix", "libdb5.3", "libicu72", "libnsl2", "libtirpc3", "libsasl2-2", "libsasl2-modules-db", "libsasl2-modules")
# Accounts every Debian has; Postfix wants a mail owner and a group that nothing else uses.
MAIL_OWNER = "news"
SETGID_GROUP = "uucp"
QUEUE_FOLDERS = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace")


def root() -> Path:
    return debian_packages.unpacked(*PACKAGES)


def environment() -> dict:
    tree = root()
    env = dict(os.environ)
    env["LD_LIBRARY_PATH"] = debian_packages.library_path(tree, "usr/lib/postfix")
    return env


def tool(name: str) -> str:
    """Path of one of its programs; run it with env=environment()."""
    return str(root() / "usr/sbin" / name)


def own_resolver(folder: Path) -> str:
    """The library that makes a program ask the name server of OWN_RESOLVER; for LD_PRELOAD."""
    library = folder / "own_resolver.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-D_GNU_SOURCE", "-o", str(library), str(Path(__file__).parent / "own_resolver.c")], check=True)
    return str(library)


class DebianPostfix:
    """One instance. `main` and `master` are lines added to a minimal main.cf and master.cf; it asks the name server `resolver`
    ("127.0.0.1:5353"), or that of the machine."""

    def __init__(self, main: str = "", master: str = "", folder: str | None = None, resolver: str = ""):
        self._temp = tempfile.TemporaryDirectory(prefix="peer-postfix-", dir=folder)
        self.folder = Path(self._temp.name)
        os.chmod(self.folder, 0o755)
        self.config = self.folder / "etc"
        self.queue = self.folder / "queue"
        self.log = self.folder / "maillog"
        self._process = None
        self._env = environment()
        if resolver:
            self._env |= {"LD_PRELOAD": own_resolver(self.folder), "OWN_RESOLVER": resolver}
        self._write(main, master)

    def _write(self, main: str, master: str) -> None:
        tree = root()
        self.config.mkdir()
        data = self.folder / "data"
        data.mkdir()
        subprocess.run(["chown", MAIL_OWNER, str(data)], check=True)
        lines = f"""\
compatibility_level = 3.6
queue_directory = {self.queue}
data_directory = {data}
command_directory = {tree}/usr/sbin
daemon_directory = {tree}/usr/lib/postfix/sbin
shlib_directory = {tree}/usr/lib/postfix
mail_owner = {MAIL_OWNER}
setgid_group = {SETGID_GROUP}
default_privs = nobody
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = peer.example
mydestination =
alias_maps =
alias_database =
import_environment = MAIL_CONFIG TZ LANG=C LD_LIBRARY_PATH={self._env["LD_LIBRARY_PATH"]} LD_PRELOAD OWN_RESOLVER
maillog_file = {self.log}
maillog_file_prefixes = /
"""
        (self.config / "main.cf").write_text(lines + main + "\n")
        (self.config / "master.cf").write_text(MASTER_CF + master + "\n")
        self.queue.mkdir()
        for name in QUEUE_FOLDERS:
            self._queue_folder(name, MAIL_OWNER, 0o700)
        self._queue_folder("maildrop", f"{MAIL_OWNER}:{SETGID_GROUP}", 0o1730)
        self._queue_folder("public", f"{MAIL_OWNER}:{SETGID_GROUP}", 0o2710)
        self._queue_folder("pid", "root", 0o755)

    def _queue_folder(self, name: str, owner: str, mode: int) -> None:
        path = self.queue / name
        path.mkdir()
        subprocess.run(["chown", owner, str(path)], check=True)
        path.chmod(mode)

    def start(self, port: int | None = None, timeout: float = PATIENCE, preexec=None) -> "DebianPostfix":
        """Starts master; waits until `port` accepts connections. `preexec` runs in the child before master does."""
        master = root() / "usr/lib/postfix/sbin/master"
        self._process = subprocess.Popen([str(master), "-c", str(self.config), "-d"], env=self._env,
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                                         preexec_fn=preexec)
        deadline = time.monotonic() + timeout
        while port is not None and not accepts(port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("Debian's Postfix does not start:\n" + self.log_text())
            time.sleep(0.05)
        return self

    def log_text(self) -> str:
        return whole_lines(self.log)

    def pids(self) -> list[int]:
        """Its processes: all that share master's session."""
        if not self._process:
            return []
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and os.getsid(int(entry.name)) == self._process.pid:
                    found.append(int(entry.name))
            except ProcessLookupError:
                pass
        return found

    def run(self, name: str, *args: str, **more) -> subprocess.CompletedProcess:
        return subprocess.run([tool(name), "-c", str(self.config), *args], env=environment(), capture_output=True,
                              text=True, **more)

    def stop(self) -> None:
        if not self._process:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        wait_until(self._are_gone, "the end of Debian's Postfix")
        self._process = None

    def _are_gone(self) -> bool:
        """What is left ends at once."""
        pids = [pid for pid in self.pids() if is_alive(pid)]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not pids

    def close(self) -> None:
        self.stop()
        self._temp.cleanup()

    def __enter__(self) -> "DebianPostfix":
        return self

    def __exit__(self, *_) -> None:
        self.close()


MASTER_CF = """\
pickup    unix  n       -       n       60      1       pickup
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
verify    unix  -       -       n       -       1       verify
flush     unix  n       -       n       1000?   0       flush
proxymap  unix  -       -       n       -       -       proxymap
proxywrite unix -       -       n       -       1       proxymap
smtp      unix  -       -       n       -       -       smtp
relay     unix  -       -       n       -       -       smtp
showq     unix  n       -       n       -       -       showq
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
discard   unix  -       -       n       -       -       discard
local     unix  -       n       n       -       -       local
virtual   unix  -       n       n       -       -       virtual
lmtp      unix  -       -       n       -       -       lmtp
anvil     unix  -       -       n       -       1       anvil
scache    unix  -       -       n       -       1       scache
postlog   unix-dgram n  -       n       -       1       postlogd
"""
