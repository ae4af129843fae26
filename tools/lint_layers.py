#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Folders under src/ are layers: one includes only what stands before it, and roles never include each other."""

import re
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
LAYERS = ["base", "fiber", "mail", "config", "net", "ipc", "table", "spool", "sasl", "route", "policy", "content", "process",
          "role", "cmd"]
# What a layer must not know of, although it comes later in the list.
FORBIDDEN = {
    "mail": {"fiber"},
    "config": {"fiber"},
    "net": {"mail", "config"},
    "ipc": {"mail", "config", "net"},
    "cmd": set(),
}
# Exceptions, each with its reason.
ALLOWED = {
    ("net", "config"), # TLS contexts are made from a view's parameters
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def complain(path: Path, included: str) -> str | None:
    parts = path.relative_to(TOP / "src").parts
    folder = included.split("/")[0]
    if folder not in LAYERS or "/" not in included:
        return None
    mine = parts[0]
    if LAYERS.index(folder) > LAYERS.index(mine):
        return f"includes {included}: {folder} comes after {mine}"
    if folder in FORBIDDEN.get(mine, ()) and (mine, folder) not in ALLOWED:
        return f"includes {included}: {mine} knows nothing of {folder}"
    if mine == "role" and folder == "role" and included.split("/")[1] != parts[1]:
        return f"includes {included}: roles meet in ipc"
    if included.endswith("_internal.h") and Path(included).parent != Path(*parts).parent:
        return f"includes {included}, which is for its own folder"
    return None


def main() -> int:
    files = subprocess.run(["git", "ls-files", "src/*.c", "src/*.h"], cwd=TOP, capture_output=True, text=True, check=True)
    errors = 0
    for name in files.stdout.split():
        path = TOP / name
        if not path.exists():
            continue
        for included in INCLUDE.findall(path.read_text()):
            why = complain(path, included)
            if why:
                print(f"{name}: {why}")
                errors += 1
    print(f"layers: {errors} errors" if errors else "layers: good")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
