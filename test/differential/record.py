#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes down what Debian's Postfix answers to every case: test/differential/recorded/NAME.txt. Needs root.

Usage: record.py [CASE ...]
"""

import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
import certificates  # noqa: E402
import debian_postfix  # noqa: E402
import talk  # noqa: E402

PORT = 2590
# What both servers get besides the settings of a case, so that only behaviour differs.
COMMON = """\
compatibility_level = 3.6
myhostname = mx.ours.example
mydomain = ours.example
myorigin = origin.example
smtpd_banner = $myhostname ESMTP
smtpd_peername_lookup = no
smtpd_recipient_restrictions =
defer_transports = smtp, virtual, local, relay
virtual_mailbox_base = /nowhere
smtpd_forbid_unauth_pipelining = no
"""


def certificate(folder: Path) -> Path:
    certificates.self_signed(folder, "mx.ours.example")
    return certificates.chain(folder, "mx.ours.example")


def settings(case: talk.Case, folder: Path) -> str:
    text = COMMON + case.settings()
    return text.replace("CERTIFICATE", str(certificate(folder))) if "CERTIFICATE" in text else text


def postfix_transcript(case: talk.Case) -> list[str]:
    with tempfile.TemporaryDirectory() as temp:
        with debian_postfix.DebianPostfix(main=settings(case, Path(temp)), master=f"127.0.0.1:{PORT} inet n - n - - smtpd\n") as server:
            server.start(PORT)
            return talk.run(case, PORT)


def main() -> int:
    (HERE / "recorded").mkdir(exist_ok=True)
    for path in sorted((HERE / "cases").glob("*.txt")):
        if sys.argv[1:] and path.stem not in sys.argv[1:]:
            continue
        print(path.stem, flush=True)
        (HERE / "recorded" / path.name).write_text("\n".join(postfix_transcript(talk.Case(path))) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
