# SPDX-License-Identifier: Apache-2.0
"""postconf beside Debian's: the same configurations, the same options, the same output.

Debian 12 has Postfix 3.7; the parameters and defaults here are those of 3.12. What differs for that reason
is listed below, each with its reason; everything else must be equal to the byte.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "test/lib"), str(TOP / "tools")]

import debian_postfix  # noqa: E402
import params  # noqa: E402
from postrider import BUILD  # noqa: E402

CONFIGURATIONS = TOP / "test/data/conf"
PEER_VERSION = (3, 7)

# Parameters whose default, or expanded default, is another one since 3.7.
CHANGED = {
    "address_verify_map": "default_cache_db_type is a parameter of its own since 3.11",
    "alias_database": "default_database_type is named in the default since 3.12",
    "alias_maps": "default_database_type is named in the default since 3.12",
    "import_environment": "XDG_RUNTIME_DIR was added in 3.8",
    "lmtp_tls_session_cache_database": "default_cache_db_type is a parameter of its own since 3.11",
    "mail_release_date": "another version",
    "mail_version": "another version",
    "milter_default_action": "shutdown instead of tempfail since 3.12",
    "milter_macro_v": "shows mail_version",
    "postscreen_cache_map": "default_cache_db_type is a parameter of its own since 3.11",
    "proxy_read_maps": "names more parameters in each version",
    "smtp_tls_dane_insecure_mx_policy": "dane, whatever the level, since 3.10",
    "smtp_tls_security_level": "depends on compatibility_level since 3.11",
    "smtpd_forbid_bare_newline": "normalize since 3.9; Debian brought the parameter to 3.7 with no as its default",
    "smtpd_forbid_unauth_pipelining": "yes since 3.9; Debian brought the parameter to 3.7 with no as its default",
    "smtpd_per_record_deadline": "the older name's default is not shown since 3.12",
    "tls_eecdh_auto_curves": "another order since 3.8",
    "tls_export_cipherlist": "empty since 3.8",
    "tls_high_cipherlist": "without weak algorithms since 3.8",
    "tls_legacy_public_key_fingerprints": "removed in 3.9",
    "tls_low_cipherlist": "empty since 3.8",
    "tls_medium_cipherlist": "without weak algorithms since 3.8",
    "tls_null_cipherlist": "without weak algorithms since 3.8",
    "tlsproxy_client_loglevel": "follows smtp_tls_loglevel itself since 3.12",
    "tlsproxy_client_loglevel_parameter": "removed in 3.12",
    "tlsproxy_client_policy_maps": "the same meaning, written otherwise since 3.8",
    "tlsproxy_client_security_level": "the same meaning, written otherwise since 3.8; follows smtp_tls_security_level",
    "process_id": "another process",
}

EDITS = [
    ["-e", "mydomain=new.example"],
    ["mydomain=new.example"],
    ["-e", " mydomain = new.example  two "],
    ["relay_domains="],
    ["-e", "mynetworks=192.0.2.1", "brand_new = $mydomain"],
    ["-X", "mynetworks", "mydestination"],
    ["-X", "nosuch"],
    ["-#", "mynetworks", "smtpd_recipient_restrictions"],
    ["-e", "=x"],
    ["-e", "a b=c"],
    ["-Me", "smtp/inet=smtp inet n - n - - smtpd -v"],
    ["-M", "new/unix=new unix - - n - - smtp -o a=b"],
    ["-Me", "smtp/inet = smtp inet n - n"],
    ["-Me", "smtp/inet = smtp inet n - n - - smtpd -o {a = b c} -o x=y"],
    ["-MX", "smtp/inet"],
    ["-M#", "smtp/inet"],
    ["-MX", "nosuch/unix"],
    ["-MX", "smtp"],
    ["-Fe", "smtp/inet/chroot=n"],
    ["-F", "smtp/inet/command=smtpd -v -o a=b"],
    ["-F", "*/inet/chroot=y"],
    ["-F", "smtp/inet/nosuch=n"],
    ["-F", "smtp/inet/private=x"],
    ["-F", "nosuch/inet/chroot=n"],
    ["-Pe", "smtp/inet/syslog_name=postfix/in"],
    ["-P", "smtp/inet/smtpd_banner="],
    ["-Pe", "*/inet/syslog_name=postfix/in"],
    ["-PX", "smtp/inet/smtpd_banner"],
    ["-PX", "smtp/inet"],
]


def run(program, env, folder, *options):
    return subprocess.run([program, "-c", str(folder), *options], env=env, capture_output=True, text=True, timeout=60)


def peer(folder, *options):
    return run(debian_postfix.tool("postconf"), debian_postfix.environment(), folder, *options)


def ours(folder, *options):
    return run(str(BUILD / "bin/postconf"), dict(os.environ), folder, *options)


def newer_names():
    """Parameters that came after the peer's version, and those of our own."""
    names = set()
    for param in params.read_all(sorted(map(str, (TOP / "src/config/params").glob("*.param")))):
        version = tuple(int(part) for part in param["since"].split("."))
        if version > PEER_VERSION or param.area == "postrider":
            names.add(param.name)
    return names


