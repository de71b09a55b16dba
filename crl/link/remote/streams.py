"""Streams on the target: bytes between descriptors and the controller, with credit in both directions.

One thread waits for the descriptors of all processes and tunnels; what the controller sends is written where it
arrives, as far as it goes without waiting. No stream holds up another, and none keeps more in memory than the credit it
was given or the ring it was asked for. It is sent on the first use of any.
"""
# ruff: noqa: F401, FBT003 - names in type comments look unused; locks of Python 2 take no keywords.

import errno
import os
import select
import time
from collections import deque

from crl.link.remote import world
from crl.link.wire import messages
from crl.link.wire.compat import allocate_lock, start_new_thread
from crl.link.wire.credit import Credit

MYPY = False
if MYPY:
    from collections.abc import Callable
    from typing import Any

# With the head of a message it still fits one frame.
READ_SIZE = 32 * 1024 - 64
EARLY_KEPT = 64
FINISHED_KEPT = 4096
AGAIN = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR)
# What a terminal says when nobody has it open any more.
ENDED = errno.EIO
READABLE = select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR
WRITABLE = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR

now = getattr(time, "monotonic", time.time)


class Ring(object):
    """The newest bytes of an output, never more than a given number; what falls out is counted.

    Args:
        size: How many bytes are kept.

    Attributes:
        dropped: How many bytes have fallen out since that was told.
    """

    def __init__(self, size):
        # type: (int) -> None
        self.size = size
        self.dropped = 0
        self._pieces = deque()  # type: deque[bytes]
        self._held = 0

    def __len__(self):
        # type: () -> int
        return self._held

    def append(self, data):
        # type: (bytes) -> None
        """Keep more; the oldest fall out where there is no room."""
        pieces = self._pieces
        pieces.append(data)
        self._held += len(data)
        while self._held > self.size:
            over = self._held - self.size
            oldest = pieces.popleft()
            if len(oldest) > over:
                pieces.appendleft(oldest[over:])
            gone = min(over, len(oldest))
            self._held -= gone
            self.dropped += gone

    def take(self, count):
        # type: (int) -> bytes
        """The oldest bytes, at most that many, which are kept no longer."""
        taken = []
        while count > 0 and self._pieces:
            piece = self._pieces.popleft()
            if len(piece) > count:
                self._pieces.appendleft(piece[count:])
                piece = piece[:count]
            count -= len(piece)
            self._held -= len(piece)
            taken.append(piece)
        return b"".join(taken)


class Stream(object):
    """One stream: what is read from `source` goes to the controller, what comes from there is written to `sink`.

    Args:
        number: Its number, the same on both ends.
        on_end: Called when the controller's direction has ended and all of it is written.
        on_over: Called with the stream when both directions are over. Neither may wait.
        order: Streams of the same order arrive at the controller in the order they were read; None is its own.
        ring: What keeps output that the controller does not take yet; None lets the writer wait.

    Attributes:
        source: Descriptor to read, or None.
        sink: Descriptor to write, or None.
        opening: Whether the descriptors are still to come; what arrives until then is kept.
        reading: Whether the source may still give something.
        sent: How many bytes have gone to the controller.
        limit: How many may have gone in all.
        credit: How many bytes of the controller have been written, and how many it may send.
        pending: What waits to be written.
        ending: Whether the controller's direction ends after that.
        cut: Whether it ended before its time.
    """

    def __init__(
        self,
        number,  # type: int
        on_end,  # type: Callable[[], object]
        on_over,  # type: Callable[[Stream], object]
        order=None,  # type: int | None
        ring=None,  # type: Ring | None
    ):
        # type: (...) -> None
        self.number = number
        self.order = number if order is None else order
        self.source = None  # type: int | None
        self.sink = None  # type: int | None
        self.opening = True
        self.reading = False
        self.on_end = on_end
        self.on_over = on_over
        self.ring = ring
        self.sent = 0
        self.limit = messages.STREAM_CREDIT
        self.credit = Credit()
        self.pending = deque()  # type: deque[bytes | memoryview]
        self.ending = False
        self.cut = False
        self._widened = set()  # type: set[int]

    def widen(self, descriptor):
        # type: (int) -> None
        """There is much to move: let a pipe hold more of it."""
        if descriptor not in self._widened:
            self._widened.add(descriptor)
            world.widen(descriptor)

    @property
    def held_back(self):
        # type: () -> bool
        """Whether output waits until the controller has taken what it has."""
        return self.sent >= self.limit

    @property
    def kept(self):
        # type: () -> int
        """How many bytes the ring holds."""
        return 0 if self.ring is None else len(self.ring)


