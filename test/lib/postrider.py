# SPDX-License-Identifier: Apache-2.0
"""Postrider instances for tests: each in a folder of its own, on free ports of 127.0.0.1.

    with Postrider(main="smtpd_recipient_limit = 2") as server:
        server.send("a@test.example", ["demo@test.example"], "Subject: hello\\n\\nhi\\n")
        message = server.wait_mail("demo")[0]

The USERS of test.example have a virtual Maildir each; login `demo` has the password `secret`. Started by root the
processes run as an account of every Debian, else as the caller. POSTRIDER_BUILD names the build folder.
"""

import os
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


def free_ports(count: int) -> list[int]:
    """Ports that nobody has now. All are held until all are found, so they differ."""
    holders = [socket.socket() for _ in range(count)]
    try:
        for s in holders:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in holders]
    finally:
        for s in holders:
            s.close()


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
        self.is_running = False
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
        self.is_running = True
        return self

    def stop(self) -> subprocess.CompletedProcess:
        self.is_running = False
        return self.run("postfix", "stop")

    def reload(self) -> subprocess.CompletedProcess:
        """Returns when the new processes serve."""
        before = self.log_text().count(": reload -- version")
        done = self.run("postfix", "reload")
        if done.returncode == 0:
            wait_until(lambda: self.log_text().count(": reload -- version") > before, "the end of reload")
        return done

    def close(self) -> None:
        pid = self.master_pid() if self.is_running else 0
        if pid:
            self.run("postfix", "stop")
            self._end(pid)
        self._temp.cleanup()

    def _end(self, pid: int) -> None:
        """A test may have changed where `postfix stop` looks."""
        if self.master_pid() == pid:
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the end of master")

    def __enter__(self) -> "Postrider":
        return self

    def __exit__(self, kind, *_) -> None:
        if kind:
            sys.stderr.write("\n--- log of the failed test ---\n" + self.log_text()[-8000:])
        reports = sanitizer_reports()
        self.close()
        if reports and not kind:
            raise AssertionError(reports)

    # --- processes ---

    def master_pid(self) -> int:
        """0 when it is gone."""
        try:
            pid = int((self.folder / "queue/pid/master.pid").read_text())
        except (FileNotFoundError, ValueError):
            return 0
        return pid if Path(f"/proc/{pid}").exists() else 0

    def pids(self, role: str) -> list[int]:
        """The processes of a role, oldest first."""
        master = self.master_pid()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                name = (entry / "cmdline").read_bytes().split(b"\0")[0].decode()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == master and name.endswith("/" + role):
                found.append(int(entry.name))
        return sorted(found)

    def kill(self, role: str) -> int:
        """kill -9 of one process of the role; returns its number."""
        pid = self.pids(role)[0]
        os.kill(pid, signal.SIGKILL)
        return pid

    # --- log ---

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

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
    key = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "ec" else ["rsa:2048"]
    prefix = "" if kind == "ec" else "rsa-"
    subprocess.run(["openssl", "req", "-x509", "-newkey", *key, "-nodes", "-days", "30", "-subj", f"/CN={name}", "-addext",
                    f"subjectAltName=DNS:{name}", "-keyout", str(folder / f"{prefix}key.pem"), "-out",
                    str(folder / f"{prefix}cert.pem")], check=True, capture_output=True)


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
