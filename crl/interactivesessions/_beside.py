"""What runs beside a session's only shell, on the same connection and without a terminal: a lane, or a command.

It knows what to run there so that any login shell gives a plain `sh` that waits for one line, and nothing of links. It
promises that the line is sent only when that `sh` has announced itself, and that nothing but this line is executed.
"""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self

from crl.channels.base import Channel, ChannelStartError
from crl.deadlines import Deadline
from crl.errors import UsageError
from crl.interactivesessions.shells._prompt import Nonce

if TYPE_CHECKING:
    from crl.link import Lane

__all__ = ["CommandChannel", "lane_beside", "open_channel"]

_TAIL = 4096


class CommandChannel:
    """A command beside a shell, with what it reads and writes as one stream; made by `open_channel`.

    One thread reads and one writes, and both wait; any thread may hang up. Whoever opened it closes it, when nobody
    reads or writes any more.

    Args:
        channel: What the command runs in; it becomes ours.
        pending: What was read of it already.
    """

    def __init__(self, channel: Channel, pending: bytes) -> None:
        self._channel = channel
        self._pending = pending
        # One call of the system for each read and write; the channel itself would have us look first.
        self._stream = socket.socket(fileno=os.dup(channel.fileno()))
        self._stream.settimeout(None)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._channel.name}{', closed' if self._channel.closed else ''}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, size: int = 65536, timeout: float | None = None) -> bytes:
        """Wait for what the command writes, and take at most so much of it; ``b""`` is the end.

        Args:
            size: How many bytes at most.
            timeout: Seconds to wait; None is for ever.

        Raises:
            TimeoutError: Nothing came in time.
        """
        if self._pending:
            taken, self._pending = self._pending[:size], self._pending[size:]
            return taken
        try:
            if timeout is None:
                return self._stream.recv(size)
            return self._recv_within(size, timeout)
        except ConnectionError:
            return b""

    def _recv_within(self, size: int, seconds: float) -> bytes:
        # A time limit of the socket would hold for who writes, too.
        poller = select.poll()
        poller.register(self._stream, select.POLLIN)
        if not poller.poll(seconds * 1000):
            raise TimeoutError("the command wrote nothing in time")
        return self._stream.recv(size)

    def read_line(self, deadline: Deadline, limit: int = 65536) -> bytes:
        """Take one line, without its end; what was there when no more comes, or it grows too long.

        Raises:
            TimeoutError: It does not end in time.
        """
        try:
            while b"\n" not in self._pending and len(self._pending) < limit:
                data = self._recv_within(65536, deadline.sooner(3600.0).remaining() or 0.0)
                if not data:
                    break
                self._pending += data
        except ConnectionError:
            pass  # that is its end, too
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def write(self, data: bytes) -> None:
        """Give the command all of the data, waiting while it takes none.

        Raises:
            OSError: The command has ended.
        """
        self._stream.sendall(data)

    def end_writing(self) -> None:
        """Give the command the end of its input; reading goes on."""
        with contextlib.suppress(OSError):  # it has ended
            self._stream.shutdown(socket.SHUT_WR)

    def hang_up(self) -> None:
        """End the stream, from any thread; who waits in it sees its end. It is still to be closed."""
        with contextlib.suppress(OSError):  # it has ended, or was closed
            self._stream.shutdown(socket.SHUT_RDWR)

    def wait(self, timeout: float) -> int | None:
        """Wait for the command's end; its exit status where that is known: neither None nor negative."""
        wait = getattr(self._channel, "wait", None)
        status: int | None = None if wait is None else wait(timeout)
        return status

    def close(self) -> None:
        """Let go of the command; again is harmless."""
        self._stream.close()
        self._channel.close()


