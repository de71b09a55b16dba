"""Streams on the target: bytes between descriptors and the controller, with credit in both directions.

One thread polls the descriptors of all processes and tunnels; no stream holds up another, and none keeps more in memory
than the credit it was given. Processes and tunnels stand on it; it is sent on their first use.
"""

import errno
import os
import select

from crl.link.wire import messages

try:
    from _thread import allocate_lock, start_new_thread
except ImportError:
    from thread import allocate_lock, start_new_thread  # type: ignore[import-not-found,no-redef]

# With the head of a message it still fits one frame.
READ_SIZE = 32 * 1024 - 64
AGAIN = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR)


class Stream(object):
    """One stream: what is read from `source` goes to the controller, what comes from there is written to `sink`.

    Args:
        number: Its number, the same on both ends.
        source: Descriptor to read, or None.
        sink: Descriptor to write, or None.
        end_sink: Called when the controller's direction has ended and all of it is written.
        on_over: Called with the stream when both directions are over.
        order: Streams of the same order arrive at the controller in the order they were read; None is its own.
    """

    def __init__(self, number, source, sink, end_sink, on_over, order=None):  # type: ignore
        self.number = number
        self.order = number if order is None else order
        self.source = source
        self.sink = sink
        self.end_sink = end_sink
        self.on_over = on_over
        self.credit = messages.STREAM_CREDIT
        self.pending = []
        self.ending = False


class Pump(object):
    """The thread that moves the bytes of all streams."""

    def __init__(self, program):  # type: ignore
        self.program = program
        self.streams = {}
        self._lock = allocate_lock()
        self._wake_read, self._wake_write = os.pipe()
        for descriptor in (self._wake_read, self._wake_write):
            set_private(descriptor)
            set_nonblocking(descriptor)
        program.handlers[messages.DATA] = self._data
        program.handlers[messages.END] = self._end
        program.handlers[messages.CREDIT_MORE] = self._credit
        program.handlers[messages.RESET] = self._reset
        start_new_thread(self._run, ())

    def add(self, stream):  # type: ignore
        """Begin to move a stream's bytes; its descriptors must be non-blocking."""
        with self._lock:
            self.streams[stream.number] = stream
        self.wake()

    def wake(self):  # type: ignore
        """Make the thread look again."""
        try:
            os.write(self._wake_write, b"w")
        except OSError as error:
            if error.errno not in AGAIN:
                raise

    # -- what the controller says, in the thread that reads frames ---------------------------------------------------

    def _data(self, number, body):  # type: ignore
        stream = self.streams.get(number)
        if stream is not None and stream.sink is not None:
            stream.pending.append(body)
            self.wake()

    def _end(self, number, _body):  # type: ignore
        stream = self.streams.get(number)
        if stream is not None:
            stream.ending = True
            self.wake()

    def _credit(self, number, body):  # type: ignore
        stream = self.streams.get(number)
        if stream is not None:
            stream.credit += messages.CREDIT.unpack(body)[0]
            self.wake()

    def _reset(self, number, _body):  # type: ignore
        stream = self.streams.get(number)
        if stream is not None:
            stream.source = stream.sink = None
            stream.pending = []
            self.wake()

    # -- the thread ------------------------------------------------------------------------------------------------

    def _run(self):  # type: ignore
        while True:
            waiting = self._waiting()
            poller = select.poll()
            poller.register(self._wake_read, select.POLLIN)
            for descriptor, (events, _) in waiting.items():
                poller.register(descriptor, events)
            for descriptor, happened in poller.poll():
                if descriptor == self._wake_read:
                    self._drain_wakes()
                else:
                    for stream in waiting[descriptor][1]:
                        self._serve(stream, descriptor, happened)
            self._finish_ended()
            self.program.flush()

    def _waiting(self):  # type: ignore
        """What to poll: descriptor to its events and streams."""
        waiting = {}
        with self._lock:
            streams = list(self.streams.values())
        for stream in streams:
            if stream.source is not None and stream.credit > 0:
                _want(waiting, stream.source, select.POLLIN, stream)
            if stream.sink is not None and stream.pending:
                _want(waiting, stream.sink, select.POLLOUT, stream)
        return waiting

    def _drain_wakes(self):  # type: ignore
        try:
            os.read(self._wake_read, 4096)
        except OSError as error:
            if error.errno not in AGAIN:
                raise

    def _serve(self, stream, descriptor, happened):  # type: ignore
        if descriptor == stream.source and happened & (select.POLLIN | select.POLLHUP | select.POLLERR):
            self._read(stream)
        if descriptor == stream.sink and stream.pending and happened & ~select.POLLIN:
            self._write(stream)

    def _read(self, stream):  # type: ignore
        try:
            data = os.read(stream.source, min(READ_SIZE, stream.credit))
        except OSError as error:
            if error.errno in AGAIN:
                return
            data = b""
        if data:
            stream.credit -= len(data)
            self.program.post(messages.pack(messages.DATA, stream.number, data), stream.order)
        else:
            stream.source = None
            self.program.post(messages.pack(messages.END, stream.number), stream.order)

    def _write(self, stream):  # type: ignore
        written = 0
        try:
            while stream.pending:
                count = os.write(stream.sink, stream.pending[0][:READ_SIZE])
                written += count
                stream.pending[0] = stream.pending[0][count:]
                if not stream.pending[0]:
                    del stream.pending[0]
        except OSError as error:
            if error.errno not in AGAIN:
                # Nobody reads any more, as when a program closes its standard input early.
                written += sum(map(len, stream.pending))
                stream.pending = []
                stream.ending = True
        if written:
            self.program.post(messages.pack(messages.CREDIT_MORE, stream.number, messages.CREDIT.pack(written)))

    def _finish_ended(self):  # type: ignore
        with self._lock:
            streams = list(self.streams.values())
        for stream in streams:
            if stream.sink is not None and stream.ending and not stream.pending:
                stream.sink = None
                stream.end_sink()
            if stream.source is None and stream.sink is None:
                with self._lock:
                    self.streams.pop(stream.number, None)
                stream.on_over(stream)


def _want(waiting, descriptor, events, stream):  # type: ignore
    known = waiting.get(descriptor)
    if known is None:
        waiting[descriptor] = (events, [stream])
    else:
        waiting[descriptor] = (known[0] | events, known[1] if stream in known[1] else known[1] + [stream])


def set_private(descriptor):  # type: ignore
    """Keep a descriptor out of the programs that are started."""
    import fcntl

    fcntl.fcntl(descriptor, fcntl.F_SETFD, fcntl.fcntl(descriptor, fcntl.F_GETFD) | fcntl.FD_CLOEXEC)


def set_nonblocking(descriptor):  # type: ignore
    """Make reads and writes of a descriptor return at once."""
    import fcntl

    fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_NONBLOCK)


def install(program):  # type: ignore
    """Called when this piece arrives."""
    program.pump = Pump(program)
