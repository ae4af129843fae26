# SPDX-License-Identifier: Apache-2.0
"""What scanners find on our ports: with the configuration we ship, and with those that people publish."""

import unittest

import scanners
from debian_postfix import DebianPostfix
from documents import Document
from postrider import TOP, Postrider, free_ports

SHIPPED = (TOP / "packaging/main.cf").read_text()
OURS = SHIPPED + """
smtpd_sasl_builtin_maps = texthash:{folder}/etc/passwords
smtpd_tls_cert_file = {folder}/etc/cert.pem
smtpd_tls_key_file = {folder}/etc/key.pem
"""


class ShippedConfiguration(unittest.TestCase):
    def test_testssl_rates_nothing_below_ok(self):
        with Postrider(main=OURS) as server:
            for service in ("smtp", "submissions"):
                findings = scanners.testssl(server.ports[service], service == "submissions")
                self.assertGreater(sum(f["severity"] == "OK" for f in findings), 20)
                self.assertEqual([f for f in findings if f["severity"] in scanners.BELOW_OK], [], service)


def tls_lines(text: str) -> str:
    """The lines of a main.cf that decide about a server's TLS, with names that only the document knows."""
    kept = ("smtpd_tls_", "tls_", "submission_tls_")
    return "".join(line + "\n" for line in text.splitlines()
                   if line.startswith(kept) and "session_cache" not in line and not line.startswith("tls_random"))


def tls_services(text: str) -> str:
    """The SMTP services of a master.cf with their TLS settings, on ports of their own."""
    out, is_smtpd = [], False
    for line in text.splitlines():
        if not line or line.lstrip().startswith("#"):
            continue
        if line[0] not in " \t":
            is_smtpd = ":" not in line.split()[0] and " inet " in " ".join(line.split()) + " " and line.split()[-1] in ("smtpd", "postscreen", "-v")
            if is_smtpd:
                out.append(f"{line.split()[0]} inet n - n - - smtpd")
        elif is_smtpd and "_tls_" in line:
            out.append(line)
    return "\n".join(out) + "\n"


class Documents(unittest.TestCase):
    """Debian's Postfix with the same lines shows what the configuration allows."""

    def scan(self, ports: dict) -> dict:
        scans = {name: scanners.sslscan(port, name == "submissions") for name, port in ports.items()}
        return {name: (scanners.protocols(scan), scanners.ciphers(scan)) for name, scan in scans.items()}

    def compare(self, name: str) -> dict:
        with Document(name) as server:
            ours = self.scan(server.ports)
            main, master = (tls_lines((server.etc / "main.cf").read_text()), tls_services((server.etc / "master.cf").read_text()))
            ports = dict(zip(server.ports, free_ports(3)))
            for service, port in server.ports.items():
                master = master.replace(f"{port} inet", f"{ports[service]} inet")
            with DebianPostfix(main=main, master=master) as oracle:
                oracle.start(ports["smtp"])
                theirs = self.scan(ports)
            for service in ports:
                self.assertTrue(ours[service][1], service)
                self.assertEqual(ours[service][0], theirs[service][0], service)
                self.assertEqual(ours[service][1], theirs[service][1], service)
                self.check_testssl_agrees(server.ports[service], service == "submissions", *ours[service])
        return ours

    def check_testssl_agrees(self, port: int, is_wrapped: bool, versions: set, suites: set) -> None:
        offered = scanners.offers(scanners.testssl(port, is_wrapped, ("-p", "-s")))
        for finding, version in scanners.PROTOCOL_IDS.items():
            self.assertEqual(offered[finding], version in versions, finding)
        names = [suite for _, _, suite, _, _ in suites]
        self.assertEqual(offered["cipherlist_aNULL"], any(n.startswith(("ADH-", "AECDH-")) for n in names))
        self.assertEqual(offered["cipherlist_3DES_IDEA"], any("DES-CBC3" in n or "IDEA" in n for n in names))
        self.assertTrue(offered["cipherlist_STRONG"])
        for kind in ("cipherlist_NULL", "cipherlist_EXPORT", "cipherlist_LOW"):
            self.assertFalse(offered[kind], kind)

    def test_inherited(self):
        self.compare("inherited")

    def test_holly(self):
        self.compare("holly")

    def test_slowly(self):
        self.assertEqual(self.compare("slowly")["smtp"][0], {"TLSv1.2", "TLSv1.3"})

    def test_librelamp(self):
        found = self.compare("librelamp")
        for service, (_, suites) in found.items():
            for _, version, suite, _, _ in suites:
                is_secret_forward = version == "TLSv1.3" or suite.startswith(("ECDHE-", "DHE-"))
                self.assertTrue(is_secret_forward, (service, suite))
                self.assertFalse(service != "smtp" and suite.startswith("DHE-"), (service, suite))

    def test_wiki(self):
        self.compare("wiki")


if __name__ == "__main__":
    unittest.main()
