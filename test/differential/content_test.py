# SPDX-License-Identifier: Apache-2.0
"""The same messages, Postfix and us: what lies in the Maildirs must be equal, header for header."""

import json
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
sys.path.insert(0, str(HERE))
import content  # noqa: E402
import postrider  # noqa: E402

RECORDED = json.loads((HERE / "recorded_content.json").read_text())


class ContentTest(unittest.TestCase):
    maxDiff = None

    def check(self, name: str) -> None:
        main = "smtpd_peername_lookup = no\nvirtual_mailbox_maps = texthash:{folder}/etc/boxes\n" + content.SETTINGS[name]
        with postrider.Postrider(main=main, files={"boxes": content.mailboxes()}) as server:
            replies = content.submit(server.ports["smtp"])
            # A message that was taken a moment ago need not be in the queue yet.
            count = len(RECORDED[name]["mail"])
            mail = content.delivered(server.mail, lambda: len(content.files(server.mail)) >= count
                                     and "Mail queue is empty" in server.run("postqueue", "-p").stdout)
        self.assertEqual(RECORDED[name]["replies"], replies)
        self.assertEqual(RECORDED[name]["mail"], mail)


def add_tests() -> None:
    for name in content.SETTINGS:
        setattr(ContentTest, "test_" + name.replace(" ", "_"), lambda self, name=name: self.check(name))


add_tests()

if __name__ == "__main__":
    unittest.main()
