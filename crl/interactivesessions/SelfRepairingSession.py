# ruff: noqa: N999 - the published name of the module
"""Commands on one node over a session that is made again when it is lost, as in the published package.

A thin layer: a session made by the caller, and a link on it that runs the commands. It promises that a command is run
again only when nothing of it was begun, and that one which takes too long is ended with its process group.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from crl.deadlines import Deadline
from crl.errors import CrlError
from crl.interactivesessions import _process
from crl.interactivesessions._recovery import is_definite
from crl.interactivesessions.interactivesessionexceptions import InteractiveSessionError
from crl.interactivesessions.runnerexceptions import (
    RunnerException,
    RunnerTerminalSessionBroken,
    RunnerTerminalSessionClosed,
    WrappingError,
)
from crl.interactivesessions.RunnerSession import RunnerSession
from crl.interactivesessions.runnerterminal import RunnerTerminal
from crl.interactivesessions.shells.shell import TimeoutError as ShellTimeout
from crl.link import LinkError, LinkStartError, ProtocolViolation

__all__ = [
    "CommandExecutionFailed",
    "FailedToCreateSession",
    "FailedToRunInteractiveHandler",
    "RestoreTimedOut",
    "RunNotStarted",
    "SelfRepairingSession",
    "SessionNotInitialized",
    "UnexpectedTerminalOutput",
]

_TIMEOUT: Final = 60.0
_TERMINATION_TIMEOUT: Final = 10.0

logger = logging.getLogger(__name__)

Result = tuple[int, str, str]


class CommandExecutionFailed(InteractiveSessionError):
    """A command's status is not one of those that are good; the argument is status, output and error output."""


class FailedToCreateSession(InteractiveSessionError):
    """The session could not be made; the argument is the last error."""


class FailedToRunInteractiveHandler(WrappingError):
    """Python could not be started on the node; the argument is the error."""


class SessionNotInitialized(WrappingError):
    """What `create_runner_session` gave has no open session; the argument is the error."""


class RunNotStarted(WrappingError):
    """A command could not be started; the argument is the error."""


class RestoreTimedOut(RunnerTerminalSessionBroken):
    """The session was lost while a command ran, and did not come back: what became of the command is unknown."""


class UnexpectedTerminalOutput(RunnerTerminalSessionBroken):
    """The node sent what is no answer while a command ran: what became of the command is unknown."""


