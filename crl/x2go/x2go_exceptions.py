"""The exceptions of the X2Go client, with python-x2go's names.

Unlike there they are ordinary exceptions with one common base, and they carry host, doing, advice and the tail of what
was seen, as all of crl's. Below the published names stand finer ones of our own, one for each thing that can be wrong,
and the spellings of old versions as aliases. The module knows only crl's error tree; paramiko's exceptions, which
python-x2go gives out here too, are looked up when somebody asks for them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from crl.errors import RemoteWorldError, UsageError
from crl.secrets import redact

if TYPE_CHECKING:
    from paramiko.ssh_exception import (
        AuthenticationException,
        BadHostKeyException,
        PasswordRequiredException,
        SSHException,
    )

__all__ = [
    "AuthenticationException",
    "BadHostKeyException",
    "OSNotSupportedException",
    "PasswordRequiredException",
    "SSHException",
    "WindowsError",
    "X2GoAgentDied",
    "X2GoBackendException",
    "X2GoBrokerAnswerRefused",
    "X2GoBrokerAuthenticationFailed",
    "X2GoBrokerConnectionException",
    "X2GoClientDisplayError",
    "X2GoClientException",
    "X2GoClientPrintingException",
    "X2GoClientSettingsException",
    "X2GoCommandNotFound",
    "X2GoControlSessionException",
    "X2GoDesktopSharingDenied",
    "X2GoDesktopSharingException",
    "X2GoException",
    "X2GoFolderSharingException",
    "X2GoFwTunnelException",
    "X2GoHostKeyException",
    "X2GoMIMEboxActionException",
    "X2GoMIMEboxQueueException",
    "X2GoNotImplementedYetException",
    "X2GoParameterError",
    "X2GoPrintActionException",
    "X2GoPrintException",
    "X2GoPrintQueueException",
    "X2GoProfileException",
    "X2GoProxyEnded",
    "X2GoProxyException",
    "X2GoProxyMissing",
    "X2GoRemoteHomeException",
    "X2GoRevFwTunnelException",
    "X2GoSFTPClientException",
    "X2GoSSHProxyAuthenticationException",
    "X2GoSSHProxyException",
    "X2GoSSHProxyHostKeyException",
    "X2GoSSHProxyPasswordRequiredException",
    "X2GoServerMissing",
    "X2GoSessionCacheException",
    "X2GoSessionEnded",
    "X2GoSessionException",
    "X2GoSessionLimitReached",
    "X2GoSessionNotFound",
    "X2GoSessionRegistryException",
    "X2GoSoundException",
    "X2GoStateError",
    "X2GoSuspendedByServer",
    "X2GoTelekinesisClientException",
    "X2GoTerminalSessionException",
    "X2GoTimeOutException",
    "X2GoTimeoutException",
    "X2GoUserException",
    "X2GoVerificationFailed",
    "X2goBackendException",
    "X2goBrokerConnectionException",
    "X2goClientException",
    "X2goClientPrintingException",
    "X2goClientSettingsException",
    "X2goControlSessionException",
    "X2goDesktopSharingException",
    "X2goFwTunnelException",
    "X2goHostKeyException",
    "X2goMIMEboxActionException",
    "X2goMIMEboxQueueException",
    "X2goNotImplementedYetException",
    "X2goPrintActionException",
    "X2goPrintException",
    "X2goPrintQueueException",
    "X2goProfileException",
    "X2goProxyException",
    "X2goRemoteHomeException",
    "X2goRevFwTunnelException",
    "X2goSFTPClientException",
    "X2goSSHProxyAuthenticationException",
    "X2goSSHProxyException",
    "X2goSSHProxyHostKeyException",
    "X2goSSHProxyPasswordRequiredException",
    "X2goSessionCacheException",
    "X2goSessionException",
    "X2goSessionRegistryException",
    "X2goTelekinesisClientException",
    "X2goTerminalSessionException",
    "X2goTimeOutException",
    "X2goUserException",
]


class X2GoException(RemoteWorldError):
    """Base of all errors of the X2Go client that are not the caller's."""


