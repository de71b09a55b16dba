"""Commands and files on targets, by the keywords of the published `RemoteRunner`: for Robot Framework and for Python.

It knows targets by their names and leaves the work to `_runnerintarget` and `_filecopier`. It promises one round trip
for a command, that every keyword ends by its timeout, and that `close` ends also when targets hang.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from crl.deadlines import Deadline
from crl.errors import UsageError
from crl.interactivesessions._filecopier import _FileCopier
from crl.interactivesessions._process import RunResult, rstrip_runresult
from crl.interactivesessions._runnerintarget import BackgroundExecution, _RunnerInTarget
from crl.interactivesessions._targetproperties import _TargetProperties
from crl.interactivesessions._terminalpools import _TerminalPools
from crl.interactivesessions.pythonterminal import PythonTerminal
from crl.interactivesessions.remoteproxies import _RemoteProxy

__all__ = ["BackgroundExecIdAlreadyInUse", "RemoteRunner", "RunResult", "TargetIsNotSet"]

_DONE: Final = RunResult(status="0", stdout="", stderr="")
_HANDSHAKES: Final = 8
_OPENERS: Final = 32

logger = logging.getLogger(__name__)

ShellDict = Mapping[str, Any]


class TargetIsNotSet(UsageError):
    """No target has the name that is the argument."""

    @property
    def message(self) -> str:
        """Which name."""
        return f"there is no target {self.args[0]!r}"


class BackgroundExecIdAlreadyInUse(UsageError):
    """A command runs in the background, or was not waited for, under the id that is the argument."""

    @property
    def message(self) -> str:
        """Which id."""
        return f"the execution id {self.args[0]!r} is in use"


class RemoteRunner:
    """Runs commands on targets and copies files, over any stack of shells.

    A target is set once by `Set Target`, with a name; the other keywords take that name. Nothing is connected before it
    is needed. Connections stay open between keywords and are shared by all of them, also by several threads; `Close`
    ends them. A target needs a Python (2.7, or 3.6 and later) and nothing else.

    = Targets =

    A shell of the way is a dictionary: ``shellname`` is the class (``SshShell``, ``SudoShell``, ``NamespaceShell``,
    ``KubernetesShell`` ... and what you registered by ``@RegisterShell()``), the rest are its arguments. Without
    ``shellname`` it is an SSH login with ``host``, ``user`` and ``password``, and whatever else ``SshShell`` takes.

    | &{GATEWAY}=    | host=gateway.example | user=tester            |
    | &{NAMESPACE}=  | shellname=NamespaceShell | namespace=inner    |
    | @{SHELLDICTS}= | ${GATEWAY}           | ${NAMESPACE}           |
    | Set Target     | ${SHELLDICTS}        | name=inner             |
    | ${result}=     | Execute Command In Target | uname -a | target=inner |
    | Should Be Equal | ${result.status}    | 0                      |

    = Results =

    A result has ``status``, ``stdout`` and ``stderr``, all as text and without white space at the end. The status is
    negative for the signal that ended the command.
    """

    ROBOT_LIBRARY_SCOPE = "GLOBAL"

    def __init__(self) -> None:
        self.filecopier = _FileCopier()
        self.targets: dict[str, _RunnerInTarget] = {}
        self.terminalpools = _TerminalPools()
        self._backgrounds: dict[str, BackgroundExecution] = {}
        self._starting = threading.Lock()

    def __enter__(self) -> RemoteRunner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Targets

    def set_target(self, shelldicts: Iterable[ShellDict], name: str = "default") -> None:
        """Say how a target is reached; nothing is connected yet.

        Args:
            shelldicts: The shells on the way, the first hop first.
            name: What to call the target; one of that name is replaced.
        """
        self.targets[name] = _RunnerInTarget(shelldicts)

    def open_targets(self, *names: str, timeout: float = 120) -> None:
        """Connect to several targets beside each other, so that their first commands need not wait.

        Args:
            *names: The targets; none means all that are set.
            timeout: Seconds for all of them.

        Raises:
            TargetIsNotSet: A name is not set.
            SessionInitializationFailed: A target cannot be reached; the others were opened.
        """
        targets = [self._target(name) for name in names or self.targets]
        deadline = Deadline.after(timeout)
        gates = {target.first_hop: threading.Semaphore(_HANDSHAKES) for target in targets}

        def open_one(target: _RunnerInTarget) -> None:
            with gates[target.first_hop], target.active_terminal(deadline):
                logger.debug("%s is open", target.first_hop)

        with ThreadPoolExecutor(min(_OPENERS, max(1, len(targets))), "crl-opening") as executor:
            for future in [executor.submit(open_one, target) for target in targets]:
                future.result()

    def set_target_property(self, target_name: str, property_name: str, property_value: Any) -> None:
        """Set a property of one target.

        ``default_executable`` is the shell that runs commands (/bin/bash). ``max_processes_in_target`` is how many
        commands share one connection (100). ``prompt_timeout`` is how many seconds the start of Python may take (30).
        ``termination_timeout`` is how many seconds a command gets between SIGTERM and SIGKILL (10).
        ``update_env_dict`` are changes to the environment of commands; None removes a variable ({}).

        Args:
            target_name: The target.
            property_name: The property.
            property_value: Its value.

        Raises:
            AttributeError: There is no such property.
        """
        self._target(target_name).properties.set_property(property_name, property_value)

    @staticmethod
    def set_default_target_property(property_name: str, property_value: Any) -> None:
        """Set the default of a property, for all targets that have no value of their own.

        Args:
            property_name: The property, see `Set Target Property`; a new one is created.
            property_value: Its value.
        """
        _TargetProperties.set_default_property(property_name, property_value)

    def get_target_properties(self, target: str) -> dict[str, Any]:
        """The properties in force for a target, as a dictionary.

        Args:
            target: The target.
        """
        return self._target(target).properties.properties

    def set_terminalpools_maxsize(self, maxsize: int) -> None:
        """Allow this many connections at the same time, to all targets together; 256 unless set.

        Args:
            maxsize: How many. Connections that nobody uses are closed to make room for others.
        """
        self.terminalpools.set_maxsize(int(maxsize))

    def _target(self, name: str) -> _RunnerInTarget:
        try:
            return self.targets[name]
        except KeyError:
            known = ", ".join(sorted(self.targets)) or "none"
            raise TargetIsNotSet(name, advice=f"use Set Target; there are: {known}") from None

    # Commands

    def execute_command_in_target(
        self,
        command: str,
        target: str = "default",
        timeout: float = 3600,
        executable: str | None = None,
        progress_log: bool = False,
    ) -> RunResult:
        """Run a command to its end.

        Args:
            command: The text that the shell runs.
            target: The target.
            timeout: Seconds for all of it, connecting included. Then the command is killed with its process group.
            executable: The shell there; None takes the property ``default_executable``.
            progress_log: Write each line of the output to the log while the command runs.

        Returns:
            The result.

        Raises:
            RunnerTimeout: It took too long; the first argument is what it had written.
        """
        runner = self._target(target)
        logger.debug("on %s: %s", target, command)
        return rstrip_runresult(runner.run(command, float(timeout), executable, progress_log=progress_log))

    def execute_background_command_in_target(
        self,
        command: str,
        target: str = "default",
        exec_id: str = "background",
        executable: str | None = None,
    ) -> None:
        """Start a command and leave it running; it ends with the connection at the latest.

        Args:
            command: The text that the shell runs.
            target: The target.
            exec_id: What to call it for `Wait Background Execution` and `Kill Background Execution`.
            executable: The shell there; None takes the property ``default_executable``.

        Raises:
            BackgroundExecIdAlreadyInUse: A command of that id was not waited for.
        """
        runner = self._target(target)
        with self._starting:
            if exec_id in self._backgrounds:
                raise BackgroundExecIdAlreadyInUse(exec_id, advice="wait for that one, or give another exec_id")
            self._backgrounds[exec_id] = runner.run_in_background(command, executable)

    def execute_nohup_background_in_target(
        self, command: str, target: str = "default", executable: str | None = None
    ) -> int:
        """Start a command that goes on when the connection ends; its output is dropped.

        Args:
            command: The text that the shell runs.
            target: The target.
            executable: The shell there; None takes the property ``default_executable``.

        Returns:
            Its process id, which is that of its process group too: ``kill -- -PID`` ends all of it.
        """
        return self._target(target).run_in_nocomm_background(command, executable)

    def wait_background_execution(self, exec_id: str, timeout: float = 3600) -> RunResult:
        """Wait for the end of a command in the background and forget its id.

        Args:
            exec_id: The id.
            timeout: Seconds. Then the command is killed with its process group; its id stays.

        Returns:
            The result.

        Raises:
            KeyError: There is no such id.
            RunnerTimeout: It took too long; the first argument is what it had written.
        """
        result = rstrip_runresult(self._backgrounds[exec_id].wait_background_execution(float(timeout)))
        self._backgrounds.pop(exec_id, None)
        return result

    def kill_background_execution(self, exec_id: str) -> RunResult:
        """End a command in the background with its process group: SIGTERM first, SIGKILL when that does not help.

        Args:
            exec_id: The id; `Wait Background Execution` still gives the result.

        Returns:
            The result.

        Raises:
            KeyError: There is no such id.
            FailedToKillProcess: A process of it is still there.
        """
        return rstrip_runresult(self._backgrounds[exec_id].kill_background_execution())

    # Files

    def copy_file_between_targets(
        self,
        from_target: str,
        source_file: str,
        to_target: str,
        destination_dir: str = ".",
        mode: str = "0o755",
        timeout: float = 3600,
    ) -> RunResult:
        """Copy a file of a target to another one; it does not touch this machine's disk.

        Args:
            from_target: The target that has it.
            source_file: Its path there.
            to_target: The target that gets it.
            destination_dir: A folder, when it is there or ends with a slash, else the file's new path.
            mode: Its permissions there.
            timeout: Seconds for all of it.
        """
        limit = Deadline.after(float(timeout))
        with (
            self._target(from_target).active_terminal(limit) as source,
            self._target(to_target).active_terminal(limit) as destination,
        ):
            left = limit.remaining() or 0.0
            self.filecopier.between(source_file, source, destination_dir, destination, mode, left)
        return _DONE

    def copy_file_from_target(
        self,
        source_file: str,
        destination: str | None = None,
        target: str = "default",
        timeout: float = 3600,
    ) -> RunResult:
        """Copy a file of a target to this machine.

        Args:
            source_file: Its path there.
            destination: A folder, when it is there or ends with a slash, else the file's new path; None is the working
                directory.
            target: The target.
            timeout: Seconds for all of it.
        """
        limit = Deadline.after(float(timeout))
        with self._target(target).active_terminal(limit) as terminal:
            self.filecopier.from_target(source_file, destination, terminal, limit.remaining() or 0.0)
        return _DONE

    def copy_file_to_target(
        self,
        source_file: str,
        destination_dir: str = ".",
        mode: str = "0o755",
        target: str = "default",
        timeout: float = 3600,
    ) -> RunResult:
        """Copy a file of this machine to a target.

        Args:
            source_file: Its path here.
            destination_dir: A folder, when it is there or ends with a slash, else the file's new path. Folders that are
                missing are made.
            mode: Its permissions there.
            target: The target.
            timeout: Seconds for all of it.
        """
        limit = Deadline.after(float(timeout))
        with self._target(target).active_terminal(limit) as terminal:
            self.filecopier.to_target(source_file, destination_dir, terminal, mode, limit.remaining() or 0.0)
        return _DONE

    def copy_directory_to_target(
        self,
        source_dir: str,
        target_dir: str = ".",
        mode: str = "0o755",
        target: str = "default",
        timeout: float = 3600,
    ) -> RunResult:
        """Copy what is in a folder of this machine into a folder of a target.

        Args:
            source_dir: The folder here.
            target_dir: The folder there; it is made when it is missing, and keeps what else is in it.
            mode: The permissions of all that was copied, and of the folder.
            target: The target.
            timeout: Seconds for all of it.
        """
        limit = Deadline.after(float(timeout))
        with self._target(target).active_terminal(limit) as terminal:
            self.filecopier.directory_to_target(source_dir, target_dir, terminal, mode, limit.remaining() or 0.0)
        return _DONE

    def copy_directory_from_target(
        self, source_dir: str, destination_dir: str = ".", target: str = "default", timeout: float = 3600
    ) -> RunResult:
        """Copy what is in a folder of a target into a folder of this machine.

        Args:
            source_dir: The folder there; links in it to files of it become files, others are an error.
            destination_dir: The folder here; it is made when it is missing, and keeps what else is in it.
            target: The target.
            timeout: Seconds for all of it.

        Raises:
            RemoteFileReadingFailed: It is not there, is no folder, or not all of it can be read.
            RemoteFileOperationTimeout: It took too long.
        """
        limit = Deadline.after(float(timeout))
        with self._target(target).active_terminal(limit) as terminal:
            self.filecopier.directory_from_target(source_dir, destination_dir, terminal, limit.remaining() or 0.0)
        return _DONE

    def copy_directory_between_targets(
        self,
        from_target: str,
        source_dir: str,
        to_target: str,
        target_dir: str = ".",
        mode: str = "0o755",
        timeout: float = 3600,
    ) -> RunResult:
        """Copy what is in a folder of a target into a folder of another one; it does not touch this machine's disk.

        Args:
            from_target: The target that has it.
            source_dir: The folder there; links in it to files of it become files, others are an error.
            to_target: The target that gets it.
            target_dir: The folder there; it is made when it is missing, and keeps what else is in it.
            mode: The permissions of all that was copied, and of the folder.
            timeout: Seconds for all of it.

        Raises:
            RemoteFileReadingFailed: It is not there, or is no folder.
            RemoteFileOperationTimeout: It took too long.
        """
        limit = Deadline.after(float(timeout))
        with (
            self._target(from_target).active_terminal(limit) as source,
            self._target(to_target).active_terminal(limit) as destination,
        ):
            left = limit.remaining() or 0.0
            self.filecopier.directory_between(source_dir, source, target_dir, destination, mode, left)
        return _DONE

    def create_directory_in_target(
        self, path: str, mode: str = "0o755", target: str = "default", timeout: float = 3600
    ) -> RunResult:
        """Make a folder on a target, with those above it.

        Args:
            path: The folder; when it is there already, nothing is changed.
            mode: Its permissions.
            target: The target.
            timeout: Seconds for all of it.
        """
        limit = Deadline.after(float(timeout))
        with self._target(target).active_terminal(limit) as terminal:
            self.filecopier.create_directory(path, terminal, mode, limit.remaining() or 0.0)
        return _DONE

    # Python

    def get_terminal(self, target: str = "default") -> PythonTerminal:
        """A terminal with Python on a target, for `Get Proxy From Call In Terminal` and its like.

        Args:
            target: The target.

        Returns:
            The terminal; it goes back to the others when nothing refers to it any more.
        """
        return PythonTerminal(self._target(target))

    @staticmethod
    def import_local_path_module_in_terminal(terminal: PythonTerminal, path: str) -> None:
        """Import a file of Python of this machine here and in a terminal, where its name can then be used.

        Args:
            terminal: From `Get Terminal`.
            path: The file.
        """
        terminal.remoteimporter.importfile(str(path))

    @staticmethod
    def get_proxy_from_call_in_terminal(
        terminal: PythonTerminal, remote_function: str, *args: Any, **kwargs: Any
    ) -> Any:
        """Call a function in a terminal.

        Args:
            terminal: From `Get Terminal`.
            remote_function: The function there, with its module.
            *args: Arguments.
            **kwargs: Named arguments.

        Returns:
            A proxy for what it returns.
        """
        return terminal.runnerterminal.get_proxy_object_from_call(remote_function, *args, **kwargs)

    @staticmethod
    def get_proxy_object_in_terminal(terminal: PythonTerminal, remote_object: str) -> _RemoteProxy:
        """A proxy for an object in a terminal.

        Args:
            terminal: From `Get Terminal`.
            remote_object: Its name there.
        """
        return terminal.runnerterminal.get_proxy_object(remote_object, None)

    def close(self) -> None:
        """End all connections with the commands that run on them, and forget the targets; again is harmless.

        Takes 20 seconds at most; connections that hang longer are named in the log.
        """
        with self._starting:
            self._backgrounds.clear()
        self.targets.clear()
        self.terminalpools.close()
