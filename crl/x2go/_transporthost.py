"""A host behind a connection of paramiko: its verbs run over a link in a channel of that connection.

What is opened here are sessions of a connection that somebody has logged in on. It promises that every verb ends by its
timeout, that the end of the connection is one error, told to its owner too, and that `close` leaves nothing but the
connection itself.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import paramiko
from paramiko.agent import AgentRequestHandler

from crl.channels.base import Channel, ChannelStartError
from crl.channels.ssh.errors import SshLoginError
from crl.deadlines import Deadline
from crl.errors import CrlError
from crl.interactivesessions._spawn import ChannelSpawn
from crl.interactivesessions.runnerexceptions import SessionInitializationFailed
from crl.interactivesessions.shells._lines import COLUMNS, ROWS
from crl.interactivesessions.shells.paramikospawn import BridgedChannel, ParamikoSpawn
from crl.interactivesessions.shells.ssherrors import as_ssh_error
from crl.interactivesessions.shells.sshshell import SshShell
from crl.link import LinkLost
from crl.targets import Target
from crl.x2go.x2go_exceptions import X2GoControlSessionException

if TYPE_CHECKING:
    from crl.x2go._host import CommandChannel, ReverseTunnel, RunAnswer, Tunnel

__all__ = ["TransportHost", "TransportShell"]

CHANNEL_PATIENCE = 15.0


class _PatientEvent(threading.Event):
    """An event that is waited for with a limit, even by paramiko, which gives none."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait; TimeoutError when nothing happens within the limit."""
        if not super().wait(CHANNEL_PATIENCE if timeout is None else timeout):
            raise TimeoutError("the host did not answer in time")
        return True


class TransportShell(SshShell):
    """A shell in a session of a connection that is there already.

    Args:
        transport: The connection, logged in.
        name: The host's name, for texts.
        forward_agent: Whether the user's agent can be used there.
    """

    logs_in = False

    def __init__(self, transport: paramiko.Transport, name: str, *, forward_agent: bool = False) -> None:
        super().__init__(name, backend="paramiko", config="none", lane_change=False)
        self._connection = transport
        self._forward_agent = forward_agent

    def find_door(self) -> None:
        """No host is called: the connection is there."""

    def _spawn_by_paramiko(self, deadline: Deadline) -> ChannelSpawn:
        """Open a session of the connection and start what the host is to run."""
        patience = deadline.sooner(CHANNEL_PATIENCE).remaining() or 0.0
        channel: paramiko.Channel | None = None
        try:
            channel = self._open_session(patience)
            command = self._remote_command() or "exec /bin/sh"
            if not self._gets_terminal(channel):
                channel = self._open_session(patience)
                command += " 2>&1"  # in one stream, as with a terminal
            self._asked_at = time.monotonic()
            channel.exec_command(command)
        except (paramiko.SSHException, OSError, EOFError) as error:
            if channel is not None:
                channel.close()
            ended = not self._connection.is_active()
            raise as_ssh_error(
                SshLoginError(
                    "the connection has ended" if ended else f"no session was opened: {error or type(error).__name__}",
                    host=self.host,
                    doing="opening a session",
                    definite=ended,
                    advice=None if ended else "look at MaxSessions and ForceCommand in the host's sshd_config",
                )
            ) from error
        spawn = ParamikoSpawn(channel, timeout=self.start_timeout)
        spawn.beside = self._run_beside
        return spawn

    def _run_beside(self, command: str, deadline: Deadline) -> Channel:
        """Run a command without a terminal in another session of the connection."""
        patience = deadline.sooner(CHANNEL_PATIENCE).remaining() or 0.0
        channel: paramiko.Channel | None = None
        try:
            channel = self._open_session(patience)
            channel.exec_command(command)
        except (paramiko.SSHException, OSError, EOFError) as error:
            if channel is not None:
                channel.close()
            raise ChannelStartError(
                f"the host opens no further session: {error or type(error).__name__}",
                host=self.host,
                doing="opening a channel beside the terminal",
            ) from error
        return BridgedChannel(channel)

    def _open_session(self, patience: float) -> paramiko.Channel:
        channel = self._connection.open_session(timeout=patience)
        channel.event = _PatientEvent()
        if self._forward_agent:
            AgentRequestHandler(channel)
        return channel

    def _gets_terminal(self, channel: paramiko.Channel) -> bool:
        """Whether a session has a terminal now; a key with ``no-pty``, as session brokers make them, gets it none."""
        try:
            channel.get_pty("dumb", COLUMNS, ROWS)
        except paramiko.SSHException:
            if not self._connection.is_active():
                raise
            channel.close()
            return False
        return True


