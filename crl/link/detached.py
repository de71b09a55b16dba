"""Processes of the target that nobody owns, from the controller's side: they outlive the link.

A `Detached` is a plain value that names one for good: it can be stored, and asked over any later link to the same host
by a user who may look at that process. It promises never to take another process of the same number for it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from crl.errors import UsageError
from crl.link.given import command_line

if TYPE_CHECKING:
    from crl.link.given import CommandLine
    from crl.link.link import Link
    from crl.link.processes import StartOptions

__all__ = ["KEEP", "Detached", "KeptOutput"]

KEEP: Final = 3600.0
STOP_TIMEOUT: Final = 15.0
READ_SIZE: Final = 1024 * 1024


@dataclass(frozen=True)
class KeptOutput:
    """What a detached process has written, as far as it is kept.

    Attributes:
        data: The bytes, both outputs in the order in which they were written.
        begin: Where they begin, counted from the start of the process.
        total: How many bytes it has written until now.
        status: Its exit status, negative for a signal; None while it runs.
    """

    data: bytes
    begin: int
    total: int
    status: int | None

    @property
    def end(self) -> int:
        """Where the bytes end: what to ask for next."""
        return self.begin + len(self.data)


@dataclass(frozen=True)
class Detached:
    """A process that outlives the link.

    Attributes:
        pid: Its number on the target.
        born: When it was started, by the target's clock ticks; 0 takes any process of that number.
        nonce: What marks the environment of it and its children.
        keeper: Number of the process that keeps its output; 0 when none does.
        keeper_born: When that one was started.
    """

    pid: int
    born: int = 0
    nonce: str = ""
    keeper: int = 0
    keeper_born: int = 0

    def is_alive(self, link: Link) -> bool:
        """Whether it runs."""
        return bool(link.service("detached.alive", self.pid, self.born))

    def send_signal(self, link: Link, signum: int) -> bool:
        """Send a signal to its process group; False when it is gone."""
        return bool(link.service("detached.signal", self.pid, self.born, int(signum)))

    def stop(self, link: Link, grace: float) -> tuple[int, ...]:
        """End it and all its children with TERM, after `grace` seconds with KILL.

        Returns:
            Process ids that are alive all the same; empty when all is gone.
        """
        timeout = grace + STOP_TIMEOUT
        alive = link.service("detached.stop", self.pid, self.born, self.nonce, grace, timeout=timeout)
        return tuple(int(pid) for pid in alive)

    def read(self, link: Link, offset: int = 0) -> KeptOutput:
        """What is kept of its output from a place on, at most a mebibyte; again gives the same.

        Args:
            link: Any link to its host.
            offset: Where to begin; what is not kept any more is left out.

        Raises:
            UsageError: It was started without a spool.
            OSError: Its output is not kept any more.
        """
        if not self.keeper:
            raise UsageError("the output of this process is not kept", host=link.host, advice="start it with spool=")
        begin, data, total, status = link.service("detached.read", self.keeper, self.keeper_born, offset, READ_SIZE)
        return KeptOutput(bytes(data), int(begin), int(total), None if status is None else int(status))

    def forget(self, link: Link) -> None:
        """Keep its output no longer; harmless when it is not kept."""
        if self.keeper:
            link.service("detached.forget", self.keeper, self.keeper_born)


def start(link: Link, command: CommandLine, options: StartOptions, keep: float) -> Detached:
    """Start a process that nobody owns."""
    line = command_line(command)
    plain = options.plain(b"")
    if options.spool is not None:
        plain["keep"] = float(keep)
    nonce = secrets.token_hex(16)
    pid, born, keeper, keeper_born = link.service("detached.start", line, plain, nonce)
    return Detached(int(pid), int(born), nonce, int(keeper), int(keeper_born))
