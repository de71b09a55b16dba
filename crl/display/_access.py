"""How a display is reached: its sockets and the cookie, on a target or on this machine.

`Dialer` is what a display needs to open any number of connections. This module knows a target only by two verbs, and
leaves nothing behind on it.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, Protocol

from crl.deadlines import Deadline
from crl.display.errors import DisplayError, DisplayTimeout, NoSuchDisplay
from crl.display.names import DisplayName
from crl.display.xauthority import choose_cookie, parse_xauthority
from crl.link import TunnelError

__all__ = ["Auth", "Dialer", "DisplayHost", "LocalDialer", "PythonRoot", "TargetDialer"]

Auth = tuple[bytes, bytes]
NO_AUTH: Auth = (b"", b"")
CONNECT_TIMEOUT = 10.0

# On the target, Python 2.7 or 3: the host's name and the content of the Xauthority file; bytearrays are bytes on both.
_READ_ACCESS = (
    "(lambda o, s, p: [s.gethostname(), bytearray(open(p, 'rb').read()) if o.path.isfile(p) else bytearray()])"
    "(__import__('os'), __import__('socket'), __import__('os').path.expanduser({path}))"
)


class PythonRoot(Protocol):
    """What is used of ``target.python``."""

    def eval(self, source: str, timeout: float | None = None) -> Any:
        """The value of an expression, evaluated on the target within `timeout` seconds."""


class DisplayHost(Protocol):
    """What a display uses of a target."""

    @property
    def name(self) -> str:
        """The target's name, for error texts."""

    @property
    def python(self) -> PythonRoot:
        """The target's Python."""

    def connect_socket(self, address: Any, timeout: float = ...) -> socket.socket:
        """A socket here joined to an address there."""


class Dialer(Protocol):
    """Opens connections to one X server."""

    @property
    def host(self) -> str:
        """Name of the machine, for error texts."""

    def cookie(self, name: DisplayName, xauthority: str | None) -> Auth:
        """Authorisation protocol and data for the display; both empty when there are none."""

    def dial(self, name: DisplayName, deadline: Deadline) -> socket.socket:
        """A socket joined to the display's.

        Raises:
            NoSuchDisplay: Nothing listens there.
            DisplayTimeout: The deadline has passed.
        """


class TargetDialer:
    """Reaches a display of a target through its link."""

    def __init__(self, target: DisplayHost) -> None:
        self._target = target

    @property
    def host(self) -> str:
        """The target's name."""
        return self._target.name

    def cookie(self, name: DisplayName, xauthority: str | None) -> Auth:
        """Read the file on the target, by default ``~/.Xauthority`` of the user that the target's shell is."""
        source = _READ_ACCESS.format(path=ascii(xauthority or "~/.Xauthority"))
        hostname, content = self._target.python.eval(source, CONNECT_TIMEOUT)
        return choose_cookie(parse_xauthority(bytes(content)), str(hostname), name.number) or NO_AUTH

    def dial(self, name: DisplayName, deadline: Deadline) -> socket.socket:
        """Join the socket in the file system, else the abstract one."""
        reasons = []
        for address in name.addresses:
            left = deadline.remaining()
            try:
                return self._target.connect_socket(address, CONNECT_TIMEOUT if left is None else left)
            except (OSError, TunnelError) as error:
                reasons.append(error.message if isinstance(error, TunnelError) else str(error))
        raise _no_connection(name, self.host, reasons, deadline)


class LocalDialer:
    """Reaches a display of this machine."""

    host = "this machine"

    def cookie(self, name: DisplayName, xauthority: str | None) -> Auth:
        """Read the file, by default ``~/.Xauthority``."""
        path = Path(xauthority or "~/.Xauthority").expanduser()
        content = path.read_bytes() if path.is_file() else b""
        return choose_cookie(parse_xauthority(content), socket.gethostname(), name.number) or NO_AUTH

    def dial(self, name: DisplayName, deadline: Deadline) -> socket.socket:
        """Connect to the socket in the file system, else to the abstract one."""
        reasons = []
        for address in name.addresses:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.settimeout(deadline.remaining())
                sock.connect(address)
                sock.settimeout(None)
            except OSError as error:
                sock.close()
                reasons.append(str(error))
            else:
                return sock
        raise _no_connection(name, self.host, reasons, deadline)


def _no_connection(name: DisplayName, host: str, reasons: list[str], deadline: Deadline) -> DisplayError:
    if deadline.expired:  # what was heard so far may come of that alone
        return DisplayTimeout(
            f"the X server of {name} was not reached in time", host=host, doing="connecting to a display"
        )
    return NoSuchDisplay(
        f"no X server answers on {name}: {'; '.join(dict.fromkeys(reasons))}",
        host=host,
        doing="connecting to a display",
        advice="see which displays there are: ls /tmp/.X11-unix",
    )
