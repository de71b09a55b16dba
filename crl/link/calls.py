"""Calls on the controller's side: what is asked, and the answer that comes later.

A `Call` is redeemed in the caller's thread, where its value is decoded, so that no reader ever makes objects for
somebody else. It knows the engine as something to wait with, and promises that a timeout loses nothing.
"""

from __future__ import annotations

import io
import logging
import marshal
import pickle
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from crl.deadlines import Deadline
from crl.errors import UsageError
from crl.link._engine import SUSPECT_AFTER, Waiter
from crl.link.errors import ArgumentNotTransferable, CallCancelled, CallTimeout, LinkError, ValueNotTransferable
from crl.link.exceptions import rebuild
from crl.link.wire import messages, records, values
from crl.link.wire.errors import NotTransferable, ProtocolError
from crl.link.wire.sending import MAX_MESSAGE

if TYPE_CHECKING:
    from crl.link.link import Link

__all__ = ["BASIC_TYPES", "PLAIN_TYPES", "Call", "DoorCall", "Keep", "Kept", "as_arguments", "encode_request"]

logger = logging.getLogger(__name__)

CANCEL_PATIENCE: Final = 2.0
IN_PIECES: Final = "give less at a time, or write it to a file there with link.files or target.files"
BASIC_TYPES: Final = records.BASIC_TYPES
PLAIN_TYPES: Final = frozenset({type(None), bool, int, float, str, bytes})


@dataclass(frozen=True)
class Keep:
    """What happens to a result on the target.

    Attributes:
        handle: Expression that the result is assigned to; None assigns nothing.
        types: Names of the types whose instances come back as values (``"int"``, ``"collections.OrderedDict"``); None:
            all. An instance of a subclass comes back as a value of the base.
        always: Assign to the handle also what comes back as a value.
        unless_callable: Keep callables on the target whatever their type.
    """

    handle: str | None = None
    types: tuple[str, ...] | None = BASIC_TYPES
    always: bool = False
    unless_callable: bool = False


@dataclass(frozen=True)
class Kept:
    """The answer to a call with `Keep`.

    Attributes:
        isobj: Whether the value came back.
        obj: The value, None otherwise.
        callable: Whether the result can be called.
    """

    isobj: bool
    obj: Any
    callable: bool


def encode_request(operation: int, *parts: Any, keep: Keep | None, plain: bool = False) -> bytes:
    """The body of a CALL; arguments outside the codec go as pickle, for the target trusts the controller.

    Args:
        operation: What is asked for.
        parts: Its parts.
        keep: What happens to the result.
        plain: Whether the target has Python 3 and all arguments are of `PLAIN_TYPES`.

    Raises:
        ArgumentNotTransferable: An argument can neither be encoded nor pickled.
    """
    kept = () if keep is None else (_plain_keep(keep),)
    if plain:
        # An expression may be an instance of a subclass of str, and what is too large is refused below.
        with suppress(ValueError):
            request = marshal.dumps((operation, *parts, *kept), messages.MARSHAL_VERSION)
            if len(request) <= MAX_MESSAGE:
                return request
    try:
        return values.encode((operation, *parts, *kept))
    except NotTransferable:
        parts = tuple(map(as_arguments, parts))
    try:
        return values.encode((operation, *parts, *kept))
    except NotTransferable as error:
        raise ArgumentNotTransferable(
            f"the arguments cannot cross: {error}", doing="calling the target", advice=IN_PIECES
        ) from None


def _plain_keep(keep: Keep) -> tuple[Any, ...]:
    """As short as can be, for it goes with every step: True stands for the basic types."""
    types = True if keep.types is BASIC_TYPES else keep.types
    if keep.always or keep.unless_callable:
        return (keep.handle, types, keep.always, keep.unless_callable)
    return (keep.handle, types)


def as_arguments(part: Any) -> Any:
    """The same with everything outside the codec pickled, one level deep in args and kwargs.

    Raises:
        ArgumentNotTransferable: Some of it cannot be pickled either.
    """
    if isinstance(part, tuple):
        return tuple(_as_pickle(item) for item in part)
    if isinstance(part, dict):
        return {name: _as_pickle(item) for name, item in part.items()}
    return part


def _as_pickle(item: Any) -> Any:
    try:
        values.encode(item)
    except NotTransferable:
        return _pickled(item)
    return item


def _pickled(item: Any) -> values.Pickled:
    if isinstance(item, str | bytes | bytearray):
        # Only its size stands against it, and that of a pickle would too.
        raise ArgumentNotTransferable(
            f"an argument of {len(item)} bytes or characters is too large", doing="calling the target", advice=IN_PIECES
        )
    pickled = io.BytesIO()
    try:
        _Pickler(pickled, protocol=2).dump(item)
    except Exception as error:
        # Classes answer pickle with code of their own, which may raise anything.
        raise ArgumentNotTransferable(
            f"an argument of type {type(item).__name__} cannot cross ({type(error).__name__}: {error})",
            doing="calling the target",
            advice="give plain values or a proxy; make the object on the target, or wrap a function in Callback",
        ) from error
    return values.Pickled(pickled.getvalue())


class _Pickler(pickle.Pickler):
    """Leaves to the codec what only the codec can say: expressions, and objects of registered classes."""

    def persistent_id(self, obj: Any) -> bytes | None:
        """The encoded value of what is not pickled."""
        if type(obj) is not values.Expression and type(obj) not in records.NAMES:
            return None
        try:
            return values.encode(obj)
        except NotTransferable:
            return None


