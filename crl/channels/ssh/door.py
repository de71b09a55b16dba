"""Whether an SSH server is there yet: its door, looked at without a login.

This module knows TCP and that a server speaks first, and nothing of keys and users. It promises that a look is one
connection that ends within a quarter of a second, so that a host on its way up is noticed when its server greets.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Final, Self

from crl.channels.ssh.resolve import resolve
from crl.channels.ssh.settings import SshSettings
from crl.errors import RemoteWorldError, UsageError

__all__ = ["LOOK_SECONDS", "Door"]

LOOK_SECONDS: Final = 0.25


@dataclass(frozen=True)
class Door:
    """The TCP port at which the way of a login begins.

    Attributes:
        host: Name or address.
        port: The port.
    """

    host: str
    port: int

    @classmethod
    def find(cls, settings: SshSettings) -> Self | None:
        """The door of a login: the first host's on its way; None where a command makes the connection.

        Args:
            settings: What the user said.
        """
        try:
            target = resolve(settings)
        except (RemoteWorldError, UsageError):
            return None  # A login says what is wrong.
        first = (*target.jumps, target)[0]
        return None if first.proxy_command is not None else cls(first.hostname, first.port)

    def is_open(self) -> bool:
        """Whether a server greets there now."""
        try:
            with socket.create_connection((self.host, self.port), LOOK_SECONDS) as connection:
                connection.settimeout(LOOK_SECONDS)
                return bool(connection.recv(1))
        except (OSError, UnicodeError):  # also a name that can be none
            return False
