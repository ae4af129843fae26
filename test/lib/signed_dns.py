# SPDX-License-Identifier: Apache-2.0
"""Signed zones on a real name server (NSD) behind a real resolver (Unbound), all on ports of 127.0.0.1.

    with SignedDns([Zone("example", records), Zone("dane.example", records)]) as dns:
        main = f"postrider_dns_server = 127.0.0.1:{dns.port}\\npostrider_dnssec_trust_anchors = {dns.anchors}"

The first zone is the top: trust begins there, and it delegates to the others, with a DS record for each that is signed.
`dns.port` is a resolver that passes signatures on and checks nothing; `dns.validating_port` one that checks them, answers
SERVFAIL for what is broken, and sets the AD bit for what is good.
"""

import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import debian_packages
from postrider import PATIENCE, free_ports

PACKAGES = ("nsd", "unbound", "ldnsutils", "libldns3", "libprotobuf-c1", "libfstrm0", "libevent-2.1-7")
ALGORITHM = "ECDSAP256SHA256"


@dataclass
class Zone:
    """Records in zone-file form, names relative to the zone. `spoil` is a change of text after signing: (old, new)."""
    name: str
    records: str
    is_signed: bool = True
    has_ds: bool = True
    is_expired: bool = False
    spoil: list = field(default_factory=list)
    is_served: bool = True
    is_known: bool = True  # to the zone above it


class SignedDns:
    def __init__(self, zones: list[Zone]):
        self._temp = tempfile.TemporaryDirectory(prefix="signed-dns-")
        self.folder = Path(self._temp.name)
        self.folder.chmod(0o755)
        self.root = debian_packages.unpacked(*PACKAGES)
        self._env = {"LD_LIBRARY_PATH": debian_packages.library_path(self.root), "PATH": "/usr/bin:/bin"}
        self._running = []
        self.anchors = self.folder / "anchors"
        self._ds = ""
        self.zones = zones
        for zone in reversed(zones):
            self._make(zone)
        self._server_port, self._dead_port, self.port, self.validating_port = free_ports(4)

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run([str(self.root / program), *arguments], cwd=self.folder, env=self._env, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{program} {' '.join(arguments)}: {done.stderr}{done.stdout}")
        return done.stdout

    def _make(self, zone: Zone) -> None:
        """Writes the zone, signed if it shall be; what the top must know of it gathers in self._ds."""
        is_top = zone is self.zones[0]
        text = f"$ORIGIN {zone.name}.\n$TTL 60\n@ IN SOA ns hostmaster 1 3600 900 604800 60\n@ IN NS ns\nns IN A 127.0.0.1\n{zone.records}\n"
        if is_top:
            text += self._ds
        elif zone.is_known:
            self._ds += f"{zone.name}. IN NS ns.{zone.name}.\nns.{zone.name}. IN A 127.0.0.1\n"
        path = self.folder / f"{zone.name}.zone"
        path.write_text(text)
        if not zone.is_signed:
            return
        key = self._run("usr/bin/ldns-keygen", "-k", "-a", ALGORITHM, zone.name).strip()
        times = ("-i", "20200101000000", "-e", "20200201000000") if zone.is_expired else ()
        self._run("usr/bin/ldns-signzone", *times, "-o", zone.name, "-f", str(path), str(path), key)
        signed = path.read_text()
        for old, new in zone.spoil:
            assert old in signed, f"{old} is not in the signed zone {zone.name}"
            signed = signed.replace(old, new)
        path.write_text(signed)
        if is_top:
            self.anchors.write_text((self.folder / f"{key}.key").read_text())
        elif zone.has_ds:
            self._ds += self._run("usr/bin/ldns-key2ds", "-n", f"{key}.key")

    def _start(self, program: str, *arguments: str) -> None:
        log = open(self.folder / f"{Path(program).name}-{len(self._running)}.log", "w")
        self._running.append(subprocess.Popen([str(self.root / program), *arguments], cwd=self.folder, env=self._env,
                                              stdout=log, stderr=subprocess.STDOUT))

    def _start_nsd(self) -> None:
        lines = f"""\
server:
  ip-address: 127.0.0.1@{self._server_port}
  zonesdir: "{self.folder}"
  database: ""
  chroot: ""
  username: ""
  pidfile: ""
  zonelistfile: "{self.folder}/zone.list"
  xfrdfile: "{self.folder}/xfrd.state"
  xfrdir: "{self.folder}"
  server-count: 1
  verbosity: 1
remote-control:
  control-enable: no
"""
        for zone in self.zones:
            if zone.is_served:
                lines += f"zone:\n  name: {zone.name}\n  zonefile: {zone.name}.zone\n"
        (self.folder / "nsd.conf").write_text(lines)
        self._start("usr/sbin/nsd", "-d", "-c", str(self.folder / "nsd.conf"))

    def _start_unbound(self, port: int, does_validate: bool) -> None:
        path = self.folder / f"unbound-{port}.conf"
        lines = f"""\
server:
  interface: 127.0.0.1@{port}
  do-not-query-localhost: no
  access-control: 127.0.0.0/8 allow
  chroot: ""
  username: ""
  pidfile: ""
  directory: "{self.folder}"
  use-syslog: no
  do-daemonize: no
  num-threads: 1
  do-ip6: no
  module-config: "{'validator ' if does_validate else ''}iterator"
  {f'trust-anchor-file: "{self.anchors}"' if does_validate else ''}
remote-control:
  control-enable: no
"""
        for zone in self.zones:
            # Nobody listens at the other one.
            at = self._server_port if zone.is_served else self._dead_port
            lines += f"stub-zone:\n  name: {zone.name}\n  stub-addr: 127.0.0.1@{at}\n"
        path.write_text(lines)
        self._start("usr/sbin/unbound", "-d", "-p", "-c", str(path))

    def _wait(self) -> None:
        """Until both resolvers answer for the top."""
        deadline = time.monotonic() + PATIENCE
        for port in (self.port, self.validating_port):
            while True:
                done = subprocess.run([str(self.root / "usr/bin/drill"), "-p", str(port), "@127.0.0.1", self.zones[0].name, "SOA"],
                                      env=self._env, capture_output=True, text=True)
                if "rcode: NOERROR" in done.stdout and "ANSWER: 1" in done.stdout:
                    break
                if time.monotonic() > deadline or any(p.poll() is not None for p in self._running):
                    logs = "".join(path.read_text() for path in self.folder.glob("*.log"))
                    raise RuntimeError(f"the name servers do not answer:\n{done.stdout}{done.stderr}{logs}")
                time.sleep(0.05)

    def __enter__(self) -> "SignedDns":
        try:
            self._start_nsd()
            self._start_unbound(self.port, does_validate=False)
            self._start_unbound(self.validating_port, does_validate=True)
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._temp.cleanup()
