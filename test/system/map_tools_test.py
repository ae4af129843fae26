# SPDX-License-Identifier: Apache-2.0
"""postmap and postalias beside Debian's: the same sources, the same questions, the same answers and files.

Where Debian's 3.7 differs from the version that is followed here, the line is left out with its reason.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "test/lib")]

import debian_packages  # noqa: E402
import debian_postfix  # noqa: E402
from postrider import BUILD  # noqa: E402

ENTRIES = """\
# comment
Key1 value one
 continued
"quoted key" v
KEY2\tv2
key2 dup
lonely
  indented

user@Example.COM\tbob@example.org,  ann
key: with colon
empty
"""

ALIASES = """\
Root: bob, "|prog arg", /file
 more
x:y
spaced :  z
bad
noval:
list: :include:/etc/list
root: dup
"""

CIDR = """\
!192.0.2.0/24 notnet
192.0.2.5 five
10.0.0.1/8 bad
if 10.0.0.0/8
10.1.1.1 inner
endif
[2001:db8::]/32 six
192.0.2.0/33 bad
foo bar
0.0.0.0/0 rest
"""

PATTERNS = r"""
/^(a)(.*)@x/ REJECT $1 ${2} $(1) $$
!/foo/ notfoo
if /foo/
/foobar/i casesens
if !/zzz/
/foo(z)?/ [$1]
endif
endif
/bad
/x/q badflag
/(a)/ $2 x
!/(b)/ $1 x
"""

KEYS = ("key1", "KEY1", "quoted key", '"quoted key"', "key2", "lonely", "user@example.com", "key:", "none", "root", "x", "spaced", "list",
        "192.0.2.5", "192.0.2.9", "10.1.1.1", "10.0.0.1", "2001:db8::1", "2001:db9::1", "1.2.3.4", "ab@x", "AB@X", "foo", "xfoobarx",
        "FOOBAR", "fooz", "b")

INLINE = ("inline:{ key1=v, { key2 = a b } }", "static:always", "static:{ a b }", "unix:passwd.byname", "unix:group.byname",
          "pipemap:{inline:{key1=key2},inline:{key2=c}}", "unionmap:{inline:{key1=b},inline:{key1=c,key2=d}}",
          "regexp:{ {/key/ x}, { /l(.)n/ $1 } }", "cidr:{ {10.0.0.0/8 ten} }", "fail:always")


class MapTools(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temp = tempfile.TemporaryDirectory(prefix="map-tools-")
        cls.folder = Path(cls.temp.name)
        tree = debian_packages.unpacked(*debian_postfix.PACKAGES, "postfix-lmdb", "liblmdb0")
        cls.env = dict(os.environ, LD_LIBRARY_PATH=debian_packages.library_path(tree, "usr/lib/postfix"))
        cls.theirs_folder = str(tree / "usr/sbin")
        etc = cls.folder / "etc"
        etc.mkdir()
        etc.joinpath("main.cf").write_text(f"""\
