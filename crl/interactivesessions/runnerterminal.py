"""Python on the target behind a terminal: calls by text and by name, and the proxies made from them.

This module joins a session (a stack of shells) with the link that runs in its current shell; it knows no host and no
recovery. It promises that every wait ends at its limit, that what code on the target raises never breaks the session,
and that a session id is never used twice.
"""

from __future__ import annotations

import io
import logging
import pickle
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NamedTuple, Protocol

from crl.deadlines import Deadline
from crl.errors import WrongArgument
from crl.interactivesessions import _optin
from crl.interactivesessions._pending import Bin, PendingResponse
from crl.interactivesessions._streaming import pieces_of
from crl.interactivesessions._terminalcalls import Live, Submit, TerminalCalls
from crl.interactivesessions.InteractiveSession import InteractiveSession
from crl.interactivesessions.remoteproxies import _RecursiveProxy, _RemoteProxy
from crl.interactivesessions.runnerexceptions import (
    RemoteTimeout,
    RunnerTerminalSessionBroken,
    RunnerTerminalSessionClosed,
)
from crl.link import BASIC_TYPES, Keep, Kept, Link

__all__ = ["HandledResponse", "RunnerTerminal"]

RUN_TIMEOUT = 60.0
PIECE = 1024 * 1024
CLOSE_TIMEOUT = 5.0
TEXT_TYPES = ("NoneType", "str", "unicode", "bytes")

logger = logging.getLogger(__name__)


class HandledResponse(NamedTuple):
    """What became of a value on the target.

    Attributes:
        isobj: Whether the value itself came over, because it is of a handled type.
        obj: The value, None when it did not come.
    """

    isobj: bool
    obj: Any


class Session(Protocol):
    """What a terminal is initialized with: something that has an `InteractiveSession`."""

    def get_session(self) -> InteractiveSession | None:
        """The session, None when it is not open."""


def _nothing() -> None:
    """What `_setup` and `_close` do when nobody has set them."""


