#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the manual pages.

    manual.py command OUT COMMANDS_DEF NAME   NAME.1, from the row of that command
    manual.py postconf OUT FILE...            postconf.5, from the parameter files
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


def command_page(source: str, name: str) -> str:
    rows = re.findall(r'COMMAND\((\w+), "([^"]*)",\s*((?:"[^"]*"\s*)+)\)', Path(source).read_text())
    brief, quoted = next((b, u) for n, b, u in rows if n == name)
    usage = "".join(re.findall(r'"([^"]*)"', quoted)).replace("\\n", "\n")
    return (head(name, 1, brief) + f".SH SYNOPSIS\n.nf\n{roff(usage)}\n.fi\n"
            ".SH DESCRIPTION\nOptions, output and exit status are those of Postfix's command of that name, where it has one.\n"
            ".SH ENVIRONMENT\n.TP\nMAIL_CONFIG\nThe configuration folder, where \\-c does not name one; else /etc/postfix.\n"
            ".SH SEE ALSO\npostfix(1), postconf(5)\n")


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
    return page + "".join(parameter_entry(p) for p in params.read_all(files))


def main(args: list[str]) -> None:
    what, out, *rest = args
    Path(out).write_text(command_page(*rest) if what == "command" else postconf_page(rest), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
