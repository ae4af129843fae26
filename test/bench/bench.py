#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures Postrider beside Debian's Postfix on this machine, in alternating pairs, and prints ratios.

Usage: bench.py [--pairs N] [--messages N] [--build DIR] [--json FILE] [SCENARIO ...]

Both get the same load from smtp-source and, where mail is relayed, the same smtp-sink. The sink's
counter is checked: a run counts only when every message arrived. CPU is that of all processes of a
server, from its control group where one can be made. As root, the spools lie on a journaled ext4 in
a loop device; elsewhere in the current folder's file system.
"""

import argparse
import contextlib
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import network  # noqa: E402
import servers  # noqa: E402
import debian_postfix  # noqa: E402

SOURCE_LIMIT = 300


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


SINK_PORT = free_port()


@contextlib.contextmanager
def spool_folder(size_mb: int = 6000):
    """A folder for spools: on a journaled ext4 of its own when root, so that both servers meet the same disk."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/var/tmp") as temp:
        folder = Path(temp)
        os.chmod(folder, 0o755)
        if os.geteuid() != 0:
            yield folder
            return
        image, mount = folder / "disk", folder / "spool"
        mount.mkdir()
        device = None
        try:
            subprocess.run(["fallocate", "-l", f"{size_mb}M", str(image)], check=True)
            subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
            device = subprocess.run(["losetup", "-f", "--show", "--direct-io=on", str(image)], check=True,
                                    capture_output=True, text=True).stdout.strip()
            subprocess.run(["mount", device, str(mount)], check=True)
            os.chmod(mount, 0o755)
            yield mount
        finally:
            subprocess.run(["umount", str(mount)], capture_output=True)
            if device:
                subprocess.run(["losetup", "-d", device], capture_output=True)


class Sink:
    """smtp-sink with a counter that is read from its output."""

    def __init__(self, folder: Path):
        self._out = open(folder / f"sink-{time.monotonic_ns()}", "w+b")
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        self._process = subprocess.Popen([debian_postfix.tool("smtp-sink"), *user, "-c", "-m", "4096", f"127.0.0.1:{SINK_PORT}", "1024"],
                                         env=debian_postfix.environment(), stdout=self._out, stderr=subprocess.DEVNULL)

    def count(self) -> int:
        size = self._out.seek(0, 2)
        self._out.seek(max(0, size - 200))
        found = re.findall(rb"mesg=(\d+)", self._out.read())
        return int(found[-1]) if found else 0

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._out.close()


def send(port: int, sessions: int, messages: int, size: int) -> None:
    subprocess.run([debian_postfix.tool("smtp-source"), "-s", str(sessions), "-m", str(messages), "-l", str(size),
                    "-f", "sender@source.example", "-t", "user@sink.example", "-M", "source.example", f"127.0.0.1:{port}"],
                   env=debian_postfix.environment(), check=True, timeout=SOURCE_LIMIT, stdout=subprocess.DEVNULL)


