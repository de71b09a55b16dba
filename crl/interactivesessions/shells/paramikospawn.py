"""A terminal over a paramiko channel that the caller brings, for shells of users that make their own connections.

It knows a channel's ``recv``, ``send`` and ``close``, and nothing of logins. It promises pexpect's API as all terminals
of crl have it, so that a link runs over it too, and that nothing of it is left after `close`.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from typing import Any, Final

from pexpect import EOF, TIMEOUT

from crl.channels._descriptor import DescriptorChannel
from crl.errors import UsageError
from crl.interactivesessions._spawn import ChannelSpawn

__all__ = ["EOF", "TIMEOUT", "BridgedChannel", "ParamikoSpawn"]

_PIECE: Final = 32768
_LONGEST_ESCAPE: Final = 256
_END_PATIENCE: Final = 1.0
_ESCAPES: Final = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[ -/]+[0-~]|[0-OQ-WYZ\\`-~])"
)
# The beginning of one, at the end of what has come.
_UNFINISHED: Final = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?|[PX^_][^\x1b]*\x1b?|[ -/]*)\Z")


class _Bridge:
    """Moves bytes between a channel of paramiko and a socket, one thread for each direction."""

    def __init__(self, chan: Any, treat: Callable[[bytes], bytes]) -> None:
        self._chan = chan
        self._treat = treat
        ours, self._theirs = socket.socketpair()
        self.channel = DescriptorChannel(ours.detach(), "a channel of paramiko")
        self._threads = [
            threading.Thread(target=work, name=f"crl-paramiko-{name}", daemon=True)
            for name, work in (("in", self._bring), ("out", self._take))
        ]
        for thread in self._threads:
            thread.start()

    def _bring(self) -> None:
        # Whatever a channel of the user raises, for the reader it is the end.
        with contextlib.suppress(Exception):
            while data := self._chan.recv(_PIECE):
                self._theirs.sendall(self._treat(data))
        with contextlib.suppress(OSError):  # closed meanwhile
            self._theirs.sendall(self._treat(b""))
            self._theirs.shutdown(socket.SHUT_WR)

    def _take(self) -> None:
        with contextlib.suppress(Exception):
            while data := self._theirs.recv(_PIECE):
                view = memoryview(data)
                while view:
                    view = view[self._chan.send(bytes(view)) :]
        with contextlib.suppress(OSError):
            self._theirs.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """End the channel, after what was written to it, and both threads."""
        self._threads[1].join(_END_PATIENCE)
        self._chan.close()
        with contextlib.suppress(OSError):
            self._theirs.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(_END_PATIENCE)
        self._theirs.close()


class BridgedChannel:
    """A channel of paramiko's as all others are: with a descriptor to wait for, and reads and writes that do not wait.

    Args:
        chan: The channel, in which something runs; it is ours from now on.
    """

    def __init__(self, chan: Any) -> None:
        self._chan = chan
        self._bridge = _Bridge(chan, bytes)

    @property
    def name(self) -> str:
        """What it is."""
        return self._bridge.channel.name

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._bridge.channel.closed

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._bridge.channel.fileno()

    def read(self, size: int = _PIECE) -> bytes:
        """Read what is there; as of any channel."""
        return self._bridge.channel.read(size)

    def write(self, data: bytes | memoryview) -> int:
        """Write what is taken now; as of any channel."""
        return self._bridge.channel.write(data)

    def resize(self, columns: int, rows: int) -> None:
        """Without effect: there is no terminal."""

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the program's end, at most so many seconds; its status, or None."""
        self._chan.status_event.wait(timeout)
        status: int | None = self._chan.exit_status if self._chan.exit_status_ready() else None
        return status

    def close(self) -> None:
        """End the channel and both threads; again is harmless."""
        if not self.closed:
            self._bridge.channel.close()
            self._bridge.close()


class _Plain:
    """Takes escape sequences out of a stream, also those that come in pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def __call__(self, data: bytes) -> bytes:
        """The next bytes without escapes; ``b""`` gives what was held back."""
        text = _ESCAPES.sub(b"", self._rest + data)
        unfinished = _UNFINISHED.search(text, max(0, len(text) - _LONGEST_ESCAPE)) if data else None
        start = unfinished.start() if unfinished else len(text)
        self._rest = text[start:]
        return text[:start]


class ParamikoSpawn(ChannelSpawn):
    """A terminal over an open channel of paramiko.

    Args:
        chan: The channel, with a shell on a pty; it belongs to this terminal from now on, and is read by it alone.
        timeout: Default of all waits, in seconds.
        maxread: Largest read at a time.
        searchwindowsize: Bytes at the end of what came that are searched; None is all.
        logfile: A binary file for all that is received and sent; closed with the terminal.
        encoding: Only None: terminals of crl are in pexpect's bytes mode, and take text as UTF-8.
        codec_errors: Without effect.
        remove_ansi_chars: Whether escape sequences are taken out of what comes. A link cannot run over such a terminal.

    Raises:
        UsageError: There is an encoding.
    """

    def __init__(
        self,
        chan: Any,
        timeout: float = 30,
        maxread: int = 40000,
        searchwindowsize: int | None = None,
        logfile: Any = None,
        encoding: str | None = None,
        codec_errors: str = "strict",
        remove_ansi_chars: bool = False,
    ) -> None:
        if encoding is not None:
            raise UsageError(
                "a ParamikoSpawn is in bytes mode", doing="making a terminal", advice="decode what it gives as you like"
            )
        bridge = _Bridge(chan, _Plain() if remove_ansi_chars else bytes)
        super().__init__(bridge.channel, timeout=timeout, maxread=maxread, on_close=bridge.close)
        self.searchwindowsize = searchwindowsize
        self.codec_errors = codec_errors
        if logfile is not None:
            self.logfile_read = logfile
            self.logfile_send = logfile
        self.chan = chan
