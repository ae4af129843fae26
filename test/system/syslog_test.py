# SPDX-License-Identifier: Apache-2.0
"""The log goes to /dev/log when maillog_file is empty.

The test runs in a mount namespace with a /dev of its own, so that the host's syslog neither hears nor is disturbed.
"""

import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

from postrider import IS_ROOT, PATIENCE, Postrider

OWN_DEV = """
set -e
mount -t tmpfs -o mode=0755 none "$1"
for name in null zero full random urandom; do
    touch "$1/$name"
    mount --bind "/dev/$name" "$1/$name"
done
mount --rbind "$1" /dev
exec "$2" "$3" listen
"""


def listen() -> None:
    """Inside: be syslogd for one server with one session, and print what comes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind("/dev/log")
        os.chmod("/dev/log", 0o666)
        log.settimeout(PATIENCE)
        lines = []

        def collect():
            while not any("disconnect" in line for line in lines):
                lines.append(log.recv(65536).decode())
        collector = threading.Thread(target=collect)
        collector.start()
        with Postrider(main="maillog_file =\nsyslog_name = mail-in\nsyslog_facility = local3") as server:
            with server.smtp() as session:
                session.noop()
            collector.join()
        print("\n".join(lines))


class Syslog(unittest.TestCase):
    def test_lines_carry_facility_severity_and_tag(self):
        if not IS_ROOT:
            # Only root may have a /dev of its own; what is left to see is that no file takes syslog's place.
            with Postrider(main="maillog_file =") as server:
                self.assertFalse(server.log.exists())
            return
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(["unshare", "--mount", "sh", "-c", OWN_DEV, "sh", folder, sys.executable, __file__],
                                  capture_output=True, text=True, timeout=3 * PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr)
        time = r"[A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d:\d\d"
        self.assertRegex(done.stdout, rf"(?m)^<158>{time} mail-in/smtpd\[\d+\]: connect from localhost\[127\.0\.0\.1\]$")
        self.assertRegex(done.stdout, rf"(?m)^<158>{time} mail-in/master\[\d+\]: daemon started -- ")
        self.assertEqual(re.findall(r"(?m)^(?!<\d+>).+", done.stdout), [])


if __name__ == "__main__":
    if sys.argv[1:] == ["listen"]:
        listen()
    else:
        unittest.main()
