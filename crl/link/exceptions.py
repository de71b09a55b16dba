"""Makes the target's exceptions again, without letting the target run or choose anything.

The same builtin class, a class the controller registered, or an `Exception` class that is already imported here and
has nothing of a test framework; everything else is a `RemoteError`. Constructors written in Python are never run, and
nothing is imported.
"""

from __future__ import annotations

import builtins
import sys
import types
from typing import Any, Final, TypeGuard

from crl.link.errors import RemoteError
from crl.link.wire import values
from crl.link.wire.errors import ProtocolError

__all__ = ["rebuild", "register_exception"]

# Their exceptions decide whether a test passes, is skipped or stops: a target must not say so.
FOREIGN_TO_TARGETS: Final = frozenset(
    {
        *("_pytest", "asyncio", "bdb", "behave", "concurrent", "crl", "doctest", "hypothesis", "nose", "paramiko"),
        *("pexpect", "pluggy", "pytest", "robot", "robotlibcore", "trio", "twisted", "unittest"),
    }
)
# Robot Framework looks for these on exceptions of any class; ROBOT_SKIP_EXECUTION skips a test.
FOREIGN_ATTRIBUTES: Final = "ROBOT_"
HEAP_TYPE: Final = 1 << 9

_registered: dict[str, type[Exception]] = {}


def register_exception(cls: type[Exception], name: str | None = None) -> type[Exception]:
    """Let a class of the controller stand for the target's exceptions of that name; usable as a decorator.

    Args:
        cls: The class to raise here.
        name: Module and name on the target; None takes those of `cls`.
    """
    _registered[name or f"{cls.__module__}.{cls.__qualname__}"] = cls
    return cls


def rebuild(body: bytes, host: str) -> Exception:
    """The exception to raise for an ERROR message.

    Args:
        body: The message's body: module, class name, encoded args, text, traceback and encoded attributes.
        host: The target's name, for the note that is added.

    Raises:
        ProtocolError: The body describes no exception.
    """
    module, name, args, text, trace, state = _described(values.decode(body))
    cls = _class_of(module, name)
    class_name = name if module in ("builtins", "exceptions") else f"{module}.{name}"
    rebuilt = None if cls is None else _instance(cls, args)
    if rebuilt is None:
        rebuilt = RemoteError(text, class_name, trace, host=host)
    else:
        _take_state(rebuilt, state)
    # Into the dictionary: a class may answer an assignment with code of its own.
    _attributes(rebuilt).update(remote_traceback=trace, trace=trace.splitlines(keepends=True))
    BaseException.add_note(rebuilt, f"Raised on {host}:\n{trace.rstrip()}")
    return rebuilt


def _described(plain: object) -> tuple[str, str, tuple[Any, ...], str, str, dict[Any, Any]]:
    if isinstance(plain, tuple) and len(plain) == 6:
        # Python 2 has no bytes of its own: there what is encoded arrives as text.
        module, name, text, trace = plain[0], plain[1], plain[3], plain[4]
        encoded = [item.encode("utf-8", "surrogateescape") if isinstance(item, str) else item for item in plain[2::3]]
        if all(isinstance(item, str) for item in (module, name, text, trace)) and all(map(_is_bytes, encoded)):
            args, state = map(values.decode, encoded)
            if isinstance(args, tuple) and isinstance(state, dict):
                return module, name, args, text, trace, state
    raise ProtocolError("an exception that is not described as one")


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
    base = next(base for base in cls.__mro__ if not base.__flags__ & HEAP_TYPE)
    try:
        made: Exception = base.__new__(cls, *args)
        base.__init__(made, *args)  # type: ignore[misc]
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
