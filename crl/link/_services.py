"""The verbs of a link beside its calls: processes, connections, tunnels, and what code on the target prints.

They are a part of `Link`, which inherits them; each is a thin way to the module that knows it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast, overload

from crl.link import detached, processes, tunnels
from crl.link._output import OutputEvent
from crl.link.detached import Detached
from crl.link.ends import Taker
from crl.link.given import CommandLine, Environment, RemoteName
from crl.link.processes import RemoteProcess, RunResult, StartOptions
from crl.link.tunnels import Address, TcpAddress, Tunnel

if TYPE_CHECKING:
    from crl.link.link import Link

__all__ = ["Services"]

OUTPUT_PATIENCE: Final = 1.0


class Services:
    """What a link can be asked for; see `Link`."""

    @property
    def _link(self) -> Link:
        return cast("Link", self)

    # -- processes and tunnels -------------------------------------------------------------------------------------

    def run(
        self,
        command: CommandLine,
        *,
        env: Environment | None = None,
        cwd: RemoteName | None = None,
        stdin: bytes = b"",
        timeout: float | None = None,
        umask: int | None = None,
        merge: bool = False,
        contain: bool = False,
    ) -> RunResult:
        """Run a command on the target to its end, in one round trip.

        Args:
            command: An argument list, or a text for ``/bin/sh -c``.
            env: Changes to the environment; None as a value removes a variable.
            cwd: Directory to run in.
            stdin: What it reads.
            timeout: Seconds; None waits for ever.
            umask: As of `StartOptions`.
            merge: As of `StartOptions`.
            contain: As of `StartOptions`.

        Raises:
            ProcessTimeout: It took too long and was killed, with all its children.
            OSError: It could not be started, as `subprocess.Popen` would say on the target.
        """
        options = StartOptions(env, cwd, umask, merge=merge, contain=contain)
        return processes.run_to_end(self._link, command, options, stdin, timeout)

    def start_process(
        self,
        command: CommandLine,
        *,
        env: Environment | None = None,
        cwd: RemoteName | None = None,
        umask: int | None = None,
        merge: bool = False,
        pty: tuple[int, int] | None = None,
        spool: int | None = None,
        contain: bool = False,
    ) -> RemoteProcess:
        """Start a process that the link owns; arguments as in `run` and of `StartOptions`."""
        return processes.start(self._link, command, StartOptions(env, cwd, umask, merge, pty, spool, contain))

    def start_detached(
        self,
        command: CommandLine,
        *,
        env: Environment | None = None,
        cwd: RemoteName | None = None,
        umask: int | None = None,
        spool: int | None = None,
        keep: float = detached.KEEP,
    ) -> Detached:
        """Start a process that nobody owns and that stays when the link ends; it has no input.

        Args:
            command: As of `run`.
            env: As of `run`.
            cwd: As of `run`.
            umask: As of `run`.
            spool: How many bytes of its output, the newest ones, are kept for `Detached.read`; None keeps none.
            keep: For how many seconds they are kept after its end.
        """
        return detached.start(self._link, command, StartOptions(env, cwd, umask, spool=spool), keep)

    def connect(self, address: Address, timeout: float = 10.0) -> socket.socket:
        r"""A local socket whose other end is at an address that the target reaches.

        Args:
            address: ``(host, port)``, the path of a unix socket, or ``"\0name"`` for an abstract one.
            timeout: Seconds for connecting.

        Raises:
            TunnelError: The target cannot connect there.
        """
        ours, theirs = socket.socketpair()
        try:
            self.join(address, theirs, timeout)
        except BaseException:
            ours.close()
            theirs.close()
            raise
        return ours

    def join(self, address: Address, sock: socket.socket, timeout: float) -> None:
        """Join a local socket, which becomes the link's, to an address that the target reaches."""
        tunnels.join(self._link, tunnels.plain_address(address), sock, timeout)

    @overload
    def forward(
        self, address: Address, listen: TcpAddress = ..., *, public: bool = ..., limit: int = ...
    ) -> Tunnel[TcpAddress]: ...

    @overload
    def forward(self, address: Address, listen: str, *, public: bool = ..., limit: int = ...) -> Tunnel[str]: ...

    @overload
    def forward(
        self, address: Address, listen: Address, *, public: bool = ..., limit: int = ...
    ) -> Tunnel[Address]: ...

    def forward(
        self,
        address: Address,
        listen: Any = ("127.0.0.1", 0),
        *,
        public: bool = False,
        limit: int = tunnels.LIMIT,
    ) -> Tunnel[Any]:
        """Listen here and let every connection come out at an address that the target reaches.

        Args:
            address: Where the target connects to; see `connect`.
            listen: Where to listen: a loopback address, port 0 for any, or a path for a unix socket of mode 0600.
            public: Whether others may connect: an address that is not a loopback one, and other users to a unix socket.
            limit: How many connections may be open at once; more wait until one ends.
        """
        self._link.engine.check()
        address, listen = tunnels.plain_address(address), tunnels.plain_address(listen)
        self._link.load("tunnel")
        return self._link.know_tunnel(tunnels.Forward(self._link, address, listen, public=public, limit=limit))

    @overload
    def reverse(
        self, listen: TcpAddress, address: Address | Taker, *, public: bool = ..., limit: int = ...
    ) -> Tunnel[TcpAddress]: ...

    @overload
    def reverse(
        self, listen: str, address: Address | Taker, *, public: bool = ..., limit: int = ...
    ) -> Tunnel[str]: ...

    @overload
    def reverse(
        self, listen: Address, address: Address | Taker, *, public: bool = ..., limit: int = ...
    ) -> Tunnel[Address]: ...

    def reverse(
        self, listen: Any, address: Address | Taker, *, public: bool = False, limit: int = tunnels.LIMIT
    ) -> Tunnel[Any]:
        """Have the target listen and let every connection come out at an address that this machine reaches.

        Args:
            listen: Where the target listens; as of `forward`.
            address: Where this machine connects to, see `connect`; or a function of this program, which is given each
                connection as an `End` and must neither wait nor raise.
            public: As of `forward`.
            limit: As of `forward`.

        Raises:
            TunnelError: The target cannot listen there.
        """
        address = address if callable(address) else tunnels.plain_address(address)
        listen = tunnels.plain_address(listen)
        return self._link.know_tunnel(tunnels.Reverse(self._link, listen, address, public=public, limit=limit))

    # -- output ----------------------------------------------------------------------------------------------------

    def on_output(self, callback: Callable[[OutputEvent], None]) -> Callable[[], None]:
        """Have a callback called with everything that code on the target prints from now on, in order.

        It is called in a thread of its own, never in one that reads from the target. What a call has printed comes
        before its answer; `settle_output` waits until the callbacks have had it.

        Args:
            callback: Gets an `OutputEvent` for each piece.

        Returns:
            What ends the subscription.
        """
        return self._link.output.subscribe(callback)

    def settle_output(self, timeout: float = OUTPUT_PATIENCE) -> bool:
        """Wait until callbacks and the logger have had what has arrived so far; False when that takes longer."""
        return self._link.output.settle(timeout)
