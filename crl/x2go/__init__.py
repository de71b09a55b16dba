"""X2Go sessions of targets, with python-x2go's modules and class names.

The package stands on a target's verbs and on `crl.display`; on the server it needs x2goserver, on the controller
nxproxy and, without a display, Xvfb and a window manager. Importing it reads nothing from the machine, connects to
nothing and patches nothing; paramiko is imported when something of it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crl.x2go import defaults, log, utils, x2go_exceptions
from crl.x2go.backends.info.plain import X2GoServerSessionInfo, X2GoServerSessionList
from crl.x2go.backends.printing.file import X2GoClientPrinting
from crl.x2go.backends.profiles.file import X2GoSessionProfiles
from crl.x2go.backends.settings.file import X2GoClientSettings
from crl.x2go.cache import X2GoListSessionsCache
from crl.x2go.cleanup import x2go_cleanup
from crl.x2go.client import X2GoClient
from crl.x2go.clientdisplay import ClientDisplay
from crl.x2go.defaults import (
    BACKENDS,
    X2GO_CLIENT_ROOTDIR,
    X2GO_SESSIONS_ROOTDIR,
    X2GO_SSH_ROOTDIR,
)
from crl.x2go.guardian import X2GoSessionGuardian
from crl.x2go.log import (
    X2GoLogger,
    X2goLogger,
    loglevel_DEBUG,
    loglevel_DEBUG_SFTPXFER,
    loglevel_DEFAULT,
    loglevel_ERROR,
    loglevel_INFO,
    loglevel_NONE,
    loglevel_NOTICE,
    loglevel_WARN,
)
from crl.x2go.registry import X2GoSessionRegistry
from crl.x2go.session import X2GoSession, list_sessions
from crl.x2go.state import AgentState, SessionState, Transition
from crl.x2go.verification import Verification

if TYPE_CHECKING:
    from crl.x2go.defaults import CURRENT_LOCAL_USER, LOCAL_HOME, X2GOCLIENT_OS
    from crl.x2go.x2go_exceptions import *  # noqa: F403 - all of them, also the old spellings

__all__ = [
    "BACKENDS",
    "CURRENT_LOCAL_USER",
    "LOCAL_HOME",
    "X2GOCLIENT_OS",
    "X2GO_CLIENT_ROOTDIR",
    "X2GO_SESSIONS_ROOTDIR",
    "X2GO_SSH_ROOTDIR",
    "AgentState",
    "ClientDisplay",
    "SessionState",
    "Transition",
    "Verification",
    "X2GoClient",
    "X2GoClientPrinting",
    "X2GoClientSettings",
    "X2GoListSessionsCache",
    "X2GoLogger",
    "X2GoServerSessionInfo",
    "X2GoServerSessionList",
    "X2GoSession",
    "X2GoSessionGuardian",
    "X2GoSessionProfiles",
    "X2GoSessionRegistry",
    "X2goClient",
    "X2goClientPrinting",
    "X2goClientSettings",
    "X2goLogger",
    "X2goSession",
    "X2goSessionProfiles",
    "defaults",
    "list_sessions",
    "log",
    "loglevel_DEBUG",
    "loglevel_DEBUG_SFTPXFER",
    "loglevel_DEFAULT",
    "loglevel_ERROR",
    "loglevel_INFO",
    "loglevel_NONE",
    "loglevel_NOTICE",
    "loglevel_WARN",
    "utils",
    "x2go_cleanup",
    "x2go_exceptions",
]
__all__ += x2go_exceptions.__all__

__NAME__ = "python-x2go"
__VERSION__ = "0.6.1.3"  # of python-x2go, whose interface this is
__AUTHOR__ = "the authors of crl"

X2goClient = X2GoClient
X2goClientPrinting = X2GoClientPrinting
X2goClientSettings = X2GoClientSettings
X2goSession = X2GoSession
X2goSessionProfiles = X2GoSessionProfiles

_OF_THE_MACHINE = ("CURRENT_LOCAL_USER", "LOCAL_HOME", "X2GOCLIENT_OS")

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name in _OF_THE_MACHINE:
            return getattr(defaults, name)
        if name in x2go_exceptions.__all__:
            return getattr(x2go_exceptions, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
