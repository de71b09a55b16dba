"""Calls on the target: evaluates, invokes and steps through objects for the controller.

It holds the user namespace and the objects that proxies of the controller stand for; it knows nothing of threads and
terminals. What user code raises becomes a plain description, never an object for the controller to unpickle.
"""
# ruff: noqa: F401 - names in type comments look unused.

import marshal
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
# How many exceptions of nested groups are described; the traceback names the others.
DESCRIBED = 100
# Instances of other classes may be of these by a base: that takes a longer look.
BASIC = frozenset((type(None), bool, int, values.long_type, float, str, values.text_type, bytes))


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


def _swapped(operator):
    # type: (Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]
    """The operator of the right operand."""
    return lambda a, b: operator(b, a)


def _to_bytes(value):
    # type: (Any) -> Any
    # On Python 2 `bytes` is another name of `str`, which crosses as text.
    return bytearray(value) if PY2 else bytes(value)


def _whole(name):
    # type: (str) -> Callable[..., Any]
    """`math.floor` and the like, which give floats on Python 2."""

    def step(value):
        # type: (Any) -> Any
        import math

        result = getattr(math, name)(value)
        return int(result) if PY2 else result

    return step


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
    "divmod": divmod,
    "complex": complex,
    "bytes": _to_bytes,
    "format": format,
    "round": round,
    "trunc": _whole("trunc"),
    "floor": _whole("floor"),
    "ceil": _whole("ceil"),
}  # type: dict[str, Any]
# Each of these is also there for the right operand (`radd`), and with a result in place (`iadd`).
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "and", "or", "xor", "lshift", "rshift", "matmul"):
    _operator = STEPS.get(_name) or getattr(operator, "matmul", None)
    if _operator is not None:
        STEPS[_name], STEPS["r" + _name] = _operator, _swapped(_operator)
        STEPS["i" + _name] = getattr(operator, "i" + _name)
STEPS["ipow"] = operator.ipow
STEPS["rpow"], STEPS["rdivmod"] = _swapped(pow), _swapped(divmod)




def _is_of(value, types):
    # type: (Any, Any) -> bool
    """Whether its class or a base has one of the names; the class itself comes first, so the loop is short."""
    return any(records.type_name(base) in types for base in type(value).__mro__)


def _class_called(name, namespace):
    # type: (str, dict[str, Any]) -> Any
    """The class that the controller names: of the user namespace, of a module, or None where there is none."""
    parts = name.split(".")
    if parts[0] == "__main__":
        return _member(namespace.get(parts[1]), parts[2:])
    for cut in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:cut])
        try:
            __import__(module)
        except ImportError:
            continue
        return _member(sys.modules[module], parts[cut:])
    return None


def _member(found, path):
    # type: (Any, list[str]) -> Any
    for part in path:
        found = getattr(found, part, None)
    return found if isinstance(found, type) else None


class Cancelled(BaseException):
    """Raised in the thread of a call that the controller has cancelled."""


class Calls(object):
    """Runs the operations of calls.

    Args:
        namespace: The user namespace; handles are kept in its ``_PROXY_CONTAINER``.
        begins: Called when a call has come to what it asks for.
    """

    def __init__(self, namespace, begins):
        # type: (dict[str, Any], Callable[[], None]) -> None
        self.namespace = namespace
        self._begins = begins
        self.kept = namespace.setdefault(CONTAINER, {})
        self.services = {}  # type: dict[str, Callable[..., Any]]
        self._compiled = {}  # type: dict[str, Any]
        self._operations = {
            messages.EVALUATE: self._evaluate,
            messages.INVOKE: self._invoke,
            messages.STEP: self._step,
            messages.SERVICE: self._service,
        }  # type: dict[int, Callable[..., tuple[Any, Any]]]

    def run(self, number, message):
        # type: (int, bytes) -> bytes
        """The answer to the call of a message, whatever happens in it."""
        try:
            start = messages.HEAD.size
            if message[start : start + 1] == messages.MARSHALLED:
                request = marshal.loads(message[start:])
            else:
                request = values.decode(message, self.resolve, start)
            result, keep = self._operations[request[0]](*request[1:])
            if keep is None:
                return messages.pack(messages.RESULT, number, values.encode(result, records.plain_of_any))
            answer = values.encode(self._keep(result, *keep), records.plain_of_any)
            return messages.pack(messages.KEPT, number, answer)
        except NotTransferable as error:
            return messages.pack(messages.REFUSED, number, values.encode(str(error)))
        except Cancelled:
            return messages.pack(messages.CANCELLED, number)
        except BaseException:  # noqa: BLE001 - user code may raise anything, SystemExit too, and the program must live
            return messages.pack(messages.ERROR, number, describe_error())

    def release(self, handles):
        # type: (Iterable[str]) -> None
        """Forget objects that no proxy stands for any more."""
        for handle in handles:
            if handle.startswith(HANDLE_START):
                self.kept.pop(handle[len(HANDLE_START) : -2], None)
            else:
                self._delete(handle)

    def _delete(self, name):
        # type: (str) -> None
        """Forget an object by a name of the user's own; nobody waits to hear that there is none."""
        try:
            self.evaluate("del " + name)
        except Exception:  # noqa: BLE001 - what the user's expression may raise; shown where prints are
            import traceback

            traceback.print_exc()

    # -- operations ------------------------------------------------------------------------------------------------

    def _evaluate(self, source, keep=None):
        # type: (str, Any) -> tuple[Any, Any]
        return self.evaluate(source, self._begins), keep

    def _invoke(self, function, args, kwargs, keep=None):
        # type: (str, Any, Any, Any) -> tuple[Any, Any]
        called = self.evaluate(function)
        self._begins()
        return called(*args, **(kwargs or {})), keep

    def _step(self, expression, step, args, keep=None):
        # type: (str, str, Any, Any) -> tuple[Any, Any]
        operate = STEPS.get(step)
        if operate is None:
            raise TypeError("Python %d.%d has no operator %s" % (sys.version_info[0], sys.version_info[1], step))
        operand = self.evaluate(expression)
        self._begins()
        return operate(operand, *args), keep

    def _service(self, name, args, keep=None):
        # type: (str, Any, Any) -> tuple[Any, Any]
        service = self.services[name]
        self._begins()
        return service(*args), keep

    def evaluate(self, source, begins=None):
        # type: (str, Callable[[], None] | None) -> Any
        """The value of an expression; None for statements, which are executed. `begins` is called just before."""
        code = self._compiled.get(source)
        if code is None:
            if source.startswith(HANDLE_START) and source.endswith("']") and source.count("'") == 2:
                if begins is not None:
                    begins()
                return self.kept[source[len(HANDLE_START) : -2]]
            code = self._compile(source)
        if begins is not None:
            begins()
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

    def resolve(self, wrapped):
        # type: (Any) -> Any
        """What stands for code among the arguments; the controller is trusted here."""
        if isinstance(wrapped, values.Expression):
            return self.evaluate(wrapped.source)
        if isinstance(wrapped, records.Named):
            return self._object(wrapped)
        return self._unpickled(wrapped.data)

    def _object(self, named):
        # type: (records.Named) -> Any
        cls = _class_called(named.name, self.namespace)
        try:
            return named.build(cls)
        except NotTransferable as error:
            found = "no class" if cls is None else "another class"
            raise TypeError("the target has %s %s (%s)" % (found, named.name, error))

    def _unpickled(self, data):
        # type: (bytes) -> Any
        # Late, for it costs as much as all the rest of the start.
        import io
        import pickle

        resolve = self.resolve

        class Unpickler(pickle.Unpickler):
            """Takes what the controller left to the codec."""

            def persistent_load(self, pid):
                # type: (bytes) -> Any
                return values.decode(pid, resolve)

        return Unpickler(io.BytesIO(data)).load()

    def _keep(self, result, handle, types, always=False, unless_callable=False):
        # type: (Any, str | None, Any, bool, bool) -> tuple[bool, Any, bool]
        """Decide what crosses and what stays here under a handle."""
        is_callable = callable(result)
        if types is True:
            here = type(result) in BASIC or _is_of(result, records.BASIC_TYPES)
        else:
            here = types is None or _is_of(result, types)
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
    """What is being raised now, as plain values; see `describe`."""
    return describe(*sys.exc_info())


