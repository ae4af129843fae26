#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes and starts an instance under run/, sends two messages through it and shows what became of them.

It needs no root. Started by root it runs as an account that every Debian has, and stands under /var/tmp when
that account cannot reach this folder.
"""

import os
import pwd
import re
import secrets
import shutil
import smtplib
import ssl
import subprocess
import sys
import time
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
ACCOUNT = "news" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
PORTS = {"smtp": 2525, "submission": 2587, "submissions": 2465}
PATIENCE = 30

# What ./dev run adds to the configuration that a new server starts from (packaging/).
MAIN_CF = """
# --- written by ./dev run; each run writes it again ---
queue_directory = {run}/queue
data_directory = {run}/data
maillog_file = {run}/maillog
maillog_file_prefixes = {run}
mail_owner = {account}

myhostname = mx.postrider.example
mydomain = postrider.example
myorigin = $mydomain
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
mydestination =
alias_maps =
alias_database =

virtual_mailbox_domains = $mydomain
virtual_mailbox_base = {run}/mail
virtual_mailbox_maps = texthash:{run}/etc/mailboxes
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1

smtpd_tls_cert_file = {run}/etc/cert.pem
smtpd_tls_key_file = {run}/etc/key.pem
smtpd_sasl_builtin_maps = texthash:{run}/etc/passwords
"""


def is_reachable(folder: Path) -> bool:
    """May everybody walk through all folders above?"""
    return all(p.stat().st_mode & 0o001 for p in [folder, *folder.parents])


def fresh_folder(build: Path) -> Path:
    run = TOP / "run"
    if (run / "etc/main.cf").exists():
        subprocess.run([build / "bin/postfix", "-c", run / "etc", "stop"], capture_output=True, check=False)
    real = run.resolve()
    if run.is_symlink():
        run.unlink()
    shutil.rmtree(real, ignore_errors=True)
    if os.geteuid() == 0 and not is_reachable(TOP):
        real = Path("/var/tmp") / f"postrider-run-{secrets.token_hex(4)}"
        run.symlink_to(real)
        print(f"./dev: run/ is {real}, which the account {ACCOUNT} can reach")
    real.mkdir(mode=0o755)
    return real


def hashed(password: str) -> str:
    done = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=password, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def write_instance(run: Path, password: str) -> None:
    owner = pwd.getpwnam(ACCOUNT)
    etc = run / "etc"
    etc.mkdir()
    (run / "mail").mkdir()
    os.chown(run / "mail", owner.pw_uid, owner.pw_gid)
    values = {"run": run, "account": ACCOUNT, "uid": owner.pw_uid, "gid": owner.pw_gid}
    (etc / "main.cf").write_text((TOP / "packaging/main.cf").read_text() + MAIN_CF.format(**values))
    services = (TOP / "packaging/master.cf").read_text()
    for name, port in PORTS.items():
        services = re.sub(rf"^{name}\b(?=\s+inet)", str(port), services, flags=re.M)
    (etc / "master.cf").write_text(services)
    (etc / "mailboxes").write_text("demo@postrider.example demo/\n")
    with open(os.open(etc / "passwords", os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="utf-8") as f:
        f.write(f"demo {hashed(password)}\n")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "365",
                    "-subj", "/CN=mx.postrider.example", "-addext", "subjectAltName=DNS:mx.postrider.example",
                    "-keyout", etc / "key.pem", "-out", etc / "cert.pem"], check=True, capture_output=True)


def compose(subject: str) -> EmailMessage:
    m = EmailMessage()
    m["From"] = "Demo <demo@postrider.example>"
    m["To"] = "demo@postrider.example"
    m["Subject"] = subject
    m["Date"] = formatdate(localtime=True)
    m["Message-ID"] = make_msgid(domain="client.example")
    m.set_content("It works.\n")
    return m


def send(password: str, trusted: Path) -> None:
    context = ssl.create_default_context(cafile=str(trusted))
    context.check_hostname = False # the certificate says mx.postrider.example, and we come by 127.0.0.1
    with smtplib.SMTP("127.0.0.1", PORTS["submission"], "client.example", timeout=PATIENCE) as s:
        s.starttls(context=context)
        s.login("demo", password)
        s.send_message(compose("Through 2587: STARTTLS and AUTH"))
    with smtplib.SMTP_SSL("127.0.0.1", PORTS["submissions"], "client.example", timeout=PATIENCE, context=context) as s:
        s.login("demo", password)
        s.send_message(compose("Through 2465: TLS from the first byte, and AUTH"))


def wait_mail(folder: Path, count: int) -> list[Path]:
    deadline = time.monotonic() + PATIENCE
    while True:
        files = sorted(folder.glob("new/*"), key=lambda f: f.stat().st_mtime_ns)
        if len(files) >= count:
            return files
        if time.monotonic() > deadline:
            sys.exit(f"the Maildir {folder} holds {len(files)} of {count} messages after {PATIENCE} s")
        time.sleep(0.05)


def story(log: list[str], queue_id: str) -> list[str]:
    """The session that brought the message, from connect to disconnect, and all that names the message."""
    kept = {i for i, line in enumerate(log) if f" {queue_id}: " in line}
    client = next(i for i in sorted(kept) if ": client=" in log[i])
    process = re.search(r"\[\d+\]:", log[client]).group(0)
    for step, last in ((-1, ": connect from"), (1, ": disconnect from")):
        i = client
        while 0 <= i < len(log):
            if process in log[i] and "smtpd" in log[i]:
                kept.add(i)
                if last in log[i]:
                    break
            i += step
    return [log[i] for i in sorted(kept)]


def show(run: Path, files: list[Path]) -> None:
    log = (run / "maillog").read_text().splitlines()
    for path in files:
        text = path.read_text()
        queue_id = re.search(r"\bid ([0-9A-Za-z]+)", text).group(1)
        print(f"\n--- {path}\n{text.rstrip()}")
        print("\n--- its story in the log")
        print("\n".join(story(log, queue_id)))


def main() -> int:
    build = Path(sys.argv[1]).resolve()
    run = fresh_folder(build)
    password = secrets.token_urlsafe(12)
    write_instance(run, password)
    shown = (TOP / "run").relative_to(TOP)
    started = subprocess.run([build / "bin/postfix", "-c", run / "etc", "start"], check=False)
    if started.returncode:
        return 1
    send(password, run / "etc/cert.pem")
    files = wait_mail(run / "mail/demo", 2)
    time.sleep(0.2) # the lines that follow a delivery
    show(run, files)
    print(f"""
The server runs: SMTP on 127.0.0.1:2525, submission on 2587 (STARTTLS) and 2465 (TLS).
  user      demo, password {password}
  log       {shown}/maillog
  queue     build/bin/postqueue -c {shown}/etc -p
  stop      build/bin/postfix -c {shown}/etc stop""")
    return 0


if __name__ == "__main__":
    sys.exit(main())
