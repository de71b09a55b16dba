# ruff: noqa: N999, F401 - the published name of the module; names in type comments look unused
"""Commands whose result outlives the session that asked for it: it is printed, and kept in a file beside.

It is made to be run in a Python on a target (`RemoteImporter.importfile`), can be used here too, knows nothing of crl
and keeps to what Python 2.7 and 3.6 have in common. It promises that a command which takes too long is ended with its
process group, and that reading the kept file makes nothing but results.
"""

import ast
import base64
import contextlib
import errno
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback

MYPY = False
if MYPY:
    from collections.abc import Iterator
    from typing import Any

__all__ = [
    "BackupNotFound",
    "ExecutionResult",
    "FailedExecutionResult",
    "InterruptedWithSigint",
    "MismatchInRunId",
    "ReadonlyShellSubprocess",
    "RemoteShellSubprocess",
    "RemoteTimeoutError",
    "ResultNotStoredYet",
    "RunShellSubprocess",
    "ShellSubprocess",
    "SuccessfulExecutionResult",
]

_KILL_AFTER = 3.0
_OWN_GROUP = {"start_new_session": True}  # type: dict[str, Any]
if sys.version_info < (3, 2):
    _OWN_GROUP = {"preexec_fn": os.setsid}


class MismatchInRunId(Exception):
    """The result is one of another run; the arguments are its id and the one that was asked for."""


class RemoteTimeoutError(Exception):
    """The command took too long and was ended."""


class InterruptedWithSigint(Exception):
    """The command was interrupted (Ctrl-C) and was ended."""


class ResultNotStoredYet(Exception):
    """The command has begun, and its result is not known yet."""


class BackupNotFound(Exception):
    """No result was kept here."""


_KEPT = {
    cls.__name__: cls for cls in (RemoteTimeoutError, InterruptedWithSigint, ResultNotStoredYet)
}  # type: dict[str, type[Exception]]


class ExecutionResult(object):
    """What became of a run."""

    def __init__(self, run_id, cmd):
        # type: (Any, str) -> None
        self._run_id = run_id
        self._cmd = cmd

    @property
    def run_id(self):
        # type: () -> Any
        """The id of the run."""
        return self._run_id

    @property
    def cmd(self):
        # type: () -> str
        """The command."""
        return self._cmd

    def get_result(self, run_id):
        # type: (Any) -> tuple[int, bytes, bytes]
        """Status, output and error output of the run with that id.

        Raises:
            MismatchInRunId: It is the result of another one.
            Exception: The run failed, with this.
        """
        if run_id != self._run_id:
            raise MismatchInRunId(self._run_id, run_id)
        return self.get_remote_result()

    def get_remote_result(self):
        # type: () -> tuple[int, bytes, bytes]
        """As `get_result`, of whatever run it is."""
        raise NotImplementedError


class SuccessfulExecutionResult(ExecutionResult):
    """A run that came to its end."""

    def __init__(self, run_id, cmd, result):
        # type: (Any, str, tuple[int, bytes, bytes]) -> None
        super(SuccessfulExecutionResult, self).__init__(run_id, cmd)
        self._result = result

    def get_remote_result(self):
        # type: () -> tuple[int, bytes, bytes]
        """Status, output and error output."""
        return self._result

    def __str__(self):
        # type: () -> str
        return "Run %s (%s): %r" % (self._run_id, self._cmd, self._result)


class FailedExecutionResult(ExecutionResult):
    """A run that did not."""

    def __init__(self, run_id, cmd, exception):
        # type: (Any, str, Exception) -> None
        super(FailedExecutionResult, self).__init__(run_id, cmd)
        self._exception = exception

    def get_remote_result(self):
        # type: () -> tuple[int, bytes, bytes]
        """Raise why."""
        raise self._exception

    def __str__(self):
        # type: () -> str
        trace = "".join(getattr(self._exception, "trace", ()))
        return "Run %s (%s): %s: %s %s" % (
            self._run_id, self._cmd, type(self._exception).__name__, self._exception, trace
        )  # fmt: skip


class ShellSubprocess(object):
    """A run, by its id."""

    def __init__(self, run_id):
        # type: (Any) -> None
        self._run_id = run_id

    def get_start_trigger(self):
        # type: () -> str
        """The line that is printed when the run begins."""
        return "Run %s starting" % (self._run_id,)

    @staticmethod
    def _serialize(python_object):
        # type: (object) -> bytes
        return base64.b64encode(pickle.dumps(python_object, protocol=0))

    @staticmethod
    def _deserialize(serialized_object):
        # type: (bytes | str) -> Any
        return pickle.loads(base64.b64decode(serialized_object))

    @staticmethod
    def get_python_filename():
        # type: () -> str
        """The file of this module's source."""
        return __file__ if __file__.endswith("y") else __file__[:-1]

    @staticmethod
    def get_python_file_path():
        # type: () -> str
        """Its whole path."""
        return os.path.abspath(ShellSubprocess.get_python_filename())

    @staticmethod
    def get_module_name():
        # type: () -> str
        """The name to import it by."""
        return os.path.basename(ShellSubprocess.get_python_filename())[:-3]


