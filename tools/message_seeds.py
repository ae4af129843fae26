#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of the message fuzzer, test/corpus/message/NAME: one frame of each message of messages.def."""

import re
import struct
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIELD = r"(\w+)\((\w+)\)"
MESSAGE = rf"MESSAGE\(\w+,\s*(\w+),\s*\w+,\s*((?:{FIELD}\s*)+)\)"


def field(kind: str, name: str) -> bytes:
    if kind in ("STR", "SECRET"):
        return struct.pack("<I", len(name)) + name.encode()
    return {"U8": b"\1", "U32": struct.pack("<I", 7), "U64": struct.pack("<Q", 2 << 32)}[kind]


def main() -> None:
    text = re.sub(r"/\*.*?\*/", "", (ROOT / "src/ipc/messages.def").read_text(), flags=re.S)
    for number, found in enumerate(re.finditer(MESSAGE, text), 1):
        body = bytes([number]) + b"".join(field(*f) for f in re.findall(FIELD, found[2]))
        (ROOT / "test/corpus/message" / found[1]).write_bytes(struct.pack("<I", len(body)) + body)


if __name__ == "__main__":
    main()
