# SPDX-License-Identifier: Apache-2.0
"""Certificates for tests: an authority, and what it and others have signed, made with the openssl command."""

import datetime
import hashlib
import subprocess
from pathlib import Path

ENDS = {False: ("-days", "30"), True: ("-days", "-1")}  # by whether it has expired
EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
RSA = ("-newkey", "rsa:2048", "-nodes")


def _openssl(*args: str, **more) -> bytes:
    return subprocess.run(["openssl", *args], check=True, capture_output=True, **more).stdout


def alt_names(*names: str) -> str:
    return "subjectAltName=" + ",".join(f"DNS:{name}" for name in names)


class Authority:
    """Makes NAME.pem (certificate, then the issuers between) and NAME.key in a folder, for itself as for others."""

    def __init__(self, folder: Path, name: str = "ca", above: "Authority | None" = None, subject: str = ""):
        self.folder, self.name, self.above = folder, name, above
        self.file = folder / f"{name}.pem"
        extensions = ("-addext", "basicConstraints=critical,CA:true", "-addext", "keyUsage=keyCertSign,cRLSign")
        if above:
            above.sign(name, "basicConstraints=critical,CA:true")
        else:
            _openssl("req", "-x509", *EC, *ENDS[False], "-subj", subject or f"/CN={name}", *extensions, "-keyout",
                     str(folder / f"{name}.key"), "-out", str(self.file))

    def sign(self, name: str, extensions: str = "", subject: str = "", expired: bool = False, key: tuple = EC,
             seconds: int = 0) -> Path:
        """A certificate for `name`; returns its file."""
        path = {part: str(self.folder / f"{name}.{part}") for part in ("key", "csr", "pem", "ext")}
        _openssl("req", "-new", *key, "-subj", subject or f"/CN={name}", "-keyout", path["key"], "-out", path["csr"])
        Path(path["ext"]).write_text((extensions or "basicConstraints=CA:false") + "\n")
        ours = ("-CA", str(self.file), "-CAkey", str(self.folder / f"{self.name}.key"))
        if seconds:
            self._sign_briefly(path, seconds)
        else:
            _openssl("x509", "-req", "-in", path["csr"], *ours, "-CAcreateserial", *ENDS[expired], "-extfile", path["ext"],
                     "-out", path["pem"])
        if self.above:
            with open(path["pem"], "ab") as f:
                f.write(self.file.read_bytes())
        return Path(path["pem"])

    def host(self, *names: str) -> Path:
        """Key and certificate of a host with these names, in one file."""
        self.sign(names[0], alt_names(*names))
        return chain(self.folder, names[0])

    def _sign_briefly(self, path: dict, seconds: int) -> None:
        """For so many seconds from now: only `openssl ca` counts in seconds."""
        end = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)).strftime("%Y%m%d%H%M%SZ")
        files = self.folder / "issued"
        files.mkdir(exist_ok=True)
        (files / "index").write_text("")
        (files / "conf").write_text(f"[ca]\ndefault_ca=d\n[d]\nnew_certs_dir={files}\ndatabase={files}/index\nrand_serial=yes\n"
                                    "default_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n")
        _openssl("ca", "-batch", "-notext", "-config", str(files / "conf"), "-cert", str(self.file),
                 "-keyfile", str(self.folder / f"{self.name}.key"), "-enddate", end, "-in", path["csr"], "-out", path["pem"])


def sign_itself(file: Path, key_file: Path, host: str, key: tuple = EC) -> None:
    _openssl("req", "-x509", *key, *ENDS[False], "-subj", f"/CN={host}", "-addext", alt_names(host), "-keyout", str(key_file),
             "-out", str(file))


def self_signed(folder: Path, name: str, host: str = "", key: tuple = EC, expired: bool = False) -> Path:
    """NAME.pem and NAME.key, for a host of this name or another."""
    file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
    sign_itself(file, key_file, host or name, key)
    if expired:
        _openssl("x509", "-in", str(file), "-signkey", str(key_file), *ENDS[True], "-out", str(file))
    return file


def chain(folder: Path, name: str, issuer: str = "") -> Path:
    """Key and certificates in one file, as smtpd_tls_chain_files wants them; with that of the issuer, if it is named."""
    path = folder / f"{name}.chain"
    parts = [f"{name}.key", f"{name}.pem"] + ([f"{issuer}.pem"] if issuer else [])
    path.write_bytes(b"".join((folder / part).read_bytes() for part in parts))
    return path


def _certificate_der(pem: Path) -> bytes:
    return _openssl("x509", "-in", str(pem), "-outform", "DER")


def _key_der(pem: Path) -> bytes:
    public = _openssl("x509", "-in", str(pem), "-noout", "-pubkey")
    return _openssl("pkey", "-pubin", "-outform", "DER", input=public)


def fingerprint(pem: Path, digest: str = "sha256") -> str:
    return hashlib.new(digest, _certificate_der(pem)).digest().hex(":").upper()


def key_fingerprint(pem: Path, digest: str = "sha256") -> str:
    return hashlib.new(digest, _key_der(pem)).digest().hex(":").upper()


def tlsa(folder: Path, name: str, usage: int = 3, selector: int = 1, matching: int = 1) -> str:
    """The data of a TLSA record for NAME.pem: "3 1 1 ab12..."."""
    pem = folder / f"{name}.pem"
    data = _key_der(pem) if selector else _certificate_der(pem)
    if matching:
        data = hashlib.new({1: "sha256", 2: "sha512"}[matching], data).digest()
    return f"{usage} {selector} {matching} {data.hex()}"
