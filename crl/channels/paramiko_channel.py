"""A channel of a paramiko connection, bridged to a socketpair so that it has a real descriptor.

paramiko's own channels cannot be polled for writing and have no descriptor to read from. Here what the host sends goes
straight from paramiko's thread into a socketpair, and what we write goes into it too; the hub sends that on as far as
the host's window and the connection take it. So a channel has no thread of its own, and an exception that a signal's
handler raises in a writer never meets an SSH packet half made, which would end the connection. It promises that nothing
blocks, that buffers are bounded in both directions, and that what a host sends beyond the window that it was given ends
the connection.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from crl.channels._descriptor import DescriptorChannel
from crl.channels._hub import hub
from crl.channels.base import Channel, ChannelClosed, ChannelStartError
from crl.errors import UsageError

if TYPE_CHECKING:
    import paramiko

    from crl.channels.ssh._transport import Transport

__all__ = ["ParamikoChannel"]

_MOST_AT_ONCE: Final = 256 * 1024
_OVERHEAD: Final = 64  # what an SSH packet needs beside its data
_BUFFER: Final = 1024 * 1024
_WAITING_ROOM: Final = 16 * 1024  # what is written waits here until the hub has sent it


class _Sink:
    """Where paramiko puts what the host sends; it stands in the place of a `paramiko.BufferedPipe`.

    Args:
        put: Writes into our descriptor without blocking, and says how much was taken.
        descriptor: That descriptor.
        shut: Ends what our reader reads; again is harmless.
        taken: Told how many bytes our descriptor took.
        limit: How much the host may have sent beyond what was taken.
    """

    def __init__(
        self,
        put: Callable[[bytes | memoryview], int],
        descriptor: int,
        shut: Callable[[], None],
        taken: Callable[[int], None],
        limit: int,
    ) -> None:
        self._put = put
        self._descriptor = descriptor
        self._shut = shut
        self._taken = taken
        self._limit = limit
        self._lock = threading.Lock()
        self._queue: deque[bytes | memoryview] = deque()
        self._size = 0
        self._ended = False
        self._gone = False

    def feed(self, data: bytes) -> None:
        """Take data of the host."""
        with self._lock:
            self._queue.append(data)
            self._size += len(data)
            if self._size > self._limit:
                raise ValueError("the host sent more than the window it was given")
            taken = self._pass_on() if len(self._queue) == 1 or self._gone else 0
        if taken:
            self._taken(taken)

    def _flush(self) -> None:
        """Go on, as our descriptor takes more; called by the hub."""
        with self._lock:
            taken = self._pass_on()
        if taken:
            self._taken(taken)

    def _pass_on(self) -> int:
        before = self._size
        while self._queue and not self._gone:
            count = self._try_to_put(self._queue[0])
            self._size -= count
            if count < len(self._queue[0]):
                self._queue[0] = memoryview(self._queue[0])[count:]
                if not self._gone:
                    hub().when_writable(self._descriptor, self._flush)
                    return before - self._size
            else:
                self._queue.popleft()
        if self._gone:
            self._queue.clear()
            self._size = 0
        elif self._ended:
            self._finish()
        return before - self._size

    def _try_to_put(self, data: bytes | memoryview) -> int:
        try:
            return self._put(data)
        except BlockingIOError:
            return 0
        except OSError:  # our reader has closed its end, so nobody wants the rest
            self._gone = True
            return 0

    def close(self) -> None:
        """Take the end of what the host sends; our reader sees it after all data.

        It may come twice: as the end of what is sent, and as that of the session, when nothing can be written either.
        """
        with self._lock:
            self._ended = True
            if not self._queue:
                self._finish()

    def _finish(self) -> None:
        self._gone = True
        self._shut()

    def abandon(self) -> None:
        """Take no more: our descriptor is about to be closed."""
        with self._lock:
            self._gone = True
            if self._queue:
                hub().forget(self._descriptor)
            self._queue.clear()
            self._size = 0

    def __len__(self) -> int:
        return self._size

    def read_ready(self) -> bool:
        """Whether paramiko has something to read: never, as it all goes elsewhere."""
        return False


class ParamikoChannel:
    """One program, or login shell, of a paramiko connection; or a connection onwards from its host.

    Made by `SshConnection.open_channel`.

    Args:
        transport: The connection that it belongs to.
        name: What it is connected to, for error texts.
        merged: Whether the program's errors come with its output, as on a terminal.
        on_close: Called once when it is closed.
    """

    def __init__(
        self,
        transport: Transport,
        name: str,
        *,
        merged: bool,
        on_close: Callable[[ParamikoChannel], None] | None = None,
    ) -> None:
        self._transport = transport
        self._name = name
        self._owner = os.getpid()
        self._on_close = on_close
        self._writing = threading.Lock()
        self._ending = self._end_sent = False
        self._owed = 0
        self._owing = threading.Lock()
        with contextlib.ExitStack() as made:
            near, self._far = socket.socketpair()
            made.callback(near.close)
            made.callback(self._far.close)
            # The hub waits for either of two things under two descriptors.
            self._written = self._far.dup()
            made.callback(self._written.close)
            for end, size in ((near, _WAITING_ROOM), (self._far, _BUFFER)):
                end.settimeout(0)
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
            error_reader, error_writer = os.pipe()
            made.pop_all()
        os.set_blocking(error_writer, False)
        self._data: socket.socket | None = near
        self._stderr = DescriptorChannel(error_reader, f"{name} (stderr)", writable=False)
        self._error_writer = error_writer
        self._merged = merged
        self._sinks: tuple[_Sink, ...] = ()
        self._bound: paramiko.Channel | None = None
        self.refusal = ""

    def open(self, kind: str = "session", address: tuple[str, int] | None = None, *, timeout: float | None) -> None:
        """Open it on its connection; nothing runs in it yet.

        Args:
            kind: ``"session"``, or ``"direct-tcpip"`` for a connection onwards.
            address: Where that goes.
            timeout: Seconds until the host must have agreed.

        Raises:
            SSHException: The host does not open it.
        """
        self._transport.open_for(self, kind, address, timeout)
        self.pump()

    def bind(self, channel: paramiko.Channel) -> None:
        """Take what the host sends from now on; called by the connection before the first byte of it."""
        self._bound = channel
        limit = channel.in_window_size + _MOST_AT_ONCE
        far = self._far.fileno()
        output = _Sink(self._put_output, far, self._output_ended, self._give_window, limit)
        errors = _Sink(self._put_errors, self._error_writer, self._errors_ended, self._give_window, limit)
        channel.in_buffer, channel.in_stderr_buffer = output, errors  # type: ignore[assignment]
        self._sinks = output, errors
        if self._merged:
            errors.close()
        channel.settimeout(0)

    def refused(self, why: str) -> None:
        """Keep the host's own words on why it does not open the channel."""
        self.refusal = why

    @property
    def _channel(self) -> paramiko.Channel:
        if self._bound is None:
            raise ChannelStartError(f"{self._name} was not opened")
        return self._bound

    @property
    def session(self) -> paramiko.Channel:
        """Paramiko's channel, in which what is to run is started.

        Raises:
            ChannelStartError: It was not opened.
        """
        return self._channel

    def _put_output(self, data: bytes | memoryview) -> int:
        return self._far.send(data, socket.MSG_NOSIGNAL)

    def _put_errors(self, data: bytes | memoryview) -> int:
        return os.write(self._error_writer, data)

    def _output_ended(self) -> None:
        # When the whole session has ended, what we write goes nowhere, and whoever waits for room must know.
        how = socket.SHUT_RDWR if self._channel.closed else socket.SHUT_WR
        with contextlib.suppress(OSError):  # our end was closed meanwhile
            self._far.shutdown(how)

    def _errors_ended(self) -> None:
        writer, self._error_writer = self._error_writer, -1
        if writer >= 0:
            os.close(writer)

    def _give_window(self, count: int) -> None:
        """Let the host send as much as our reader took, a piece at a time."""
        channel = self._channel
        with self._owing:
            self._owed += count
            if self._owed <= channel.in_window_threshold or channel.closed or channel.eof_received:
                return
            owed, self._owed = self._owed, 0
        self._transport.give_window(channel.remote_chanid, owed)

    @property
    def name(self) -> str:
        """What this channel is connected to."""
        return self._name

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._data is None

    @property
    def stderr(self) -> Channel:
        """What the program writes as standard error; for reading only, and at its end at once with a terminal."""
        return self._stderr

    @property
    def exit_status(self) -> int | None:
        """The program's exit status; None while it runs, -1 when it ended without one (a signal, a lost link)."""
        return self._channel.exit_status if self._channel.exit_status_ready() else None

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the program's end, at most `timeout` seconds; its exit status, or None when it still runs."""
        self._channel.status_event.wait(timeout)
        return self.exit_status

    def _open_data(self) -> socket.socket:
        if self._data is None:
            raise ChannelClosed(f"{self._name} is closed")
        if os.getpid() != self._owner:
            raise UsageError(
                f"{self._name} belongs to process {self._owner}: a paramiko connection does not live on after a fork",
                advice="connect anew in the child process, or use the openssh backend",
            )
        return self._data

    def _plain(self, error: OSError) -> Exception:
        """The error of a use, which another thread may have closed the channel under."""
        return ChannelClosed(f"{self._name} is closed") if self._data is None else error

    def fileno(self) -> int:
        """The descriptor to poll.

        Raises:
            ChannelClosed: The channel was closed.
            UsageError: This is a forked child of the process that made the channel.
        """
        return self._open_data().fileno()

    def read(self, size: int = 65536) -> bytes:
        """Read what is there, at most `size` bytes; ``b""`` is the end.

        Raises:
            BlockingIOError: Nothing is there yet.
            ChannelClosed: The channel was closed.
            UsageError: This is a forked child of the process that made the channel.
        """
        near = self._open_data()
        try:
            return near.recv(size)
        except BlockingIOError:
            raise
        except OSError as error:
            raise self._plain(error) from None

    def write(self, data: bytes | memoryview) -> int:
        """Write what is taken now and return how many bytes that was.

        Raises:
            BrokenPipeError: The program has ended.
            ChannelClosed: The channel was closed.
            UsageError: This is a forked child of the process that made the channel.
        """
        near = self._open_data()
        if self._channel.closed or self._ending:
            raise BrokenPipeError(errno.EPIPE, f"{self._name} has ended")
        try:
            return near.send(data, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self._plain(error) from None

    def _space(self) -> int:
        """How many bytes can be sent as one packet now."""
        if not self._transport.room:
            return 0
        return min(self._channel.out_window_size, self._channel.out_max_packet_size - _OVERHEAD)

    def pump(self) -> None:
        """Send what waits in the socketpair, as there may be room now; called by the connection and the hub."""
        # OSError, EOFError: the session has ended, which its reader sees.
        with self._writing, contextlib.suppress(OSError, EOFError):
            if self._send_waiting() and not self._end_sent:
                hub().when_readable(self._written.fileno(), self.pump)

    def _send_waiting(self) -> bool:
        """Send what waits in the socketpair; whether nothing is left there, because there was room for all."""
        while True:
            size = self._space()
            try:
                data = self._written.recv(size) if size > 0 else self._written.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                return True
            if not data:
                self._send_end()
                return True
            if size <= 0:
                return False
            self._send_or_lose(data)

    def _send_end(self) -> None:
        if not self._end_sent:
            self._end_sent = True
            self._channel.shutdown_write()

    def _send_or_lose(self, data: bytes) -> None:
        """Send what was taken out of the socketpair; there is room for it, unless the session has ended."""
        view = memoryview(data)
        while view:
            view = view[self._channel.send(bytes(view)) or len(view) :]

    def end_writing(self) -> None:
        """Give the program the end of its standard input; reading goes on.

        Raises:
            ChannelClosed: The channel was closed.
        """
        near = self._open_data()
        with self._writing, contextlib.suppress(OSError, EOFError):  # the program has ended: it needs no such sign
            self._ending = True
            near.shutdown(socket.SHUT_WR)

    def resize(self, columns: int, rows: int) -> None:
        """Set the size of the host's terminal in characters; no effect where there is none.

        Raises:
            ChannelClosed: The channel was closed.
            UsageError: The size is impossible.
        """
        self._open_data()
        if not (0 <= columns <= 0xFFFF and 0 <= rows <= 0xFFFF):
            raise UsageError(f"a terminal cannot have {columns} columns and {rows} rows")
        from paramiko import SSHException

        # The host has ended the session, so there is no terminal left that could have a size.
        with contextlib.suppress(SSHException, OSError, EOFError):
            self._channel.resize_pty(columns, rows)

    def close(self) -> None:
        """End the session and free all that it holds; again is harmless. It never waits."""
        data, self._data = self._data, None
        if data is None:
            return
        data.close()
        self._stderr.close()
        if os.getpid() == self._owner and self._bound is not None:
            with self._writing, contextlib.suppress(OSError, EOFError):  # the connection was gone before
                self._send_waiting()
                self._bound.close()
            hub().forget(self._written.fileno())
            self._transport.detach(self._bound.chanid)
            for sink in self._sinks:
                sink.abandon()
        self._written.close()
        self._far.close()
        self._errors_ended()
        if self._on_close is not None and os.getpid() == self._owner:
            self._on_close(self)

    def disown(self) -> None:
        """Make it harmless in a forked child, where a thread may have held paramiko's lock when the process forked."""
        if self._bound is not None:
            self._bound.lock = threading.Lock()
            self._bound.closed = True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name}{', closed' if self.closed else ''}>"