def describe(cls, error, trace, room=None):
    # type: (Any, Any, Any, list[None] | None) -> bytes
    """An exception as plain values: module, class, args, text, traceback, attributes, notes and members of a group."""
    module = str(getattr(cls, "__module__", "") or "")
    name = str(getattr(cls, "__qualname__", getattr(cls, "__name__", cls)))
    try:
        args = _plain_arguments(error)
        state = _plain_state(error)
        text, printed = _text_of(error), _traceback_of(cls, error, trace)
        return values.encode((module, name, args, text, printed, state, _notes_of(error), _members_of(error, room)))
    except BaseException as failure:  # noqa: BLE001 - user code decides what its errors do when they are looked at
        text = "<the error cannot be described: %s>" % type(failure).__name__
        return values.encode((module, name, values.encode(()), text, text, values.encode({}), [], []))


def _plain_arguments(error):
    # type: (Any) -> bytes
    args = tuple(getattr(error, "args", ()))
    if isinstance(error, EnvironmentError) and error.filename is not None and len(args) == 2:
        second = getattr(error, "filename2", None)
        args = (args[0], args[1], error.filename) + (() if second is None else (None, second))
    if _members(error):
        # Of a group the message alone: its members come as descriptions.
        args = args[:1]
    try:
        return values.encode(args, records.plain_of_any)
    except NotTransferable:
        return values.encode(tuple(_crossing(arg) for arg in args), records.plain_of_any)


def _crossing(arg):
    # type: (Any) -> Any
    """The argument itself where it can cross, else its text."""
    try:
        values.encode(arg, records.plain_of_any)
    except NotTransferable:
        return repr(arg)
    return arg


def _plain_state(error):
    # type: (Any) -> bytes
    """The attributes that its constructor or its raiser gave it, as far as they can cross."""
    state = {}
    for name, value in list(getattr(error, "__dict__", {}).items()):
        try:
            values.encode(value, records.plain_of_any)
        except NotTransferable:
            continue
        state[name] = value
    return values.encode(state, records.plain_of_any)


def _notes_of(error):
    # type: (Any) -> list[str]
    notes = getattr(error, "__notes__", None)
    return [values.text_type(note) for note in notes] if isinstance(notes, (list, tuple)) else []


def _members(error):
    # type: (Any) -> Any
    """The members of an exception group, of Python 3.11 and later or of the package for older ones."""
    members = getattr(error, "exceptions", None)
    names = [base.__name__ for base in type(error).__mro__]
    return members if "BaseExceptionGroup" in names and isinstance(members, tuple) else ()


def _members_of(error, room):
    # type: (Any, list[None] | None) -> list[bytes]
    room = [None] * DESCRIBED if room is None else room
    described = []
    for one in _members(error):
        if not room:
            break
        room.pop()
        described.append(describe(type(one), one, one.__traceback__, room))
    return described


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
    """The traceback as Python prints it, with the chain of causes and contexts."""
    import traceback

    while trace is not None and trace.tb_frame.f_code.co_filename.startswith("<_crl."):
        trace = trace.tb_next
    return "".join(traceback.format_exception(cls, error, trace))