class X2GoBackendException(X2GoException):
    """A backend of that name does not exist."""


class X2GoBrokerConnectionException(X2GoException):
    """A session broker cannot be reached or refused us."""


class X2GoClientException(X2GoException):
    """The client object cannot do what was asked."""


class X2GoClientPrintingException(X2GoException):
    """The client's printing settings are not usable."""


class X2GoClientSettingsException(X2GoException):
    """The client's settings are not usable."""


class X2GoControlSessionException(X2GoException):
    """The connection to the X2Go server, or a command on it, failed."""


class X2GoDesktopSharingDenied(X2GoException):
    """The owner of a desktop did not let us share it."""


class X2GoFwTunnelException(X2GoException):
    """A tunnel to the server could not be made."""


class X2GoHostKeyException(X2GoException):
    """The server's host key is not known or was refused."""


class X2GoMIMEboxActionException(X2GoException):
    """A MIME box action failed."""


class X2GoMIMEboxQueueException(X2GoException):
    """The MIME box queue failed."""


class X2GoNotImplementedYetException(X2GoException):
    """python-x2go's name for what it lacks; kept so that code naming it can be imported."""


class X2GoPrintActionException(X2GoException):
    """A print action failed."""


class X2GoPrintException(X2GoException):
    """Printing failed."""


class X2GoPrintQueueException(X2GoException):
    """The print queue failed."""


class X2GoProfileException(X2GoException):
    """A session profile is not usable."""


class X2GoProxyException(X2GoException):
    """The client's graphics proxy (nxproxy) failed."""


class X2GoRemoteHomeException(X2GoException):
    """The user has no home directory on the server."""


class X2GoRevFwTunnelException(X2GoException):
    """A tunnel from the server to us could not be made."""


class X2GoSFTPClientException(X2GoException):
    """Files could not be brought to the server."""


class X2GoSSHProxyException(X2GoException):
    """The hop before the server failed."""


class X2GoSSHProxyAuthenticationException(X2GoSSHProxyException):
    """The hop before the server refused our credentials."""


class X2GoSSHProxyHostKeyException(X2GoSSHProxyException):
    """The host key of the hop before the server is not known or was refused."""


class X2GoSSHProxyPasswordRequiredException(X2GoSSHProxyException):
    """A key for the hop before the server needs a passphrase."""


class X2GoSessionCacheException(X2GoException):
    """The cache of session lists failed."""


class X2GoSessionException(X2GoException):
    """A session cannot do what was asked of it, or is not what it should be."""


class X2GoSessionRegistryException(X2GoException):
    """The registry of sessions cannot do what was asked."""


class X2GoSoundException(X2GoException):
    """There is no sound: this machine has no sound server, or there is no way to it."""


class X2GoTelekinesisClientException(X2GoException):
    """The telekinesis client failed."""


class X2GoTerminalSessionException(X2GoException):
    """The server did not start, resume, suspend or terminate a session."""


class X2GoTimeOutException(X2GoException, TimeoutError):
    """Something did not happen before the deadline."""


class X2GoUserException(X2GoException):
    """The user lacks a right on the server."""


class X2GoFolderSharingException(X2GoUserException):
    """A folder of this machine could not be given to a session."""


class X2GoSshfsMissing(X2GoFolderSharingException):
    """The server has no sshfs, so that it can mount no folder."""


class X2GoBrokerAuthenticationFailed(X2GoBrokerConnectionException):
    """A session broker does not let the user in."""


class X2GoBrokerAnswerRefused(X2GoBrokerConnectionException):
    """A session broker answered what is not acted upon: too long, malformed, or not safe."""


class X2GoServerMissing(X2GoControlSessionException):
    """The X2Go server's programs are not installed on the host."""


class X2GoSessionLimitReached(X2GoTerminalSessionException):
    """The server allows the user no further session."""


class X2GoCommandNotFound(X2GoTerminalSessionException):
    """The session's command does not exist on the server."""


class X2GoAgentDied(X2GoTerminalSessionException):
    """The session's x2goagent ended while it was being started or resumed."""


