#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the manual pages with the commands.

Every command of commands.def has a page, or a section of postrider.1 if it has no name of its own; the page is installed; the
options that it lists are those of the command's --help, none more and none less.
"""

import re
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
PAGES = TOP / "doc/man"
ROW = re.compile(r'^COMMAND\((\w+),\s*"[^"]*",\s*((?:"[^"]*"\s*)+)\)', re.M)
CLUSTER = re.compile(r"\[-([A-Za-z#]+)\]")
LONG = re.compile(r"--[a-z-]+")
WORD = re.compile(r"(?:^|(?<=[\s\[|]))-([A-Za-z]\w*)")
ITEM = re.compile(r"^\.It (Fl .*)$", re.M)


def options_of_usage(usage: str) -> set[str]:
    """"[-bv] [-d key] --port" gives b, v, d, -port."""
    found = {letter for cluster in CLUSTER.findall(usage) for letter in cluster}
    found |= {option[1:] for option in LONG.findall(usage)}
    return found | set(WORD.findall(CLUSTER.sub("", usage)))


def options_of_page(page: str) -> set[str]:
    """Those of its ".It Fl" lines: "Fl a , b" and "Fl f Ar x , Fl r Ar x" give two each."""
    found = set()
    for line in ITEM.findall(page):
        for part in line.split("Fl ")[1:]:
            words = part.split()
            found.add(words[0])
            # "Fl a , b": what follows a comma at once is an option too.
            while len(words) > 2 and words[1] == "," and words[2] not in ("Ar", "Fl"):
                words = words[2:]
                found.add(words[0])
    return found


def usages() -> dict[str, str]:
    """What each command says to --help: its row, or where that is empty the usage in its own file."""
    found = {}
    for name, text in ROW.findall((TOP / "src/cmd/commands.def").read_text(encoding="utf-8")):
        if text.strip() == '""':
            own = (TOP / f"src/cmd/{name}.c").read_text(encoding="utf-8")
            text = re.search(r"char usage\[\] =(.*?);\n", own, re.S).group(1)
        found[name] = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', text)).replace("\\n", "\n")
    return found


def problems():
    installed = (PAGES / "meson.build").read_text(encoding="utf-8")
    links = (TOP / "src/cmd/meson.build").read_text(encoding="utf-8")
    wanted = {"postrider": set()}
    for name, usage in usages().items():
        has_name = f"  '{name}',\n" in links
        wanted.setdefault(name if has_name else "postrider", set()).update(options_of_usage(usage))
        if not has_name and f".Ss {name}\n" not in (PAGES / "postrider.1").read_text(encoding="utf-8"):
            yield f"postrider.1: no section about {name}"
    for name, options in wanted.items():
        path = PAGES / f"{name}.1"
        if not path.exists():
            yield f"{name}: there is no doc/man/{name}.1"
            continue
        if f"'{name}.1'" not in installed:
            yield f"{name}.1 is not installed"
        told = options_of_page(path.read_text(encoding="utf-8"))
        for option in sorted(told - options):
            yield f"{name}.1: -{option} is no option of --help"
        for option in sorted(options - told):
            yield f"{name}.1: -{option} of --help is missing"


def main() -> int:
    found = list(problems())
    for text in found:
        print(text)
    if not found:
        print("manual pages: good")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
