"""rpyc: a classic connection to a server that zerodeploy copies to the target and starts there."""

from __future__ import annotations

import time
from typing import Any

import rpyc
from plumbum import SshMachine
from rpyc.utils.zerodeploy import DeployedServer

from benchmarks.peers.base import MIB, Peer, Settings, Thunk, target_text

__all__ = ["RpycPeer", "make"]


class RpycPeer(Peer):
    """A classic connection."""

    bulk = 2 * MIB
    pipelines = False

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._server: Any = None

    def open(self, place: str) -> None:
        """Deploy the server and connect."""
        options = ("-F", self.settings.ssh_config)
        self._machine = SshMachine(place, ssh_opts=options, scp_opts=options)
        self._server = DeployedServer(self._machine, python_executable="python3")
        self._connection = self._server.classic_connect()
        self._connection.execute(target_text())
        self._names = self._connection.namespace

    def close(self) -> None:
        """End connection and server."""
        if self._server is not None:
            self._connection.close()
            self._server.close()
            self._machine.close()
            self._server = None

    def call(self, name: str, *args: Any) -> Any:
        """A call; what is no plain value is brought here."""
        answer = self._names[name](*(rpyc.classic.deliver(self._connection, one) for one in args))
        return rpyc.classic.obtain(answer)

    def call_times(self, count: int) -> list[float]:
        """The function is asked for once, as a user would."""
        clock, add, times = time.perf_counter, self._names["add"], []
        for number in range(count):
            started = clock()
            add(number)
            times.append(clock() - started)
        return times

    def submit(self, name: str, *args: Any) -> Thunk:
        """An asynchronous request."""
        waiting = rpyc.async_(self._names[name])(*args)

        def value() -> Any:
            waiting.wait()
            return waiting.value

        return value

    def lane(self) -> Peer:
        """A connection serves all threads."""
        return self

    def push(self, local: str, remote: str) -> None:
        """Its own way."""
        rpyc.classic.upload(self._connection, local, remote)

    def pull(self, remote: str, local: str) -> None:
        """Its own way."""
        rpyc.classic.download(self._connection, remote, local)

    def push_tree(self, local: str, remote: str) -> None:
        """Its own way."""
        self.call("folder", remote)
        rpyc.classic.upload(self._connection, local, remote)

    def pull_tree(self, remote: str, local: str) -> None:
        """Its own way."""
        rpyc.classic.download(self._connection, remote, local)


def make(settings: Settings) -> Peer:
    """This peer."""
    return RpycPeer(settings)
