"""What went wrong with a session: from what the server, its agent and the proxy show to the error to raise.

`start_failure` is a pure function of what x2gostartagent gave; the statuses are those of x2goserver 4.1. `Failures` is
the part of `X2GoTerminalSession` that finds the reason of a failed step; it changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crl.errors import CrlError
from crl.x2go._host import RunAnswer
from crl.x2go._remote import AgentReport
from crl.x2go.backends.info.plain import X2GoServerSessionInfo
from crl.x2go.backends.proxy.base import X2GoProxyBASE
from crl.x2go.x2go_exceptions import (
    X2GoAgentDied,
    X2GoDesktopSharingDenied,
    X2GoException,
    X2GoSessionEnded,
    X2GoSessionException,
    X2GoSessionLimitReached,
    X2GoSuspendedByServer,
    X2GoTerminalSessionException,
    X2GoTimeOutException,
)

if TYPE_CHECKING:
    from crl.x2go._server import X2GoServer

__all__ = ["Failures", "start_failure"]

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


class Failures:
    """Why a step of `X2GoTerminalSession` failed."""

    session_info: X2GoServerSessionInfo

    if TYPE_CHECKING:

        @property
        def server(self) -> X2GoServer: ...

        @property
        def _host(self) -> str: ...

        def look(self) -> AgentReport: ...

    def _why(self, error: CrlError, doing: str) -> CrlError:
        """The proxy failed; if that is because of the agent, say so instead."""
        report = self.look()
        if report.swept and not report.gone:
            return self._suspended_by_server(doing)
        return self._agent_died(doing) if report.gone else error

    def _not_running(self, report: AgentReport, proxy: X2GoProxyBASE, doing: str) -> CrlError:
        if report.gone:
            return self._agent_died(doing)
        if report.swept:
            return self._suspended_by_server(doing)
        if not proxy.ok():
            return proxy.ending()
        return X2GoTimeOutException(
            f"the agent is {report.state} and did not begin to run in time",
            host=self._host,
            doing=doing,
            transcript=self.server.notes(self.session_info.name).log,
        )

    def _suspended_by_server(self, doing: str) -> X2GoSuspendedByServer:
        return X2GoSuspendedByServer(
            "the server's x2gocleansessions took the session for one to be suspended",
            host=self._host,
            doing=doing,
            advice="resume it again",
        )

    def _agent_died(self, doing: str) -> X2GoAgentDied:
        return X2GoAgentDied(
            f"the session's x2goagent (process {self.session_info.agent_pid}) has died",
            host=self._host,
            doing=doing,
            transcript=self.server.notes(self.session_info.name).log,
        )

    def _resume_failure(self, answer: RunAnswer) -> X2GoTerminalSessionException | X2GoSessionException:
        seen = answer.stderr or answer.stdout
        if "terminated" in seen or "failed to resume" in seen:
            return X2GoSessionEnded(
                f"the session {self.session_info.name} has ended",
                host=self._host,
                doing="resuming a session",
                transcript=seen,
            )
        return X2GoTerminalSessionException(
            f"x2goresume-session ended with status {answer.status} and named no port",
            host=self._host,
            doing="resuming a session",
            transcript=seen,
        )

    def _ended(self, doing: str) -> X2GoSessionEnded:
        return X2GoSessionEnded(
            f"the session {self.session_info.name} has ended",
            host=self._host,
            doing=doing,
            transcript=self.server.notes(self.session_info.name).command_output,
        )
