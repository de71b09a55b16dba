"""Modules of this end on the target: whole packages, on every Python, and nothing but what was allowed.

Invariant: the target gets the sources of what was named, each once, and whatever else it asks for is neither read nor
sent.
"""

from __future__ import annotations

import enum
import importlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from crl.errors import UsageError
from crl.interactivesessions.runnerexceptions import RunnerTerminalSessionBroken
from crl.interactivesessions.shells.bashshell import BashShell
from crl.link import register_type
from crl.link.wire import messages, records
from crl.targets import Target
from tests.link.peers import INTERPRETERS, eventually

PACKAGE = {
    "shop/__init__.py": "from .prices import price\nfrom . import stock\nNAME = 'shop'\n",
    "shop/prices.py": "from .tax.rates import RATE\ndef price(net):\n    return net * (100 + RATE) // 100\n",
    "shop/stock.py": "import importlib, shop\ndef name():\n    return shop.NAME\n"
    "def lazily():\n    return importlib.import_module('shop.late').HERE\n",
    "shop/late.py": "import time\ntime.sleep(0.1)\nHERE = 'late'\n",
    "shop/plugins/one.py": "VALUE = 1\n",
    "shop/plugins/two.py": "VALUE = 2\n",
    "shop/tax/__init__.py": "# -*- coding: latin-1 -*-\nSIGN = u'\xa7'\n",
    "shop/tax/rates.py": "from .. import tax\nfrom .. import __name__ as parent\nRATE = 20\n",
    "shop/tax/rates.txt": "20 %\n",
    "shop/broken.py": "def start():\n    return 1 // 0  # no rest\n",
    "shop/.env": "SECRET=1\n",
    "beside.py": "VALUE = 'beside'\n",
    "unused.py": "VALUE = 'unused'\n",
    "alone.py": "import beside, os\nVALUE = beside.VALUE\nPID = os.getpid()\n",
}


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="latin-1")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory on this end's path, with a package and plain modules."""
    write(tmp_path, PACKAGE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture
def make() -> Iterator[Callable[..., Target]]:
    made: list[Target] = []

    def make_one(python: str | None = None) -> Target:
        made.append(Target(BashShell(), name="here", python=python))
        return made[-1].connect()

    yield make_one
    for target in made:
        target.close()


@pytest.mark.parametrize("python", INTERPRETERS)
def test_package(make: Callable[..., Target], folder: Path, python: str) -> None:
    target = make(python)
    shop = target.python.import_local("shop")
    assert "shop" not in sys.modules
    assert (shop.NAME, shop.price(100), shop.stock.name()) == ("shop", 120, "shop")
    # Not imported by name anywhere, so it is asked for; in threads at once too.
    target.python.exec("import importlib; two = importlib.import_module('shop.plugins.two').VALUE")
    assert target.python.two == 2
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(shop.stock.lazily())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert results == ["late"] * 8
    target.python.exec("import pkgutil; rates = pkgutil.get_data('shop.tax', 'rates.txt')")
    assert target.python.eval("bytearray(rates)") == b"20 %\n"
    target.python.exec("import shop.plugins as p; found = [name for _, name, _ in pkgutil.iter_modules(p.__path__)]")
    assert target.python.eval("found") == ["one", "two"]
    assert target.python.eval("__import__('shop.tax').tax.SIGN == u'\\xa7'") is True
    with pytest.raises(ZeroDivisionError) as caught:
        target.python.import_local("shop.broken").start()
    trace = caught.value.remote_traceback  # type: ignore[attr-defined]
    assert f'File "{folder}/shop/broken.py", line 2, in start\n    return 1 // 0  # no rest\n' in trace
    with pytest.raises(ImportError, match="no_such_part"):
        target.python.eval("__import__('shop.no_such_part')")
    with pytest.raises((OSError, IOError), match="the controller sends no"):
        target.python.eval("__import__('pkgutil').get_data('shop', '.env')")


@pytest.mark.parametrize("python", INTERPRETERS)
def test_syntax_that_is_too_new(make: Callable[..., Target], folder: Path, python: str) -> None:
    (folder / "new.py").write_text("import os\n\ndef f(a):\n    match a:\n        case 1: return 2\n", encoding="ascii")
    target = make(python)
    if target.terminal.link.facts.python >= (3, 10, 0):
        assert target.python.import_local("new").f(1) == 2
        return
    with pytest.raises(SyntaxError) as caught:
        target.python.import_local("new")
    here, there = (".".join(map(str, version[:2])) for version in (sys.version_info, target.terminal.link.facts.python))
    for part in (f"line 4 of {folder}/new.py", f"the target's Python {there}", f"the controller has {here}"):
        assert part in str(caught.value)


def test_resources(make: Callable[..., Target], folder: Path) -> None:
    target = make()
    target.python.import_local("shop")
    target.python.exec("import importlib.resources as r, shop.tax as tax")
    assert target.python.eval("(r.files(tax) / 'rates.txt').read_text()") == "20 %\n"


def test_plain_module_with_what_it_imports(make: Callable[..., Target], folder: Path) -> None:
    target = make()
    target.python.import_local(folder / "alone.py")
    assert target.python.alone.VALUE == "beside"
    assert target.terminal.link.facts.pid == target.python.alone.PID
    with pytest.raises(ImportError, match="unused"):
        target.python.exec("import unused")
    target.python.import_local("alone", allow=["unused"])
    target.python.exec("import unused")
    assert target.python.unused.VALUE == "unused"


def test_round_trips_and_what_changed(make: Callable[..., Target], folder: Path) -> None:
    write(folder, {f"big/m{number}.py": f"from . import m{number + 1}\nVALUE = {number}\n" for number in range(49)})
    write(folder, {"big/__init__.py": "from . import m0\n", "big/m49.py": "VALUE = 49\n"})
    target = make()
    link = target.terminal.link
    target.python.import_local("alone")
    before = link.statistics.requests
    big = target.python.import_local("big")
    assert link.statistics.requests == before + 1
    assert big.m0.m1.VALUE == 1
    target.python.exec("import big.m49; big.m49.VALUE = 'kept'")
    assert target.python.import_local("big").m0.m1.VALUE == 1
    assert target.python.eval("big.m49.VALUE") == "kept"
    (folder / "big/m49.py").write_text("VALUE = 'edited'\n", encoding="ascii")
    target.python.import_local("big")
    target.python.exec("import big.m49")
    assert target.python.eval("big.m49.VALUE") == "edited"
    assert target.python.eval("big.m0.m1.VALUE") == 1


@pytest.mark.parametrize("python", [INTERPRETERS[0], INTERPRETERS[-1]])
def test_a_forked_process_has_what_was_imported_and_asks_for_nothing(
    make: Callable[..., Target], folder: Path, python: str
) -> None:
    target = make(python)
    target.python.import_local("shop")
    target.python.exec(
        "import os\n"
        "read, write = os.pipe()\n"
        "if not os.fork():\n"
        "    try:\n"
        "        import shop.prices, shop.plugins.one\n"
        "    except BaseException as error:\n"
        "        os.write(write, ('%s: %s' % (shop.prices.price(100), error)).encode('ascii'))\n"
        "    os._exit(0)\n"
        "os.close(write)\n"
        "os.wait()\n"
        "said = os.read(read, 4096).decode('ascii')\n"
        "os.close(read)\n"
    )
    assert target.python.said == "120: shop.plugins.one has not been sent yet, and a forked process cannot ask for it"
    assert target.python.eval("__import__('shop.plugins.one').plugins.one.VALUE") == 1


def test_links_in_the_file_system(make: Callable[..., Target], folder: Path) -> None:
    (folder / "linked").symlink_to(folder / "shop" / "plugins")
    (folder / "outer").mkdir()
    (folder / "outer" / "shop").symlink_to(folder / "shop")
    for name in ("round", "about"):
        (folder / "outer" / name).symlink_to(folder / "outer")
    (folder / "outer" / "fine.py").write_text("VALUE = 1\n", encoding="ascii")
    target = make()
    assert target.python.import_local("linked.one").VALUE == 1
    target.python.import_local("outer")
    target.python.exec("import outer.fine")
    with pytest.raises(ImportError, match="shop"):
        target.python.exec("import outer.shop")


def test_a_function_that_needs_a_module_from_elsewhere(
    make: Callable[..., Target], folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write(elsewhere, {"worker.py": "import beside\nimport alone as other\ndef work():\n    return beside.VALUE\n"})
    monkeypatch.syspath_prepend(str(elsewhere))
    worker = importlib.import_module("worker")
    try:
        target = make()
        with pytest.raises(UsageError, match=r"allow it: target.python.allow\('beside'\)"):
            target.python.call(worker.work)
        target.python.allow("beside")
        assert target.python.call(worker.work) == "beside"
    finally:
        for name in ("worker", "beside", "alone"):
            sys.modules.pop(name, None)


def test_new_session(make: Callable[..., Target], folder: Path) -> None:
    target = make()
    assert target.python.import_local("shop").NAME == "shop"
    target.terminal.close_session()
    assert target.python.import_local("shop").NAME == "shop"


def test_what_is_not_sent(make: Callable[..., Target], folder: Path) -> None:
    target = make()
    for name, reason in {
        "json": "standard library",
        "no_such_module_at_all": "no module",
        "shop.nothing": "no source",
        str(folder / "gone.py"): "No such file",
    }.items():
        with pytest.raises(UsageError, match=reason):
            target.python.import_local(name)
    (folder / "shop" / "outside.py").symlink_to("/etc/passwd")
    (folder / "shop" / "passwd.txt").symlink_to("/etc/passwd")
    target.python.import_local("shop")
    with pytest.raises(ImportError):
        target.python.exec("import shop.outside")
    with pytest.raises(OSError, match="sends no"):
        target.python.eval("__import__('pkgutil').get_data('shop', 'passwd.txt')")


def test_a_part_of_a_package_only(make: Callable[..., Target], folder: Path) -> None:
    write(folder, {"user.py": "import shop.plugins.one\nVALUE = shop.plugins.one.VALUE\n", "shop/__init__.py": ""})
    (folder / "shop" / "notes.txt").write_text("private", encoding="ascii")
    away = folder / "away"
    away.mkdir()
    (folder / "user.py").rename(away / "user.py")
    target = make()
    assert target.python.import_local(away / "user.py", allow=["shop.plugins.one"]).VALUE == 1
    for name in ("shop.plugins.two", "shop.late"):
        with pytest.raises(ImportError):
            target.python.exec(f"import {name}")
    with pytest.raises(OSError, match="sends no"):
        target.python.eval("__import__('pkgutil').get_data('shop', 'notes.txt')")


def test_modules_of_one_name(make: Callable[..., Target], folder: Path) -> None:
    write(folder, {"other/beside.py": "VALUE = 'another'\n"})
    target = make()
    target.python.import_local("alone")
    assert target.python.import_local(folder / "other" / "beside.py").VALUE == "another"


def test_installed_packages_only_by_name(make: Callable[..., Target], folder: Path) -> None:
    site = folder / "site-packages"
    write(site, {"gadget/__init__.py": "KIND = 'gadget'\n"})
    write(folder, {"user.py": "import gadget\nKIND = gadget.KIND\n"})
    sys.path.insert(0, str(site))
    try:
        target = make()
        with pytest.raises(ImportError, match="gadget") as caught:
            target.python.import_local("user")
        assert any("not allowed: gadget" in note for note in caught.value.__notes__)
        assert target.python.import_local("user", allow=["gadget"]).KIND == "gadget"
    finally:
        sys.path.remove(str(site))


class Colour(enum.Enum):
    RED = 1


@dataclass
class Disk:
    path: str
    free: int


def test_classes_of_sent_modules_cross_by_value(make: Callable[..., Target], folder: Path) -> None:
    source = "import enum\nfrom dataclasses import dataclass\n@dataclass\nclass Disk:\n    path: str\n    free: int\n"
    source += "class Colour(enum.Enum):\n    RED = 1\ndef made():\n    return [Disk('/', 5), Colour.RED]\n"
    write(folder, {"kinds.py": source + "def free(disk):\n    return type(disk) is Disk and disk.free\n"})
    types, names = dict(records.TYPES), dict(records.NAMES)
    try:
        register_type(Disk, "kinds.Disk")
        register_type(Colour, "kinds.Colour")
        target = make()
        kinds = target.python.import_local("kinds")
        assert target.python.call(kinds.made) == [Disk("/", 5), Colour.RED]
        assert target.python.call(kinds.free, Disk("/", 7)) == 7
    finally:
        records.TYPES.clear()
        records.TYPES.update(types)
        records.NAMES.clear()
        records.NAMES.update(names)


HOSTILE = f"""
import sys, time
program = sys.modules['_crl'].program
from _crl.wire import messages
got = {{}}
def take(number, body):
    got[number] = bytes(body)
program.handlers[{messages.SOURCE}] = take
def ask(number, name):
    program.send(messages.pack({messages.WANT}, number, name))
"""
LIES = (
    b"os",
    b"../../etc/passwd",
    b"shop/../../../etc/passwd",
    b"/etc/passwd",
    b"__main__",
    b"shop/.env",
    b"unused",
    b"crl.targets",
    b"",
    b"\xff\0",
    b"x" * 1_000_000,
)
_opened: list[str] = []
_listening = threading.Event()


def _hear(event: str, args: tuple[Any, ...]) -> None:
    if _listening.is_set() and event in ("open", "import", "exec", "compile", "os.listdir", "os.scandir"):
        _opened.append(f"{event} {args[0]}")


@pytest.fixture
def audit() -> Iterator[list[str]]:
    """What this end opens, imports and runs meanwhile; a hook cannot be taken off again, but it can be deaf."""
    if not hasattr(_hear, "added"):
        sys.addaudithook(_hear)
        _hear.added = True  # type: ignore[attr-defined]
    _opened.clear()
    yield _opened
    _listening.clear()


def test_a_target_that_asks_for_more(make: Callable[..., Target], folder: Path, audit: list[str]) -> None:
    target = make()
    link = target.terminal.link
    target.python.import_local("shop")
    target.python.exec(HOSTILE)
    got, ask = target.python.proxy("got"), target.python.proxy("ask")
    # What the link needs for itself has been read by then.
    assert eventually(lambda: link.why_not_resumable != "it has only just been started")
    ask(99, b"os")
    assert eventually(lambda: len(got) == 1)
    _listening.set()
    for number, name in enumerate(LIES):
        ask(number, name)
    ask(100, b"shop.late")
    ask(101, b"shop.late")
    assert eventually(lambda: len(got) == len(LIES) + 3)
    _listening.clear()
    assert audit == []
    refusal = got[0]
    assert {number: got[number] == refusal for number in (*range(len(LIES)), 101)} == dict.fromkeys(
        (*range(len(LIES)), 101), True
    )
    assert b"late" in got[100]
    assert target.python.os.getpid() == link.facts.pid
    with pytest.raises((RunnerTerminalSessionBroken, OSError)) as caught:
        target.python.exec("for number in range(5000):\n    ask(number + 1000, b'os')\ntime.sleep(20)")
    assert "asks for more code than was offered" in str(caught.value)


def test_a_target_that_asks_before_anything_was_sent(make: Callable[..., Target]) -> None:
    target = make()
    target.python.exec(HOSTILE)
    started = time.monotonic()
    with pytest.raises((RunnerTerminalSessionBroken, OSError)):
        target.python.exec("ask(1, b'os')\ntime.sleep(20)")
    assert time.monotonic() - started < 19, "what the target does takes 20 s"
