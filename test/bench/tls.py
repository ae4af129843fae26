#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Handshakes: beside `openssl s_server` on one core, resumed beside full ones, and whole sessions beside Debian's Postfix.

Runs alternate, so that what else the machine does falls on both. Beside the rate by the clock stands the one by the
server's own CPU time, which a busy machine disturbs less.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import network
import servers

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "test/lib"))
import certificates  # noqa: E402
import debian_postfix  # noqa: E402

USER = "news" if os.geteuid() == 0 else ""
PORT = 2760
MAIN = """\
smtpd_tls_security_level = may
smtpd_tls_chain_files = {chain}
smtpd_peername_lookup = no
smtpd_tls_loglevel = 1
"""


def on_cores(cores: set[int]):
    return lambda: os.sched_setaffinity(0, cores)


class SServer:
    """openssl s_server, which serves one connection after the other on one core."""

    name = "s_server"

    def __init__(self, chain: Path):
        self.chain, self.port = chain, PORT + 1
        self.account = servers.CpuAccount("s_server")

    def start(self) -> None:
        def prepare():
            self.account.join()
            os.sched_setaffinity(0, {0})
        self._process = subprocess.Popen(
            ["openssl", "s_server", "-accept", f"127.0.0.1:{self.port}", "-cert", self.chain, "-key", self.chain, "-www",
             "-num_tickets", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, preexec_fn=prepare)
        self.account.pids = lambda: [self._process.pid]
        time.sleep(1)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self.account.close()


class OneCore(servers.Postrider):
    """Postrider with one process of each role, all on one core."""

    def _postfix(self, command: str) -> None:
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {0})
        try:
            super()._postfix(command)
        finally:
            os.sched_setaffinity(0, before)


def load(server, tool: Path, what: str, clients: int, seconds: float, *more: str, cores: set[int] | None = None) -> dict:
    """One run: by the clock and by the server's CPU."""
    before = server.account.seconds()
    done = subprocess.run([tool, str(server.port), what, str(clients), str(seconds), *more], capture_output=True, text=True,
                          preexec_fn=on_cores(cores) if cores else None, check=False)
    count, took, resumed, failed, median, longest = (float(word) for word in done.stdout.split())
    cpu = server.account.seconds() - before
    return {"rate": count / took, "by_cpu": count / cpu if cpu else 0, "resumed": resumed / max(count, 1), "failed": failed,
            "median": median, "longest": longest}


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def ratio(ours: list[dict], theirs: list[dict], key: str) -> str:
    return spread([o[key] / t[key] for o, t in zip(ours, theirs)])


def middle(runs: list[dict], key: str) -> float:
    return statistics.median(r[key] for r in runs)


def show(name: str, runs: list[dict]) -> None:
    print(f"  {name:28} {middle(runs, 'rate'):7.0f}/s   {middle(runs, 'by_cpu'):7.0f} a CPU second   median {middle(runs, 'median'):.1f} ms"
          f"   longest {max(r['longest'] for r in runs):.0f} ms   resumed {middle(runs, 'resumed'):.2f}   failed {sum(r['failed'] for r in runs):.0f}",
          flush=True)


def beside_s_server(folder: Path, tool: Path, options, chains: dict) -> None:
    main = MAIN.format(chain=chains["ecdsa"]) + "smtpd_tls_wrappermode = yes\npostrider_process_count = 1\n"
    ours, theirs = OneCore(folder, PORT, main, USER, options.build), SServer(chains["ecdsa"])
    got: dict = {ours: [], theirs: []}
    try:
        ours.start(), theirs.start()
        for _ in range(options.pairs):
            for server, runs in got.items():
                runs.append(load(server, tool, "handshake", 4, options.seconds, "13", cores={1}))
    finally:
        ours.close(), theirs.close()
    print("full handshakes, ECDSA P-256, TLS 1.3, on one core")
    show("postrider", got[ours])
    show("openssl s_server", got[theirs])
    print(f"  rate {ratio(got[ours], got[theirs], 'rate')} of s_server's, by CPU {ratio(got[ours], got[theirs], 'by_cpu')}")


def resumed_beside_full(folder: Path, tool: Path, options, chains: dict) -> None:
    main = MAIN.format(chain=chains["rsa"]) + "smtpd_tls_wrappermode = yes\npostrider_process_count = 1\n"
    server = OneCore(folder, PORT + 2, main, USER, options.build)
    try:
        server.start()
        for version in "12", "13":
            full, resumed = [], []
            for _ in range(options.pairs):
                full.append(load(server, tool, "handshake", 4, options.seconds, version, cores={1}))
                resumed.append(load(server, tool, "resume", 4, options.seconds, version, cores={1}))
            print(f"resumption, TLS 1.{int(version) - 10}, RSA-2048, on one core")
            show("full", full)
            show("resumed", resumed)
            print(f"  resumed ones {ratio(resumed, full, 'rate')} of the full rate, by CPU {ratio(resumed, full, 'by_cpu')}")
    finally:
        server.close()


def sessions_beside_postfix(folder: Path, tool: Path, options, chains: dict) -> None:
    main = MAIN.format(chain=chains["ecdsa"])
    both = [servers.Postrider(folder, PORT + 3, main, USER, options.build), servers.Postfix(folder, PORT + 4, main, USER)]
    try:
        for server in both:
            server.start()
        for clients in 16, 64:
            got: list[list[dict]] = [[], []]
            for _ in range(options.pairs):
                for server, runs in zip(both, got):
                    runs.append(load(server, tool, "session", clients, options.seconds, "13"))
            print(f"sessions with STARTTLS, TLS 1.3, {clients} clients at a time")
            for server, runs in zip(both, got):
                show(server.name, runs)
            print(f"  rate {ratio(*got, 'rate')} times Postfix's, by CPU {ratio(*got, 'by_cpu')}")
    finally:
        for server in both:
            server.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--build", type=Path, default=Path("build-release"))
    parser.add_argument("part", nargs="*", choices=["s_server", "resumption", "sessions", []], default=[])
    options = parser.parse_args()
    parts = {"s_server": beside_s_server, "resumption": resumed_beside_full, "sessions": sessions_beside_postfix}
    debian_postfix.root()
    print(network.enter(), flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-tls-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        certificates.self_signed(folder, "ecdsa")
        certificates.self_signed(folder, "rsa", key=certificates.RSA)
        chains = {kind: certificates.chain(folder, kind) for kind in ("ecdsa", "rsa")}
        for part in options.part or parts:
            parts[part](folder, options.build.resolve() / "test/tls_load", options, chains)
    return 0


if __name__ == "__main__":
    sys.exit(main())
