# SPDX-License-Identifier: Apache-2.0
"""Debian's postfix-mta-sts-resolver, unpacked, with a DNS and web servers of its own: all in a network namespace, because it asks port 53
of resolv.conf and port 443 of the web. It answers at a local socket.

    with StsResolver(folder, {"far.example": "version: STSv1\\nmode: enforce\\nmx: mx.far.example\\nmax_age: 86400\\n"}) as sts:
        main = f"smtp_tls_policy_maps = socketmap:unix:{sts.socket}:postfix"
"""

import contextlib
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import debian_packages
from certificates import Authority
from far_hosts import WebServer
from name_server import NameServer
from postrider import wait_until

PACKAGES = ("postfix-mta-sts-resolver", "python3-aiodns", "python3-pycares", "python3-aiohttp", "python3-yaml", "python3-aiosqlite",
            "python3-aioredis", "python3-aiosignal", "python3-async-timeout", "python3-attr", "python3-charset-normalizer", "python3-frozenlist",
            "python3-multidict", "python3-yarl", "libc-ares2", "python3-cffi-backend", "libyaml-0-2", "python3-idna", "python3-typing-extensions")


class StsResolver:
    """`policies` are what the web server of each domain has."""

    def __init__(self, folder: Path, policies: dict):
        self.folder = folder / "sts"
        self.folder.mkdir()
        self.socket = self.folder / "socket"
        self._log = self.folder / "log"
        (self.folder / "policies").write_text(json.dumps(policies))
        Authority(self.folder).host(*(f"mta-sts.{domain}" for domain in policies))
        (self.folder / "conf").write_text(f"path: {self.socket}\nmode: 0777\ncache:\n  type: internal\ndefault_zone:\n  strict_testing: false\n  timeout: 20\n")
        (self.folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        self._tree = debian_packages.unpacked(*PACKAGES)
        self._process = None

    def __enter__(self) -> "StsResolver":
        alone = ["unshare", "-n", "-m"] + ([] if os.geteuid() == 0 else ["-r"])
        with open(self._log, "w", encoding="utf-8") as log:
            self._process = subprocess.Popen([*alone, sys.executable, __file__, str(self.folder), str(self._tree)], stdin=subprocess.PIPE,
                                             stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_until(lambda: (self.socket.exists() and self.socket.stat().st_mode & 0o777 == 0o777) or self._process.poll() is not None, "mta-sts-daemon")
            if self._process.poll() is not None:
                raise RuntimeError(f"mta-sts-daemon does not start:\n{self._log.read_text()}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        self._process.stdin.close()
        self._process.wait(30)


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        siocgifflags, siocsifflags, up = 0x8913, 0x8914, 1
        request = fcntl.ioctl(s, siocgifflags, struct.pack("16sh14x", b"lo", 0))
        fcntl.ioctl(s, siocsifflags, struct.pack("16sh14x", b"lo", struct.unpack("16sh14x", request)[1] | up))


def _serve(folder: Path, tree: Path) -> None:
    """Inside the namespace, until standard input ends."""
    policies = json.loads((folder / "policies").read_text())
    _raise_loopback()
    subprocess.run(["mount", "--bind", str(folder / "resolv.conf"), "/etc/resolv.conf"], check=True)
    zone = {}
    for domain in policies:
        zone |= {f"_mta-sts.{domain}": [("TXT", "v=STSv1; id=1")], f"mta-sts.{domain}": [("A", "127.0.0.1")]}
    certificate = folder / f"mta-sts.{next(iter(policies))}.chain"
    env = dict(os.environ, PYTHONPATH=str(tree / "usr/lib/python3/dist-packages"), LD_LIBRARY_PATH=debian_packages.library_path(tree),
               SSL_CERT_FILE=str(folder / "ca.pem"), PYTHONDONTWRITEBYTECODE="1")
    with contextlib.ExitStack() as stack:
        stack.enter_context(NameServer(zone, port=53))
        web = stack.enter_context(WebServer(certificate, port=443))
        web.answers = {f"mta-sts.{domain}": text for domain, text in policies.items()}
        daemon = subprocess.Popen([sys.executable, str(tree / "usr/bin/mta-sts-daemon"), "-c", str(folder / "conf")], env=env)
        sys.stdin.read()
        daemon.terminate()
        daemon.wait(20)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), Path(sys.argv[2]))