def known(name_line, ignored):
    name = name_line.partition(" =")[0]
    return name in ignored


class PostconfShows(unittest.TestCase):
    maxDiff = 3000

    @classmethod
    def setUpClass(cls):
        newer = newer_names()
        cls.ignored = {"-d": newer | CHANGED.keys()}
        for folder in CONFIGURATIONS.iterdir():
            is_set = {line.partition(" =")[0] for line in peer(folder, "-n").stdout.splitlines()}
            cls.ignored[folder.name] = (newer | CHANGED.keys()) - is_set

    def compare(self, *options):
        """The same lines from both, but for names that are newer or have another default where these are not set."""
        for folder in sorted(CONFIGURATIONS.iterdir()):
            with self.subTest(configuration=folder.name, options=options):
                ignored = self.ignored["-d" if "-d" in options else folder.name]
                one, two = peer(folder, *options), ours(folder, *options)
                self.assertEqual(one.returncode, two.returncode, two.stderr)
                self.assertEqual([line for line in one.stdout.splitlines() if not known(line, ignored)],
                                 [line for line in two.stdout.splitlines() if not known(line, ignored)])

    def test_what_main_cf_sets(self):
        self.compare("-n")

    def test_what_main_cf_sets_folded(self):
        self.compare("-nf")

    def test_what_main_cf_sets_expanded(self):
        self.compare("-n", "-x")

    def test_values_without_names(self):
        self.compare("-n", "-h")

    def test_names_without_values(self):
        self.compare("-n", "-H")

    def test_all_parameters(self):
        self.compare()

    def test_all_parameters_expanded(self):
        self.compare("-x")

    def test_defaults(self):
        self.compare("-d")

    def test_names_that_people_made_up(self):
        self.compare("-C", "user")

    def test_parameters_of_services(self):
        self.compare("-C", "service")
        self.compare("-n", "-C", "service,user")

    def test_parameters_by_name(self):
        self.compare("mydestination", "nosuch", "mynetworks", "mydomain")
        self.compare("-x", "mydestination", "smtpd_banner", "myorigin")
        self.compare("-d", "mydomain", "smtpd_timeout")
        self.compare("-n", "mydomain", "smtpd_timeout")

    def test_overrides_of_the_command_line(self):
        self.compare("-o", "mydomain=over.example", "-o", "smtp_helo_name=$mydomain", "-x", "mydomain", "smtp_helo_name", "myorigin")

    def test_services(self):
        self.compare("-M")
        self.compare("-Mf")
        self.compare("-Mx")
        self.compare("-M", "smtp/inet", "relay", "nosuch")

    def test_fields_of_services(self):
        self.compare("-F")
        self.compare("-F", "smtp/inet", "*/inet/chroot", "*/*/command")
        self.compare("-F", "smtp/inet/nosuch")
        self.compare("-Fh", "*/unix/wakeup")

    def test_settings_of_services(self):
        self.compare("-P")
        self.compare("-Px")
        self.compare("-PH")
        self.compare("-Ph")
        self.compare("-P", "*/inet/syslog_name", "submission/inet", "smtp", "nosuch/unix")

    def test_options_that_exclude_each_other(self):
        for options in (["-n", "-d"], ["-M", "-P"], ["-M", "-h"], ["-M", "-H"], ["-h", "-H"], ["-C", "nosuch"], ["-e", "-X", "a"],
                        ["-e"], ["-P", "-#", "smtp/inet/x"], ["-F", "-X", "smtp/inet/chroot"]):
            with self.subTest(options=options):
                folder = CONFIGURATIONS / "gradual"
                self.assertEqual(peer(folder, *options).returncode, ours(folder, *options).returncode)

    def test_lock_methods(self):
        self.compare("-l")


class PostconfEdits(unittest.TestCase):
    maxDiff = 3000

    def test_every_edit_leaves_the_same_files(self):
        for source in ("gradual", "oddities"):
            for edit in EDITS:
                with self.subTest(configuration=source, edit=edit):
                    one, two = self.edited(peer, source, edit), self.edited(ours, source, edit)
                    self.assertEqual(one, two)

    def edited(self, program, source, edit):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "etc"
            shutil.copytree(CONFIGURATIONS / source, folder)
            for name in ("main.cf", "master.cf"):
                text = (folder / name).read_text()
                # Without a newline at the end the peer glues a new setting to the last line.
                (folder / name).write_text(text if text.endswith("\n") else text + "\n")
            done = program(folder, *edit)
            return done.returncode, (folder / "main.cf").read_text(), (folder / "master.cf").read_text()


