"""Frames: how messages stand on a byte stream that may carry noise.

A frame is a header with its own checksum and a payload with another; a damaged header is skipped to the next magic
number, a damaged payload is dropped as long as its header says. The decoder is total: any bytes, cut anywhere, give
frames or nothing, in linear time and with no more memory than one frame.
"""

import struct
from zlib import crc32

MAGIC = b"\xc5\x1bRL"
HEADER = struct.Struct(">4sBBHIQQII")
CHECK = struct.Struct(">I")
CHECKED_HEADER = struct.Struct(">4sBBHIQQIII")
CHECK_SIZE = CHECK.size
HEADER_SIZE = CHECKED_HEADER.size
MAX_PAYLOAD = 256 * 1024

# Kinds of frames. DATA carries a piece of a message and is numbered; the others are unsequenced and never repeated.
DATA = 1
ACK = 2
NAK = 3
PING = 4
PONG = 5
HELLO = 6
BYE = 7

# Flags of DATA: where the piece stands in its message, and whether the peer shall acknowledge at once.
FIRST = 1
LAST = 2
WHOLE = FIRST | LAST
ASK = 4
# On the wire only: the channel lets no byte change, so that the payload has no checksum; see `encode_vouched`.
VOUCHED = 8

# The most that `Decoder.only` looks at.
SMALL = 4096

# Enough for the last words of a program that was killed.
NOISE_KEPT = 16384


class Frame(object):
    """One frame as received.

    Attributes:
        kind: One of the kinds above.
        flags: `FIRST`, `LAST` and `ASK` for data.
        epoch: The number of the attachment that sent it.
        message: Number of the message that the piece belongs to.
        seq: The absolute number of a data frame, 0 otherwise.
        ack: All data frames below this number have arrived at the sender of this frame.
        payload: The bytes.
    """

    __slots__ = ("kind", "flags", "epoch", "message", "seq", "ack", "payload")

    def __init__(self, kind, flags, epoch, message, seq, ack, payload):
        # type: (int, int, int, int, int, int, bytes) -> None
        self.kind = kind
        self.flags = flags
        self.epoch = epoch
        self.message = message
        self.seq = seq
        self.ack = ack
        self.payload = payload


def encode(kind, flags, epoch, message, seq, ack, payload):
    # type: (int, int, int, int, int, int, bytes) -> bytes
    """The bytes of one frame."""
    head = HEADER.pack(
        MAGIC, kind, flags, epoch, message, seq, ack, len(payload), crc32(payload) & 0xFFFFFFFF
    )
    return head + CHECK.pack(crc32(head) & 0xFFFFFFFF) + payload


def encode_vouched(kind, flags, epoch, message, seq, ack, payload):
    # type: (int, int, int, int, int, int, bytes) -> bytes
    """The same for a channel that lets no byte change, such as ssh's: the payload has no checksum.

    Behind it the header's own stands once more: what somebody else wrote into the middle would push that away.
    """
    head = HEADER.pack(MAGIC, kind, flags | VOUCHED, epoch, message, seq, ack, len(payload) + CHECK_SIZE, 0)
    check = CHECK.pack(crc32(head) & 0xFFFFFFFF)
    return b"".join((head, check, payload, check))


def readdress(frame, epoch, ack):
    # type: (bytes, int, int) -> bytes
    """A frame made by `encode` or `encode_vouched`, for another attachment, whatever its channel is."""
    magic, kind, flags, _, message, seq, _, length, check = HEADER.unpack_from(frame)
    if flags & VOUCHED:
        return encode(kind, flags & ~VOUCHED, epoch, message, seq, ack, frame[HEADER_SIZE:-CHECK_SIZE])
    head = HEADER.pack(magic, kind, flags, epoch, message, seq, ack, length, check)
    return head + CHECK.pack(crc32(head) & 0xFFFFFFFF) + frame[HEADER_SIZE:]


