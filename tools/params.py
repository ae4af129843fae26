#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads the parameter files and writes what the build makes of them.

    params.py header OUT FILE...   config/params.h: struct params, one typed field a parameter
    params.py table OUT FILE...    params_table.c: the table that config and postconf work with
    params.py manual OUT FILE...   parameters.md: a section for each area, a paragraph for each parameter

A parameter file holds blocks, separated by blank lines, of `key value` lines:

    param    its name; or `family transport_...`, a name that exists once a transport
    for      (family) the transports of the stock master.cf
    type     bool, int, time, or one of the textual types
    choices  (enum) the words it may be
    value    the default, unexpanded; `computed yes` where the program finds it out at start
    unit     (time) what a bare number means: s m h d w
    range    LOW .. HIGH, or non-empty
    roles    the programs that know it in Postfix
    since    the first version that has it
    legacy   an older name: why it is no longer one, and where it still counts
    support  done, built-in (our design makes it meaningless) or planned
    brief    one line on what it is for; indented lines after it are the long text
"""

import os
import re
import sys
from dataclasses import dataclass, field

TEXT_TYPES = {
    "string", "path", "list", "maps", "map", "match", "restrictions", "service", "transport", "address", "enum", "raw",
}
TYPES = TEXT_TYPES | {"bool", "int", "time"}
KEYS = {
    "param", "family", "for", "type", "choices", "value", "computed", "unit", "range", "roles", "since", "legacy", "support", "brief",
}
SUPPORT = {"done": "SUPPORT_DONE", "built-in": "SUPPORT_BUILT_IN", "planned": "SUPPORT_PLANNED"}
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


@dataclass
class Param:
    where: str
    area: str
    name: str = ""
    keys: dict = field(default_factory=dict)
    text: list = field(default_factory=list)

    def __getitem__(self, key):
        return self.keys.get(key, "")

    @property
    def is_family(self):
        return "family" in self.keys

    @property
    def has_field(self):
        return not self.is_family and "legacy" not in self.keys


class Mistake(Exception):
    """Something a person wrote wrong in a parameter file."""


def read_file(path):
    """All blocks of one file, checked."""
    area = path.rsplit("/", 1)[-1].removesuffix(".param")
    params, now = [], None
    for number, line in enumerate(open(path, encoding="utf-8"), 1):
        line = line.rstrip("\n")
        where = f"{path}:{number}"
        if line.startswith("#"):
            continue
        if not line.strip():
            now = None
            continue
        if line[0] in " \t":
            if now is None:
                raise Mistake(f"{where}: text outside a block")
            now.text.append(line.strip())
            continue
        key, _, value = line.partition(" ")
        value = value.strip()
        if key not in KEYS:
            raise Mistake(f"{where}: unknown key {key}")
        if now is None:
            if key not in ("param", "family"):
                raise Mistake(f"{where}: a block begins with param or family")
            now = Param(where, area, value)
            params.append(now)
        elif key in now.keys:
            raise Mistake(f"{where}: {key} twice in {now.name}")
        now.keys[key] = value
    for param in params:
        check(param)
    return params


def check(param):
    if param["type"] not in TYPES:
        raise Mistake(f"{param.where}: {param.name}: type {param['type']!r}")
    if not re.fullmatch(r"[A-Za-z0-9_]+", param.name):
        raise Mistake(f"{param.where}: name {param.name!r}")
    if param["support"] not in SUPPORT:
        raise Mistake(f"{param.where}: {param.name}: support {param['support']!r}")
    if not param["brief"]:
        raise Mistake(f"{param.where}: {param.name} has no brief")
    if param["type"] == "enum" and not param["choices"]:
        raise Mistake(f"{param.where}: {param.name}: an enum needs choices")
    limits(param)


def limits(param):
    """(low, high) of a number; (1, 0) marks a text that may not be empty."""
    text = param["range"]
    if text == "non-empty":
        return 1, 0
    if not text:
        return (0, 0) if param["type"] in TEXT_TYPES else (INT64_MIN, INT64_MAX)
    found = re.fullmatch(r"(-?\d+)? *\.\. *(-?\d+)?", text)
    if not found:
        raise Mistake(f"{param.where}: {param.name}: range {text!r}")
    low, high = found.groups()
    return int(low) if low else INT64_MIN, int(high) if high else INT64_MAX


def read_all(paths):
    params = [param for path in paths for param in read_file(path)]
    params.sort(key=lambda param: param.name.encode())
    for one, two in zip(params, params[1:]):
        if one.name == two.name:
            raise Mistake(f"{two.where}: {two.name} is declared at {one.where} already")
    return params


def field_name(name):
    return "p_" + name if name[0].isdigit() else name


def c_string(text):
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("?", "\\?")
    return f'"{quoted}"'


def c_number(value):
    return {INT64_MIN: "INT64_MIN", INT64_MAX: "INT64_MAX"}.get(value, str(value))


C_TYPES = {"bool": "bool", "int": "int64_t", "time": "struct duration"}


def header(params):
    lines = [
        "/* Generated by tools/params.py from config/params/. */",
        "#pragma once",
        "",
        "#include <stdbool.h>",
        "#include <stdint.h>",
        "",
        '#include "base/clock.h"',
        '#include "base/str.h"',
        "",
        "struct params {",
    ]
    for param in params:
        if param.has_field:
            lines.append(f"\t{C_TYPES.get(param['type'], 'struct str')} {field_name(param.name)};")
    return lines + ["};"]


def row(param):
    low, high = limits(param)
    flags = [
        ("PARAM_LEGACY", "legacy" in param.keys),
        ("PARAM_FAMILY", param.is_family),
        ("PARAM_COMPUTED", "computed" in param.keys),
        ("PARAM_NON_EMPTY", param["range"] == "non-empty"),
    ]
    flag_text = " | ".join(name for name, is_on in flags if is_on) or "0"
    at = f"offsetof(struct params, {field_name(param.name)})" if param.has_field else "0"
    return "".join([
        "\t{",
        f".name = STR({c_string(param.name)}), .value = STR({c_string(param['value'])}), ",
        f".kind = PARAM_{param['type'].upper()}, .flags = {flag_text}, .support = {SUPPORT[param['support']]}, ",
        f".unit = '{param['unit'] or 's'}', .field_at = {at}, .min = {c_number(low)}, .max = {c_number(high)}, ",
        f".choices = STR({c_string(param['choices'])}), .transports = STR({c_string(param['for'])}), ",
        f".area = STR({c_string(param.area)}), .roles = STR({c_string(param['roles'])}), .since = STR({c_string(param['since'])}), ",
        f".legacy = STR({c_string(param['legacy'])}), .brief = STR({c_string(param['brief'])}), ",
        f".text = STR({c_string(' '.join(param.text))})",
        "},",
    ])


def table(params):
    return [
        "/* Generated by tools/params.py from config/params/. */",
        '#include "config/param.h"',
        "",
        "#include <stddef.h>",
        "",
        '#include "config/params.h"',
        "",
        "const struct param param_table[] = {",
        *[row(param) for param in params],
        "};",
        "",
        f"const size_t param_count = {len(params)};",
    ]


KIND_WORDS = {"int": "number", "bool": "yes or no", "maps": "list of tables", "map": "table", "match": "list of patterns",
              "raw": "text, filled in when used", "enum": "choice"}


def manual_facts(param):
    """What a reader looks up: kind, default, range, unit, version, support."""
    kind = KIND_WORDS.get(param["type"], param["type"])
    facts = [f"{kind}: {', '.join(param['choices'].split())}" if param["choices"] else kind]
    default = f"`{param['value']}`" if param["value"] else "found out at start" if "computed" in param.keys else "empty"
    facts.append("default " + default)
    if ".." in param["range"] and param["type"] in ("int", "time"):
        facts.append("range " + param["range"].strip())
    if param["unit"]:
        facts.append(f"a bare number means {param['unit']}")
    facts.append(f"since {param['since']}")
    facts.append({"done": "supported", "built-in": "accepted, without effect", "planned": "not supported yet"}[param["support"]])
    return "; ".join(facts)


def manual(params):
    lines = ["# Parameters", "", "Generated from `src/config/params/`. Names, types and defaults are those of Postfix, but for the area postrider."]
    for area in sorted({param.area for param in params}):
        lines += ["", f"## {area}"]
        for param in params:
            if param.area == area:
                lines += ["", f"**{param.name}** ({manual_facts(param)})  ", " ".join([param["brief"], *param.text])]
    return lines


def write(path, text):
    """Leaves an unchanged file alone, so that nothing is built again for it."""
    if os.path.exists(path) and open(path, encoding="utf-8").read() == text:
        return
    with open(path, "w", encoding="utf-8") as to:
        to.write(text)


def main(args):
    what, out, *paths = args
    try:
        params = read_all(paths)
    except Mistake as mistake:
        sys.exit(str(mistake))
    lines = {"header": header, "table": table, "manual": manual}[what](params)
    write(out, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
