# ruff: noqa: N999 - the published name of the module
"""Commands on nodes by name, each with a runner that is made when first needed, as in the published package.

It knows runners by what `SelfRepairingSession` offers, and nothing else. It promises that closing closes all, also
when one of them fails.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any, Final

__all__ = ["InteractiveExecutor"]

_TIMEOUT: Final = 60.0


class InteractiveExecutor:
    """Runs commands on nodes.

    Args:
        create_node_runner: Is called with a node and gives its runner, for example a `SelfRepairingSession`.
    """

    def __init__(self, create_node_runner: Callable[[Any], Any]) -> None:
        self._create_node_runner = create_node_runner
        self._sessions: dict[Any, Any] = {}
        self.run_number = 0

    def run(self, node: Any, command: str, timeout: Any = 60, validate_return_status: bool = False) -> Any:
        """Run a command.

        Args:
            node: Where.
            command: The command.
            timeout: Seconds; negative is the runner's own, and what is no number is 60.
            validate_return_status: Raise when the status is not 0.

        Returns:
            Status, output and error output.
        """
        self.run_number += 1
        if node not in self._sessions:
            self._sessions[node] = self._create_node_runner(node)
        session = self._sessions[node]
        run = session.run if validate_return_status else session.run_no_validate
        return run(command, timeout=_seconds(timeout))

    def close(self) -> None:
        """Close all runners and forget them."""
        sessions, self._sessions = self._sessions, {}
        with contextlib.ExitStack() as stack:
            for session in sessions.values():
                stack.callback(session.close)

    def reset(self) -> None:
        """Let all runners connect anew."""
        for session in self._sessions.values():
            session.reset()


def _seconds(timeout: Any) -> float:
    try:
        seconds = float(timeout)
    except (TypeError, ValueError):
        return _TIMEOUT
    if math.isnan(seconds):
        return _TIMEOUT
    return -1 if seconds < 0 else seconds
