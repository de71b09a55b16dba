"""The operators of recursive proxies: an explicit table, and what never leaves this end.

Python looks operators up on the class, so each one that goes to the target stands here by name; what does not stand
here does not go. This module knows how a proxy asks and promises one round trip for each operator.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any, NoReturn

from crl.interactivesessions._proxystate import ProxyState

__all__ = ["READABLE_DUNDERS", "OperatorTable", "never_remote"]

# The attributes with two underscores that may be read on the target. The rest are protocols of this interpreter
# (copying, pickling, arrays, paths, displays), for which an answer from elsewhere would be wrong or dangerous.
_READABLE = """
    all annotations author bases builtins cached call cause closure code context date defaults delattr delitem dict doc
    file func globals init kwdefaults loader members mro name notes objclass package path qualname repr self setattr
    slots spec subclasses suppress_context traceback version weakref
"""
_NEVER = re.compile(r"_repr_\w*_$|_ipython_\w*$|__array\w*__$|__fspath__$|__reduce\w*__$")


def never_remote(name: str) -> bool:
    """Whether an attribute of that name is never asked for on the target."""
    if _NEVER.match(name):
        return True
    return name.startswith("__") and name.endswith("__") and name not in READABLE_DUNDERS


def _kept(operator: str, *, later: bool = True) -> Callable[..., Any]:
    """An operator whose result is a proxy or a handled value; `later`: may return a handle in asynchronous mode."""

    def method(self: OperatorTable, *args: Any) -> Any:
        return self._crl.kept_step(operator, args, type(self), later=later)

    return method


def _value(operator: str) -> Callable[..., Any]:
    """An operator whose result Python wants as a plain value at once."""

    def method(self: OperatorTable, *args: Any) -> Any:
        return self._crl.step(operator, args)

    return method


class OperatorTable:
    """The operators of a recursive proxy. Each is one round trip; hashing is none, for it goes by the handle."""

    __slots__ = ()
    _crl: ProxyState

    __lt__, __le__, __gt__, __ge__ = (_kept(name, later=False) for name in ("lt", "le", "gt", "ge"))
    __eq__, __ne__ = (_kept(name, later=False) for name in ("eq", "ne"))

    __add__, __radd__, __iadd__ = _kept("add"), _kept("radd"), _kept("iadd", later=False)
    __sub__, __rsub__, __isub__ = _kept("sub"), _kept("rsub"), _kept("isub", later=False)
    __mul__, __rmul__, __imul__ = _kept("mul"), _kept("rmul"), _kept("imul", later=False)
    __truediv__, __rtruediv__, __itruediv__ = _kept("truediv"), _kept("rtruediv"), _kept("itruediv", later=False)
    __floordiv__, __rfloordiv__, __ifloordiv__ = _kept("floordiv"), _kept("rfloordiv"), _kept("ifloordiv", later=False)
    __mod__, __rmod__, __imod__ = _kept("mod"), _kept("rmod"), _kept("imod", later=False)
    __pow__, __rpow__, __ipow__ = _kept("pow"), _kept("rpow"), _kept("ipow", later=False)
    __matmul__, __rmatmul__, __imatmul__ = _kept("matmul"), _kept("rmatmul"), _kept("imatmul", later=False)
    __and__, __rand__, __iand__ = _kept("and"), _kept("rand"), _kept("iand", later=False)
    __or__, __ror__, __ior__ = _kept("or"), _kept("ror"), _kept("ior", later=False)
    __xor__, __rxor__, __ixor__ = _kept("xor"), _kept("rxor"), _kept("ixor", later=False)
    __lshift__, __rlshift__, __ilshift__ = _kept("lshift"), _kept("rlshift"), _kept("ilshift", later=False)
    __rshift__, __rrshift__, __irshift__ = _kept("rshift"), _kept("rrshift"), _kept("irshift", later=False)
    __divmod__, __rdivmod__ = _kept("divmod"), _kept("rdivmod")
    __neg__, __pos__, __invert__, __abs__ = _kept("neg"), _kept("pos"), _kept("invert"), _kept("abs")
    __round__, __trunc__, __floor__, __ceil__ = _kept("round"), _kept("trunc"), _kept("floor"), _kept("ceil")

    __len__, __bool__, __contains__ = _value("len"), _value("bool"), _value("contains")
    __int__, __float__, __index__ = _value("int"), _value("float"), _value("index")
    __complex__, __format__ = _value("complex"), _value("format")
    __str__ = _value("str")

    def __bytes__(self) -> bytes:
        return bytes(self._crl.step("bytes"))

    __getitem__ = _kept("getitem")
    __setitem__, __delitem__ = _value("setitem"), _value("delitem")
    __iter__, __reversed__ = _kept("iter", later=False), _kept("reversed", later=False)
    __next__ = _kept("next", later=False)
    # The name under which Python 2 code knows it.
    next = __next__

    __enter__ = _kept("enter", later=False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        return bool(self._crl.step("exit", _described(error)))

    def __await__(self) -> Generator[Any, None, Any]:
        return self._crl.awaited("", self, (), type(self)).__await__()

    def __aiter__(self) -> Any:
        return self._crl.kept_call("(lambda o: type(o).__aiter__(o))", (self,), {}, type(self), later=False)

    async def __anext__(self) -> Any:
        return await self._crl.awaited("__anext__", self, (), type(self))

    async def __aenter__(self) -> Any:
        return await self._crl.awaited("__aenter__", self, (), type(self))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        return bool(await self._crl.awaited("__aexit__", self, _described(error), type(self)))

    def __instancecheck__(self, instance: Any) -> bool:
        return bool(self._crl.value_of_call("(lambda c, o: isinstance(o, c))", (self, instance), {}, later=False))

    def __subclasscheck__(self, subclass: Any) -> bool:
        return bool(self._crl.value_of_call("(lambda c, o: issubclass(o, c))", (self, subclass), {}, later=False))

    def __mro_entries__(self, bases: tuple[Any, ...]) -> NoReturn:
        raise TypeError("a class of the target has no subclasses here; define them there, with exec or import_local")

    def __hash__(self) -> int:
        name = self._crl.name
        return hash((self._crl.session_id, name and name.text))


# With them whatever stands in the table, which `_RemoteProxy` has as attributes only.
READABLE_DUNDERS = frozenset(f"__{name}__" for name in _READABLE.split()).union(
    name for name in vars(OperatorTable) if name not in ("__mro_entries__", "__slots__")
)


def _described(error: BaseException | None) -> tuple[str | None, str]:
    """An exception of this end for the target's `__exit__`: its nearest builtin class and its text."""
    if error is None:
        return None, ""
    builtin = next((cls for cls in type(error).__mro__ if cls.__module__ == "builtins"), Exception)
    return builtin.__name__, str(error)
