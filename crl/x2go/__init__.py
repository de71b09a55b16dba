"""X2Go sessions of targets, with python-x2go's modules and class names.

The package stands on a target's verbs and on `crl.display`; on the server it needs x2goserver, on the controller
nxproxy and, without a display, Xvfb and a window manager.
"""

from crl.x2go.backends.info.plain import X2GoServerSessionInfo, X2GoServerSessionList
from crl.x2go.clientdisplay import ClientDisplay
from crl.x2go.session import X2GoSession, list_sessions
from crl.x2go.state import AgentState, SessionState, Transition
from crl.x2go.verification import Verification
from crl.x2go.x2go_exceptions import (
    X2GoAgentDied,
    X2GoClientDisplayError,
    X2GoCommandNotFound,
    X2GoException,
    X2GoParameterError,
    X2GoProxyEnded,
    X2GoProxyException,
    X2GoProxyMissing,
    X2GoServerMissing,
    X2GoSessionEnded,
    X2GoSessionException,
    X2GoSessionLimitReached,
    X2GoSessionNotFound,
    X2GoStateError,
    X2GoTerminalSessionException,
    X2GoTimeOutException,
    X2GoVerificationFailed,
)

__all__ = [
    "AgentState",
    "ClientDisplay",
    "SessionState",
    "Transition",
    "Verification",
    "X2GoAgentDied",
    "X2GoClientDisplayError",
    "X2GoCommandNotFound",
    "X2GoException",
    "X2GoParameterError",
    "X2GoProxyEnded",
    "X2GoProxyException",
    "X2GoProxyMissing",
    "X2GoServerMissing",
    "X2GoServerSessionInfo",
    "X2GoServerSessionList",
    "X2GoSession",
    "X2GoSessionEnded",
    "X2GoSessionException",
    "X2GoSessionLimitReached",
    "X2GoSessionNotFound",
    "X2GoStateError",
    "X2GoTerminalSessionException",
    "X2GoTimeOutException",
    "X2GoVerificationFailed",
    "list_sessions",
]
