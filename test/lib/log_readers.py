# SPDX-License-Identifier: Apache-2.0
"""Programs that operators use on a mail server or its log: swaks, pflogsumm, fail2ban-regex; unpacked, never installed."""

import os
import subprocess
import sys
from pathlib import Path

import debian_packages

PERL = ("libnet-ssleay-perl", "libdate-calc-perl", "libcarp-clan-perl", "libbit-vector-perl")


def _perl_environment(root: Path) -> dict:
    folders = [root / "usr/share/perl5", *root.glob("usr/lib/*/perl5/*")]
    return {**os.environ, "PERL5LIB": ":".join(str(f) for f in folders)}


def _run(command: list, env: dict, **more) -> subprocess.CompletedProcess:
    return subprocess.run([str(c) for c in command], env=env, capture_output=True, text=True, timeout=120, **more)


def swaks(*args: str) -> subprocess.CompletedProcess:
    root = debian_packages.unpacked("swaks", *PERL)
    return _run(["perl", root / "usr/bin/swaks", *args], _perl_environment(root))


def pflogsumm(log: Path) -> str:
    root = debian_packages.unpacked("pflogsumm", *PERL)
    done = _run(["perl", root / "usr/sbin/pflogsumm", "--problems-first", log], _perl_environment(root))
    if done.returncode:
        raise AssertionError(done.stderr)
    return done.stdout


def fail2ban_regex(log: Path, mode: str = "aggressive") -> str:
    """Its report about the log and fail2ban's own postfix filter."""
    root = debian_packages.unpacked("fail2ban")
    env = {**os.environ, "PYTHONPATH": str(root / "usr/lib/python3/dist-packages"), "PYTHONDONTWRITEBYTECODE": "1"}
    filter_file = root / "etc/fail2ban/filter.d/postfix.conf"
    done = _run([sys.executable, root / "usr/bin/fail2ban-regex", "--print-all-matched", log, f"{filter_file}[mode={mode}]"], env,
                cwd=root / "etc/fail2ban")
    return done.stdout + done.stderr
