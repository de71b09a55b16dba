"""Shared folders behind SSH: whoever comes with a share's key gets that folder, by SFTP, and nothing else.

It is given one connection at a time, a socket or a channel of paramiko's, plays the SSH server on it by paramiko and
hands the bytes of its one SFTP subsystem to an `SftpSession`. It promises that nothing is answered before the key is
proved, that no shell, command or tunnel is to be had, that a share that is taken back is gone from open connections at
once, and that `serve` leaves neither thread nor descriptor.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from typing import Any, Final

import paramiko
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from crl.deadlines import Deadline
from crl.secrets import Secret
from crl.x2go._confined import ConfinedFolder
from crl.x2go._sftpanswering import Questions
from crl.x2go._sftpsession import SftpSession
from crl.x2go._sftpwire import SftpGarbage
from crl.x2go.x2go_exceptions import X2GoParameterError, X2GoUserException

__all__ = ["Export", "Exports", "check_key", "confine", "new_key", "serve"]

LOGIN_TIME: Final = 30.0
LOOK_INTERVAL: Final = 0.25
END_TIME: Final = 5.0
WINDOW: Final = 4 * 1024 * 1024
LARGEST_PACKET: Final = 64 * 1024
MOST_CONNECTIONS: Final = 16
"""At the same time, for one tunnel."""

RSA_BITS: Final = 3072
# Each packet is one call of OpenSSL. No others: the client's order decides, and OpenSSH's has slower ones before them.
CIPHERS: Final = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
_LOG_CHANNEL: Final = "crl.x2go.sftp.transport"


def new_key() -> tuple[paramiko.PKey, Secret]:
    """A new ed25519 key, and the text that ssh reads it from."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    return paramiko.Ed25519Key.from_private_key(io.StringIO(pem)), Secret(pem)


def check_key(key: object) -> paramiko.PKey:
    """The key, if it is good enough to guard a folder.

    Raises:
        X2GoParameterError: It is none, or too weak.
    """
    kind = key.get_name() if isinstance(key, paramiko.PKey) else type(key).__name__
    if isinstance(key, paramiko.PKey):
        if kind == "ssh-ed25519" or (kind == "ssh-rsa" and key.get_bits() >= RSA_BITS):
            return key
        kind = f"{kind} with {key.get_bits()} bits"
    raise X2GoParameterError(
        f"a key of kind {kind} guards no shared folder",
        advice=f"give an ed25519 key, or RSA with at least {RSA_BITS} bits, or none: one is made then",
    )


def confine(
    folder: str | os.PathLike[str], *, read_only: bool = False, hard_links: bool = False
) -> ConfinedFolder:
    """The folder, as it can be shared.

    Raises:
        X2GoUserException: It cannot be.
    """
    try:
        return ConfinedFolder(folder, read_only=read_only, hard_links=hard_links)
    except (OSError, NotImplementedError) as error:
        raise X2GoUserException(
            f"the folder {os.fspath(folder)} cannot be shared: {getattr(error, 'strerror', None) or error}",
            doing="sharing a folder",
            advice="see whether it exists, is a folder, and may be opened",
        ) from error


class Export:
    """One folder, the name and the key by which the other side has it.

    Args:
        folder: The folder; it becomes the export's.
        name: Its absolute name there.
        key: The key that opens it.

    Attributes:
        was_used: Whether anybody has come with the key.
    """

    def __init__(self, folder: ConfinedFolder, name: str, key: paramiko.PKey) -> None:
        self.folder = folder
        self.name = name
        self.key = key
        self._lock = threading.Lock()
        self._users: set[paramiko.Transport] = set()
        self._closed = False
        self.was_used = False

    def enter(self, transport: paramiko.Transport) -> bool:
        """Note a connection that uses the folder; False when it is taken back already."""
        with self._lock:
            if not self._closed:
                self._users.add(transport)
                self.was_used = True
            return not self._closed

    def leave(self, transport: paramiko.Transport) -> None:
        """A connection has ended; the last one of a folder that was taken back lets go of it."""
        with self._lock:
            self._users.discard(transport)
            last = self._closed and not self._users
        if last:
            self.folder.close()

    @property
    def in_use(self) -> int:
        """How many connections use the folder."""
        with self._lock:
            return len(self._users)

    def close(self) -> None:
        """Take the folder back: connections that use it end."""
        with self._lock:
            closed, self._closed = self._closed, True
            users = list(self._users)
        for transport in users:
            transport.close()
        if not closed and not users:
            self.folder.close()


