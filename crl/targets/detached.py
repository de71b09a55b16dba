"""A process on a target that outlives the connection, as an object.

It is a `crl.link.Detached` together with the target to ask; its `token` names the process for good and may be stored,
so that a later run finds it again with `Target.detached`.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from crl.deadlines import Deadline
from crl.errors import RemoteWorldError, UsageError
from crl.link import Detached, KeptOutput

if TYPE_CHECKING:
    from crl.link import Link
    from crl.targets.target import Target

__all__ = ["DetachedProcess"]

STOP_GRACE = 2.0
CONNECT_TIMEOUT = 60.0


class DetachedProcess:
    """A process on the target that outlives the link; made by `Target.start` and `Target.detached`.

    Args:
        pid: Its number there, or all that is known of it.
        target: Where it runs.

    Attributes:
        target: Where it runs.
    """

    def __init__(self, pid: int | Detached, target: Target) -> None:
        self._detached = pid if isinstance(pid, Detached) else Detached(pid)
        self.target = target

    def __repr__(self) -> str:
        return f"<DetachedProcess {self.pid} on {self.target.name}>"

    def _link(self) -> Link:
        return self.target._ensure(Deadline.after(CONNECT_TIMEOUT))  # noqa: SLF001

    @property
    def pid(self) -> int:
        """Its number there."""
        return self._detached.pid

    @property
    def token(self) -> str:
        """What to store to find it again with `Target.detached`."""
        return json.dumps(asdict(self._detached))

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._detached.is_alive(self._link())

    def send_signal(self, signum: int) -> None:
        """Send a signal to its process group.

        Raises:
            ProcessLookupError: It is gone.
        """
        if not self._detached.send_signal(self._link(), signum):
            raise ProcessLookupError(f"process {self.pid} on {self.target.name} is gone")

    def stop(self, grace: float = STOP_GRACE) -> None:
        """End it and all its children, with TERM and after `grace` seconds with KILL; harmless when it is gone.

        Raises:
            RemoteWorldError: Something of it could not be ended.
        """
        alive = self._detached.stop(self._link(), grace)
        if alive:
            raise RemoteWorldError(
                f"processes {', '.join(map(str, alive))} could not be ended",
                host=self.target.name,
                doing=f"ending process {self.pid}",
            )

    def read(self, offset: int = 0) -> KeptOutput:
        """What is kept of its output from a place on, at most a mebibyte; it must have been started with ``spool``.

        Example:
            >>> kept = process.read()
            >>> more = process.read(kept.end)
        """
        return self._detached.read(self._link(), offset)

    def forget(self) -> None:
        """Keep its output no longer."""
        self._detached.forget(self._link())


def from_token(token: str) -> Detached:
    """What a token says.

    Raises:
        UsageError: It is none.
    """
    try:
        fields: dict[str, Any] = json.loads(token)
        numbers = {name: int(fields[name]) for name in ("pid", "born", "keeper", "keeper_born")}
        return Detached(nonce=str(fields["nonce"]), **numbers)
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{token!r} is no token of a detached process", doing="finding a detached process") from error
