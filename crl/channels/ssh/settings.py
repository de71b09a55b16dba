"""What a user says about one SSH login: whom, where, with which key, and how host keys are treated.

Both backends read the same settings. No secret is among them: passwords are handed over separately, and only where a
login asks for them.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias, cast

from crl.errors import UsageError

__all__ = ["NO_CONFIG", "HostKeyPolicy", "SshSettings", "host_key_policy"]

HostKeyPolicy: TypeAlias = Literal["verify", "accept-new", "off"]

NO_CONFIG: Final = "none"
POLICY_VARIABLE: Final = "CRL_HOST_KEYS"
_POLICIES: Final = ("verify", "accept-new", "off")

# Host and user names end up in ProxyCommand lines that a shell reads, so what a shell could take for more is refused.
_HOST: Final = re.compile(r"[A-Za-z0-9_.:%\[\]][-A-Za-z0-9_.:%\[\]]*")
_USER: Final = re.compile(r"[A-Za-z0-9_.+@\\][-A-Za-z0-9_.+@\\$]*")
_PLACE: Final = re.compile(
    r"(?:\[(?P<six>[^]]+)]|(?P<name>[^:]+)|(?P<bare>[^][]*:[^][]*:[^][]*))(?::(?P<port>\d{1,9}))?"
)


def host_key_policy(value: str | None) -> HostKeyPolicy:
    """The host key policy that a user means.

    Args:
        value: ``"verify"`` (an unknown or changed key ends the login), ``"accept-new"`` (an unknown key is written to
            the known_hosts file, a changed one ends the login) or ``"off"`` (any key will do, nothing is written). None
            is what the variable CRL_HOST_KEYS says, else ``"verify"``.

    Raises:
        UsageError: It is something else.
    """
    source = "host_keys" if value is not None else POLICY_VARIABLE
    chosen = value if value is not None else os.environ.get(POLICY_VARIABLE) or "verify"
    if chosen not in _POLICIES:
        raise UsageError(f"{source} is {chosen!r}", advice=f"use one of {', '.join(_POLICIES)}")
    return cast(HostKeyPolicy, chosen)


@dataclass(frozen=True)
class SshSettings:
    """One SSH login.

    Args:
        host: Host name, address, or an alias of the ssh configuration.
        user: Login name; None is what the configuration says.
        port: TCP port; None is what the configuration says.
        identity: Path of a private key; then no other key is offered.
        config: Path of an ssh configuration; None is the user's own, ``"none"`` is no configuration at all.
        known_hosts: Path of a known_hosts file that is used instead of the configured ones.
        host_keys: ``"verify"``, ``"accept-new"`` or ``"off"``; None is the variable CRL_HOST_KEYS, else ``"verify"``.
        jump: Hosts to go through, the first one first, each ``[user@]host[:port]`` or an alias; empty is what the
            configuration says.
        connect_timeout: Seconds until the TCP connection and the host's greeting must be there.
        options: Further options in ssh's own words, each ``"Name=value"``; the first one of a name wins.

    Raises:
        UsageError: A value is impossible, or could be read as more than it says.
    """

    host: str
    user: str | None = None
    port: int | None = None
    identity: str | os.PathLike[str] | None = None
    config: str | os.PathLike[str] | None = None
    known_hosts: str | os.PathLike[str] | None = None
    host_keys: str | None = None
    jump: tuple[str, ...] = ()
    connect_timeout: float = 15.0
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _HOST.fullmatch(self.host):
            raise UsageError(f"{self.host!r} cannot be the name of a host")
        if self.user is not None and not _USER.fullmatch(self.user):
            raise UsageError(f"{self.user!r} cannot be a login name", host=self.host)
        if self.port is not None and not 0 < self.port < 65536:
            raise UsageError(f"{self.port} cannot be a TCP port", host=self.host)
        if self.connect_timeout <= 0:
            raise UsageError(f"connect_timeout is {self.connect_timeout}, it must be above 0", host=self.host)
        for option in self.options:
            if "=" not in option or "\n" in option:
                raise UsageError(f"the ssh option {option!r} is not of the form Name=value", host=self.host)
        object.__setattr__(self, "host_keys", host_key_policy(self.host_keys))
        object.__setattr__(self, "jump", tuple(self.jump))
        for hop in self.jump:
            parse_hop(hop)

    @property
    def policy(self) -> HostKeyPolicy:
        """How host keys are treated."""
        return host_key_policy(self.host_keys)

    @property
    def known_hosts_file(self) -> Path:
        """The file where accepted keys belong, for advice: the one named, or the user's own."""
        return Path(self.known_hosts) if self.known_hosts is not None else Path("~/.ssh/known_hosts")


def parse_hop(text: str) -> tuple[str | None, str, int | None]:
    """Take ``[user@]host[:port]``, also with an IPv6 address in brackets or as ssh:// address, apart.

    Returns:
        User or None, host, port or None.

    Raises:
        UsageError: It is not of that form.
    """
    text = text.removeprefix("ssh://").rstrip("/")
    user, _, place = text.rpartition("@")
    match = _PLACE.fullmatch(place)
    host = match and (match["six"] or match["name"] or match["bare"])
    if match is None or not host or not _HOST.fullmatch(host) or (user and not _USER.fullmatch(user)):
        raise UsageError(f"{text!r} cannot be a hop", advice="write it as [user@]host[:port]")
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 0 < port < 65536:
        raise UsageError(f"{text!r} cannot be a hop: {port} is no TCP port")
    return user or None, host, port
