"""The sound server of this machine that sessions play on: where it is, and what lets one in.

`SoundServer` is an address with a cookie; `find_sound_server` looks where PulseAudio's own programs look, and speaks
with what it finds before it is believed. The module knows no sessions and starts nothing.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from crl.x2go._ends import Address
from crl.x2go._soundgate import COOKIE_LENGTH, SoundGate, SoundGateRefused, auth_message, auth_reply
from crl.x2go.x2go_exceptions import X2GoParameterError, X2GoSoundException

__all__ = ["NATIVE_PORT", "GuardedStream", "SoundServer", "find_sound_server"]

NATIVE_PORT = 4713
CONNECT_TIMEOUT = 5.0
_DOING = "looking for the sound server of this machine"


@dataclass(frozen=True)
class SoundServer:
    """A sound server that speaks PulseAudio's native protocol: PulseAudio itself, or pipewire-pulse.

    Args:
        address: ``(host, port)``, or the path of a unix socket.
        cookie: What lets us in; 256 bytes. A unix socket of the user's own needs none.
    """

    address: Address | str
    cookie: bytes = field(default=bytes(COOKIE_LENGTH), repr=False)

    @classmethod
    def parse(cls, text: str) -> SoundServer:
        """A sound server by what ``PULSE_SERVER`` says: ``unix:/path``, ``/path``, ``tcp:host:port``, ``host``.

        Raises:
            X2GoParameterError: It says nothing of the kind.
        """
        words = text.split()
        name = words[0] if words else ""
        if name.startswith("{"):  # valid on one machine only
            name = name.partition("}")[2]
        if name.startswith(("unix:", "/")):
            return cls(name.removeprefix("unix:"), _user_cookie())
        bare = name.removeprefix("tcp4:").removeprefix("tcp6:").removeprefix("tcp:")
        host, colon, port = bare.rpartition(":")
        if not colon or "]" in port:
            host, port = bare, str(NATIVE_PORT)
        if not host or not port.isdigit() or int(port) > 65535:
            raise X2GoParameterError(f"{text!r} names no sound server", advice="for example 'tcp:127.0.0.1:4713'")
        return cls((host.strip("[]"), int(port)), _user_cookie())

    def connect(self, timeout: float = CONNECT_TIMEOUT) -> socket.socket:
        """A plain connection to it.

        Raises:
            X2GoSoundException: Nobody answers there.
        """
        sock: socket.socket | None = None
        try:
            if not isinstance(self.address, str):
                return socket.create_connection(self.address, timeout)
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(timeout)
            sock.connect(self.address)
        except OSError as error:
            if sock is not None:
                sock.close()
            raise X2GoSoundException(
                f"no sound server answers at {self}: {error.strerror or error}",
                host="this machine",
                doing="connecting to the sound server",
                advice="start it, or give sound_server= its address",
            ) from error
        return sock

    def check(self, timeout: float = CONNECT_TIMEOUT) -> None:
        """Make sure that it is a sound server and lets us in.

        Raises:
            X2GoSoundException: It is not, or does not.
        """
        with self.connect(timeout) as sock:
            try:
                sock.settimeout(timeout)
                sock.sendall(auth_message(self.cookie))
                let_in = _read_reply(sock)
            except OSError as error:
                raise self._strange(str(error)) from error
        if not let_in:
            raise X2GoSoundException(
                f"the sound server at {self} does not let us in",
                host="this machine",
                doing=_DOING,
                advice="it wants the cookie of its user: see PULSE_COOKIE and ~/.config/pulse/cookie",
            )

    def _strange(self, why: str) -> X2GoSoundException:
        return X2GoSoundException(f"what is at {self} is no sound server: {why}", host="this machine", doing=_DOING)

    def __str__(self) -> str:
        return self.address if isinstance(self.address, str) else f"{self.address[0]} port {self.address[1]}"


def _read_reply(sock: socket.socket) -> bool:
    data = b""
    while True:
        piece = sock.recv(4096)
        if not piece:
            raise SoundGateRefused("it ends the connection")
        data += piece
        let_in = auth_reply(data)
        if let_in is not None:
            return let_in


def _user_cookie() -> bytes:
    """The cookie of this user's sound server; zeros when there is none."""
    home = Path.home()
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    given = os.environ.get("PULSE_COOKIE")
    for path in (*([Path(given)] if given else []), config / "pulse" / "cookie", home / ".pulse-cookie"):
        with contextlib.suppress(OSError):
            data = path.read_bytes()
            if len(data) == COOKIE_LENGTH:
                return data
    return bytes(COOKIE_LENGTH)


def _places(port: int) -> list[SoundServer]:
    """Where a sound server may be, the surest first."""
    found = []
    named = os.environ.get("PULSE_SERVER")
    if named:
        found.append(SoundServer.parse(named))
    cookie = _user_cookie()
    found.append(SoundServer(("127.0.0.1", port), cookie))
    if hasattr(socket, "AF_UNIX"):
        runtime = os.environ.get("XDG_RUNTIME_DIR")
        folders = [os.environ.get("PULSE_RUNTIME_PATH"), runtime and os.path.join(runtime, "pulse")]
        found += [SoundServer(os.path.join(folder, "native"), cookie) for folder in folders if folder]
    return found


def find_sound_server(port: int = NATIVE_PORT) -> SoundServer:
    """This user's sound server: as ``PULSE_SERVER`` says, on a TCP port of this machine, or on its unix socket.

    Args:
        port: The TCP port.

    Raises:
        X2GoSoundException: There is none; the text says where it was looked for.
        X2GoParameterError: ``PULSE_SERVER`` names none.
    """
    failures = []
    for place in _places(port):
        try:
            place.check()
        except X2GoSoundException as error:
            failures.append(error.message)
        else:
            return place
    raise X2GoSoundException(
        f"this machine has no sound server: {'; '.join(failures)}",
        host="this machine",
        doing=_DOING,
        advice="start PulseAudio or PipeWire, or one for this purpose: sound_server=X2GoPulseAudio(…)",
    )


class GuardedStream:
    """A connection to the sound server that takes only what a session may say.

    Args:
        sock: The connection; it becomes the stream's.
        gate: What lets through.
        tell: Called with a sentence on what was not let through; once for each connection.
    """

    def __init__(self, sock: socket.socket, gate: SoundGate, tell: Callable[[str], object]) -> None:
        self._sock = sock
        self._gate = gate
        self._tell = tell
        self._told = False

    def recv(self, size: int, /) -> bytes:
        """As of a socket."""
        return self._sock.recv(size)

    def sendall(self, data: bytes, /) -> None:
        """Pass on what may be said."""
        try:
            passed = self._gate.feed(data)
        except SoundGateRefused as error:
            self._tell(f"a connection to the sound server was refused: {error}")
            raise
        if self._gate.refused and not self._told:
            self._told = True
            self._tell("a program of the session was refused what is not playing sound")
        if passed:
            self._sock.sendall(passed)

    def shutdown(self, how: int, /) -> None:
        """As of a socket."""
        self._sock.shutdown(how)

    def close(self) -> None:
        """End it, also for who waits for it."""
        with contextlib.suppress(OSError):  # it has ended already
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
