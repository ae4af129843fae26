# SPDX-License-Identifier: Apache-2.0
"""kill -9 of every role at random moments under load: what got its 250 arrives, undamaged.

20 kills; KILLS=200 in the environment for the long run, SEED=n to repeat one.
"""

import hashlib
import os
import random
import re
import signal
import smtplib
import socketserver
import threading
import time
import unittest

from postrider import PATIENCE, Postrider, is_alive, wait_until

KILLS = int(os.environ.get("KILLS", "20"))
SEED = int(os.environ.get("SEED", str(time.time_ns() % 1000000)))
ROLES = ("smtpd", "qmgr", "smtp", "local", "lookup", "master")
SENDERS = 6

MAIN = """
relayhost = [127.0.0.1]:{sink}
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
transport_retry_time = 1s
smtp_destination_concurrency_failed_cohort_limit = 100
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
maximal_queue_lifetime = 1h
virtual_mailbox_maps = static:all/
"""


class Sink(socketserver.ThreadingTCPServer):
    """Takes all mail and keeps what came, by recipient."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), SinkSession)
        self.lock = threading.Lock()
        self.mail: dict[str, list[bytes]] = {}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        pass  # killed clients break off

    def add(self, recipients: list[str], text: bytes) -> None:
        with self.lock:
            for recipient in recipients:
                self.mail.setdefault(recipient, []).append(text)


class SinkSession(socketserver.StreamRequestHandler):
    def handle(self):
        recipients: list[str] = []
        self.say("220 sink ESMTP")
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                self.say("250-sink\r\n250 PIPELINING")
            elif verb == b"RCPT":
                recipients.append(line.split(b"<", 1)[1].split(b">", 1)[0].decode())
                self.say("250 ok")
            elif verb == b"DATA":
                self.say("354 go on")
                text = self.read_text()
                if text is None:
                    return
                self.server.add(recipients, text)
                recipients = []
                self.say("250 taken")
            elif verb == b"QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 ok")

    def say(self, text: str) -> None:
        self.wfile.write(text.encode() + b"\r\n")

    def read_text(self) -> bytes | None:
        lines = []
        while line := self.rfile.readline():
            if line == b".\r\n":
                return b"".join(lines)
            lines.append(line[1:] if line.startswith(b".") else line)
        return None


class Load:
    """Sessions that send until told to stop, and remember what was acknowledged."""

    def __init__(self, port: int):
        self.port = port
        self.lock = threading.Lock()
        self.acknowledged: dict[str, list[str]] = {}  # name of the message: recipients
        self.is_over = False
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(SENDERS)]
        for thread in self.threads:
            thread.start()

    def run(self, number: int) -> None:
        chance = random.Random(f"{SEED}-{number}")
        count = 0
        while not self.is_over:
            try:
                with smtplib.SMTP("127.0.0.1", self.port, "load.example", timeout=PATIENCE) as session:
                    for _ in range(chance.randrange(1, 20)):
                        count += 1
                        self.send(session, f"m{number}x{count}", chance)
                        if self.is_over:
                            break
            except (OSError, smtplib.SMTPException):
                time.sleep(0.05)

    def send(self, session: smtplib.SMTP, name: str, chance: random.Random) -> None:
        recipients = [f"{name}-{i}@{chance.choice(('test.example', 'remote.example'))}" for i in range(chance.randrange(1, 4))]
        session.sendmail("load@test.example", recipients, message(name, chance))
        with self.lock:
            self.acknowledged[name] = recipients

    def stop(self) -> None:
        self.is_over = True
        for thread in self.threads:
            thread.join()


def message(name: str, chance: random.Random) -> bytes:
    """A text that tells its name and the hash of its body."""
    size = chance.choice((100, 3000, 3000, 20000, 200000))
    if chance.random() < 0.01:
        size = 6000000  # a file of its own in the spool
    body = b"".join(b"%s line %d\r\n" % (name.encode(), i) for i in range(size // 16))
    return b"Subject: %s %s\r\n\r\n%s" % (name.encode(), hashlib.sha256(body).hexdigest().encode(), body)


def check_text(text: bytes, name: str) -> str:
    """What is wrong with a message that arrived; empty for nothing."""
    head, _, body = text.replace(b"\r\n", b"\n").partition(b"\n\n")
    subject = [line for line in head.split(b"\n") if line.startswith(b"Subject: ")]
    if len(subject) != 1:
        return "no subject"
    _, got, digest = subject[0].decode().split()
    if got != name:
        return f"the text of {got}"
    if hashlib.sha256(body.replace(b"\n", b"\r\n")).hexdigest() != digest:
        return "a damaged body"
    return ""


class Kill(unittest.TestCase):
    def test_nothing_that_got_its_250_is_lost_or_damaged(self):
        sink = Sink()
        chance = random.Random(SEED)
        print(f"SEED={SEED} KILLS={KILLS}", flush=True)
        try:
            with Postrider(main=MAIN.replace("{sink}", str(sink.server_address[1]))) as server:
                load = Load(server.ports["smtp"])
                try:
                    for i in range(KILLS):
                        time.sleep(chance.uniform(0.1, 1.2))
                        kill(server, ROLES[i % len(ROLES)], chance)
                    wait_until(lambda: len(load.acknowledged) > KILLS, "enough mail", 10 * PATIENCE)
                finally:
                    load.stop()
                mailbox = Mailbox(server)
                wait_until(lambda: is_all_there(mailbox, sink, load), "all acknowledged mail", 10 * PATIENCE)
                self.check({**mailbox.look(), **sink.mail}, load)
        finally:
            sink.shutdown()
            sink.server_close()

    def check(self, arrived: dict[str, list[bytes]], load: Load) -> None:
        copies = deliveries = 0
        for name, recipients in load.acknowledged.items():
            for recipient in recipients:
                texts = arrived[recipient]
                for text in texts:
                    self.assertEqual(check_text(text, name), "", recipient)
                deliveries += 1
                copies += len(texts) - 1
        print(f"{len(load.acknowledged)} messages, {deliveries} recipients, {copies} second copies", flush=True)


class Mailbox:
    """The one Maildir of test.example; every file is read once."""

    def __init__(self, server: Postrider):
        self.folder = server.mail / "all/new"
        self.read: set[str] = set()
        self.mail: dict[str, list[bytes]] = {}

    def look(self) -> dict[str, list[bytes]]:
        """By recipient."""
        names = {entry.name for entry in os.scandir(self.folder)} if self.folder.is_dir() else set()
        for name in names - self.read:
            text = (self.folder / name).read_bytes()
            recipient = re.search(rb"^Delivered-To: (\S+)$", text, re.M).group(1).decode()
            self.mail.setdefault(recipient, []).append(text)
        self.read |= names
        return self.mail


def is_all_there(mailbox: Mailbox, sink: Sink, load: Load) -> bool:
    local = mailbox.look()
    with sink.lock:
        relayed = set(sink.mail)
    for recipients in load.acknowledged.values():
        for recipient in recipients:
            if recipient not in local and recipient not in relayed:
                time.sleep(0.5)
                return False
    return True


def kill(server: Postrider, role: str, chance: random.Random) -> None:
    if role == "master":
        kill_master(server)
        return
    pids = server.pids(role)
    if pids:
        try:
            os.kill(chance.choice(pids), signal.SIGKILL)
        except ProcessLookupError:
            pass


def kill_master(server: Postrider) -> None:
    """The others end when their master is gone; then everything is started anew."""
    master = server.master_pid()
    if not master:
        return
    others = [pid for role in ROLES[:-1] for pid in server.pids(role)]
    os.kill(master, signal.SIGKILL)
    wait_until(lambda: not any(is_alive(pid) for pid in [master, *others]), "the end of all processes")
    server.start()


if __name__ == "__main__":
    unittest.main()
