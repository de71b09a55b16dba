"""Calls on the target: evaluates, invokes and steps through objects for the controller.

It holds the user namespace and the objects that proxies of the controller stand for; it knows nothing of threads and
terminals. What user code raises becomes a plain description, never an object for the controller to unpickle.
"""
# ruff: noqa: F401 - names in type comments look unused.

import operator
import sys

from crl.link.wire import messages, records, values
from crl.link.wire.errors import NotTransferable

MYPY = False
if MYPY:
    from collections.abc import Callable, Iterable
    from typing import Any

PY2 = sys.version_info[0] == 2
CONTAINER = "_PROXY_CONTAINER"
HANDLE_START = CONTAINER + "['"
COMPILED_KEPT = 256


def _contains(container, item):
    # type: (Any, Any) -> bool
    return item in container


def _setitem(container, key, item):
    # type: (Any, Any, Any) -> None
    container[key] = item


def _delitem(container, key):
    # type: (Any, Any) -> None
    del container[key]


def _enter(manager):
    # type: (Any) -> Any
    return manager.__enter__()


def _exit(manager, kind, text):
    # type: (Any, str | None, str) -> Any
    """Leave a `with` block; the controller's exception arrives as its class name and text."""
    if kind is None:
        return manager.__exit__(None, None, None)
    builtins = sys.modules["__builtin__" if PY2 else "builtins"]
    cls = getattr(builtins, kind, RuntimeError)
    error = cls(text)
    return manager.__exit__(cls, error, None)


def _call(function, args, kwargs):
    # type: (Callable[..., Any], Iterable[Any], dict[str, Any]) -> Any
    return function(*args, **kwargs)


def _text(value):
    # type: (Any) -> str
    return str(value)


STEPS = {
    "getattr": getattr,
    "setattr": setattr,
    "delattr": delattr,
    "hasattr": hasattr,
    "call": _call,
    "getitem": operator.getitem,
    "setitem": _setitem,
    "delitem": _delitem,
    "contains": _contains,
    "len": len,
    "iter": iter,
    "next": next,
    "reversed": reversed,
    "bool": bool,
    "int": int,
    "float": float,
    "index": operator.index,
    "str": _text,
    "repr": repr,
    "dir": dir,
    "callable": callable,
    "value": lambda value: value,
    "enter": _enter,
    "exit": _exit,
    "abs": abs,
    "neg": operator.neg,
    "pos": operator.pos,
    "invert": operator.invert,
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "truediv": operator.truediv,
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "pow": pow,
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
    "lshift": operator.lshift,
    "rshift": operator.rshift,
    "matmul": getattr(operator, "matmul", None),
    "radd": lambda a, b: b + a,
    "rsub": lambda a, b: b - a,
    "rmul": lambda a, b: b * a,
    "rtruediv": lambda a, b: operator.truediv(b, a),
    "rfloordiv": lambda a, b: b // a,
    "rmod": lambda a, b: b % a,
    "rpow": lambda a, b: pow(b, a),
    "iadd": operator.iadd,
    "isub": operator.isub,
    "imul": operator.imul,
}  # type: dict[str, Any]


