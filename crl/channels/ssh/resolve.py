"""Where an SSH login really goes: the user's ssh configuration, resolved by ``ssh -G`` itself.

Where no ssh program exists, `read_config` reads a documented subset of ssh_config(5) and refuses what it cannot honour.
The result has no secrets and no patterns left in it.
"""

from __future__ import annotations

import functools
import getpass
import os
import select
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crl.channels._child import UNKNOWN_STATUS
from crl.channels.base import ChannelStartError
from crl.channels.process import ProcessChannel
from crl.channels.ssh._answers import Answer, Answers
from crl.channels.ssh._config_reader import read_config
from crl.channels.ssh._home import expanded, home
from crl.channels.ssh.diagnosis import Stop, diagnose
from crl.channels.ssh.openssh import hop_settings, local_environment, ssh_options
from crl.channels.ssh.settings import NO_CONFIG, SshSettings
from crl.deadlines import Deadline
from crl.errors import RemoteWorldError, UsageError

__all__ = ["ResolvedHost", "resolve", "with_explicit_jumps"]

MOST_HOPS = 8
# What ssh says with -v.
_CHATTER = ("debug", "OpenSSH_")
_READING = "debug1: Reading configuration data "
_RUNNING = "debug1: Executing command"
_METHODS = {
    "publickey": "pubkeyauthentication",
    "keyboard-interactive": "kbdinteractiveauthentication",
    "password": "passwordauthentication",
}
_ALGORITHMS = {
    "ciphers": "ciphers",
    "macs": "macs",
    "kexalgorithms": "kex",
    "hostkeyalgorithms": "keys",
    "pubkeyacceptedalgorithms": "pubkeys",
}


@dataclass(frozen=True)
class ResolvedHost:
    """One host of a login, as the configuration says.

    Args:
        label: As the user names it.
        hostname: The name or address to connect to.
        user: The login name.
        port: The TCP port.
        identity_files: Private keys to try, in this order; not all of them need exist.
        identities_only: Whether keys of the agent are offered only when they are among the files.
        identity_agent: Socket of the agent; None is SSH_AUTH_SOCK, ``"none"`` is no agent.
        known_hosts_files: The files with host keys, the user's first.
        host_key_alias: The name under which its keys stand in those files; None is its own.
        proxy_command: The command to go through; None is none.
        jumps: The hosts to go through, the first one first.
        methods: Ways to log in that may be tried, the first one first (``PreferredAuthentications`` and the like).
        algorithms: What the configuration allows, by paramiko's kind of algorithm; kinds that it leaves open are
            missing.
    """

    label: str
    hostname: str
    user: str
    port: int = 22
    identity_files: tuple[str, ...] = ()
    identities_only: bool = False
    identity_agent: str | None = None
    known_hosts_files: tuple[str, ...] = ()
    host_key_alias: str | None = None
    proxy_command: str | None = None
    jumps: tuple[ResolvedHost, ...] = ()
    methods: tuple[str, ...] = ("publickey", "keyboard-interactive", "password")
    algorithms: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def stops(self) -> tuple[Stop, ...]:
        """All hosts on the way, the target last, as `diagnose` wants them."""
        return tuple(Stop(host.label, host.hostname, host.port) for host in (*self.jumps, self))


_answers: Answers[ResolvedHost] = Answers()


def resolve(settings: SshSettings, *, program: str | None = "ssh", timeout: float = 10.0) -> ResolvedHost:
    """Resolve a login by the user's ssh configuration.

    What ssh says serves again for some seconds, as long as the files that it has read are unchanged; where a command or
    the net had a say, it is asked each time.

    Args:
        settings: What the user said.
        program: The ssh program to ask; None, or one that does not exist, uses our own reader.
        timeout: Seconds for each question to the program; a configuration may run commands (``Match exec``).

    Raises:
        RemoteWorldError: ssh refuses the configuration, or does not answer in time.
        UsageError: There is no ssh program, and our reader cannot honour what the configuration says.
    """
    if program is None:
        return _resolve(settings, _read_ourselves, 0)
    # All that decides but files; nothing of the environment itself is kept.
    key = program, settings, hash(frozenset(local_environment().items()))
    return _answers.get(key, functools.partial(_resolve_by_ssh, settings, program, timeout), timeout)


