"""The house itself: layers import downwards only, public names are declared, modules stay small.

Invariant: for every module of crl, each import of crl names a layer at or below the module's own.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAX_LINES = 600

# From the bottom up. A layer may import itself and what stands before it; `lab` stands alone on the base.
LAYERS = [
    ["crl.secrets", "crl.errors", "crl.deadlines", "crl.neighbours"],
    ["crl.channels"],
    ["crl.link"],
    ["crl.interactivesessions"],
    ["crl.targets"],
    ["crl.display"],
    ["crl.x2go"],
    ["crl.cli", "crl.pytest_plugin", "crl._pytest", "TargetLibrary", "X2GoLibrary"],
]
ALONE = "crl.lab"


def _modules() -> list[Path]:
    found = [*sorted((ROOT / "crl").rglob("*.py")), *sorted((ROOT / "robotlibs").rglob("*.py"))]
    return [path for path in found if "__pycache__" not in path.parts]


def _name(path: Path) -> str:
    base = ROOT / "robotlibs" if "robotlibs" in path.parts else ROOT
    parts = path.relative_to(base).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _starts(name: str, layer: str) -> bool:
    return name == layer or name.startswith((layer + ".", layer + "_"))


def _level(name: str) -> int | None:
    for level, layer in enumerate(LAYERS):
        if any(_starts(name, member) for member in layer):
            return level
    return None


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {name for name in found if _starts(name, "crl") or name.startswith(("TargetLibrary", "X2GoLibrary"))}


@pytest.mark.parametrize("path", _modules(), ids=_name)
def test_imports_go_down(path: Path) -> None:
    name = _name(path)
    for imported in _imports(path):
        if _starts(name, ALONE):
            assert _starts(imported, ALONE) or _level(imported) == 0, f"{name} imports {imported}"
            continue
        if _starts(imported, ALONE):
            assert _level(name) == len(LAYERS) - 1, f"{name} imports the lab"
            continue
        own, other = _level(name), _level(imported)
        assert own is not None, f"{name} is in no layer"
        assert other is not None, f"{name} imports {imported}, which is in no layer"
        assert other <= own, f"{name} imports {imported} from a layer above it"


def test_what_runs_on_the_target_knows_only_the_wire() -> None:
    for path in _modules():
        name = _name(path)
        if _starts(name, "crl.link.wire") or _starts(name, "crl.link.remote"):
            allowed = ("crl.link.wire", "crl.link.remote") if "remote" in name else ("crl.link.wire",)
            assert all(imported.startswith(allowed) for imported in _imports(path)), name


def test_crl_is_a_namespace() -> None:
    assert not (ROOT / "crl" / "__init__.py").exists()


@pytest.mark.parametrize("path", [path for path in _modules() if path.name == "__init__.py"], ids=_name)
def test_packages_declare_their_public_names(path: Path) -> None:
    module = importlib.import_module(_name(path))
    assert isinstance(module.__all__, list), f"{module.__name__} has no __all__"
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None or name in vars(module)
    assert module.__doc__


@pytest.mark.parametrize("path", _modules(), ids=_name)
def test_modules_are_small_and_say_what_they_are(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MAX_LINES
    assert ast.get_docstring(ast.parse(text)), "a module's top says what it is, may know and promises"


def test_typed_packages_carry_the_marker() -> None:
    for folder in [*(ROOT / "crl").iterdir(), *(ROOT / "robotlibs").iterdir()]:
        if (folder / "__init__.py").exists():
            assert (folder / "py.typed").exists(), folder