class Pump(object):
    """What moves the bytes of all streams.

    Its lock guards all streams; under it nothing waits. Whatever is done in another thread than that of the pump, the
    caller flushes the program afterwards.
    """

    def __init__(self, program):
        # type: (Any) -> None
        self.program = program
        self.streams = {}  # type: dict[int, Stream]
        self.lock = allocate_lock()
        # What overtook the request for its stream: another thread may read on before that is looked at.
        self._early = {}  # type: dict[int, list[tuple[int, bytes]]]
        self._finished = deque(maxlen=FINISHED_KEPT)  # type: deque[int]
        self._watched = {}  # type: dict[int, Callable[[int], object]]
        self._events = {}  # type: dict[int, int]
        self._owners = {}  # type: dict[int, Stream]
        self._timers = []  # type: list[tuple[float, Callable[[], object]]]
        self._epoll = select.epoll()
        world.private(self._epoll.fileno())
        self._wake_read, self._wake_write = (world.private(world.nonblocking(end)) for end in os.pipe())
        self.watch(self._wake_read, self._drain_wakes)
        self._handlers = {
            messages.DATA: self._data,
            messages.END: self._end,
            messages.CREDIT_TO: self._credit,
            messages.RESET: self._reset,
        }  # type: dict[int, Callable[[Stream, bytes], None]]
        for kind in self._handlers:
            program.handlers[kind] = self._locked(kind)
        start_new_thread(self._run, ())

    def add(self, stream):
        # type: (Stream) -> None
        """Know a stream whose descriptors are still to come, by `opened`. Under the lock."""
        self.streams[stream.number] = stream
        for kind, body in self.overtaken(stream.number):
            self._handlers[kind](stream, body)

    def overtaken(self, number):
        # type: (int) -> list[tuple[int, bytes]]
        """What came for a stream before the request for it was looked at. Under the lock."""
        return self._early.pop(number, [])

    def opened(self, stream, source, sink):
        # type: (Stream, int | None, int | None) -> None
        """Begin to move a stream's bytes; its descriptors must be non-blocking. Under the lock."""
        stream.opening = False
        stream.source, stream.sink = source, sink
        stream.reading = source is not None and not stream.cut
        for descriptor in (source, sink):
            if descriptor is not None:
                self._owners[descriptor] = stream
        self._write(stream)

    def cut(self, stream, told):
        # type: (Stream, bool) -> None
        """End both directions of a stream, whatever waits in them. Under the lock.

        Args:
            stream: The stream.
            told: Whether the controller hears of it.
        """
        if told and not stream.cut:
            self.program.post(messages.pack(messages.RESET, stream.number), stream.order)
        stream.cut = stream.ending = True
        stream.reading = False
        stream.ring = None
        stream.pending.clear()
        self._settle(stream)

    def finish(self, stream):
        # type: (Stream) -> None
        """Read no more of a stream's source; what was read goes on to the controller. Under the lock."""
        stream.reading = False
        self._settle(stream)

    def drop(self, stream):
        # type: (Stream) -> None
        """Forget a stream that was never opened. Under the lock."""
        self.streams.pop(stream.number, None)
        self.finished(stream.number)

    def finished(self, number):
        # type: (int) -> None
        """Nothing that still comes for a stream is for anybody. Under the lock."""
        self._finished.append(number)
        self._early.pop(number, None)

    def watch(self, descriptor, handler):
        # type: (int, Callable[[int], object]) -> None
        """Call `handler` with the events whenever a descriptor can be read. Under the lock, as the handler is too."""
        self._watched[descriptor] = handler
        self._want(descriptor, select.EPOLLIN)

    def forget(self, descriptor):
        # type: (int) -> None
        """Stop watching, before the descriptor is closed. Under the lock."""
        self._watched.pop(descriptor, None)
        self._want(descriptor, 0)

    def later(self, seconds, handler):
        # type: (float, Callable[[], object]) -> None
        """Call `handler` after that many seconds, once. Under the lock, as the handler is too."""
        self._timers.append((now() + seconds, handler))
        try:
            os.write(self._wake_write, b"w")
        except OSError as error:
            if error.errno not in AGAIN:
                raise

    # -- what the controller says, in the thread that reads frames ---------------------------------------------------

    def _locked(self, kind):
        # type: (int) -> Callable[[int, bytes], None]
        def handle(number, body):
            # type: (int, bytes) -> None
            with self.lock:
                self.handle(kind, number, body)

        return handle

    def handle(self, kind, number, body):
        # type: (int, int, bytes) -> None
        """Do what the controller says of a stream; keep it where its request was not looked at yet. Under the lock."""
        stream = self.streams.get(number)
        if stream is not None:
            self._handlers[kind](stream, body)
        elif number not in self._finished and (number in self._early or len(self._early) < EARLY_KEPT):
            self._early.setdefault(number, []).append((kind, body))

    def _data(self, stream, message):
        # type: (Stream, bytes) -> None
        if stream.ending or not (stream.opening or stream.sink is not None):
            return
        stream.pending.append(memoryview(message)[messages.HEAD.size :])
        if len(stream.pending) == 1:
            self._write(stream)

    def _end(self, stream, _body):
        # type: (Stream, bytes) -> None
        stream.ending = True
        self._settle(stream)

    def _credit(self, stream, body):
        # type: (Stream, bytes) -> None
        stream.limit = max(stream.limit, messages.CREDIT.unpack(body)[0])
        self._empty_ring(stream)
        self._settle(stream)

    def _reset(self, stream, _body):
        # type: (Stream, bytes) -> None
        self.cut(stream, False)

    # -- the thread ------------------------------------------------------------------------------------------------

    def _run(self):
        # type: () -> None
        while True:
            try:
                self._step()
            except Exception:  # noqa: BLE001 - what one stream does wrong must not end all others
                world.complain()

    def _step(self):
        # type: () -> None
        """Wait for something to do, and do it."""
        began = now()
        for descriptor, happened in self._wait():
            with self.lock:
                self._serve(descriptor, happened)
        if self._timers:
            with self.lock:
                self._run_timers(began)
        self.program.flush()

    def _wait(self):
        # type: () -> list[tuple[int, int]]
        timers = self._timers
        patience = max(0.0, min(due for due, _ in timers) - now()) if timers else -1
        try:
            return self._epoll.poll(patience)
        except (IOError, OSError) as error:
            if error.errno != errno.EINTR:
                raise
            return []

    def _run_timers(self, until):
        # type: (float) -> None
        """Call what was due at a time behind which all that could be read was looked at."""
        for timer in [timer for timer in self._timers if timer[0] <= until]:
            self._timers.remove(timer)
            timer[1]()

    def _serve(self, descriptor, happened):
        # type: (int, int) -> None
        stream = self._owners.get(descriptor)
        if stream is None:
            handler = self._watched.get(descriptor)
            if handler is not None:
                handler(happened)
            return
        if descriptor == stream.source and stream.reading and happened & READABLE:
            self._read(stream, descriptor)
        if descriptor == stream.sink and stream.pending and happened & WRITABLE:
            self._write(stream)

    def _drain_wakes(self, _happened):
        # type: (int) -> None
        os.read(self._wake_read, 4096)

    def _read(self, stream, source):
        # type: (Stream, int) -> None
        ring = stream.ring
        room = READ_SIZE if ring is not None else min(READ_SIZE, stream.limit - stream.sent)
        if room <= 0:
            return
        try:
            data = os.read(source, room)
        except OSError as error:
            if error.errno in AGAIN:
                return
            if error.errno != ENDED:
                self.cut(stream, True)
                return
            data = b""
        if len(data) == READ_SIZE:
            stream.widen(source)
        if not data:
            stream.reading = False
        elif ring is None:
            self._send(stream, data)
            if not stream.held_back:
                return
        else:
            ring.append(data)
            self._empty_ring(stream)
        self._settle(stream)

    def _send(self, stream, data):
        # type: (Stream, bytes) -> None
        stream.sent += len(data)
        self.program.post(messages.pack(messages.DATA, stream.number, data), stream.order)

    def _empty_ring(self, stream):
        # type: (Stream) -> None
        """Send what was kept, as far as the controller takes it, and how much was not kept before it."""
        ring = stream.ring
        while ring is not None and len(ring) and not stream.held_back:
            if ring.dropped:
                body = messages.CREDIT.pack(ring.dropped)
                self.program.post(messages.pack(messages.GAP, stream.number, body), stream.order)
                ring.dropped = 0
            self._send(stream, ring.take(min(READ_SIZE, stream.limit - stream.sent)))

    def _write(self, stream):
        # type: (Stream) -> None
        """Write what waits, as far as it goes."""
        pending, sink = stream.pending, stream.sink
        try:
            while pending and sink is not None:
                count = os.write(sink, pending[0])
                stream.credit.used += count
                if count == len(pending[0]):
                    pending.popleft()
                else:
                    pending[0] = pending[0][count:]
                    stream.widen(sink)
        except OSError as error:
            if error.errno not in AGAIN:
                # Nobody reads any more, as when a program closes its standard input early.
                self.cut(stream, True)
                return
        limit = 0 if sink is None else stream.credit.use(0, self.program.session.sender.delay)
        if limit:
            self.program.post(messages.pack(messages.CREDIT_TO, stream.number, messages.CREDIT.pack(limit)))
        self._settle(stream)

    def _settle(self, stream):
        # type: (Stream) -> None
        """End what has ended, and wait for what the stream needs next."""
        if stream.opening or stream.number not in self.streams:
            return
        source, sink = stream.source, stream.sink
        if source is not None and not stream.reading and not stream.kept:
            stream.source = None
            if not stream.cut:
                self.program.post(messages.pack(messages.END, stream.number), stream.order)
        if sink is not None and stream.ending and not stream.pending:
            stream.sink = None
        for descriptor in {source, sink}:
            if descriptor is not None:
                self._wait_for(stream, descriptor)
        if sink is not None and stream.sink is None:
            stream.on_end()
        if stream.source is None and stream.sink is None:
            del self.streams[stream.number]
            self.finished(stream.number)
            stream.on_over(stream)

    def _wait_for(self, stream, descriptor):
        # type: (Stream, int) -> None
        """Have the thread woken for what a stream can do next with a descriptor."""
        events = 0
        if descriptor == stream.source and stream.reading and (stream.ring is not None or not stream.held_back):
            events |= select.EPOLLIN
        if descriptor == stream.sink and stream.pending:
            events |= select.EPOLLOUT
        if descriptor not in (stream.source, stream.sink):
            self._owners.pop(descriptor, None)
        self._want(descriptor, events)

    def _want(self, descriptor, events):
        # type: (int, int) -> None
        """Change what is waited for; with nothing to wait for, the end of the other side must not wake us either."""
        before = self._events.get(descriptor, 0)
        if events == before:
            return
        if not events:
            del self._events[descriptor]
            self._epoll.unregister(descriptor)
            return
        self._events[descriptor] = events
        if before:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)


def install(program):
    # type: (Any) -> None
    """Called when this piece arrives."""
    program.pump = Pump(program)
