"""A terminal that brings its stack of shells up again when the session breaks.

This module knows `InteractiveSession` and shells, and nothing of Python on the target. It promises that a recovery runs
once for all who wait for it, that nobody waits beyond his own deadline, that a definite refusal is not tried twice, and
that a command is tried again only when nothing of it was written.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias, TypeVar

import pexpect

from crl.channels.base import ChannelInUse
from crl.deadlines import Deadline
from crl.errors import CrlError, UsageError, WrongArgument
from crl.interactivesessions._recovery import Flight, RecoveryPending, is_definite, is_target_error
from crl.interactivesessions.InteractiveSession import InteractiveSession
from crl.interactivesessions.interactivesessionexceptions import InteractiveSessionError, ShellStateError
from crl.interactivesessions.runnerexceptions import RunnerException, SessionInitializationFailed
from crl.interactivesessions.shells.shell import Shell

__all__ = ["AutoRecoveringTerminal"]

ExceptionClasses: TypeAlias = type[BaseException] | Iterable[type[BaseException]]
Result = TypeVar("Result")

RUN_TIMEOUT = 60.0
CLOSE_TIMEOUT = 90.0

logger = logging.getLogger(__name__)


def _nothing() -> None:
    """What `prepare`, `finalize` and `verify` are when none was given."""


def _as_tuple(classes: ExceptionClasses) -> tuple[type[BaseException], ...]:
    return (classes,) if isinstance(classes, type) else tuple(classes)


class _SessionGone(RunnerException):
    """The session was closed by another thread before the command was written."""


class _Inside(threading.local):
    """Whether this thread is in `prepare`, `finalize` or `verify`, or in the recovery itself."""

    depth = 0


class AutoRecoveringTerminal:
    """A stack of shells that is opened when first needed and opened anew when it breaks.

    Example:
        >>> terminal = AutoRecoveringTerminal()
        >>> terminal.initialize(SshShell("example.com", "username", "password"))
        >>> terminal.run("echo hello world!")
        'hello world!'

    Any number of threads may use one terminal. Recovery runs in a thread of its own; who needs the session waits.
    """

    def __init__(self) -> None:
        self._shells: tuple[Shell, ...] = ()
        self._broken: tuple[type[BaseException], ...] = (Exception,)
        self._init_broken: tuple[type[BaseException], ...] = (Exception,)
        self._sleep_between_tries: float = 3
        self._max_tries = 3
        self._prepare: Callable[[], object] = _nothing
        self._link_python: Callable[[], str | None] | None = None
        self._finalize: Callable[[], object] = _nothing
        self._verify: Callable[[], object] = _nothing
        self._session: InteractiveSession | None = None
        self._opening: InteractiveSession | None = None
        self._spare: InteractiveSession | None = None
        self._flight: Flight | None = None
        self._cancelled = threading.Event()
        # Guards the fields; never held while anything is waited for.
        self._lock = threading.Lock()
        # Held while a session is opened or closed, so that `finalize` of the old is over before `prepare` of the new.
        self._changing = threading.RLock()
        # The dialogue of a shell has one speaker at a time.
        self._speaking = threading.RLock()
        self._inside = _Inside()

    def __repr__(self) -> str:
        state = "open" if self._session is not None else "not open"
        return f"<{type(self).__name__} to {self.name} ({state})>"

    @property
    def name(self) -> str:
        """The host at the end of the stack as far as the shells tell, for texts."""
        for shell in reversed(self._shells):
            host = getattr(shell, "host", None) or getattr(shell, "ip", None)
            if isinstance(host, str) and host:
                return host
        return "localhost"

    def initialize(
        self,
        shells: Shell | Iterable[Shell],
        broken_exceptions: ExceptionClasses = Exception,
        init_broken_exceptions: ExceptionClasses = Exception,
        sleep_between_tries: float = 3,
        max_tries: int = 3,
        prepare: Callable[[], object] = _nothing,
        finalize: Callable[[], object] = _nothing,
        verify: Callable[[], object] = _nothing,
    ) -> None:
        """Say what the terminal consists of; no connection is opened.

        Args:
            shells: One shell, or the shells from the first hop to the last.
            broken_exceptions: Class or classes of exceptions that mean that the session is broken. What code on the
                target raises and errors of usage never do.
            init_broken_exceptions: As above, while the session is being opened.
            sleep_between_tries: Seconds between two tries.
            max_tries: How often opening and running are tried at most; 1 means once.
            prepare: Is called when the shells are up.
            finalize: Is called before the terminal is closed.
            verify: Is called by `auto_setup` and must raise one of `broken_exceptions` when the session is broken.

        Raises:
            WrongArgument: Something among them is no shell.
            UsageError: No shell was given, or `max_tries` is not positive.
        """
        stack = (shells,) if isinstance(shells, Shell | str) or not isinstance(shells, Iterable) else tuple(shells)
        for shell in stack:
            if isinstance(shell, type | str) or not hasattr(shell, "get_start_cmd"):
                raise WrongArgument(
                    f"{shell!r} is no shell",
                    doing="initialize",
                    advice="give a shell or a list of them, for example SshShell('NAME')",
                )
        if not stack:
            raise UsageError("a terminal needs at least one shell", doing="initialize")
        if max_tries < 1:
            raise UsageError(f"max_tries must be 1 or more, not {max_tries}", doing="initialize")
        self._shells = stack
        self._sleep_between_tries = sleep_between_tries
        self._max_tries = max_tries
        self.set_broken_exceptions(broken_exceptions)
        self._init_broken = _as_tuple(init_broken_exceptions)
        self.set_prepare(prepare)
        self.set_finalize(finalize)
        self.set_verify(verify)

    def set_broken_exceptions(self, broken_exceptions: ExceptionClasses) -> None:
        """Set the class or classes of exceptions that mean a broken session."""
        self._broken = _as_tuple(broken_exceptions)

    def set_prepare(self, prepare: Callable[[], object]) -> None:
        """Set what is called when the shells are up."""
        self._prepare = prepare
        self._link_python = None

    def expect_link(self, python: Callable[[], str | None]) -> None:
        """Say that the present `prepare` begins with a link, by the interpreter that `python` tells."""
        self._link_python = python

    def set_finalize(self, finalize: Callable[[], object]) -> None:
        """Set what is called before the terminal is closed; its errors are logged only."""
        self._finalize = finalize

    def set_verify(self, verify: Callable[[], object]) -> None:
        """Set what `initialize_if_needed` calls to see whether the session is good."""
        self._verify = verify

    def get_session(self) -> InteractiveSession | None:
        """The open session, None when there is none."""
        return self._session

    @property
    def is_inside(self) -> bool:
        """Whether this thread is in `prepare`, `finalize` or `verify` of this terminal."""
        return self._inside.depth > 0

    # Opening

    def initialize_terminal(self) -> None:
        """Open the connections, after closing what was open.

        Raises:
            SessionInitializationFailed: Every try failed, or one failed for good; the last error is its first argument.
            UsageError: Called from `prepare`, `finalize` or `verify`.
        """
        if self.is_inside:
            raise UsageError("initialize_terminal was called from prepare, finalize or verify", host=self.name)
        self._recover(self._session, Deadline.after(None))

    def initialize_if_needed(self) -> None:
        """Open the session when it is not open, or when verify says that it is broken.

        Raises:
            SessionInitializationFailed: As in `initialize_terminal`.
        """
        self.ensure(Deadline.after(None))

    auto_setup = initialize_if_needed

    def ensure(self, deadline: Deadline) -> None:
        """As `initialize_if_needed`, but wait for a recovery no longer than until `deadline`; it then goes on.

        Raises:
            RecoveryPending: The deadline came first.
            SessionInitializationFailed: As in `initialize_terminal`.
        """
        if self.is_inside:
            return
        flight = self._flight
        if flight is not None and not flight.landed:
            self._result_of(flight, deadline)
            return
        session = self._session
        if session is None or not self._is_verified():
            self._recover(session, deadline)

    def _is_verified(self) -> bool:
        # Not by a context manager: this stands before every use of a proxy.
        self._inside.depth += 1
        try:
            self._verify()
        except self._broken as error:
            if not self._counts_as_broken(error):
                raise
            logger.info("%s: the session is broken: %s", self.name, error)
            return False
        finally:
            self._inside.depth -= 1
        return True

    def _counts_as_broken(self, error: BaseException) -> bool:
        return isinstance(error, self._broken) and not isinstance(error, UsageError) and not is_target_error(error)

    @contextlib.contextmanager
    def _marked_inside(self) -> Iterator[None]:
        self._inside.depth += 1
        try:
            yield
        finally:
            self._inside.depth -= 1

    def _recover(self, seen: InteractiveSession | None, deadline: Deadline) -> None:
        """Open anew, unless somebody else has replaced the session that was `seen` to be bad."""
        with self._lock:
            flight = self._flight
            if flight is None or flight.landed:
                if self._session is not seen:
                    return
                self._cancelled.clear()
                flight = self._flight = Flight(self._open, f"crl-recovery-{self.name}")
        self._result_of(flight, deadline)

    def _result_of(self, flight: Flight, deadline: Deadline) -> None:
        try:
            flight.result(deadline)
        except SessionInitializationFailed as error:
            # Each waiter gets an error of its own: one object raised in many threads mixes their tracebacks.
            raise SessionInitializationFailed(*error.args, host=error.host) from error.__cause__
        except RecoveryPending as error:
            error.host = self.name
            raise

    def _open(self) -> None:
        with self._changing, self._marked_inside():
            self._put_away()
            failure = self._try_to_open()
        if failure is not None:
            raise SessionInitializationFailed(failure, host=getattr(failure, "host", None) or self.name) from failure

    def _try_to_open(self) -> BaseException | None:
        if not self._shells:
            return UsageError("initialize was not called", doing="initialize_terminal")
        pause = self._pauses()
        for attempt in range(1, self._max_tries + 1):
            try:
                self._open_once()
            except self._init_broken as error:
                logger.info("%s: try %d of %d failed: %s", self.name, attempt, self._max_tries, error)
                failure = error
            else:
                return None
            last = attempt == self._max_tries or is_definite(failure) or isinstance(failure, UsageError)
            if last or pause():
                break
        return failure

    def _pauses(self) -> Callable[[], bool]:
        """What waits between two tries of one opening, and says whether there is to be no further one."""
        return lambda: self._cancelled.wait(self._sleep_between_tries)

    def _put_away(self) -> None:
        """Close the session, but not the spare one that it may have from a link that looked for its program in vain."""
        spare = None if self._session is None else self._session.take_spare()
        if spare is not None:
            self._drop_spare()
            self._spare = spare
        self._close_current()

    def _drop_spare(self) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.discard()

    def _stack_of_shells(self) -> InteractiveSession:
        """A session whose shells are to be started, or the spare one, when its shell answers."""
        spare, self._spare = self._spare, None
        if spare is not None:
            try:
                spare.current_shell().verify()
            except (InteractiveSessionError, pexpect.ExceptionPexpect) as error:
                logger.info("%s: a terminal that was open already does not answer: %s", self.name, error)
                spare.discard()
            else:
                return spare
        return InteractiveSession()

    def _open_once(self) -> None:
        with contextlib.ExitStack() as undo:
            session = self._opening = self._stack_of_shells()
            undo.callback(self._close_session, session)
            # From here on `close` aborts it.
            if self._cancelled.is_set():
                raise _SessionGone("the terminal was closed", host=self.name, doing="opening a session")
            if self._link_python is not None and len(self._shells) == 1:
                session.expect_link(self._link_python())
            for shell in () if session.shells else self._shells:
                if session.shells:
                    session.push(shell)
                else:
                    session.spawn(shell)
            undo.pop_all()
            self._session = session
            undo.callback(self._close_current)
            self._prepare()
            self._opening = None
            undo.pop_all()

    # Closing

    @contextlib.contextmanager
    def auto_close(self) -> Iterator[None]:
        """Close the session when the block raises one of the broken exceptions; the exception goes on."""
        session = self._session
        try:
            yield
        except self._broken as error:
            if self._counts_as_broken(error):
                self._close_if_still(session)
            raise

    def _close_if_still(self, session: InteractiveSession | None) -> None:
        if self.is_inside:
            return  # The recovery or the close that this thread is part of deals with it.
        with self._changing, self._marked_inside():
            if session is not None and self._session is session:
                self._put_away()

    def close(self) -> None:
        """Call `finalize` and close the connections; errors are logged only.

        A recovery under way is ended too. `initialize_terminal` opens the terminal again.
        """
        self._cancelled.set()
        opening = self._opening
        if opening is not None and not self.is_inside:
            opening.abort()
        flight = self._flight
        if flight is not None and not self.is_inside and not flight.join(Deadline.after(CLOSE_TIMEOUT)):
            logger.warning("%s: a recovery did not end within %s s", self.name, CLOSE_TIMEOUT)
        with self._changing, self._marked_inside():
            self._close_current()
            self._drop_spare()

    def _close_current(self) -> None:
        session = self._session
        if session is None:
            return
        try:
            self._finalize()
        except CrlError as error:
            logger.warning("%s: finalize failed: %s", self.name, error)
        except Exception:
            logger.warning("%s: finalize failed", self.name, exc_info=True)
        finally:
            self._session = None
            self._close_session(session)

    def _close_session(self, session: InteractiveSession) -> None:
        try:
            session.close_terminal()
        except ChannelInUse:
            # The link was lost before it could give the terminal back; the terminal is closed all the same.
            logger.debug("%s: closed while a lost link had its terminal", self.name)
        except CrlError as error:
            logger.warning("%s: closing the terminal failed: %s", self.name, error)
        except Exception:
            logger.warning("%s: closing the terminal failed", self.name, exc_info=True)

    # Running

    def run(self, cmd: str, timeout: float = -1) -> str:
        """Run a command in the current shell, opening the session when needed.

        Args:
            cmd: One line for the shell.
            timeout: Seconds; negative means 60.

        Returns:
            The output.

        Raises:
            SessionInitializationFailed: The session could not be opened.
            Exception: What the shell raised. The command is tried again, up to `max_tries` times, only when nothing of
                it was written.
        """
        return self._run(cmd, timeout, self._nothing_written)

    def retry_run(self, cmd: str, timeout: float = -1) -> str:
        """As `run`, but the command may run again: it is tried up to `max_tries` times after a broken exception."""
        return self._run(cmd, timeout, self._counts_as_broken)

    def _run(self, cmd: str, timeout: float, may_run_again: Callable[[BaseException], bool]) -> str:
        deadline = Deadline.after(RUN_TIMEOUT if timeout < 0 else timeout)
        for attempt in range(1, self._max_tries + 1):
            self._open_for_run()
            try:
                with self.auto_close(), self._dialogue(deadline) as session:
                    return session.current_shell().exec_command(cmd, timeout=timeout)
            except self._broken as error:
                if attempt == self._max_tries or is_definite(error) or not may_run_again(error):
                    raise
                logger.info("%s: the command is tried again after: %s", self.name, error)
            deadline = Deadline.after(RUN_TIMEOUT if timeout < 0 else timeout)
        raise UsageError("max_tries must be 1 or more", host=self.name, doing="run")

    def _open_for_run(self) -> None:
        self.initialize_if_needed()
        session = self._session
        if session is not None and not self.is_inside and not session.isalive():
            # Its end is seen before anything is written: opening it again runs nothing twice.
            self._recover(session, Deadline.after(None))

    def _nothing_written(self, error: BaseException) -> bool:
        # A shell that refuses itself does so before it types.
        return self._counts_as_broken(error) and isinstance(error, ShellStateError | _SessionGone)

    @contextlib.contextmanager
    def _dialogue(self, deadline: Deadline) -> Iterator[InteractiveSession]:
        left = deadline.remaining()
        if not self._speaking.acquire(timeout=-1 if left is None else left):
            raise UsageError("another command is still running in this shell", host=self.name, doing="run")
        try:
            session = self._session
            if session is None:
                raise _SessionGone("the session was closed meanwhile", host=self.name, doing="run")
            yield session
        finally:
            self._speaking.release()
