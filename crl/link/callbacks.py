"""Functions of this end that a target may call, because they were passed to it as arguments.

Each call runs in a thread of its own, in the context (`contextvars`) in which the function was passed; never in one
that reads, and never under a lock. The target names functions by numbers of a table here: it promises that one which
names another is refused, that one which floods loses the link, and that what the target holds no more is forgotten.
"""

from __future__ import annotations

import builtins
import contextvars
import itertools
import logging
import threading
import traceback
import types
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from crl.link.calls import as_arguments
from crl.link.errors import ArgumentNotTransferable, LinkError
from crl.link.wire import messages, values
from crl.link.wire.errors import NotTransferable, ProtocolError
from crl.link.wire.values import Expression
from crl.secrets import redact

if TYPE_CHECKING:
    from crl.link.link import Link

__all__ = ["Callback", "Callbacks"]

logger = logging.getLogger(__name__)

FUNCTION: Final = "__import__('sys').modules['_crl.remote.callbacks'].CALLBACKS.function({}, {!r})"
KEPT: Final = "_PROXY_CONTAINER['asked_{:x}']"
# An honest target asks for nothing that it was not given; noise on the way changes nothing in that.
MOST_REFUSALS: Final = 100
# What waits to be looked at: a target that sends more before it has answers loses the link.
MOST_BYTES: Final = 256 * 1024 * 1024
# Messages that an interrupted reader hands out again are among the last ones.
REMEMBERED: Final = 2 * messages.MOST_ASKED


@dataclass(frozen=True)
class Callback:
    """Says that a function among the arguments is called here, wherever it is defined.

    Attributes:
        function: The function, or anything else that can be called.

    Example:
        >>> target.python.map(Callback(json.loads), lines)
    """

    function: Callable[..., Any]


class _Passed:
    """A function that was passed.

    Attributes:
        number: Its number on the link.
        function: The function; it lives at least as long as the target may call it.
        context: In which context it was passed last.
        times: How often the target was given it and has not let go of it.
    """

    __slots__ = ("context", "function", "key", "number", "times")

    def __init__(self, number: int, key: tuple[int, ...], function: Callable[..., Any]) -> None:
        self.number = number
        self.key = key
        self.function = function
        self.context = contextvars.copy_context()
        self.times = 0


def _as_it_is(value: Any) -> tuple[tuple[Any], object]:
    return (value,), None