class RunnerTerminal(TerminalCalls):
    """A terminal with Python on the target.

    Any number of threads may use one terminal; calls do not wait for each other.

    Attributes:
        HANDLED_TYPES: Types whose instances always come over as values; classes, type names, or an expression that
            gives a tuple of classes on the target. None means None, bool, int, float, str and bytes. Exact types.
        UNPICKLER: Set another one, or another `TARGET_PICKLER`, to move values as pickles made on the target: the
            controller then trusts the target, and says so in a warning.
        TARGET_PICKLER: Name of the pickling module on the target.
        TARGET_UNPICKLER: Kept for subclasses; arguments are always unpickled with `pickle`.
        TARGET_CONTEXTMANAGER: An expression that gives a callable on the target which makes a context manager; calls
            that return values run in it.
        HANDLER_SOURCE_PATH: Without effect; kept for subclasses.
        HANDLER_TARGET_PATH: Without effect; kept for subclasses.
        MAX_GARBAGE: How many unused objects the target may hold before they are released with the next call.
        default_timeout: Seconds for a call without a timeout.
        prompt_timeout: Seconds in which a sign of life is expected of the target.
    """

    HANDLED_TYPES: ClassVar[Any] = None
    HANDLER_SOURCE_PATH: ClassVar[str | None] = None
    HANDLER_TARGET_PATH: ClassVar[str | None] = None
    UNPICKLER: ClassVar[Any] = pickle.Unpickler
    TARGET_CONTEXTMANAGER: ClassVar[str | None] = None
    TARGET_PICKLER: ClassVar[str] = "pickle"
    TARGET_UNPICKLER: ClassVar[str] = "pickle.Unpickler"
    MAX_GARBAGE: ClassVar[int] = 100
    _IMPORTS: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        super().__init__()
        self.session: Session | None = None
        self.python: str | None = None
        self._setup: Callable[[], object] = _nothing
        self._close: Callable[[], object] = _nothing
        self._handled: tuple[str, ...] = BASIC_TYPES
        self._linking = threading.RLock()

    def __repr__(self) -> str:
        live = self._live
        state = "closed" if self._closed else "not open" if live is None else "open" if live.link.alive else "broken"
        return f"<{type(self).__name__} to {self.host} ({state})>"

    # Opening and closing

    def initialize(self, session: Session) -> None:
        """Start Python in the current shell of a session.

        Args:
            session: Has `get_session`, which gives an open `InteractiveSession`.

        Raises:
            crl.link.LinkStartError: Python could not be started there.
            RunnerTerminalSessionClosed: The session is not open.
        """
        self.session = session
        self._closed = False
        self.setup_session()

    def setup_session(self) -> None:
        """Start a new link on the current shell; proxies of an earlier one become invalid.

        Raises:
            crl.link.LinkStartError: Python could not be started there.
            crl.errors.UsageError: The current shell is none that can carry a link.
            RunnerTerminalSessionClosed: The session is not open.
        """
        with self._linking:
            self.close_session()
            session = self.get_session()
            lane = session.lane()
            link = Link.start(lane, timeout=self.prompt_timeout, python=self.python)
            session.note(f"a link took the terminal: {link!r}; what it carries is not recorded")
            session_id = uuid.uuid4().hex
            self._live = Live(link, session_id, Bin(session_id), set())
            self._prepare_target()
            self._setup()

    def _prepare_target(self) -> None:
        if self._moves_pickles:
            warnings.warn(
                f"{type(self).__name__} unpickles what the target sends: the target can run code here",
                stacklevel=4,
            )
        if self._opted_in:
            self.request(lambda link: link.submit_evaluate(_optin.SOURCE), self.prompt_timeout)
        self._handled = self._handled_names()
        if self._IMPORTS:
            self.import_libraries(*self._IMPORTS)

    @property
    def _moves_pickles(self) -> bool:
        cls = type(self)
        return cls.UNPICKLER is not RunnerTerminal.UNPICKLER or cls.TARGET_PICKLER != RunnerTerminal.TARGET_PICKLER

    @property
    def _opted_in(self) -> bool:
        return self._moves_pickles or self.TARGET_CONTEXTMANAGER is not None

    def _handled_names(self) -> tuple[str, ...]:
        types = type(self).HANDLED_TYPES
        if types is None:
            return BASIC_TYPES
        if isinstance(types, str):
            names = self.request(lambda link: link.submit_evaluate(_optin.TYPE_NAMES % types), self.prompt_timeout)
            return tuple(names)
        return tuple(_optin.name_of_type(one) for one in ((types,) if isinstance(types, type) else types))

    def get_session(self) -> InteractiveSession:
        """The session that the terminal runs in.

        Raises:
            RunnerTerminalSessionClosed: There is none, or it is not open.
        """
        session = None if self.session is None else self.session.get_session()
        if session is None:
            raise RunnerTerminalSessionClosed("the session of the terminal is not open")
        return session

    def initialize_if_needed(self) -> None:
        """Does nothing here; `AutoRunnerTerminal` opens or recovers its session."""

    def ensure_open(self, deadline: Deadline) -> None:
        """What every use of a proxy begins with: `initialize_if_needed`, no longer than until `deadline`."""
        del deadline
        self.initialize_if_needed()

    def close_session(self) -> None:
        """End Python on the target and give the shell its terminal back; the terminal can be set up again."""
        with self._linking:
            live, self._live = self._live, None
        if live is not None:
            live.link.close(timeout=CLOSE_TIMEOUT)

    def close(self) -> None:
        """Close the terminal; `initialize` opens it again. Proxies raise `InvalidProxySession` from now on."""
        self._closed = True
        try:
            self.close_session()
        finally:
            self._close()

    def set_default_timeout(self, default_timeout: float) -> None:
        """Set the seconds for calls without a timeout."""
        self.default_timeout = default_timeout

    def invocation(
        self, function: str, args: tuple[Any, ...], kwargs: dict[str, Any], deadline: Deadline | None = None
    ) -> tuple[Submit, object]:
        """A call of a function on the target whose value comes back, and what it needs there."""
        args, kwargs, names = self.arguments(args, kwargs, deadline)
        if self.TARGET_CONTEXTMANAGER is not None:
            function = _optin.in_context(self.TARGET_CONTEXTMANAGER, function)
        if self._moves_pickles:
            function = _optin.pickled(self.TARGET_PICKLER, function)
        return (lambda link: link.submit_invoke(function, args, kwargs)), names

    def value_of(self, answer: Any) -> Any:
        """The value in an answer: itself, or what the pickle in it says when the subclass has opted in to pickle."""
        return self.UNPICKLER(io.BytesIO(answer)).load() if self._moves_pickles else answer

    # Text

    def run(self, cmd: str, timeout: float = -1, _rerun: bool = False) -> str | bytes:
        """Run an expression and give its value as text.

        Args:
            cmd: A Python expression or statements.
            timeout: Seconds; negative means 60.
            _rerun: Without effect.

        Returns:
            A str or bytes value as it is, nothing (``""``) for None, the `repr` of anything else.

        Raises:
            RunnerTerminalSessionClosed: The terminal is not open.
            RunnerTerminalSessionBroken: Anything else; the error is the first argument. The session itself is given up
                only when it is lost.
        """
        del _rerun
        limit = RUN_TIMEOUT if timeout < 0 else timeout
        try:
            return self._text_of(cmd, Deadline.after(limit))
        except (RunnerTerminalSessionClosed, RunnerTerminalSessionBroken):
            raise
        except Exception as error:
            raise RunnerTerminalSessionBroken(error, host=self.host) from error

    def _text_of(self, cmd: str, deadline: Deadline) -> str | bytes:
        name = self.new_name()
        keep = Keep(handle=name.text, types=TEXT_TYPES)
        kept = self.request(lambda link: link.submit_evaluate(cmd, keep=keep), deadline.remaining(), needs=name)
        if kept.isobj:
            name.disown()
            return kept.obj or ""
        answer = self.request(lambda link: link.submit_step(name.text, "repr", ()), deadline.remaining(), needs=name)
        return str(answer)

    def run_python(self, cmd: str, timeout: float | None = None) -> Any:
        """Run Python on the target.

        Args:
            cmd: An expression, or statements, which give None.
            timeout: Seconds; None means `default_timeout`, negative not to wait.

        Returns:
            The value of the expression, as an object here.

        Raises:
            RemoteTimeout: The answer has not come in time; redeem it with `get_response`.
            RunnerTerminalSessionClosed: The terminal is not open.
            RunnerTerminalSessionBroken: The session is lost.
            RunnerTerminalUnableToDeserialize: The value cannot cross.
            Exception: What the code raised.
        """
        if not isinstance(cmd, str):
            raise WrongArgument(f"{cmd!r} is no text", host=self.host, doing="run_python", advice="give Python as text")
        if not self._opted_in:
            return self.request(lambda link: link.submit_evaluate(cmd), timeout)
        submit, _ = self.invocation(_optin.EVALUATE, (cmd,), {})
        return self._value_by(submit, timeout, None)

    def _value_by(self, submit: Submit, timeout: float | None, needs: object) -> Any:
        if not self._moves_pickles:
            return self.request(submit, timeout, needs=needs)
        try:
            answer = self.request(submit, timeout, needs=needs)
        except RemoteTimeout as late:
            late.add_response_wrap(self.value_of)
            raise
        return self.value_of(answer)

    def stream_python(self, value: Any, size: int = PIECE, timeout: float | None = None) -> Iterator[Any]:
        """A value of any size, piece by piece, in little memory of this end.

        Args:
            value: A proxy, or an expression, which is evaluated once: text, bytes, a list or the like, or anything that
                can be iterated over.
            size: Characters, bytes or items of a piece.
            timeout: Seconds for each piece, as in `run_python`.

        Returns:
            The pieces: of text, bytes and lists their slices, of the rest lists of items.

        Raises:
            Exception: As in `run_python`.

        Example:
            >>> with open("dump", "wb") as file:
            ...     file.writelines(terminal.stream_python("memory_of_process(4711)"))
        """
        return pieces_of(self, value, size, timeout)

    def run_python_call(self, function_name: str, *args: Any, **kwargs: Any) -> Any:
        """Call a function on the target.

        Args:
            function_name: An expression that gives the function there.
            args: Its arguments; proxies stand for their objects, wherever in a container they are.
            kwargs: As `args`.

        Returns:
            As `run_python`, with the same errors.
        """
        return self.run_python_call_with_timeout(None, function_name, args, kwargs)

    def run_python_call_with_timeout(
        self,
        timeout: float | None,
        function_name: str,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """As `run_python_call`, with a timeout as in `run_python`."""
        submit, needs = self.invocation(function_name, tuple(args), kwargs or {}, self._until(timeout))
        return self._value_by(submit, timeout, needs)

    def _until(self, timeout: float | None) -> Deadline | None:
        """Until when a call may be prepared; None is the usual time."""
        seconds = self.seconds_of(timeout)
        return None if timeout is None or seconds < 0 else Deadline.after(seconds)

    def assign_and_run_python(self, handle: str, cmd: str, timeout: float | None = None) -> HandledResponse:
        """Assign the value of an expression to `handle` on the target; bring it over too when its type is handled.

        Args:
            handle: Something that can be assigned to on the target.
            cmd: The expression.
            timeout: As in `run_python`.

        Raises:
            Exception: As in `run_python`.
        """
        keep = Keep(handle=handle, types=self.handled_types, always=True)
        return self._handled_response(lambda link: link.submit_evaluate(cmd, keep=keep), timeout)

    def run_and_return_handled_python(self, handle: str, timeout: float | None = None) -> HandledResponse:
        """Bring over the object that `handle` names on the target, when its type is handled.

        Raises:
            Exception: As in `run_python`.
        """
        keep = Keep(handle=None, types=self.handled_types)
        return self._handled_response(lambda link: link.submit_evaluate(handle, keep=keep), timeout)

    def _handled_response(self, submit: Submit, timeout: float | None) -> HandledResponse:
        try:
            return _handled(self.request(submit, timeout))
        except RemoteTimeout as late:
            late.add_response_wrap(_handled)
            raise

    @property
    def handled_types(self) -> tuple[str, ...]:
        """The names of the types whose instances always come over as values."""
        return self._handled

    def get_response_or_raise(self, out: PendingResponse, cmd: str) -> Any:
        """The answer of a call that was sent with `start`, within `default_timeout`; `cmd` is for the log."""
        logger.debug("%s: waiting for %s", self.host, cmd)
        return self.answer(out, self.default_timeout)

    # Objects

    def import_libraries(self, *imports: str) -> None:
        """Import modules on the target, where their (dotted) names can then be used.

        Raises:
            ImportError: The target has no such module.
        """
        if imports:
            self.run_python("\n".join(f"import {name}" for name in imports))

    def iscallable(self, remote_object: str) -> bool:
        """Whether the object of that name on the target can be called."""
        submit = lambda link: link.submit_step(remote_object, "callable", ())  # noqa: E731
        return bool(self.request(submit, None))

    @staticmethod
    def isproxy(obj: object) -> bool:
        """Whether an object here is a proxy."""
        return issubclass(type(obj), _RemoteProxy)

    @staticmethod
    def serialize(content: object) -> bytes:
        """An object as pickle, as arguments outside the plain types travel to the target."""
        return pickle.dumps(content, protocol=0)

    def get_proxy_object(self, remote_object: str, local_spec: type | None = None) -> _RemoteProxy:
        """A proxy for an object of the target by its name; the object is not deleted with the proxy.

        Args:
            remote_object: The name there, or an expression.
            local_spec: A class here whose methods the object has; None finds out by asking.
        """
        return _RemoteProxy(self, remote_object, local_spec, is_remote_owned=False)

    def get_recursive_proxy(self, remote_object: str) -> _RecursiveProxy:
        """As `get_proxy_object`, but what comes out of the proxy is a proxy again, except for handled types."""
        return _RecursiveProxy(self, remote_object, is_remote_owned=False)

    def create_empty_remote_proxy(self) -> _RemoteProxy:
        """A proxy to be filled later with `_RemoteProxy.set_from_remote_proxy`."""
        return _RemoteProxy(self, None)

    def create_empty_recursive_proxy(self) -> _RecursiveProxy:
        """A recursive proxy to be filled later with `_RemoteProxy.set_from_remote_proxy`."""
        return _RecursiveProxy(self, None)

    def get_proxy_object_from_call(self, function_name: str, *args: Any, **kwargs: Any) -> Any:
        """Call a function as `run_python_call` does and return a `_RemoteProxy` for what it returns."""
        return self._proxy_from_call(None, function_name, args, kwargs, ())

    def get_proxy_or_basic_from_call(self, function_name: str, *args: Any, **kwargs: Any) -> Any:
        """As `get_proxy_object_from_call`, but values of handled types come as values."""
        return self._proxy_from_call(None, function_name, args, kwargs, self.handled_types)

    def get_proxy_or_basic_from_call_with_timeout(
        self,
        timeout: float | None,
        function_name: str,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """As `get_proxy_or_basic_from_call`, with a timeout as in `run_python`."""
        return self._proxy_from_call(timeout, function_name, tuple(args), kwargs or {}, self.handled_types)

    def _proxy_from_call(
        self,
        timeout: float | None,
        function: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        types: tuple[str, ...],
    ) -> Any:
        args, kwargs, names = self.arguments(args, kwargs, self._until(timeout))
        name, session_id = self.new_name(), self.session_id
        keep = Keep(handle=name.text, types=types)

        def wrap(kept: Kept) -> Any:
            if kept.isobj:
                name.disown()
                return kept.obj
            return _RemoteProxy.of_name(self, name, session_id)

        submit = lambda link: link.submit_invoke(function, args, kwargs, keep=keep)  # noqa: E731
        try:
            return wrap(self.request(submit, timeout, needs=(names, name)))
        except RemoteTimeout as late:
            late.add_response_wrap(wrap)
            raise


def _handled(kept: Kept) -> HandledResponse:
    return HandledResponse(kept.isobj, kept.obj)