def wait_for(count, messages: int, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while count() < messages:
        if time.monotonic() > deadline:
            raise RuntimeError(f"only {count()} of {messages} messages arrived in {seconds:.0f} s")
        time.sleep(0.005)


class Scenario:
    """One kind of work. measure() gives messages a second and CPU milliseconds a message."""

    def __init__(self, sessions: int = 50, size: int = 1024, main: str = "", messages: int = 1.0):
        self.sessions, self.size, self.main, self.share = sessions, size, main, messages

    def settings(self, folder: Path) -> str:
        return self.main

    def counter(self, folder: Path, server):
        return None

    def measure(self, kind, folder: Path, port: int, messages: int) -> tuple[float, float]:
        messages = int(messages * self.share)
        server = kind(folder, port, self.settings(folder), user="news")
        try:
            server.start()
            with contextlib.closing(Sink(folder)) as sink:
                count = self.counter(folder, server) or sink.count
                send(port, min(self.sessions, 50), 200, self.size)  # warm up: processes started, files allocated
                self.settle(server, count, 200)
                cpu, began = server.account.seconds(), time.monotonic()
                send(port, self.sessions, messages, self.size)
                self.settle(server, count, 200 + messages)
                took = time.monotonic() - began
                return messages / took, (server.account.seconds() - cpu) * 1000 / messages
        finally:
            server.close()

    def settle(self, server, count, messages: int) -> None:
        wait_for(count, messages)


class Accept(Scenario):
    """Accept and queue only: everything is held."""

    def settle(self, server, count, messages: int) -> None:
        pass


class Maildir(Scenario):
    def settings(self, folder: Path) -> str:
        box = folder / "boxes"
        box.mkdir(exist_ok=True)
        os.chmod(box, 0o777)
        uid = 9 if os.geteuid() == 0 else os.geteuid()
        return (f"virtual_mailbox_domains = sink.example\nvirtual_mailbox_base = {box}\nvirtual_mailbox_maps = static:user{time.monotonic_ns()}/\n"
                f"virtual_uid_maps = static:{uid}\nvirtual_gid_maps = static:{uid}\nvirtual_minimum_uid = 1\n"
                "virtual_destination_recipient_limit = 1\nvirtual_destination_concurrency_limit = 20\n")

    def counter(self, folder: Path, server):
        name = re.search(r"static:(user\d+)/", (server._server.config if server.name == "postfix" else server.config)
                         .joinpath("main.cf").read_text()).group(1)
        new = folder / "boxes" / name / "new"
        return lambda: len(os.listdir(new)) if new.exists() else 0


RELAY = f"relayhost = [127.0.0.1]:{SINK_PORT}\nmynetworks = 127.0.0.0/8\n"
SCENARIOS = {
    "relay-1k": Scenario(main=RELAY),
    "relay-10k": Scenario(main=RELAY, size=10240),
    "accept": Accept(main=RELAY + "smtpd_client_restrictions = check_client_access static:HOLD\n"),
    "maildir": Maildir(main=""),
    "relay-1k-200": Scenario(main=RELAY, sessions=200),
    "relay-1k-2000": Scenario(main=RELAY, sessions=2000),
}


def machine() -> str:
    cpu = next((l.split(":", 1)[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "unknown")
    return f"{os.cpu_count()} x {cpu}, kernel {os.uname().release}"


def row(name: str, pairs: list) -> dict:
    ours, theirs = [p[0] for p in pairs], [p[1] for p in pairs]
    rate = [o[0] / t[0] for o, t in pairs]
    cpu = [t[1] / o[1] for o, t in pairs]
    result = {"scenario": name, "rate": statistics.median(o[0] for o in ours), "cpu_ms": statistics.median(o[1] for o in ours),
              "postfix_rate": statistics.median(t[0] for t in theirs), "postfix_cpu_ms": statistics.median(t[1] for t in theirs),
              "rate_ratio": statistics.median(rate), "rate_spread": [min(rate), max(rate)],
              "cpu_ratio": statistics.median(cpu), "cpu_spread": [min(cpu), max(cpu)]}
    print(f"{name:15} postrider {result['rate']:7.0f}/s {result['cpu_ms']:.3f} ms   postfix {result['postfix_rate']:7.0f}/s "
          f"{result['postfix_cpu_ms']:.3f} ms   rate x{result['rate_ratio']:.2f} ({min(rate):.2f}..{max(rate):.2f})   "
          f"cpu 1/{result['cpu_ratio']:.1f} ({min(cpu):.1f}..{max(cpu):.1f})", flush=True)
    return result


def measure_one(kind, folder: Path, options) -> None:
    """One server alone. Scenarios take turns, so that a slow minute of the machine meets all of them."""
    rounds = {name: [] for name in options.scenario}
    for at in range(options.pairs):
        print(f"  round {at + 1}/{options.pairs}", file=sys.stderr, flush=True)
        for name, runs in rounds.items():
            runs.append(SCENARIOS[name].measure(kind, folder, free_port(), options.messages))
    first = next(iter(rounds.values()))
    for name, runs in rounds.items():
        rates, shares = [rate for rate, _ in runs], [run[0] / other[0] for run, other in zip(runs, first)]
        print(f"{name:15} {options.only} {statistics.median(rates):7.0f}/s ({min(rates):.0f}..{max(rates):.0f}) "
              f"{statistics.median(cpu for _, cpu in runs):.3f} ms   {statistics.median(shares):.0%} of {options.scenario[0]} "
              f"({min(shares):.0%}..{max(shares):.0%})", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--build", type=Path, default=Path("build-release"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", choices=["postrider", "postfix"], help="measure one server alone, without ratios")
    parser.add_argument("scenario", nargs="*", default=list(SCENARIOS))
    options = parser.parse_args()
    servers.Postrider.__init__.__defaults__ = (options.build,)
    debian_postfix.root()  # its packages come over the real network
    print(f"{machine()}; {network.enter()}; {options.pairs} pairs, {options.messages} messages a run", flush=True)
    results = []
    with spool_folder() as folder:
        if options.only:
            measure_one(servers.Postrider if options.only == "postrider" else servers.Postfix, folder, options)
            return 0
        for name in options.scenario:
            scenario, port, pairs = SCENARIOS[name], free_port(), []
            for at in range(options.pairs):
                print(f"  {name} pair {at + 1}/{options.pairs}", file=sys.stderr, flush=True)
                pairs.append(tuple(scenario.measure(kind, folder, port, options.messages) for kind in (servers.Postrider, servers.Postfix)))
            results.append(row(name, pairs))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
