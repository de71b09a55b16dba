"""The login of a control session: which credential is offered when, and what failures are called.

It works on any connection of paramiko whose host key was accepted. A wrong password is sent once, a second one is never
made up, and every error is both crl's and paramiko's, so that code for either catches it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import paramiko

from crl.secrets import Secret
from crl.x2go.x2go_exceptions import X2GoControlSessionException

__all__ = ["Credentials", "Prompter", "X2GoAuthenticationFailed", "X2GoPasswordRequired", "log_in"]

Prompter = Callable[[str, str, list[tuple[str, bool]]], list[str] | None]
_MOST_AGENT_KEYS: Final = 5  # sshd ends the connection after MaxAuthTries, which is 6 by default
_STANDARD_KEYS: Final = ("id_ed25519", "id_ecdsa", "id_rsa")
_ROUNDS: Final = 4


class X2GoAuthenticationFailed(X2GoControlSessionException, paramiko.AuthenticationException):
    """The server did not let the user in with what was offered."""


class X2GoPasswordRequired(X2GoAuthenticationFailed, paramiko.PasswordRequiredException):
    """The server did not let the user in, and a key that could have helped is locked by a passphrase."""


@dataclass
class Credentials:
    """What a user has to show.

    Args:
        username: The login name.
        password: The password; it also opens keys, unless `force_password` is set.
        passphrase: What opens keys.
        pkey: A private key, or None.
        key_filenames: Files of private keys; when one is there, no other key is offered.
        allow_agent: Whether keys of the agent are offered.
        look_for_keys: Whether the user's standard keys are offered.
        ssh_rootdir: Where these are.
        force_password: Whether only the password is tried.
        standard_keys: The user's standard keys, where the ssh configuration names them.
        prompter: Answers what the server asks beyond the password (a code of a second factor): gets title, instructions
            and prompts (text and whether the answer may be seen), gives the answers or None.
    """

    username: str
    password: Secret | None = None
    passphrase: Secret | None = None
    pkey: Any = None
    key_filenames: tuple[str, ...] = ()
    allow_agent: bool = False
    look_for_keys: bool = False
    ssh_rootdir: Path = field(default_factory=lambda: Path("~/.ssh").expanduser())
    force_password: bool = False
    standard_keys: tuple[str, ...] = ()
    prompter: Prompter | None = None

    @property
    def opener(self) -> str | None:
        """What opens locked keys."""
        secret = self.passphrase or (None if self.force_password else self.password)
        return None if secret is None else secret.value


@dataclass
class _Progress:
    """What has been tried, for the order of things and for the error."""

    password_sent: bool = False
    locked: bool = False
    keys: int = 0
    problems: list[str] = field(default_factory=list)


def log_in(transport: paramiko.Transport, credentials: Credentials, host: str) -> None:
    """Log in on a connection.

    Keys come first (the one given, or those of the files; else agent and standard keys, where allowed), then the
    password, by keyboard-interactive where the server prefers that. A server that wants several gets them in turn.

    Raises:
        X2GoAuthenticationFailed: The server does not let the user in.
        X2GoPasswordRequired: The same, and a key is locked.
        paramiko.SSHException: The connection broke.
    """
    progress = _Progress()
    wanted = _ask_methods(transport, credentials.username)
    for _ in range(_ROUNDS):
        if transport.is_authenticated():
            return
        further = _one_method(transport, credentials, wanted, progress)
        if further is None:
            break
        wanted = further
    if not transport.is_authenticated():
        raise _refused(credentials, wanted, progress, host)


def _ask_methods(transport: paramiko.Transport, user: str) -> list[str]:
    try:
        return list(transport.auth_none(user))
    except paramiko.BadAuthenticationType as error:
        return list(error.allowed_types)


def _one_method(
    transport: paramiko.Transport, credentials: Credentials, wanted: Sequence[str], progress: _Progress
) -> list[str] | None:
    """Get through one method; what the server wants after it, or None when nothing of ours helps."""
    if "publickey" in wanted and not credentials.force_password:
        for key in _keys(credentials, progress):
            progress.keys += 1
            with contextlib.suppress(paramiko.AuthenticationException):
                return list(transport.auth_publickey(credentials.username, key))
            if not transport.is_active():
                return None
    if "keyboard-interactive" in wanted and (credentials.password or credentials.prompter):
        further = _by_prompts(transport, credentials, progress)
        if further is not None or progress.password_sent:
            return further
    if "password" in wanted and credentials.password is not None and not progress.password_sent:
        progress.password_sent = True
        with contextlib.suppress(paramiko.AuthenticationException):
            return list(transport.auth_password(credentials.username, credentials.password.value, fallback=False))
    return None


def _by_prompts(transport: paramiko.Transport, credentials: Credentials, progress: _Progress) -> list[str] | None:
    def answer(title: str, instructions: str, prompts: list[tuple[str, bool]]) -> list[str]:
        """Called by paramiko; the first question with a hidden answer is for the password."""
        answers: list[str] = []
        left = list(prompts)
        if left and not left[0][1] and credentials.password is not None and not progress.password_sent:
            progress.password_sent = True
            answers.append(credentials.password.value)
            left = left[1:]
        if left:
            given = credentials.prompter(title, instructions, left) if credentials.prompter is not None else None
            if given is None or len(given) != len(left):
                progress.problems.append(f"nobody answers the question {left[0][0].strip()!r}")
                given = [""] * len(left)
            answers += given
        return answers

    try:
        return list(transport.auth_interactive(credentials.username, answer))
    except paramiko.AuthenticationException:
        return None


def _keys(credentials: Credentials, progress: _Progress) -> Iterator[paramiko.PKey]:
    """The keys to offer, one by one."""
    if credentials.pkey is not None:
        yield credentials.pkey
        return
    named = [path for path in map(os.path.expanduser, credentials.key_filenames) if os.path.exists(path)]
    for path in named:
        yield from _key_of_file(path, credentials, progress)
    if named:
        return
    if credentials.allow_agent:
        yield from _agent_keys(progress)
    if credentials.look_for_keys:
        standard = credentials.standard_keys or [str(credentials.ssh_rootdir / name) for name in _STANDARD_KEYS]
        for path in map(os.path.expanduser, standard):
            if os.path.exists(path):
                yield from _key_of_file(path, credentials, progress)


def _key_of_file(path: str, credentials: Credentials, progress: _Progress) -> Iterator[paramiko.PKey]:
    try:
        yield paramiko.PKey.from_path(path)
        return
    except (paramiko.PasswordRequiredException, TypeError):
        pass  # TypeError is how cryptography says that a key is encrypted
    except (paramiko.SSHException, ValueError, OSError) as error:
        progress.problems.append(f"the key {path}: {error}")
        return
    opener = credentials.opener
    if opener is None:
        progress.locked = True
        progress.problems.append(f"the key {path} needs a passphrase")
        return
    kinds: tuple[type[paramiko.PKey], ...] = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)
    for kind in kinds:
        try:
            key = kind.from_private_key_file(path, opener)
        except (paramiko.SSHException, ValueError, OSError):  # of another type, or not opened
            continue
        yield key
        return
    progress.locked = True
    progress.problems.append(f"the key {path} was not opened by the passphrase")


def _agent_keys(progress: _Progress) -> Iterator[paramiko.PKey]:
    """The keys of the user's agent; the connection to it is closed again."""
    try:
        agent = paramiko.Agent()
    except (paramiko.SSHException, OSError) as error:
        progress.problems.append(f"the agent cannot be asked: {error}")
        return
    try:
        yield from agent.get_keys()[:_MOST_AGENT_KEYS]
    finally:
        agent.close()


def _refused(
    credentials: Credentials, wanted: Sequence[str], progress: _Progress, host: str
) -> X2GoAuthenticationFailed:
    problems = list(progress.problems)
    if not progress.keys and not progress.password_sent:
        problems.append("there was neither a password nor a key to offer")
    kind = X2GoPasswordRequired if progress.locked and not progress.password_sent else X2GoAuthenticationFailed
    why = f": {'; '.join(problems)}" if problems else ""
    kerberos = any(method.startswith("gssapi") for method in wanted)
    return kind(
        f"the server does not let {credentials.username} in (it takes {', '.join(wanted) or 'nothing'}){why}",
        host=host,
        doing="logging in",
        advice="check user name, password and key; nothing was tried twice"
        + ("; paramiko knows no Kerberos: give target=Target.from_ssh_alias(…), whose ssh does" if kerberos else ""),
    )
