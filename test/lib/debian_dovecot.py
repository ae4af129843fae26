# SPDX-License-Identifier: Apache-2.0
"""Debian's Dovecot, unpacked and run from a private folder: its authentication service on a private socket, and what a test adds."""

import os
import pwd
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import debian_packages
from postrider import PATIENCE, accepts, whole_lines

PACKAGES = ("dovecot-core", "liblua5.4-0", "libstemmer0d", "libexttextcat-2.0-0", "libsodium23", "libapparmor1", "libwrap0", "libtirpc3", "libunwind8")
# Accounts every Debian has, for what Dovecot runs as when root starts it.
UNPRIVILEGED = "games"

CONFIGURATION = """\
base_dir = {folder}/run
state_dir = {folder}/state
libexec_dir = {root}/usr/lib/dovecot
auth_stats = no
log_path = {folder}/log
log_debug = category=auth
import_environment = TZ LD_LIBRARY_PATH={libraries}
first_valid_uid = 1
first_valid_gid = 1
instance_name = postrider-test
protocols =
ssl = no
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
auth_mechanisms = {mechanisms}
disable_plaintext_auth = no
auth_failure_delay = {failure_delay}
passdb {
  driver = passwd-file
  args = scheme=plain {folder}/users
  auth_verbose = yes
}
userdb {
  driver = static
  args = uid={user} gid={group} home=/tmp
}
service auth {
  chroot =
  unix_listener {socket} {
    mode = 0666
  }
  user = {auth_user}
}
service anvil {
  chroot =
}
service stats {
  chroot =
}
"""

# {port}: where it listens; {relay_port}: of the server on 127.0.0.2 that it hands mail to; {certificates}: a folder with cert.pem
# and key.pem.
SUBMISSION = """\
protocols = submission
ssl = yes
ssl_cert = <{certificates}/cert.pem
ssl_key = <{certificates}/key.pem
ssl_dh =
hostname = mx.far.example
submission_relay_host = 127.0.0.2
submission_relay_port = {relay_port}
submission_relay_trusted = no
mail_location = maildir:{folder}/mail/%u
service submission-login {
  chroot =
  inet_listener submission {
    address = 127.0.0.1
    port = {port}
  }
}
"""

# {lmtp}: the socket.
LMTP = """\
protocols = lmtp
hostname = mx.far.example
mail_location = maildir:{folder}/mail/%u
service lmtp {
  chroot =
  unix_listener {lmtp} {
    mode = 0666
  }
}
"""


class DebianDovecot:
    """`socket` is where its clients connect; `users` are {name: password}."""

    def __init__(self, socket: Path, users: dict | None = None, mechanisms: str = "plain login cram-md5", failure_delay: str = "0",
                 more: str = "", packages: tuple = (), **values):
        self._temp = tempfile.TemporaryDirectory(prefix="peer-dovecot-")
        self.folder = Path(self._temp.name)
        self.folder.chmod(0o755)
        self.socket = socket
        self._doors = [socket, *(values[name] for name in ("port", "lmtp") if name in values)]
        self._process = None
        root = debian_packages.unpacked(*PACKAGES, *packages)
        user = UNPRIVILEGED if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self._libraries = debian_packages.library_path(root, "usr/lib/dovecot", "usr/lib/dovecot/modules/old-stats")
        values |= {"libraries": self._libraries, "folder": self.folder, "root": root, "user": user, "group": _group_of(user), "mechanisms": mechanisms, "socket": socket,
                  "auth_user": user, "failure_delay": failure_delay}
        text = CONFIGURATION + more
        for name, value in values.items():
            text = text.replace("{" + name + "}", str(value))
        (self.folder / "dovecot.conf").write_text(text)
        (self.folder / "users").write_text("".join(f"{name}:{password}\n" for name, password in (users or {"demo": "secret"}).items()))
        (self.folder / "mail").mkdir(mode=0o777)
        (self.folder / "mail").chmod(0o777)
        (self.folder / "log").touch()
        (self.folder / "log").chmod(0o666)
        self._root = root

    def start(self) -> "DebianDovecot":
        env = dict(os.environ)
        env["LD_LIBRARY_PATH"] = self._libraries
        (self.folder / "run").mkdir(exist_ok=True)
        with open(self.folder / "output", "a", encoding="utf-8") as output:
            self._process = subprocess.Popen(self._command(),
                                             env=env, stdout=output, stderr=output, start_new_session=True)
        deadline = time.monotonic() + PATIENCE
        while not all(accepts(where) for where in self._doors):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError("Debian's Dovecot does not start:\n" + self.log_text())
            time.sleep(0.05)
        return self

    def _command(self) -> list[str]:
        """dovecot wants doveconf at its installed place; what it would have asked of it is asked here."""
        config = str(self.folder / "dovecot.conf")
        return self._at_home() + [str(self._root / "usr/bin/doveconf"), "-f", "service=master", "-c", config, "-m", "master", "-p", "-e",
                                  str(self._root / "usr/sbin/dovecot"), "-F", "-c", config]

    def _at_home(self) -> list[str]:
        """What logs clients in looks for modules at one place alone: root lets it see them there, and nobody else does."""
        if os.geteuid() != 0:
            return []
        layer = self.folder / "layer"
        layer.mkdir(exist_ok=True)
        if not (layer / "dovecot").exists():
            (layer / "dovecot").symlink_to(self._root / "usr/lib/dovecot")
        return ["unshare", "-m", "sh", "-c", f'mount -t overlay overlay -o lowerdir={layer}:/usr/lib /usr/lib && exec "$@"', "sh"]

    def log_text(self) -> str:
        return "".join(whole_lines(self.folder / name) for name in ("output", "log"))

    def stop(self) -> None:
        """At once, all of it: its processes share a group that is theirs alone."""
        if self._process:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def __enter__(self) -> "DebianDovecot":
        return self.start()

    def __exit__(self, *_) -> None:
        self.stop()
        self._temp.cleanup()


def _group_of(user: str) -> str:
    import grp
    return grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
