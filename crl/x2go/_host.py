"""What the X2Go client uses of a target: its verbs, and nothing below them.

`crl.targets.Target` fits these Protocols; so does anything else that runs commands, evaluates Python and joins sockets
on a host. The module has no code of its own.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from crl.deadlines import Deadline
from crl.display._access import PythonRoot

__all__ = ["CommandChannel", "Forwarder", "Host", "PythonRoot", "ReverseTunnel", "RunAnswer", "Tunnel"]


class RunAnswer(Protocol):
    """What a command that was run has given."""

    @property
    def status(self) -> int:
        """Exit status."""

    @property
    def stdout(self) -> str:
        """Standard output."""

    @property
    def stderr(self) -> str:
        """Standard error."""


class Tunnel(Protocol):
    """A listener here whose connections go on to an address there."""

    @property
    def address(self) -> Any:
        """Where it listens: (host, port), or the path of a unix socket."""

    def close(self) -> None:
        """End the listener and its connections."""


class ReverseTunnel(Tunnel, Protocol):
    """A listener there whose connections come out at an address here."""

    def drop(self) -> None:
        """Break the connections that are open."""


class CommandChannel(Protocol):
    """A command on the host in a channel of its own, its input and output one stream, with calls that wait."""

    def read(self, size: int = ...) -> bytes:
        """What it writes; ``b""`` is the end."""

    def read_line(self, deadline: Deadline, limit: int = ...) -> bytes:
        """One line of it, without its end."""

    def write(self, data: bytes) -> None:
        """Give it all of the data."""

    def hang_up(self) -> None:
        """End the stream, from any thread."""

    def wait(self, timeout: float) -> int | None:
        """The exit status where that is known: neither None nor negative."""

    def close(self) -> None:
        """Let go of it."""


class Forwarder(Protocol):
    """Whatever makes tunnels: a target, or a transport of the caller's."""

    def forward(self, address: Any, listen: Any = ..., /) -> Tunnel:
        """Listen here on a loopback address or a unix socket, and connect to `address` there for each connection."""


class Host(Protocol):
    """A target, as the X2Go client sees it."""

    @property
    def name(self) -> str:
        """The target's name, for error texts."""

    @property
    def python(self) -> PythonRoot:
        """The target's Python."""

    def run(
        self,
        command: Sequence[str],
        *,
        timeout: float | None = 60.0,
        env: Mapping[str, str] | None = None,
        input: str | bytes | None = None,  # noqa: A002 - the name of subprocess.run
    ) -> RunAnswer:
        """Run a command to its end."""

    def start(
        self, command: Sequence[str], *, env: Mapping[str, str] | None = None, detached: bool = False
    ) -> object:
        """Start a command; a detached one outlives the link."""

    def open_channel(self, words: Sequence[str], timeout: float = ..., *, connect: bool = ...) -> CommandChannel:
        """Run a command in a channel of its own; `crl.channels.ChannelStartError` where none can be had."""

    def connect_socket(self, address: Any, timeout: float = ...) -> socket.socket:
        """A socket here joined to an address there."""

    def forward(self, address: Any, listen: Any = ..., /) -> Tunnel:
        """As `Forwarder.forward`."""

    def reverse(self, listen: Any, address: Any, /) -> ReverseTunnel:
        """Listen on a loopback address there, and connect to `address` here for each connection."""
