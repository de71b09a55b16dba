# ruff: noqa: N999 - the published name of the module
"""A session on a node with Python in it: `InteractiveSessionExecutor` and `RunnerTerminal` in one, as published.

It joins the two and adds nothing; new code uses `AutoRunnerTerminal`. It promises that closing ends both.
"""

from __future__ import annotations

from typing import Any

from crl.interactivesessions.InteractiveSessionExecutor import InteractiveSessionExecutor
from crl.interactivesessions.runnerterminal import RunnerTerminal

__all__ = ["RunnerSession"]


class RunnerSession(InteractiveSessionExecutor):
    """A session on a node; connects and starts Python when it is made.

    The names of `RunnerTerminal` that `InteractiveSessionExecutor` does not have are the terminal's.

    Args:
        node_name: As of `InteractiveSessionExecutor`.
        **kwargs: As of `InteractiveSessionExecutor`.

    Attributes:
        runnerterminal: The terminal.
    """

    def __init__(self, node_name: str | None, **kwargs: Any) -> None:
        super().__init__(node_name, **kwargs)
        self.runnerterminal = RunnerTerminal()
        self.runnerterminal.python = self.python_command
        try:
            self.runnerterminal.initialize(self)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End Python and all shells."""
        terminal: RunnerTerminal | None = self.__dict__.get("runnerterminal")
        if terminal is not None:
            terminal.close_session()
        super().close()

    def __getattr__(self, name: str) -> Any:
        terminal = self.__dict__.get("runnerterminal")
        if name.startswith("_") or terminal is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(terminal, name)
