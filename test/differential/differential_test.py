# SPDX-License-Identifier: Apache-2.0
"""The same configuration and the same dialogue, Postfix and us: codes, enhanced codes and texts must be equal.

What Debian's Postfix 3.7 answered lies in recorded/ (record.py writes it down). differences.txt names the cases
where a newer Postfix, which we follow, answers otherwise, and what it answers instead.
"""

import difflib
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
import record  # noqa: E402
import talk  # noqa: E402
from postrider import Postrider  # noqa: E402


# What the harness sets and Postfix had not, and defaults that changed since.
RESET = """\
virtual_mailbox_domains =
virtual_mailbox_maps =
mydestination =
local_recipient_maps = $alias_maps
smtpd_tls_security_level =
smtpd_tls_cert_file =
smtpd_tls_key_file =
smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination
compatibility_level = 3.6
requiretls_enable = no
smtpd_forbid_bare_newline = no
"""


def known_differences() -> dict:
    """case -> list of (recorded line, our line)."""
    found: dict = {}
    for line in (HERE / "differences.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            case, recorded, ours = line.split("\t")[:3]
            found.setdefault(case, []).append((recorded, ours))
    return found


def expected(case: talk.Case, differences: dict) -> list[str]:
    lines = (HERE / "recorded" / f"{case.name}.txt").read_text().splitlines()
    for recorded, ours in differences.get(case.name, []):
        assert recorded in lines, f"differences.txt: {case.name} never answers {recorded!r}"
        lines = [ours if line == recorded else line for line in lines]
    return [line for line in lines if line != "-"]


class Differential(unittest.TestCase):
    maxDiff = None


def add_case(path: Path, differences: dict) -> None:
    def test(self):
        case = talk.Case(path)
        with tempfile.TemporaryDirectory() as temp:
            settings = record.settings(case, Path(temp))
            with Postrider(main=RESET + settings, checked=False) as server:
                got = talk.run(case, server.ports["smtp"])
        want = expected(case, differences)
        if got != want:
            self.fail("\n".join(difflib.unified_diff(want, got, "Postfix", "Postrider", lineterm="", n=2)))

    test.__doc__ = path.read_text().splitlines()[0].lstrip("# ")
    setattr(Differential, "test_" + path.stem.replace("-", "_"), test)


for case_path in sorted((HERE / "cases").glob("*.txt")):
    add_case(case_path, known_differences())

if __name__ == "__main__":
    unittest.main()
