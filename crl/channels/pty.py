"""A channel to a program on this machine that runs in a terminal of its own, as a person's shell does.

Standard input, output, error and the controlling terminal are one pty. It is slower than a socketpair, so it serves
local shells and programs that insist on a terminal; everything else goes through `ProcessChannel`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import warnings
from collections.abc import Mapping, Sequence

from crl.channels._child import Child, FileAction, open_pty
from crl.channels._descriptor import DescriptorChannel, set_terminal_size

__all__ = ["LocalPtyChannel"]


class LocalPtyChannel(DescriptorChannel):
    """The terminal of a program on this machine.

    Args:
        argv: Program and arguments; no shell reads them.
        env: The program's environment; None is ours.
        cwd: The folder it starts in; None is ours.
        name: What it is, for error texts; the program's name when None.
        columns: Width of the terminal in characters.
        rows: Height of the terminal in characters.

    Raises:
        ChannelStartError: The program cannot be started; the text names it and the PATH that was searched.
        UsageError: The argument list cannot be one, or the size is impossible.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        name: str | None = None,
        columns: int = 80,
        rows: int = 24,
    ) -> None:
        self._descriptor = -1
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            master, slave, path = open_pty()
            ours.callback(os.close, master)
            theirs.callback(os.close, slave)
            set_terminal_size(slave, columns, rows)
            actions: list[FileAction] = [
                (os.POSIX_SPAWN_OPEN, 0, path, os.O_RDWR, 0),
                (os.POSIX_SPAWN_DUP2, 0, 1),
                (os.POSIX_SPAWN_DUP2, 0, 2),
            ]
            self._child = Child(argv, actions, env=env, cwd=cwd)
            ours.pop_all()
        super().__init__(master, name or os.path.basename(argv[0]), terminal=True)

    @property
    def pid(self) -> int:
        """The program's process id, which is its session too."""
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

    def close(self) -> None:
        """Hang up the terminal, end the program and its process group; again is harmless."""
        if not self.closed:
            super().close()
            self._child.end()

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"pid {self.pid}"
        return f"<{type(self).__name__} {self._name}, {state}>"

    def __del__(self) -> None:
        if not self.closed:
            warnings.warn(f"{self!r} was not closed", ResourceWarning, source=self, stacklevel=2)
            self.close()