def _resolve_by_ssh(settings: SshSettings, program: str, timeout: float) -> Answer[ResolvedHost]:
    if shutil.which(program) is None:
        return Answer(_resolve(settings, _read_ourselves, 0))
    files: list[str] | None = []

    def ask(settings: SshSettings) -> dict[str, list[str]]:
        nonlocal files
        values, read = _ask(settings, program, timeout)
        files = None if files is None or read is None else [*files, *read]
        return values

    return Answer(_resolve(settings, ask, 0), files)


def with_explicit_jumps(settings: SshSettings, resolved: ResolvedHost) -> SshSettings:
    """The same login with the hops of the configuration written out.

    OpenSSH does not hand host key policy and files on to hops of its own ``ProxyJump``; those that the settings name
    get them (see `ssh_argv`). A ProxyCommand of the configuration stays as it is.

    Args:
        settings: The login.
        resolved: What `resolve` gave for it.
    """
    if settings.jump or not resolved.jumps:
        return settings
    hops = (f"{hop.user}@{f'[{hop.label}]' if ':' in hop.label else hop.label}:{hop.port}" for hop in resolved.jumps)
    return replace(settings, jump=tuple(hops))


def _resolve(settings: SshSettings, ask: Callable[[SshSettings], dict[str, list[str]]], depth: int) -> ResolvedHost:
    if depth > MOST_HOPS:
        raise UsageError(f"the way to {settings.host} has more than {MOST_HOPS} hops", host=settings.host)
    values = ask(replace(settings, jump=()))
    host = _from_values(settings, values)
    named = settings.jump or _named_hops(values)
    if not named:
        return host
    first = _resolve(hop_settings(settings, named[0]), ask, depth + 1)
    jumps = [*first.jumps, replace(first, jumps=())]
    jumps += [replace(_from_values(hop, ask(hop)), proxy_command=None) for hop in _hops(settings, named[1:])]
    return replace(host, jumps=tuple(jumps), proxy_command=None)


def _hops(settings: SshSettings, named: Sequence[str]) -> list[SshSettings]:
    return [hop_settings(settings, hop) for hop in named]


def _named_hops(values: Mapping[str, list[str]]) -> tuple[str, ...]:
    text = values.get("proxyjump", ["none"])[0]
    return () if text.lower() == "none" else tuple(text.split(","))


def _from_values(settings: SshSettings, values: Mapping[str, list[str]]) -> ResolvedHost:
    """Make the result from options by lower-case name, as ``ssh -G`` prints them."""

    def one(name: str, default: str = "") -> str:
        return values.get(name, [default])[0]

    files = [path for name in ("userknownhostsfile", "globalknownhostsfile") for path in _paths(one(name))]
    if settings.known_hosts is not None:
        files = [os.fspath(settings.known_hosts)]
    identities = [_expanded(path, settings, values) for path in values.get("identityfile", [])]
    if settings.identity is not None:
        wanted = os.fspath(settings.identity)
        identities = [wanted, *(path for path in identities if path != wanted)]
    agent = one("identityagent")
    command = one("proxycommand", "none")
    return ResolvedHost(
        label=settings.host,
        hostname=one("hostname", settings.host),
        user=one("user") or getpass.getuser(),
        port=int(one("port", "22")),
        identity_files=tuple(path for path in identities if path.lower() != "none"),
        identities_only=one("identitiesonly", "no") == "yes" or settings.identity is not None,
        identity_agent=None if agent in ("", "SSH_AUTH_SOCK") else agent,
        known_hosts_files=tuple(_expanded(path, settings, values) for path in files if path.lower() != "none"),
        host_key_alias=None if one("hostkeyalias", "none") == "none" else one("hostkeyalias"),
        proxy_command=None if command.lower() == "none" else _with_tokens(command, settings, values),
        methods=_methods(values),
        algorithms=tuple(
            (kind, tuple(values[name][0].split(","))) for name, kind in _ALGORITHMS.items() if name in values
        ),
    )


def _methods(values: Mapping[str, list[str]]) -> tuple[str, ...]:
    """The methods that may be tried, in the order in which they are preferred."""
    preferred = values.get("preferredauthentications", [",".join(_METHODS)])[0].split(",")
    allowed = [name for name, switch in _METHODS.items() if values.get(switch, ["yes"])[0] not in ("no", "false")]
    return tuple(name for name in preferred if name in allowed)


def _paths(text: str) -> list[str]:
    """The paths in a list of them; ``ssh -G`` does not quote those with spaces, so what exists decides."""
    if '"' in text or "'" in text:
        return shlex.split(text)
    paths: list[str] = []
    words = text.split()
    while words:
        ends = range(len(words), 1, -1)
        joined = (end for end in ends if expanded(" ".join(words[:end])).exists())
        end = next(joined, 1)
        paths.append(" ".join(words[:end]))
        words = words[end:]
    return paths


