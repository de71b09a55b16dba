"""The user's part of a login by paramiko, after the host's key was accepted.

It knows keys, certificates, agents, passwords and prompts, and what of them the configuration allows. It promises that
each secret answers one prompt only and none that would show it, and that what paramiko raises becomes our errors.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import paramiko
from paramiko.agent import AgentSSH

from crl.channels.ssh._home import expanded
from crl.channels.ssh._places import Place
from crl.channels.ssh._transport import Transport
from crl.channels.ssh.errors import SshLoginError
from crl.channels.ssh.resolve import ResolvedHost
from crl.deadlines import Deadline
from crl.secrets import Secret

__all__ = ["disabled_algorithms", "log_in", "translated"]

_MOST_AGENT_KEYS: Final = 5  # sshd ends the connection after MaxAuthTries, which is 6 by default
_AGENT_PATIENCE: Final = 30.0  # a person may have to touch a token
_log = logging.getLogger("crl.channels")


@contextlib.contextmanager
def translated(place: Place, user: str | None) -> Iterator[None]:
    """Turn what paramiko raises while connecting into our errors."""
    try:
        yield
    except SshLoginError:
        raise
    except paramiko.AuthenticationException as error:
        if "timeout" in str(error).lower():
            raise place.unreachable("the host did not answer in time") from error
        if "shut down" in str(error):
            raise place.closed("the connection was closed") from error
        raise place.authentication_failed(user, _allowed(error)) from error
    except paramiko.ssh_exception.IncompatiblePeer as error:
        raise place.no_common_algorithm(_kind_of(str(error))) from error
    except TimeoutError as error:
        raise place.unreachable("the host did not answer in time") from error
    except (paramiko.SSHException, OSError, EOFError) as error:
        text = str(error) or "the connection was closed"
        if "timed out" in text.lower() or "timeout" in text.lower() or "no response" in text.lower():
            raise place.unreachable(text) from error
        raise place.closed(text) from error


def _allowed(error: paramiko.AuthenticationException) -> list[str]:
    return list(getattr(error, "allowed_types", None) or ())


def _kind_of(text: str) -> str:
    kinds = {"host key": "host key type", "kex": "key exchange method", "cipher": "cipher", "mac": "MAC"}
    return next((kind for word, kind in kinds.items() if word in text), "algorithm")


@dataclass
class _Answers:
    """The secrets of a login, each to be used once."""

    left: list[Secret]
    used: int = 0
    keys: int = 0
    no_key_helps: bool = False
    refused: bool = False
    problems: list[str] = field(default_factory=list)

    def next(self) -> str | None:
        """The next secret; None when all were used."""
        if not self.left:
            return None
        self.used += 1
        return self.left.pop(0).value

    def to_prompts(self, title: str, instructions: str, prompts: Sequence[tuple[str, bool]]) -> list[str]:
        """Answer the prompts of keyboard-interactive; called by paramiko in its own thread."""
        del title, instructions
        answers = []
        for text, shown in prompts:
            answer = None if shown else self.next()
            if answer is None:
                why = "would show the answer" if shown else "is one more than there are passwords"
                self.problems.append(f"the prompt {text.strip()!r} {why}")
            answers.append(answer or "")
        return answers


def disabled_algorithms(host: ResolvedHost) -> dict[str, list[str]]:
    """What paramiko has and the configuration does not allow, by paramiko's kind; its own order is kept."""
    disabled = {}
    for kind, allowed in host.algorithms:
        ours: Sequence[str] = getattr(paramiko.Transport, f"_preferred_{kind}")
        disabled[kind] = [name for name in ours if name not in allowed]
    return disabled


def _require_refusal(transport: Transport, error: paramiko.AuthenticationException) -> None:
    """Pass on what is no word of the host on what it was offered: its silence, or the end of the connection."""
    text = str(error).lower()
    ended = "shut down" in text and "too many authentication" not in transport.parting_words.lower()
    if ended or "timeout" in text:
        raise error


def log_in(
    transport: Transport,
    host: ResolvedHost,
    place: Place,
    secrets: tuple[Secret | None, Secret | None],
    deadline: Deadline,
) -> None:
    """Log in on a connection whose host key was accepted.

    Keys come first (those of the configuration, then the agent's), then keyboard-interactive, then password; with a
    password and no key named by the settings, no key is tried. A wrong secret is not tried by a second method. Where
    keys are all there is, they are offered at once; the host is asked for its methods when none of them helps.

    Raises:
        AuthenticationFailed: The host does not let the user in.
    """
    answers = _Answers([secret for secret in secrets if secret is not None])
    at_once = host.methods[:1] == ("publickey",) and not answers.left
    allowed = ["publickey"] if at_once else _ask_methods(transport, host.user)
    for _ in range(4):  # each round ends one of the methods that the host wants
        if transport.is_authenticated():
            return
        _limit(transport, deadline)
        further = _one_method(transport, host, allowed, answers, deadline)
        if further is None and at_once and transport.is_active():
            at_once, further = False, _ask_methods(transport, host.user)
        if further is None:
            break
        allowed = further
    if not transport.is_authenticated():
        if not answers.used and not answers.keys:
            answers.problems.append("there was neither a password nor a key to offer")
        why = "; ".join(answers.problems)
        raise place.authentication_failed(host.user, allowed, why)


def _ask_methods(transport: Transport, user: str) -> list[str]:
    try:
        return list(transport.auth_none(user))
    except paramiko.BadAuthenticationType as error:
        return list(error.allowed_types)


def _limit(transport: Transport, deadline: Deadline) -> None:
    """Let paramiko wait for the next answer no longer than the whole login may take."""
    if deadline.expired:
        raise TimeoutError
    remaining = deadline.remaining()
    if remaining is not None:
        transport.auth_timeout = remaining


