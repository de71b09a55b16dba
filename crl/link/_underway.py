"""What is under way on a link beside calls: processes, connections and other streams, by their numbers.

It is a part of `Link`, which inherits it: it gives each a number, hands on what arrives for it, and tells what breaks
the rules. It promises that what concerns something forgotten does no harm.
"""

from __future__ import annotations

import threading
from abc import ABC
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from crl.link.connections import Joined
from crl.link.files_stream import FileStream
from crl.link.processes import RemoteProcess
from crl.link.streams import InputStream, OutputStream
from crl.link.tunnels import Tunnel
from crl.link.wire import messages

if TYPE_CHECKING:
    from crl.link._engine import Engine

__all__ = ["UnderWay"]

_Joined = TypeVar("_Joined", bound=Joined | FileStream)
_Tunnel = TypeVar("_Tunnel", bound=Tunnel[Any])


class UnderWay(ABC):
    """The processes and streams of a link; see `Link`.

    Attributes:
        engine: The engine of the link.
        outputs: What is written to on the target, by number.
    """

    engine: Engine
    _lock: threading.Lock
    _last_number: int

    def __init__(self) -> None:
        self._inputs: dict[int, InputStream | Joined | FileStream] = {}
        self.outputs: dict[int, OutputStream | Joined | FileStream] = {}
        self._processes: dict[int, RemoteProcess] = {}
        self._tunnels: list[Tunnel[Any]] = []

    def new_process(self, make: Callable[[int], RemoteProcess]) -> RemoteProcess:
        """Know a process and its streams, which `make` makes of its number."""
        with self._lock:
            number = self._last_number + 1
            self._last_number += 3
            process = self._processes[number] = make(number)
            self.outputs[number] = process.stdin
            self._inputs[number + 1], self._inputs[number + 2] = process.stdout, process.stderr
        return process

    def new_stream(self, make: Callable[[int], _Joined]) -> _Joined:
        """Know a connection, which `make` makes of the stream's number.

        For one that nobody waits for, the target is read at once from now on.
        """
        with self._lock:
            number = self._last_number = self._last_number + 1
            joined = make(number)
            self._inputs[number] = self.outputs[number] = joined
            self.engine.busy_streams += joined.unattended
        return joined

    def replace_stream(self, number: int, joined: Joined) -> None:
        """Another one is joined to a stream from now on."""
        with self._lock:
            before = self._inputs.get(number)
            if before is not None and not isinstance(before, InputStream):
                self.engine.busy_streams += joined.unattended - before.unattended
            self._inputs[number] = self.outputs[number] = joined

    def know_tunnel(self, tunnel: _Tunnel) -> _Tunnel:
        """A tunnel has begun to listen."""
        with self._lock:
            self._tunnels.append(tunnel)
        if self.engine.lost is not None:
            # Meanwhile: nobody else would close it.
            tunnel.close()
            self.engine.check()
        return tunnel

    def forget_stream(self, number: int) -> None:
        """A connection, or a stream of records, is over."""
        with self._lock:
            self.outputs.pop(number, None)
            joined = self._inputs.pop(number, None)
            if joined is not None and not isinstance(joined, InputStream):
                self.engine.busy_streams -= joined.unattended

    def forget_tunnel(self, tunnel: Tunnel[Any]) -> None:
        """A tunnel has stopped listening."""
        with self._lock:
            if tunnel in self._tunnels:
                self._tunnels.remove(tunnel)

    def forget_process(self, number: int) -> None:
        """Nothing of a process can arrive any more."""
        with self._lock:
            self._processes.pop(number, None)
            self.outputs.pop(number, None)
            self._inputs.pop(number + 1, None)
            self._inputs.pop(number + 2, None)

    def _on_stream_message(self, kind: int, number: int, message: bytes, body: bytes) -> bool:
        """What concerns a stream, which may have been forgotten by now; False when it breaks the rules."""
        source, sink = self._inputs.get(number), self.outputs.get(number)
        if kind == messages.DATA:
            return source is None or source.take(message)
        if kind == messages.CREDIT_TO:
            return self._on_credit(sink, body)
        if kind == messages.END:
            if source is not None:
                source.end()
        elif kind == messages.RESET:
            for side in (source, sink):
                if side is not None:
                    side.reset()
        elif kind == messages.GAP:
            return self._on_gap(source, message, body)
        elif kind == messages.EXIT:
            return self._on_exit(number, body)
        else:
            return False
        return True

    def _on_credit(self, sink: OutputStream | Joined | None, body: bytes) -> bool:
        if len(body) != messages.CREDIT.size:
            return False
        if sink is not None:
            sink.allow(messages.CREDIT.unpack(body)[0])
        return True

    def _on_gap(self, source: InputStream | Joined | None, message: bytes, body: bytes) -> bool:
        if len(body) != messages.CREDIT.size:
            return False
        if isinstance(source, InputStream):
            source.skipped(message, messages.CREDIT.unpack(body)[0])
        return source is None or isinstance(source, InputStream)

    def _on_exit(self, number: int, body: bytes) -> bool:
        if len(body) != messages.EXIT_BODY.size:
            return False
        process = self._processes.get(number)
        if process is not None:
            process.exited(*messages.EXIT_BODY.unpack(body))
        return True

    # -- the end ---------------------------------------------------------------------------------------------------

    def _close_tunnels(self) -> None:
        with self._lock:
            open_tunnels = list(self._tunnels)
        for tunnel in open_tunnels:
            tunnel.close(wait=False)

    def _forget_all(self) -> tuple[list[Tunnel[Any]], list[RemoteProcess], list[InputStream | Joined | FileStream]]:
        """The link is lost: whom to tell. Under the lock."""
        told = list(self._tunnels), list(self._processes.values()), list(self._inputs.values())
        self._processes, self._inputs, self.outputs = {}, {}, {}
        return told
