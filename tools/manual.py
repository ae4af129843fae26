#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the manual page postconf.5 from the parameter files.

    manual.py OUT FILE...
"""

import re
import sys
from pathlib import Path

import params

SUPPORT = {"built-in": "Accepted; the design makes it meaningless.", "planned": "Accepted, but has no effect yet."}


def roff(text: str) -> str:
    """Text that roff leaves as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"(?m)^([.'])", r"\\&\1", text)


def head(name: str, section: int, brief: str) -> str:
    return f'.TH {name.upper()} {section} "" Postrider\n.SH NAME\n{name} \\- {roff(brief)}\n'


def parameter_entry(p) -> str:
    name = f"transport_{p.name}" if p.is_family else p.name
    default = p["value"] or ("found out at start" if p["computed"] else "empty")
    entry = f".TP\n.B {roff(name)} (default: {roff(default)})\n{roff(p['brief'])}\n"
    for line in p.text:
        entry += roff(line) + "\n"
    if p["support"] in SUPPORT:
        entry += SUPPORT[p["support"]] + "\n"
    return entry


def postconf_page(files: list[str]) -> str:
    page = head("postconf", 5, "the parameters of main.cf") + (
        ".SH DESCRIPTION\nA line of main.cf is name = value; a line that begins with a blank continues it. In a value, $name stands for another\n"
        "parameter. A line \\-o name=value in master.cf overrides it for that service.\n.SH PARAMETERS\n")
    return page + "".join(parameter_entry(p) for p in params.read_all(files)) + ".SH SEE ALSO\npostconf(1), master(5), postrider(5)\n"


def main(out: str, *files: str) -> None:
    Path(out).write_text(postconf_page(list(files)), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
