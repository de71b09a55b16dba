"""The page on python-x2go's modules agrees with the package and with the tables of published names.

Invariant: what the page names is there, and each published class and function, and each public module, is on the page.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import crl.x2go
from tests.published import Names

PAGE = Path(__file__).resolve().parents[2] / "docs" / "x2go-modules.md"
ROW = re.compile(r"^\| (?P<names>`[\w.]+`(?:, `[\w.]+`)*) \| (?P<status>[\w ]+) \|", re.MULTILINE)
STATUSES = {"as there", "better", "different", "ours"}
OURS = Names("crl.x2go")


def rows() -> list[tuple[str, str]]:
    """Each name on the page with what is said of it."""
    found = ROW.finditer(PAGE.read_text(encoding="utf-8"))
    return [(name, row["status"]) for row in found for name in re.findall(r"`([\w.]+)`", row["names"])]


def published() -> Iterator[str]:
    """The paths of the tables of published names."""
    for file in sorted(Path(__file__).parent.glob("test_*_names.py")):
        module = importlib.import_module(f"tests.x2go.{file.stem}")
        for line in module.PUBLISHED.strip().splitlines():
            yield line.partition("(")[0]


def top_of(path: str) -> str:
    """The module's own name in a path: a class, a function or a constant, without what is inside it."""
    names = path.split(".")
    for length in range(1, len(names)):
        if not inspect.ismodule(OURS.find(".".join(names[:length]))):
            return ".".join(names[:length])
    return path


@pytest.mark.parametrize(("name", "status"), [pytest.param(*row, id=row[0]) for row in rows()])
def test_what_the_page_names_is_there(name: str, status: str) -> None:
    assert status in STATUSES
    assert OURS.find(name) is not None


def test_no_name_stands_twice() -> None:
    names = [name for name, _ in rows()]
    assert len(names) > 80
    assert len(names) == len(set(names))


def test_all_published_names_are_on_the_page() -> None:
    on_page = {name for name, _ in rows()}
    wanted = {top_of(path) for path in published()}
    assert len(wanted) > 60
    # Names that start with an underscore are parts of what has no one.
    assert sorted(name for name in wanted - on_page if not name.rpartition(".")[2].startswith("_")) == []


def test_all_public_modules_are_on_the_page() -> None:
    on_page = {name.rpartition(".")[0] for name, _ in rows()}
    found = pkgutil.walk_packages(crl.x2go.__path__, "crl.x2go.")
    modules = [one.name.removeprefix("crl.x2go.") for one in found if not one.ispkg]
    public = {name for name in modules if not re.search(r"(^|\.)_", name)}
    assert len(public) > 30
    assert sorted(public - on_page) == []


def test_the_exceptions_that_the_page_names_exist() -> None:
    text = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"`(X2Go\w+(?:Exception|Died|Reached|NotFound|Ended|Missing|ByServer))`", text))
    assert len(named) > 6
    assert sorted(name for name in named if not hasattr(crl.x2go.x2go_exceptions, name)) == []
