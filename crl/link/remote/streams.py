"""Streams on the target: bytes between descriptors and the controller, with credit in both directions.

One thread polls the descriptors of all processes and tunnels and is the only one that touches them; no stream holds up
another, and none keeps more in memory than the credit it was given. It is sent on the first use of either.
"""
# ruff: noqa: F401 - names in type comments look unused.

import errno
import os
import select
from collections import deque

from crl.link.remote import program as main_program
from crl.link.remote import world
from crl.link.wire import messages

try:
    from _thread import allocate_lock, start_new_thread
except ImportError:
    from thread import allocate_lock, start_new_thread  # type: ignore[import-not-found,no-redef]

MYPY = False
if MYPY:
    from collections.abc import Callable
    from typing import Any

# With the head of a message it still fits one frame.
READ_SIZE = 32 * 1024 - 64
AGAIN = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR)
READABLE = select.POLLIN | select.POLLHUP | select.POLLERR | select.POLLNVAL


class Stream(object):
    """One stream: what is read from `source` goes to the controller, what comes from there is written to `sink`.

    Args:
        number: Its number, the same on both ends.
        source: Descriptor to read, or None.
        sink: Descriptor to write, or None.
        end_sink: Called when the controller's direction has ended and all of it is written.
        on_over: Called with the stream when both directions are over.
        order: Streams of the same order arrive at the controller in the order they were read; None is its own.

    Attributes:
        sent: How many bytes have gone to the controller.
        limit: How many may have gone in all.
        taken: How many bytes of the controller have been written.
        pending: What waits to be written.
        ending: Whether the controller's direction ends after that.
        cut: Whether both directions are to end at once.
    """

    def __init__(
        self,
        number,  # type: int
        source,  # type: int | None
        sink,  # type: int | None
        end_sink,  # type: Callable[[], object]
        on_over,  # type: Callable[[Stream], object]
        order=None,  # type: int | None
    ):
        # type: (...) -> None
        self.number = number
        self.order = number if order is None else order
        self.source = source
        self.sink = sink
        self.end_sink = end_sink
        self.on_over = on_over
        self.sent = 0
        self.limit = messages.STREAM_CREDIT
        self.taken = 0
        self.pending = deque()  # type: deque[bytes]
        self.ending = False
        self.cut = False


