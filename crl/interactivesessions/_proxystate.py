"""What a proxy knows and how it asks: the part of proxies that their users do not see.

This module knows terminals and the link's steps; it has no operator and no attribute of the target's objects in it. It
promises one round trip for each question, and that a question ends at the limit of its proxy.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from crl.deadlines import Deadline
from crl.interactivesessions._arguments import RemoteName
from crl.interactivesessions._awaiting import answered, begun
from crl.interactivesessions._pending import PendingResponse
from crl.interactivesessions._recovery import RecoveryPending
from crl.interactivesessions.runnerexceptions import (
    InvalidProxySession,
    RemoteTimeout,
    RunnerException,
    RunnerTerminalSessionClosed,
)
from crl.link import Call, Keep, Kept, Link

if TYPE_CHECKING:
    from crl.interactivesessions.runnerterminal import RunnerTerminal

__all__ = ["ProxyState", "redeemed"]

AWAITING = "__import__('sys').modules['_crl.remote.awaiting'].AWAITING"
RUN, LEAVE, STOP = (f"{AWAITING}.{name}" for name in ("run", "leave", "stop"))
STOP_TIMEOUT = 2.0

Finish = Callable[[Any], Any]
Submit = Callable[[Link], Call]


_awaits = itertools.count(1)


def as_it_is(value: Any) -> Any:
    """The answer as it came."""
    return value


def redeemed(value: Any, host: str) -> RemoteTimeout:
    """A handle whose answer is here already."""
    handle = RemoteTimeout("(already here)", host=host)
    handle._redeemed = (value,)  # noqa: SLF001 - made and filled here
    return handle


class ProxyState:
    """Everything a proxy knows.

    Args:
        terminal: Where it asks.
        name: The object's name on the target; None for an empty proxy.
        session_id: The session in which the name means something.
    """

    # Seconds for proxies without a timeout of their own; None means the terminal's.
    default_timeout: ClassVar[float | None] = None

    __slots__ = ("asynchronous", "lazy_import", "local", "methods", "name", "session_id", "spec", "terminal", "timeout")

    def __init__(self, terminal: RunnerTerminal, name: RemoteName | None, session_id: str | None) -> None:
        self.terminal = terminal
        self.name = name
        self.session_id = session_id
        self.spec: type | None = None
        self.methods: frozenset[str] = frozenset()
        self.local: dict[str, Any] = {}
        self.timeout: float | None = None
        self.asynchronous = False
        self.lazy_import = False

    def child(self, name: RemoteName | None, session_id: str | None) -> ProxyState:
        """The state of a proxy that came out of this one: same terminal, timeout and mode."""
        state = ProxyState(self.terminal, name, session_id)
        state.timeout = self.timeout
        state.asynchronous = self.asynchronous
        state.lazy_import = self.lazy_import
        return state

    def set_spec(self, spec: type) -> None:
        """Let every public callable of `spec` be a method without asking the target."""
        self.spec = spec
        names = (name for name in dir(spec) if not name.startswith("__"))
        self.methods = frozenset(name for name in names if callable(getattr(spec, name, None)))

    def move_from(self, other: ProxyState) -> None:
        """Take over the object of another proxy, which becomes empty; spec, timeout and mode stay as they are."""
        self.name, other.name = other.name, None
        self.session_id, other.session_id = other.session_id, None
        self.terminal = other.terminal

    # Before a question

    @property
    def limit(self) -> float:
        """Seconds for a question; negative means not to wait."""
        if self.timeout is not None:
            return self.timeout
        default = type(self).default_timeout
        return self.terminal.default_timeout if default is None else default

    def usable_name(self) -> RemoteName:
        """The object's name.

        Raises:
            InvalidProxySession: There is none, or not in the present session.
        """
        present = self.terminal.session_id
        if self.name is None:
            raise InvalidProxySession("the proxy is empty", host=self.terminal.host, advice="fill it in prepare()")
        if present is None or self.session_id not in (None, present):
            raise InvalidProxySession(
                "the session of the proxy is no more",
                host=self.terminal.host,
                advice="make the proxy anew, in prepare() of the terminal where it has to live through a recovery",
            )
        return self.name

    def begin(self) -> tuple[Deadline, RemoteName]:
        """Have the session open and the object's name at hand.

        Raises:
            InvalidProxySession: As in `usable_name`, or the terminal is closed.
            RemoteTimeout: The session is still being brought up.
        """
        limit = self.limit
        deadline = Deadline.after(self.terminal.prompt_timeout if limit < 0 else limit)
        try:
            self.terminal.ensure_open(deadline)
        except RunnerTerminalSessionClosed as error:
            raise InvalidProxySession(error.message, host=self.terminal.host) from error
        except RecoveryPending as error:
            late = RemoteTimeout("(never sent)", host=self.terminal.host)
            late.link_state = error.message
            raise late from error
        name = self.usable_name()
        if self.session_id is None:
            # Named before the session was open: from now on it belongs to this one.
            self.session_id = self.terminal.session_id
        return deadline, name

    # Questions

    def ask(
        self,
        deadline: Deadline,
        submit: Submit,
        finish: Finish = as_it_is,
        *,
        needs: object = None,
        later: bool = False,
    ) -> Any:
        """Send one question and wait for the answer as the proxy's timeout and mode say.

        Args:
            deadline: As `begin` gave it.
            submit: Sends it.
            finish: Makes of the answer what the user gets.
            needs: What has to live on the target meanwhile.
            later: Whether a handle may be returned in asynchronous mode; otherwise it is waited for.
        """
        terminal = self.terminal
        pending = terminal.start(submit, needs=needs, session_id=self.session_id)
        if self.asynchronous and later:
            handle = terminal.timeout_of(pending)
            handle.add_response_wrap(finish)
            return handle
        seconds = -1 if self.limit < 0 and not self.asynchronous else deadline.remaining()
        return self._answer(pending, seconds, finish)

    def ask_now(self, deadline: Deadline, submit: Submit, finish: Finish, *, needs: object) -> Any:
        """As `ask`, but wait whatever the mode, in a negative one for the terminal's prompt_timeout."""
        pending = self.terminal.start(submit, needs=needs, session_id=self.session_id)
        return self._answer(pending, deadline.remaining(), finish)

    def _answer(self, pending: Any, seconds: float | None, finish: Finish) -> Any:
        try:
            answer = self.terminal.answer(pending, seconds)
        except RemoteTimeout as late:
            late.add_response_wrap(finish)
            raise
        return finish(answer)

    def plain(self, value: Any) -> Any:
        """A value that came for an attribute, in the way the mode asks for: itself, or a handle for it."""
        if self.asynchronous:
            return redeemed(value, self.terminal.host)
        if self.limit < 0:
            raise redeemed(value, self.terminal.host)
        return value

    def step(self, operator: str, args: tuple[Any, ...] = (), finish: Finish = as_it_is, *, later: bool = False) -> Any:
        """One operation on the object whose value comes over."""
        deadline, name = self.begin()
        args, _, names = self.terminal.arguments(args, {}, deadline)
        return self.ask(
            deadline, lambda link: link.submit_step(name.text, operator, args), finish, needs=(name, names), later=later
        )

    def value_of_call(self, function: str, args: tuple[Any, ...], kwargs: dict[str, Any], *, later: bool) -> Any:
        """Call a function on the target, ``{}`` in whose expression is the object; the value comes over."""
        deadline, name = self.begin()
        submit, needs = self.terminal.invocation(function.replace("{}", name.text), args, kwargs, deadline)
        return self.ask(deadline, submit, self.terminal.value_of, needs=(name, needs), later=later)

    def kept_step(self, operator: str, args: tuple[Any, ...], make: type[Any], *, later: bool = True) -> Any:
        """One operation on the object; what comes of it is a proxy, or a value of a handled type."""
        deadline, name = self.begin()
        args, _, names = self.terminal.arguments(args, {}, deadline)
        keep, finish, new = self.keeper(make)
        submit = lambda link: link.submit_step(name.text, operator, args, keep=keep)  # noqa: E731
        return self.ask(deadline, submit, finish, needs=(name, names, new), later=later)

    def kept_call(
        self, function: str, args: tuple[Any, ...], kwargs: dict[str, Any], make: type[Any], *, later: bool = True
    ) -> Any:
        """As `value_of_call`, with a result as in `kept_step`."""
        deadline, name = self.begin()
        args, kwargs, names = self.terminal.arguments(args, kwargs, deadline)
        keep, finish, new = self.keeper(make)
        text = function.replace("{}", name.text)
        submit = lambda link: link.submit_invoke(text, args, kwargs, keep=keep)  # noqa: E731
        return self.ask(deadline, submit, finish, needs=(name, names, new), later=later)

    async def awaited(self, what: str, proxy: Any, args: tuple[Any, ...], make: type[Any]) -> Any:
        """What comes of awaiting the object, or an asynchronous method of it, on the target's event loop.

        Args:
            what: The method's name; nothing for the object itself.
            proxy: The proxy of this state.
            args: The method's arguments, for ``__aexit__`` the exception's class name and text.
            make: Makes a proxy of a result that stays.
        """
        key = next(_awaits)
        terminal = self.terminal
        function, given = (LEAVE, (key, proxy, args)) if what == "__aexit__" else (RUN, (key, what, proxy, args))

        def start() -> tuple[PendingResponse, Finish, Deadline]:
            deadline, name = self.begin()
            terminal.load("awaiting", deadline)
            plain, _, names = terminal.arguments(given, {}, deadline)
            keep, finish, new = self.keeper(make)
            submit = lambda link: link.submit_invoke(function, plain, {}, keep=keep)  # noqa: E731
            return terminal.start(submit, needs=(name, names, new), session_id=self.session_id), finish, deadline

        def stop() -> None:
            with contextlib.suppress(RunnerException):  # it has ended with the session, or goes on as a timeout says
                pending = terminal.start(lambda link: link.submit_invoke(STOP, (key,)), session_id=self.session_id)
                terminal.answer(pending, STOP_TIMEOUT)

        pending, finish, deadline = await begun(start, stop)
        over = await answered(pending, deadline.remaining(), stop)
        return self._answer(pending, 0.0 if over else -1.0, finish)

    def keeper(self, make: type[Any]) -> tuple[Keep, Finish, RemoteName]:
        """How a result is to be kept, what makes a proxy or value of the answer, and the name it may get."""
        new, session_id = self.terminal.new_name(), self.session_id
        keep = Keep(handle=new.text, types=self.terminal.handled_types)

        def finish(kept: Kept) -> Any:
            if kept.isobj:
                new.disown()
                return kept.obj
            return make.of_state(self.child(new, session_id or self.terminal.session_id))

        return keep, finish, new