class Callbacks:
    """The functions that a link's target may call.

    Args:
        link: The link.

    Attributes:
        result_of: Makes of what a function returns what is sent, in a tuple, and what has to live until it has arrived.
        argument_of: Makes of the name of an object that stayed on the target what the function gets.
    """

    def __init__(self, link: Link) -> None:
        self.result_of: Callable[[Any], tuple[tuple[Any, ...], object]] = _as_it_is
        self.argument_of: Callable[[str], Any] = Expression
        self._link = link
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._passed: dict[int, _Passed] = {}
        self._by_key: dict[tuple[int, ...], _Passed] = {}
        self._running: dict[int, int] = {}
        self._last: deque[int] = deque(maxlen=REMEMBERED)
        self._refusals = 0
        # Nobody says when the target has looked at a result: as many stay as can be under way.
        self._held: deque[object] = deque(maxlen=messages.MOST_ASKED)

    def __len__(self) -> int:
        """How many functions the target may call."""
        return len(self._passed)

    def expression_of(self, function: Callable[..., Any]) -> Expression:
        """What stands for a function among the arguments of one call; the target may call it from now on."""
        function = function.function if isinstance(function, Callback) else function
        key = _key(function)
        with self._lock:
            passed = self._by_key.get(key)
            if passed is None:
                passed = _Passed(next(self._numbers), key, function)
                self._by_key[key] = self._passed[passed.number] = passed
            passed.context = contextvars.copy_context()
            passed.times += 1
        name = str(getattr(function, "__qualname__", type(function).__name__))
        return Expression(FUNCTION.format(passed.number, name.encode("ascii", "replace").decode()))

    # -- in the reading thread -------------------------------------------------------------------------------------

    def take(self, kind: int, number: int, body: bytes) -> str | None:
        """A message about functions; how it breaks the rules, None when it does not. Harmless when it is repeated."""
        if kind == messages.ASK:
            return None if self._ask(number, body) else "the target calls functions here faster than they can run"
        return None if self._gone(body) else "the target lets go of functions here that it does not name"

    def _ask(self, number: int, body: bytes) -> bool:
        if number in self._last:
            return True
        if len(self._running) >= messages.MOST_ASKED or sum(self._running.values()) + len(body) > MOST_BYTES:
            return False
        self._last.append(number)
        self._running[number] = len(body)
        threading.Thread(target=self._serve, args=(number, body), name="crl-callback", daemon=True).start()
        return True

    def _gone(self, body: bytes) -> bool:
        try:
            pairs = values.decode(body)
        except (ProtocolError, NotTransferable):
            return False
        if not isinstance(pairs, list) or not all(map(_is_pair, pairs)):
            return False
        with self._lock:
            for number, times in pairs:
                passed = self._passed.get(number)
                if passed is not None:
                    passed.times -= times
                    if passed.times <= 0:
                        del self._passed[number], self._by_key[passed.key]
        return True

    # -- in a thread of the call -----------------------------------------------------------------------------------

    def _serve(self, number: int, body: bytes) -> None:
        try:
            answer = self._answer(body)
        except ProtocolError as error:
            self._link.engine.violated(str(error))
            return
        finally:
            self._running.pop(number, None)
        with suppress(LinkError):  # then nobody waits for it
            self._link.send(messages.pack(messages.TOLD, number, answer))

    def _answer(self, body: bytes) -> bytes:
        """Run what a question asks for."""
        try:
            plain = values.decode(body)
        except NotTransferable:
            return values.encode(("again", None))
        if not _is_question(plain):
            raise ProtocolError("a call of a function here that is none")
        number, args, kwargs, kept = plain
        passed = self._passed.get(number)
        if passed is None:
            return self._refusal(number)
        try:
            got = {place: self.argument_of(KEPT.format(name)) for place, name in kept.items()}
            args = tuple(got.get(place, arg) for place, arg in enumerate(args))
            kwargs = {name: got.get(name, arg) for name, arg in kwargs.items()}
            result = passed.context.copy().run(passed.function, *args, **kwargs)
            return self._told(result)
        except BaseException as error:
            # The user's function may raise anything: it is raised on the target.
            logger.debug("%s: a function that the target called has failed", self._link.host, exc_info=True)
            return values.encode(("error", _description(error)))

    def _told(self, result: Any) -> bytes:
        """A result as the target gets it.

        Raises:
            TypeError: It cannot cross.
        """
        results, needs = self.result_of(result)
        if needs:
            self._held.append(needs)
        with suppress(NotTransferable):
            return values.encode(("value", *results))
        try:
            return values.encode(("value", *as_arguments(results)))
        except ArgumentNotTransferable as error:
            raise TypeError(f"what the function of the controller returned cannot cross: {error.message}") from error

    def _refusal(self, number: int) -> bytes:
        """The answer to a target that asks for what it was not given."""
        self._refusals += 1
        if self._refusals > MOST_REFUSALS:
            raise ProtocolError("the target calls functions that were not passed to it")
        logger.warning("%s called function %d, which was not passed to it: refused", self._link.host, number)
        text = "the controller has not passed this function"
        return values.encode(("error", ("builtins", "PermissionError", "PermissionError", (text,), text, "")))


def _key(function: Callable[..., Any]) -> tuple[int, ...]:
    """What tells one function from another; bound methods are made anew each time they are named."""
    if isinstance(function, types.MethodType):
        return (id(function.__self__), id(function.__func__))
    if isinstance(function, types.BuiltinMethodType):
        return (id(function.__self__), hash(function.__name__))
    return (id(function),)


def _is_pair(pair: object) -> bool:
    return isinstance(pair, tuple) and len(pair) == 2 and all(type(item) is int and item >= 0 for item in pair)


def _is_question(plain: Any) -> bool:
    if not (isinstance(plain, tuple) and len(plain) == 4):
        return False
    number, args, kwargs, kept = plain
    named = type(kwargs) is dict and all(isinstance(name, str) for name in kwargs)
    places = type(kept) is dict and all(type(name) is int and name >= 0 for name in kept.values())
    return type(number) is int and type(args) is tuple and named and places


def _description(error: BaseException) -> tuple[str, str, str, tuple[Any, ...], str, str]:
    """Module and name of an error's class, its nearest builtin, its arguments, its text and traceback."""
    cls = type(error)
    base = next((one for one in cls.__mro__ if _is_builtin_error(one)), RuntimeError)
    args = error.args
    if isinstance(error, OSError) and error.filename is not None and len(args) == 2:
        args = (*args, error.filename)
    trace = redact("".join(traceback.format_exception(error)))
    return cls.__module__, cls.__qualname__, base.__name__, tuple(map(_crossing, args)), _text(error), trace


def _is_builtin_error(cls: type) -> bool:
    return issubclass(cls, Exception) and vars(builtins).get(cls.__name__) is cls


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as failure:  # noqa: BLE001 - the class's own __str__, which must not hide the error
        return f"<the error's text failed: {type(failure).__name__}>"


def _crossing(arg: Any) -> Any:
    """The argument itself where it can cross, else its text."""
    try:
        values.encode(arg)
    except NotTransferable:
        return repr(arg)
    return arg
