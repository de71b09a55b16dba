"""mitogen: one context over ssh, as it comes or without compression (option ``plain``)."""

from __future__ import annotations

import sys
import types
from typing import Any

import mitogen.master
import mitogen.ssh
import mitogen.utils

from benchmarks.peers.base import Peer, Settings, Thunk, target_text

__all__ = ["MitogenPeer", "make"]

NAME = "benchmark_functions"
# Defines the module on the target: what is called later is found there by its name.
DEFINE = "import sys, types\nm = types.ModuleType({0!r})\nexec({1!r}, m.__dict__)\nsys.modules[{0!r}] = m\n"


class MitogenPeer(Peer):
    """A context of mitogen."""

    calls = 200

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._broker: Any = None
        self._functions = types.ModuleType(NAME)
        exec(target_text(), self._functions.__dict__)
        sys.modules[NAME] = self._functions

    def open(self, place: str) -> None:
        """Connect a context."""
        self._broker = mitogen.master.Broker()
        router = mitogen.master.Router(self._broker)
        self._context = router.ssh(
            hostname=place,
            python_path="python3",
            compression=self.settings.option != "plain",
            check_host_keys="ignore",
            ssh_args=["-F", self.settings.ssh_config],
            keepalive_enabled=False,
        )
        self._context.call(exec, DEFINE.format(NAME, target_text()))

    def close(self) -> None:
        """End it with its broker."""
        if self._broker is not None:
            self._broker.shutdown()
            self._broker.join()
            self._broker = None

    def call(self, name: str, *args: Any) -> Any:
        """A call of the context."""
        return self._context.call(getattr(self._functions, name), *args)

    def submit(self, name: str, *args: Any) -> Thunk:
        """A call whose receiver is asked later."""
        receiver = self._context.call_async(getattr(self._functions, name), *args)
        return lambda: receiver.get().unpickle()

    def lane(self) -> Peer:
        """A context serves all threads."""
        return self


def make(settings: Settings) -> Peer:
    """This peer."""
    return MitogenPeer(settings)
