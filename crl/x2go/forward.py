"""Tunnels from this machine to the server: python-x2go's forwarding server on threads, without gevent.

`X2GoFwServer` listens on loopback, or on a unix socket that is its user's only, and opens one connection on the server
for each that it accepts, over a `paramiko.Transport` or a target. It promises that the end of each direction is passed
on, that a slow side slows the other one and fills no memory, and that `stop` leaves no thread, socket or channel.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable
from typing import Any, Protocol, Self

from crl.link.tunnels import LIMIT, check_listening, listen_here
from crl.x2go._ends import Address, Ends, Joint, NobodyListens, Stream, ends_of
from crl.x2go.log import X2GoLogger, logger_for, loglevel_DEFAULT, loglevel_ERROR, loglevel_WARN
from crl.x2go.x2go_exceptions import X2GoFwTunnelException

__all__ = ["X2GoFwServer", "X2GoFwTunnelHandler", "start_forward_tunnel", "stop_forward_tunnel"]

ATTEMPTS = 20
ATTEMPT_PAUSE = 0.4
CONNECT_TIMEOUT = 10.0
END_PATIENCE = 3.0
NO_DESCRIPTOR_PAUSE = 0.2


class X2GoFwTunnelHandler(Protocol):
    """What a forwarding server does with a connection: `X2GoFwServer.x2go_forward_tunnel_handle`, or one's own."""

    def __call__(self, fw_socket: socket.socket, address: Any) -> None:
        """Serve the connection to its end."""


