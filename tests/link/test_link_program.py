"""Invariant: what a target gets of a module is that module, line for line, but for comments and docstrings."""

from __future__ import annotations

import ast
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import crl.link
from crl.link import Link, program
from crl.link.program import piece
from tests.link.peers import eventually

FOLDER = Path(crl.link.__file__).parent
MODULES = sorted(
    f"{path.parent.name}.{path.stem}" for name in ("wire", "remote") for path in (FOLDER / name).glob("[a-z]*.py")
)


def _shown(source: str) -> list[str]:
    """The statements with their places, but for docstrings and for what stands in for one."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            if not isinstance(node, ast.Module):
                # A stand-in is as long as its line, whatever was there.
                node.end_lineno = node.end_col_offset = None
            node.body = [one for one in node.body if not _is_docstring(one) and not isinstance(one, ast.Pass)]
    return [ast.dump(one, include_attributes=True) for one in tree.body]


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


@pytest.mark.parametrize("name", MODULES)
def test_what_is_sent_is_the_same_program(name: str) -> None:
    folder, module = name.split(".")
    _, sent = piece(name)
    ours = (FOLDER / folder / f"{module}.py").read_text(encoding="ascii").replace("from crl.link.", "from _crl.")
    assert _shown(sent) == _shown(ours)
    assert '\n    """' not in sent, "a docstring is sent"
    assert "# type:" not in sent, "a comment is sent"


def test_many_first_links_at_once_pack_the_program_once() -> None:
    program._pack.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(program.prepare) for _ in range(8)]:
            done.result(60)
    assert program._pack.cache_info().misses == len(["compiled", "as source"])


def test_two_services_may_be_used_for_the_first_time_at_once(
    make_link: Callable[..., Link], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one needs what the first one is still making."""
    slow = "import time; time.sleep(0.5)\n"
    sources = {name: piece(name) for name in program.PIECES["process"] + program.PIECES["tunnel"]}
    sources["remote.streams"] = sources["remote.streams"][0], slow + sources["remote.streams"][1]
    monkeypatch.setattr("crl.link.link.piece", sources.__getitem__)
    link = make_link()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(link.run, ["echo", "first"])
        assert eventually(lambda: link._loading)
        assert link.service("tunnel.unlisten", 1) == []
        assert first.result(60).stdout == b"first\n"
