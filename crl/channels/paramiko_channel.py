"""A channel of a paramiko connection, bridged to a socketpair so that it has a real descriptor.

paramiko's own channels cannot be polled for writing and have no descriptor to read from. Pump threads move the bytes
between such a channel and a socketpair; both sides' buffers are bounded, so a slow reader slows the writer down. It
promises that the threads end with the channel.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from crl.channels._descriptor import DescriptorChannel
from crl.channels.base import Channel, ChannelClosed
from crl.deadlines import Deadline
from crl.errors import UsageError

if TYPE_CHECKING:
    import paramiko

__all__ = ["ParamikoChannel"]

_SLICE: Final = 128 * 1024
_PATIENCE: Final = 1.0
_log = logging.getLogger("crl.channels")


class ParamikoChannel:
    """One program, or login shell, of a paramiko connection.

    Made by `SshConnection.open_channel`; the program runs already.

    Args:
        channel: An open session of paramiko's, which this object owns from now on.
        name: What it is connected to, for error texts.
        merged: Whether the program's errors come with its output, as on a terminal.
        on_close: Called once when it is closed.
    """

    def __init__(
        self,
        channel: paramiko.Channel,
        name: str,
        *,
        merged: bool,
        on_close: Callable[[ParamikoChannel], None] | None = None,
    ) -> None:
        self._channel = channel
        self._name = name
        self._owner = os.getpid()
        self._on_close = on_close
        self._closing = threading.Lock()
        near, self._far = socket.socketpair()
        near.settimeout(0)
        self._data: socket.socket | None = near
        error_reader, self._error_writer = os.pipe()
        self._stderr = DescriptorChannel(error_reader, f"{name} (stderr)", writable=False)
        channel.settimeout(None)
        self._threads = [self._start(self._pump_out, "output"), self._start(self._pump_in, "input")]
        if merged:
            os.close(self._error_writer)
        else:
            self._threads.append(self._start(self._pump_errors, "errors"))

    def _start(self, pump: Callable[[], None], what: str) -> threading.Thread:
        thread = threading.Thread(target=pump, name=f"crl {self._name} {what}", daemon=True)
        thread.start()
        return thread

    def _pump_out(self) -> None:
        """Bring what the program writes to our reader, then its end."""
        # OSError: our reader has closed the channel, or paramiko's connection broke; both end the output.
        with contextlib.suppress(OSError):
            while data := self._channel.recv(_SLICE):
                self._far.sendall(data, socket.MSG_NOSIGNAL)
        with contextlib.suppress(OSError):  # closed already
            self._far.shutdown(socket.SHUT_WR)

    def _pump_in(self) -> None:
        """Bring what our writer writes to the program, then its end."""
        # OSError and EOFError: the program or the connection has ended, so nothing can be brought any more.
        with contextlib.suppress(OSError, EOFError):
            while data := self._far.recv(_SLICE):
                self._send_all(data)
            self._channel.shutdown_write()
            return
        with contextlib.suppress(OSError):  # closed already
            self._far.shutdown(socket.SHUT_RD)

    def _send_all(self, data: bytes) -> None:
        """Send at most one packet a time, so that what is copied is what is sent."""
        position = 0
        while position < len(data):
            sent = self._channel.send(data[position : position + self._channel.out_max_packet_size])
            if sent == 0:
                raise BrokenPipeError(errno.EPIPE, "the program has ended")
            position += sent

    def _pump_errors(self) -> None:
        try:
            # OSError: our reader has closed the channel, or the connection broke.
            with contextlib.suppress(OSError):
                while data := self._channel.recv_stderr(_SLICE):
                    rest = memoryview(data)
                    while rest:
                        rest = rest[os.write(self._error_writer, rest) :]
        finally:
            os.close(self._error_writer)

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
        return self._open_data().recv(size)

    def write(self, data: bytes | memoryview) -> int:
        """Write what is taken now and return how many bytes that was.

        Raises:
            BrokenPipeError: The program has ended.
            ChannelClosed: The channel was closed.
            UsageError: This is a forked child of the process that made the channel.
        """
        if self._channel.closed:
            self._open_data()
            raise BrokenPipeError(errno.EPIPE, f"{self._name} has ended")
        try:
            return self._open_data().send(data, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return 0

    def end_writing(self) -> None:
        """Give the program the end of its standard input; reading goes on.

        Raises:
            ChannelClosed: The channel was closed.
        """
        with contextlib.suppress(OSError):  # the program has ended: it needs no such sign any more
            self._open_data().shutdown(socket.SHUT_WR)

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
        with contextlib.suppress(SSHException, OSError):
            self._channel.resize_pty(columns, rows)

    def close(self) -> None:
        """End the session and the threads, in at most about a second; again is harmless.

        Threads that are stuck in a connection which does not move end when that connection is closed.
        """
        with self._closing:
            data, self._data = self._data, None
        if data is None:
            return
        data.close()
        self._stderr.close()
        if os.getpid() != self._owner:
            self._far.close()
            return
        # paramiko may wait for a stuck connection here; that must not hold us up.
        deadline = Deadline.after(_PATIENCE)
        closer = self._start(self._close_quietly, "close")
        for thread in (closer, *self._threads):
            thread.join(deadline.remaining())
        self._far.close()
        if self._on_close is not None:
            self._on_close(self)

    def _close_quietly(self) -> None:
        try:
            self._far.shutdown(socket.SHUT_RDWR)
            self._channel.close()
        except (OSError, EOFError) as error:
            _log.debug("%s was gone before it was closed: %s", self._name, error)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name}{', closed' if self.closed else ''}>"
