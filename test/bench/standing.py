#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what stands still: memory of idle connections, and a backlog of deferred mail.

Usage: standing.py [--connections N] [--backlog N] [--build DIR] [--only SERVER] [idle] [idle-tls] [greeting] [backlog]

Memory is PSS of all processes of a server, before and after, divided by the connections.
"""

import argparse
import contextlib
import os
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import bench  # noqa: E402
import certificates  # noqa: E402
import debian_postfix  # noqa: E402
import network  # noqa: E402
import servers  # noqa: E402

PORT, EMPTY_PORT = 2720, 2721
BACKLOG_PAIRS = 7
NOWHERE = "127.0.0.1:2799"  # nobody listens there


def pss_kb(pids: list[int]) -> int:
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total


def connect(at: int) -> socket.socket:
    sock = socket.socket()
    sock.bind((f"127.0.0.{2 + at % 200}", 0))
    sock.settimeout(60)
    sock.connect(("127.0.0.1", PORT))
    return sock


def read_reply(sock) -> bytes:
    data = b""
    while not data.endswith(b"\n") or data.splitlines()[-1][3:4] == b"-":
        piece = sock.recv(4096)
        if not piece:
            raise RuntimeError(f"connection closed after {data!r}")
        data += piece
    return data


def open_idle(count: int, tls: bool) -> list[socket.socket]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    held = []
    for at in range(count):
        sock = connect(at)
        read_reply(sock)
        sock.sendall(b"EHLO idle.example\r\n")
        read_reply(sock)
        if tls:
            sock.sendall(b"STARTTLS\r\n")
            read_reply(sock)
            sock = context.wrap_socket(sock)
            sock.sendall(b"EHLO idle.example\r\n")
            read_reply(sock)
        held.append(sock)
    return held


def certificate(folder: Path) -> str:
    key, cert = folder / "key.pem", folder / "cert.pem"
    if not key.exists():
        certificates.sign_itself(cert, key, "bench.example")
        os.chmod(key, 0o644)
    return f"smtpd_tls_security_level = may\nsmtpd_tls_cert_file = {cert}\nsmtpd_tls_key_file = {key}\n"


def idle(kind, folder: Path, count: int, tls: bool, before_greeting: bool = False) -> None:
    if kind is servers.Postfix:
        count = min(count, 250)  # a process each
    main = certificate(folder) + "smtpd_timeout = 3600s\n"
    if before_greeting:
        main += "smtpd_delay_reject = no\nsmtpd_client_restrictions = sleep 600\n"
    server = kind(folder, PORT, main, user="news")
    held = []
    try:
        server.start()
        # The first ones make what is there once a process: contexts, resolver, caches.
        held += [connect(at) for at in range(20)] if before_greeting else open_idle(20, tls)
        time.sleep(4)
        before = pss_kb(server.pids())
        held += [connect(at) for at in range(count)] if before_greeting else open_idle(count, tls)
        time.sleep(12)
        after = pss_kb(server.pids())
        state = "before the greeting" if before_greeting else "idle in TLS" if tls else "idle in clear"
        print(f"{server.name:10} {count} connections {state}: {(after - before) / count:.1f} KB each "
              f"({before} -> {after} KB in {len(server.pids())} processes)", flush=True)
    finally:
        for sock in held:
            sock.close()
        server.close()


def listing_seconds(server) -> float:
    command, env = server.queue_listing_command()
    began = time.monotonic()
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE) as listing:
        for _ in range(10):
            listing.stdout.readline()
        took = time.monotonic() - began
        listing.kill()
    return took


def resident_mb(pids: list[int]) -> float:
    return pss_kb(pids) / 1024


def backlog(kind, folder: Path, count: int) -> None:
    # Mail for "later" is deferred at once; mail for the sink goes through.
    maps = "inline:{ later.example=smtp:[" + NOWHERE.replace(":", "]:") + f" sink.example=smtp:[127.0.0.1]:{bench.SINK_PORT} }}"
    main = (f"mynetworks = 127.0.0.0/8\ntransport_maps = {maps}\nminimal_backoff_time = 4000s\nmaximal_backoff_time = 8000s\n"
            "queue_run_delay = 300s\n")
    # One with the backlog and one without, measured in turn: what else the machine does meets both.
    server, empty = kind(folder, PORT, main, user="news"), kind(folder, EMPTY_PORT, main, user="news")
    try:
        server.start()
        empty.start()
        with contextlib.closing(bench.Sink(folder)) as sink:
            def fresh(port: int, messages: int = 3000) -> float:
                already, began = sink.count(), time.monotonic()
                bench.send(port, 50, messages, 1024)
                bench.wait_for(sink.count, already + messages)
                return messages / (time.monotonic() - began)
            fresh(PORT, 500)
            fresh(EMPTY_PORT, 500)
            began = time.monotonic()
            subprocess.run([bench.debian_postfix.tool("smtp-source"), "-s", "50", "-m", str(count), "-l", "1024", "-f", "a@source.example",
                            "-t", "user@later.example", f"127.0.0.1:{PORT}"], env=bench.debian_postfix.environment(), check=True,
                           stdout=subprocess.DEVNULL)
            print(f"{server.name:10} took {count} messages in {time.monotonic() - began:.0f} s", flush=True)
            time.sleep(15)
            at_rest = resident_mb(server.pids())
            listings = [listing_seconds(server) for _ in range(3)]
            pairs = [(fresh(PORT), fresh(EMPTY_PORT)) for _ in range(BACKLOG_PAIRS)]
            ratios = [100 * ours / beside for ours, beside in pairs]
            server.stop()
            time.sleep(1)
            began = time.monotonic()
            server.start()
            bench.send(PORT, 1, 1, 1024)
            first = time.monotonic() - began
            print(f"{server.name:10} {count} deferred: first message accepted {first:.2f} s after start, listing starts in "
                  f"{statistics.median(listings):.3f} s, {at_rest:.0f} MB resident at rest, fresh mail "
                  f"{statistics.median(p[0] for p in pairs):.0f}/s beside {statistics.median(p[1] for p in pairs):.0f}/s without backlog "
                  f"({statistics.median(ratios):.0f} %, {min(ratios):.0f} to {max(ratios):.0f})", flush=True)
    finally:
        server.close()
        empty.close()
        shutil.rmtree(folder / "boxes", ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=5000)
    parser.add_argument("--backlog", type=int, default=100000)
    parser.add_argument("--build", type=Path, default=Path("build-release"))
    parser.add_argument("--only", choices=["postrider", "postfix"])
    parser.add_argument("what", nargs="*", default=["idle", "idle-tls", "greeting", "backlog"])
    options = parser.parse_args()
    servers.Postrider.__init__.__defaults__ = (options.build,)
    kinds = [k for k in (servers.Postrider, servers.Postfix) if options.only in (None, k.name)]
    debian_postfix.root()
    print(network.enter(), flush=True)
    with bench.spool_folder() as folder:
        for what in options.what:
            for kind in kinds:
                if what == "backlog":
                    backlog(kind, folder, options.backlog)
                else:
                    idle(kind, folder, options.connections, what == "idle-tls", what == "greeting")
    return 0


if __name__ == "__main__":
    sys.exit(main())
