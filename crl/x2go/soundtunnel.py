"""The way of sound from a session to the sound server of this machine.

`X2GoRevFwTunnelToAudio` has the X2Go server listen, as every reverse tunnel, and leads what comes to a door on this
machine: a socket that only its user can reach, behind which a gate (`crl.x2go._soundgate`) lets through what plays
sound for whoever shows the cookie of the session. It knows transports and targets as `crl.x2go.rforward` does, and
promises that the sound server's own cookie stays here and that `stop_thread` leaves no thread, socket or file.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from typing import Any

from crl.errors import CrlError
from crl.x2go._ends import Joint
from crl.x2go._soundgate import COOKIE_LENGTH, SoundGate
from crl.x2go._soundserver import GuardedStream, SoundServer, find_sound_server
from crl.x2go.forward import X2GoFwServer
from crl.x2go.log import X2GoLogger, loglevel_DEFAULT, loglevel_ERROR, loglevel_WARN
from crl.x2go.rforward import X2GoRevFwChannelThread, X2GoRevFwTunnel
from crl.x2go.x2go_exceptions import X2GoSoundException

__all__ = ["SoundDoor", "X2GoRevFwTunnelToAudio"]


class _Behind:
    """What is behind a door: the sound server, as something that makes connections."""

    def __init__(
        self, server: SoundServer, cookie: bytes, *, microphone: bool, tell: Callable[[str], object]
    ) -> None:
        self.server = server
        self._cookie = cookie
        self._microphone = microphone
        self._tell = tell

    def connect_socket(self, address: Any, timeout: float) -> GuardedStream:  # noqa: ARG002 - there is one address
        """A guarded connection to the sound server."""
        try:
            sock = self.server.connect(timeout)
        except X2GoSoundException as error:
            raise error from None  # else who is refused would be asked again for seconds, while a program waits
        sock.settimeout(None)
        gate = SoundGate(self._cookie, self.server.cookie, microphone=self._microphone)
        return GuardedStream(sock, gate, self._tell)


class SoundDoor(X2GoFwServer):
    """Listens on this machine, and leads to the sound server who knows the session's cookie.

    Args:
        server: The sound server.
        cookie: The session's cookie.
        microphone: Whether the session may record.
        session_instance: The session; its ``HOOK_on_sound_tunnel_failed`` is told, once, when the sound server is gone.
        logger: Where to log.
        loglevel: The levels that are logged.
    """

    def __init__(
        self,
        server: SoundServer,
        cookie: bytes,
        *,
        microphone: bool = False,
        session_instance: Any = None,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
    ) -> None:
        self._folder = tempfile.mkdtemp(prefix="crl-sound-")
        unix = hasattr(socket, "AF_UNIX")
        super().__init__(
            os.path.join(self._folder, "door") if unix else ("127.0.0.1", 0),
            "127.0.0.1",
            0,
            _Behind(server, cookie, microphone=microphone, tell=self._tell_refusal),
            session_instance=session_instance,
            subsystem="Sound",
            logger=logger,
            loglevel=loglevel,
        )
        self._told = False

    def _tell_refusal(self, text: str) -> None:
        self.logger(text, loglevel=loglevel_WARN)

    def _report(self, failure: CrlError | None) -> None:
        self.failed = True
        reason = failure if failure is None else failure.__cause__ or failure
        self.logger(f"no sound: {reason}", loglevel=loglevel_ERROR)
        hook = getattr(self.session_instance, "HOOK_on_sound_tunnel_failed", None)
        if hook is not None and not self._told:
            self._told = True
            hook()

    def stop(self) -> None:
        """As of every forwarding server; the folder of the socket goes too."""
        super().stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    close = stop


class X2GoRevFwTunnelToAudio(X2GoRevFwTunnel):
    """The server listens; sound comes out at the sound server of this machine. A thread, to be started with `start`.

    Args:
        server_port: The port on the server's loopback address; 0 is any.
        ssh_transport: A connected `paramiko.Transport`, or a target.
        sound_server: The sound server; None looks for the user's own.
        cookie: The session's cookie, 256 bytes; None makes one.
        microphone: Whether the session may record.
        any_port: Whether any other port will do where somebody else has that one.
        session_instance: The session; its ``HOOK_rforward_request_denied`` and ``HOOK_on_sound_tunnel_failed`` are told
            what goes wrong.
        logger: Where to log.
        loglevel: The levels that are logged.

    Raises:
        X2GoSoundException: This machine has no sound server.

    Attributes:
        cookie: What a program on the server has to show.
    """

    def __init__(
        self,
        server_port: int,
        ssh_transport: Any,
        sound_server: SoundServer | None = None,
        *,
        cookie: bytes | None = None,
        microphone: bool = False,
        any_port: bool = False,
        session_instance: Any = None,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
    ) -> None:
        self.sound_server = sound_server or find_sound_server()
        self.cookie = cookie or secrets.token_bytes(COOKIE_LENGTH)
        self._any_port = any_port
        super().__init__(
            server_port, None, None, ssh_transport, session_instance=session_instance, logger=logger, loglevel=loglevel
        )
        self._door = SoundDoor(
            self.sound_server,
            self.cookie,
            microphone=microphone,
            session_instance=session_instance,
            logger=self.logger,
        )

    def run(self) -> None:
        """As of every reverse tunnel, with the door."""
        try:
            self._door.start()
            super().run()
        except OSError as error:
            self.logger(f"no sound: this machine cannot listen: {error}", loglevel=loglevel_ERROR)
        finally:
            self._asked.set()
            self._door.stop()

    def _further_ports(self) -> tuple[int, ...]:
        return (*super()._further_ports(), 0) if self._any_port else super()._further_ports()

    def _place_here(self) -> Any:
        return self._door.address

    def _lead(self, **arguments: Any) -> None:
        """Lead one connection of a transport to the door."""
        chan = arguments["chan"]
        try:
            here = self._knock()
        except OSError as error:
            self.logger(f"no sound: {error}", loglevel=loglevel_WARN)
            chan.close()
            return
        thread = threading.current_thread()
        joint = thread.join_with(here) if isinstance(thread, X2GoRevFwChannelThread) else Joint(here, chan)
        if not self.keepalive:
            joint.stop()
        joint.run()

    def _knock(self) -> socket.socket:
        address = self._door.address
        if not isinstance(address, str):
            return socket.create_connection(address)
        here = socket.socket(socket.AF_UNIX)
        try:
            here.connect(address)
        except BaseException:
            here.close()
            raise
        return here

    def stop_thread(self) -> None:
        """End the tunnel, its connections, its threads and the door; again is harmless."""
        super().stop_thread()
        with contextlib.suppress(OSError):  # when it never ran, there is only the folder
            self._door.stop()