class Call(Waiter):
    """One call under way.

    Attributes:
        number: Its number on the link.
    """

    _answer: tuple[int, bytes] | LinkError | UsageError | None = None
    _on_done: Callable[[], object] | None = None

    def __init__(self, link: Link, number: int) -> None:
        self.number = number
        self._link = link

    def answer(self, answer: tuple[int, bytes] | LinkError | UsageError) -> None:
        """Take the answer, in the reading thread; the first one counts."""
        if self._answer is None:
            self._answer = answer
        self.finish()
        if self._on_done is not None:
            self._on_done()

    def watch(self, on_done: Callable[[], object]) -> None:
        """Have `on_done` called when the call is over: at once, or by the reading thread, which must not wait.

        When both happen at one moment it is called twice.
        """
        self._on_done = on_done
        if self.done:
            on_done()

    def result(self, timeout: float | None = None) -> Any:
        """The call's value.

        Args:
            timeout: Seconds to wait; None waits until the call is answered or the link is lost.

        Raises:
            CallTimeout: It is not answered yet; the call goes on and can be asked again.
            LinkLost: The link is gone.
            UsageError: The call was abandoned.
            ValueNotTransferable: The call was done, its value cannot cross.
            Exception: What the code on the target raised.
        """
        if not self.done and not self._link.engine.wait(self, Deadline.after(timeout)) and not self.done:
            raise self._timeout(timeout)
        answer = self._answer
        if isinstance(answer, tuple):
            kind, body = answer
            return self._decoded(body) if kind == messages.RESULT else self._other(kind, body)
        if isinstance(answer, LinkError):
            raise answer.again()
        raise UsageError("this call was abandoned", host=self._link.host, doing="asking for a result")

    def _other(self, kind: int, body: bytes) -> Any:
        """What an answer means that is no plain result."""
        host = self._link.host
        if kind == messages.KEPT:
            return self._kept(self._decoded(body))
        if kind == messages.CANCELLED:
            raise CallCancelled("the call was cancelled", host=host, doing="calling the target")
        if kind == messages.REFUSED:
            reason = self._decoded(body)
            if not isinstance(reason, str):
                raise self._link.engine.violated("a refusal without a reason")
            raise self._refused(reason)
        try:
            error = rebuild(body, host)
        except ProtocolError as violation:
            raise self._link.engine.violated(str(violation)) from None
        raise error

    def cancel(self, patience: float = CANCEL_PATIENCE) -> bool:
        """Stop the call: where it has not begun it never will, where it runs an exception is raised in it.

        Args:
            patience: Seconds to wait for its end.

        Returns:
            Whether it has ended; `result` then raises `CallCancelled`, or gives what it had become before. False when
            it goes on: it is blocked in C, catches every exception, or the target's Python cannot be interrupted.

        Raises:
            LinkLost: The link is gone.
        """
        deadline = Deadline.after(patience)
        if not self.done:
            try:
                self._link.service("cancel.stop", self.number, timeout=patience)
            except (ImportError, CallTimeout) as error:
                logger.debug("%s: a call cannot be interrupted: %s", self._link.host, error)
        return self.done or self._link.engine.wait(self, deadline) or self.done

    def abandon(self) -> None:
        """Nobody will ask for the result: the target need not run the call if it has not begun."""
        self._link.abandon(self)

    def _decoded(self, body: bytes) -> Any:
        try:
            return values.decode(body)
        except ProtocolError as error:
            raise self._link.engine.violated(str(error)) from None
        except NotTransferable as error:
            raise self._refused(str(error)) from None

    def _refused(self, reason: str) -> ValueNotTransferable:
        return ValueNotTransferable(
            reason,
            host=self._link.host,
            doing="fetching a result",
            advice="use a proxy for it, convert it on the target, or register its class by crl.link.register_type",
        )

    def _kept(self, plain: Any) -> Kept:
        if isinstance(plain, tuple) and len(plain) == 3 and isinstance(plain[0], bool) and isinstance(plain[2], bool):
            return Kept(*plain)
        raise self._link.engine.violated("an answer of the wrong form")

    def _timeout(self, timeout: float | None) -> LinkError:
        lost = self._link.engine.lost
        if lost is not None:
            return lost.again()
        engine = self._link.engine
        silent = engine.silent_for
        if (down := engine.down) is not None:
            link = f"; the link has been down for {silent:.1f} s ({down.message}) and is being resumed"
        else:
            link = f"; the target has been silent for {silent:.0f} s" if silent > SUSPECT_AFTER else ""
        return CallTimeout(
            f"no answer within {timeout or 0:.3g} s{link}",
            host=self._link.host,
            doing="calling the target",
            advice="the call goes on: ask for its result again, or give it more time",
        )


class DoorCall(Call):
    """The request to listen for other terminals, whose answer nobody waits for."""

    def answer(self, answer: tuple[int, bytes] | LinkError | UsageError) -> None:
        """Take the answer and tell the link; in the reading thread."""
        super().answer(answer)
        if not isinstance(answer, tuple):
            return
        kind, body = answer
        refusal = None
        if kind != messages.RESULT:
            refusal = "the target's Python has no unix sockets that pass descriptors"
            logger.debug("%s: %s: %r", self._link.host, refusal, body[:400])
        self._link.door_opened(refusal)
