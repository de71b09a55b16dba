"""The piece of a source file that defines one function, lambda or class, and the names that stand in it.

For old Pythons the annotations of functions are left out, so that typed code runs there too; lines and columns stay as
they are in the file. It knows syntax trees only.
"""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from crl.errors import UsageError
from crl.link._syntax import parse

__all__ = ["Piece", "piece_of"]

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
OF_THIS_END = frozenset({"register_type", "register_exception"})
Place = tuple[int, int]
# From where to where, and what stands there instead.
Span = tuple[Place, Place, bytes]


@dataclass(frozen=True)
class Piece:
    """What defines something.

    Attributes:
        text: The source.
        path: Its file.
        line: Number of the text's first line there.
        futures: Names imported from `__future__` in that file.
        names: Names that it reads, its own variables among them.
        outer_names: Those that are read when it is defined: by decorators, defaults, bases.
        attributes: Names behind dots.
        default_names: Arguments whose default is a name, and that name.
        imports: Modules that it imports inside.
    """

    text: str
    path: str
    line: int
    futures: tuple[str, ...]
    names: frozenset[str]
    outer_names: frozenset[str]
    attributes: frozenset[str]
    default_names: dict[str, str]
    imports: frozenset[str]


def piece_of(thing: Any, name: str, *, bare: bool) -> Piece:
    """The piece for a function or class.

    Args:
        thing: The function or class.
        name: What to call it when it is a lambda.
        bare: Leave out the annotations of functions, which old Pythons do not take.

    Raises:
        UsageError: Its source is not known.
    """
    try:
        lines, first = inspect.findsource(thing)
        path = inspect.getsourcefile(thing) or inspect.getfile(thing)
        tree = parse("".join(lines))
    except (OSError, TypeError, SyntaxError, IndexError) as error:
        raise _no_source(thing, str(error)) from error
    # What annotations name is not looked up there, as it was not looked for here.
    futures = tuple(sorted({*_futures(tree), "annotations"}))
    if isinstance(thing, types.FunctionType) and thing.__name__ == "<lambda>":
        node: Definition | ast.Lambda = _lambda(tree, thing)
        text, line = f"{name} = ({ast.get_source_segment(''.join(lines), node)})\n", node.lineno
    else:
        node = _definition(tree, thing, first + 1)
        registering, annotations = list(_take_off_registering(node)), list(_take_off_annotations(node))
        text, line = _text(lines, node, registering + (annotations if bare else []))
    return _piece(text, path, line, futures, node)


def _no_source(thing: Any, why: str) -> UsageError:
    return UsageError(
        f"the source of {thing!r} is not known: {why}", doing="sending code to the target", advice="define it in a file"
    )


def _futures(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            yield from (alias.name for alias in node.names)


def _first_line(node: Definition) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def _definition(tree: ast.Module, thing: Any, line: int) -> Definition:
    for node in ast.walk(tree):
        if isinstance(node, Definition) and node.name == thing.__name__ and line in (node.lineno, _first_line(node)):
            return node
    raise _no_source(thing, f"line {line} of its file does not define it")


def _lambda(tree: ast.Module, thing: types.FunctionType) -> ast.Lambda:
    """The lambda whose body stands where the code says that it is."""
    code = thing.__code__
    where = [(line, column) for line, _, column, _ in code.co_positions() if line and column is not None]
    where = [place for place in where if place[0] > code.co_firstlineno or place[1] > 0]
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Lambda)
        and node.lineno == code.co_firstlineno
        and where
        and all((node.body.lineno, node.body.col_offset) <= place <= _end(node.body) for place in where)
    ]
    if not found:
        raise _no_source(thing, "its file has changed, or does not show it")
    return min(found, key=lambda node: _end(node.body))


def _text(lines: list[str], node: Definition, spans: list[Span]) -> tuple[str, int]:
    """The lines of a definition, and the number of the first."""
    first = _first_line(node)
    raw = [line.encode() for line in lines]
    for start, end, filler in spans:
        _blank(raw, start, end, filler)
    body = b"".join(raw[first - 1 : node.end_lineno]).decode()
    if not body.endswith("\n"):
        body += "\n"
    # An indented one stands in a block of its own, so that texts of several lines stay as they are.
    return (body, first) if node.col_offset == 0 else ("if 1:\n" + body, first - 1)


