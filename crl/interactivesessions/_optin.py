"""What runs on the target for terminals whose class asks for more: a context manager around calls, pickles as values.

The sources here run in the user namespace of the target, on Python 2.7 and 3.6 or later; nothing of them is sent for a
plain `RunnerTerminal`. This module knows no terminal.
"""

from __future__ import annotations

__all__ = ["EVALUATE", "GET_OR_CALLABLE", "SOURCE", "TYPE_NAMES", "in_context", "name_of_type", "pickled"]

SOURCE = '''
def _crl_evaluate(_source):
    """The value of an expression, None for statements."""
    try:
        _code = compile(_source, "<crl>", "eval")
    except SyntaxError:
        _code = compile(_source, "<crl>", "exec")
    return eval(_code, globals())


def _crl_in_context(_manager, _function):
    """The function, run inside what the manager makes."""
    def inside(*args, **kwargs):
        with _manager():
            return _function(*args, **kwargs)
    return inside


def _crl_pickled(_pickler, _function):
    """The function with its value as a pickle; the pickling module is imported when it is used."""
    def dumped(*args, **kwargs):
        module = __import__(_pickler, globals(), locals(), ["dumps"])
        return bytearray(module.dumps(_function(*args, **kwargs), 2))
    return dumped
'''
EVALUATE = "_crl_evaluate"
GET_OR_CALLABLE = "(lambda o, n: (lambda v: (True, None) if callable(v) else (False, v))(getattr(o, n)))"
TYPE_NAMES = (
    "[t.__name__ if t.__module__ in ('builtins', '__builtin__') else t.__module__ + '.' + t.__name__ for t in (%s)]"
)


def in_context(manager: str, function: str) -> str:
    """The expression of a function that runs inside a context manager."""
    return f"_crl_in_context({manager}, {function})"


def pickled(pickler: str, function: str) -> str:
    """The expression of a function whose value comes as a pickle."""
    return f"_crl_pickled({pickler!r}, {function})"


def name_of_type(kind: type | str) -> str:
    """The name by which the target's end of the link knows a type."""
    if isinstance(kind, str):
        return kind
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
