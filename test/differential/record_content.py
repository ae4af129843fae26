#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes down what Debian's Postfix makes of the messages of content.py: recorded_content.json. Needs root."""

import json
import os
import pwd
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
import content  # noqa: E402
import debian_postfix  # noqa: E402

PORT = 2590
MAIN = """\
mydomain = test.example
myorigin = test.example
mynetworks = 127.0.0.0/8
smtpd_peername_lookup = no
virtual_mailbox_domains = test.example
virtual_mailbox_base = {mail}
virtual_mailbox_maps = texthash:{mail}/mailboxes
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
"""


def record(settings: str) -> dict:
    who = pwd.getpwnam("games")
    with tempfile.TemporaryDirectory() as folder:
        mail = Path(folder)
        mail.chmod(0o755)
        os.chown(mail, who.pw_uid, who.pw_gid)
        (mail / "mailboxes").write_text(content.mailboxes())
        main = MAIN.format(mail=mail, uid=who.pw_uid, gid=who.pw_gid) + settings
        with debian_postfix.DebianPostfix(main=main, master=f"127.0.0.1:{PORT} inet n - n - - smtpd\n") as server:
            server.start(PORT)
            replies = content.submit(PORT)
            queues = [server.queue / name for name in ("incoming", "active", "maildrop")]
            mail = content.delivered(mail, lambda: not any(p for q in queues for p in q.iterdir()))
    return {"replies": replies, "mail": {name: text.replace("peer.example", "mx.test.example") for name, text in mail.items()}}


def main() -> None:
    found = {}
    for name, settings in content.SETTINGS.items():
        print(name, flush=True)
        found[name] = record(settings)
    (HERE / "recorded_content.json").write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