def _expanded(path: str, settings: SshSettings, values: Mapping[str, list[str]]) -> str:
    """A path with the tokens of ssh_config(5) put in."""
    return str(expanded(_with_tokens(path, settings, values)))


def _with_tokens(path: str, settings: SshSettings, values: Mapping[str, list[str]]) -> str:
    tokens = {
        "%%": "%",
        "%d": str(home()),
        "%h": values.get("hostname", [settings.host])[0],
        "%n": settings.host,
        "%r": values.get("user", [""])[0],
        "%p": values.get("port", ["22"])[0],
        "%u": getpass.getuser(),
    }
    result, position = "", 0
    while position < len(path):
        step = 2 if path[position : position + 2] in tokens else 1
        result += tokens.get(path[position : position + step], path[position : position + step])
        position += step
    return result


def _ask(settings: SshSettings, program: str, timeout: float) -> tuple[dict[str, list[str]], list[str] | None]:
    """All options for a host, by lower-case name, and the files that they came from."""
    status, output, errors = _run([program, *ssh_options(settings), "-v", "-G", "--", settings.host], timeout)
    said = errors.decode("utf-8", "surrogateescape").splitlines()
    # In a program that reaps all children (gevent does) the status may be lost; ssh writes only when all is well.
    if status not in (0, UNKNOWN_STATUS) or (status and not output):
        raise diagnose("\n".join(line for line in said if not line.startswith(_CHATTER)), settings)
    values: dict[str, list[str]] = {}
    for line in output.decode("utf-8", "surrogateescape").splitlines():
        name, _, value = line.partition(" ")
        values.setdefault(name, []).append(value)
    return values, _deciding_files(settings, values, said)


def _deciding_files(settings: SshSettings, values: Mapping[str, list[str]], said: Sequence[str]) -> list[str] | None:
    """The files that an answer came from; None where a command or the net had a say, or ssh does not tell."""
    read = [line.removeprefix(_READING) for line in said if line.startswith(_READING)]
    asks_elsewhere = values.get("canonicalizehostname", ["no"])[0] not in ("no", "false")
    if not read or asks_elsewhere or any(line.startswith(_RUNNING) for line in said):
        return None
    usual = [] if settings.config is not None else [str(expanded("~/.ssh/config")), "/etc/ssh/ssh_config"]
    return [*read, *usual]


def _read_ourselves(settings: SshSettings) -> dict[str, list[str]]:
    if settings.config == NO_CONFIG:
        files = []
    elif settings.config is not None:
        files = [expanded(settings.config)]
    else:
        files = [expanded("~/.ssh/config"), Path("/etc/ssh/ssh_config")]
    texts = [(str(path), path.read_text("utf-8")) for path in files if path.exists()]
    values = read_config(texts, settings)
    values.setdefault("identityfile", [f"~/.ssh/id_{kind}" for kind in ("rsa", "ecdsa", "ed25519")])
    values.setdefault("userknownhostsfile", ["~/.ssh/known_hosts ~/.ssh/known_hosts2"])
    values.setdefault("globalknownhostsfile", ["/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"])
    return values


def _run(argv: Sequence[str], timeout: float) -> tuple[int, bytes, bytes]:
    """Run a program to its end, without a terminal, and collect what it writes."""
    deadline = Deadline.after(timeout)
    channel = ProcessChannel(argv, env=local_environment(), dialogue=False)
    collected = {channel.fileno(): bytearray(), channel.stderr.fileno(): bytearray()}
    output, errors = collected.values()
    sources = {channel.fileno(): channel, channel.stderr.fileno(): channel.stderr}
    try:
        channel.end_writing()
        while sources:
            poll = select.poll()
            for descriptor in sources:
                poll.register(descriptor, select.POLLIN)
            ready = poll.poll(deadline.poll_ms())
            if not ready:
                raise RemoteWorldError(
                    f"{argv[0]} did not answer within {timeout:g} seconds",
                    doing="reading the ssh configuration",
                    advice="look for Match exec commands in it that hang",
                )
            for descriptor, _ in ready:
                data = sources[descriptor].read()
                collected[descriptor] += data
                if not data:
                    del sources[descriptor]
        status = channel.wait(deadline.remaining())
    finally:
        channel.close()
    if status is None:
        raise ChannelStartError(f"{argv[0]} does not end", doing="reading the ssh configuration")
    return status, bytes(output), bytes(errors)
