"""A target whose files lie: greets as the remote program does, answers what a pull needs, and sends evil records.

Run as `python files_liar.py FOLDER TOKEN LIE` behind the token of the start line.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])

from crl.link.wire import entries, frames, messages, session, values
from crl.link.wire.entries import Entry, pack

ROOT = pack(entries.ENTRY, Entry(entries.FOLDER, b"root").encoded())
LEAVE, FINISH = pack(entries.LEAVE), pack(entries.FINISH)


def member(name: bytes, kind: bytes = entries.FILE, link: bytes = b"", offset: int = 0) -> bytes:
    """An entry, with content for a file."""
    head = pack(entries.ENTRY, Entry(kind, name, 0o4755, size=offset, offset=offset, link=link).encoded())
    return head + (pack(entries.DATA, b"evil") + pack(entries.CLOSE, b"\0x") if kind == entries.FILE else b"")


VIOLATIONS = {
    "parent": ROOT + member(b".."),
    "in the parent": ROOT + member(b"../evil"),
    "absolute": ROOT + member(b"/tmp/crl-evil"),
    "a path": ROOT + member(b"a/b"),
    "NUL": ROOT + member(b"a\0b"),
    "no name": ROOT + member(b""),
    "too long": ROOT + member(b"x" * 300),
    "a folder that is the parent": ROOT + member(b"..", entries.FOLDER) + member(b"evil"),
    "twice": ROOT + member(b"a", entries.FOLDER) + LEAVE + member(b"a", entries.FOLDER),
    "a hard link": ROOT + member(b"a", b"h", b"/etc/passwd"),
    "in its middle": ROOT + member(b"a", offset=5),
    "data of nothing": ROOT + pack(entries.DATA, b"evil"),
    "a hole": ROOT + pack(entries.ENTRY, Entry(entries.FILE, b"a", size=2**62).encoded())
    + pack(entries.HOLE, entries.HOLE_BODY.pack(2**62)),
    "behind the end": ROOT + LEAVE + member(b"evil"),
    "an unknown record": ROOT + b"\x63\0\0\0\0",
    "an endless record": ROOT + b"\x01\xff\xff\xff\xff",
    "an evil problem": ROOT + pack(entries.PROBLEM, b"\0\0\0\2../x"),
    "an unfinished tree": ROOT + FINISH,
    "a device": ROOT + pack(entries.ENTRY, b"c" + Entry(entries.FILE, b"null").encoded()[1:]),
    "code": pack(entries.FAILED, values.encode(values.Expression("__import__('os').abort()"))),
}
REFUSALS = {
    "a wrong checksum": ROOT + member(b"a") + LEAVE + FINISH,
    "links out": ROOT + member(b"a", entries.LINK, b"/etc") + member(b"b", entries.LINK, b"../..") + LEAVE + FINISH,
    "through a link": ROOT
    + member(b"inside", entries.LINK, b"here")
    + member(b"trap", entries.FOLDER)
    + member(b"evil")
    + LEAVE
    + LEAVE
    + FINISH,
}
LIES = {**VIOLATIONS, **REFUSALS}


def main() -> None:
    """Serve one pull."""
    lie = LIES[sys.argv[3]]
    facts = {"python": (3, 11, 0), "executable": "", "pid": os.getpid(), "uid": 0, "codec": values.VERSION}
    os.write(1, (sys.argv[2] + ":3.11:;").encode())
    seen = b""
    while b"\n.\n" not in seen:
        seen += os.read(0, 65536)
    end = session.Session(1)
    end.greet(values.encode(facts))
    while True:
        for frame in end.outgoing():
            os.write(1, frame)
        data = os.read(0, 65536)
        if not data:
            return
        for message in end.receive(data):
            kind, number, _ = messages.unpack(message)
            if kind == messages.LOAD:
                end.post(messages.pack(messages.RESULT, number, values.encode(None)))
            elif kind == messages.CALL:
                request = values.decode(message, repr, messages.HEAD.size)
                answer = "sha256" if request[1] == "file.digest" else None
                end.post(messages.pack(messages.RESULT, number, values.encode(answer)))
                if request[1] == "file.pull":
                    stream = request[2][0]
                    end.post(messages.pack(messages.DATA, stream, lie), stream)


if __name__ == "__main__" and frames.HEADER_SIZE:
    main()
