"""Tunnels from the server to this machine: python-x2go's reverse tunnels.

`X2GoRevFwTunnel` has the server listen on its loopback address and connects here for each connection that comes; it can
be paused and go on. It works over a `paramiko.Transport`, whose one place for such connections several tunnels share by
`x2go_transport_tcp_handler`, and over a target. It promises that a connection is given to the tunnel of its own port,
that the server's listener is gone after a pause, and that `stop_thread` leaves no thread, socket or channel.
"""

from __future__ import annotations

import logging
import socket
import threading
import weakref
from collections.abc import Callable
from typing import Any

from crl.errors import CrlError
from crl.x2go._ends import Address, Joint, Stream, is_transport
from crl.x2go._threads import OwnThread
from crl.x2go.log import X2GoLogger, logger_for, loglevel_DEFAULT, loglevel_ERROR, loglevel_INFO, loglevel_WARN
from crl.x2go.x2go_exceptions import X2GoParameterError, X2GoRevFwTunnelException

__all__ = [
    "X2GoRevFwChannelThread",
    "X2GoRevFwTunnel",
    "x2go_rev_forward_channel_handler",
    "x2go_transport_tcp_handler",
]

SERVER_ADDRESS = "127.0.0.1"
REQUEST_TIMEOUT = 10.0
CONNECT_TIMEOUT = 10.0
END_PATIENCE = 3.0
Handler = Callable[[Any, Address, Address], None]


