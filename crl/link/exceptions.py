"""Makes the target's exceptions again, without letting the target run or choose anything.

The same builtin class, a class the controller registered, or an `Exception` class that is already imported here and
belongs to no test framework; everything else is a `RemoteError`. Constructors written in Python are never run, and
nothing is imported.
"""

from __future__ import annotations

import builtins
import sys

from crl.link.errors import ProtocolViolation, RemoteError
from crl.link.wire import values
from crl.link.wire.errors import ProtocolError

__all__ = ["rebuild", "register_exception"]

# Their exceptions decide whether a test passes, is skipped or stops: a target must not say so.
FOREIGN_TO_TARGETS = frozenset(
    ["_pytest", "asyncio", "behave", "concurrent", "crl", "hypothesis", "nose", "paramiko", "pexpect", "pluggy", "pytest"]
    + ["robot", "robotlibcore", "trio", "twisted", "unittest"]
)

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
        body: The message's body: module, class name, encoded args, text and traceback.
        host: The target's name, for the note that is added.
    """
    try:
        module, name, args_body, text, trace = _described(values.decode(body))
        args = values.decode(args_body)
    except ProtocolError as error:
        return ProtocolViolation(str(error), host=host, doing="reading an exception of the target")
    cls = _class_of(module, name)
    class_name = name if module in ("builtins", "exceptions") else f"{module}.{name}"
    rebuilt = None if cls is None or not isinstance(args, tuple) else _instance(cls, args)
    if rebuilt is None:
        rebuilt = RemoteError(text, class_name, trace, host=host)
    rebuilt.remote_traceback = trace  # type: ignore[attr-defined]
    rebuilt.trace = trace.splitlines(keepends=True)  # type: ignore[attr-defined]
    rebuilt.add_note(f"Raised on {host}:\n{trace.rstrip()}")
    return rebuilt


def _described(plain: object) -> tuple[str, str, bytes, str, str]:
    if (
        isinstance(plain, tuple)
        and [type(item) for item in plain] == [str, str, bytes, str, str]
        and len(plain[4]) <= values.MAX_DEPTH * 100_000
    ):
        return plain[0], plain[1], plain[2], plain[3], plain[4]
    # Python 2 has no bytes of its own: there the encoded arguments arrive as text.
    if isinstance(plain, tuple) and [type(item) for item in plain] == [str, str, str, str, str]:
        return plain[0], plain[1], plain[2].encode("utf-8", "surrogateescape"), plain[3], plain[4]
    raise ProtocolError("an exception that is not described as one")


def _class_of(module: str, name: str) -> type[Exception] | None:
    found: object
    if module in ("builtins", "exceptions"):
        found = vars(builtins).get(name)
    elif f"{module}.{name}" in _registered:
        return _registered[f"{module}.{name}"]
    elif module.partition(".")[0] in FOREIGN_TO_TARGETS or module == "__main__":
        return None
    else:
        found = vars(sys.modules[module]).get(name) if module in sys.modules else None
    # The name is looked up as data: no attribute access that a module could answer with code of its own.
    return found if isinstance(found, type) and issubclass(found, Exception) else None


def _instance(cls: type[Exception], args: tuple[object, ...]) -> Exception | None:
    """An instance made by C code only."""
    if cls.__module__ == "builtins":
        try:
            return cls(*args)
        except (TypeError, ValueError):
            return None
    try:
        made = Exception.__new__(cls, *args)
    except TypeError:
        return None
    made.args = args
    return made
