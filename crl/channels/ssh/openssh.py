"""How OpenSSH's ssh is called: its argument list here, and the line that calls it on a host we are logged in to.

It builds text only and runs nothing. It promises that no secret stands in what it builds, that host keys are checked by
the policy at every hop, and that the exact end of authentication can be told: ssh then runs ``printf`` as LocalCommand,
and its output is the first thing on ssh's *standard output*, before any byte of the host. With a `ProcessChannel` that
is the data channel; the dialogue and the errors have channels of their own. On a nested hop ssh's standard output is
that host's terminal, so the marker comes in the same stream as the prompts before it.
"""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from crl.channels.ssh._home import expanded
from crl.channels.ssh.known_hosts import KnownHosts, lookup_name
from crl.channels.ssh.settings import NO_CONFIG, SshSettings, parse_hop
from crl.errors import UsageError

__all__ = ["hop_settings", "local_environment", "nested_line", "ssh_argv", "ssh_options"]

_KEEPALIVE: Final = ("ServerAliveInterval=15", "ServerAliveCountMax=3")
_NO_FILE: Final = "/dev/null"
_LONGEST_LINE: Final = 4000  # a terminal in line mode takes 4095 bytes
_REPLACED_SHELLS: Final = ("nologin", "false", "true", "sync", "bash")


def ssh_argv(
    settings: SshSettings,
    *,
    command: str | None = None,
    tty: bool = True,
    nonce: str | None = None,
    password: bool = False,
    control: str | None = None,
) -> list[str]:
    """The argument list that logs in from this machine.

    Args:
        settings: Whom to log in to.
        command: What to run there; None is the login shell.
        tty: Whether the host gives the command a terminal, whose size is then 0 by 0.
        nonce: At least 8 letters and digits; printed between authentication and the first byte of the host. The
            argument list holds it in two halves, so that no echo or listing of it can be mistaken for it.
        password: Whether a password will be given in the dialogue: then only methods that ask for one are tried (after
            the identity, where one is named), each once.
        control: Where to listen for further sessions on the connection, see `control.ControlSocket`; None does not.

    Raises:
        UsageError: The nonce or a path cannot be used.
    """
    argv = ["ssh", *_configuration(settings), "-e", "none", "-tt" if tty else "-T"]
    argv += _place_arguments(settings)
    for option in _all_options(settings, nonce, password=password, control=control):
        argv += ["-o", option]
    argv += ["--", settings.host]
    return argv if command is None else [*argv, command]


def ssh_options(settings: SshSettings) -> list[str]:
    """The arguments that select configuration, place and options, as ``ssh -G`` needs them; without any jump."""
    argv = [*_configuration(settings), *_place_arguments(settings)]
    for option in (*_host_key_options(settings), *settings.options, *_identity_options(settings)):
        argv += ["-o", option]
    return argv


