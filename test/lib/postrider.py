# SPDX-License-Identifier: Apache-2.0
"""Postrider instances for tests: each in a folder of its own, on free ports of 127.0.0.1.

    with Postrider(main="smtpd_recipient_limit = 2") as server:
        server.send("a@test.example", ["demo@test.example"], "Subject: hello\\n\\nhi\\n")
        message = server.wait_mail("demo")[0]

The USERS of test.example have a virtual Maildir each; login `demo` has the password `secret`. Started by root the
processes run as an account of every Debian, else as the caller. POSTRIDER_BUILD names the build folder.
"""

import contextlib
import functools
import os
import random
import re
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import certificates

TOP = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("POSTRIDER_BUILD", TOP / "build")).resolve()
IS_ROOT = os.geteuid() == 0
MAIL_OWNER = "news" if IS_ROOT else __import__("pwd").getpwuid(os.geteuid()).pw_name
MAILBOX_OWNER = "games" if IS_ROOT else MAIL_OWNER
# Sanitizers make everything several times slower, and the machine may be busy.
PATIENCE = 60

MAIN_CF = """\
compatibility_level = 3.11
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/maillog
maillog_file_prefixes = /
mail_owner = {mail_owner}
myhostname = mx.test.example
mydomain = test.example
myorigin = test.example
mydestination = local.example
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = test.example
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = texthash:{folder}/etc/mailboxes
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
smtpd_tls_cert_file = {folder}/etc/cert.pem
smtpd_tls_key_file = {folder}/etc/key.pem
smtpd_tls_security_level = may
smtpd_tls_loglevel = 1
smtpd_sasl_type = builtin
smtpd_sasl_builtin_maps = texthash:{folder}/etc/passwords
smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination
"""

MASTER_CF = re.sub(r"^(smtp|submissions?)\b(?=\s+inet)", r"{\1}", (TOP / "packaging/master.cf").read_text(), flags=re.M)

# crypt(3) of "secret".
PASSWORDS = "demo $6$postrider$0pVSUzrYKAwQSh/nr.7iMTX5mG5WtTrc80AkJmx05ES7KMw4AbvnJAm5HtvAySt2fYdHYhCyqB7yrep56qiSa0\n"


USERS = ("demo", "a", "b", "ann", "bob", "joe", "load", "other", "user", "x", "r1", "r2", "r3", "postmaster")


def whole_lines(path: Path) -> str:
    """Of a file that is being written; "" when it is not there yet."""
    text = path.read_text(errors="replace") if path.exists() else ""
    return text[:text.rfind("\n") + 1]


class PortBlock:
    """Ports that this test process has for itself: the kernel gives them to no client, and a lock, which ends with the process, keeps
    other tests away."""

    FIRST, SIZE = 10000, 200

    def __init__(self):
        # Below what the kernel gives away; where that begins very low, anywhere.
        end = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
        end = end if end > self.FIRST + 10 * self.SIZE else 30000
        blocks = list(range(self.FIRST, end - self.SIZE, self.SIZE))
        random.shuffle(blocks)
        self._lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._first = next(first for first in blocks if self._locks(first))
        self._count = 0

    def _locks(self, first: int) -> bool:
        try:
            self._lock.bind(f"\0postrider-test-ports-{first}")
        except OSError:
            return False
        return True

    def next(self) -> int:
        """The port that was given last longest ago."""
        self._count += 1
        return self._first + self._count % self.SIZE


@functools.cache
def own_ports() -> PortBlock:
    return PortBlock()


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody has, and that nobody else will take."""
    found: list[int] = []
    for _ in range(2 * PortBlock.SIZE):
        if len(found) == count:
            return found
        port = own_ports().next()
        if port not in found and is_free(port):
            found.append(port)
    raise AssertionError(f"there are not {count} free ports")


def is_free(port: int) -> bool:
    """Of TCP and UDP. What remains of connections that have ended takes nobody's port, as servers ask for SO_REUSEADDR."""
    with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def accepts(where: int | Path) -> bool:
    """Does somebody listen at this port of 127.0.0.1, or at this local socket?"""
    with socket.socket(socket.AF_INET if isinstance(where, int) else socket.AF_UNIX) as s:
        s.settimeout(PATIENCE)
        return s.connect_ex(("127.0.0.1", where) if isinstance(where, int) else str(where)) == 0


