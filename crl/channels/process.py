"""A channel to a program on this machine whose data does not go through a terminal.

Its standard input and output are one socketpair, its errors a pipe, and its prompts (which programs such as ssh read
from /dev/tty) a pty that is nothing but the controlling terminal. So data, errors and prompts cannot be mistaken for
one another, and data is as fast as a pipe.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import warnings
from collections.abc import Mapping, Sequence
from typing import Final

from crl.channels._child import Child, FileAction, above_standard, open_pty
from crl.channels._descriptor import DescriptorChannel
from crl.channels.base import Channel, ChannelClosed
from crl.errors import UsageError

__all__ = ["ProcessChannel"]

BUFFER: Final = 512 * 1024


class ProcessChannel:
    """The data of a program on this machine: what it reads as standard input and writes as standard output.

    Args:
        argv: Program and arguments; no shell reads them.
        env: The program's environment; None is ours.
        cwd: The folder it starts in; None is ours.
        name: What it is, for error texts; the program's name when None.
        dialogue: Whether it gets a controlling terminal. Without one, programs that want to ask a person cannot.

    Raises:
        ChannelStartError: The program cannot be started; the text names it and the PATH that was searched.
        UsageError: The argument list cannot be one.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        name: str | None = None,
        dialogue: bool = True,
    ) -> None:
        self._data: DescriptorChannel | None = None
        self._name = name or (os.path.basename(argv[0]) if argv else "")
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            near, far = socket.socketpair()
            ours.callback(near.close)
            theirs.callback(far.close)
            for end in (near, far):
                # The system allows less, and doubles that: the two wake each other less often when there is much.
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            error_reader, error_writer = (above_standard(end) for end in os.pipe())
            ours.callback(os.close, error_reader)
            theirs.callback(os.close, error_writer)
            far_descriptor = above_standard(os.dup(far.fileno()))
            theirs.callback(os.close, far_descriptor)
            actions: list[FileAction] = []
            if dialogue:
                # We keep the slave open: without an open descriptor the child would lose its controlling terminal,
                # and ssh closes all descriptors that it was given.
                master, self._slave, path = open_pty()
                ours.callback(os.close, master)
                ours.callback(os.close, self._slave)
                actions.append((os.POSIX_SPAWN_OPEN, 0, path, os.O_RDWR, 0))
            actions += [(os.POSIX_SPAWN_DUP2, far_descriptor, target) for target in (0, 1)]
            actions.append((os.POSIX_SPAWN_DUP2, error_writer, 2))
            self._child = Child(argv, actions, env=env, cwd=cwd)
            ours.pop_all()
        self._data = DescriptorChannel(near.detach(), self._name)
        self._stderr = DescriptorChannel(error_reader, f"{self._name} (stderr)", writable=False)
        self._dialogue = (
            DescriptorChannel(master, f"{self._name} (dialogue)", terminal=True, ended=self._child.has_ended)
            if dialogue
            else None
        )

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
        """What the program writes as standard error; for reading only."""
        return self._stderr

    @property
    def dialogue(self) -> Channel:
        """The program's controlling terminal: its prompts, and the answers to them.

        Its end does not wake a poll; it follows the end of the data channel, and `read` then gives ``b""``.

        Raises:
            UsageError: The channel was made without one.
        """
        if self._dialogue is None:
            raise UsageError(f"{self._name} was started without a terminal for its dialogue")
        return self._dialogue

    @property
    def pid(self) -> int:
        """The program's process id, which is its process group and session too."""
        return self._child.pid

    @property
    def pidfd(self) -> int:
        """A descriptor that is readable once the program has ended; -1 when the channel is closed."""
        return self._child.pidfd

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal, None while the program runs."""
        return self._child.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the program's end, at most `timeout` seconds; its exit status, or None when it still runs."""
        return self._child.wait(timeout)

    def hang_up(self) -> None:
        """Kill the program, from any thread; who reads sees its end. The channel is still to be closed."""
        self._child.signal_group(signal.SIGKILL)

    def _open_data(self) -> DescriptorChannel:
        if self._data is None:
            raise ChannelClosed(f"{self._name} is closed")
        return self._data

    def fileno(self) -> int:
        """The descriptor to poll.

        Raises:
            ChannelClosed: The channel was closed.
        """
        return self._open_data().fileno()

    def read(self, size: int = 65536) -> bytes:
        """Read what is there, at most `size` bytes; ``b""`` is the end.

        Raises:
            BlockingIOError: Nothing is there yet.
            ChannelClosed: The channel was closed.
        """
        data = self._data or self._open_data()
        return data.read(size)

    def write(self, data: bytes | memoryview) -> int:
        """Write what is taken now and return how many bytes that was.

        Raises:
            BrokenPipeError: The program has ended.
            ChannelClosed: The channel was closed.
        """
        channel = self._data or self._open_data()
        return channel.write(data)

    def end_writing(self) -> None:
        """Give the program the end of its standard input; reading goes on.

        Raises:
            ChannelClosed: The channel was closed.
        """
        # Its end may have come already: then it needs no such sign any more.
        with socket.socket(fileno=os.dup(self.fileno())) as end, contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_WR)

    def resize(self, columns: int, rows: int) -> None:
        """Set the size of the dialogue's terminal, in characters.

        Raises:
            ChannelClosed: The channel was closed.
            UsageError: The size is impossible.
        """
        self._open_data()
        if self._dialogue is not None:
            self._dialogue.resize(columns, rows)

    def close(self) -> None:
        """End the program and its process group, and free all it holds; again is harmless."""
        data, self._data = self._data, None
        if data is None:
            return
        data.close()
        self._stderr.close()
        if self._dialogue is not None:
            self._dialogue.close()
            os.close(self._slave)
        self._child.end()

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"pid {self.pid}"
        return f"<{type(self).__name__} {self._name}, {state}>"

    def __del__(self) -> None:
        if getattr(self, "_data", None) is not None:
            warnings.warn(f"{self!r} was not closed", ResourceWarning, source=self, stacklevel=2)
            self.close()
