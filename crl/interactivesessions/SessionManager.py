# ruff: noqa: N999 - the published name of the module
"""Sessions by name and node, made when first needed, as in the published package.

It knows sessions by what `RunnerSession` offers. It promises that closing closes all, also when one of them fails.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

__all__ = ["SessionManager"]


class SessionManager:
    """Keeps sessions.

    Args:
        create_runner_session: Is called with a node and ``subclass_name``, and gives the session.
    """

    def __init__(self, create_runner_session: Callable[..., Any]) -> None:
        self._sessions: dict[tuple[Any, Any], Any] = {}
        self._create_runner_session = create_runner_session

    @property
    def subclass_name(self) -> str | None:
        """What subclasses hand to `create_runner_session`."""
        return None

    def run(self, session: Any, node: Any, cmd: str) -> Any:
        """Run a command in a session of a node."""
        return self.get_or_create(session, node).run(cmd)

    def get_or_create(self, session: Any, node: Any) -> Any:
        """The session of that name on a node."""
        key = (session, node)
        if key not in self._sessions:
            self._sessions[key] = self._create_runner_session(node, subclass_name=self.subclass_name)
        return self._sessions[key]

    def get_status_code(self, session: Any, node: Any) -> int:
        """The exit status of the last command in a session of a node."""
        return int(self.get_or_create(session, node).get_status_code())

    def close(self) -> None:
        """Close all sessions and forget them."""
        sessions, self._sessions = self._sessions, {}
        with contextlib.ExitStack() as stack:
            for session in sessions.values():
                stack.callback(session.close)

    def __str__(self) -> str:
        return "Session Manager"