def process_state(pid: int) -> str:
    """R, S, T ... of proc(5); Z, too, when it is gone altogether."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def is_alive(pid: int) -> bool:
    """One that has ended and was not waited for yet is dead."""
    return process_state(pid) not in ("Z", "X")


def read_content(lines) -> bytes:
    """What a client sends between DATA and the dot; a client that goes away before that is an OSError."""
    content = []
    while (line := lines.readline()) != b".\r\n":
        if not line:
            raise ConnectionAbortedError("the client has gone")
        content.append(line)
    return b"".join(content)


def wait_until(condition, what: str, timeout: float = PATIENCE):
    """Returns the first true answer of condition()."""
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s in vain for {what}")
        time.sleep(0.02)


class Postrider:
    """One instance. `main` is added to main.cf, `master` to master.cf; files are {name: text} for its etc/. Unchecked ones
    start with restrictions and tables that cannot work, too."""

    def __init__(self, main: str = "", master: str = "", files: dict | None = None, start: bool = True,
                 checked: bool = True):
        self._temp = tempfile.TemporaryDirectory(prefix="pr-")
        self.folder = Path(self._temp.name)
        self.folder.chmod(0o755)
        self.etc = self.folder / "etc"
        self.log = self.folder / "maillog"
        self.mail = self.folder / "mail"
        self.ports = dict(zip(("smtp", "submission", "submissions"), free_ports(3)))
        self.is_checked = checked
        self._write(main, master, files or {})
        if start:
            try:
                self.start()
            except BaseException:
                self.close()
                raise

    def _write(self, main: str, master: str, files: dict) -> None:
        import pwd
        owner = pwd.getpwnam(MAILBOX_OWNER)
        self.etc.mkdir()
        self.mail.mkdir()
        os.chown(self.mail, owner.pw_uid, owner.pw_gid)
        make_certificate(self.etc, "mx.test.example")
        self.write("passwords", PASSWORDS)
        self.write("mailboxes", "".join(f"{user}@test.example {user}/\n" for user in USERS))
        for name, text in files.items():
            self.write(name, text)
        values = {"folder": self.folder, "mail_owner": MAIL_OWNER, "uid": owner.pw_uid, "gid": owner.pw_gid, **self.ports}
        self.write("main.cf", _fill(MAIN_CF, values) + _fill(main, values) + "\n")
        self.write("master.cf", _fill(MASTER_CF, values) + _fill(master, values) + "\n")

    def write(self, name: str, text: str) -> None:
        (self.etc / name).write_text(text)

    def append(self, name: str, text: str) -> None:
        with open(self.etc / name, "a", encoding="utf-8") as f:
            f.write(text)

    # --- commands ---

    def run(self, name: str, *args: str, **more) -> subprocess.CompletedProcess:
        """A command with -c; its output as text."""
        return subprocess.run([str(BUILD / "bin" / name), "-c", str(self.etc), *args], capture_output=True, text=True,
                              timeout=2 * PATIENCE, **more)

    def start(self) -> "Postrider":
        done = self.run("postfix", "start" if self.is_checked else "quick-start")
        if done.returncode:
            raise AssertionError(f"postfix start failed:\n{done.stdout}{done.stderr}{self.log_text()}")
        return self

    def stop(self) -> subprocess.CompletedProcess:
        return self.run("postfix", "stop")

    def reload(self) -> subprocess.CompletedProcess:
        """Returns when the new processes serve."""
        before = self.log_text().count(": reload -- version")
        done = self.run("postfix", "reload")
        if done.returncode == 0:
            wait_until(lambda: self.log_text().count(": reload -- version") > before, "the end of reload")
        return done

    def close(self) -> None:
        """No process stays, whatever became of the test."""
        try:
            pid = self.master_pid()
            if pid:
                self._end(pid, self.pids())
        finally:
            self._temp.cleanup()

    def _end(self, master: int, roles: list[int]) -> None:
        """As it should be, or else: a test may have changed where `postfix stop` looks."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.run("postfix", "stop")
        if self.master_pid() == master:
            os.kill(master, signal.SIGTERM)
            try:
                wait_until(lambda: not is_alive(master), "the end of master")
            finally:
                if is_alive(master):
                    os.kill(master, signal.SIGKILL)
        wait_until(lambda: not any(is_alive(pid) for pid in roles), "the end of all roles")

    def __enter__(self) -> "Postrider":
        return self

    def __exit__(self, kind, *_) -> None:
        if kind:
            sys.stderr.write("\n--- log of the failed test ---\n" + self.log_text()[-8000:])
        try:
            self.close()
        finally:
            reports = sanitizer_reports()
            if kind:
                sys.stderr.write(reports)
        if reports and not kind:
            raise AssertionError(reports)

    # --- processes ---

    def master_pid(self) -> int:
        """0 when it is gone."""
        try:
            pid = int((self.folder / "queue/pid/master.pid").read_text())
            name = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return 0
        return pid if name.endswith(b"/master") else 0

    def pids(self, role: str = "") -> list[int]:
        """The processes of a role, or of all, oldest first."""
        master = self.master_pid()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                name = (entry / "cmdline").read_bytes().split(b"\0")[0].decode()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if master and int(fields[1]) == master and (not role or name.endswith("/" + role)):
                found.append((int(fields[19]), int(entry.name)))
        return [pid for _, pid in sorted(found)]

    @contextlib.contextmanager
    def only(self, role: str, pid: int):
        """Meanwhile this process does all the work of its role: the others stand still."""
        others = [other for other in self.pids(role) if other != pid]
        try:
            for other in others:
                os.kill(other, signal.SIGSTOP)
            wait_until(lambda: all(process_state(other) in "TZX" for other in others), "the others to stand still")
            yield
        finally:
            for other in others:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(other, signal.SIGCONT)

    def kill(self, role: str) -> int:
        """kill -9 of one process of the role; returns its number."""
        pid = self.pids(role)[0]
        os.kill(pid, signal.SIGKILL)
        return pid

    # --- log ---

    def log_text(self) -> str:
        return whole_lines(self.log)

    def wait_log(self, pattern: str, count: int = 1) -> re.Match:
        """The first match; waits until there are `count`."""
        def look():
            found = list(re.finditer(pattern, self.log_text(), re.M))
            return found[0] if len(found) >= count else None
        return wait_until(look, f"{count} x {pattern!r} in the log")

    # --- mail ---

    def smtp(self, service: str = "smtp") -> smtplib.SMTP:
        """A session on the service, after EHLO; submission has gone through STARTTLS, both submission ports are logged in."""
        port = self.ports[service]
        if service == "submissions":
            session = smtplib.SMTP_SSL("127.0.0.1", port, "client.example", timeout=PATIENCE, context=any_certificate())
        else:
            session = smtplib.SMTP("127.0.0.1", port, "client.example", timeout=PATIENCE)
        session.ehlo()
        if service == "submission":
            session.starttls(context=any_certificate())
            session.ehlo()
        if service != "smtp":
            session.login("demo", "secret")
        return session

    def send(self, sender: str, recipients: list[str], text: str, service: str = "smtp") -> dict:
        with self.smtp(service) as session:
            return session.sendmail(sender, recipients, text)

    def maildir(self, user: str) -> list[bytes]:
        """The messages of user@test.example, oldest first."""
        folder = self.mail / user
        files = [f for part in ("new", "cur") if (folder / part).is_dir() for f in (folder / part).iterdir()]
        return [f.read_bytes() for f in sorted(files, key=lambda f: f.stat().st_mtime_ns)]

    def wait_mail(self, user: str, count: int = 1) -> list[bytes]:
        def look():
            mail = self.maildir(user)
            return mail if len(mail) >= count else None
        return wait_until(look, f"{count} messages for {user}")


def _fill(text: str, values: dict) -> str:
    """Puts {folder}, {smtp} ... into lines of a test, and leaves all other braces alone."""
    for name, value in values.items():
        text = text.replace("{" + name + "}", str(value))
    return text


def any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def make_certificate(folder: Path, name: str, kind: str = "ec") -> None:
    """A fresh self-signed one: cert.pem and key.pem; of kind "rsa" rsa-cert.pem and rsa-key.pem."""
    prefix, key = ("", certificates.EC) if kind == "ec" else ("rsa-", certificates.RSA)
    certificates.sign_itself(folder / f"{prefix}cert.pem", folder / f"{prefix}key.pem", name, key)


def sanitizer_reports() -> str:
    """What ASAN_OPTIONS=log_path=... of `./dev test` left about processes of this test."""
    prefix = os.environ.get("POSTRIDER_SANITIZER_LOG")
    if not prefix:
        return ""
    found = []
    for path in Path(prefix).parent.glob(Path(prefix).name + ".*"):
        found.append(path.read_text(errors="replace"))
        path.unlink()
    return "\n".join(found)