class _Ports:
    """Which tunnel takes the connections of which port, for each transport; and who took those of all others."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._tunnels: weakref.WeakKeyDictionary[Any, dict[int, X2GoRevFwTunnel]] = weakref.WeakKeyDictionary()
        self._others: weakref.WeakKeyDictionary[Any, Handler] = weakref.WeakKeyDictionary()
        self._asking: weakref.WeakKeyDictionary[Any, threading.Lock] = weakref.WeakKeyDictionary()

    def asking(self, transport: Any) -> threading.Lock:
        """One question to a server at a time: paramiko knows one answer."""
        with self.lock:
            return self._asking.setdefault(transport, threading.Lock())

    def add(self, transport: Any, port: int, tunnel: X2GoRevFwTunnel) -> None:
        with self.lock:
            handler = getattr(transport, "_tcp_handler", None)
            if handler is not None and handler is not x2go_transport_tcp_handler:
                self._others[transport] = handler
            self._tunnels.setdefault(transport, {})[port] = tunnel

    def remove(self, transport: Any, port: int) -> None:
        with self.lock:
            self._tunnels.get(transport, {}).pop(port, None)

    def tunnel(self, transport: Any, port: int) -> X2GoRevFwTunnel | None:
        with self.lock:
            known = self._tunnels.get(transport, {}).get(port)
        return known if known is not None else _published_tunnel(transport, port)

    def other(self, transport: Any) -> Handler | None:
        with self.lock:
            return self._others.get(transport)


def _published_tunnel(transport: Any, port: int) -> X2GoRevFwTunnel | None:
    """The tunnel that an application has put into the transport's own table, as python-x2go's sessions do."""
    for kinds in dict(getattr(transport, "reverse_tunnels", None) or {}).values():
        for known_port, tunnel in kinds.values():
            if known_port == port and isinstance(tunnel, X2GoRevFwTunnel):
                return tunnel
    return None


_ports = _Ports()


def x2go_transport_tcp_handler(chan: Any, origin: Address, server: Address) -> None:
    """Give a connection that came to the server to the tunnel of its port; what paramiko calls for each.

    Args:
        chan: The connection.
        origin: Who connected there.
        server: Where it was accepted.
    """
    transport = chan.get_transport()
    tunnel = _ports.tunnel(transport, server[1])
    other = _ports.other(transport)
    if tunnel is not None:
        tunnel._take(chan, origin)  # noqa: SLF001
    elif other is not None:
        other(chan, origin, server)
    else:
        chan.close()


class X2GoRevFwTunnel(OwnThread):
    """The server listens, connections come out here; a thread, to be started with `start`.

    Args:
        server_port: The port on the server's loopback address; 0 is any.
        remote_host: Where connections come out, as this machine sees it.
        remote_port: The port there.
        ssh_transport: A connected `paramiko.Transport`, or a target.
        session_instance: The session; its ``HOOK_rforward_request_denied`` is told when the server refuses to listen.
        logger: Where to log.
        loglevel: The levels that are logged.

    Attributes:
        server_port: The port on the server; the one that the server chose, once it listens.
        keepalive: Whether the thread goes on.
        open_channels: The connections that are open, by ``[address]:port`` of who connected there.
    """

    def __init__(
        self,
        server_port: int,
        remote_host: str | None,
        remote_port: int | None,
        ssh_transport: Any,
        session_instance: Any = None,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
    ) -> None:
        super().__init__(name="crl-x2go-reverse", daemon=True)
        if not is_transport(ssh_transport) and not hasattr(ssh_transport, "reverse"):
            raise X2GoParameterError(f"{type(ssh_transport).__name__} makes no tunnels from a server")
        self.logger = logger_for(logger, loglevel, "rforward")
        self.server_port = int(server_port)
        self.remote_host = remote_host
        self.remote_port = remote_port
        self.ssh_transport = ssh_transport
        self.session_instance = session_instance
        self.keepalive = True
        self.open_channels: dict[str, X2GoRevFwChannelThread] = {}
        self.incoming_channel = threading.Condition()
        self._waiting: list[tuple[Any, Address]] = []
        self._serving: list[X2GoRevFwChannelThread] = []  # also those that are done and about to end
        self._accepting = True  # whether connections are wanted
        self._listening = False  # whether the server listens
        self._asked = threading.Event()  # whether the server has been asked to
        self._reverse: Any = None  # a target's tunnel

    # Listening there.

    def _request_port_forwarding(self) -> bool:
        """Have the server listen; a port that is still busy is set free and asked for once more."""
        try:
            self._listen()
        except X2GoRevFwTunnelException as first:
            self.cancel_port_forward(SERVER_ADDRESS, self.server_port)
            if not any(map(self._listens_on, self._further_ports())):
                self._denied(first)
                return False
        return True

    def _further_ports(self) -> tuple[int, ...]:
        """The ports that are tried after one on which the server did not listen."""
        return (self.server_port,)

    def _listens_on(self, port: int) -> bool:
        """Whether the server listens on that port."""
        wanted, self.server_port = self.server_port, port
        try:
            self._listen()
        except X2GoRevFwTunnelException:
            self.server_port = wanted
            return False
        return True

    def _listen(self) -> None:
        if not is_transport(self.ssh_transport):
            self._listen_by_target()
            return
        import paramiko

        transport, port = self.ssh_transport, self.server_port
        _ports.add(transport, port, self)  # before the server can send the first connection
        try:
            with _ports.asking(transport):
                chosen = transport.request_port_forward(SERVER_ADDRESS, port, x2go_transport_tcp_handler)
        except (paramiko.SSHException, OSError, EOFError) as error:
            _ports.remove(transport, port)
            raise self._no_listener(str(error)) from error
        if chosen != port:
            _ports.remove(transport, port)
            _ports.add(transport, chosen, self)
            self.server_port = int(chosen)
        self._listening = True

    def _listen_by_target(self) -> None:
        try:
            self._reverse = self.ssh_transport.reverse((SERVER_ADDRESS, self.server_port), self._place_here())
        except (CrlError, OSError) as error:
            raise self._no_listener(str(error)) from error
        self.server_port = int(self._reverse.address[1])
        self._listening = True

    def _place_here(self) -> Any:
        """Where connections come out here, as a target's tunnels name it."""
        if self.remote_host is None or self.remote_port is None:
            raise self._no_listener("a tunnel over a target needs an address here")
        return (self.remote_host, self.remote_port)

    def _no_listener(self, why: str) -> X2GoRevFwTunnelException:
        return X2GoRevFwTunnelException(
            f"the server does not listen on its port {self.server_port}: {why}",
            doing="opening a tunnel from the server",
            advice="see whether the port is free there, and AllowTcpForwarding in its sshd_config",
        )

    def _denied(self, error: X2GoRevFwTunnelException) -> None:
        self.logger(str(error), loglevel=loglevel_WARN)
        hook = getattr(self.session_instance, "HOOK_rforward_request_denied", None)
        if hook is not None:
            hook(server_port=self.server_port)

    def cancel_port_forward(self, address: str, port: int) -> None:
        """Have the server listen no more; one that does not answer is not waited for longer than ten seconds."""
        if not is_transport(self.ssh_transport):
            reverse, self._reverse = self._reverse, None
            if reverse is not None:
                reverse.close()
                reverse.drop()
            return
        _ports.remove(self.ssh_transport, port)
        if not self.ssh_transport.is_active():
            return
        # Not by paramiko's own method, which takes the connections of all other tunnels of the transport away.
        asking = threading.Thread(target=self._ask_to_cancel, args=(address, port), name="crl-x2go-cancel", daemon=True)
        asking.start()
        asking.join(REQUEST_TIMEOUT)
        if asking.is_alive():
            self.logger(f"the server does not answer about its port {port}", loglevel=loglevel_WARN)

    def _ask_to_cancel(self, address: str, port: int) -> None:
        transport = self.ssh_transport
        try:
            with _ports.asking(transport):
                done = transport.global_request("cancel-tcpip-forward", (address, port), wait=True)
        except (OSError, EOFError) as error:  # then it listens no more, for it is gone
            self.logger(f"the server's port {port} is gone with the connection: {error}", loglevel=loglevel_INFO)
            return
        if done is None and transport.is_active():
            self.logger(f"the server had no listener on its port {port}", loglevel=loglevel_INFO)

    def pause(self) -> None:
        """Have the server listen no more, and end the connections that are open."""
        with self.incoming_channel:
            self._accepting = False
            listening, self._listening = self._listening, False
            waiting, self._waiting = self._waiting, []
            open_now = list(self.open_channels.values())
        if listening:
            self.cancel_port_forward(SERVER_ADDRESS, self.server_port)
        for chan, _ in waiting:
            chan.close()
        for thread in open_now:
            thread.stop_thread()

    def resume(self) -> None:
        """Have the server listen again, on the same port.

        Raises:
            X2GoRevFwTunnelException: It does not.
        """
        with self.incoming_channel:
            if self._accepting:
                return
            self._accepting = True
        self._listen()

    # Connections.

    def _take(self, chan: Any, origin: Address) -> None:
        """A connection came; called by paramiko's thread, which must not wait."""
        with self.incoming_channel:
            wanted = self.keepalive and self._accepting
            if wanted:
                self._waiting.append((chan, origin))
                self.incoming_channel.notify_all()
        if not wanted:
            threading.Thread(target=chan.close, name="crl-x2go-refuse", daemon=True).start()

    def wait_listening(self, timeout: float | None) -> bool:
        """Wait until the server listens, or has refused to; whether it listens."""
        self._asked.wait(timeout)
        return self._listening

    def notify(self) -> None:
        """Have the thread look whether there is something to do."""
        with self.incoming_channel:
            self.incoming_channel.notify_all()

    def run(self) -> None:
        """Have the server listen, and start a thread for each connection, until `stop_thread`."""
        try:
            self._request_port_forwarding()
        finally:
            self._asked.set()
        try:
            while True:
                with self.incoming_channel:
                    self.incoming_channel.wait_for(lambda: self._waiting or not self.keepalive)
                    waiting, self._waiting = self._waiting, []
                    if not self.keepalive and not waiting:
                        return
                for chan, origin in waiting:
                    self._begin(chan, origin)
        finally:
            self.pause()

    def _begin(self, chan: Any, origin: Address) -> None:
        name = f"[{origin[0]}]:{origin[1]}"
        thread = self._new_thread(chan)
        with self.incoming_channel:
            wanted = self._accepting
            if wanted:
                self.open_channels[name] = thread
                self._serving = [*(one for one in self._serving if one.is_alive()), thread]
        if not wanted:
            chan.close()
            return
        thread.start()

    def _new_thread(self, chan: Any) -> X2GoRevFwChannelThread:
        return X2GoRevFwChannelThread(
            chan,
            (self.remote_host, self.remote_port),
            target=self._serve,
            kwargs={"chan": chan, "addr": self.remote_host, "port": self.remote_port, "parent_thread": self},
        )

    def _serve(self, **arguments: Any) -> None:
        try:
            self._lead(**arguments)
        finally:
            with self.incoming_channel:
                for name, thread in list(self.open_channels.items()):
                    if thread is threading.current_thread():
                        del self.open_channels[name]

    def _lead(self, **arguments: Any) -> None:
        """Bring one connection to where it comes out, and serve it to its end."""
        x2go_rev_forward_channel_handler(**arguments, logger=self.logger)

    def stop_thread(self) -> None:
        """End the tunnel, its connections and its threads; again is harmless."""
        with self.incoming_channel:
            self.keepalive = False
            self.incoming_channel.notify_all()
        if self.ident is not None and threading.current_thread() is not self:
            self.join(REQUEST_TIMEOUT + END_PATIENCE)
        self.pause()  # when it never ran
        with self.incoming_channel:
            threads = list(self._serving)
        for thread in threads:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join(END_PATIENCE)

    def __del__(self) -> None:
        if "keepalive" in self.__dict__:
            self.stop_thread()


