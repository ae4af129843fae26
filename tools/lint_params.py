#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares what the parameter files say about support with what the code reads.

    lint_params.py          tells every difference and fails if there is one
    lint_params.py --fix    changes `support planned` to `done` where code reads the parameter, and back where none does

A parameter is read where its field, or its name in quotes, stands in a source file that is no test (put together by a
macro, as in smtp_##name, too), and where the default of one that is read refers to it. A family is read where its name behind "transport_" stands in quotes.
`built-in` parameters need a text that says why.
"""

import re
import sys
from pathlib import Path

import params

TOP = Path(__file__).resolve().parents[1]
FILES = sorted(str(path) for path in (TOP / "src/config/params").glob("*.param"))
COMMENT = re.compile(r"/\*.*?\*/", re.S)
WORD = re.compile(r"[A-Za-z0-9_]+")
PASTED_BEHIND = re.compile(r"##(_[A-Za-z0-9_]+)")
PASTED = re.compile(r"\b((?:smtp|lmtp|smtpd)_)##")


def words_read():
    """Every word of the code, but for comments and tests."""
    words = set()
    for path in (TOP / "src").rglob("*.[ch]"):
        # What postconf alone reads is shown, not obeyed.
        if not path.stem.endswith(("_test", "_fuzz")) and not path.stem.startswith("postconf"):
            here = WORD.findall(code := COMMENT.sub(" ", path.read_text(encoding="utf-8")))
            words.update(here)
            words.update(prefix + word for prefix in PASTED.findall(code) for word in here)
            words.update(prefix + ending for ending in PASTED_BEHIND.findall(code) for prefix in ("smtp", "lmtp"))
    return words


def is_read_itself(param, words):
    if "legacy" in param.keys:
        return False
    if param.is_family:
        return param.name.removeprefix("transport_") in words
    return params.field_name(param.name) in words or param.name in words


def names_read(declared, words):
    """All that is read: by code, as a member of a family that is read, or through the default of what is read."""
    read = {param.name for param in declared if is_read_itself(param, words)}
    endings = tuple(param.name.removeprefix("transport") for param in declared if param.is_family and param.name in read)
    read.update(param.name for param in declared if param.name.startswith("local_") and param.name.endswith(endings))
    defaults = {param.name: set(re.findall(r"\$\{?(\w+)", param["value"])) for param in declared}
    while True:
        # The tables that proxy: may open name nearly everything; that is no use of it.
        more = {name for user in read - {"proxy_read_maps", "proxy_write_maps"} for name in defaults.get(user, ())} - read
        if not more:
            return read
        read |= more


def wanted_support(param, names):
    """What the file should say; None if it says so."""
    read, now = param.name in names, param["support"]
    if read and now == "planned":
        return "done"
    if not read and now == "done":
        return "planned"
    return None


def fix(changes):
    for path in FILES:
        text = Path(path).read_text(encoding="utf-8")
        blocks = text.split("\n\n")
        for i, block in enumerate(blocks):
            found = re.search(r"^(?:param|family) +(\S+)", block, re.M)
            if found and found.group(1) in changes:
                blocks[i] = re.sub(r"^support .*$", "support " + changes[found.group(1)], block, flags=re.M)
        changed = "\n\n".join(blocks)
        if changed != text:
            Path(path).write_text(changed, encoding="utf-8")


def main(args):
    declared = params.read_all(FILES)
    names = names_read(declared, words_read())
    changes = {param.name: want for param in declared if (want := wanted_support(param, names))}
    silent = [param.name for param in declared if param["support"] == "built-in" and not param.text]
    if args == ["--fix"]:
        fix(changes)
        print(f"{len(changes)} changed")
        return 0
    for name, want in changes.items():
        print(f"{name}: {'code reads it, yet it is planned' if want == 'done' else 'no code reads it, yet it is done'}")
    for name in silent:
        print(f"{name}: built-in, with no text that says why")
    return 1 if changes or silent else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
