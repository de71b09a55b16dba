"""One target of `RemoteRunner`: how to get there, its properties, and commands on its terminals.

It joins pools, properties and processes, and knows no names of targets. It promises that every wait ends by the
caller's timeout, opening the connection included, and that no command is run twice.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from crl.deadlines import Deadline
from crl.errors import UsageError, WrongArgument
from crl.interactivesessions import _process
from crl.interactivesessions._pooledterminal import PooledTerminal
from crl.interactivesessions._process import BackgroundProcess, RunnerTimeout, RunResult
from crl.interactivesessions._recovery import RecoveryPending
from crl.interactivesessions._targetproperties import _TargetProperties
from crl.interactivesessions._terminalpools import PoolNotFoundError, _TerminalPools
from crl.interactivesessions.shells._logins import first_hop
from crl.interactivesessions.shells.shellstack import ShellStack, described

__all__ = ["BackgroundExecution", "TargetOpening", "_RunnerInTarget"]


class BackgroundExecution:
    """A command in the background and the terminal it holds.

    Args:
        pools: Where the terminal is of.
        terminal: The terminal.
        process: The command.
    """

    def __init__(self, pools: _TerminalPools, terminal: PooledTerminal, process: BackgroundProcess) -> None:
        self._pools = pools
        self._terminal: PooledTerminal | None = terminal
        self._process = process
        self._result: RunResult | None = None

    def wait_background_execution(self, timeout: float) -> RunResult:
        """The result, with bytes; the same one when asked again.

        Raises:
            RunnerTimeout: It takes longer; it and its process group were killed.
            RunnerTerminalSessionBroken: The session is lost, and the command with it.
        """
        if self._result is None:
            try:
                self._result = self._process.wait(Deadline.after(timeout))
            except RunnerTimeout as error:
                self._result = error.result
                raise
            finally:
                self._release()
        return self._result

    def kill_background_execution(self) -> RunResult:
        """End it and its process group; the result, with bytes.

        Raises:
            FailedToKillProcess: A process of it is still there.
            RunnerTerminalSessionBroken: The session is lost, and the command with it.
        """
        if self._result is None:
            self._result = self._process.kill()
            self._release()
        return self._result

    def _release(self) -> None:
        terminal, self._terminal = self._terminal, None
        if terminal is not None:
            self._pools.release(terminal)


class _RunnerInTarget:
    """A target.

    Args:
        shelldicts: The shells on the way there.

    Attributes:
        properties: Its properties.
    """

    def __init__(self, shelldicts: Iterable[Mapping[str, Any]]) -> None:
        if isinstance(shelldicts, Mapping):
            shelldicts = [shelldicts]
        self.shelldicts = described(shelldicts)
        if not self.shelldicts:
            raise UsageError("a target needs at least one shell", doing="Set Target")
        self.properties = _TargetProperties()
        self.pools = _TerminalPools()

    @property
    def first_hop(self) -> Hashable:
        """What the connection begins with; connections with the same one share its sshd."""
        stack = ShellStack()
        stack.initialize(self.shelldicts)
        return first_hop(stack.shells)

    # Terminals

    @contextmanager
    def active_terminal(self, deadline: Deadline) -> Iterator[PooledTerminal]:
        """An open terminal that others use too, for the block.

        Raises:
            SessionInitializationFailed: The target cannot be reached.
            RunnerTimeout: It was not reached in time; nothing was run.
        """
        with self.pools.active_terminal(self.shelldicts, self.properties.properties) as terminal:
            _open(terminal, deadline)
            yield terminal

    def take_terminal(self) -> PooledTerminal:
        """An open terminal for one user, until `give_back`.

        Raises:
            SessionInitializationFailed: The target cannot be reached.
        """
        terminal = self.pools.get(self.shelldicts, self.properties.properties)
        try:
            terminal.open(Deadline.after(None))
        except BaseException:
            self.give_back(terminal)
            raise
        return terminal

    def give_back(self, terminal: PooledTerminal) -> None:
        """End the use of a terminal; one whose pool is closed already stays closed."""
        self.pools.release(terminal)

    # Commands

    def run(self, command: str, timeout: float, executable: str | None, *, progress_log: bool = False) -> RunResult:
        """Run a command to its end; the result, with bytes.

        Raises:
            RunnerTimeout: It takes longer; it and its process group were killed.
            RunnerTerminalSessionBroken: The session is lost; whether the command has ended is unknown.
        """
        _check_command(command)
        deadline = Deadline.after(timeout)
        with self.active_terminal(deadline) as terminal:
            return _process.run(self._start(terminal, command, executable), deadline, progress_log=progress_log)

    def run_in_background(self, command: str, executable: str | None) -> BackgroundExecution:
        """Start a command and leave it running."""
        _check_command(command)
        terminal = self.pools.share(self.shelldicts, self.properties.properties)
        try:
            terminal.open(Deadline.after(None))
            process = self._start(terminal, command, executable)
            process.collect()
        except BaseException:
            self.give_back(terminal)
            raise
        return BackgroundExecution(self.pools, terminal, process)

    def run_in_nocomm_background(self, command: str, executable: str | None) -> int:
        """Start a command that stays when the connection ends; its process id, which is that of its group too."""
        _check_command(command)
        properties = self.properties.properties
        shell = executable or properties["default_executable"]
        env = properties["update_env_dict"] or None
        with self.active_terminal(Deadline.after(None)) as terminal:
            return terminal.terminal.link.start_detached([shell, "-c", command], env=env).pid

    def _start(self, terminal: PooledTerminal, command: str, executable: str | None) -> BackgroundProcess:
        properties = self.properties.properties
        return _process.start(
            terminal.terminal,
            command,
            executable or properties["default_executable"],
            properties["update_env_dict"],
            float(properties["termination_timeout"]),
        )


class TargetOpening:
    """Connecting to a target, which other threads may end.

    Args:
        target: The target.
    """

    def __init__(self, target: _RunnerInTarget) -> None:
        self._target = target
        self._terminal: PooledTerminal | None = None

    def way(self) -> Hashable:
        """The first hop."""
        return self._target.first_hop

    def open(self) -> None:
        """Connect, when that is not done.

        Raises:
            SessionInitializationFailed: The target cannot be reached.
        """
        target = self._target
        with target.pools.active_terminal(target.shelldicts, target.properties.properties) as self._terminal:
            self._terminal.open(Deadline.after(None))

    def done(self) -> None:
        """What there is to do with it then: nothing."""

    def stop(self) -> None:
        """End it: the terminal is of no pool any more."""
        if self._terminal is not None:
            with suppress(PoolNotFoundError):  # all pools were closed meanwhile
                self._target.pools.remove(self._terminal)


def _check_command(command: object) -> None:
    if not isinstance(command, str):
        raise WrongArgument(f"the command {command!r} is no text", doing="running a command", advice="give it as text")


def _open(terminal: PooledTerminal, deadline: Deadline) -> None:
    try:
        terminal.open(deadline)
    except RecoveryPending as error:
        nothing = RunResult("", b"", b"")
        raise RunnerTimeout(nothing, error.message, host=terminal.host, doing="connecting") from error
