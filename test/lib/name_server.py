# SPDX-License-Identifier: Apache-2.0
"""A small name server on a port of 127.0.0.1, for postrider_dns_server.

    with NameServer({"example.org": [("MX", 10, "mx.example.org")], "mx.example.org": [("A", "192.0.2.1")]}) as dns:
        main = f"postrider_dns_server = 127.0.0.1@{dns.port}"

Names under "broken" get SERVFAIL, names under "silent" no answer; all others that are not there do not exist.
"""

import ipaddress
import socket
import struct
import threading

TYPES = {"A": 1, "NS": 2, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28}


def _name(text: str) -> bytes:
    labels = [label for label in text.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"


def _rdata(kind: str, values: tuple) -> bytes:
    if kind in ("A", "AAAA"):
        return ipaddress.ip_address(values[0]).packed
    if kind == "MX":
        return struct.pack("!H", values[0]) + _name(values[1])
    if kind == "TXT":
        return b"".join(bytes([len(part)]) + part.encode() for part in values)
    return _name(values[0])


def reverse(address: str) -> str:
    return ipaddress.ip_address(address).reverse_pointer


class NameServer:
    def __init__(self, zone: dict, ttl: int = 60, port: int = 0):
        self._ttl = ttl
        self.zone = {name.lower(): records for name, records in zone.items()}
        self.questions = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        while True:
            question, peer = self._socket.recvfrom(4096)
            if not question:
                return
            answer = self._answer(question)
            if answer:
                self._socket.sendto(answer, peer)

    def _answer(self, question: bytes) -> bytes:
        at, labels = 12, []
        while question[at]:
            labels.append(question[at + 1:at + 1 + question[at]].decode().lower())
            at += question[at] + 1
        kind = struct.unpack("!H", question[at + 1:at + 3])[0]
        asked, name = question[12:at + 5], ".".join(labels)
        self.questions.append(name)
        if "silent" in labels:
            return b""
        records = [(k, v) for k, *v in self.zone.get(name, []) if TYPES[k] == kind]
        code = 2 if "broken" in labels else 0 if name in self.zone else 3
        body = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", TYPES[k], 1, self._ttl, len(_rdata(k, v))) + _rdata(k, v) for k, v in records)
        return question[:2] + struct.pack("!HHHHH", 0x8480 | code, 1, len(records), 0, 0) + asked + body

    def __enter__(self) -> "NameServer":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join(5)
        self._socket.close()
