"""Sources of modules of this end that may go to a target: found, read and followed, never imported or run.

It knows files and syntax trees and no link. It promises that only what the user named is read: a package as a whole, of
a plain module's directory what the module imports, never what is installed unless it was named; a link in the file
system that leads out of the package or directory is not followed.
"""

from __future__ import annotations

import ast
import os
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final

from crl.errors import UsageError

__all__ = ["INSTALLED", "Bundle", "SourceFile", "Sources", "is_own_file", "is_own_module"]

INSTALLED: Final = frozenset({"site-packages", "dist-packages"})
MOST_FILES: Final = 4000
MOST_BYTES: Final = 32 * 1024 * 1024
LARGEST_DATA: Final = 1024 * 1024
DOING: Final = "sending code to the target"


@dataclass(frozen=True)
class SourceFile:
    """One module.

    Attributes:
        name: Its dotted name.
        path: Its file; None for a namespace package.
        folder: Where its submodules are; None unless it is a package.
        source: Its bytes as they are in the file.
        imports: Names that it may import, found in its syntax tree.
    """

    name: str
    path: str | None
    folder: str | None
    source: bytes
    imports: frozenset[str] = frozenset()


@dataclass
class Bundle:
    """What goes to the target for some modules.

    Attributes:
        needed: The modules with everything allowed that they import.
        offered: Further modules of their packages.
        data: Data files of the packages, by package and file name.
        left_out: What they import that is not allowed; the target may have some of it.
    """

    needed: dict[str, SourceFile] = field(default_factory=dict)
    offered: dict[str, SourceFile] = field(default_factory=dict)
    data: dict[tuple[str, str], bytes] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)


