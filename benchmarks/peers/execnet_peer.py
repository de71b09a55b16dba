"""execnet: one gateway, a loop in a channel of it for each thread that calls."""

from __future__ import annotations

import shlex
from typing import Any

import execnet

from benchmarks.peers.base import Peer, Settings, Thunk, target_text

__all__ = ["ExecnetPeer", "make"]

LOOP = """
functions = {}
exec(channel.receive(), functions)
for name, args in channel:
    channel.send(functions[name](*args))
"""


class ExecnetPeer(Peer):
    """A channel of a gateway."""

    def __init__(self, settings: Settings, gateway: Any = None) -> None:
        super().__init__(settings)
        self._group: Any = None
        self._gateway = gateway
        if gateway is not None:
            self._begin()

    def _begin(self) -> None:
        self._channel = self._gateway.remote_exec(LOOP)
        self._channel.send(target_text())

    def open(self, place: str) -> None:
        """Make the gateway."""
        self._group = execnet.Group()
        words = f"-F {shlex.quote(self.settings.ssh_config)} {place}"
        self._gateway = self._group.makegateway(f"ssh={words}//python=python3")
        self._begin()

    def close(self) -> None:
        """End it."""
        if self._group is not None:
            self._group.terminate(timeout=2.0)
            self._group = None

    def call(self, name: str, *args: Any) -> Any:
        """Send and receive."""
        self._channel.send((name, args))
        return self._channel.receive(60)

    def submit(self, name: str, *args: Any) -> Thunk:
        """Answers come in order."""
        self._channel.send((name, args))
        return lambda: self._channel.receive(60)

    def lane(self) -> Peer:
        """A channel of its own."""
        return ExecnetPeer(self.settings, self._gateway)


def make(settings: Settings) -> Peer:
    """This peer."""
    return ExecnetPeer(settings)