class Exports:
    """The folders of one tunnel, by key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._exports: dict[bytes, Export] = {}

    def add(self, export: Export) -> None:
        """Let the folder be had.

        Raises:
            X2GoParameterError: Another folder has the same key.
        """
        with self._lock:
            if export.key.asbytes() in self._exports:
                raise X2GoParameterError("the key opens another folder already", advice="give each folder its own key")
            self._exports[export.key.asbytes()] = export

    def remove(self, export: Export) -> None:
        """Take the folder back."""
        with self._lock:
            if self._exports.get(export.key.asbytes()) is export:
                del self._exports[export.key.asbytes()]
        export.close()

    def close(self) -> None:
        """Take all back."""
        for export in self.all():
            self.remove(export)

    def all(self) -> list[Export]:
        """Those that can be had."""
        with self._lock:
            return list(self._exports.values())

    def find(self, key: paramiko.PKey) -> Export | None:
        """The folder that a key opens."""
        with self._lock:
            return self._exports.get(key.asbytes())


class _Door(paramiko.ServerInterface):
    """What one connection may do: prove a key, open one session, have SFTP in it."""

    def __init__(self, exports: Exports, user: str, transport: paramiko.Transport) -> None:
        self._exports = exports
        self._user = user
        self._transport = transport
        self.export: Export | None = None
        self.session: int | None = None
        self.questions: Questions | None = None
        self.wants_files = threading.Event()

    def get_allowed_auths(self, username: str) -> str:  # noqa: ARG002 - the same for all
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        """Whether a key opens something; called before its signature is looked at, and never again after that."""
        if self._transport.is_authenticated():
            return paramiko.AUTH_FAILED  # type: ignore[attr-defined,no-any-return]
        self.export = self._exports.find(key) if username == self._user else None
        return paramiko.AUTH_FAILED if self.export is None else paramiko.AUTH_SUCCESSFUL  # type: ignore[attr-defined,no-any-return]

    def check_channel_request(self, kind: str, chanid: int) -> int:
        if kind != "session" or self.session is not None:
            return paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED  # type: ignore[attr-defined,no-any-return]
        self.session = chanid
        return paramiko.OPEN_SUCCEEDED  # type: ignore[attr-defined,no-any-return]

    def check_channel_subsystem_request(self, channel: paramiko.Channel, name: str | bytes) -> bool:
        wanted = name in {"sftp", b"sftp"} and not self.wants_files.is_set()
        if wanted:
            self.questions = Questions(channel)
            self.wants_files.set()
        return wanted


def serve(
    stream: Any, exports: Exports, host_key: paramiko.PKey, user: str, log: Callable[[str], object] = lambda _: None
) -> None:
    """Serve one connection to its end.

    Args:
        stream: A socket, or a channel of paramiko's; it is closed at the end.
        exports: The folders that can be had.
        host_key: The key that shows who we are.
        user: The login name that is to be given.
        log: Where to say what was wrong.
    """
    try:
        transport = paramiko.Transport(stream, default_window_size=WINDOW, default_max_packet_size=LARGEST_PACKET)
    except (paramiko.SSHException, OSError, EOFError) as error:
        stream.close()
        log(f"the connection has ended at once: {error}")
        return
    transport.set_log_channel(_LOG_CHANNEL)
    transport.banner_timeout = transport.auth_timeout = transport.handshake_timeout = LOGIN_TIME
    door = _Door(exports, user, transport)
    try:
        transport.get_security_options().ciphers = CIPHERS
        transport.add_server_key(host_key)
        _serve(transport, door, log)
    finally:
        transport.close()
        stream.close()
        transport.join(END_TIME)


def _serve(transport: paramiko.Transport, door: _Door, log: Callable[[str], object]) -> None:
    try:
        transport.start_server(server=door)
        questions = _questions(transport, door)
    except (paramiko.SSHException, OSError, EOFError) as error:
        log(f"no login: {error or type(error).__name__}")
        return
    export = door.export
    if questions is None or export is None or not export.enter(transport):
        log("no login in time, or no files were asked for")
        return
    try:
        _converse(questions, export, log)
    finally:
        export.leave(transport)


def _questions(transport: paramiko.Transport, door: _Door) -> Questions | None:
    """What is asked in the session for files; None when none is asked for in time, or the connection ends."""
    deadline = Deadline.after(LOGIN_TIME)
    while transport.is_active() and not deadline.expired:  # paramiko tells nobody who waits that it has ended
        if door.wants_files.wait(LOOK_INTERVAL):
            return door.questions
    return None


def _converse(questions: Questions, export: Export, log: Callable[[str], object]) -> None:
    session = SftpSession(export.folder, os.fsencode(export.name))
    try:
        questions.answer(session)
    except SftpGarbage as error:
        log(f"what uses {export.name} speaks no SFTP: {error}")
    except (OSError, EOFError) as error:  # the connection has ended, or was ended
        log(f"the connection to {export.name} has ended: {error or type(error).__name__}")
    finally:
        session.close()
