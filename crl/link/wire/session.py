"""The session: messages of any size, exactly once and whole, over frames that may get lost and terminals that end.

It joins the sending and the receiving half, speaks the signs of life and asks again for what is missing; over a new
terminal it goes on where the old one was cut. Both ends run this same class; it starts no timer: its owner calls `ping`
at heartbeats, and the numbers in them uncover what was lost at the tail.
"""
# ruff: noqa: F401 - names in type comments look unused.

import struct

from crl.link.wire import frames, receiving, sending
from crl.link.wire.errors import ProtocolError

MYPY = False
if MYPY:
    from collections.abc import Callable

NUMBER = struct.Struct(">Q")
PING_BODY = struct.Struct(">QQ")


class Session(object):
    """One end of a session.

    Args:
        epoch: Number of the attachment; frames of others are ignored.
        window: How many bytes of data frames may be under way without acknowledgement, to begin with.
        frame_limit: The largest piece of a message in one frame, in bytes.
        max_message: The largest message in either direction, in bytes.
        clock: Seconds, so that the window can follow the delay of the way; None keeps it as it is.
        pings_back: Whether to answer a heartbeat with one of our own, so that this end can measure the way too.

    Attributes:
        heard: How many valid frames have arrived; grows with every sign of life of the peer.
        pongs: The last token that came back in answer to a ping.
        hello: The payload of the peer's HELLO, None before it.
        ended: Whether the peer has said BYE.
        delivered: Messages that have arrived, each behind its numbers, until their owner takes them.
        post: Queues a message: `Sender.post` itself, for every call comes through it.
        turn: Epoch and acknowledgement of a greeting that asks to go on as a newer attachment; None before one.
        interrupted: Set by whoever was interrupted in a method: `recover` has to come before all else.
    """

    def __init__(
        self,
        epoch=1,  # type: int
        window=sending.WINDOW,  # type: int
        frame_limit=sending.FRAME_LIMIT,  # type: int
        max_message=sending.MAX_MESSAGE,  # type: int
        clock=None,  # type: Callable[[], float] | None
        pings_back=False,  # type: bool
    ):
        # type: (...) -> None
        self.epoch = epoch
        self._clock = clock
        self._pings_back = pings_back
        self._pinged = None  # type: tuple[int, float] | None
        self.heard = 0
        self.pongs = 0
        self.hello = None  # type: bytes | None
        self.ended = False
        self.turn = None  # type: tuple[int, int] | None
        self.interrupted = False
        self.decoder = frames.Decoder()
        self.sender = sending.Sender(window, frame_limit, max_message, clock)
        self.receiver = receiving.Receiver(max_message, max(receiving.EARLY_LIMIT, 2 * window))
        self.delivered = self.receiver.delivered
        self.post = self.sender.post
        # What is unsequenced is kept as a state and never queued: however often a peer asks, one answer goes out.
        self._control = {}  # type: dict[int, bytes]
        self._parted = False
        self._awaits_peer = False

    # -- sending ---------------------------------------------------------------------------------------------------

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
        if self._clock is not None:
            self._pinged = (token, self._clock())

    @property
    def backlog(self):
        # type: () -> int
        """How many bytes of messages wait for room in the window."""
        return self.sender.backlog

    @property
    def repeated(self):
        # type: () -> int
        """How many data frames were sent again because the peer asked."""
        return self.sender.repeated

    @property
    def has_outgoing(self):
        # type: () -> bool
        """Whether `outgoing` would give anything."""
        if self._parted:
            return False
        if self._control:
            return True
        if self._awaits_peer:
            return False
        receiver, sender = self.receiver, self.sender
        return receiver.ack_wanted or bool(receiver.naks) or bool(sender.repeats) or sender.ready

    def outgoing(self):
        # type: () -> list[bytes]
        """Take the frames that may be written now, one `bytes` each, in order."""
        receiver, sender = self.receiver, self.sender
        ready = []  # type: list[bytes]
        if self._control or receiver.naks or sender.repeats:
            self._urgent(ready)
        if self._parted or self._awaits_peer:
            return ready
        # Any data frame carries the acknowledgement for free.
        if not sender.take_frames(self.epoch, receiver.expected, ready) and receiver.ack_wanted:
            ready.append(self._frame(frames.ACK, b""))
        receiver.ack_wanted = False
        return ready

    def at_once(self, message):
        # type: (bytes) -> bytes | None
        """Queue a small message and take its frame, which is all that may be written now.

        Returns:
            None, and nothing has changed, when something else is to go first or with it: then `post` it.
        """
        sender, receiver = self.sender, self.receiver
        if self._control or receiver.naks or sender.repeats or self._parted or self._awaits_peer:
            return None
        frame = sender.at_once(message, self.epoch, receiver.expected)
        if frame is not None:
            receiver.ack_wanted = False
        return frame

    def _urgent(self, ready):
        # type: (list[bytes]) -> None
        """The frames that go before all data: signs of life, questions for lost frames and their answers."""
        if self._parted:
            return
        control = self._control
        for kind in (frames.HELLO, frames.PING, frames.PONG):
            payload = control.pop(kind, None)
            if payload is not None:
                # The next number is told as late as possible: it uncovers what was lost at the tail.
                tail = b"" if kind == frames.HELLO else NUMBER.pack(self.sender.next_seq)
                ready.append(self._frame(kind, payload + tail))
        if not self._awaits_peer:
            naks, self.receiver.naks = self.receiver.naks, []
            if naks:
                ready.append(self._frame(frames.NAK, b"".join(map(NUMBER.pack, naks))))
            ready.extend(self.sender.take_repeats())
        if frames.BYE in control:
            ready.append(self._frame(frames.BYE, b""))
            self._parted = True

    def _frame(self, kind, payload):
        # type: (int, bytes) -> bytes
        return frames.encode(kind, 0, self.epoch, 0, 0, self.receiver.expected, payload)

    # -- receiving -------------------------------------------------------------------------------------------------

    def receive(self, data):
        # type: (bytes) -> list[bytes]
        """Take bytes of the stream and return the messages that are whole now, in order.

        Raises:
            ProtocolError: The peer breaks the rules in a way that damage on the way cannot explain.
        """
        self.take(data)
        messages = []  # type: list[bytes]
        while self.delivered:
            messages.append(self.delivered.popleft()[2])
        return messages

    def take(self, data):
        # type: (bytes) -> None
        """Take bytes of the stream; what has arrived whole stands in `delivered`. Raises as `receive`."""
        decoder = self.decoder
        # An answer, or a question, mostly comes alone.
        only = decoder.only(data)
        if only is not None:
            kind, flags, epoch, message, seq, ack, payload = only
            receiver = self.receiver
            if (
                seq == receiver.expected
                and kind == frames.DATA
                and flags == frames.WHOLE
                and epoch == self.epoch
                and not receiver.early
                and not self._awaits_peer
            ):
                self.heard += 1
                self.sender.forget(ack)
                receiver.take_whole(seq, message, payload)
                return
        found = decoder.feed(data)
        while True:
            for frame in found:
                if frame.epoch != self.epoch:
                    if frame.kind == frames.HELLO and frame.epoch > self.epoch:
                        self.turn = (frame.epoch, frame.ack)
                    continue
                self.heard += 1
                if self._awaits_peer:
                    self._go_on_from(frame.ack)
                else:
                    self.sender.forget(frame.ack)
                if frame.kind == frames.DATA:
                    self.receiver.take(frame)
                else:
                    self._take_control(frame)
            if self.ended or not decoder.held:
                return
            # The BYE was one of an older attachment.
            found = decoder.go_on()

    def _take_control(self, frame):
        # type: (frames.Frame) -> None
        if frame.kind == frames.NAK:
            for offset in range(0, len(frame.payload) - NUMBER.size + 1, NUMBER.size):
                self.sender.repeat(NUMBER.unpack_from(frame.payload, offset)[0])
        elif frame.kind in (frames.PING, frames.PONG):
            if len(frame.payload) != PING_BODY.size:
                raise ProtocolError("a heartbeat of %d bytes" % len(frame.payload))
            token, peer_next = PING_BODY.unpack(frame.payload)
            if frame.kind == frames.PONG:
                self._take_pong(token)
            else:
                self._control[frames.PONG] = NUMBER.pack(token)
                if self._pings_back:
                    self.ping(token)
            self.receiver.ask(self.receiver.expected, peer_next)
        elif frame.kind == frames.HELLO:
            self.hello = frame.payload
        elif frame.kind == frames.BYE:
            self.ended = True

    def _take_pong(self, token):
        # type: (int) -> None
        self.pongs = token
        pinged, self._pinged = self._pinged, None
        if pinged is not None and pinged[0] == token and self._clock is not None:
            self.sender.note_delay(self._clock() - pinged[1])

    # -- a new terminal --------------------------------------------------------------------------------------------

    @property
    def expected(self):
        # type: () -> int
        """All data frames of the peer below this number have arrived."""
        return self.receiver.expected

    def resume(self, epoch, peer_has=None):
        # type: (int, int | None) -> None
        """Go on over a new terminal; what stood in the old one and was not acknowledged is sent again.

        Args:
            epoch: Number of the new attachment, larger than any before.
            peer_has: The peer's `expected` when that is known; otherwise its first frame tells, and no data goes out
                before.

        Raises:
            ProtocolError: The peer cannot have that.
        """
        self.recover()
        self.epoch = epoch
        self._control.clear()
        self._parted = self.ended = False
        self._awaits_peer = True
        self._pinged = None
        if peer_has is not None:
            self._go_on_from(peer_has)

    def _go_on_from(self, peer_has):
        # type: (int) -> None
        self.sender.forget(peer_has)
        self.sender.start_again(self.epoch, self.receiver.expected)
        self._awaits_peer = False

    def recover(self):
        # type: () -> None
        """Make the state whole again after an exception cut a method short.

        Frames that were being read or written then count as lost; a ping uncovers them.
        """
        self.decoder = frames.Decoder()
        self.sender.recover()
        self.receiver.recover()
        self.interrupted = False
