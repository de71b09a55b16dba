"""The keywords of ``TargetLibrary`` about processes that run while the suite goes on.

They know `crl.targets` and Robot Framework, and the open targets of the library that they are a part of. What the other
keywords need of them, too, is here: environments, secrets and results in the log.
"""

from __future__ import annotations

import signal as signals
from datetime import timedelta
from typing import Any

from robot.api import logger
from robot.api.deco import keyword
from robot.api.types import Secret

from crl.errors import UsageError
from crl.secrets import redact, to_secret
from crl.targets import DetachedProcess, RunResult
from TargetLibrary.foundation import seconds
from TargetLibrary.processes import StartedProcess
from TargetLibrary.registry import OpenTargets

__all__ = ["ProcessKeywords", "environment", "log_result", "plain"]

LOGGED_LENGTH = 4000
STOP_TIMEOUT = 30.0


class ProcessKeywords:
    """Keywords for processes."""

    targets: OpenTargets
    _last_process: StartedProcess | None

    @keyword
    def start_process(
        self,
        command: str | list[str],
        *,
        env: dict[str, Any] | None = None,
        cwd: str | None = None,
        pty: bool = False,
        merge: bool = False,
    ) -> StartedProcess:
        """Starts a command and goes on.

        It is ended, with its children, at the latest when its target is closed.

        Args:
            command: As of `Run Command`.
            env: As of `Run Command`.
            cwd: As of `Run Command`.
            pty: Give it a terminal of its own; output and error output come together.
            merge: Put its error output into its output, in the order in which it writes both.

        Returns:
            The process, with ``pid``, ``status`` and, while it runs, ``stdout`` and ``stderr``.
        """
        target = self.targets.find(None)
        process: Any = target.start(command, env=environment(env), cwd=cwd, pty=pty, merge=merge)
        self._last_process = StartedProcess(process, command, target.name)
        return self._last_process

    @keyword
    def write_to_process(
        self,
        text: Secret | str | bytes,
        process: StartedProcess | None = None,
        *,
        newline: bool = True,
        end: bool = False,
        timeout: timedelta = timedelta(seconds=10),
    ) -> None:
        """Writes to the input of a process.

        Example:
        | Start Process    read name; echo hello $name
        | Write To Process    world
        | Wait For Process

        Args:
            text: What to write; a ``Secret`` is in no log.
            process: Which one; by default the one started last.
            newline: Put a line end behind it.
            end: End the input then; in a terminal, press Ctrl-D.
            timeout: How long to wait until the process takes it.
        """
        found = self._process(process)
        given = plain(text)
        data = given if isinstance(given, bytes) else str(given).encode()
        found.write(data + b"\n" if newline else data, timeout.total_seconds())
        if end:
            found.end_input()

    @keyword
    def send_signal_to_process(
        self, signal: str | int, process: StartedProcess | None = None
    ) -> bool:
        """Sends a signal to a process and its group.

        Example:
        | Send Signal To Process    HUP

        Args:
            signal: Its name, with or without ``SIG``, or its number.
            process: Which one; by default the one started last.

        Returns:
            Whether it still ran.
        """
        return self._process(process).send_signal(_signal_number(signal))

    @keyword
    def start_detached_process(
        self,
        command: str | list[str],
        *,
        env: dict[str, Any] | None = None,
        cwd: str | None = None,
        spool: int | None = None,
    ) -> DetachedProcess:
        """Starts a command that goes on when the target is closed.

        Example:
        | ${build}    Start Detached Process    make all    spool=1000000
        | ${token}    Set Variable    ${build.token}
        | Comment    Later, also in another run:
        | ${build}    Find Detached Process    ${token}
        | ${kept}    Call Method    ${build}    read
        | Log    ${kept.data} ${kept.status}

        Args:
            command: As of `Run Command`.
            env: As of `Run Command`.
            cwd: As of `Run Command`.
            spool: How many bytes of its output, the newest ones, are kept there; by default none.

        Returns:
            The process, with ``pid``, ``alive``, ``token`` and the methods ``read`` and ``stop``.
        """
        target = self.targets.find(None)
        return target.start(command, env=environment(env), cwd=cwd, detached=True, spool=spool)

    @keyword
    def find_detached_process(self, token: str) -> DetachedProcess:
        """Finds a process that `Start Detached Process` has started, also in an earlier run.

        Args:
            token: Its ``token``.
        """
        return self.targets.find(None).detached(token)

    @keyword
    def wait_for_process(
        self, process: StartedProcess | None = None, *, timeout: timedelta = timedelta(minutes=1), check: bool = False
    ) -> RunResult:
        """Waits until a process has ended.

        Args:
            process: Which one; by default the one started last.
            timeout: How long to wait; after that the keyword fails and the process goes on.
            check: Fail when the status is not 0.
        """
        result = self._process(process).wait(seconds(timeout))
        log_result(result)
        if check and not result.ok:
            raise AssertionError(f"{self._process(process)!r}: {result!r}")
        return result

    @keyword
    def stop_process(
        self, process: StartedProcess | None = None, *, grace: timedelta = timedelta(seconds=2)
    ) -> RunResult:
        """Ends a process and all its children; harmless when it has ended already.

        Args:
            process: Which one; by default the one started last.
            grace: How long after TERM to send KILL.

        Returns:
            What it came to; a negative status is the signal that ended it.
        """
        result = self._process(process).stop(grace.total_seconds(), STOP_TIMEOUT)
        log_result(result)
        return result

    def _process(self, process: StartedProcess | None) -> StartedProcess:
        found = process or self._last_process
        if found is None:
            raise UsageError("no process was started", advice="use the keyword Start Process first")
        return found


def _signal_number(name: str | int) -> int:
    if isinstance(name, int) or name.isdigit():
        return int(name)
    bare = name.upper().removeprefix("SIG")
    try:
        return int(signals.Signals[f"SIG{bare}"])
    except KeyError as error:
        raise UsageError(f"{name!r} is no signal", advice="give a name such as TERM, or a number") from error


def environment(env: dict[str, Any] | None) -> dict[str, str | None] | None:
    """An environment as the verbs take it."""
    if env is None:
        return None
    values = {str(name): plain(value) for name, value in env.items()}
    return {name: value if value is None else str(value) for name, value in values.items()}


def plain(value: Any) -> Any:
    """What is in a secret; any other value as it is. A secret is kept out of texts from then on."""
    if not isinstance(value, Secret):
        return value
    secret = to_secret(value)
    return None if secret is None else secret.value


def log_result(result: RunResult) -> None:
    """Write what a command did into the log."""
    logger.info(f"Status {result.status} after {result.duration:.3f} s")
    for name, text in (("Output", result.stdout), ("Error output", result.stderr)):
        shown = redact(text)
        if shown:
            more = "" if len(shown) <= LOGGED_LENGTH else f"\n… and {len(shown) - LOGGED_LENGTH} characters more"
            logger.info(f"{name}:\n{shown[:LOGGED_LENGTH]}{more}")
