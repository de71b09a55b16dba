"""The session: messages of any size, exactly once and whole, over frames that may get lost.

It numbers the data frames, keeps them until they are acknowledged, asks for missing ones by number and cuts messages so
that a small one never waits behind more than one frame of a large one. Both ends run this same class; it knows no
clock: its owner calls `ping` at heartbeats, and the numbers in them uncover what was lost at the tail.
"""

import struct

from crl.link.wire import frames
from crl.link.wire.errors import NotTransferable, ProtocolError

MYPY = False
if MYPY:
    from collections import deque
else:
    # Its module, not `collections`, which is the largest import of the start.
    from _collections import deque

NUMBER = struct.Struct(">Q")
PING_BODY = struct.Struct(">QQ")

FRAME_SIZE = 32 * 1024
WINDOW = 512 * 1024
MAX_MESSAGE = 256 * 1024 * 1024
MAX_NAKS = 64
# How many messages are cut up at the same time; the peer accepts more, so that the two may differ by a version.
MESSAGES_OPEN = 64
MAX_MESSAGES_OPEN = 4096


class _Bulk(object):
    """A message that gives way to calls, and how far it is."""

    __slots__ = ("number", "message", "offset")

    def __init__(self, number, message):
        # type: (int, bytes) -> None
        self.number = number
        self.message = message
        self.offset = 0