class Sources:
    """What may leave this end for one target, by the names of modules and packages."""

    def __init__(self) -> None:
        # Top-level names, or dotted ones, and the directory that has their first part.
        self._allowed: dict[str, Path] = {}
        # Directories of plain modules: what they import from beside them is allowed.
        self._beside: list[Path] = []
        self._known: dict[str, SourceFile] = {}

    def allow(self, *names: str) -> None:
        """Allow modules and packages by their names, installed ones too.

        Raises:
            UsageError: There is none of that name, it has no source, or it is of the standard library.
        """
        for name in names:
            if any(_covers(known, name) for known in self._allowed):
                continue
            self._allowed[name] = _directory_of(name)
            if self._locate(name) is None:
                del self._allowed[name]
                raise _error(f"there is no source of a module {name!r}", "name a module or package of .py files")

    def add(self, module: str | os.PathLike[str] | types.ModuleType) -> str:
        """Allow a module with its package or, for a plain one, what it imports from its directory; returns its name.

        Args:
            module: The module, its dotted name, or the path of its file or of a package's directory.

        Raises:
            UsageError: It has no source, or is of the standard library.
        """
        name, directory = _named(module)
        top = name.partition(".")[0]
        _refuse_standard(top)
        before = dict(self._allowed)
        self._allowed[top] = directory
        if self._locate(name) is None:
            self._allowed = before
            raise _error(f"there is no source of {name!r} in {directory}", "give a module or package of .py files")
        if not (directory / top).is_dir() and not INSTALLED & set(directory.parts) and directory not in self._beside:
            self._beside.append(directory)
        return name

    def add_home(self, module: types.ModuleType) -> None:
        """Allow what a function of a module may import: its package, or what is beside it; never what is installed."""
        file = getattr(module, "__file__", None)
        if file is None or INSTALLED & set(Path(file).parts):
            return
        name, place = module.__name__, Path(file).absolute()
        levels = name.count(".") + (place.name == "__init__.py")
        if levels:
            self._allowed.setdefault(name.partition(".")[0], place.parents[levels])
        elif place.parent not in self._beside:
            self._beside.append(place.parent)

    def bundle(self, *names: str) -> Bundle:
        """Everything for some modules: what they import and is allowed, and what their packages have besides.

        Raises:
            UsageError: It is too much.
        """
        found = Bundle()
        todo = list(names)
        while todo:
            name = todo.pop()
            if name in found.needed:
                continue
            source = self._locate(name)
            if source is not None:
                found.needed[name] = source
                todo += [*_parents(name), *sorted(source.imports)]
            elif "." not in name and name not in sys.stdlib_module_names:
                found.left_out.add(name)
        for name in {*self._allowed, *(name.partition(".")[0] for name in found.needed)}:
            root = self._locate(name)
            if root is not None:
                self._add_tree(root, found)
        return found

    def has(self, name: str) -> bool:
        """Whether a module of that name is allowed and here."""
        return self._locate(name) is not None

    def _add_tree(self, source: SourceFile, found: Bundle) -> None:
        """A package with all it has, bounded."""
        if source.name not in found.needed:
            found.offered[source.name] = source
        if source.folder is None:
            return
        root = self._directory_for(source.name)
        for entry in sorted(os.scandir(source.folder), key=lambda entry: entry.name):
            if entry.name.startswith(".") or entry.name == "__pycache__" or entry.name in INSTALLED:
                continue
            if root is None or not _inside(Path(entry.path), root / source.name.partition(".")[0]):
                continue
            if entry.is_dir() and entry.is_symlink():
                # It may lead in a circle; what is imported through it is found all the same.
                continue
            if entry.is_dir() or entry.name.endswith(".py"):
                self._add_member(source, entry, found)
            elif self._is_whole(source.name) and _is_data(entry):
                found.data[source.name, entry.name] = Path(entry.path).read_bytes()
        _check_size(found)

    def _is_whole(self, name: str) -> bool:
        """Whether a package is allowed with all it has, and not only as what is around an allowed module."""
        return any(_covers(known, name) for known in self._allowed) or not any(
            known.startswith(name + ".") for known in self._allowed
        )

    def _add_member(self, package: SourceFile, entry: os.DirEntry[str], found: Bundle) -> None:
        stem = entry.name.removesuffix(".py")
        if stem.isidentifier() and stem not in ("__init__", "__main__"):
            member = self._locate(f"{package.name}.{stem}")
            if member is not None:
                self._add_tree(member, found)

    def _directory_for(self, name: str) -> Path | None:
        """The directory with the first part of a name, when the name is allowed."""
        for known, directory in self._allowed.items():
            # Of the packages around an allowed module only their own code goes along.
            if _covers(known, name) or known.startswith(name + "."):
                return directory
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names:
            return None
        for directory in self._beside:
            if (directory / f"{top}.py").is_file() or (directory / top / "__init__.py").is_file():
                return directory
            if any((directory / top).glob("*.py")):
                return directory
        return None

    def _locate(self, name: str) -> SourceFile | None:
        directory = self._directory_for(name)
        parts = name.split(".")
        if directory is None or not all(part.isidentifier() for part in parts):
            return None
        place = directory.joinpath(*parts)
        if (place / "__init__.py").is_file():
            path, folder = place / "__init__.py", place
        elif place.with_name(place.name + ".py").is_file():
            path, folder = place.with_name(place.name + ".py"), None
        elif place.is_dir():
            path, folder = place, place
        else:
            return None
        # The first part may be a link itself; what is in it must not lead out of it.
        if len(parts) > 1 and not _inside(path, directory / parts[0]):
            return None
        if path is folder:
            return SourceFile(name, None, str(place), b"")
        return self._read(name, path, folder)

    def _read(self, name: str, path: Path, folder: Path | None) -> SourceFile:
        try:
            text = path.read_bytes()
        except OSError as error:
            raise _error(str(error), "look at the file's permissions") from error
        known = self._known.get(name)
        if known is not None and (known.path, known.source) == (str(path), text):
            return known
        imports = frozenset(_imports(text, name, folder is not None))
        source = SourceFile(name, str(path), None if folder is None else str(folder), text, imports)
        self._known[name] = source
        return source


