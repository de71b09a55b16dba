"""One session: the server's commands and the client's proxy together.

`X2GoTerminalSession` starts, resumes, suspends and terminates, and after each step makes sure by the agent's own state
that it has happened. It knows no display and keeps no history; every step either succeeds or leaves nothing of its own
running on either side.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Any

from crl.deadlines import Deadline
from crl.errors import CrlError
from crl.secrets import Secret
from crl.x2go._host import Forwarder, RunAnswer
from crl.x2go._records import parse_resume, parse_start
from crl.x2go._remote import AgentReport
from crl.x2go.backends.control.plain import X2GoControlSession
from crl.x2go.backends.info.plain import X2GoServerSessionInfo
from crl.x2go.backends.proxy.base import X2GoProxyBASE
from crl.x2go.backends.proxy.nx3 import X2GoProxyNX3
from crl.x2go.backends.terminal._failures import start_failure
from crl.x2go.backends.terminal._params import X2GoSessionParams, candidates, command_words, rewrite_blanks
from crl.x2go.state import AgentState
from crl.x2go.x2go_exceptions import (
    X2GoAgentDied,
    X2GoCommandNotFound,
    X2GoSessionEnded,
    X2GoSessionException,
    X2GoTerminalSessionException,
    X2GoTimeOutException,
)

__all__ = ["X2GoSessionParams", "X2GoTerminalSession", "X2GoTerminalSessionSTDOUT"]

CLEANING_TIME = 10.0
_SETTLED = (AgentState.RUNNING, AgentState.SUSPENDED)


class X2GoTerminalSession:
    """A session on a server, shown on the controller.

    Args:
        control_session: The account on the server.
        session_info: The session, if it exists already.
        params: How it is to be.
        sessions_rootdir: Where the client's folder of the session is made; None for a private one.
        proxy_options: Options of the proxy.
        proxy_backend: The class of the proxy.
        forwarder: What makes the tunnel for the graphics; by default the target.
        session_instance: The session this belongs to; only kept.
    """

    def __init__(
        self,
        control_session: X2GoControlSession,
        session_info: X2GoServerSessionInfo | None = None,
        *,
        params: X2GoSessionParams | None = None,
        sessions_rootdir: str | os.PathLike[str] | None = None,
        proxy_options: dict[str, object] | None = None,
        proxy_backend: type[X2GoProxyBASE] = X2GoProxyNX3,
        forwarder: Forwarder | None = None,
        session_instance: object = None,
    ) -> None:
        self.control_session = control_session
        self.session_info = session_info or X2GoServerSessionInfo()
        self.params = params or X2GoSessionParams()
        self.sessions_rootdir = sessions_rootdir
        self.proxy_options = proxy_options or {}
        self.proxy_backend = proxy_backend
        self.forwarder: Forwarder = forwarder or control_session.target
        self.session_instance = session_instance
        self.proxy: X2GoProxyBASE | None = None

    # Facts.

    def get_session_name(self) -> str:
        """The session's name, "" before its start."""
        return self.session_info.name

    def get_session_info(self) -> X2GoServerSessionInfo:
        """What is known of the session."""
        return self.session_info

    def get_session_cmd(self) -> str:
        """The session's command."""
        return " ".join(command_words(self.params.cmd))

    def get_session_type(self) -> str | None:
        """The session's letter: D or R."""
        return self.session_info.get_session_type() or self.params.rewrite_session_type()

    def is_desktop_session(self) -> bool:
        """Whether it is a desktop."""
        return self.get_session_type() == "D"

    def is_rootless_session(self) -> bool:
        """Whether it is a single application."""
        return self.get_session_type() == "R"

    def ok(self) -> bool:
        """Whether the session is known and its proxy shows it."""
        return self.session_info.is_initialized() and self.proxy is not None and self.proxy.ok()

    def look(self) -> AgentReport:
        """The agent's state on the server now."""
        return self.control_session.look(self.session_info)

    def is_running(self) -> bool:
        """Whether the agent runs, asked of the server."""
        return self.look().state is AgentState.RUNNING

    def is_suspended(self) -> bool:
        """Whether the agent is suspended, asked of the server."""
        report = self.look()
        return report.alive and report.state is AgentState.SUSPENDED

    # Steps.

    def has_command(self, cmd: str | Sequence[str]) -> bool:
        """Whether the server has the program of a command."""
        return bool(self.control_session.find_programs(candidates(cmd)))

    def require_command(self) -> None:
        """Make sure the session's command exists.

        Raises:
            X2GoCommandNotFound: It does not.
        """
        if not self.has_command(self.params.cmd):
            wanted = candidates(self.params.cmd)
            raise X2GoCommandNotFound(
                f"the command {self.get_session_cmd()!r} does not exist there",
                host=self.control_session.host,
                doing="starting a session",
                advice=f"install one of: {', '.join(wanted)}" if len(wanted) > 1 else f"see: command -v {wanted[0]}",
            )

    def start(self, deadline: Deadline, *, display: str | None = None, xauthority: str | None = None) -> None:
        """Start a new session with its agent and proxy; its command comes with `run_command`.

        Args:
            deadline: By when.
            display: The display on the controller; by default that of the environment.
            xauthority: The file with its cookie.

        Raises:
            X2GoTerminalSessionException: The server did not start it, as its subclasses say.
            X2GoProxyException: The proxy did not show it, as its subclasses say.
            X2GoTimeOutException: It took too long.
        """
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(self._abandon_start)
            answer = self.control_session.execute(
                ["x2gostartagent", *self.params.start_arguments()],
                deadline,
                env=self.params.start_environment(),
                leaves_child=True,
            )
            self._take_start(answer)
            self._connect(deadline, display, xauthority, "starting a session")
            on_failure.pop_all()

    def _take_start(self, answer: RunAnswer) -> None:
        started = parse_start(answer.stdout) if answer.status == 0 else None
        if started is None:
            raise start_failure(answer, self.control_session.host)
        facts = self.control_session.get_facts()
        Secret(started.cookie)  # from now on it is taken out of every error text
        self.session_info.initialize_from(
            started, facts.user, facts.hostname, remote_container=f"{facts.home}/.x2go/C-{started.name}"
        )

    def _connect(self, deadline: Deadline, display: str | None, xauthority: str | None, doing: str) -> None:
        """Bring up the proxy and wait until the agent runs; the proxy is ended again if that fails."""
        self.release_proxy()
        proxy = self.proxy_backend(
            session_info=self.session_info,
            ssh_transport=self.forwarder,
            sessions_rootdir=self.sessions_rootdir,
            proxy_options=self.proxy_options,
            session_instance=self.session_instance,
            display=display,
            xauthority=xauthority,
        )
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(proxy.stop_thread)
            try:
                proxy.bring_up(deadline)
            except CrlError as error:
                raise self._why(error, doing) from error
            report = self.control_session.watch(self.session_info, _SETTLED, deadline)
            if report.state is not AgentState.RUNNING or report.gone:
                raise self._not_running(report, proxy, doing)
            on_failure.pop_all()
        self.proxy = proxy

    def _why(self, error: CrlError, doing: str) -> CrlError:
        """The proxy failed; if that is because the agent died, say so instead."""
        report = self.look()
        return self._agent_died(doing) if report.gone else error

    def _not_running(self, report: AgentReport, proxy: X2GoProxyBASE, doing: str) -> CrlError:
        if report.gone:
            return self._agent_died(doing)
        if not proxy.ok():
            return proxy.ending()
        return X2GoTimeOutException(
            f"the agent is {report.state} and did not begin to run in time",
            host=self.control_session.host,
            doing=doing,
            transcript=self.control_session.notes(self.session_info.name).log,
        )

    def _agent_died(self, doing: str) -> X2GoAgentDied:
        return X2GoAgentDied(
            f"the session's x2goagent (process {self.session_info.agent_pid}) has died",
            host=self.control_session.host,
            doing=doing,
            transcript=self.control_session.notes(self.session_info.name).log,
        )

    def _abandon_start(self) -> None:
        """Leave nothing of a start that failed; what goes wrong here must not hide why it failed."""
        deadline = Deadline.after(CLEANING_TIME)
        with contextlib.suppress(CrlError, OSError):
            known = [self.session_info] if self.session_info.is_initialized() else []
            for info in known or self.control_session.started_by_us(deadline):
                self.control_session.terminate(info.name, deadline)
                self.control_session.clean(info, deadline)
        self.session_info = X2GoServerSessionInfo()

    def run_command(self, cmd: str | Sequence[str] | None = None) -> None:
        """Start the session's command on its display; when it ends, the server ends the session."""
        info = self.session_info
        command = rewrite_blanks(self.params.cmd if cmd is None else cmd)
        self.control_session.start_detached(
            [
                "x2goruncommand", str(info.display), str(info.agent_pid), info.name, str(info.snd_port), command,
                "none", self.get_session_type() or "R",
            ]
        )  # fmt: skip

    def resume(self, deadline: Deadline, *, display: str | None = None, xauthority: str | None = None) -> None:
        """Show the session again, here; a session that is shown elsewhere is taken from there.

        Raises:
            X2GoTerminalSessionException: The server did not resume it.
            X2GoProxyException: The proxy did not show it; the session is then suspended.
            X2GoTimeOutException: It took too long.
        """
        info = self.session_info
        arguments = self.params.resume_arguments(self.control_session.checked_name(info.name))
        self._take_from_others(deadline)
        answer = self.control_session.execute(["x2goresume-session", *arguments], deadline)
        ports = parse_resume(answer.stdout) if answer.status == 0 and "ERROR" not in answer.stderr else None
        if ports is None:
            raise self._resume_failure(answer)
        info.graphics_port, info.snd_port, info.sshfs_port = ports.graphics_port, ports.snd_port, ports.sshfs_port
        # The script does not wait for that, and nxproxy gives up at the first refusal, with words about a wrong cookie.
        self.control_session.wait_until_listening(info, deadline)
        try:
            self._connect(deadline, display, xauthority, "resuming a session")
        except CrlError:
            with contextlib.suppress(CrlError, OSError):  # the first error is the one to show
                self.control_session.suspend(info.name, Deadline.after(CLEANING_TIME))
            raise
        info.status = "R"

    def _take_from_others(self, deadline: Deadline) -> None:
        """Suspend a session that is not suspended, before it is resumed.

        x2goresume-session would do so too, but then waits two seconds. That is just long enough for the server's
        x2gocleansessions to take the session for one that should be suspended, and to do it again after our resume.
        """
        report = self.look()
        if report.gone:
            raise self._ended("resuming a session")
        if report.state is not AgentState.SUSPENDED:
            self._suspend_agent(deadline, "resuming a session")

    def _resume_failure(self, answer: RunAnswer) -> X2GoTerminalSessionException | X2GoSessionException:
        seen = answer.stderr or answer.stdout
        if "terminated" in seen or "failed to resume" in seen:
            return X2GoSessionEnded(
                f"the session {self.session_info.name} has ended",
                host=self.control_session.host,
                doing="resuming a session",
                transcript=seen,
            )
        return X2GoTerminalSessionException(
            f"x2goresume-session ended with status {answer.status} and named no port",
            host=self.control_session.host,
            doing="resuming a session",
            transcript=seen,
        )

    def suspend(self, deadline: Deadline) -> None:
        """Suspend the session and end its proxy.

        Raises:
            X2GoSessionEnded: The session has ended instead.
            X2GoTimeOutException: The agent was not suspended in time.
        """
        self._suspend_agent(deadline, "suspending a session")
        self.session_info.status = "S"

    def _suspend_agent(self, deadline: Deadline, doing: str) -> None:
        self.control_session.suspend(self.session_info.name, deadline)
        report = self.control_session.watch(self.session_info, (AgentState.SUSPENDED,), deadline)
        self.release_proxy()
        if report.gone:
            raise self._ended(doing)
        if report.state is not AgentState.SUSPENDED:
            raise X2GoTimeOutException(
                f"the agent is still {report.state}", host=self.control_session.host, doing=doing
            )

    def _ended(self, doing: str) -> X2GoSessionEnded:
        return X2GoSessionEnded(
            f"the session {self.session_info.name} has ended",
            host=self.control_session.host,
            doing=doing,
            transcript=self.control_session.notes(self.session_info.name).command_output,
        )

    def terminate(self, deadline: Deadline) -> None:
        """End the session and remove what it left on both sides.

        Raises:
            X2GoTimeOutException: The agent did not end in time.
        """
        try:
            self.control_session.terminate(self.session_info.name, deadline)
            gone = self.control_session.clean(self.session_info, deadline)
        finally:
            self.release_proxy()
        if not gone:
            raise X2GoTimeOutException(
                f"the agent (process {self.session_info.agent_pid}) did not end",
                host=self.control_session.host,
                doing="terminating a session",
            )
        self.session_info.status = "F"

    def release_proxy(self) -> None:
        """End the proxy, if there is one, and all that belongs to it."""
        proxy, self.proxy = self.proxy, None
        if proxy is not None:
            proxy.stop_thread()

    def __enter__(self) -> X2GoTerminalSession:
        return self

    def __exit__(self, *_: Any) -> None:
        self.release_proxy()


X2GoTerminalSessionSTDOUT = X2GoTerminalSession
