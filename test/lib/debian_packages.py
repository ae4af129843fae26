# SPDX-License-Identifier: Apache-2.0
"""Debian packages as test peers: downloaded and unpacked into a private folder, never installed.

unpacked("postfix", "libicu72") gives the folder that holds the unpacked trees of all of them.
Packages are fetched once with `apt-get download` and kept under .cache/peers.
"""

import fcntl
import os
import subprocess
from pathlib import Path

CACHE = Path(os.environ.get("POSTRIDER_PEERS", Path(__file__).resolve().parents[2] / ".cache" / "peers"))
LIBRARY_FOLDERS = ("usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu")


def _fetch(package: str, folder: Path) -> None:
    debs = folder / "debs"
    debs.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["apt-get", "download", "-q", "-o", "Acquire::Retries=3", package], cwd=debs, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"cannot download the Debian package {package}: {done.stderr.strip()}\n"
                           "Run `apt-get update` as root and try again.")


def unpacked(*packages: str) -> Path:
    """The root of a tree that holds these packages; fetches and unpacks what is missing."""
    root = CACHE / "root"
    root.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for package in packages:
            mark = CACHE / f"{package}.unpacked"
            if mark.exists():
                continue
            _fetch(package, CACHE)
            deb = max((CACHE / "debs").glob(f"{package}_*.deb"), key=lambda p: p.stat().st_mtime)
            subprocess.run(["dpkg-deb", "-x", str(deb), str(root)], check=True)
            mark.write_text(deb.name + "\n")
    return root


def library_path(root: Path, *more: str) -> str:
    """LD_LIBRARY_PATH for programs of the unpacked tree."""
    folders = [root / f for f in (*more, *LIBRARY_FOLDERS)]
    return ":".join(str(f) for f in folders if f.is_dir())
