"""One terminal of the pools: an `AutoRunnerTerminal` made from shell dictionaries, opened when first used.

It knows terminals and the properties of a target, and no pool. It promises that opening and using it waits no longer
than the caller's deadline, and that closing never raises.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from crl.deadlines import Deadline
from crl.interactivesessions.autorunnerterminal import AutoRunnerTerminal
from crl.link import Files, Link

__all__ = ["PooledTerminal"]

logger = logging.getLogger(__name__)


class PooledTerminal:
    """A terminal to one target.

    Args:
        shelldicts: The shells on the way, as `shells.shellstack.ShellStack.initialize` takes them.
        zone: Tells terminals apart that have the same way but must not be shared.

    Attributes:
        terminal: The `AutoRunnerTerminal`.
    """

    TERMINAL: ClassVar[type[AutoRunnerTerminal]] = AutoRunnerTerminal

    def __init__(self, shelldicts: Sequence[Mapping[str, Any]], zone: str | None = None) -> None:
        self.zone = zone
        self.terminal = self.TERMINAL()
        self.terminal.initialize_with_shelldicts(shelldicts)

    @property
    def host(self) -> str:
        """The target's name."""
        return self.terminal.host

    def set_properties(self, properties: Mapping[str, Any]) -> None:
        """Take over what the target's properties say of terminals."""
        self.terminal.prompt_timeout = float(properties["prompt_timeout"])

    def open(self, deadline: Deadline) -> Link:
        """Open it, or bring it up again, when it is not up.

        Raises:
            SessionInitializationFailed: That cannot be done.
            RecoveryPending: The deadline came first.
        """
        self.terminal.ensure_open(deadline)
        return self.terminal.link

    def files(self, deadline: Deadline) -> Files:
        """The files of the target; see `open`."""
        return self.open(deadline).files

    def close(self) -> None:
        """End it with everything that it owns on the target."""
        try:
            self.terminal.close()
        except Exception:
            logger.warning("closing the terminal of %s failed", self.host, exc_info=True)
