"""asyncssh: the floor's loop over a session of a connection, in an event loop of this process."""

from __future__ import annotations

import asyncio
import pickle
import resource
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import asyncssh

from benchmarks.peers.base import MIB, Peer, Settings
from benchmarks.peers.floor import HEAD, LoopPeer, start_line

__all__ = ["AsyncsshPeer", "make"]


class AsyncsshPeer(LoopPeer):
    """The loop over asyncssh."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._loop = asyncio.new_event_loop()
        self._connection: Any = None

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(work)

    async def _connect(self, alias: str) -> Any:
        return await asyncssh.connect(
            alias, config=[self.settings.ssh_config], known_hosts=self.settings.known_hosts, agent_path=None
        )

    async def _start(self, connection: Any) -> Any:
        return await connection.create_process(start_line(), encoding=None, window=8 * MIB)

    async def _open(self, place: str) -> None:
        self._connection = await self._connect(place)
        self._process = await self._start(self._connection)

    def open(self, place: str) -> None:
        """Connect and start the loop."""
        self._wait(self._open(place))
        self.begin()

    async def _close(self) -> None:
        self._connection.abort()
        await self._connection.wait_closed()

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._wait(self._close())
            self._connection = None

    async def _send(self, data: bytes | memoryview) -> None:
        self._process.stdin.write(bytes(data))
        await self._process.stdin.drain()

    def send_bytes(self, data: bytes | memoryview) -> None:
        """To the process's input."""
        self._wait(self._send(data))

    def read_some(self) -> bytes:
        """What the session has."""
        data: bytes = self._wait(self._process.stdout.read(MIB))
        if not data:
            raise ConnectionError("the session has ended")
        return data

    async def _calls(self, count: int) -> list[float]:
        clock, times = time.perf_counter, []
        write, read = self._process.stdin.write, self._process.stdout.readexactly
        for number in range(count):
            started = clock()
            data = pickle.dumps(("add", (number,)), 4)
            write(HEAD.pack(len(data)) + data)
            pickle.loads(await read(HEAD.unpack(await read(4))[0]))
            times.append(clock() - started)
        return times

    def call_times(self, count: int) -> list[float]:
        """In one coroutine, as a user would."""
        return list(self._wait(self._calls(count)))

    async def _copy(self, way: str, source: str, target: str, *, recurse: bool = False) -> None:
        async with self._connection.start_sftp_client() as sftp:
            await getattr(sftp, way)(source, target, recurse=recurse)

    def push(self, local: str, remote: str) -> None:
        """By SFTP."""
        self._wait(self._copy("put", local, remote))

    def pull(self, remote: str, local: str) -> None:
        """By SFTP."""
        self._wait(self._copy("get", remote, local))

    def push_tree(self, local: str, remote: str) -> None:
        """By SFTP."""
        self.call("folder", remote)
        for path in Path(local).iterdir():
            assert path.is_file()
        self._wait(self._copy("put", f"{local}/.", remote, recurse=True))

    def pull_tree(self, remote: str, local: str) -> None:
        """By SFTP."""
        self._wait(self._copy("get", remote, local, recurse=True))

    async def _one(self, alias: str) -> Any:
        connection = await self._connect(alias)
        process = await self._start(connection)
        seen = b""
        while b"READY" not in seen:
            seen += await process.stdout.read(4096)
        return connection

    async def _fleet(self, aliases: list[str]) -> float:
        started = time.perf_counter()
        connections = await asyncio.gather(*map(self._one, aliases))
        seconds = time.perf_counter() - started
        for connection in connections:
            connection.abort()
        for connection in connections:
            await connection.wait_closed()
        return seconds

    def fleet(self, aliases: list[str]) -> dict[str, float]:
        """Seconds, threads and CPU to open many targets at once, up to a result of each."""
        before = threading.active_count()
        used = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        seconds = self._wait(self._fleet(aliases))
        more = threading.active_count() - before
        return {"seconds": seconds, "threads": more, "cpu": resource.getrusage(resource.RUSAGE_SELF).ru_utime - used}


def make(settings: Settings) -> Peer:
    """This peer."""
    return AsyncsshPeer(settings)
