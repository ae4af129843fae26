#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sizes and forms: functions of at most 60 lines, files 800, headers 300, six parameters, four levels of nesting,
main.c of a role 60 lines, 25 .c files a folder; no // comments, no open ends, an SPDX line first.

Exceptions stand in tools/lint_sizes.txt as "FILE WHAT [NAME]"; that list only shrinks: an entry that is no longer
needed is an error. Switch tables are exempt, and so is the length of a test, which often is a table of cases.
"""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
ALLOW = TOP / "tools/lint_sizes.txt"
FUNCTION_LINES, FILE_LINES, HEADER_LINES, MAIN_LINES, PARAMETERS, NESTING, FOLDER_FILES = 60, 800, 300, 60, 6, 4, 25
OPEN_END = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")
LINE_COMMENT = re.compile(r"(?:^|[\s;{}])//")
NAME = re.compile(r"(\w+)\s*\(")


def strip(text: str) -> str:
    """The text with comments and literals blanked out; line numbers stay."""
    pattern = re.compile(r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)


def functions(lines: list[str]):
    """(name, first line, last line, head) of each function of a file in our layout: its body stands in { } at column 0."""
    for i, line in enumerate(lines):
        if line != "{":
            continue
        start = i - 1
        while start > 0 and lines[start - 1].strip() and not lines[start - 1].rstrip().endswith((";", "}", "\\")) \
                and not lines[start - 1].startswith("#"):
            start -= 1
        head = " ".join(lines[start:i])
        end = next((j for j in range(i + 1, len(lines)) if lines[j].startswith("}")), i)
        name = NAME.search(head)
        if name:
            yield name.group(1), i, end, head


def count_parameters(head: str) -> int:
    inside = head[head.find("(") + 1:head.rfind(")")]
    depth = 0
    count = 1 if inside.strip() and inside.strip() != "void" else 0
    for c in inside:
        depth += (c == "(") - (c == ")")
        count += c == "," and depth == 0
    return count


def nesting(body: list[str]) -> int:
    """By the tabs of lines that begin a statement; case labels count one level less."""
    deepest = 0
    for line in body:
        word = line.strip()
        if re.match(r"(if|for|while|do|switch|LIST_EACH)\b", word):
            deepest = max(deepest, len(line) - len(line.lstrip("\t")))
    return deepest


def look_at_functions(name: str, stripped: list[str]):
    for function, first, last, head in functions(stripped):
        size = last - first - 1
        body = stripped[first + 1:last]
        is_table = sum(bool(re.match(r"\s*(case\b|default:|break;|return\b)", l)) for l in body) * 2 > size
        if size > FUNCTION_LINES and not is_table and not name.endswith("_test.c"):
            yield name, "function", function, f"{size} lines, at most {FUNCTION_LINES}"
        if count_parameters(head) > PARAMETERS:
            yield name, "parameters", function, f"{count_parameters(head)}, at most {PARAMETERS}"
        if nesting(body) > NESTING:
            yield name, "nesting", function, f"{nesting(body)} levels, at most {NESTING}"


def look_at(name: str, text: str):
    lines = text.splitlines()
    limit = HEADER_LINES if name.endswith(".h") else FILE_LINES
    stripped = strip(text).splitlines()
    if re.fullmatch(r"src/role/[a-z]+/main\.c", name):
        limit = MAIN_LINES
    if len(lines) > limit:
        yield name, "file", "", f"{len(lines)} lines, at most {limit}"
    if not lines or "SPDX-License-Identifier: Apache-2.0" not in lines[0]:
        yield name, "spdx", "", "the first line is /* SPDX-License-Identifier: Apache-2.0 */"
    for number, line in enumerate(stripped, 1):
        if LINE_COMMENT.search(line):
            yield name, "comment", str(number), "write /* */"
    for number, line in enumerate(lines, 1):
        if OPEN_END.search(line):
            yield name, "open", str(number), "an open end: finish it or write an issue"
    if name.endswith(".c"):
        yield from look_at_functions(name, stripped)


def read_allowed() -> set:
    if not ALLOW.exists():
        return set()
    lines = (l.split("#")[0].split() for l in ALLOW.read_text().splitlines())
    return {tuple(words) for words in lines if words}


def main() -> int:
    listed = subprocess.run(["git", "ls-files", "src/*.c", "src/*.h", "test/*.c", "test/*.h"], cwd=TOP, capture_output=True,
                            text=True, check=True)
    names = [n for n in listed.stdout.split() if (TOP / n).exists()]
    found = [problem for n in names for problem in look_at(n, (TOP / n).read_text())]
    folders = Counter(str(Path(n).parent) for n in names if n.endswith(".c") and not n.endswith(("_test.c", "_fuzz.c")))
    found += [(f, "folder", "", f"{count} .c files, at most {FOLDER_FILES}") for f, count in folders.items()
              if count > FOLDER_FILES]
    allowed = read_allowed()
    used = set()
    errors = 0
    for name, what, which, why in found:
        key = tuple(w for w in (name, what, which) if w)
        if key in allowed:
            used.add(key)
            continue
        print(f"{name}: {what} {which}: {why}" if which else f"{name}: {what}: {why}")
        errors += 1
    for key in sorted(allowed - used):
        print(f"tools/lint_sizes.txt: {' '.join(key)}: no longer needed, take it out")
        errors += 1
    print(f"sizes: {errors} errors" if errors else "sizes: good")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
