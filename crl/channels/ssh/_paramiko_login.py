"""One host's part of a login by paramiko: its key first, then the user.

It promises that nothing about the user is sent before the host's key was accepted, that each secret answers one prompt
only and none that would show it, and that what paramiko raises becomes one of our errors.
"""

from __future__ import annotations

import base64
import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import paramiko

from crl.channels.ssh._places import Place
from crl.channels.ssh.errors import SshLoginError
from crl.channels.ssh.known_hosts import HostKey, KnownHosts, Standing, lookup_name
from crl.channels.ssh.resolve import ResolvedHost
from crl.channels.ssh.settings import SshSettings
from crl.deadlines import Deadline
from crl.secrets import Secret

__all__ = ["HostCheck", "log_in", "translated"]

_ALGORITHMS: Final = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}
_MOST_AGENT_KEYS: Final = 5  # sshd ends the connection after MaxAuthTries, which is 6 by default


@contextlib.contextmanager
def translated(place: Place, user: str | None) -> Iterator[None]:
    """Turn what paramiko raises while connecting into our errors."""
    try:
        yield
    except SshLoginError:
        raise
    except paramiko.AuthenticationException as error:
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


@dataclass(frozen=True)
class HostCheck:
    """Whether a host is the one it says it is.

    Args:
        settings: The policy and its file.
        known: What is known.
        host: The host as its keys are filed.
        port: Its port as its keys are filed.
        place: Where we are, for errors.
    """

    settings: SshSettings
    known: KnownHosts
    host: str
    port: int
    place: Place

    @classmethod
    def load(cls, settings: SshSettings, host: ResolvedHost, place: Place) -> HostCheck:
        """Read the known_hosts files of a host.

        Raises:
            SshLoginError: A file cannot be read.
        """
        try:
            known = KnownHosts.load(() if settings.policy == "off" else host.known_hosts_files)
        except OSError as error:
            raise place.other(f"the known_hosts file {error.filename}: {error.strerror}") from error
        name, port = (host.host_key_alias, 22) if host.host_key_alias else (host.hostname, host.port)
        return cls(settings, known, name, port, place)

    def verify(self, transport: paramiko.Transport, deadline: Deadline) -> None:
        """Exchange keys with a host and look at the one it shows.

        Raises:
            HostKeyUnknown: No key of the host is known.
            HostKeyChanged: It is another key than known, or a revoked one.
        """
        security = transport.get_security_options()
        types = self.known.key_types(self.host, self.port)
        named = [name for kind in types for name in _ALGORITHMS.get(kind, (kind,))]
        usable = [name for name in named if name in security.key_types]
        if usable:
            security.key_types = usable
        remaining = deadline.remaining()
        if remaining is not None:
            transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = max(remaining, 0.1)
        done = threading.Event()
        transport.start_client(done)
        if not done.wait(remaining):
            raise TimeoutError
        if not transport.is_active():
            raise transport.get_exception() or paramiko.SSHException("the connection was closed")
        shown = transport.get_remote_server_key()
        self._judge(HostKey(shown.get_name(), shown.asbytes()))

    def _judge(self, key: HostKey) -> None:
        if self.settings.policy == "off":
            return
        verdict = self.known.check(self.host, self.port, key)
        if verdict.standing is Standing.KNOWN:
            return
        text = f"{key.type} {key.base64}"
        if verdict.standing is Standing.UNKNOWN:
            self._unknown(key, text)
        else:
            raise self.place.key_changed(
                key.short_type,
                location=verdict.location,
                fingerprint=key.fingerprint,
                key_base64=text,
                revoked=verdict.standing is Standing.REVOKED,
            )

    def _unknown(self, key: HostKey, text: str) -> None:
        if self.settings.policy == "accept-new":
            self._remember(f"{lookup_name(self.host, self.port)} {text}\n")
            return
        because = ""
        if self.known.authorities(self.host, self.port):
            because = "; only a certificate authority is, and paramiko cannot check host certificates"
        raise self.place.key_unknown(key.short_type, fingerprint=key.fingerprint, key_base64=text, because=because)

    def _remember(self, line: str) -> None:
        """Add a line to the known_hosts file; one write, so that two at once do not mix."""
        path = Path(self.place.known_hosts).expanduser()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                size = os.fstat(descriptor).st_size
                broken = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
                os.write(descriptor, ("\n" * broken + line).encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self.place.other(f"the new host key could not be written to {path}: {error.strerror}") from error


@dataclass
class _Answers:
    """The secrets of a login, each to be used once."""

    left: list[Secret]
    used: int = 0
    keys: int = 0
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


def log_in(
    transport: paramiko.Transport,
    host: ResolvedHost,
    place: Place,
    secrets: tuple[Secret | None, Secret | None],
    deadline: Deadline,
) -> None:
    """Log in on a connection whose host key was accepted.

    Keys come first (those of the configuration, then the agent's), then keyboard-interactive, then password; with a
    password and no key named by the settings, no key is tried. A wrong secret is not tried by a second method.

    Raises:
        AuthenticationFailed: The host does not let the user in.
    """
    answers = _Answers([secret for secret in secrets if secret is not None])
    allowed = _ask_methods(transport, host.user)
    for _ in range(4):  # each round ends one of the methods that the host wants
        if transport.is_authenticated():
            return
        _limit(transport, deadline)
        further = _one_method(transport, host, allowed, answers, deadline)
        if further is None:
            break
        allowed = further
    if not transport.is_authenticated():
        if not answers.used and not answers.keys:
            answers.problems.append("there was neither a password nor a key to offer")
        why = "; ".join(answers.problems)
        raise place.authentication_failed(host.user, allowed, why)


def _ask_methods(transport: paramiko.Transport, user: str) -> list[str]:
    try:
        return list(transport.auth_none(user))
    except paramiko.BadAuthenticationType as error:
        return list(error.allowed_types)


def _limit(transport: paramiko.Transport, deadline: Deadline) -> None:
    """Let paramiko wait for the next answer no longer than the whole login may take."""
    if deadline.expired:
        raise TimeoutError
    remaining = deadline.remaining()
    if remaining is not None:
        transport.auth_timeout = remaining


def _one_method(
    transport: paramiko.Transport, host: ResolvedHost, allowed: Sequence[str], answers: _Answers, deadline: Deadline
) -> list[str] | None:
    """Get through one method; the methods still wanted after it, or None when none of them helps."""
    if "publickey" in allowed and (not answers.left or host.identities_only):
        for key in _keys(host, answers):
            _limit(transport, deadline)
            answers.keys += 1
            with contextlib.suppress(paramiko.AuthenticationException):
                return list(transport.auth_publickey(host.user, key))
            if not transport.is_active():
                return None
    if "keyboard-interactive" in allowed and answers.left:
        used = answers.used
        try:
            return list(transport.auth_interactive(host.user, answers.to_prompts))
        except paramiko.AuthenticationException as error:
            if answers.used > used or answers.problems:
                return None
            answers.problems.append(f"keyboard-interactive: {error}")
    if "password" in allowed and (secret := answers.next()) is not None:
        with contextlib.suppress(paramiko.AuthenticationException):
            return list(transport.auth_password(host.user, secret, fallback=False))
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
    if host.identity_agent not in (None, os.environ.get("SSH_AUTH_SOCK")) or "SSH_AUTH_SOCK" not in os.environ:
        return
    try:
        agent = paramiko.Agent()
    except (paramiko.SSHException, OSError):
        return
    try:
        offered = [key for key in agent.get_keys() if not host.identities_only or key.asbytes() in wanted]
        yield from offered[:_MOST_AGENT_KEYS]
    finally:
        agent.close()


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
