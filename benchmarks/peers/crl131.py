"""crl.interactivesessions 1.3.1, the published package: a terminal over its SshShell, which takes passwords only."""

from __future__ import annotations

import importlib
from typing import Any

from benchmarks.peers.base import MIB, Peer, Settings, target_text

__all__ = ["PublishedPeer", "make"]

# It knows no other name for an interpreter than this.
PYTHON = "content:python() { python3 \"$@\"; }"


class PublishedPeer(Peer):
    """Its RunnerTerminal; by name, since the present package has the same names."""

    calls = 50
    bulk = MIB
    pipelines = False

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._session: Any = None

    def open(self, place: str) -> None:
        """Open a session and a terminal in it."""
        if place != "alpha":
            raise ValueError(f"this peer is measured on alpha only, not on {place}")
        package = "crl.interactivesessions"
        shells = importlib.import_module(f"{package}.shells")
        interactive = importlib.import_module(f"{package}.InteractiveSession").InteractiveSession
        terminal = importlib.import_module(f"{package}.runnerterminal").RunnerTerminal
        settings = self.settings
        self._session = interactive()
        shell = shells.SshShell(settings.address, settings.login, settings.password, init_env=PYTHON)
        self._session.spawn(shell)
        self._terminal = terminal()
        self._terminal.initialize(_Holder(self._session))
        # One statement: its interpreter is given single ones.
        self._terminal.run_python(f"exec({target_text()!r}, globals())")

    def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            self._session.close_terminal()
            self._session = None

    def call(self, name: str, *args: Any) -> Any:
        """A call of the terminal."""
        return self._terminal.run_python_call(name, *args)


class _Holder:
    """A session as its terminals want it."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def get_session(self) -> Any:
        """The session."""
        return self._session


def make(settings: Settings) -> Peer:
    """This peer."""
    return PublishedPeer(settings)
