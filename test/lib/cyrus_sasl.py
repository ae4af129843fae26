# SPDX-License-Identifier: Apache-2.0
"""Cyrus SASL's own programs, unpacked and run from private folders: saslpasswd2 fills a sasldb, saslauthd asks an IMAP
server that the test plays, or PAM."""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import debian_packages
from postrider import PATIENCE, accepts

PACKAGES = ("sasl2-bin", "libdb5.3", "libldap-2.5-0", "libpam0g", "libkrb5-3")


def _tool(name: str) -> tuple[str, dict]:
    root = debian_packages.unpacked(*PACKAGES)
    env = dict(os.environ, LD_LIBRARY_PATH=debian_packages.library_path(root))
    return str(root / "usr/sbin" / name), env


def make_sasldb(path: Path, users: dict, realm: str) -> None:
    """A sasldb with {name: password}, readable by all."""
    program, env = _tool("saslpasswd2")
    for name, password in users.items():
        subprocess.run([program, "-c", "-p", "-f", str(path), "-u", realm, name], input=password, text=True, check=True,
                       capture_output=True, env=env)
    path.chmod(0o644)


class FakeImap:
    """Lets {name: password} log in; the name "slow" never gets an answer."""

    def __init__(self, users: dict):
        self._users = users
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._open = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._serve_quietly, args=(connection,), daemon=True).start()

    def _serve_quietly(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            connection.sendall(b"* OK hello\r\n")
            for line in lines:
                words = line.decode().split()
                if words[1] != "LOGIN":
                    connection.sendall(f"{words[0]} OK bye\r\n".encode())
                    continue
                name, password = (word.strip('"') for word in words[2:4])
                if name == "slow":
                    continue
                answer = "OK" if self._users.get(name) == password else "NO"
                connection.sendall(f"{words[0]} {answer} LOGIN\r\n".encode())

    def close(self) -> None:
        self._socket.close()
        for connection in self._open:
            connection.close()


PAM_CHECK = """\
#!/usr/bin/env python3
import os, sys
sys.exit({users!r}.get(os.environ["PAM_USER"]) != sys.stdin.buffer.read().rstrip(b"\\0").decode())
"""


class Saslauthd:
    """saslauthd -a rimap, or -a pam; `path` is what saslauthd_path of an application's settings names."""

    def __init__(self, users: dict, has_pam: bool = False):
        self._temp = tempfile.TemporaryDirectory(prefix="saslauthd-")
        self.folder = Path(self._temp.name)
        self.folder.chmod(0o755)
        self.path = self.folder / "mux"
        self._imap = FakeImap(users)
        self._has_pam = has_pam
        if has_pam:
            self._write_pam(users)
        self._process = None

    def _write_pam(self, users: dict) -> None:
        """The service "smtp" of PAM, as a program that knows the users."""
        pam = self.folder / "pam.d"
        pam.mkdir()
        check = self.folder / "check"
        check.write_text(PAM_CHECK.format(users=users))
        check.chmod(0o755)
        (pam / "smtp").write_text(f"auth required pam_exec.so expose_authtok quiet {check}\naccount required pam_permit.so\n")

    def _command(self, program: str) -> list[str]:
        if not self._has_pam:
            return [program, "-d", "-a", "rimap", "-O", f"127.0.0.1/{self._imap.port}", "-r", "-n", "5", "-m", str(self.folder)]
        # PAM reads /etc/pam.d and nothing else: the daemon sees another one there, alone.
        rights = ["--mount"] if os.geteuid() == 0 else ["--mount", "--user", "--map-root-user"]
        return ["unshare", *rights, "sh", "-c", 'mount --bind "$0" /etc/pam.d && exec "$@"', str(self.folder / "pam.d"),
                program, "-d", "-a", "pam", "-n", "5", "-m", str(self.folder)]

    def __enter__(self) -> "Saslauthd":
        program, env = _tool("saslauthd")
        self._process = subprocess.Popen(self._command(program), env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                         start_new_session=True)
        deadline = time.monotonic() + PATIENCE
        while not accepts(self.path):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError("saslauthd does not start")
            time.sleep(0.05)
        return self

    def send(self, number: int) -> None:
        """A signal to all its processes, which share a group that is theirs alone."""
        os.killpg(self._process.pid, number)

    def __exit__(self, *_) -> None:
        self.send(signal.SIGKILL)
        self._process.wait()
        self._imap.close()
        self._temp.cleanup()