class Decoder(object):
    """Finds the frames in a byte stream.

    Attributes:
        noise: The last bytes that belonged to no frame, for error texts.
        noise_bytes: How many such bytes there were in all.
        damaged: How many frames had a good header and a bad payload.
        held: Whether a BYE came: what follows may be somebody else's and is not looked at until `go_on`.
    """

    def __init__(self):
        # type: () -> None
        self.noise = b""
        self.noise_bytes = 0
        self.damaged = 0
        self._chunks = []  # type: list[bytes]
        self._have = 0
        self._need = 1
        self.held = False

    def feed(self, data):
        # type: (bytes) -> list[Frame]
        """Take the next bytes of the stream and return the frames that are complete now."""
        found = []  # type: list[Frame]
        if self._have or self.held:
            self._chunks.append(data)
            self._have += len(data)
            # Joining only when a whole frame can be there keeps the cost linear however small the reads are.
            if self._have < self._need or self.held:
                return found
            data = b"".join(self._chunks)
        position = self._scan(data, found)
        self._have = len(data) - position
        self._chunks = [data[position:]] if self._have else []
        return found

    def only(self, data):
        # type: (bytes) -> tuple[int, int, int, int, int, int, bytes] | None
        """What `Frame` has, when these next bytes are exactly one sound frame; else None, and nothing has changed."""
        if self._have or self.held or not HEADER_SIZE <= len(data) <= SMALL:
            return None
        magic, kind, flags, epoch, message, seq, ack, length, payload_check, check = CHECKED_HEADER.unpack_from(data)
        payload = data[HEADER_SIZE:]
        if (
            length != len(payload)
            or magic != MAGIC
            or crc32(data[: HEADER_SIZE - CHECK_SIZE]) & 0xFFFFFFFF != check
            or crc32(payload) & 0xFFFFFFFF != payload_check
        ):
            return None
        return kind, flags, epoch, message, seq, ack, payload

    def go_on(self):
        # type: () -> list[Frame]
        """Look behind a BYE that was not meant for us."""
        self.held = False
        self._need = 1
        return self.feed(b"")

    @property
    def partial(self):
        # type: () -> bool
        """Whether bytes have arrived that belong to no frame yet."""
        return self._have > 0

    def rest(self):
        # type: () -> bytes
        """The bytes that have arrived and belong to no frame yet; after a BYE they are somebody else's."""
        return b"".join(self._chunks)

    def _scan(self, buffer, found):
        # type: (bytes, list[Frame]) -> int
        """Parse all whole frames; returns where the first incomplete one starts."""
        position = sound = 0
        size = len(buffer)
        self._need = HEADER_SIZE
        # From `sound` to `position` stands noise that is not noted yet: noting it once keeps floods of it cheap.
        while size - position >= HEADER_SIZE and not self.held:
            magic, kind, flags, epoch, message, seq, ack, length, payload_check, check = CHECKED_HEADER.unpack_from(
                buffer, position
            )
            start = position + HEADER_SIZE
            if (
                magic != MAGIC
                or crc32(buffer[position : start - CHECK_SIZE]) & 0xFFFFFFFF != check
                or length > MAX_PAYLOAD
            ):
                position = _next_magic(buffer, position + 1)
                continue
            end = start + length
            if size < end:
                self._need = end - position
                break
            if sound < position:
                self._skip(buffer, sound, position)
            position = sound = end
            if flags & VOUCHED:
                end -= CHECK_SIZE
                payload = buffer[start:end]
                intact = buffer[end:position] == buffer[start - CHECK_SIZE : start]
                flags &= ~VOUCHED
            else:
                payload = buffer[start:end]
                intact = crc32(payload) & 0xFFFFFFFF == payload_check
            if not intact:
                self.damaged += 1
                continue
            found.append(Frame(kind, flags, epoch, message, seq, ack, payload))
            self.held = kind == BYE
        if sound < size:
            if size - position < HEADER_SIZE and not self.held:
                position = _next_magic(buffer, position)
            if sound < position:
                self._skip(buffer, sound, position)
        return position

    def _skip(self, buffer, start, end):
        # type: (bytes, int, int) -> None
        self.noise_bytes += end - start
        self.noise = (self.noise + buffer[max(start, end - NOISE_KEPT) : end])[-NOISE_KEPT:]


def _next_magic(buffer, position):
    # type: (bytes, int) -> int
    """Where from a position on the next magic number stands, or begins at the end of the buffer."""
    start = buffer.find(MAGIC, position)
    if start >= 0:
        return start
    size = len(buffer)
    for length in range(min(len(MAGIC) - 1, size - position), 0, -1):
        if buffer.endswith(MAGIC[:length]):
            return size - length
    return size
