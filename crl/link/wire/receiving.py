"""The receiving half of a session: frames are put in order, the missing ones asked for, and messages made of them.

What has arrived stands in `delivered` until its owner takes it. It knows no terminal and no thread; any method may be
cut short by an exception anywhere, and after `recover` every message still arrives exactly once.
"""
# ruff: noqa: F401 - names in type comments look unused.

from crl.link.wire import frames
from crl.link.wire.compat import deque
from crl.link.wire.errors import ProtocolError

MYPY = False
if MYPY:
    from typing import Any

MAX_NAKS = 64
MAX_MESSAGES_OPEN = 4096
# Frames that came before their turn are kept up to this; the largest window of the peer fits in.
EARLY_LIMIT = 16 * 1024 * 1024
# What is larger is given on as it was gathered: another copy of it would need as many fresh pages.
LARGE = 1024 * 1024


class Unfinished(object):
    """A message of which some pieces have come: they are put together at once, while they are at hand.

    Attributes:
        data: The pieces.
        ends: For each its frame's number and where it ends.
    """

    __slots__ = ("data", "ends")

    def __init__(self):
        # type: () -> None
        self.data = bytearray()
        self.ends = []  # type: list[tuple[int, int]]

    def add(self, seq, payload):
        # type: (int, bytes) -> None
        """Put a piece to it."""
        self.data += payload
        self.ends.append((seq, len(self.data)))

    def whole(self, payload):
        # type: (bytes) -> Any
        """The message with its last piece."""
        self.data += payload
        return self.data if len(self.data) > LARGE else bytes(self.data)

    def recover(self, expected):
        # type: (int) -> None
        """Drop what does not count yet and comes again."""
        self.ends = [end for end in self.ends if end[0] < expected]
        del self.data[self.ends[-1][1] if self.ends else 0 :]


class Receiver(object):
    """Takes data frames and delivers messages.

    Args:
        max_message: The largest message, and the most of unfinished ones together, in bytes.
        early_limit: How many bytes of frames that came too early are kept.

    Attributes:
        delivered: Messages that are whole, in order, each behind the number of its last frame and its own; a large one
            is a bytearray.
        expected: All frames below this number have arrived.
        ack_wanted: Whether the peer asked for an acknowledgement.
        naks: Numbers of frames to ask for.
    """

    def __init__(self, max_message, early_limit):
        # type: (int, int) -> None
        self.delivered = deque()  # type: deque[tuple[int, int, bytes]]
        self.expected = 1
        self.ack_wanted = False
        self.naks = []  # type: list[int]
        self._max_message = max_message
        self._early_limit = early_limit
        self._early = {}  # type: dict[int, frames.Frame]
        self._early_bytes = 0
        self._newest = 0
        self._open = {}  # type: dict[int, Unfinished]
        self._open_bytes = 0

    def take(self, frame):
        # type: (frames.Frame) -> None
        """Take a data frame."""
        if frame.flags & frames.ASK:
            self.ack_wanted = True
        seq = frame.seq
        if seq != self.expected:
            if seq > self.expected:
                self._take_early(frame)
            else:
                # It was repeated although it is here: an acknowledgement got lost.
                self.ack_wanted = True
            return
        while True:
            # The frame whose turn it is. One operation makes it arrive; what follows can be made up for.
            if frame.flags & frames.WHOLE == frames.WHOLE:
                self.delivered.append((seq, frame.message, frame.payload))
            else:
                self._join(frame)
            self.expected = seq = seq + 1
            if seq not in self._early:
                return
            frame = self._early.pop(seq)
            self._early_bytes -= frames.HEADER_SIZE + len(frame.payload)

    def _join(self, frame):
        # type: (frames.Frame) -> None
        """Put a piece to its message."""
        if frame.flags & ~(frames.WHOLE | frames.ASK) or not frame.payload:
            raise ProtocolError("a piece of message %d that is none" % frame.message)
        message = self._open.get(frame.message)
        if frame.flags & frames.FIRST:
            if (message and message.ends) or len(self._open) >= MAX_MESSAGES_OPEN:
                raise ProtocolError("message %d begins twice or too many are unfinished" % frame.message)
            message = self._open[frame.message] = Unfinished()
        elif not (message and message.ends):
            raise ProtocolError("a piece of message %d, which never began" % frame.message)
        if self._open_bytes + len(frame.payload) > self._max_message:
            raise ProtocolError("unfinished messages exceed %d bytes" % self._max_message)
        if not frame.flags & frames.LAST:
            message.add(frame.seq, frame.payload)
            self._open_bytes += len(frame.payload)
            return
        size = len(message.data)
        self.delivered.append((frame.seq, frame.message, message.whole(frame.payload)))
        self._open_bytes -= size
        self._open.pop(frame.message, None)

    def _take_early(self, frame):
        # type: (frames.Frame) -> None
        """Keep a frame that came before its turn, and ask for those that are missing."""
        cost = frames.HEADER_SIZE + len(frame.payload)
        if frame.seq not in self._early and self._early_bytes + cost <= self._early_limit:
            newest = max(self._newest, self.expected - 1)
            self._early[frame.seq] = frame
            self._early_bytes += cost
            # Only the gap that this frame uncovers: what was missing before has been asked for.
            if frame.seq > newest:
                self._newest = frame.seq
                self.ask(newest + 1, frame.seq)

    def ask(self, start, end):
        # type: (int, int) -> None
        """Ask for the frames from `start` to before `end` that are not here; a few at a time, heartbeats ask again."""
        for seq in range(start, min(end, start + MAX_NAKS)):
            if len(self.naks) >= MAX_NAKS:
                return
            if seq not in self._early and seq not in self.naks:
                self.naks.append(seq)

    def recover(self):
        # type: () -> None
        """Make the state whole again after an exception has cut a method short."""
        if self.delivered and self.delivered[-1][0] == self.expected:
            # It has arrived; only the counting was cut off.
            self.expected += 1
            self._open.pop(self.delivered[-1][1], None)
        for number, message in list(self._open.items()):
            # A piece that was put there and not counted comes again.
            message.recover(self.expected)
            if not message.ends:
                del self._open[number]
        self._open_bytes = sum(len(message.data) for message in self._open.values())
        for seq in [seq for seq in self._early if seq < self.expected]:
            del self._early[seq]
        self._early_bytes = sum(frames.HEADER_SIZE + len(frame.payload) for frame in self._early.values())
        self.naks = []
