"""Calls over the link of a terminal: sent, waited for, timed out, and tidied up after.

This module knows the link and nothing of shells, sessions and the published names of `RunnerTerminal`. It promises that
every wait ends at its limit, that what code on the target raises never breaks a session, and that what nobody needs any
more is dropped on the target without a round trip of its own.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NoReturn, cast

from crl.deadlines import Deadline
from crl.errors import WrongArgument
from crl.interactivesessions._arguments import RemoteName, Replacing, to_expressions
from crl.interactivesessions._pending import Bin, PendingResponse
from crl.interactivesessions._recovery import is_target_error
from crl.interactivesessions.remoteproxies import _RecursiveProxy, name_of
from crl.interactivesessions.runnerexceptions import (
    InvalidProxySession,
    RemoteTimeout,
    RunnerTerminalSessionBroken,
    RunnerTerminalSessionClosed,
    RunnerTerminalUnableToDeserialize,
)
from crl.link import ArgumentNotTransferable, Call, CallTimeout, Expression, Link, LinkLost, ValueNotTransferable

if TYPE_CHECKING:
    from crl.interactivesessions.runnerterminal import RunnerTerminal

__all__ = ["Live", "Submit", "TerminalCalls"]

DEFAULT_TIMEOUT = 3600.0
PROMPT_TIMEOUT = 30.0
SILENCE_WORTH_TELLING = 5.0

INSTEAD_OF_VALUES = (
    "leave it there and use a proxy (get_proxy_object_from_call, get_recursive_proxy), ask for a part of it, or for all"
    " of it in pieces (stream_python)"
)
REOPENED = (
    "whether calls under way were done is not known; initialize_if_needed, or the next use of a proxy of an"
    " AutoRunnerTerminal, opens the session anew"
)

# Types that hold no proxy and no function: most arguments are of these.
PLAIN = frozenset((str, int, float, bool, bytes, type(None)))

Submit = Callable[[Link], Call]

logger = logging.getLogger("crl.interactivesessions.runnerterminal")


class Live(NamedTuple):
    """A link and what belongs to its session.

    Attributes:
        link: The link.
        session_id: Its random id.
        unused: What the target holds and nobody uses any more.
        imported: Names of modules of this end that were imported there.
    """

    link: Link
    session_id: str
    unused: Bin
    imported: set[str]


class TerminalCalls:
    """What every terminal with a link can do, whatever its users call it."""

    MAX_GARBAGE: ClassVar[int] = 100

    def __init__(self) -> None:
        self.default_timeout = DEFAULT_TIMEOUT
        self.prompt_timeout = PROMPT_TIMEOUT
        self._live: Live | None = None
        self._closed = False

    def error_handling(self) -> contextlib.AbstractContextManager[Any]:
        """What the loss of the session is raised in; it may close what is broken, and lets the error pass."""
        return contextlib.nullcontext()

    @property
    def host(self) -> str:
        """Name of the host at the other end."""
        live = self._live
        return "the target" if live is None else live.link.host

    @property
    def session_id(self) -> str | None:
        """The random id of the open session, None when there is none; proxies belong to one session."""
        live = self._live
        return None if live is None else live.session_id

    @property
    def link(self) -> Link:
        """The link of the open session.

        Raises:
            RunnerTerminalSessionClosed: There is none.
        """
        return self._opened().link

    @property
    def unused(self) -> Bin | None:
        """Where names of the open session go that nobody uses any more."""
        live = self._live
        return None if live is None else live.unused

    def _opened(self) -> Live:
        live = self._live
        if live is None:
            raise RunnerTerminalSessionClosed(
                "the terminal is closed" if self._closed else "the terminal is not open",
                host=self.host,
                advice="call initialize_if_needed, or initialize the terminal",
            )
        return live

    # Calls

    def seconds_of(self, timeout: float | None) -> float:
        """What a timeout argument means: None is the default, a negative one is kept."""
        if timeout is None:
            return self.default_timeout
        if not isinstance(timeout, int | float):
            raise WrongArgument(f"the timeout {timeout!r} is no number", host=self.host, advice="give seconds, or None")
        return timeout

    def start(self, submit: Submit, *, needs: object = None, session_id: str | None = None) -> PendingResponse:
        """Send one call.

        Args:
            submit: Sends it on a link.
            needs: What has to live on the target until the call is over.
            session_id: The session that it is meant for; None is the present one.

        Raises:
            InvalidProxySession: That session is not the present one.
            RunnerTerminalSessionClosed: The terminal is not open.
            RunnerTerminalSessionBroken: The session is lost.
        """
        live = self._opened()
        if session_id not in (None, live.session_id):
            raise InvalidProxySession("the session has changed since the proxy was made", host=live.link.host)
        try:
            self._tidy(live)
            call = submit(live.link)
        except LinkLost as error:
            self.raise_broken(error)
        return PendingResponse(call, live.session_id, live.unused, needs)

    def _tidy(self, live: Live) -> None:
        """Let the target drop what is not used any more; all of it goes along with the next call."""
        live.unused.let_go()
        if len(live.unused) <= self.MAX_GARBAGE:
            return
        live.link.release(live.unused.take_handles())

    def answer(self, pending: PendingResponse, timeout: float | None) -> Any:
        """Wait for the answer of a call, at most `timeout` seconds; None is for ever, negative is not at all.

        Raises:
            RemoteTimeout: It has not come.
            RunnerTerminalSessionBroken: The session is lost.
            RunnerTerminalUnableToDeserialize: The value cannot cross.
            Exception: What the code on the target raised.
        """
        if timeout is not None and timeout < 0:
            raise self.timeout_of(pending)
        try:
            return pending.result(timeout)
        except CallTimeout as error:
            raise self.timeout_of(pending) from error
        except LinkLost as error:
            self.raise_broken(error)
        except ValueNotTransferable as error:
            raise RunnerTerminalUnableToDeserialize(
                error.message, host=self.host, doing="fetching a result", advice=INSTEAD_OF_VALUES
            ) from error
        except Exception as error:
            if is_target_error(error):
                logger.debug("raised on %s:\n%s", self.host, getattr(error, "remote_traceback", ""))
            raise

    def timeout_of(self, pending: PendingResponse) -> RemoteTimeout:
        """The error, and handle, of a call whose answer has not come."""
        timeout = RemoteTimeout(pending.response_id, host=self.host)
        timeout.link_state = self._state_of_link()
        timeout._pending = pending  # noqa: SLF001 - the handle is filled here and nowhere else
        timeout._owner = self  # noqa: SLF001
        return timeout

    def _state_of_link(self) -> str:
        live = self._live
        return "" if live is None else _silence_of(live.link)

    def raise_broken(self, error: BaseException) -> NoReturn:
        """Tell the owner of the session, and the caller, that the session is lost."""
        advice = getattr(error, "advice", None) or REOPENED
        with self.error_handling():
            raise RunnerTerminalSessionBroken(error, host=self.host, advice=advice) from error
        raise RunnerTerminalSessionBroken(error, host=self.host, advice=advice) from error

    def request(self, submit: Submit, timeout: float | None, *, needs: object = None) -> Any:
        """Send one call and wait for its answer; see `start` and `answer`."""
        return self.answer(self.start(submit, needs=needs), self.seconds_of(timeout))

    def arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], deadline: Deadline | None = None
    ) -> tuple[tuple[Any, ...], dict[str, Any], list[RemoteName]]:
        """Arguments with proxies and functions replaced by what stands for them, and the names that the call needs.

        Args:
            args: The arguments.
            kwargs: Those with names.
            deadline: Until when the first function that is passed in a session may take; None is `prompt_timeout`.

        Raises:
            RemoteTimeout: It takes longer; nothing was sent.
            InvalidProxySession: A proxy is of another session.
            crl.link.ArgumentNotTransferable: They are nested too deep.
        """
        if PLAIN.issuperset(map(type, args)) and PLAIN.issuperset(map(type, kwargs.values())):
            return args, kwargs, []
        session_id = self.session_id

        def usable(proxy: Any) -> RemoteName:
            return name_of(proxy, session_id)

        how = Replacing(usable, self._has_module, self._pass_function, deadline)
        try:
            new_args = to_expressions(args, how)
            new_kwargs = {key: to_expressions(value, how) for key, value in kwargs.items()}
        except RecursionError as error:
            raise ArgumentNotTransferable(
                "the arguments are nested too deep", host=self.host, doing="calling the target", advice="flatten them"
            ) from error
        return new_args, new_kwargs, how.names

    def _has_module(self, name: str) -> bool:
        live = self._opened()
        return name in live.imported or live.link.has_sent(name)

    def load(self, service: str, deadline: Deadline) -> None:
        """Have a part of the remote program there.

        Raises:
            RemoteTimeout: It takes longer; nothing else was sent.
            RunnerTerminalSessionBroken: The session is lost.
        """
        try:
            self.link.load(service, deadline.remaining())
        except CallTimeout as error:
            late = RemoteTimeout("(never sent)", host=self.host)
            late.link_state = error.message
            raise late from error
        except LinkLost as error:
            self.raise_broken(error)

    def _pass_function(self, function: Any, deadline: Deadline | None) -> Expression:
        """Let the target call a function of this end; what stands for it."""
        self.load("callbacks", deadline or Deadline.after(self.prompt_timeout))
        live = self._opened()
        callbacks = live.link.callbacks
        callbacks.argument_of = lambda name: _RecursiveProxy.of_name(
            cast("RunnerTerminal", self), RemoteName(name, live.unused), live.session_id
        )
        callbacks.result_of = lambda value: self.arguments((value,), {})[::2]
        return callbacks.expression_of(function)

    def known_there(self, module: str) -> None:
        """A module of this end was imported on the target: its functions are called there."""
        self._opened().imported.add(module)

    def get_response(self, remotetimeout: RemoteTimeout, timeout: float | None = None) -> Any:
        """Redeem a call that was not answered in time.

        Args:
            remotetimeout: What the call raised, or returned in asynchronous mode.
            timeout: Seconds; None waits until the answer comes or the session is lost.

        Returns:
            The answer; the same one when asked again.

        Raises:
            RemoteTimeout: It has still not come: the same object.
            InvalidProxySession: The session of the call is no more.
            Exception: What the code raised.
        """
        if remotetimeout._redeemed is not None:  # noqa: SLF001 - the handle's state belongs to this class
            return remotetimeout._redeemed[0]  # noqa: SLF001
        pending = remotetimeout._pending  # noqa: SLF001
        if pending is None or (pending.session_id != self.session_id and not pending.done()):
            raise InvalidProxySession(
                f"the session of response {remotetimeout.response_id} is no more", host=self.host, doing="get_response"
            )
        try:
            answer = self.answer(pending, timeout)
        except RemoteTimeout as still:
            remotetimeout.link_state = still.link_state
            raise remotetimeout from None
        except RunnerTerminalSessionBroken as error:
            raise InvalidProxySession(error.message, host=self.host, doing="waiting for a response") from error
        value = remotetimeout.response_wrap(answer)
        remotetimeout._redeemed = (value,)  # noqa: SLF001
        return value

    def cancel_response(self, pending: PendingResponse, patience: float) -> bool:
        """Stop a call on the target; whether it has ended within that many seconds.

        Raises:
            RunnerTerminalSessionBroken: The session is lost.
        """
        try:
            return pending.cancel(patience)
        except LinkLost as error:
            self.raise_broken(error)

    def new_name(self) -> RemoteName:
        """A fresh name for an object that this end will own."""
        live = self._opened()
        return RemoteName(live.link.new_handle(), live.unused)

    def add_handle_to_garbage(self, session_id: str, handle: str) -> None:
        """Note that an object on the target is not used any more; of other sessions than the present one, nothing."""
        live = self._live
        if live is not None and session_id == live.session_id:
            live.unused.add_handle(handle)


def _silence_of(link: Link) -> str:
    """Since when nothing was heard of the target, for the text of an error; nothing when all is well."""
    silent = link.engine.silent_for
    if (down := link.engine.down) is not None:
        return f"the link to {link.host} has been down for {silent:.1f} s ({down.message}) and is being resumed"
    return f"nothing was heard of {link.host} for {silent:.0f} s" if silent >= SILENCE_WORTH_TELLING else ""