class X2GoRevFwChannelThread(OwnThread):
    """Serves one connection of a reverse tunnel.

    Args:
        channel: The connection.
        remote: Where it comes out here.
        **kwargs: As of `threading.Thread`.
    """

    def __init__(self, channel: Any, remote: tuple[str | None, int | None] | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("name", "crl-x2go-reversed")
        kwargs.setdefault("daemon", True)
        super().__init__(**kwargs)
        self.channel = channel
        self.remote = remote
        self._joint: Joint | None = None

    def stop_thread(self) -> None:
        """Break the connection; the thread ends then."""
        joint = self._joint
        if joint is not None:
            joint.stop()
        self.channel.close()

    def join_with(self, here: socket.socket) -> Joint:
        """Join the connection with a socket here."""
        self._joint = Joint(here, self.channel)
        return self._joint


def x2go_rev_forward_channel_handler(
    chan: Any = None,
    addr: str | None = "",
    port: int | None = 0,
    parent_thread: Any = None,
    logger: X2GoLogger | logging.Logger | None = None,
) -> None:
    """Connect here, and move the bytes of one connection of a reverse tunnel to its end.

    Args:
        chan: The connection from the server.
        addr: Where it comes out, as this machine sees it.
        port: The port there.
        parent_thread: The tunnel.
        logger: Where to log.
    """
    try:
        here = socket.create_connection((str(addr), int(port or 0)), CONNECT_TIMEOUT)
    except OSError as error:
        logger_for(logger, loglevel_DEFAULT, "rforward")(
            f"cannot connect to {addr}:{port} here: {error}", loglevel=loglevel_ERROR
        )
        chan.close()
        return
    here.settimeout(None)
    stream: Stream = chan
    thread = threading.current_thread()
    joint = thread.join_with(here) if isinstance(thread, X2GoRevFwChannelThread) else Joint(here, stream)
    if parent_thread is not None and not parent_thread.keepalive:
        joint.stop()
    joint.run()