class X2GoSuspendedByServer(X2GoTerminalSessionException):
    """The server's own daemon, x2gocleansessions, suspended the session while it was being resumed."""


class X2GoSessionNotFound(X2GoSessionException):
    """The server knows no session of that name."""


class X2GoSessionEnded(X2GoSessionException):
    """The session has ended while it was needed."""


class X2GoVerificationFailed(X2GoSessionException, AssertionError):
    """A session is not as it should be; the text lists every point that failed, and shows what was found.

    Args:
        message: What is wrong.
        evidence: State, processes, windows and the ends of both logs.
        picture: The file with a picture of both displays, if there is one.
        **where: As of `CrlError`.
    """

    def __init__(
        self, message: object = "", *args: object, evidence: str = "", picture: str | None = None, **where: Any
    ) -> None:
        super().__init__(message, *args, **where)
        self.evidence = redact(evidence)
        self.picture = picture

    def __str__(self) -> str:
        lines = [super().__str__()]
        if self.evidence:
            lines.append(self.evidence)
        if self.picture:
            lines.append(f"Picture of both displays: {self.picture}")
        return "\n".join(lines)


class X2GoProxyMissing(X2GoProxyException):
    """nxproxy is not installed on the controller."""


class X2GoProxyEnded(X2GoProxyException):
    """nxproxy ended before, or while, the session needed it."""


class X2GoClientDisplayError(X2GoException):
    """The controller has no X display for the session's windows and none could be started."""


class X2GoParameterError(UsageError, ValueError):
    """An argument of a session is not one that an X2Go server understands."""


class X2GoStateError(UsageError):
    """A session was asked for something that its state does not allow, such as resuming a running one."""


class OSNotSupportedException(X2GoException):
    """Something exists only on another operating system."""


class WindowsError(OSError):
    """What Windows raises; here so that code naming it can be imported elsewhere."""


_X2GoException = X2GoException
X2GoDesktopSharingException = X2GoDesktopSharingDenied
X2GoTimeoutException = X2GoTimeOutException

X2goBackendException = X2GoBackendException
X2goBrokerConnectionException = X2GoBrokerConnectionException
X2goClientException = X2GoClientException
X2goClientPrintingException = X2GoClientPrintingException
X2goClientSettingsException = X2GoClientSettingsException
X2goControlSessionException = X2GoControlSessionException
X2goDesktopSharingException = X2GoDesktopSharingException
X2goFwTunnelException = X2GoFwTunnelException
X2goHostKeyException = X2GoHostKeyException
X2goMIMEboxActionException = X2GoMIMEboxActionException
X2goMIMEboxQueueException = X2GoMIMEboxQueueException
X2goNotImplementedYetException = X2GoNotImplementedYetException
X2goPrintActionException = X2GoPrintActionException
X2goPrintException = X2GoPrintException
X2goPrintQueueException = X2GoPrintQueueException
X2goProfileException = X2GoProfileException
X2goProxyException = X2GoProxyException
X2goRemoteHomeException = X2GoRemoteHomeException
X2goRevFwTunnelException = X2GoRevFwTunnelException
X2goSFTPClientException = X2GoSFTPClientException
X2goSSHProxyAuthenticationException = X2GoSSHProxyAuthenticationException
X2goSSHProxyException = X2GoSSHProxyException
X2goSSHProxyHostKeyException = X2GoSSHProxyHostKeyException
X2goSSHProxyPasswordRequiredException = X2GoSSHProxyPasswordRequiredException
X2goSessionCacheException = X2GoSessionCacheException
X2goSessionException = X2GoSessionException
X2goSessionRegistryException = X2GoSessionRegistryException
X2goTelekinesisClientException = X2GoTelekinesisClientException
X2goTerminalSessionException = X2GoTerminalSessionException
X2goTimeOutException = X2GoTimeOutException
X2goUserException = X2GoUserException

_OF_PARAMIKO = ("AuthenticationException", "BadHostKeyException", "PasswordRequiredException", "SSHException")


def __getattr__(name: str) -> Any:
    if name in _OF_PARAMIKO:
        return getattr(importlib.import_module("paramiko.ssh_exception"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
