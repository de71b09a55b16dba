"""The errors of terminals and proxies, and the helpers that carry a late answer to where it is wanted.

This module knows the error tree and how asyncio waits for a call; nothing here talks to a target. It promises that the
published names keep their place (`RunnerException` is the common base), that each error can be pickled, and that an
error which wraps another one says what the other one says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

from crl.errors import CrlError, RemoteWorldError
from crl.interactivesessions._awaiting import answered, in_thread

if TYPE_CHECKING:
    from crl.interactivesessions._pending import PendingResponse
    from crl.interactivesessions._terminalcalls import TerminalCalls

__all__ = [
    "InvalidProxySession",
    "RemoteTimeout",
    "RunnerException",
    "RunnerTerminalSessionBroken",
    "RunnerTerminalSessionClosed",
    "RunnerTerminalUnableToDeserialize",
    "SessionInitializationFailed",
    "WrappingError",
    "asyncresponsehandler",
    "remotetimeouthandler",
    "responsehandler",
]


CANCEL_PATIENCE = 2.0
# What another process has no use for.
FORGOTTEN = dict.fromkeys(("_pending", "_redeemed", "_owner"))


class RunnerException(RemoteWorldError):
    """Base of the errors of terminals and proxies."""


class WrappingError(RunnerException):
    """An error whose first argument is the error behind it; host, advice and transcript are taken from there."""

    def __init__(self, original: object = "", *args: object, **context: Any) -> None:
        if isinstance(original, CrlError):
            for name in ("host", "hop", "doing", "advice", "transcript"):
                if not context.get(name):
                    context[name] = getattr(original, name)
        super().__init__(original, *args, **context)

    @property
    def message(self) -> str:
        """The kind and the reason of the error behind this one."""
        original = self.args[0] if self.args else ""
        if isinstance(original, CrlError):
            return f"{type(original).__name__}: {original.message}"
        if isinstance(original, BaseException):
            return f"{type(original).__name__}: {original}"
        return super().message


class RunnerTerminalSessionClosed(RunnerException):
    """Python was to be run on a terminal that is closed, or that was never initialized."""


class RunnerTerminalSessionBroken(WrappingError):
    """The session behind a terminal is lost; the error that told so is the first argument."""


class RunnerTerminalUnableToDeserialize(RunnerException):
    """The value of one call cannot cross to the controller. Only that call failed: the session goes on."""


class InvalidProxySession(RunnerException):
    """A proxy belongs to a session that is no more, or was never filled."""


class SessionInitializationFailed(WrappingError):
    """The shells of a terminal could not be brought up; the error of the last try is the first argument."""


def _as_it_is(response: Any) -> Any:
    return response


class RemoteTimeout(RunnerException):
    """The answer of a call has not come within its time; the call goes on and this is the handle to redeem it.

    It is a future too: `done`, `result`, `cancel`, and ``await`` in asyncio.

    The target drops the answer when this object is forgotten here. A handle cannot be redeemed in another process:
    what pickling carries over is the error alone.

    Args:
        response_id: Which answer is meant.
        context: `host`, `doing` and the like, see `crl.errors.CrlError`.

    Attributes:
        response_id: As above.
        response_wrap: Is called with the answer when it is redeemed; what it returns is handed out.
    """

    def __init__(self, response_id: object = "", *args: object, **context: Any) -> None:
        super().__init__(response_id, *args, **context)
        self.response_id = response_id
        self.response_wrap: Callable[[Any], Any] = _as_it_is
        self.link_state = ""
        self._pending: PendingResponse | None = None
        self._redeemed: tuple[Any] | None = None
        self._owner: TerminalCalls | None = None

    def done(self) -> bool:
        """Whether the answer is here."""
        return self._redeemed is not None or (self._pending is not None and self._pending.done())

    def result(self, timeout: float | None = None) -> Any:
        """The answer, as of `_RemoteProxy.get_remote_proxy_response`, with its errors."""
        if self._redeemed is not None:
            return self._redeemed[0]
        if self._owner is None:
            raise InvalidProxySession(f"response {self.response_id} was never sent, or is another process's")
        return self._owner.get_response(self, timeout)

    def cancel(self, patience: float = CANCEL_PATIENCE) -> bool:
        """Stop the call on the target.

        Args:
            patience: Seconds to wait for its end.

        Returns:
            Whether it has ended: `result` then raises `crl.link.CallCancelled`, or gives what it had become before.
            False when it goes on, for it is blocked in C or catches every exception.

        Raises:
            RunnerTerminalSessionBroken: The session is lost.
        """
        if self._pending is None or self._owner is None:
            return True
        return self._owner.cancel_response(self._pending, patience)

    def __await__(self) -> Generator[Any, None, Any]:
        return redeemed_later(self).__await__()

    def add_response_wrap(self, response_wrap: Callable[[Any], Any]) -> None:
        """Let `response_wrap` treat the answer too, after what was added before."""
        before = self.response_wrap
        self.response_wrap = lambda response: response_wrap(before(response))

    @property
    def message(self) -> str:
        """Which answer is missing and, when the link is down, since when."""
        text = f"Remote response not got yet from response {self.response_id}"
        return f"{text} ({self.link_state})" if self.link_state else text

    def __reduce__(self) -> tuple[Any, ...]:
        rebuild, (cls, args, state) = super().__reduce__()
        return rebuild, (cls, args, {**state, "response_wrap": _as_it_is, **FORGOTTEN})


@contextlib.contextmanager
def remotetimeouthandler(response_wrap: Callable[[Any], Any]) -> Iterator[None]:
    """Let every `RemoteTimeout` that leaves the block treat its answer with `response_wrap`."""
    try:
        yield
    except RemoteTimeout as timeout:
        timeout.add_response_wrap(response_wrap)
        raise


def responsehandler(function: Callable[[], Any], response_wrap: Callable[[Any], Any] = _as_it_is) -> Any:
    """Call `function` and treat its answer with `response_wrap`, now or when it is redeemed.

    Raises:
        RemoteTimeout: `function` raised it; `response_wrap` was added.
    """
    with remotetimeouthandler(response_wrap):
        response = function()
    return response_wrap(response)


def asyncresponsehandler(function: Callable[[], Any], response_wrap: Callable[[Any], Any] = _as_it_is) -> Any:
    """As `responsehandler`, but a `RemoteTimeout` is returned and not raised."""
    try:
        return responsehandler(function, response_wrap)
    except RemoteTimeout as timeout:
        return timeout


async def redeemed_later(handle: RemoteTimeout) -> Any:
    """The answer of a handle, when it comes; a task that is cancelled meanwhile stops the call on the target."""
    if handle._pending is not None:  # noqa: SLF001 - of this module
        await answered(handle._pending, None, handle.cancel)  # noqa: SLF001
    return await in_thread(handle.result)
