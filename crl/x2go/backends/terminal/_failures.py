"""What x2gostartagent means by its exit statuses and words.

A pure function from what the program gave to the error to raise; the statuses are those of x2goserver 4.1.
"""

from __future__ import annotations

from crl.x2go._host import RunAnswer
from crl.x2go.x2go_exceptions import (
    X2GoAgentDied,
    X2GoDesktopSharingDenied,
    X2GoException,
    X2GoSessionLimitReached,
    X2GoTerminalSessionException,
)

__all__ = ["start_failure"]

_MEANING = {
    1: "the server found no port to begin with",
    2: "root must not have sessions on this server",
    3: "USER was not set",
    4: "HOME was not set",
    5: "the path of the home directory has characters beyond ASCII",
    6: "the server does not know its own host name",
    7: "the server did not know the client (X2GO_CLIENT)",
    10: "the server found no free display",
    11: "the server found no free port",
}


def start_failure(answer: RunAnswer, host: str) -> X2GoException:
    """The error for an x2gostartagent that named no session."""
    kind: type[X2GoException] = X2GoTerminalSessionException
    text = _MEANING.get(answer.status, f"x2gostartagent ended with status {answer.status} and named no session")
    advice = None
    if answer.status == 9 or answer.stderr.strip().startswith("LIMIT"):
        kind, text = X2GoSessionLimitReached, "the account may have no more sessions on this server"
        advice = "terminate a session (suspended ones count too), or raise the limit in /etc/x2go/x2goserver.conf"
    elif answer.status == 8 or "ACCESS DENIED" in answer.stderr:
        kind, text = X2GoDesktopSharingDenied, "the owner of the desktop did not allow it"
    elif answer.status == 12:
        kind, text = X2GoAgentDied, "the session's x2goagent ended at once"
        advice = "see session.log in ~/.x2go/C-* on the server; 'localhost' has to be in its /etc/hosts"
    return kind(text, host=host, doing="starting a session", advice=advice, transcript=answer.stderr or answer.stdout)
