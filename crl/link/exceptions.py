"""Makes the target's exceptions again, without letting the target run or choose anything.

The same builtin class, a class the controller registered, or an `Exception` class that is already imported here and
has nothing of a test framework; everything else is a `RemoteError`. Constructors written in Python are never run, and
nothing is imported. Notes and the members of groups come along; causes stay text, in the traceback.
"""

from __future__ import annotations

import builtins
import sys
import types
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from crl.link.errors import RemoteError
from crl.link.wire import values
from crl.link.wire.errors import NotTransferable, ProtocolError

__all__ = ["rebuild", "register_exception"]

# Their exceptions decide whether a test passes, is skipped or stops: a target must not say so.
FOREIGN_TO_TARGETS: Final = frozenset(
    {
        *("_pytest", "anyio", "asyncio", "avocado", "bdb", "behave", "concurrent", "crl", "doctest", "green"),
        *("hypothesis", "lettuce", "nose", "nose2", "paramiko", "pexpect", "pluggy", "pytest", "robot", "robotlibcore"),
        *("SSHLibrary", "stestr", "subunit", "tbot", "testtools", "trio", "twisted", "unittest", "unittest2"),
        *("xdist", "zope"),
    }
)
# Robot Framework looks for these on exceptions of any class; ROBOT_SKIP_EXECUTION skips a test.
FOREIGN_ATTRIBUTES: Final = "ROBOT_"
HEAP_TYPE: Final = 1 << 9
MOST_EXCEPTIONS: Final = 128

_registered: dict[str, type[Exception]] = {}


def register_exception(cls: type[Exception], name: str | None = None) -> type[Exception]:
    """Let a class of the controller stand for the target's exceptions of that name; usable as a decorator.

    Args:
        cls: The class to raise here.
        name: Module and name on the target; None takes those of `cls`.
    """
    _registered[name or f"{cls.__module__}.{cls.__qualname__}"] = cls
    return cls


@dataclass(frozen=True)
class Description:
    """What the target says of an exception.

    Attributes:
        module: Module of its class.
        name: Qualified name of its class.
        args: Its arguments.
        text: What `str` made of it there.
        trace: Its traceback as printed there, with causes and contexts.
        state: Its attributes.
        notes: Its notes.
        members: Descriptions of the members of a group.
    """

    module: str
    name: str
    args: tuple[Any, ...]
    text: str
    trace: str
    state: dict[Any, Any]
    notes: list[str]
    members: list[bytes]


def rebuild(body: bytes, host: str) -> Exception:
    """The exception to raise for an ERROR message.

    Args:
        body: The message's body, an encoded `Description`.
        host: The target's name, for the note that is added.

    Raises:
        ProtocolError: The body describes no exception.
    """
    try:
        described, rebuilt = _rebuilt(body, host, [None] * MOST_EXCEPTIONS)
    except RecursionError:
        raise ProtocolError("an exception nested too deep for the caller's stack") from None
    BaseException.add_note(rebuilt, f"Raised on {host}:\n{described.trace.rstrip()}")
    return rebuilt


def _rebuilt(body: bytes, host: str, room: list[None]) -> tuple[Description, Exception]:
    if not room:
        raise ProtocolError("more exceptions in groups than are ever described")
    room.pop()
    described = _described(_decoded(body))
    cls = _class_of(described.module, described.name)
    qualified = f"{described.module}.{described.name}"
    class_name = described.name if described.module in ("builtins", "exceptions") else qualified
    args = described.args
    if described.members:
        args = (*args[:1], [_rebuilt(member, host, room)[1] for member in described.members])
    rebuilt = None if cls is None else _instance(cls, args)
    if rebuilt is not None and not _is_printable(rebuilt):
        rebuilt = _instance(type(rebuilt), tuple(_printable(arg) if type(arg) is str else arg for arg in args))
    if rebuilt is None or not _is_printable(rebuilt):
        rebuilt = RemoteError(described.text, class_name, described.trace, host=host)
    else:
        _take_state(rebuilt, described.state)
    # Into the dictionary: a class may answer an assignment with code of its own.
    trace = described.trace
    _attributes(rebuilt).update(remote_traceback=trace, trace=trace.splitlines(keepends=True))
    for note in described.notes:
        BaseException.add_note(rebuilt, note)
    return described, rebuilt


