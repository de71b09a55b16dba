"""The messages of a session: what each end asks of the other.

A message is a kind, a number and a body; the number names a call or a stream. Bodies are values of the codec, except
those of streams, which are raw bytes. Both ends take the same table from here and nothing else decides what a kind is.
"""
# ruff: noqa: F401 - names in type comments look unused.

import struct

from crl.link.wire.errors import ProtocolError

MYPY = False
if MYPY:
    from typing import Any

HEAD = struct.Struct(">BQ")
CREDIT = struct.Struct(">Q")
EXIT_BODY = struct.Struct(">?q")

# Controller to target.
CALL = 1  # number of the call; (operation, ...), which may stand as MARSHALLED
CANCEL = 2  # number of the call that nobody waits for any more
RELEASE = 3  # 0; list of handles that no proxy holds any more
LOAD = 4  # number of a call; (module name, source): a further piece of the remote program
CLOSE = 5  # 0; the orderly end
SOURCE = 6  # number of the WANT; the bytes, or None: the target does not get that
TOLD = 7  # number of the ASK; ("value", value), ("error", description), or ("again", None): with fewer values

# Target to controller.
RESULT = 16  # number of the call; the value
KEPT = 17  # number of the call; (is the value here, the value, is it callable)
ERROR = 18  # number of the call; what the target's code raised
REFUSED = 19  # number of the call; why its value cannot cross
OUTPUT = 20  # 1 or 2, the descriptor; bytes that code on the target wrote
CANCELLED = 22  # number of the call: it was interrupted, or did not begin
WANT = 23  # a number of the target's; the name of an offered module or data file that it needs now
ASK = 24  # a number of the target's; (number of a function that was passed, args, kwargs, what stays there)
GONE = 25  # 0; list of (number of a function that was passed, how often it came) that nothing there holds any more
EXIT = 21  # number of the process; EXIT_BODY: whether all output came, and the status, negative for a signal

ANSWERS = frozenset((RESULT, KEPT, ERROR, REFUSED, CANCELLED))
ABOUT_FUNCTIONS = frozenset((ASK, GONE))

# Both ways, for streams.
DATA = 32  # bytes
END = 33  # nothing follows in this direction
CREDIT_TO = 34  # how many bytes may be sent in all, since the beginning: a repeated one changes nothing
RESET = 35  # both directions are over
GAP = 36  # how many bytes were not kept before what follows; from the target only

# How many ASKs may be under way: each is a thread on both ends.
MOST_ASKED = 256

# How many bytes of a stream may be under way before the receiver has used some.
STREAM_CREDIT = 512 * 1024

# How a CALL begins that is no value of the codec but made by `marshal`, at a tenth of the cost: the target trusts the
# controller. Only for Python 3, which gives every plain value back as it was.
MARSHALLED = b"("
MARSHAL_VERSION = 2

# Operations of CALL; behind what stands here comes what is to be kept, if anything.
EVALUATE = 1  # source
INVOKE = 2  # function expression, args, kwargs or None
STEP = 3  # expression, name of the operator, args
SERVICE = 4  # name, args


def pack(kind, number, body=b""):
    # type: (int, int, bytes) -> bytes
    """The bytes of a message."""
    return HEAD.pack(kind, number) + body


def unpack(message):
    # type: (Any) -> tuple[int, int, bytes]
    """Kind, number and body of a message; for DATA and CALL, which are not copied, all of it.

    A large message may come as a bytearray, and then a CALL is handed on as one.

    Raises:
        ProtocolError: It is shorter than a message can be.
    """
    if len(message) < HEAD.size:
        raise ProtocolError("a message of %d bytes" % len(message))
    kind, number = HEAD.unpack_from(message)
    if kind == CALL:
        return kind, number, message
    if kind == DATA:
        return kind, number, bytes(message)
    if isinstance(message, bytes):
        return kind, number, message[HEAD.size :]
    return kind, number, memoryview(message)[HEAD.size :].tobytes()