class Calls(object):
    """Runs the operations of calls.

    Args:
        namespace: The user namespace; handles are kept in its ``_PROXY_CONTAINER``.
    """

    def __init__(self, namespace):
        # type: (dict[str, Any]) -> None
        self.namespace = namespace
        self.kept = namespace.setdefault(CONTAINER, {})
        self.services = {}  # type: dict[str, Callable[..., Any]]
        self._compiled = {}  # type: dict[str, Any]
        self._operations = {
            messages.EVALUATE: self._evaluate,
            messages.INVOKE: self._invoke,
            messages.STEP: self._step,
            messages.SERVICE: self._service,
        }  # type: dict[str, Callable[..., tuple[Any, Any]]]

    def run(self, number, body):
        # type: (int, bytes) -> bytes
        """The answer to one call, whatever happens in it."""
        try:
            request = values.decode(body, self._resolve)
            result, keep = self._operations[request[0]](*request[1:])
            if keep is None:
                return messages.pack(messages.RESULT, number, values.encode(result))
            return messages.pack(messages.KEPT, number, values.encode(self._keep(result, *keep)))
        except NotTransferable as error:
            return messages.pack(messages.REFUSED, number, values.encode(str(error)))
        except BaseException:  # noqa: BLE001 - user code may raise anything, SystemExit too, and the program must live
            return messages.pack(messages.ERROR, number, describe_error())

    def release(self, handles):
        # type: (Iterable[str]) -> None
        """Forget objects that no proxy stands for any more."""
        for handle in handles:
            self.kept.pop(handle[len(HANDLE_START) : -2], None)

    # -- operations ------------------------------------------------------------------------------------------------

    def _evaluate(self, source, keep):
        # type: (str, Any) -> tuple[Any, Any]
        return self.evaluate(source), keep

    def _invoke(self, function, args, kwargs, keep):
        # type: (str, Any, Any, Any) -> tuple[Any, Any]
        return self.evaluate(function)(*args, **(kwargs or {})), keep

    def _step(self, expression, step, args, keep):
        # type: (str, str, Any, Any) -> tuple[Any, Any]
        return STEPS[step](self.evaluate(expression), *args), keep

    def _service(self, name, args, keep):
        # type: (str, Any, Any) -> tuple[Any, Any]
        return self.services[name](*args), keep

    def evaluate(self, source):
        # type: (str) -> Any
        """The value of an expression; None for statements, which are executed."""
        if source.startswith(HANDLE_START) and source.endswith("']") and source.count("'") == 2:
            return self.kept[source[len(HANDLE_START) : -2]]
        code = self._compiled.get(source)
        if code is None:
            code = self._compile(source)
        return eval(code, self.namespace)

    def _compile(self, source):
        # type: (str) -> Any
        text = str(source) if PY2 and all(ord(c) < 128 for c in source) else source
        try:
            code = compile(text.strip(), "<crl>", "eval", dont_inherit=True)
        except SyntaxError:
            code = compile(text, "<crl>", "exec", dont_inherit=True)
        if len(self._compiled) >= COMPILED_KEPT:
            self._compiled.clear()
        self._compiled[source] = code
        return code

    def _resolve(self, wrapped):
        # type: (values.Expression | values.Pickled) -> Any
        """What stands for code among the arguments; the controller is trusted here."""
        if isinstance(wrapped, values.Expression):
            return self.evaluate(wrapped.source)
        # Late, for it costs as much as all the rest of the start.
        import pickle

        return pickle.loads(wrapped.data)

    def _keep(self, result, handle, types, always, unless_callable):
        # type: (Any, str | None, Any, bool, bool) -> tuple[bool, Any, bool]
        """Decide what crosses and what stays here under a handle."""
        is_callable = callable(result)
        # An instance of a subclass crosses as its base value; the class itself comes first, so the loop is short.
        here = types is None or any(records.type_name(base) in types for base in type(result).__mro__)
        if unless_callable and is_callable:
            here = False
        if handle is not None and (always or not here):
            self._assign(handle, result)
        return (here, result if here else None, is_callable)

    def _assign(self, handle, result):
        # type: (str, Any) -> None
        if handle.startswith(HANDLE_START):
            self.kept[handle[len(HANDLE_START) : -2]] = result
            return
        self.namespace["__crl_value"] = result
        exec(compile(str(handle) + " = __crl_value", "<crl>", "exec", dont_inherit=True), self.namespace)
        del self.namespace["__crl_value"]


def describe_error():
    # type: () -> bytes
    """What is being raised now, as plain values: module, class, args, text, traceback and attributes."""
    cls, error, trace = sys.exc_info()
    module = str(getattr(cls, "__module__", "") or "")
    name = str(getattr(cls, "__name__", cls))
    try:
        args = _plain_arguments(error)
        state = _plain_state(error)
        return values.encode((module, name, args, _text_of(error), _traceback_of(cls, error, trace), state))
    except BaseException as failure:  # noqa: BLE001 - user code decides what its errors do when they are looked at
        text = "<the error cannot be described: %s>" % type(failure).__name__
        return values.encode((module, name, values.encode(()), text, text, values.encode({})))


def _plain_arguments(error):
    # type: (Any) -> bytes
    args = tuple(getattr(error, "args", ()))
    if isinstance(error, EnvironmentError) and error.filename is not None and len(args) == 2:
        args = (args[0], args[1], error.filename)
    try:
        return values.encode(args)
    except NotTransferable:
        return values.encode(tuple(repr(arg) for arg in args))


def _plain_state(error):
    # type: (Any) -> bytes
    """The attributes that its constructor or its raiser gave it, as far as they can cross."""
    state = {}
    for name, value in list(getattr(error, "__dict__", {}).items()):
        try:
            values.encode(value)
        except NotTransferable:
            continue
        state[name] = value
    return values.encode(state)


def _text_of(error):
    # type: (Any) -> Any
    try:
        return str(error)
    except UnicodeError:
        # Python 2, where the text of an error may be unicode.
        return values.text_type(error)
    except Exception as failure:  # noqa: BLE001 - a broken __str__ of user code must not hide the error itself
        return "<the error's text failed: %s>" % type(failure).__name__


def _traceback_of(cls, error, trace):
    # type: (Any, Any, Any) -> str
    import traceback

    while trace is not None and trace.tb_frame.f_code.co_filename.startswith("<_crl."):
        trace = trace.tb_next
    return "".join(traceback.format_exception(cls, error, trace))
