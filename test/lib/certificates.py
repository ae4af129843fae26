# SPDX-License-Identifier: Apache-2.0
"""Certificates for tests: an authority, and what it and others have signed, made with the openssl command."""

import datetime
import hashlib
import subprocess
from pathlib import Path

EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def _openssl(*args: str, **more) -> bytes:
    return subprocess.run(["openssl", *args], check=True, capture_output=True, **more).stdout


class Authority:
    """Makes NAME.pem (certificate, then the issuers between) and NAME.key in a folder, for itself as for others."""

    def __init__(self, folder: Path, name: str = "ca", above: "Authority | None" = None):
        self.folder, self.name, self.above = folder, name, above
        extensions = ("-addext", "basicConstraints=critical,CA:true", "-addext", "keyUsage=keyCertSign,cRLSign")
        if above:
            above.sign(name, "basicConstraints=critical,CA:true")
        else:
            _openssl("req", "-x509", *EC, "-days", "30", "-subj", f"/CN={name}", *extensions, "-keyout",
                     str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem"))

    def sign(self, name: str, extensions: str = "", subject: str = "", expired: bool = False, key: tuple = EC,
             seconds: int = 0) -> Path:
        """A certificate for `name`; returns its file."""
        path = {part: str(self.folder / f"{name}.{part}") for part in ("key", "csr", "pem", "ext")}
        _openssl("req", "-new", *key, "-subj", subject or f"/CN={name}", "-keyout", path["key"], "-out", path["csr"])
        Path(path["ext"]).write_text((extensions or "basicConstraints=CA:false") + "\n")
        ours = ("-CA", str(self.folder / f"{self.name}.pem"), "-CAkey", str(self.folder / f"{self.name}.key"))
        if seconds:
            self._sign_briefly(path, seconds)
        else:
            # A negative number of days ends it yesterday.
            _openssl("x509", "-req", "-in", path["csr"], *ours, "-CAcreateserial", "-days", "-1" if expired else "30",
                     "-extfile", path["ext"], "-out", path["pem"])
        if self.above:
            with open(path["pem"], "ab") as f:
                f.write((self.folder / f"{self.name}.pem").read_bytes())
        return Path(path["pem"])

    def _sign_briefly(self, path: dict, seconds: int) -> None:
        """For so many seconds from now: only `openssl ca` counts in seconds."""
        end = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)).strftime("%Y%m%d%H%M%SZ")
        files = self.folder / "issued"
        files.mkdir(exist_ok=True)
        (files / "index").write_text("")
        (files / "conf").write_text(f"[ca]\ndefault_ca=d\n[d]\nnew_certs_dir={files}\ndatabase={files}/index\nrand_serial=yes\n"
                                    "default_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n")
        _openssl("ca", "-batch", "-notext", "-config", str(files / "conf"), "-cert", str(self.folder / f"{self.name}.pem"),
                 "-keyfile", str(self.folder / f"{self.name}.key"), "-enddate", end, "-in", path["csr"], "-out", path["pem"])


def self_signed(folder: Path, name: str, key: tuple = EC) -> Path:
    _openssl("req", "-x509", *key, "-days", "30", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout",
             str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem"))
    return folder / f"{name}.pem"


def chain(folder: Path, name: str) -> Path:
    """Key and certificates in one file, as smtpd_tls_chain_files wants them."""
    path = folder / f"{name}.chain"
    path.write_bytes((folder / f"{name}.key").read_bytes() + (folder / f"{name}.pem").read_bytes())
    return path


def fingerprint(pem: Path, digest: str = "sha256") -> str:
    der = _openssl("x509", "-in", str(pem), "-outform", "DER")
    return _colons(hashlib.new(digest, der).hexdigest())


def key_fingerprint(pem: Path, digest: str = "sha256") -> str:
    public = _openssl("x509", "-in", str(pem), "-noout", "-pubkey")
    der = _openssl("pkey", "-pubin", "-outform", "DER", input=public)
    return _colons(hashlib.new(digest, der).hexdigest())


def _colons(text: str) -> str:
    return ":".join(text[i:i + 2] for i in range(0, len(text), 2)).upper()
