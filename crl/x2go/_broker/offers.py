"""What of a broker's answers is acted upon: profiles with options of the right types, and servers that are not foreign.

A broker is a stranger that says where to log in and what to run there. Texts with control characters, names of hosts
and users that a shell would act on, and commands that are more than one are refused; what would open this machine to
the server (shared folders, the agent, key files) is left out unless the user trusts the broker with it. Of the outside
world the module asks one thing, the addresses of names, and only when a server is chosen by an address.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import re
import socket
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from crl.x2go._broker.answers import MAX_TEXT, printable, refuse_answer
from crl.x2go._inivalues import TRUTH
from crl.x2go.backends.profiles._options import exports_from_text, words
from crl.x2go.defaults import session_profile_defaults
from crl.x2go.x2go_exceptions import X2GoBrokerAnswerRefused, X2GoBrokerConnectionException

__all__ = ["OF_THIS_MACHINE", "addresses_of", "checked_profiles", "is_host", "require_host"]

OF_THIS_MACHINE: Final = frozenset(
    {
        "export", "key", "sshproxykeyfile", "forwardsshagent", "krbdelegation", "usemimebox", "directrdpsettings",
        "directxdmcpsettings", "rdpclient", "xdmcpclient",
    }
)  # fmt: skip
"""Options that open this machine to the server, or name files and programs of it."""

_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL}){{0,30}}\.?", re.ASCII)
_USER: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\\+-]{0,255}\$?", re.ASCII)
_OPTION: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ .=:/()+-]{0,127}", re.ASCII)
_WORD: Final = re.compile(r"[\w.+-]{1,200}")
_MORE_THAN_ONE: Final = frozenset(";&|`$<>\\(){}!*?[]~#'\"")
_NO_SERVER: Final = frozenset({"no-server-available", "no-x2go-server-available"})
_MOST_IN_LIST: Final = 1000
_COMMANDS: Final = frozenset({"command", "rdpoptions"})
_HOSTS: Final = frozenset({"rdpserver", "xdmcpserver", "sshproxyhost"})
_USERS: Final = frozenset({"user", "sshproxyuser"})


def checked_profiles(
    profiles: Mapping[str, Mapping[str, Any]], trusted: Collection[str] = ()
) -> dict[str, dict[str, Any]]:
    """Profiles with typed options, without those that open this machine.

    Args:
        profiles: What the broker listed.
        trusted: Which of `OF_THIS_MACHINE` are taken over nevertheless.

    Raises:
        X2GoBrokerAnswerRefused: A profile has an option that is of a wrong type or not safe.
    """
    types = {name: type(value) for name, value in session_profile_defaults().items()}
    left_out = OF_THIS_MACHINE.difference(trusted)
    checked: dict[str, dict[str, Any]] = {}
    for profile_id, options in profiles.items():
        _require_plain_text("id", profile_id)
        if not profile_id.strip() or len(profile_id) > 200:
            refuse_answer(f"a profile has the id {printable(profile_id)}")
        where = f"of the profile {printable(profile_id)}"
        checked[profile_id] = {
            name: _typed(name, value, types.get(name), where)
            for name, value in options.items()
            if _is_option(name, where) and name not in left_out
        }
        if not str(checked[profile_id].setdefault("name", profile_id)).strip():
            checked[profile_id]["name"] = profile_id
    return checked


def _is_option(name: str, where: str) -> bool:
    if not _OPTION.fullmatch(name):
        refuse_answer(f"an option {where} is called {printable(name)}")
    return True


def _require_plain_text(what: str, text: str) -> None:
    """Refuse a text that has more in it than it shows, or is endless."""
    if len(text) > MAX_TEXT:
        refuse_answer(f"the {what} {printable(text)} is longer than {MAX_TEXT} characters")
    if not text.isprintable():
        refuse_answer(f"the {what} {printable(text)} has characters that cannot be seen")


def _typed(name: str, value: Any, kind: type[Any] | None, where: str) -> Any:
    """The value of an option as the type that it has; one that nobody knows may be of any simple type."""
    about = f"option {name} {where}"
    if kind is None and isinstance(value, (bool, int, float, list)):
        return _list(name, about, value) if isinstance(value, list) else value
    if kind in _READERS:
        return _READERS[kind](about, value)
    if kind is list:
        return _list(name, about, value)
    return _checked_text(name, about, value)


def _require_text(about: str, value: Any) -> None:
    if not isinstance(value, str):
        refuse_answer(f"the {about} is a {type(value).__name__}, not a text")
    _require_plain_text(about, value)


def _checked_text(name: str, about: str, value: Any) -> str:
    _require_text(about, value)
    text = str(value)
    wrong = (
        (name in _COMMANDS and not _MORE_THAN_ONE.isdisjoint(text))
        or (name in _HOSTS and bool(text) and not is_host(text.rpartition(":")[0] if text.count(":") == 1 else text))
        or (name in _USERS and bool(text) and not _USER.fullmatch(text))
    )
    if wrong:
        refuse_answer(f"the {about} is {printable(text)}, on whose characters a shell would act")
    return text


def _truth(about: str, value: Any) -> bool:
    found = TRUTH.get(str(value).strip().lower()) if isinstance(value, (bool, int, str)) else None
    if found is None:
        refuse_answer(f"the {about} is {printable(value)}, not a truth value")
    return found


def _number(about: str, value: Any) -> int:
    text = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    if not re.fullmatch(r"-?[0-9]{1,9}", text.strip()):
        refuse_answer(f"the {about} is {printable(value)}, not a whole number")
    return int(text)


def _exports(about: str, value: Any) -> dict[str, bool]:
    _require_text(about, value)
    return exports_from_text(value)


_READERS: Final[Mapping[type[Any] | None, Callable[[str, Any], Any]]] = {bool: _truth, int: _number, dict: _exports}


def _list(name: str, about: str, value: Any) -> list[str]:
    if not isinstance(value, (list, str)):
        refuse_answer(f"the {about} is a {type(value).__name__}, not a list")
    found = words(value) if isinstance(value, str) else value
    if len(found) > _MOST_IN_LIST:
        refuse_answer(f"the {about} has more than {_MOST_IN_LIST} entries")
    for one in found:
        _require_text(about, one)
        if not (is_host(one) if name == "host" else name != "applications" or _WORD.fullmatch(one)):
            refuse_answer(f"the {about} has {printable(one)}, on whose characters a shell would act")
    return list(found)


# Servers.


def is_host(text: str) -> bool:
    """Whether a text is a name of a host or an IP address, and nothing else."""
    return bool(_HOST.fullmatch(text)) or _address(text) is not None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def addresses_of(host: str) -> frozenset[str]:
    """The addresses of a name, empty when it has none."""
    try:
        return frozenset(str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError):
        return frozenset()


def require_host(
    host: str,
    offered: Sequence[str],
    broker: str,
    allowed: Iterable[str] | None = None,
    look_up: Callable[[str], frozenset[str]] = addresses_of,
) -> str:
    """Refuse a server that a broker must not send us to.

    Without `allowed` that is every one that is foreign: neither a host of the profile, nor a name in the domain of one
    (or of the broker), nor an address that belongs to one or is private. Names without a domain are the user's own.

    Args:
        host: What the broker chose.
        offered: The hosts of the profile.
        broker: The broker's host.
        allowed: Patterns of names, and addresses or networks; then these decide alone.
        look_up: Gives the addresses of a name.

    Raises:
        X2GoBrokerConnectionException: The broker has no server for us.
        X2GoBrokerAnswerRefused: It must not send us there.
    """
    if host.lower() in _NO_SERVER or not host:
        raise X2GoBrokerConnectionException(
            "it has no server for this session", doing="selecting a session", advice="try again later, or ask its owner"
        )
    if not is_host(host):
        refuse_answer(f"it names the server {printable(host)}, which is no host")
    if allowed is not None:
        fits = any(_matches(host, pattern) for pattern in allowed)
    else:
        fits = not _is_foreign(host, [*offered, broker], look_up)
    if fits:
        return host
    raise X2GoBrokerAnswerRefused(
        f"it sends us to {host}, which is "
        + ("not one of the allowed hosts" if allowed is not None else "foreign to the profile and to the broker"),
        host=broker,
        doing="selecting a session",
        advice=f"if that is right, name it: allowed_hosts=[{host!r}]",
    )


def _is_foreign(host: str, known: Sequence[str], look_up: Callable[[str], frozenset[str]]) -> bool:
    name = _plain(host)
    names = {_plain(one) for one in known}
    address = _address(host)
    if name in names:
        return False
    if address is None:
        if "." not in name:
            return all("." in one or _address(one) is not None for one in names)
        domains = {one.partition(".")[2] for one in names if _address(one) is None}
        return not any("." in domain and name.endswith(f".{domain}") for domain in domains)
    if address.is_private and not address.is_unspecified:
        return False
    return not any(str(address) in look_up(one) for one in names)


def _plain(host: str) -> str:
    return host.lower().rstrip(".")


def _matches(host: str, pattern: str) -> bool:
    address = _address(host)
    if address is not None:
        try:
            return address in ipaddress.ip_network(pattern, strict=False)
        except ValueError:
            pass  # a pattern of names
    return fnmatch.fnmatchcase(_plain(host), _plain(pattern))
