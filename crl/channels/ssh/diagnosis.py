"""What OpenSSH's ssh means by its messages: from its standard error to one of our errors.

It knows the texts of the program (which has no translations, so the locale does not matter). It does no input or output
and is total: any text gives an `SshLoginError`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from crl.channels.ssh._places import Place
from crl.channels.ssh.errors import SshLoginError
from crl.channels.ssh.settings import SshSettings, parse_hop

__all__ = ["Stop", "diagnose"]

_LONGEST_TEXT: Final = 65536


@dataclass(frozen=True)
class Stop:
    """One host on the way of a login.

    Args:
        label: As the user names it: an alias or host name.
        host: As ssh names it in messages: its HostName.
        port: Its TCP port.
    """

    label: str
    host: str
    port: int = 22


@dataclass(frozen=True)
class _Case:
    """A failed login: what was wanted, and what ssh said."""

    settings: SshSettings
    stops: tuple[Stop, ...]
    text: str

    def place(self, host: str | None = None, port: str | int | None = None) -> Place:
        """The place that a message names; one that names none is about the target."""
        number = int(port) if port and 0 < int(port) < 65536 else None
        stop = self._stop(host, number) if host else self.stops[-1]
        is_target = stop is self.stops[-1]
        return Place(
            self.settings.host,
            host or stop.host,
            number or stop.port,
            None if is_target else stop.label,
            str(self.settings.known_hosts_file),
            self.text,
        )

    def _stop(self, host: str, port: int | None) -> Stop:
        """The host on the way that a message means, by name and port, by name, by port; else the target."""
        named = [stop for stop in self.stops if host in (stop.host, stop.label)]
        for candidates in (named, self.stops):
            for stop in candidates:
                if port == stop.port:
                    return stop
            if candidates:
                return candidates[-1]
        return self.stops[-1]

    def key_place(self, name: str) -> Place:
        """The place of a host as it stands in known_hosts files."""
        match = re.fullmatch(r"\[(.*)\]:(\d{1,9})", name)
        return self.place(match[1], match[2]) if match else self.place(name, 22)


def diagnose(stderr_text: str, settings: SshSettings, stops: Sequence[Stop] = ()) -> SshLoginError:
    """Say why OpenSSH's ssh did not get in, from what it wrote as standard error.

    Args:
        stderr_text: All that ssh wrote as standard error, with any line ends.
        settings: The login that was tried.
        stops: The hosts on the way, the target last, as `ResolvedHost.stops` gives them: so a hop is named although ssh
            names only addresses. Empty is what the settings say.

    Returns:
        The error to raise.
    """
    text = stderr_text[-_LONGEST_TEXT:].replace("\r\n", "\n").replace("\r", "\n")
    case = _Case(settings, tuple(stops) or _stops_of(settings), text)
    for pattern, make in _RULES:
        matches = list(pattern.finditer(text))
        if matches:
            return make(matches[-1], case)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    error = case.place().other(lines[-1] if lines else "")
    error.definite = False  # who does not know what it was cannot know that it will be so again
    return error


def _stops_of(settings: SshSettings) -> tuple[Stop, ...]:
    hops = [parse_hop(hop) for hop in settings.jump]
    stops = [Stop(host, host, port or 22) for _, host, port in hops]
    return (*stops, Stop(settings.host, settings.host, settings.port or 22))


def _changed(match: re.Match[str], case: _Case) -> SshLoginError:
    places: list[str] = re.findall(r"^Offending .*key in (.+:\d+)$", case.text, re.MULTILINE)
    types: list[str] = re.findall(r"^The fingerprint for the (\S+) key sent", case.text, re.MULTILINE)
    fingerprints: list[str] = re.findall(r"^(SHA256:[A-Za-z0-9+/]+)\.$", case.text, re.MULTILINE)
    return case.key_place(match["name"]).key_changed(
        types[-1] if types else "",
        location=places[-1] if places else None,
        fingerprint=fingerprints[-1] if fingerprints else None,
    )


def _revoked(match: re.Match[str], case: _Case) -> SshLoginError:
    return case.key_place(match["name"]).key_changed(match["type"], location=None, revoked=True)


def _unknown(match: re.Match[str], case: _Case) -> SshLoginError:
    return case.key_place(match["name"]).key_unknown(match["type"])


def _not_verified(_: re.Match[str], case: _Case) -> SshLoginError:
    return case.place().key_unknown("usable")


def _denied(match: re.Match[str], case: _Case) -> SshLoginError:
    problem = re.search(r"^(?:Load key .*|no such identity: .*|.*UNPROTECTED PRIVATE KEY FILE.*)$", case.text, re.M)
    why = problem[0].strip(" @") if problem else ""
    user = match["user"] or case.settings.user
    return case.place(match["host"]).authentication_failed(user, match["methods"].split(","), why)


def _too_many(match: re.Match[str], case: _Case) -> SshLoginError:
    why = "too many keys were offered; name one with identity="
    return case.place(match["host"], match["port"]).authentication_failed(case.settings.user, (), why)


def _unresolved(match: re.Match[str], case: _Case) -> SshLoginError:
    return case.place(match["host"]).name_not_resolved(match["why"])


def _not_connected(match: re.Match[str], case: _Case) -> SshLoginError:
    place = case.place(match["host"], match["port"])
    return place.refused() if "refused" in match["why"] else place.unreachable(match["why"])


def _behind_hop(match: re.Match[str], case: _Case) -> SshLoginError:
    """A hop could not go on: the one that failed is the next, of which ssh does not say the name."""
    place = case.place()
    why = match["why"].strip()
    if "refused" in why:
        return place.refused()
    if "resol" in why or "not known" in why:
        return place.name_not_resolved(why)
    if "prohibited" in match["kind"]:
        return place.other(f"the hop before {place.host} does not forward connections ({match['kind']}: {why})")
    return place.unreachable(why or match["kind"])


def _silent(match: re.Match[str], case: _Case) -> SshLoginError:
    return case.place().unreachable(match[0].strip())


def _closed(match: re.Match[str], case: _Case) -> SshLoginError:
    if match["host"] == "UNKNOWN":  # the connection went through a ProxyCommand, of which ssh knows no address
        return case.place().closed(match[0].strip())
    return case.place(match["host"], match["port"]).closed(match[0].strip())


def _closed_early(match: re.Match[str], case: _Case) -> SshLoginError:
    return case.place().closed(match[0].strip())


def _no_common(match: re.Match[str], case: _Case) -> SshLoginError:
    return case.place(match["host"], match["port"]).no_common_algorithm(match["what"], match["offer"])


def _bad_option(match: re.Match[str], case: _Case) -> SshLoginError:
    error = case.place().other(f"the ssh configuration cannot be used: {match[0].strip()}")
    error.advice = "mend the option or the file that is named"
    return error


_Maker: TypeAlias = Callable[[re.Match[str], _Case], SshLoginError]

_STRICT: Final = r"and you have requested strict checking\."
_PEER: Final = r"(?P<host>\S+) port (?P<port>\d{1,9})"

# In this order: the reason first, then what ssh says as its consequence.
_PATTERNS: Final[tuple[tuple[str, _Maker], ...]] = (
    (r"^\S+: (?:line \d+: )?Bad configuration option.*$", _bad_option),
    (r"^(?:command-line|/\S+):? line \d+: .+$", _bad_option),
    (r"^Bad owner or permissions on .+$|^Can't open user config.*$", _bad_option),
    (rf"^(?P<type>\S+) host key for (?P<name>\S+) was revoked {_STRICT}", _revoked),
    (r"^The (?P<type>\S+) host key for (?P<name>\S+) is marked as revoked\.", _revoked),
    (rf"^(?:\S+ host|Host) key for (?P<name>\S+) has changed {_STRICT}", _changed),
    (rf"^No (?P<type>\S+) host key is known for (?P<name>\S+) {_STRICT}", _unknown),
    (rf"^Unable to negotiate with {_PEER}: no matching (?P<what>.+?) found\. Their offer: (?P<offer>.*)$", _no_common),
    (r"^Host key verification failed\.", _not_verified),
    (r"^ssh: Could not resolve hostname (?P<host>\S+): (?P<why>.*)$", _unresolved),
    (r"^ssh: connect to (?:host|address) (?P<host>\S+) port (?P<port>\d{1,9}): (?P<why>.*)$", _not_connected),
    (r"^channel \d+: open failed: (?P<kind>[^:\n]+): ?(?P<why>.*)$", _behind_hop),
    (r"^(?:(?P<user>\S+)@(?P<host>[^\s:]+): )?Permission denied \((?P<methods>[^)\n]*)\)\.?$", _denied),
    (rf"^Received disconnect from {_PEER}:\d+: Too many authentication failures", _too_many),
    (r"^Connection timed out during banner exchange$|^Timeout, server .* not responding\.$", _silent),
    (rf"^Connection to {_PEER} timed out$", _silent),
    (r"^(?:kex|ssh)_exchange_identification: .*$", _closed_early),
    # What is said where the connection broke: while it sent (its first line too), while it read, or of a torn packet.
    # In front of it stands the step that ssh was at, in words that differ from release to release.
    (rf"^[a-z][\w ]+: Connection to {_PEER}: .*$", _closed),
    (r"^(?:client_loop: send disconnect|Write failed|Read from remote host \S+): .*$", _closed_early),
    (r"^Connection to \S+ closed by remote host\.$", _closed_early),
    (rf"^(?:Connection (?:closed|reset) by|Received disconnect from) (?:\S+ user \S+ )?{_PEER}.*$", _closed),
)
_RULES: Final = tuple((re.compile(pattern, re.MULTILINE), make) for pattern, make in _PATTERNS)
