# SPDX-License-Identifier: Apache-2.0
"""Servers with the configurations that people publish: test/documents/NAME/{main,master}.cf.

    with Document("holly") as server:
        server.smtp("submission")

The files stand as their authors wrote them. Put in place of theirs are only what a test cannot have: certificates,
ports, addresses, and SQL tables, which become texthash: files of the same names. The lines of THE_HOST, after the
document's own, say where this test lives.
"""

import re
import subprocess
from pathlib import Path

from postrider import MAIL_OWNER, MAILBOX_OWNER, Postrider, free_ports, make_certificate

FOLDER = Path(__file__).resolve().parents[1] / "documents"
NAMES = ("inherited", "holly", "slowly", "librelamp", "wiki")
# Services of master.cf by the names that the tests use for their ports.
SERVICES = {"smtp": "smtp", "submission": "submission", "submissions": "submissions", "smtps": "submissions"}

# What the documents call their files.
FILES = {
    "/etc/pki/tls/certs/godaddy.crt": "cert.pem", "/etc/pki/tls/private/godaddy.key": "key.pem",
    "/etc/pki/tls/certs/gd_bundle-g2-g1.crt": "cert.pem",
    "/etc/pki/postfix/certs/postfix.crt": "cert.pem", "/etc/pki/postfix/private/postfix.key": "key.pem",
    "/etc/pki/postfix/certs/startssl.pem": "cert.pem",
    "/etc/letsencrypt/live/brokkr.net/": "", "/etc/pki/tls/certs/postfix.pem": "rsa-cert.pem",
    "/etc/pki/tls/private/postfix.key": "rsa-key.pem", "/etc/pki/tls/dh4096.pem": "dh4096.pem",
    "/etc/pki/tls/mozilla": "authorities", "/etc/ssl/certs/ssl-cert-snakeoil.pem": "cert.pem",
    "/etc/ssl/private/ssl-cert-snakeoil.key": "key.pem", "/etc/ssl/certs/ca-certificates.crt": "cert.pem",
    "/etc/postfix/": "", "btree:/var/lib/postfix/": "btree:",
}

THE_HOST = """\
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/maillog
maillog_file_prefixes = /
mail_owner = {mail_owner}
inet_interfaces = 127.0.0.1
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
cyrus_sasl_config_path = {folder}/etc
"""
# For documents that leave out who they are.
THE_SITE = """\
compatibility_level = 3.11
myhostname = mx.test.example
mydomain = test.example
myorigin = test.example
mydestination = local.example
mynetworks =
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
virtual_mailbox_domains = test.example
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = texthash:{folder}/etc/mailboxes
"""


class Document(Postrider):
    """`main` and `master` are lines after the document's."""

    def __init__(self, name: str, main: str = "", master: str = "", **more):
        self.name = name
        self.plain_port = free_ports(1)[0]
        super().__init__(main, master, **more)

    def _write(self, main: str, master: str, files: dict) -> None:
        super()._write("", "", files)
        self._make_files()
        site = "" if self.name == "inherited" else THE_SITE
        text = "".join(self._placed((FOLDER / self.name / "main.cf").read_text()))
        self.write("main.cf", self._filled(text + "\n" + site + THE_HOST + main + "\n"))
        internals = "" if self.name == "inherited" else (FOLDER / "internals.cf").read_text()
        services = self._with_ports((FOLDER / self.name / "master.cf").read_text())
        self.write("master.cf", self._filled(services + "\n" + internals + master + "\n"))

    def _make_files(self) -> None:
        (self.etc / "authorities").mkdir()
        self.write("smtpd.conf", f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {self.etc}/sasldb\n"
                   "mech_list: PLAIN LOGIN CRAM-MD5\n")
        (self.etc / "fullchain.pem").write_bytes((self.etc / "cert.pem").read_bytes())
        (self.etc / "privkey.pem").write_bytes((self.etc / "key.pem").read_bytes())
        if self.name == "librelamp":
            make_certificate(self.etc, "mx.test.example", "rsa")
            subprocess.run(["openssl", "genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe4096", "-out",
                            str(self.etc / "dh4096.pem")], check=True, capture_output=True)
            self.write("starttls_everywhere_policy", "")
            self._make_map("starttls_everywhere_policy")
        if self.name == "wiki":
            self.write("transport", ".internal smtpinternal:\n")
            self._make_map("transport")
        if self.name == "inherited":
            (self.etc / "postscreen").mkdir()
            self.write("postscreen/access.cidr", "192.0.2.0/24 reject\n")
            self.write("postscreen/dnsbl_reply_map.pcre", "/^zen\\./ zen.spamhaus.org\n")
            for table in ("mailboxes", "domains", "autoreply", "aliases", "groups"):
                self.write(table, {"mailboxes": f"demo@test.example {self.mail}/demo/\n", "domains": "test.example x\n"}.get(table, ""))

    def _make_map(self, name: str) -> None:
        done = self.run("postmap", f"hash:{self.etc / name}")
        if done.returncode:
            raise AssertionError(done.stderr)

    def _placed(self, text: str) -> str:
        text = re.sub(r"proxy:mysql:/etc/postfix/mysql/(\w+)\.cf", r"proxy:texthash:{folder}/etc/\1", text)
        for theirs, ours in FILES.items():
            text = text.replace(theirs, theirs.split("/")[0] + f"{self.etc}/{ours}")
        return text

    def _with_ports(self, text: str) -> str:
        for service, name in SERVICES.items():
            text = re.sub(rf"^{service}(\s+inet)", rf"{self.ports[name]}\1", text, flags=re.M)
        return text.replace("127.0.0.1:40025", f"127.0.0.1:{self.plain_port}")

    def _filled(self, text: str) -> str:
        import pwd
        owner = pwd.getpwnam(MAILBOX_OWNER)
        values = {"folder": self.folder, "mail_owner": MAIL_OWNER, "uid": owner.pw_uid, "gid": owner.pw_gid}
        for name, value in values.items():
            text = text.replace("{" + name + "}", str(value))
        return text