compatibility_level = 3.6
myhostname = mx.example.com
mail_owner = {debian_postfix.MAIL_OWNER}
setgid_group = {debian_postfix.SETGID_GROUP}
meta_directory = {etc}
shlib_directory = {tree}/usr/lib/postfix
""")
        etc.joinpath("master.cf").write_text("")
        etc.joinpath("dynamicmaps.cf").write_text(
            f"lmdb\t{tree}/usr/lib/postfix/postfix-lmdb.so\tdict_lmdb_open\tmkmap_lmdb_open\n")

    @classmethod
    def tearDownClass(cls):
        cls.temp.cleanup()

    def call(self, folder, name, args, text=None):
        done = subprocess.run([f"{folder}/{name}", "-c", str(self.folder / "etc"), *args], input=text, capture_output=True, text=True,
                              env=self.env if folder == self.theirs_folder else None, timeout=60)
        return done.returncode, done.stdout

    def both(self, name, *args, text=None):
        """The answers of both, which must be equal."""
        ours, theirs = (self.call(folder, name, args, text) for folder in (BUILD / "bin", self.theirs_folder))
        self.assertEqual(ours, theirs, f"{name} {args}")
        return ours

    def source(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def test_files_of_either_are_read_by_the_other(self):
        for name, text in (("postmap", ENTRIES), ("postalias", ALIASES)):
            path = self.source("table", text)
            for maker in (BUILD / "bin", self.theirs_folder):
                self.assertEqual(self.call(maker, name, [f"lmdb:{path}"])[0], 0)
                marks = ("YP_LAST_MODIFIED", "YP_MASTER_NAME")
                ours, theirs = (self.call(folder, name, ["-s", f"lmdb:{path}"])[1] for folder in (BUILD / "bin", self.theirs_folder))
                self.assertEqual(ours, theirs)
                self.assertTrue(ours)
                for key in KEYS:
                    self.both(name, "-q", key, f"lmdb:{path}")
                    self.both(name, "-q", "-", f"lmdb:{path}", text=key + "\n")
                self.assertEqual(all(mark in ours for mark in marks), name == "postalias")

    def test_both_make_the_same_entries(self):
        path = self.source("table", ENTRIES)
        made = []
        for maker in (BUILD / "bin", self.theirs_folder):
            path.with_suffix(".lmdb").unlink(missing_ok=True)
            self.call(maker, "postmap", [f"lmdb:{path}"])
            made.append(self.call(self.theirs_folder, "postmap", ["-s", f"lmdb:{path}"]))
        self.assertEqual(made[0], made[1])

    def test_rules_and_inline_tables_answer_alike(self):
        tables = [f"cidr:{self.source('cidr', CIDR)}", f"regexp:{self.source('patterns', PATTERNS)}",
                  f"texthash:{self.source('text', ENTRIES)}", *INLINE]
        for table in tables:
            for key in KEYS:
                # An empty answer of a rule is a warning there and here; the exit status is what counts.
                self.both("postmap", "-q", key, table)

    def test_keys_are_added_and_removed_alike(self):
        path = self.source("table", ENTRIES)
        copy = self.folder / "copy.lmdb"
        for step in (("-i", "newkey v1\nkey1 other\n"), ("-ir", "key1 other\n"), ("-iw", "key1 third\n"), ("-d", "newkey"), ("-d", "none")):
            self.call(self.theirs_folder, "postmap", [f"lmdb:{path}"])
            shown = []
            shutil.copy(path.with_suffix(".lmdb"), copy)
            for folder in (BUILD / "bin", self.theirs_folder):
                shutil.copy(copy, path.with_suffix(".lmdb"))
                if step[0] == "-d":
                    status = self.call(folder, "postmap", ["-d", step[1], f"lmdb:{path}"])
                else:
                    status = self.call(folder, "postmap", [step[0], f"lmdb:{path}"], step[1])
                shown.append((status, self.call(self.theirs_folder, "postmap", ["-s", f"lmdb:{path}"])))
            self.assertEqual(shown[0], shown[1], step)

    def test_messages_are_read_as_keys(self):
        message = "Subject: hi\n there\nTo: x\n\nbody line\nline2\n"
        table = "regexp:{{/hi/ H}, {/body/ B}, {/./ any}}"
        self.both("postmap", "-hq", "-", table, text=message)
        self.both("postmap", "-bq", "-", table, text=message)

    def test_values_from_files(self):
        part = self.source("part", "hello\n")
        path = self.source("files", f"k {part}\n")
        self.call(BUILD / "bin", "postmap", ["-F", f"lmdb:{path}"])
        self.assertEqual(self.both("postmap", "-F", "-q", "k", f"lmdb:{path}")[0], 0)
        self.both("postmap", "-q", "k", f"lmdb:{path}")

    def test_what_cannot_be_done_fails_in_both(self):
        path = self.source("table", ENTRIES)
        for args in (["-q", "x", "texthash:/nonexistent"], [f"pcre:{path}"], ["lmdb:/nonexistent"], ["-s", "-q", "x", f"lmdb:{path}"], []):
            self.assertNotEqual(self.both("postmap", *args)[0], 0)


if __name__ == "__main__":
    unittest.main()