def _decoded(body: bytes) -> Any:
    """A value; one whose objects are of classes unknown here is replaced by nothing, for the error counts."""
    try:
        return values.decode(body)
    except NotTransferable:
        return None


def _described(plain: object) -> Description:
    if isinstance(plain, tuple) and len(plain) == 8:
        module, name, args, text, trace, state, notes, members = plain
        texts = (module, name, text, trace, *_list(notes))
        # Python 2 has no bytes of its own: there what is encoded arrives as text.
        encoded = [item.encode("utf-8", "surrogateescape") if isinstance(item, str) else item for item in (args, state)]
        members = _list(members)
        if all(isinstance(item, str) for item in texts) and all(map(_is_bytes, (*encoded, *members))):
            args, state = map(_decoded, encoded)
            args, state = () if args is None else args, {} if state is None else state
            if isinstance(args, tuple) and isinstance(state, dict):
                module, name, text, trace, *notes = map(_printable, texts)
                return Description(module, name, args, text, trace, state, notes, members)
    raise ProtocolError("an exception that is not described as one")


def _list(item: object) -> list[Any]:
    """What must be a list; nothing that could pass stands for another thing."""
    return item if isinstance(item, list) else [None]


def _printable(text: str) -> str:
    """The same without lone surrogates, which no report can be written with: Robot Framework stops at one."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _is_printable(error: Exception) -> bool:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the class's own, on arguments that its constructor has not seen; no text, no surrogates
        return True
    return text.isascii() or _printable(text) == text


def _is_bytes(item: object) -> bool:
    return isinstance(item, bytes)


def _class_of(module: str, name: str) -> type[Exception] | None:
    found: object = None
    if module in ("builtins", "exceptions"):
        found = vars(builtins).get(name)
    elif f"{module}.{name}" in _registered:
        return _registered[f"{module}.{name}"]
    elif module != "__main__":
        imported = sys.modules.get(module)
        if isinstance(imported, types.ModuleType):
            # Looked up as data: no attribute access that a module could answer with code, or a lazy one with an import.
            found = object.__getattribute__(imported, "__dict__").get(name)
    return found if _is_harmless(found) else None


def _is_harmless(found: object) -> TypeGuard[type[Exception]]:
    """Whether it is an exception class of which no part can decide on a test, under whatever name it was found."""
    if not isinstance(found, type) or not issubclass(found, Exception):
        return False
    for base in found.__mro__:
        names = type.__dict__["__dict__"].__get__(base)
        module = names.get("__module__")
        if isinstance(module, str) and module.partition(".")[0] in FOREIGN_TO_TARGETS:
            return False
        if any(isinstance(name, str) and name.startswith(FOREIGN_ATTRIBUTES) for name in names):
            return False
    return True


def _instance(cls: type[Exception], args: tuple[Any, ...]) -> Exception | None:
    """An instance made by C code only: the one of the nearest base class that is written in C."""
    base = next(base for base in cls.__mro__ if issubclass(base, BaseException) and not base.__flags__ & HEAP_TYPE)
    try:
        made: Exception = base.__new__(cls, *args)
        base.__init__(made, *args)
    except (TypeError, ValueError, OverflowError):
        return None
    return made if isinstance(made, cls) else None


def _attributes(error: Exception) -> dict[str, Any]:
    return BaseException.__dict__["__dict__"].__get__(error)  # type: ignore[no-any-return]


def _take_state(error: Exception, state: dict[Any, Any]) -> None:
    """Set what the constructor would have set, but nothing that a class defines or a test framework looks at."""
    defined = {name for base in type(error).__mro__ for name in type.__dict__["__dict__"].__get__(base)}
    known = {
        name: value
        for name, value in state.items()
        if isinstance(name, str)
        and name not in defined
        and not name.startswith(("_", FOREIGN_ATTRIBUTES))
        and name.isidentifier()
    }
    _attributes(error).update(known)
