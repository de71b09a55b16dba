"""Every X2Go error is an exception of crl's tree, keeps its fields when pickled, and has python-x2go's name."""

from __future__ import annotations

import pickle

import paramiko
import pytest

from crl.errors import CrlError, RemoteWorldError, UsageError
from crl.x2go import x2go_exceptions
from crl.x2go.x2go_exceptions import X2GoException, X2GoParameterError, X2GoStateError

PUBLISHED = [
    "X2GoClientException",
    "X2GoClientPrintingException",
    "X2GoClientSettingsException",
    "X2GoSessionException",
    "X2GoControlSessionException",
    "X2GoSFTPClientException",
    "X2GoRemoteHomeException",
    "X2GoHostKeyException",
    "X2GoSSHProxyException",
    "X2GoSSHProxyAuthenticationException",
    "X2GoSSHProxyPasswordRequiredException",
    "X2GoSSHProxyHostKeyException",
    "X2GoTerminalSessionException",
    "X2GoSessionCacheException",
    "X2GoUserException",
    "X2GoProfileException",
    "X2GoSessionRegistryException",
    "X2GoFwTunnelException",
    "X2GoRevFwTunnelException",
    "X2GoPrintException",
    "X2GoPrintQueueException",
    "X2GoPrintActionException",
    "X2GoProxyException",
    "X2GoMIMEboxActionException",
    "X2GoMIMEboxQueueException",
    "X2GoNotImplementedYetException",
    "X2GoDesktopSharingDenied",
    "X2GoTimeOutException",
    "X2GoBrokerConnectionException",
    "X2GoTelekinesisClientException",
    "X2GoBackendException",
]
OF_OTHERS = {
    "AuthenticationException", "BadHostKeyException", "PasswordRequiredException", "SSHException", "WindowsError",
}  # fmt: skip
ALL = sorted({getattr(x2go_exceptions, name) for name in set(x2go_exceptions.__all__) - OF_OTHERS}, key=str)


def test_the_published_names_are_there() -> None:
    assert set(PUBLISHED) <= set(x2go_exceptions.__all__)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_each_is_of_the_tree_and_can_be_pickled(kind: type[CrlError]) -> None:
    assert issubclass(kind, RemoteWorldError if issubclass(kind, X2GoException) else UsageError)
    error = kind("why", host="alpha", doing="starting", advice="do this", transcript="seen")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    assert (again.host, again.advice) == ("alpha", "do this")


def test_callers_mistakes_are_usage_errors() -> None:
    assert issubclass(X2GoParameterError, ValueError)
    assert not issubclass(X2GoStateError, X2GoException)


def test_old_spellings_are_the_same_classes() -> None:
    for name in PUBLISHED:
        if name.endswith("Exception"):
            old = name.replace("X2Go", "X2go", 1)
            assert getattr(x2go_exceptions, old) is getattr(x2go_exceptions, name)
    assert x2go_exceptions.X2goDesktopSharingException is x2go_exceptions.X2GoDesktopSharingDenied
    assert x2go_exceptions.X2GoDesktopSharingException is x2go_exceptions.X2GoDesktopSharingDenied
    assert x2go_exceptions.X2GoTimeoutException is x2go_exceptions.X2GoTimeOutException


def test_the_exceptions_of_paramiko_are_paramikos() -> None:
    assert x2go_exceptions.SSHException is paramiko.SSHException
    assert {getattr(x2go_exceptions, name) for name in OF_OTHERS} >= {
        paramiko.AuthenticationException, paramiko.BadHostKeyException, paramiko.PasswordRequiredException,
    }  # fmt: skip
    with pytest.raises(AttributeError, match="X2GoNothing"):
        x2go_exceptions.__getattr__("X2GoNothing")