def local_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for an ssh on this machine.

    The locale stays as it is, because ssh may send it to the host and its own messages are English anyway. A graphical
    password prompt is switched off. Some login shells are replaced, as ssh runs LocalCommand and ProxyCommand in them:
    those that run nothing, and bash, which takes the socket that is ssh's input for a remote login and would read
    ``~/.bashrc`` before the command, with whatever that prints or waits for.

    Args:
        environ: The environment to start from; None is ours.
    """
    result = dict(os.environ if environ is None else environ)
    result["SSH_ASKPASS_REQUIRE"] = "never"
    if os.path.basename(result.get("SHELL", "")) in _REPLACED_SHELLS:
        result["SHELL"] = "/bin/sh"
    return result


def nested_line(
    settings: SshSettings,
    known_hosts: KnownHosts | None = None,
    *,
    command: str | None = None,
    tty: bool = True,
    nonce: str | None = None,
    password: bool = False,
) -> str:
    """The shell line that logs in from a host that we are logged in to, with the host keys that *we* know.

    The keys go along in the line: `sh` there puts them into a file that it unlinks before ssh starts, and gives ssh the
    open descriptor's path. So nothing stays behind, even when all is killed; Linux's /proc is needed there.

    Args:
        settings: Whom to log in to, with host and port as seen from there; `config`, `identity` and `jump` mean paths
            and names of that host.
        known_hosts: What we know; only lines about this host travel. None lets the files of that host decide.
        command: As in `ssh_argv`.
        tty: As in `ssh_argv`.
        nonce: As in `ssh_argv`; here it appears in the terminal's stream.
        password: As in `ssh_argv`.

    Raises:
        UsageError: The host has so many keys that the line would be too long for a terminal.
    """
    keys = () if known_hosts is None or settings.policy == "off" else _travelling(settings, known_hosts)
    travels = known_hosts is not None and settings.policy != "off"
    argv = ["ssh", *_configuration(settings), "-e", "none", "-tt" if tty else "-T", *_place_arguments(settings)]
    here = replace(settings, known_hosts=None, host_keys="verify") if travels else settings
    argv += [word for option in _all_options(here, nonce, password=password) for word in ("-o", option)]
    words = " ".join(shlex.quote(word) for word in argv)
    tail = " ".join(shlex.quote(word) for word in ("--", settings.host, *([] if command is None else [command])))
    if not travels:
        return f"env SHELL=/bin/sh {words} {tail}"
    lines = " ".join(shlex.quote(line) for line in keys)
    script = (
        "umask 077; f=$(mktemp) && exec 7<>\"$f\" && rm -f \"$f\" && "
        f"printf '%s\\n' '' {lines} >&7 && "
        f"SHELL=/bin/sh {words} -o GlobalKnownHostsFile=/dev/null -o UserKnownHostsFile=/proc/$$/fd/7 {tail}; exit $?"
    )
    line = f"sh -c {shlex.quote(script)}"
    if len(line.encode()) > _LONGEST_LINE:
        raise UsageError(
            f"{len(keys)} host keys make a line of {len(line)} bytes, too long for a terminal",
            host=settings.host,
            advice="reach the host with jump= instead, or keep only its strongest keys in the known_hosts file",
        )
    return line


def hop_settings(settings: SshSettings, hop: str) -> SshSettings:
    """The settings of one hop on the way: its own place, and the policy, files and key of the whole login."""
    user, host, port = parse_hop(hop)
    return replace(settings, host=host, user=user, port=port, jump=())


def _travelling(settings: SshSettings, known_hosts: KnownHosts) -> list[str]:
    """The lines about a host, with its plain name in place of patterns and hashes."""
    port = settings.port or 22
    name = lookup_name(settings.host, port)
    found = known_hosts.of_host(settings.host, port)
    if port != 22 and not any(not entry.marker for entry in found):
        found += known_hosts.of_host(settings.host)
    lines = (f"{entry.marker} {name} {entry.key.type} {entry.key.base64}".strip() for entry in found)
    return list(dict.fromkeys(lines))


def _configuration(settings: SshSettings) -> list[str]:
    if settings.config is None:
        return []
    return ["-F", NO_CONFIG if settings.config == NO_CONFIG else str(expanded(settings.config))]


def _place_arguments(settings: SshSettings) -> list[str]:
    arguments = []
    if settings.port is not None:
        arguments += ["-p", str(settings.port)]
    if settings.user is not None:
        arguments += ["-l", settings.user]
    if settings.identity is not None:
        arguments += ["-i", os.fspath(settings.identity)]
    return arguments


def _all_options(
    settings: SshSettings, nonce: str | None, *, password: bool, control: str | None = None
) -> list[str]:
    """All options, those first that must win: ssh takes the first value that it gets for a name."""
    return [
        *_host_key_options(settings),
        *_marker_options(nonce),
        *_proxy_options(settings),
        *settings.options,
        *_identity_options(settings),
        *_password_options(settings, password=password),
        f"ControlMaster={'no' if control is None else 'yes'}",
        f"ControlPath={'none' if control is None else _config_path(control)}",
        "ControlPersist=no",
        "RemoteCommand=none",
        "LogLevel=INFO",
        f"ConnectTimeout={math.ceil(settings.connect_timeout)}",
        *_KEEPALIVE,
    ]


def _host_key_options(settings: SshSettings) -> list[str]:
    if settings.policy == "off":
        files = [f"UserKnownHostsFile={_NO_FILE}", f"GlobalKnownHostsFile={_NO_FILE}"]
        return ["StrictHostKeyChecking=no", "UpdateHostKeys=no", "CheckHostIP=no", *files]
    strict = "yes" if settings.policy == "verify" else "accept-new"
    options = [f"StrictHostKeyChecking={strict}", "UpdateHostKeys=no", "CheckHostIP=no"]
    if settings.known_hosts is not None:
        path = str(expanded(settings.known_hosts))
        options += [f"UserKnownHostsFile={_config_path(path)}", f"GlobalKnownHostsFile={_NO_FILE}"]
    return options


def _config_path(path: str) -> str:
    """A path as ssh's configuration takes it: tokens and spaces in it are meant as they stand."""
    if '"' in path or "\n" in path:
        raise UsageError(f"ssh cannot be given the path {path!r}")
    doubled = path.replace("%", "%%")
    return f'"{doubled}"' if re.search(r"[\s'\\#=]", doubled) else doubled


def _marker_options(nonce: str | None) -> list[str]:
    if nonce is None:
        return ["PermitLocalCommand=no"]
    if not re.fullmatch(r"[A-Za-z0-9]{8,}", nonce):
        raise UsageError("the marker of a login must be at least 8 letters and digits")
    half = len(nonce) // 2
    return ["PermitLocalCommand=yes", f"LocalCommand=printf %%s%%s {nonce[:half]} {nonce[half:]}"]


def _identity_options(settings: SshSettings) -> list[str]:
    return [] if settings.identity is None else ["IdentitiesOnly=yes"]


def _password_options(settings: SshSettings, *, password: bool) -> list[str]:
    if not password:
        return []
    methods = "keyboard-interactive,password"
    if settings.identity is not None:
        methods = f"publickey,{methods}"
    return [f"PreferredAuthentications={methods}", "NumberOfPasswordPrompts=1"]


def _proxy_options(settings: SshSettings) -> list[str]:
    """The way through the hops, as a command: ``-J`` would not hand host key policy and files on to them."""
    command: str | None = None
    for hop in settings.jump:
        command = _proxy_command(hop_settings(settings, hop), command)
    return [] if command is None else [f"ProxyCommand={command}"]


def _proxy_command(settings: SshSettings, before: str | None) -> str:
    options: Iterable[str] = [
        *_host_key_options(settings),
        "PermitLocalCommand=no",
        *([] if before is None else [f"ProxyCommand={before}"]),
        *settings.options,
        "ControlMaster=no",
        "ControlPath=none",
        "RemoteCommand=none",
        "LogLevel=INFO",
        f"ConnectTimeout={math.ceil(settings.connect_timeout)}",
        *_KEEPALIVE,
    ]
    words = ["ssh", *_configuration(settings), *_place_arguments(settings)]
    words += [word for option in options for word in ("-o", option)]
    # The outer ssh puts in the next host; all other per cent signs are of the inner one.
    line = " ".join(shlex.quote(word) for word in words).replace("%", "%%")
    return f"{line} -W '[%h]:%p' -- {shlex.quote(settings.host)}"
