# SPDX-License-Identifier: Apache-2.0
"""Power cuts at every write of a run, and disks that fail; the programs are built of power_test.c and fault_test.c."""

import subprocess
import unittest

from postrider import BUILD


class Disk(unittest.TestCase):
    def check(self, name: str) -> None:
        done = subprocess.run([BUILD / "test" / name], capture_output=True, text=True, timeout=1200)
        self.assertRegex(done.stdout, r"[1-9]\d* passed, 0 failed", done.stdout + done.stderr)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_power_cuts(self):
        self.check("power_test")

    def test_failing_disks(self):
        self.check("fault_test")


if __name__ == "__main__":
    unittest.main()
