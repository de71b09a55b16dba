"""The other end of the codec tests: decodes values and encodes them again on any Python, with the wire's sources only.

Run as `python codec_peer.py FOLDER` with frames of a length and bytes on standard input and output.
"""

import struct
import sys

sys.path.insert(0, sys.argv[1])

from crl.link.wire import values

MYPY = False
if MYPY:
    from typing import Any  # noqa: F401


def main():
    # type: () -> None
    """Decode each value that comes and encode it again."""
    source = getattr(sys.stdin, "buffer", sys.stdin)  # type: Any
    sink = getattr(sys.stdout, "buffer", sys.stdout)  # type: Any
    while True:
        head = source.read(4)
        if len(head) < 4:
            return
        (size,) = struct.unpack(">I", head)
        answer = values.encode(values.decode(source.read(size)))
        sink.write(struct.pack(">I", len(answer)) + answer)
        sink.flush()


main()