class RemoteShellSubprocess(ShellSubprocess):
    """A run, in the process that runs it.

    Args:
        run_id: Its id.
        serialized_cmd: The command, as ``base64`` of a pickle; it comes from who starts the run and is trusted.
    """

    pickled_backup = "pickled_backup"
    """The file that keeps the result, in the working directory."""

    def __init__(self, run_id, serialized_cmd=""):
        # type: (Any, bytes | str) -> None
        super(RemoteShellSubprocess, self).__init__(run_id)
        self._cmd = self._deserialize(serialized_cmd) if serialized_cmd else ""

    def run(self):
        # type: () -> ExecutionResult
        """Do the run: print the start trigger, then the result as ``base64`` of a pickle; return the result too."""
        self._say(self.get_start_trigger())
        try:
            result = self._run()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the result
            error.trace = traceback.format_list(traceback.extract_tb(sys.exc_info()[2]))  # type: ignore[attr-defined]
            result = FailedExecutionResult(self._run_id, self._cmd, error)
        self._say(self._serialize(result).decode("ascii"))
        return result

    @staticmethod
    def _say(line):
        # type: (str) -> None
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def _run(self):
        # type: () -> ExecutionResult
        raise NotImplementedError

    def _backup(self, result):
        # type: (ExecutionResult) -> None
        try:
            outcome = result.get_remote_result()  # type: Any
        except Exception as error:  # noqa: BLE001 - the outcome of the run
            outcome = type(error).__name__
        fresh = "%s.%d" % (self.pickled_backup, os.getpid())
        with open(fresh, "wb") as backup:
            backup.write(repr((result.run_id, result.cmd, outcome)).encode("utf-8", "backslashreplace"))
        os.rename(fresh, self.pickled_backup)

    def _restore(self):
        # type: () -> ExecutionResult
        try:
            with open(self.pickled_backup, "rb") as backup:
                run_id, cmd, outcome = ast.literal_eval(backup.read().decode("utf-8"))
        except EnvironmentError as error:
            if error.errno == errno.ENOENT:
                raise BackupNotFound
            raise
        if isinstance(outcome, tuple):
            return SuccessfulExecutionResult(run_id, cmd, outcome)
        return FailedExecutionResult(run_id, cmd, _KEPT.get(outcome, RuntimeError)(outcome))


class ReadonlyShellSubprocess(RemoteShellSubprocess):
    """Gives the result that was kept last, and runs nothing."""

    def _run(self):
        # type: () -> ExecutionResult
        return self._restore()


class RunShellSubprocess(RemoteShellSubprocess):
    """Runs a command and keeps its result.

    Args:
        run_id: Its id.
        serialized_cmd: See `RemoteShellSubprocess`.
        timeout: Seconds that it may take.
        executable: The shell.
    """

    def __init__(self, run_id, serialized_cmd, timeout=60, executable="/bin/bash"):
        # type: (Any, bytes | str, float, str) -> None
        super(RunShellSubprocess, self).__init__(run_id, serialized_cmd)
        self._timeout = timeout
        self._executable = executable
        self._result = None  # type: tuple[int, bytes, bytes] | None

    def _run(self):
        # type: () -> ExecutionResult
        self._backup(FailedExecutionResult(self._run_id, self._cmd, ResultNotStoredYet()))
        try:
            with _interruptible() as interrupt:
                result = self._run_command(interrupt)  # type: ExecutionResult
        except (RemoteTimeoutError, InterruptedWithSigint) as error:
            self._backup(FailedExecutionResult(self._run_id, self._cmd, error))
            raise
        self._backup(result)
        return result

    def _run_command(self, interrupt):
        # type: (_Interrupt) -> ExecutionResult
        process = subprocess.Popen(
            self._cmd, executable=self._executable, shell=True, close_fds=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **_OWN_GROUP
        )  # fmt: skip
        # Not the end of the thread itself: an interrupted join calls a thread dead that still runs (Python 3.11).
        over = threading.Event()
        reader = threading.Thread(target=self._communicate, args=(process, over))
        reader.daemon = True
        reader.start()
        try:
            try:
                interrupt.allow()
                over.wait(self._timeout)
            finally:
                interrupt.hold()
        finally:
            by_itself = self._end(process, over)
        interrupt.raise_held()
        if not by_itself:
            raise RemoteTimeoutError(self._result)
        assert self._result is not None
        return SuccessfulExecutionResult(self._run_id, self._cmd, self._result)

    def _communicate(self, process, over):
        # type: (subprocess.Popen[bytes], threading.Event) -> None
        try:
            out, err = process.communicate()
            self._result = (process.returncode, out, err)
        finally:
            over.set()

    @staticmethod
    def _end(process, over):
        # type: (subprocess.Popen[bytes], threading.Event) -> bool
        """End what still runs, with its process group; whether all was over already."""
        if over.is_set():
            return True
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
            except EnvironmentError as error:
                if error.errno != errno.ESRCH:
                    raise
            if over.wait(_KILL_AFTER):
                break
        return False


class _Interrupt(object):
    """What Ctrl-C comes to: `InterruptedWithSigint`, held back while a process would be left behind by it."""

    def __init__(self):
        # type: () -> None
        self._allowed = False
        self._came = False

    def __call__(self, _number, _frame):
        # type: (int, Any) -> None
        self._came = True
        if self._allowed:
            raise InterruptedWithSigint

    def allow(self):
        # type: () -> None
        """Raise it from now on; one that has come is raised at once."""
        self._allowed = True
        self.raise_held()

    def hold(self):
        # type: () -> None
        """Raise none until it is allowed, or asked for."""
        self._allowed = False

    def raise_held(self):
        # type: () -> None
        """Raise the one that has come, if any."""
        if self._came:
            raise InterruptedWithSigint


@contextlib.contextmanager
def _interruptible():
    # type: () -> Iterator[_Interrupt]
    """Ctrl-C does what the interrupt that is given says; only in the main thread, others get no signals."""
    interrupt = _Interrupt()
    try:
        before = signal.signal(signal.SIGINT, interrupt)
    except ValueError:  # another thread
        yield interrupt
        return
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)