class TransportHost:
    """A host as the X2Go client sees it (`crl.x2go._host.Host`), over a connection of paramiko.

    Args:
        transport: The connection, logged in; it stays its maker's.
        name: The host's name, for texts.
        on_loss: Called once, with the error, when a verb found that the connection has ended.
        forward_agent: Whether the user's agent can be used there.
    """

    def __init__(
        self,
        transport: paramiko.Transport,
        name: str,
        on_loss: Callable[[X2GoControlSessionException], object],
        *,
        forward_agent: bool = False,
    ) -> None:
        self._transport = transport
        shell = TransportShell(transport, name, forward_agent=forward_agent)
        self._target = Target(shell, name=name, max_tries=1)
        self._on_loss = on_loss
        self._lost = threading.Lock()
        self.python = _Python(self)

    @property
    def name(self) -> str:
        """The host's name."""
        return self._target.name

    @property
    def alive(self) -> bool:
        """Whether the connection is open and logged in, as far as is known."""
        return self._transport.is_active() and self._transport.is_authenticated()

    def run(
        self,
        command: Sequence[str],
        *,
        timeout: float | None = 60.0,
        env: Mapping[str, str] | None = None,
        input: str | bytes | None = None,  # noqa: A002 - the name of subprocess.run
    ) -> RunAnswer:
        """Run a command to its end."""
        with self._noticing("running a command"):
            return self._target.run(command, timeout=timeout, env=env, input=input)

    def start(self, command: Sequence[str], *, env: Mapping[str, str] | None = None, detached: bool = False) -> object:
        """Start a command; a detached one outlives the connection."""
        with self._noticing("starting a command"):
            return self._target.start(command, env=env, detached=detached)

    def open_channel(
        self, words: Sequence[str], timeout: float = CHANNEL_PATIENCE, *, connect: bool = True
    ) -> CommandChannel:
        """Run a command in a channel of its own."""
        with self._noticing("running a command beside the link"):
            return self._target.open_channel(words, timeout, connect=connect)

    def connect_socket(self, address: Any, timeout: float = 10.0) -> socket.socket:
        """A socket here joined to an address there."""
        with self._noticing("connecting to an address there"):
            return self._target.connect_socket(address, timeout)

    def forward(self, address: Any, listen: Any = ("127.0.0.1", 0), /) -> Tunnel:
        """Listen here, and connect to `address` there for each connection."""
        with self._noticing("making a tunnel"):
            return self._target.forward(address, listen)

    def reverse(self, listen: Any, address: Any, /) -> ReverseTunnel:
        """Listen there, and connect to `address` here for each connection."""
        with self._noticing("making a tunnel from there"):
            return self._target.reverse(listen, address)

    def evaluate(self, source: str, timeout: float | None) -> Any:
        """The value of an expression of the host's Python."""
        with self._noticing("asking the host"):
            return self._target.python.eval(source, timeout)

    def connect(self, timeout: float | None) -> None:
        """Open the link now, so that the first verb need not."""
        with self._noticing("opening a session"):
            self._target.connect(timeout)

    def close(self) -> None:
        """End the link and what it has under way; the connection stays."""
        self._target.close()

    @contextlib.contextmanager
    def _noticing(self, doing: str) -> Iterator[None]:
        """Turn the end of the connection into one error, and tell the owner."""
        try:
            yield
        except (LinkLost, SessionInitializationFailed) as error:
            if self.alive and isinstance(error, SessionInitializationFailed):
                raise X2GoControlSessionException(
                    f"the host does not work with us: {_reason(error)}", host=self.name, doing=doing
                ) from error
            lost = X2GoControlSessionException(
                "the connection to the server was lost",
                host=self.name,
                doing=doing,
                advice="connect again; sessions are then suspended, and can be resumed",
            )
            self._on_loss(lost)
            raise lost from error


def _reason(error: SessionInitializationFailed) -> object:
    cause = error.args[0] if error.args else error
    return cause.message if isinstance(cause, CrlError) else cause


class _Python:
    """The host's Python, as a display and the server's helpers use it."""

    def __init__(self, host: TransportHost) -> None:
        self._host = host

    def eval(self, source: str, timeout: float | None = None) -> Any:
        """The value of an expression, evaluated on the host."""
        return self._host.evaluate(source, timeout)