def _one_method(
    transport: Transport, host: ResolvedHost, allowed: Sequence[str], answers: _Answers, deadline: Deadline
) -> list[str] | None:
    """Get through one method; the methods still wanted after it, or None when none of them helps."""
    for method in host.methods:
        if method not in allowed:
            continue
        if method == "publickey" and (answers.no_key_helps or (answers.left and not host.identities_only)):
            continue
        _limit(transport, deadline)
        if method == "publickey":
            further = _by_key(transport, host, answers, deadline)
        elif not answers.left:
            continue
        elif method == "keyboard-interactive":
            further = _by_prompts(transport, host, answers)
        else:
            further = _by_password(transport, host, answers)
        if further is not None or answers.refused or not transport.is_active():
            return further
    return None


def _by_key(
    transport: Transport, host: ResolvedHost, answers: _Answers, deadline: Deadline
) -> list[str] | None:
    for key in _keys(host, answers):
        _limit(transport, deadline)
        answers.keys += 1
        try:
            return list(transport.auth_publickey(host.user, key))
        except paramiko.AuthenticationException as error:
            _require_refusal(transport, error)
        if not transport.is_active():
            break
    answers.no_key_helps = True
    return None


def _by_prompts(transport: Transport, host: ResolvedHost, answers: _Answers) -> list[str] | None:
    used, problems = answers.used, len(answers.problems)
    try:
        return list(transport.auth_interactive(host.user, answers.to_prompts))
    except paramiko.AuthenticationException as error:
        _require_refusal(transport, error)
        # A secret that was refused is not tried by a second method, which would count twice against the account.
        answers.refused = answers.used > used or len(answers.problems) > problems
        if not answers.refused:
            answers.problems.append(f"keyboard-interactive: {error}")
    return None


def _by_password(transport: Transport, host: ResolvedHost, answers: _Answers) -> list[str] | None:
    secret = answers.next()
    assert secret is not None
    try:
        return list(transport.auth_password(host.user, secret, fallback=False))
    except paramiko.AuthenticationException as error:
        _require_refusal(transport, error)
        answers.refused = True
    return None


def _keys(host: ResolvedHost, answers: _Answers) -> Iterator[paramiko.PKey]:
    """The private keys to offer: those of the files, then those of the agent."""
    wanted: list[bytes] = []
    for path in host.identity_files:
        public = Path(f"{path}.pub")
        with contextlib.suppress(OSError, ValueError, IndexError):  # no such file, or none that names a key
            wanted.append(base64.b64decode(public.read_text().split()[1]))
        key = _key_of_file(path, answers)
        if key is not None:
            wanted.append(key.asbytes())
            yield key
    yield from _agent_keys(host, wanted)


def _agent_keys(host: ResolvedHost, wanted: Sequence[bytes]) -> Iterator[paramiko.PKey]:
    """The keys of the agent, those that the configuration names only where it says so."""
    socket_path = _agent_socket(host)
    if socket_path is None:
        return
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(_AGENT_PATIENCE)
        connection.connect(socket_path)
        agent = _Agent(connection)
        offered = [key for key in agent.get_keys() if not host.identities_only or _plain(key) in wanted]
        yield from offered[:_MOST_AGENT_KEYS]
    except (paramiko.SSHException, OSError) as error:
        _log.info("the agent at %s cannot be asked: %s", socket_path, error)
    finally:
        connection.close()


def _agent_socket(host: ResolvedHost) -> str | None:
    chosen = host.identity_agent if host.identity_agent is not None else os.environ.get("SSH_AUTH_SOCK")
    if chosen is not None and chosen.startswith("$"):
        chosen = os.environ.get(chosen.strip("${}"))
    return None if not chosen or chosen.lower() == "none" else str(expanded(chosen))


def _plain(key: paramiko.AgentKey) -> bytes:
    """A key of an agent without its certificate."""
    return inner.asbytes() if (inner := getattr(key, "inner_key", None)) is not None else key.asbytes()


class _Agent(AgentSSH):
    """An agent on a socket that we opened: paramiko's own class knows SSH_AUTH_SOCK only."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connect(connection)  # type: ignore[attr-defined]


def _key_of_file(path: str, answers: _Answers) -> paramiko.PKey | None:
    """The key in a file; None, with a note for the error text, when it cannot be used."""
    try:
        return paramiko.PKey.from_path(path)
    except FileNotFoundError:
        return None
    except (paramiko.PasswordRequiredException, TypeError):
        # TypeError is how cryptography says that a key is encrypted.
        passphrase = answers.next()
    except (paramiko.SSHException, ValueError, OSError) as error:
        answers.problems.append(f"the key {path}: {error}")
        return None
    if passphrase is None:
        answers.problems.append(f"the key {path} needs a passphrase")
        return None
    return _encrypted_key(path, passphrase, answers)


def _encrypted_key(path: str, passphrase: str, answers: _Answers) -> paramiko.PKey | None:
    """The key in an encrypted file; `PKey.from_path` wants its passphrase as text and as bytes at once."""
    kinds: tuple[type[paramiko.PKey], ...] = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)
    problem: Exception | None = None
    for kind in kinds:
        try:
            key = kind.from_private_key_file(path, passphrase)
        except (paramiko.SSHException, ValueError, OSError) as error:
            problem = error
            continue
        certificate = f"{path}-cert.pub"
        if os.path.exists(certificate):
            key.load_certificate(certificate)
        return key
    answers.problems.append(f"the key {path} was not opened by the passphrase ({problem})")
    return None