def _imports(text: bytes, name: str, is_package: bool) -> Iterator[str]:
    """Names that a module may import; of a syntax that only the target knows, none."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return
    package = name if is_package else name.rpartition(".")[0]
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from (alias.name, *_parents(alias.name))
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = parts[: len(parts) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            if stem:
                yield from (stem, *_parents(stem))
                yield from (f"{stem}.{alias.name}" for alias in node.names if alias.name != "*")


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """All statements; without a look into expressions, which are most of a tree."""
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        yield node
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(node, part, None)
            if isinstance(inner, list):
                todo += inner


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _covers(known: str, name: str) -> bool:
    return name == known or name.startswith(known + ".")


def _inside(path: Path, directory: Path) -> bool:
    """Whether a path leads to something in a directory, links followed."""
    return path.resolve().is_relative_to(directory.resolve())


def _named(module: str | os.PathLike[str] | types.ModuleType) -> tuple[str, Path]:
    """Name of a module and the directory that has its first part."""
    if isinstance(module, types.ModuleType):
        spec = getattr(module, "__spec__", None)
        name = module.__name__ if spec is None or module.__name__ != "__main__" else spec.name
        file = getattr(module, "__file__", None)
        if file is None or not file.endswith(".py"):
            return name, _directory_of(name)
        place = Path(file).absolute()
        levels = name.count(".") + (place.name == "__init__.py")
        return name, place.parents[levels]
    text = os.fspath(module)
    if os.sep not in text and not text.endswith(".py") and isinstance(module, str):
        return text, _directory_of(text)
    place = Path(text).absolute()
    if not place.is_dir() and place.suffix != ".py":
        raise _error(f"the module {place} has no source", "give the path of a .py file or of a package's directory")
    if not place.exists():
        raise _error(f"{place}: No such file or directory", "give the path of a .py file or of a package's directory")
    return place.stem, place.parent


def _directory_of(name: str) -> Path:
    """The directory of a top-level module or package that this end would import; nothing is imported."""
    top = name.partition(".")[0]
    _refuse_standard(top)
    spec = PathFinder.find_spec(top)
    places = [] if spec is None else [*(spec.submodule_search_locations or ()), spec.origin or ""]
    if not any(places):
        loaded = sys.modules.get(top)
        places = [*getattr(loaded, "__path__", ()), getattr(loaded, "__file__", None) or ""]
    place = next(filter(None, places), None)
    if place is None:
        raise _error(f"there is no module {top!r} here", "give its path, or put its directory on sys.path")
    return Path(place).absolute().parent


def _refuse_standard(top: str) -> None:
    if top in sys.stdlib_module_names:
        raise _error(f"{top!r} is a name of the standard library, which every target has", "rename the module")


def _is_data(entry: os.DirEntry[str]) -> bool:
    return entry.is_file() and entry.stat().st_size <= LARGEST_DATA and not entry.name.endswith((".pyc", ".so"))


def _check_size(found: Bundle) -> None:
    count = len(found.needed) + len(found.offered) + len(found.data)
    size = sum(len(source.source) for source in (*found.needed.values(), *found.offered.values()))
    size += sum(map(len, found.data.values()))
    if count > MOST_FILES or size > MOST_BYTES:
        raise _error(
            f"what may be sent is too much: {count} files of {size} bytes",
            "put what the target needs into a package of its own, or allow single modules by name",
        )


def _error(message: str, advice: str) -> UsageError:
    return UsageError(message, doing=DOING, advice=advice)


def is_own_module(name: str) -> bool:
    """Whether an imported module is the user's: neither of the standard library nor installed."""
    module = sys.modules.get(name)
    if name == "__main__" or module is None or name.partition(".")[0] in sys.stdlib_module_names:
        return name == "__main__"
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    return file is not None and is_own_file(file)


def is_own_file(file: str) -> bool:
    """Whether a file is the user's: neither of the standard library nor installed."""
    path = Path(file).resolve()
    return not INSTALLED & set(path.parts) and not path.is_relative_to(Path(ast.__file__).resolve().parent)