class Session(object):
    """One end of a session.

    Args:
        epoch: Number of the attachment; frames of older ones are ignored.
        window: How many bytes of data frames may be under way without acknowledgement.
        frame_size: The largest piece of a message in one frame, in bytes.
        max_message: The largest message accepted from the peer, in bytes.

    Attributes:
        heard: How many valid frames have arrived; grows with every sign of life of the peer.
        pongs: The last token that came back in answer to a ping.
        hello: The payload of the peer's HELLO, None before it.
        ended: Whether the peer has said BYE.
        repeated: How many data frames were sent again because the peer asked.
    """

    def __init__(self, epoch=1, window=WINDOW, frame_size=FRAME_SIZE, max_message=MAX_MESSAGE):
        # type: (int, int, int, int) -> None
        self.epoch = epoch
        self.window = window
        self.frame_size = frame_size
        self.max_message = max_message
        self.heard = 0
        self.pongs = 0
        self.hello = None  # type: bytes | None
        self.ended = False
        self.repeated = 0
        self.decoder = frames.Decoder()
        self._next_message = 1
        self._small = deque()  # type: deque[tuple[int, bytes]]
        self._bulk = {}  # type: dict[int, deque[_Bulk]]
        self._turns = deque()  # type: deque[int]
        self._waiting = deque()  # type: deque[int]
        self._begun_bytes = 0
        # What is unsequenced is kept as a state and never queued: however often a peer asks, one answer goes out.
        self._control = {}  # type: dict[int, bytes]
        self._naks = []  # type: list[int]
        self._repeats = {}  # type: dict[int, bytes]
        self._parted = False
        self._next_seq = 1
        self._unacked = {}  # type: dict[int, bytes]
        self._unacked_bytes = 0
        self._acked = 1
        self._expected = 1
        self._early = {}  # type: dict[int, frames.Frame]
        self._early_bytes = 0
        self._newest = 0
        self._received_since_ack = 0
        self._open = {}  # type: dict[int, list[bytes]]
        self._open_bytes = 0

    # -- sending ---------------------------------------------------------------------------------------------------

    def post(self, message, order=None):
        # type: (bytes, int | None) -> None
        """Queue a message; `outgoing` gives its frames when the window has room.

        Args:
            message: The message.
            order: Messages of the same order arrive in the order they were posted and give way to those of none.
                Without one, small messages keep their order and a large one lets others pass.

        Raises:
            NotTransferable: It is larger than the peer takes.
        """
        if len(message) > self.max_message:
            raise NotTransferable("%d bytes in one message; the limit is %d" % (len(message), self.max_message))
        number = self._next_message
        self._next_message = (number % 0xFFFFFFFF) + 1
        if order is None and len(message) <= self.frame_size:
            self._small.append((number, message))
            return
        # A large message without an order is one of its own; numbers of messages are negative to stay apart.
        key = -number if order is None else order
        queue = self._bulk.get(key)
        if queue is None:
            queue = self._bulk[key] = deque()
            self._waiting.append(key)
        queue.append(_Bulk(number, message))

    def greet(self, payload):
        # type: (bytes) -> None
        """Queue a HELLO."""
        self._control[frames.HELLO] = payload

    def part(self):
        # type: () -> None
        """Queue a BYE: nothing of ours follows it."""
        self._control[frames.BYE] = b""

    def ping(self, token):
        # type: (int) -> None
        """Queue a heartbeat; the peer answers with the same token and both learn of lost frames."""
        self._control[frames.PING] = NUMBER.pack(token)

    @property
    def has_outgoing(self):
        # type: () -> bool
        """Whether `outgoing` would give anything."""
        if self._control or self._naks or self._repeats or self._received_since_ack >= self.window // 4:
            return not self._parted
        if self._small or self._turns or self._waiting:
            return self._unacked_bytes < self.window and not self._parted
        return False

    def outgoing(self):
        # type: () -> list[bytes]
        """Take the frames that may be written now, one `bytes` each, in order."""
        ready = self._urgent() if self._control or self._naks or self._repeats else []
        while self._unacked_bytes < self.window and not self._parted:
            if self._small:
                number, message = self._small.popleft()
                ready.append(self._data(frames.WHOLE, number, message))
            elif self._turns or self._waiting:
                ready.append(self._piece())
            else:
                break
        # Four acknowledgements in a window keep the peer sending; any data frame carries one for free.
        if self._received_since_ack >= self.window // 4 and not self._parted:
            ready.append(self._frame(frames.ACK, b""))
        return ready

    def _urgent(self):
        # type: () -> list[bytes]
        """The frames that go before all data: signs of life, questions for lost frames and their answers."""
        if self._parted:
            return []
        ready = []  # type: list[bytes]
        for kind in (frames.HELLO, frames.PING, frames.PONG):
            payload = self._control.pop(kind, None)
            if payload is not None:
                # The next number is told as late as possible: it uncovers what was lost at the tail.
                tail = b"" if kind == frames.HELLO else NUMBER.pack(self._next_seq)
                ready.append(self._frame(kind, payload + tail))
        if self._naks:
            ready.append(self._frame(frames.NAK, b"".join(map(NUMBER.pack, self._naks))))
            self._naks = []
        ready.extend(self._repeats.values())
        self.repeated += len(self._repeats)
        self._repeats = {}
        if frames.BYE in self._control:
            ready.append(self._frame(frames.BYE, b""))
            self._parted = True
        return ready

    @property
    def backlog(self):
        # type: () -> int
        """How many bytes of messages wait for room in the window."""
        bulk = sum(len(e.message) - e.offset for queue in self._bulk.values() for e in queue)
        return bulk + sum(len(message) for _, message in self._small)

    def _admit(self):
        # type: () -> None
        """Let large messages begin, as many as the peer keeps unfinished at a time."""
        while self._waiting and len(self._turns) < MESSAGES_OPEN:
            size = len(self._bulk[self._waiting[0]][0].message)
            if self._turns and self._begun_bytes + size > self.max_message:
                return
            self._begun_bytes += size
            self._turns.append(self._waiting.popleft())

    def _piece(self):
        # type: () -> bytes
        """The next piece of the bulk whose turn it is; each order has one frame, then the next."""
        if self._waiting:
            self._admit()
        key = self._turns.popleft()
        queue = self._bulk[key]
        entry = queue[0]
        piece = entry.message[entry.offset : entry.offset + self.frame_size]
        flags = frames.FIRST if entry.offset == 0 else 0
        entry.offset += len(piece)
        if entry.offset < len(entry.message):
            self._turns.append(key)
        else:
            flags |= frames.LAST
            self._begun_bytes -= len(entry.message)
            queue.popleft()
            if queue:
                self._waiting.append(key)
            else:
                del self._bulk[key]
        return self._data(flags, entry.number, piece)

    def _data(self, flags, number, payload):
        # type: (int, int, bytes) -> bytes
        seq = self._next_seq
        self._next_seq = seq + 1
        frame = frames.encode(frames.DATA, flags, self.epoch, number, seq, self._expected, payload)
        self._unacked[seq] = frame
        self._unacked_bytes += len(frame)
        self._received_since_ack = 0
        return frame

    def _frame(self, kind, payload):
        # type: (int, bytes) -> bytes
        self._received_since_ack = 0
        return frames.encode(kind, 0, self.epoch, 0, 0, self._expected, payload)

    # -- receiving -------------------------------------------------------------------------------------------------

    def receive(self, data):
        # type: (bytes) -> list[bytes]
        """Take bytes of the stream and return the messages that are whole now, in order.

        Raises:
            ProtocolError: The peer breaks the rules in a way that damage on the way cannot explain.
        """
        messages = []  # type: list[bytes]
        found = self.decoder.feed(data)
        while True:
            for frame in found:
                if frame.epoch == self.epoch:
                    self._take(frame, messages)
            if self.ended or not self.decoder.held:
                return messages
            # The BYE was one of an older attachment.
            found = self.decoder.go_on()

    def _take(self, frame, messages):
        # type: (frames.Frame, list[bytes]) -> None
        self.heard += 1
        if frame.ack > self._acked:
            self._forget(frame.ack)
        if frame.kind == frames.DATA:
            self._take_data(frame, messages)
        else:
            self._take_control(frame)

    def _forget(self, ack):
        # type: (int) -> None
        """The peer has all data frames below `ack`."""
        if ack > self._next_seq:
            raise ProtocolError("frame %d was acknowledged, the last one sent is %d" % (ack - 1, self._next_seq - 1))
        for seq in range(self._acked, ack):
            self._unacked_bytes -= len(self._unacked.pop(seq))
        self._acked = ack

    def _take_data(self, frame, messages):
        # type: (frames.Frame, list[bytes]) -> None
        self._received_since_ack += frames.HEADER_SIZE + len(frame.payload)
        if frame.seq == self._expected:
            self._expected += 1
            if frame.flags == frames.WHOLE:
                messages.append(frame.payload)
            else:
                self._join(frame, messages)
            while self._early and self._expected in self._early:
                early = self._early.pop(self._expected)
                self._early_bytes -= frames.HEADER_SIZE + len(early.payload)
                self._expected += 1
                self._join(early, messages)
        elif frame.seq > self._expected:
            self._take_early(frame)

    def _take_early(self, frame):
        # type: (frames.Frame) -> None
        """Keep a frame that came before its turn, and ask for those that are missing."""
        cost = frames.HEADER_SIZE + len(frame.payload)
        if frame.seq not in self._early and self._early_bytes + cost <= 2 * self.window:
            newest = max(self._newest, self._expected - 1)
            self._early[frame.seq] = frame
            self._early_bytes += cost
            # Only the gap that this frame uncovers: what was missing before has been asked for.
            if frame.seq > newest:
                self._newest = frame.seq
                self._ask(newest + 1, frame.seq)

    def _ask(self, start, end):
        # type: (int, int) -> None
        """Ask for the frames from `start` to before `end` that are not here; a few at a time, heartbeats ask again."""
        for seq in range(start, min(end, start + MAX_NAKS)):
            if len(self._naks) >= MAX_NAKS:
                return
            if seq not in self._early and seq not in self._naks:
                self._naks.append(seq)

    def _take_control(self, frame):
        # type: (frames.Frame) -> None
        if frame.kind == frames.NAK:
            for offset in range(0, len(frame.payload) - NUMBER.size + 1, NUMBER.size):
                self._repeat(NUMBER.unpack_from(frame.payload, offset)[0])
        elif frame.kind in (frames.PING, frames.PONG):
            if len(frame.payload) != PING_BODY.size:
                raise ProtocolError("a heartbeat of %d bytes" % len(frame.payload))
            token, peer_next = PING_BODY.unpack(frame.payload)
            if frame.kind == frames.PING:
                self._control[frames.PONG] = NUMBER.pack(token)
            else:
                self.pongs = token
            self._ask(self._expected, peer_next)
        elif frame.kind == frames.HELLO:
            self.hello = frame.payload
        elif frame.kind == frames.BYE:
            self.ended = True

    def _repeat(self, seq):
        # type: (int) -> None
        frame = self._unacked.get(seq)
        if frame is not None:
            self._repeats[seq] = frame

    def _join(self, frame, messages):
        # type: (frames.Frame, list[bytes]) -> None
        """Put a piece, in its turn, to its message."""
        if frame.flags == frames.WHOLE:
            messages.append(frame.payload)
            return
        if frame.flags & ~frames.WHOLE or not frame.payload:
            raise ProtocolError("a piece of message %d that is none" % frame.message)
        if frame.flags & frames.FIRST:
            if frame.message in self._open or len(self._open) >= MAX_MESSAGES_OPEN:
                raise ProtocolError("message %d begins twice or too many are unfinished" % frame.message)
            self._open[frame.message] = []
        pieces = self._open.get(frame.message)
        if pieces is None:
            raise ProtocolError("a piece of message %d, which never began" % frame.message)
        pieces.append(frame.payload)
        self._open_bytes += len(frame.payload)
        if self._open_bytes > self.max_message:
            raise ProtocolError("unfinished messages exceed %d bytes" % self.max_message)
        if frame.flags & frames.LAST:
            del self._open[frame.message]
            message = b"".join(pieces)
            self._open_bytes -= len(message)
            messages.append(message)