def _take_off_registering(node: ast.AST) -> Iterator[Span]:
    """Decorators that register a class with this end, which the target has not."""
    for inner in ast.walk(node):
        if isinstance(inner, Definition):
            for decorator in list(inner.decorator_list):
                called = decorator.func if isinstance(decorator, ast.Call) else decorator
                if getattr(called, "attr", getattr(called, "id", None)) in OF_THIS_END:
                    inner.decorator_list.remove(decorator)
                    yield (decorator.lineno, decorator.col_offset), _end(decorator), b"@"


def _take_off_annotations(node: ast.AST) -> Iterator[Span]:
    """Annotations of functions and of their variables."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = inner.args
            plain = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
            for argument in (*plain, arguments.vararg, arguments.kwarg):
                if argument is not None and argument.annotation is not None:
                    start = (argument.lineno, argument.col_offset + len(argument.arg.encode()))
                    yield start, _end(argument.annotation), b""
                    argument.annotation = None
            if inner.returns is not None:
                yield (inner.returns.lineno, inner.returns.col_offset), _end(inner.returns), b"->"
                inner.returns = None
            yield from _annotated_variables(inner)


def _annotated_variables(function: ast.AST) -> Iterator[Span]:
    for node in ast.iter_child_nodes(function):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.AnnAssign):
            if node.value is not None:
                yield _end(node.target), _end(node.annotation), b""
            else:
                yield (node.lineno, node.col_offset), _end(node), b"pass"
        else:
            yield from _annotated_variables(node)


def _end(node: ast.expr | ast.stmt) -> Place:
    return node.end_lineno or 0, node.end_col_offset or 0


def _blank(raw: list[bytes], start: Place, end: Place, filler: bytes) -> None:
    """Replace a span by blanks or a statement; behind an arrow or an @, from there on."""
    (line, column), (last, stop) = start, end
    if filler in (b"->", b"@"):
        column = raw[line - 1].rfind(filler, 0, column)
        if column < 0 or b"(" in raw[line - 1][column : start[1]]:
            return
        filler = b""
    for number in range(line, last + 1):
        text = raw[number - 1]
        left = column if number == line else 0
        right = stop if number == last else len(text.rstrip(b"\r\n"))
        raw[number - 1] = text[:left] + filler.ljust(right - left) + text[right:]
        filler = b""


def _piece(text: str, path: str, line: int, futures: tuple[str, ...], node: Definition | ast.Lambda) -> Piece:
    """A piece with the names that stand in it."""
    defaults = [] if isinstance(node, ast.ClassDef) else list(_defaults(node.args))
    outer: list[ast.expr] = [value for _, value in defaults]
    if not isinstance(node, ast.Lambda):
        outer += node.decorator_list
    return Piece(
        text,
        path,
        line,
        futures,
        names=_names(node),
        outer_names=frozenset(name for one in outer for name in _names(one)),
        attributes=frozenset(inner.attr for inner in ast.walk(node) if isinstance(inner, ast.Attribute)),
        default_names={argument: value.id for argument, value in defaults if isinstance(value, ast.Name)},
        imports=frozenset(_imports(node)),
    )


def _names(node: ast.AST) -> frozenset[str]:
    return frozenset(inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name))


def _defaults(arguments: ast.arguments) -> Iterator[tuple[str, ast.expr]]:
    """Arguments that have a default, and the default."""
    positional = [*arguments.posonlyargs, *arguments.args]
    for argument, value in zip(reversed(positional), reversed(arguments.defaults), strict=False):
        yield argument.arg, value
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if default is not None:
            yield argument.arg, default


def _imports(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Import):
            yield from (alias.name for alias in inner.names)
        elif isinstance(inner, ast.ImportFrom) and inner.module and not inner.level:
            yield inner.module
            yield from (f"{inner.module}.{alias.name}" for alias in inner.names)
