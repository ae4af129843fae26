# SPDX-License-Identifier: Apache-2.0
"""Debian's sslscan and testssl.sh, unpacked privately: what a stranger can find out about the TLS of a port."""

import json
import os
import subprocess
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import debian_packages

# drill is there because testssl.sh wants one program that asks name servers; it is told to ask none.
PACKAGES = ("testssl.sh", "sslscan", "bsdextrautils", "ldnsutils", "libldns3")
# The worst first. INFO is a fact, WARN is about the scanner itself.
BELOW_OK = ("CRITICAL", "HIGH", "MEDIUM", "LOW", "FATAL")


def environment() -> dict:
    root = debian_packages.unpacked(*PACKAGES)
    env = dict(os.environ)
    env["PATH"] = f"{root}/usr/bin:{env['PATH']}"
    env["LD_LIBRARY_PATH"] = debian_packages.library_path(root)
    env["TESTSSL_INSTALL_DIR"] = env["CA_BUNDLES_PATH"] = f"{root}/etc/testssl"
    return env


def sslscan(port: int, is_wrapped: bool = False) -> ElementTree.Element:
    """Everything sslscan finds, as its XML's <ssltest>."""
    with tempfile.TemporaryDirectory(prefix="scan-") as folder:
        report = Path(folder) / "report.xml"
        done = subprocess.run(["sslscan", f"--xml={report}", *([] if is_wrapped else ["--starttls-smtp"]), f"127.0.0.1:{port}"],
                              env=environment(), capture_output=True, text=True, timeout=300)
        found = ElementTree.parse(report).getroot().find("ssltest")
        if found is None:
            raise AssertionError(f"sslscan found no TLS on port {port}: {done.stdout}{done.stderr}")
        return found


def protocols(scan: ElementTree.Element) -> set[str]:
    return {f"{p.get('type').upper()}v{p.get('version')}" for p in scan.findall("protocol") if p.get("enabled") == "1"}


def ciphers(scan: ElementTree.Element) -> set[tuple]:
    """(accepted or preferred, TLS version, name, curve, bits of the Diffie-Hellman group) of each suite."""
    return {tuple(c.get(a, "") for a in ("status", "sslversion", "cipher", "curve", "dhebits")) for c in scan.findall("cipher")}


EVERYTHING = ("-p", "-s", "-P", "-f", "-U")


def testssl(port: int, is_wrapped: bool = False, about: tuple = EVERYTHING) -> list[dict]:
    """The findings of testssl.sh about protocols, ciphers, order, forward secrecy and vulnerabilities, or some of it."""
    with tempfile.TemporaryDirectory(prefix="scan-") as folder:
        report = Path(folder) / "report.json"
        done = subprocess.run(["testssl", "--quiet", "--warnings", "off", "--color", "0", "--nodns", "none", *about,
                               "--jsonfile", str(report), *([] if is_wrapped else ["-t", "smtp"]), f"127.0.0.1:{port}"],
                              env=environment(), capture_output=True, text=True, timeout=900, cwd=folder)
        findings = json.loads(report.read_text()) if report.exists() else []
        if not any(f["id"] == "scanTime" for f in findings):
            raise AssertionError(f"testssl.sh did not finish: {done.stdout[-3000:]}{done.stderr}")
        return findings


def offers(findings: list[dict]) -> dict:
    """{"TLS1": False, "cipherlist_aNULL": True ...}: which protocols and kinds of ciphers testssl.sh was given."""
    return {f["id"]: not f["finding"].startswith("not offered") for f in findings
            if f["id"] in PROTOCOL_IDS or f["id"].startswith("cipherlist_")}


PROTOCOL_IDS = {"SSLv2": "", "SSLv3": "SSLv3", "TLS1": "TLSv1.0", "TLS1_1": "TLSv1.1", "TLS1_2": "TLSv1.2", "TLS1_3": "TLSv1.3"}
