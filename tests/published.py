"""Tables of published names: how a line of one is read, and what stands there in our package."""

from __future__ import annotations

import ast
import importlib
import inspect
from typing import Any

__all__ = ["Names", "published"]

POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD


class Names:
    """The names of a package.

    Args:
        package: Its name.
    """

    def __init__(self, package: str) -> None:
        self._package = package

    def find(self, path: str) -> Any:
        """What stands at a path of modules, classes and attributes; of a class's attributes what the class has."""
        names = path.split(".")
        for length in range(len(names), -1, -1):
            try:
                found: Any = importlib.import_module(".".join([self._package, *names[:length]]))
            except ModuleNotFoundError:
                continue
            for name in names[length:]:
                found = inspect.getattr_static(found, name) if inspect.isclass(found) else getattr(found, name)
            return found
        raise AssertionError(f"there is no {path}")

    def signature(self, path: str) -> inspect.Signature:
        """The signature of a callable, without the object or class of a method."""
        found = self.find(path)
        is_method = inspect.isfunction(found) and inspect.isclass(self.find(path.rpartition(".")[0]))
        if isinstance(found, staticmethod):
            return inspect.signature(found.__func__)
        if isinstance(found, classmethod):
            found, is_method = found.__func__, True
        signature = inspect.signature(found)
        return signature.replace(parameters=list(signature.parameters.values())[1:]) if is_method else signature


def published(line: str) -> tuple[str, inspect.Signature]:
    """The path of a line ``path(arguments)`` of a table, and its signature."""
    path, _, rest = line.partition("(")
    function = ast.parse(f"def f({rest}: pass").body[0]
    assert isinstance(function, ast.FunctionDef)
    names = function.args
    missing = [inspect.Parameter.empty] * (len(names.args) - len(names.defaults))
    defaults: list[Any] = [*missing, *(ast.literal_eval(one) for one in names.defaults)]
    parameters = [
        inspect.Parameter(one.arg, POSITIONAL, default=default)
        for one, default in zip(names.args, defaults, strict=True)
    ]
    if names.vararg:
        parameters.append(inspect.Parameter(names.vararg.arg, inspect.Parameter.VAR_POSITIONAL))
    if names.kwarg:
        parameters.append(inspect.Parameter(names.kwarg.arg, inspect.Parameter.VAR_KEYWORD))
    return path, inspect.Signature(parameters)
