# SPDX-License-Identifier: Apache-2.0
"""Messages of odd shapes, and the settings under which both servers take them in and deliver them to Maildirs."""

import re
import socket
import time
from pathlib import Path

MIME = b"""From: a@b
MIME-Version: 1.0
Content-Type: multipart/mixed;
 boundary="b1"
Subject: m

preamble
--b1
Content-Type: text/plain
X-Foo: 1

hello
--b1
Content-Type: message/rfc822

Subject: inner
Content-Type: multipart/alternative; boundary=b2

--b2
Content-Type: text/html;
 name="evil.exe"

<x>
--b2--
inner epilogue
--b1
Content-Disposition: attachment; filename=bad.exe

data
hello
--b1--
epilogue
""".replace(b"\n", b"\r\n")

PARTS = [
    b"Subject: x\r\nFrom: a@b\r\nDate: d\r\nMessage-Id: <q@r>\r\n\r\nhello\r\n",
    b"hello no header\r\n",
    b"\r\nbody only\r\n",
    b"",
    b"Subject: only header\r\n",
    b"Subject: x\r\nReturn-Path: <x@y>\r\nBcc: hidden@x\r\nContent-Length: 3\r\nFrom: joe\r\n"
    b"To: fred, \"J. Q\" <jq>, <@a.example:r@b.example>\r\nCc: joe (comment)\r\n\r\nhi\r\n",
    b"From: joe@host\r\nTo: undisclosed-recipients:;\r\nSender: \r\nReply-To: <>\r\nSubject: y\r\n\tfolded\r\n continued\r\n\r\nhi\r\n",
    b"Subject : space before colon\r\nX:\r\nFrom: xyz\r\n\r\nhi\r\n",
    b"Subject: x\r\nnot a header\r\nTo: a\r\n\r\nhi\r\n",
    b"Resent-From: joe\r\nFrom: a@b\r\nTo: c@d\r\nSubject: r\r\n\r\nhi\r\n",
    b"Subject: bare lf\nFrom: a@b\n\nhi\nthere\r\nstray\rcr\r\n..dot\r\n.x\r\n",
    b">From me\r\nFrom old\r\nSubject: q\r\n\r\n",
    b"From me Mon Jan  1\r\nSubject: q\r\n\r\nx\r\n",
    b"From: \"Joe \\\"Q\\\" User\" <\"joe user\"@host.example>, a%b\r\nTo: site!user, user@host\r\n\r\nx\r\n",
    b"From: a@b\r\nMessage-Id:\r\nDate:\r\n\r\nx\r\n",
    b"Received: by one\r\nSubject: z\r\n\r\nlong" + b"y" * 3000 + b"\r\n",
    b"From: a@b (Comment, with comma)\r\nTo: A Group: x@y, z@w;, other@host\r\n\r\nx\r\n",
    b"Subject: x\r\nTo: root@, <>, \"quoted\"@x, a@[1.2.3.4], joe@a.b.\r\n\r\nx\r\n",
    b"Subject: 8bit \xc3\xa4\r\n\r\n\xc3\xa4\r\n",
    b" leading blank\r\nSubject: x\r\n\r\nx\r\n",
    b"Subject: x\r\n \r\n\r\nbody\r\n",
    MIME,
    b"Subject: t\r\nContent-Type: message/rfc822\r\n\r\nSubject: nested\r\nX-Foo: b\r\n\r\nhello\r\n",
    b"Content-Type: multipart/mixed; boundary=q\r\n\r\n--q\r\nnot a header\r\nX-Foo: b\r\n\r\n--q\r\n\r\nbody\r\n--q--\r\n--q\r\n"
    b"X-Foo: 1\r\n",
]

SETTINGS = {
    "local": "",
    "remote": "local_header_rewrite_clients =",
    "remote completed": "local_header_rewrite_clients =\nalways_add_missing_headers = yes",
    "canonical": "canonical_maps = inline:{joe@test.example=canon@x.example, a@sender.example=b@canon.example}",
    "masquerade": "masquerade_domains = example\nmasquerade_exceptions = joe",
    "virtual aliases": "virtual_alias_maps = inline:{ {u01@test.example = u40@test.example, u41@test.example} }",
    "no original recipient": "enable_original_recipient = no",
    "undisclosed": "undisclosed_recipients_header = To: undisclosed-recipients:;",
    "prepended": "smtpd_sender_restrictions = check_sender_access inline:{{sender.example = PREPEND X-Access: 1}}",
    "changing header checks": "header_checks = regexp:{ {/^Subject: x/ PREPEND X-New: yes} {/^From: joe/ REPLACE From: other@host} "
                              "{/^Cc:/ IGNORE} {/^Received:/ INFO hm}}",
    "refusing header checks": "header_checks = regexp:{ {/^Subject: x/ REJECT} {/^Subject: r/ REJECT 4.7.2 later} "
                              "{/^X:/ REJECT 5.6.7 bad x} {/^Subject: y/ DISCARD} {/^Subject: 8bit/ REDIRECT u57@test.example} "
                              "{/^Subject: z/ BCC u58@test.example}}",
    "checks of parts": "header_checks = regexp:{ {/^Received:/ IGNORE} {/bad.exe/ REPLACE Content-Disposition: gone} {/evil/ IGNORE} "
                       "{/^Subject: inner/ PREPEND X-Y: z} {/^X-Foo/ IGNORE}}\nbody_checks = regexp:{{/^hello/ PREPEND x}}",
    "checks of nested headers": "nested_header_checks = regexp:{{/^X-Foo/ IGNORE}}",
    "refused parts": "mime_header_checks = regexp:{{/name=.*exe/ REJECT no exe}}",
    "body checks": "body_checks = regexp:{{/^hi/ REPLACE ho} {/^x$$/ PREPEND before} {/^body/ IGNORE} {/there/ DISCARD}}",
}


def mailboxes() -> str:
    return "".join(f"u{i:02}@test.example u{i:02}/\n" for i in range(60))


def submit(port: int) -> list[str]:
    """Sends every message to a mailbox of its own; the replies to the final dot."""
    replies = []
    for number, part in enumerate(PARTS):
        with socket.create_connection(("127.0.0.1", port), 60) as s, s.makefile("rb") as lines:
            def reply():
                while (line := lines.readline())[3:4] == b"-":
                    pass
                return line.decode().strip()
            reply()
            for command in ("EHLO client.example", "MAIL FROM:<a@sender.example>", f"RCPT TO:<u{number:02}@test.example>", "DATA"):
                s.sendall(command.encode() + b"\r\n")
                reply()
            s.sendall(part + b".\r\n")
            replies.append(re.sub(r"queued as \w+", "queued as ID", reply()))
    return replies


def normal(message: bytes) -> str:
    text = re.sub(r"\bid \w{9,}", "id ID", message.decode("latin1"))
    text = re.sub(r"\w{3}, +\d+ \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4} \(\w+\)", "DATE", text)
    return re.sub(r"<\d{14}\.\w+@", "<STAMP.ID@", text)


def files(mail: Path) -> list[Path]:
    return sorted(mail.glob("u*/new/*"))


def delivered(mail: Path, is_idle) -> dict:
    """What lies in the Maildirs once the queue is empty: mailbox to message."""
    deadline = time.monotonic() + 60
    while not is_idle() and time.monotonic() < deadline:
        time.sleep(0.05)
    return {path.parent.parent.name: normal(path.read_bytes()) for path in files(mail)}
