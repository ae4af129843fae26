#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes symbolic links to one program under several names: links.py STAMP PROGRAM FOLDER NAME..."""

import os
import sys


def main(args):
    stamp, program, folder, *names = args
    os.makedirs(folder, exist_ok=True)
    target = os.path.relpath(program, folder)
    for name in names:
        link = os.path.join(folder, name)
        if os.path.lexists(link):
            os.remove(link)
        os.symlink(target, link)
    open(stamp, "w", encoding="utf-8").close()


if __name__ == "__main__":
    main(sys.argv[1:])