class X2GoFwServer:
    """Listens here and connects there.

    Args:
        listener: Where: ``(host, port)`` on loopback (port 0 is any), or the absolute path of a unix socket.
        remote_host: Where the connections come out, as the server sees it.
        remote_port: The port there.
        ssh_transport: A connected `paramiko.Transport`, or a target.
        session_instance: The session; its ``HOOK_forwarding_tunnel_setup_failed`` is told of connections that fail.
        session_name: The session's name, for the log.
        subsystem: What the tunnel is for, for log and hook.
        logger: Where to log.
        loglevel: The levels that are logged.

    Attributes:
        keepalive: None before the start, True while it listens, then False.
        is_active: Whether a connection has come through; nothing takes that back but the end.
        failed: Whether listening, or the last connection there, failed.
        chan: The last connection's end towards the server.
        fw_socket: The last connection's end here.
        address: Where it listens.
    """

    def __init__(
        self,
        listener: Address | str,
        remote_host: str,
        remote_port: int,
        ssh_transport: Any,
        session_instance: Any = None,
        session_name: str | None = None,
        subsystem: str | None = None,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
    ) -> None:
        self.logger = logger_for(logger, loglevel, "forward")
        check_listening(listener, public=False)
        self.listener = listener
        self.address: Any = listener
        self.chain_host = remote_host
        self.chain_port = int(remote_port)
        self.ssh_transport = ssh_transport
        self.session_instance = session_instance
        self.session_name = session_name
        self.subsystem = subsystem
        self.keepalive: bool | None = None
        self.is_active = False
        self.failed = False
        self.chan: Stream | None = None
        self.fw_socket: socket.socket | None = None
        self._ends: Ends = ends_of(ssh_transport)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._room = threading.Semaphore(LIMIT)
        self._socket: socket.socket | None = None
        self._accepting: threading.Thread | None = None
        self._joints: set[Joint] = set()
        self._accepted: dict[threading.Thread, socket.socket] = {}

    def __repr__(self) -> str:
        state = {None: "not started", True: "listening", False: "stopped"}[self.keepalive]
        return f"<{type(self).__name__} {self.address!r} to {self.chain_host}:{self.chain_port}: {state}>"

    @property
    def started(self) -> bool:
        """Whether it listens."""
        return self.keepalive is True

    @property
    def server_host(self) -> Any:
        """The host it listens on, or the path."""
        return self.address if isinstance(self.address, str) else self.address[0]

    @property
    def server_port(self) -> int:
        """The port it listens on."""
        return 0 if isinstance(self.address, str) else int(self.address[1])

    def start(self) -> None:
        """Listen; connections are served by threads from now on.

        Raises:
            OSError: It cannot listen there.
        """
        with self._lock:
            if self._socket is not None:
                return
            self._socket = listen_here(self.listener, public=False)
            if not isinstance(self.listener, str):
                self.address = self._socket.getsockname()[:2]
            self.keepalive = True
            self._stopping.clear()
            self._room = threading.Semaphore(LIMIT)
            self._accepting = threading.Thread(
                target=self._accept, args=(self._socket, self._room), name="crl-x2go-forward", daemon=True
            )
            self._accepting.start()

    def _accept(self, listening: socket.socket, room: threading.Semaphore) -> None:
        while not self._stopping.is_set():
            room.acquire()
            try:
                fw_socket, address = listening.accept()
            except OSError:  # stopped, or no descriptor is left, or the peer gave up before we looked
                room.release()
                self._stopping.wait(NO_DESCRIPTOR_PAUSE)
                continue
            thread = threading.Thread(
                target=self._serve, args=(fw_socket, address, room), name="crl-x2go-tunnel", daemon=True
            )
            with self._lock:
                stopped = self._stopping.is_set()
                if not stopped:
                    self._accepted[thread] = fw_socket
                    thread.start()  # here: who ends threads waits for all that it finds
            if stopped:
                fw_socket.close()

    def _serve(self, fw_socket: socket.socket, address: Any, room: threading.Semaphore) -> None:
        try:
            self.x2go_forward_tunnel_handle(fw_socket, address)
        except Exception as error:  # noqa: BLE001 - a subclass's handler may fail in any way; the others go on
            self.logger(f"the tunnel's handler failed: {error}", loglevel=loglevel_ERROR)
        finally:
            fw_socket.close()
            with self._lock:
                self._accepted.pop(threading.current_thread(), None)
            room.release()

    def x2go_forward_tunnel_handle(self, fw_socket: socket.socket, address: Any) -> None:
        """Serve one connection to its end; called in a thread of its own.

        Args:
            fw_socket: The connection here.
            address: Whose it is.
        """
        origin = address if isinstance(address, tuple) else ("127.0.0.1", 0)
        there = self._connect((str(origin[0]), int(origin[1])))
        if there is None:
            return
        joint = Joint(fw_socket, there)
        with self._lock:
            self.fw_socket, self.chan = fw_socket, there
            self._joints.add(joint)
            stopped = self._stopping.is_set()
            self.is_active = not stopped
            self.failed = False
        try:
            if stopped:
                joint.stop()
            joint.run()
        finally:
            with self._lock:
                self._joints.discard(joint)
                if self.chan is there:
                    self.fw_socket = self.chan = None

    def _connect(self, origin: Address) -> Stream | None:
        """Connect there; who does not listen yet, as an agent that is being resumed, is asked again for a while."""
        failure: X2GoFwTunnelException | None = None
        for _ in range(ATTEMPTS):
            try:
                return self._ends.connect((self.chain_host, self.chain_port), origin, CONNECT_TIMEOUT)
            except NobodyListens as error:
                failure = error
            except X2GoFwTunnelException as error:
                failure = error
                break
            if self._stopping.wait(ATTEMPT_PAUSE):
                return None
        if not self._stopping.is_set():
            self._report(failure)
        return None

    def _report(self, failure: X2GoFwTunnelException | None) -> None:
        self.failed = True
        what = f"tunnel of {self.session_name or 'a session'} for {self.subsystem or 'nobody in particular'}"
        self.logger(f"{what}: {failure}", loglevel=loglevel_ERROR)
        hook: Callable[..., object] | None = getattr(
            self.session_instance, "HOOK_forwarding_tunnel_setup_failed", None
        )
        if hook is not None:
            hook(chain_host=self.chain_host, chain_port=self.chain_port, subsystem=self.subsystem)

    def close_channel(self) -> None:
        """Break all connections, at the server's end first; listening goes on."""
        with self._lock:
            joints = list(self._joints)
        for joint in joints:
            joint.stop()

    def close_socket(self) -> None:
        """Break all connections, also those that are not through yet; listening goes on."""
        self.close_channel()
        with self._lock:
            accepted = list(self._accepted.values())
        for fw_socket in accepted:
            with contextlib.suppress(OSError):  # it has ended already
                fw_socket.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        """Listen no more and break all connections; returns when threads and sockets are gone. Again is harmless."""
        self._stopping.set()
        with self._lock:
            listening, self._socket = self._socket, None
            accepting, self._accepting = self._accepting, None
            if listening is not None:
                self.keepalive = False
            self.is_active = False
        self._room.release()  # the accepting thread may wait for room
        if listening is not None:
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            self._end_threads(accepting)
            listening.close()
            if isinstance(self.listener, str) and self.listener[:1] == "/":
                with contextlib.suppress(FileNotFoundError):  # somebody tidied up before us
                    os.unlink(self.listener)

    close = stop

    def _end_threads(self, accepting: threading.Thread | None) -> None:
        self.close_socket()
        with self._lock:
            threads = [*self._accepted, *([] if accepting is None else [accepting])]
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(END_PATIENCE)
                if thread.is_alive():
                    self.logger(f"{thread.name} does not end", loglevel=loglevel_WARN)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start_forward_tunnel(
    local_host: str = "127.0.0.1",
    local_port: int = 22022,
    remote_host: str = "127.0.0.1",
    remote_port: int = 22,
    ssh_transport: Any = None,
    session_instance: Any = None,
    session_name: str | None = None,
    subsystem: str | None = None,
    logger: X2GoLogger | logging.Logger | None = None,
) -> X2GoFwServer:
    """Make a forwarding server and start it; arguments as of `X2GoFwServer`.

    Returns:
        The server. When it cannot listen, its `failed` is set and the reason logged.
    """
    fw_server = X2GoFwServer(
        (local_host, local_port),
        remote_host,
        remote_port,
        ssh_transport,
        session_instance=session_instance,
        session_name=session_name,
        subsystem=subsystem,
        logger=logger,
    )
    try:
        fw_server.start()
    except OSError as error:
        fw_server.failed = True
        fw_server.logger(f"cannot listen on {local_host}:{local_port}: {error}", loglevel=loglevel_ERROR)
    return fw_server


def stop_forward_tunnel(fw_server: X2GoFwServer | None) -> None:
    """Stop a forwarding server, if there is one; nothing of it is left."""
    if fw_server is not None:
        fw_server.stop()