class Pump(object):
    """The thread that moves the bytes of all streams."""

    def __init__(self, program):
        # type: (Any) -> None
        self.program = program
        self.streams = {}  # type: dict[int, Stream]
        self._lock = allocate_lock()
        self._woken = False
        self._wake_read, self._wake_write = (world.private(world.nonblocking(end)) for end in os.pipe())
        program.handlers[messages.DATA] = self._data
        program.handlers[messages.END] = self._end
        program.handlers[messages.CREDIT_TO] = self._credit
        program.handlers[messages.RESET] = self._reset
        start_new_thread(self._run, ())

    def add(self, stream):
        # type: (Stream) -> None
        """Begin to move a stream's bytes; its descriptors must be non-blocking."""
        with self._lock:
            self.streams[stream.number] = stream
        self.wake()

    def cut(self, number):
        # type: (int) -> None
        """End both directions of a stream, whatever waits in them."""
        stream = self.streams.get(number)
        if stream is not None:
            stream.cut = True
            self.wake()

    def wake(self):
        # type: () -> None
        """Make the thread look again."""
        if not self._woken:
            self._woken = True
            try:
                os.write(self._wake_write, b"w")
            except OSError as error:
                if error.errno not in AGAIN:
                    raise

    # -- what the controller says, in the thread that reads frames ---------------------------------------------------

    def _data(self, number, body):
        # type: (int, bytes) -> None
        stream = self.streams.get(number)
        if stream is not None and stream.sink is not None:
            stream.pending.append(body)
            self.wake()

    def _end(self, number, _body):
        # type: (int, bytes) -> None
        stream = self.streams.get(number)
        if stream is not None:
            stream.ending = True
            self.wake()

    def _credit(self, number, body):
        # type: (int, bytes) -> None
        stream = self.streams.get(number)
        if stream is not None:
            stream.limit = max(stream.limit, messages.CREDIT.unpack(body)[0])
            self.wake()

    def _reset(self, number, _body):
        # type: (int, bytes) -> None
        self.cut(number)

    # -- the thread ------------------------------------------------------------------------------------------------

    def _run(self):
        # type: () -> None
        while True:
            try:
                self._step()
            except Exception:  # noqa: BLE001 - what one stream does wrong must not end all others
                main_program.complain()

    def _step(self):
        # type: () -> None
        """Wait for something to do, and do it."""
        waiting = self._waiting()
        poller = select.poll()
        poller.register(self._wake_read, select.POLLIN)
        for descriptor, (events, _) in waiting.items():
            poller.register(descriptor, events)
        for descriptor, happened in world.wait(poller, None):
            if descriptor == self._wake_read:
                self._drain_wakes()
            else:
                for stream in waiting[descriptor][1]:
                    self._serve(stream, descriptor, happened)
        self._finish_ended()
        self.program.flush()

    def _waiting(self):
        # type: () -> dict[int, tuple[int, list[Stream]]]
        """What to poll: descriptor to its events and streams."""
        waiting = {}  # type: dict[int, tuple[int, list[Stream]]]
        with self._lock:
            streams = list(self.streams.values())
        for stream in streams:
            if stream.source is not None and stream.sent < stream.limit:
                _want(waiting, stream.source, select.POLLIN, stream)
            if stream.sink is not None and stream.pending:
                _want(waiting, stream.sink, select.POLLOUT, stream)
        return waiting

    def _drain_wakes(self):
        # type: () -> None
        try:
            os.read(self._wake_read, 4096)
        except OSError as error:
            if error.errno not in AGAIN:
                raise
        # Before anything is looked at: who sets a flag from now on wakes us again.
        self._woken = False

    def _serve(self, stream, descriptor, happened):
        # type: (Stream, int, int) -> None
        if descriptor == stream.source and stream.sent < stream.limit and happened & READABLE:
            self._read(stream, descriptor)
        if descriptor == stream.sink and stream.pending and happened & ~select.POLLIN:
            self._write(stream, descriptor)

    def _read(self, stream, source):
        # type: (Stream, int) -> None
        try:
            data = os.read(source, min(READ_SIZE, stream.limit - stream.sent))
        except OSError as error:
            if error.errno not in AGAIN:
                self._break(stream)
            return
        if data:
            stream.sent += len(data)
            self.program.post(messages.pack(messages.DATA, stream.number, data), stream.order)
        else:
            stream.source = None
            self.program.post(messages.pack(messages.END, stream.number), stream.order)

    def _write(self, stream, sink):
        # type: (Stream, int) -> None
        before = stream.taken
        pending = stream.pending
        try:
            while pending:
                count = os.write(sink, pending[0])
                stream.taken += count
                if count == len(pending[0]):
                    pending.popleft()
                else:
                    pending[0] = pending[0][count:]
        except OSError as error:
            if error.errno not in AGAIN:
                # Nobody reads any more, as when a program closes its standard input early.
                self._break(stream)
                return
        if stream.taken != before:
            limit = messages.CREDIT.pack(messages.STREAM_CREDIT + stream.taken)
            self.program.post(messages.pack(messages.CREDIT_TO, stream.number, limit))

    def _break(self, stream):
        # type: (Stream) -> None
        """A stream whose descriptor fails is over in both directions, and the controller hears of it."""
        stream.cut = True
        self.program.post(messages.pack(messages.RESET, stream.number), stream.order)

    def _finish_ended(self):
        # type: () -> None
        with self._lock:
            streams = list(self.streams.values())
        for stream in streams:
            if stream.cut:
                stream.source = None
                stream.pending.clear()
            if stream.sink is not None and (stream.cut or (stream.ending and not stream.pending)):
                stream.sink = None
                stream.end_sink()
            if stream.source is None and stream.sink is None:
                with self._lock:
                    self.streams.pop(stream.number, None)
                stream.on_over(stream)


def _want(waiting, descriptor, events, stream):
    # type: (dict[int, tuple[int, list[Stream]]], int, int, Stream) -> None
    known = waiting.get(descriptor)
    if known is None:
        waiting[descriptor] = (events, [stream])
    else:
        waiting[descriptor] = (known[0] | events, known[1] if stream in known[1] else known[1] + [stream])


def install(program):
    # type: (Any) -> None
    """Called when this piece arrives."""
    program.pump = Pump(program)