def open_channel(
    run: Callable[[str, Deadline], Channel], words: Sequence[str], host: str, deadline: Deadline
) -> CommandChannel:
    """Run a command; what it writes as errors is lost.

    Args:
        run: Runs a command of the login shell on the connection, without a terminal.
        words: Program and arguments, which no shell changes.
        host: The host's name, for errors.
        deadline: When to give up.

    Raises:
        ChannelStartError: The host runs no further command, or another one, or none in time.
        UsageError: The words cannot be in a line.
    """
    line = "exec " + shlex.join(words)
    if "\n" in line or "\0" in line:
        raise UsageError("a word has a line end or a zero byte", host=host, doing="running a command beside the shell")
    channel, rest = _shell_beside(run, host, deadline)
    try:
        _write(channel, line.encode("utf-8", "surrogateescape") + b"\n", host, deadline)
        return CommandChannel(channel, rest)
    except BaseException:
        channel.close()
        raise


def lane_beside(run: Callable[[str, Deadline], Channel], host: str, deadline: Deadline) -> Lane:
    """Open the lane.

    Args:
        run: Runs a command of the login shell on the connection, without a terminal.
        host: The host's name, for errors.
        deadline: When to give up.

    Raises:
        ChannelStartError: The host runs no further command, or another one, or none in time.
    """
    from crl.link import Lane

    channel, read = _shell_beside(run, host, deadline)
    rest = [read]
    return Lane(
        channel=channel,
        send_line=lambda line: _write(channel, line.encode("utf-8") + b"\n", host, deadline),
        read_pending=lambda: rest.pop() if rest else b"",
        give_back=_nobody,
        host=host,
        discard=channel.close,
    )


def _shell_beside(
    run: Callable[[str, Deadline], Channel], host: str, deadline: Deadline
) -> tuple[Channel, bytes]:
    """A plain shell that waits for one line, and what it has written."""
    nonce = Nonce()
    # As with the first shell: neither backslash nor exclamation mark, and no quote but those around the script.
    script = f'exec 2>/dev/null; echo {nonce.quoted_inside}; read -r crl_l; eval "$crl_l"'
    channel = run(f"exec /bin/sh -c '{script}'", deadline)
    try:
        return channel, _await(channel, nonce.bytes + b"\n", host, deadline)
    except BaseException:
        channel.close()
        raise


def _nobody(_leftover: bytes) -> None:
    """Nobody waits for this lane's shell: it ends."""


def _await(channel: Channel, expected: bytes, host: str, deadline: Deadline) -> bytes:
    """Read up to what is expected, past whatever a login shell prints; what came behind it."""
    seen = b""
    poller = select.poll()
    poller.register(channel.fileno(), select.POLLIN)
    while True:
        _, found, rest = seen.partition(expected)
        if found:
            return rest
        if not poller.poll(deadline.poll_ms()):
            raise _failure("the host runs another command, or none in time", host, seen)
        try:
            data = channel.read()
        except BlockingIOError:
            continue
        if not data:
            raise _failure(_words(channel) or "the host opens no further session, or its shell has ended", host, seen)
        seen = seen[-_TAIL:] + data


def _words(channel: Channel) -> str:
    """What was said about the end, where that is known."""
    errors = getattr(channel, "stderr", None)
    try:
        said = b"" if errors is None else errors.read()
    except BlockingIOError:
        return ""
    return bytes(said).decode("utf-8", "replace").strip().partition("\n")[0].strip()


def _write(channel: Channel, data: bytes, host: str, deadline: Deadline) -> None:
    view = memoryview(data)
    poller = select.poll()
    poller.register(channel.fileno(), select.POLLOUT)
    while view:
        if not poller.poll(deadline.poll_ms()):
            raise _failure("the start line was not taken in time", host, b"")
        try:
            view = view[channel.write(view) :]
        except BrokenPipeError:
            raise _failure("the shell has ended", host, b"") from None


def _failure(why: str, host: str, seen: bytes) -> ChannelStartError:
    return ChannelStartError(
        why,
        host=host,
        doing="opening a channel beside the terminal",
        advice="look at MaxSessions and ForceCommand in the host's sshd_config; the terminal carries everything",
        transcript=seen.decode("utf-8", "replace"),
    )