class SelfRepairingSession:
    """Runs commands on a node.

    Args:
        node_name: The node, handed to `create_runner_session`.
        create_runner_session: Is called with the node and ``work_dir``, and gives a `RunnerSession` or an
            `InteractiveSessionExecutor`.
        python_command: The Python there; None finds one.
        max_retries: How often making a session is tried again.
        sleep_between_retries: Seconds in between.
    """

    def __init__(
        self,
        node_name: Any,
        create_runner_session: Callable[..., Any],
        python_command: str | None = None,
        max_retries: int = 10,
        sleep_between_retries: float = 3,
    ) -> None:
        self._node_name = node_name
        self._create_runner_session = create_runner_session
        self._python_command = python_command
        self._max_retries = int(max_retries)
        self._sleep_between_retries = float(sleep_between_retries)
        self._work_dir = f"/tmp/{uuid.uuid4()}"
        self._session: Any = None
        self._terminal: RunnerTerminal | None = None
        self._closed = threading.Event()

    def run(
        self,
        cmd: str,
        ignore_statuses: Iterable[int | str] | None = None,
        timeout: float = -1,
        executable: str = "/bin/bash",
    ) -> Result:
        """Run a command whose status has to be good.

        Args:
            cmd: The command.
            ignore_statuses: The good statuses; ``"*"`` among them is all, None is 0 alone.
            timeout: Seconds; negative is 60.
            executable: The shell that runs it.

        Returns:
            Status, output and error output.

        Raises:
            CommandExecutionFailed: The status is another one.
        """
        good = [0] if ignore_statuses is None else list(ignore_statuses)
        result = self.run_no_validate(cmd, timeout, executable)
        if result[0] not in good and "*" not in good:
            raise CommandExecutionFailed(result, host=str(self._node_name), doing=cmd)
        return result

    def run_ignore_all_exceptions(
        self, cmd: str, timeout: float = -1, executable: str = "/bin/bash"
    ) -> Result | None:
        """As `run_no_validate`, but None where that raises; the error is in the log."""
        try:
            return self.run_no_validate(cmd, timeout, executable)
        except Exception as error:  # noqa: BLE001 - what the name says
            logger.info("%s: ignored: %s", self._node_name, error)
            return None

    def run_no_validate(self, cmd: str, timeout: float = -1, executable: str = "/bin/bash") -> Result:
        """Run a command, whatever its status.

        Args:
            cmd: The command.
            timeout: Seconds; negative is 60.
            executable: The shell that runs it.

        Returns:
            Status, output and error output, without line ends at their ends.

        Raises:
            TimeoutError: It took too long; it was ended with its process group.
            FailedToCreateSession: There is no session, and none can be made.
            RunNotStarted: There is no such shell.
            RestoreTimedOut: The session was lost when the command had begun, or might have.
            UnexpectedTerminalOutput: So it was, since the node broke the rules.
        """
        terminal = self._opened()
        seconds = _TIMEOUT if timeout < 0 else timeout
        try:
            process = _process.start(terminal, cmd, executable, {}, _TERMINATION_TIMEOUT)
            process.collect()
            result = process.wait(Deadline.after(seconds))
        except OSError as error:
            raise RunNotStarted(error, host=terminal.host, doing=cmd) from error
        except _process.RunnerTimeout as error:
            raise ShellTimeout(_text(error.result.stdout), host=terminal.host, doing=cmd) from error
        except RunnerTerminalSessionBroken as error:
            lost = error.args[0] if error.args else error
            kind = UnexpectedTerminalOutput if isinstance(lost, ProtocolViolation) else RestoreTimedOut
            raise kind(lost, host=terminal.host, doing=cmd) from error
        return int(result.status), _text(result.stdout), _text(result.stderr)

    # The session

    def _opened(self) -> RunnerTerminal:
        """The terminal, made anew when there is none or its link is lost."""
        terminal = self._terminal
        if terminal is not None and terminal.session_id is not None and terminal.link.alive:
            return terminal
        self._closed.clear()
        for attempt in range(self._max_retries + 1):
            try:
                return self._open()
            except (InteractiveSessionError, RunnerException, LinkError) as error:
                logger.info("%s: try %d failed: %s", self._node_name, attempt + 1, error)
                failure = error
            last = attempt == self._max_retries or is_definite(failure)
            if last or self._closed.wait(self._sleep_between_retries):
                break
        raise FailedToCreateSession(failure, host=str(self._node_name)) from failure

    def _open(self) -> RunnerTerminal:
        self._drop()
        with _named_errors():
            session = self._create_runner_session(self._node_name, work_dir=self._work_dir)
            terminal = self._terminal_of(session)
        self._session, self._terminal = session, terminal
        return terminal

    def _terminal_of(self, session: Any) -> RunnerTerminal:
        """The Python of a new session, which is closed when there is none."""
        try:
            if isinstance(session, RunnerSession):
                terminal = session.runnerterminal
            else:
                session.setup_working_directory()
                terminal = RunnerTerminal()
                terminal.python = self._python_command
                terminal.initialize(session)
        except BaseException:
            session.close()
            raise
        return terminal

    def _drop(self) -> None:
        session, terminal = self._session, self._terminal
        self._session = self._terminal = None
        try:
            if terminal is not None:
                terminal.close_session()
                if not isinstance(session, RunnerSession):
                    session.remove_working_directory()
        except CrlError as error:
            logger.info("%s: a session did not end in order: %s", self._node_name, error)
        finally:
            if session is not None:
                session.close()

    def reset(self) -> None:
        """End the session and make a new one; that it cannot be made is in the log."""
        self._drop()
        try:
            self._opened()
        except FailedToCreateSession as error:
            logger.warning("%s: %s", self._node_name, error)

    def close(self) -> None:
        """End the session; the next command makes a new one."""
        self._closed.set()
        self._drop()


@contextmanager
def _named_errors() -> Iterator[None]:
    """Give what can go wrong with a new session its published names."""
    try:
        yield
    except LinkStartError as error:
        raise FailedToRunInteractiveHandler(error) from error
    except RunnerTerminalSessionClosed as error:
        raise SessionNotInitialized(error) from error


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace").rstrip("\r\n")
