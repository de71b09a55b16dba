"""The terminals of `RemoteRunner`, kept open between its keywords: one pool for each way to a target.

It knows terminals and no commands. It promises that a pool is used by any number of threads, that no key shows a
password, that a connection is opened outside every lock, so that targets come up beside each other, and that closing
ends by its deadline, also when targets hang.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Final

from crl.deadlines import Deadline
from crl.errors import UsageError
from crl.interactivesessions._pooledterminal import PooledTerminal
from crl.interactivesessions.interactivesessionexceptions import InteractiveSessionError
from crl.interactivesessions.shells.shellstack import is_secret_name
from crl.secrets import Secret, to_secret

__all__ = ["PoolNotFoundError", "TerminalPoolsBusy", "_TerminalPools", "key_of"]

MAXSIZE: Final = 256
CLOSE_TIMEOUT: Final = 20.0

_FINGERPRINT_KEY: Final = secrets.token_bytes(16)

logger = logging.getLogger(__name__)

ShellDicts = Sequence[Mapping[str, Any]]


class TerminalPoolsBusy(InteractiveSessionError):
    """As many terminals as are allowed are in use, and none of them is free to be closed."""


class PoolNotFoundError(UsageError, InteractiveSessionError):
    """A terminal was given back that is of no pool: it was removed, or all pools were closed."""


def key_of(shelldicts: ShellDicts, zone: str | None = None) -> str:
    """What tells one way to a target from others; of a password it holds a fingerprint that is good in this process."""
    parts = [sorted((str(name), _shown(name, value)) for name, value in shell.items()) for shell in shelldicts]
    return repr((parts, zone))


def _shown(name: str, value: Any) -> str:
    if value is not None and (is_secret_name(name) or isinstance(value, Secret)):
        secret = to_secret(value)
        text = "" if secret is None else secret.value
        return hmac.new(_FINGERPRINT_KEY, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:16]
    return repr(value)


class _Pool:
    """The terminals of one way to a target."""

    def __init__(self, shelldicts: ShellDicts) -> None:
        self.shelldicts = [dict(shell) for shell in shelldicts]
        self.free: list[PooledTerminal] = []
        self.shared: dict[PooledTerminal, int] = {}
        self.taken: set[PooledTerminal] = set()

    @property
    def members(self) -> list[PooledTerminal]:
        return [*self.free, *self.shared, *self.taken]

    def discard(self, terminal: PooledTerminal) -> None:
        """Forget a terminal of this pool."""
        if terminal in self.free:
            self.free.remove(terminal)
        self.shared.pop(terminal, None)
        self.taken.discard(terminal)


class _TerminalPools:
    """All pools of this process; every instance is the same one."""

    _only: ClassVar[_TerminalPools | None] = None
    _owner: ClassVar[int] = 0
    _making: ClassVar[threading.Lock] = threading.Lock()

    def __new__(cls) -> _TerminalPools:
        """The instance of this process; a forked child gets one of its own, as sessions cannot be used there."""
        with cls._making:
            if cls._only is None or cls._owner != os.getpid():
                self = cls._only = super().__new__(cls)
                cls._owner = os.getpid()
                self._begin()
            return cls._only

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._pools: dict[str, _Pool] = {}
        self._maxsize = MAXSIZE
        self._factory: type[PooledTerminal] = PooledTerminal

    @property
    def maxsize(self) -> int:
        """How many terminals are allowed in all pools together."""
        return self._maxsize

    def set_maxsize(self, maxsize: int) -> None:
        """Allow this many terminals in all pools together.

        Raises:
            UsageError: It is less than 1.
        """
        if maxsize < 1:
            raise UsageError(f"the terminal pools need room for at least one terminal, not {maxsize}")
        with self._lock:
            self._maxsize = maxsize

    def set_proxies_factory(self, factory: type[PooledTerminal]) -> None:
        """Make terminals of this class from now on."""
        self._factory = factory

    @property
    def size(self) -> int:
        """How many terminals there are."""
        with self._lock:
            return sum(len(pool.members) for pool in self._pools.values())

    # One user

    def get(self, shelldicts: ShellDicts, properties: Mapping[str, Any], zone: str | None = None) -> PooledTerminal:
        """A terminal for one user, until `put`.

        Raises:
            TerminalPoolsBusy: There is no room for another one.
        """
        with self._lock:
            pool = self._pool(shelldicts, zone)
            terminal = pool.free.pop() if pool.free else self._new(pool, zone)
            pool.taken.add(terminal)
        terminal.set_properties(properties)
        return terminal

    def put(self, terminal: PooledTerminal) -> None:
        """Give a terminal back that `get` gave.

        Raises:
            PoolNotFoundError: It is of no pool.
        """
        with self._lock:
            pool = self._pool_of(terminal)
            if terminal in pool.taken:
                pool.taken.discard(terminal)
                pool.free.append(terminal)

    def remove(self, terminal: PooledTerminal) -> None:
        """Close a terminal and forget it.

        Raises:
            PoolNotFoundError: It is of no pool.
        """
        with self._lock:
            self._pool_of(terminal).discard(terminal)
        terminal.close()

    # Many users

    def share(self, shelldicts: ShellDicts, properties: Mapping[str, Any], zone: str | None = None) -> PooledTerminal:
        """A terminal for many users at once, until `decr_shared`; another one when each has as many as are allowed.

        Raises:
            TerminalPoolsBusy: There is no room for another one.
        """
        most = max(1, int(properties["max_processes_in_target"]))
        with self._lock:
            pool = self._pool(shelldicts, zone)
            terminal = next((one for one, users in pool.shared.items() if users < most), None)
            if terminal is None:
                terminal = pool.free.pop() if pool.free else self._new(pool, zone)
                pool.shared[terminal] = 0
            pool.shared[terminal] += 1
        terminal.set_properties(properties)
        return terminal

    def put_incr_shared(self, terminal: PooledTerminal) -> None:
        """Let others use a terminal too that `get` gave; its user counts as one of them, until `decr_shared`.

        Raises:
            PoolNotFoundError: It is of no pool.
        """
        with self._lock:
            pool = self._pool_of(terminal)
            pool.taken.discard(terminal)
            pool.shared[terminal] = pool.shared.get(terminal, 0) + 1

    def decr_shared(self, terminal: PooledTerminal) -> None:
        """One user of a shared terminal does not need it any more.

        Raises:
            PoolNotFoundError: It is of no pool.
        """
        with self._lock:
            pool = self._pool_of(terminal)
            pool.shared[terminal] = pool.shared.get(terminal, 1) - 1
            if pool.shared[terminal] <= 0:
                del pool.shared[terminal]
                pool.free.append(terminal)

    @contextmanager
    def active_terminal(
        self, shelldicts: ShellDicts, properties: Mapping[str, Any], zone: str | None = None
    ) -> Iterator[PooledTerminal]:
        """A shared terminal for the block."""
        terminal = self.share(shelldicts, properties, zone)
        try:
            yield terminal
        finally:
            self.release(terminal)

    def release(self, terminal: PooledTerminal) -> None:
        """End one use of a terminal, however it was taken; nothing to do when its pool is closed already."""
        with self._lock:
            if any(terminal in pool.shared for pool in self._pools.values()):
                self.decr_shared(terminal)
            elif any(terminal in pool.taken for pool in self._pools.values()):
                self.put(terminal)

    # Pools

    def _pool(self, shelldicts: ShellDicts, zone: str | None) -> _Pool:
        return self._pools.setdefault(key_of(shelldicts, zone), _Pool(shelldicts))

    def _pool_of(self, terminal: PooledTerminal) -> _Pool:
        for pool in self._pools.values():
            if terminal in pool.members:
                return pool
        raise PoolNotFoundError("the terminal is of no pool", host=terminal.host, advice="get another one")

    def _new(self, pool: _Pool, zone: str | None) -> PooledTerminal:
        """A terminal that is not open yet; makes room by closing one that nobody uses."""
        if self.size >= self._maxsize:
            victims = [(other, other.free[0]) for other in self._pools.values() if other.free]
            if not victims:
                raise TerminalPoolsBusy(
                    f"all {self._maxsize} terminals are in use",
                    doing="taking a terminal",
                    advice="wait for commands to end, or allow more with Set Terminalpools Maxsize",
                )
            other, victim = victims[0]
            other.discard(victim)
            _Closing(victim)
        return self._factory(pool.shelldicts, zone)

    def close(self, timeout: float = CLOSE_TIMEOUT) -> list[str]:
        """Close all terminals, beside each other, and forget the pools.

        Args:
            timeout: Seconds; what hangs longer is left to a thread that ends it.

        Returns:
            The hosts whose terminals were not closed in time.
        """
        deadline = Deadline.after(timeout)
        with self._lock:
            terminals = [terminal for pool in self._pools.values() for terminal in pool.members]
            self._pools.clear()
        closings = [_Closing(terminal) for terminal in terminals]
        late = [closing.terminal.host for closing in closings if not closing.wait(deadline)]
        if late:
            logger.warning("terminals of %s were not closed within %g s", ", ".join(late), timeout)
        return late


class _Closing:
    """One terminal that is being closed in a thread of its own."""

    def __init__(self, terminal: PooledTerminal) -> None:
        self.terminal = terminal
        self._thread = threading.Thread(target=terminal.close, name="crl-closing", daemon=True)
        self._thread.start()

    def wait(self, deadline: Deadline) -> bool:
        self._thread.join(deadline.remaining())
        return not self._thread.is_alive()
