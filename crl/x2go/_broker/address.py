"""Where a session broker is: its URL, taken apart and without credentials.

Pure functions over texts. A URL that means nothing certain is refused, and what is printed of one has no password.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

from crl.secrets import Secret, to_secret
from crl.x2go.x2go_exceptions import X2GoParameterError

__all__ = ["DEFAULT_PROGRAM", "BrokerAddress", "parse_address"]

DEFAULT_PROGRAM: Final = "/usr/bin/x2gobroker-ssh"
_PORTS: Final = {"http": 80, "https": 443, "ssh": 22}
_PROGRAM: Final = re.compile(r"/[\w./+-]+", re.ASCII)
_HOST: Final = re.compile(r"[A-Za-z0-9_](?:[\w.-]*\w)?\.?", re.ASCII)
_ADVICE: Final = "write https://host/json/, https://host/plain/ or ssh://user@host/usr/bin/x2gobroker-ssh"


@dataclass(frozen=True)
class BrokerAddress:
    """Where a broker is.

    Attributes:
        scheme: ``https``, ``http`` or ``ssh``.
        host: Its name or address; one of IPv6 without brackets.
        port: The port.
        path: The path of the URL; over SSH the program.
        username: The user that the URL named.
        password: The password that the URL had.
    """

    scheme: str
    host: str
    port: int
    path: str
    username: str | None = None
    password: Secret | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """The URL without credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"

    @property
    def is_plain(self) -> bool:
        """Whether it speaks plain text and not JSON."""
        return self.scheme == "ssh" or "plain" in self.path.split("/")

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine, so that nobody else sees what is said."""
        if self.host in ("localhost", "localhost.localdomain"):
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_address(url: str) -> BrokerAddress:
    """Take a broker's URL apart.

    Raises:
        X2GoParameterError: It is none.
    """
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError as error:
        raise _refusal(url, str(error)) from error
    if scheme not in _PORTS:
        raise _refusal(url, f"the scheme {scheme!r} is none of {', '.join(_PORTS)}")
    if not host or not _is_host(host):
        raise _refusal(url, "it names no host")
    if parts.query or parts.fragment:
        raise _refusal(url, "it has a query or a fragment")
    path = _path_of(url, scheme, parts.path)
    name = unquote(parts.username) if parts.username else None
    password = to_secret(unquote(parts.password)) if parts.password else None
    return BrokerAddress(scheme, host, _PORTS[scheme] if port is None else port, path, name, password)


def _path_of(url: str, scheme: str, path: str) -> str:
    if scheme != "ssh":
        return "/json/" if path in ("", "/") else path
    program = DEFAULT_PROGRAM if path in ("", "/") else path
    if not _PROGRAM.fullmatch(program):
        raise _refusal(url, "the path of the broker's program has characters that a shell would act on")
    return program


def _is_host(host: str) -> bool:
    if _HOST.fullmatch(host):
        return True
    try:
        return bool(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return False


def _refusal(url: str, why: str) -> X2GoParameterError:
    shown = re.sub(r"//[^/@]*@", "//…@", url)
    return X2GoParameterError(f"{shown!r} is no URL of a session broker: {why}", advice=_ADVICE)
