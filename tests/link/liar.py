"""A target that lies: speaks the frames of the wire, and then says what the argument names.

Run as `python liar.py FOLDER TOKEN LIE` behind the token of the start line; it uses the wire's sources only.
"""

from __future__ import annotations

import os
import struct
import sys

if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])

from crl.link.wire import frames, messages, values


def frame(seq: int, message: bytes, flags: int = frames.WHOLE, number: int = 1, ack: int = 1) -> bytes:
    """A data frame."""
    return frames.encode(frames.DATA, flags, 1, number, seq, ack, message)


def pack(kind: int, number: int, body: bytes = b"") -> bytes:
    """A whole message in a frame with the first number."""
    return frame(1, messages.pack(kind, number, body))


OK = values.encode(None)
LIES = {
    "an ack of what was never sent": frame(1, b"x", ack=999),
    "a reply to a call never made": pack(messages.RESULT, 4711, OK),
    "an unknown kind": pack(99, 1),
    "a kind of the controller's": pack(messages.CALL, 1, OK),
    "a message too short": frame(1, b"\x10"),
    "an unknown tag": pack(messages.RESULT, 1, b"?"),
    "code": pack(messages.RESULT, 1, values.encode(values.Expression("__import__('os').abort()"))),
    "a pickle": pack(messages.RESULT, 1, values.encode([values.Pickled(b"cos\nabort\n(tR.")])),
    "a length that lies": pack(messages.RESULT, 1, b"l\xff\xff\xff\xff\x00"),
    "a depth that kills": pack(messages.RESULT, 1, b"l\0\0\0\1\0" * 30000),
    "bytes behind the value": pack(messages.RESULT, 1, OK + OK),
    "an error that is none": pack(messages.ERROR, 1, values.encode(["x"])),
    "an answer of the wrong form": pack(messages.KEPT, 1, values.encode((1, 2))),
    "credit of the wrong size": pack(messages.CREDIT_TO, 1, b"x"),
    "an exit of the wrong size": pack(messages.EXIT, 1, b"x"),
    "an endless message": b"".join(
        frame(seq, bytes(200_000), frames.FIRST if seq == 1 else 0) for seq in range(1, 1500)
    ),
}


def main() -> None:
    """Greet as the remote program does, wait for the first call, and lie."""
    lie = sys.argv[3]
    facts = {"python": (3, 11, 0), "executable": "", "pid": os.getpid(), "uid": 0, "codec": values.VERSION}
    os.write(1, (sys.argv[2] + ":3.11;").encode())
    seen = b""
    while b"\n.\n" not in seen:
        seen += os.read(0, 65536)
    os.write(1, frames.encode(frames.HELLO, 0, 1, 0, 0, 1, values.encode(facts)))
    os.read(0, 65536)
    answer = memoryview(LIES[lie])
    while answer:
        answer = answer[os.write(1, answer) :]
    while os.read(0, 65536):
        continue


if struct.calcsize("P") and __name__ == "__main__":
    main()