class PostconfOfOurOwn(unittest.TestCase):
    """What Debian's does otherwise, or not at all."""

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        self.main = self.folder / "main.cf"
        self.main.write_text("# head\nsmtpd_use_tls = yes\n# about the name\nmyhostname = a.example\n# tail")
        (self.folder / "master.cf").write_text("smtp inet n - n - - smtpd\n")

    def test_a_bare_name_unsets(self):
        self.assertEqual(ours(self.folder, "-e", "smtpd_use_tls").returncode, 0)
        self.assertEqual(self.main.read_text(), "# head\n# about the name\nmyhostname = a.example\n# tail\n")

    def test_three_arguments_are_one_setting(self):
        self.assertEqual(ours(self.folder, "-e", "smtp_tls_security_level", "=", "may").returncode, 0)
        self.assertTrue(self.main.read_text().endswith("# tail\nsmtp_tls_security_level = may\n"))

    def test_mode_and_links_stay(self):
        self.main.chmod(0o640)
        real = self.folder / "real.cf"
        self.main.rename(real)
        self.main.symlink_to(real)
        ours(self.folder, "-e", "mydomain=b.example")
        self.assertTrue(self.main.is_symlink())
        self.assertEqual(real.stat().st_mode & 0o777, 0o640)
        self.assertIn("mydomain = b.example", real.read_text())
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["main.cf", "master.cf", "real.cf"])

    def test_json(self):
        self.assertEqual(ours(self.folder, "-nj", "myhostname").stdout, '{"myhostname": "a.example"}\n')
        self.assertEqual(ours(self.folder, "-Mj").stdout, '{"smtp/inet": "smtp inet n - n - - smtpd"}\n')

    def test_a_line_that_makes_no_sense_is_told_with_its_place(self):
        self.main.write_text("myhostname = a.example\nnot a setting\n")
        done = ours(self.folder, "-n")
        self.assertEqual(done.returncode, 1)
        self.assertIn("main.cf:2: error:", done.stderr)

    def test_parameters_are_shown_without_a_master_cf(self):
        (self.folder / "master.cf").unlink()
        for options in (["-d", "mydomain"], ["-h", "myhostname"], ["-n"]):
            with self.subTest(options=options):
                one, two = peer(self.folder, *options), ours(self.folder, *options)
                self.assertEqual((one.returncode, one.stdout), (two.returncode, two.stdout))
                self.assertIn("master.cf", two.stderr)
        self.assertEqual(ours(self.folder, "-M").returncode, 1)

    def test_quiet_leaves_warnings_out(self):
        self.main.write_text("smtpd_banne = x\n")
        self.assertIn("did you mean smtpd_banner?", ours(self.folder, "-n").stderr)
        self.assertEqual(ours(self.folder, "-nq").stderr, "")

    def test_templates(self):
        (self.folder / "bounce.cf").write_text("delay_template = <<END\nSubject: wait\n\nHost $myhostname, "
                                               "$delay_warning_time_hours hours\nEND\n")
        ours(self.folder, "-e", "delay_warning_time=4h")
        done = ours(self.folder, "-b", str(self.folder / "bounce.cf"))
        self.assertIn("expanded_delay_text = <<EOF\nHost a.example, 4 hours\nEOF\n", done.stdout)
        self.assertIn("expanded_failure_text = <<EOF\nThis is the mail system at host a.example.\n", done.stdout)
        self.assertIn("Host $myhostname,", ours(self.folder, "-t", str(self.folder / "bounce.cf")).stdout)


class Coverage(unittest.TestCase):
    def test_every_parameter_of_postfix_is_declared_and_counted(self):
        done = subprocess.run([str(BUILD / "bin/postrider"), "coverage", "planned"], capture_output=True, text=True, timeout=60)
        counts = {words[0]: int(words[1]) for line in done.stdout.splitlines()[:4] if (words := line.split())}
        own = sum(param.area == "postrider" for param in params.read_all(
            sorted(map(str, (TOP / "src/config/params").glob("*.param")))))
        self.assertEqual(counts["total"], 1063 + own)
        self.assertEqual(counts["done"] + counts["built-in"] + counts["planned"], counts["total"])
        self.assertIn("\nplanned:\n", done.stdout)


if __name__ == "__main__":
    unittest.main()
