"""Copies by RemoteRunner's keywords, to places and with modes as the published package has them; sent modules."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crl.errors import UsageError
from crl.interactivesessions._filecopier import RemoteFileOperationTimeout, RemoteFileReadingFailed, _Copying
from crl.interactivesessions.remoterunner import RemoteRunner, RunResult
from tests.remoterunner.conftest import LOCAL

DONE = RunResult("0", "", "")
NAME = "crl_sent_by_a_test"


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "source"
    file.write_bytes(bytes(range(256)) * 1000)
    return file


def test_file_to_target(runner: RemoteRunner, source: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    assert runner.copy_file_to_target(str(source), f"{there}/new/") == DONE
    assert (there / "new/source").read_bytes() == source.read_bytes()
    assert mode_of(there / "new/source") == 0o755
    runner.copy_file_to_target(str(source), str(there / "new"), mode="600")
    assert mode_of(there / "new/source") == 0o600
    runner.copy_file_to_target(str(source), str(there / "name"), mode="0o640")
    assert mode_of(there / "name") == 0o640


def test_file_from_target(
    runner: RemoteRunner, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for destination, path in ((None, "source"), (str(here), "source"), ("name", "name"), ("new/", "new/source")):
        assert runner.copy_file_from_target(str(source), destination) == DONE
        assert (here / path).read_bytes() == source.read_bytes()
    with pytest.raises(RemoteFileReadingFailed) as caught:
        runner.copy_file_from_target(str(tmp_path / "nothing"))
    assert isinstance(caught.value, FileNotFoundError)


def test_directory_to_target(runner: RemoteRunner, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "inside/empty").mkdir(parents=True)
    (tree / "file").write_text("1")
    (tree / "inside/file").write_text("2")
    there = tmp_path / "there"
    there.mkdir()
    (there / "kept").write_text("3")
    assert runner.copy_directory_to_target(str(tree), f"{there}/", mode="0o700") == DONE
    found = {str(path.relative_to(there)): mode_of(path) for path in there.rglob("*")}
    assert found.pop("kept") != 0o700
    assert found == dict.fromkeys(("file", "inside", "inside/file", "inside/empty"), 0o700)
    assert mode_of(there) == 0o700
    with pytest.raises(UsageError, match="is no folder"):
        runner.copy_directory_to_target(str(tree / "file"), str(there))


def tree_of(path: Path) -> dict[str, bytes | None]:
    return {str(one.relative_to(path)): one.read_bytes() if one.is_file() else None for one in path.rglob("*")}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with a file that is executable, an empty folder, a name that is no UTF-8, and a link."""
    tree = tmp_path / "tree"
    (tree / "inside/empty").mkdir(parents=True)
    (tree / "file").write_bytes(b"1" * 100_000)
    (tree / "inside/program").write_text("#!/bin/sh\n")
    (tree / "inside/program").chmod(0o755)
    (tree / os.fsdecode(b"odd \xff")).write_text("3")
    (tree / "link").symlink_to("file")
    return tree


def test_directory_from_target(runner: RemoteRunner, tree: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "kept").write_text("4")
    for _ in range(2):
        assert runner.copy_directory_from_target(f"{tree}/", str(here)) == DONE
        found = tree_of(here)
        assert found.pop("kept") == b"4"
        assert found == tree_of(tree)
        assert not (here / "link").is_symlink()
    for wrong, error in (("file", RemoteFileReadingFailed), ("nothing", FileNotFoundError)):
        with pytest.raises(error):
            runner.copy_directory_from_target(str(tree / wrong), str(tmp_path / "never"))
        assert not (tmp_path / "never").exists()


def test_directory_between_targets(
    runner: RemoteRunner, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.set_target([LOCAL], "second")
    there, elsewhere = tmp_path / "there", tmp_path / "elsewhere"
    there.mkdir()
    elsewhere.mkdir(mode=0o755)
    (there / "kept").write_text("4")
    (there / "outward").symlink_to(elsewhere)
    assert runner.copy_directory_between_targets("default", str(tree), "second", str(there), mode="0o750") == DONE
    found = tree_of(there)
    assert (found.pop("kept"), found.pop("outward")) == (b"4", None)
    assert found == tree_of(tree)
    assert {mode_of(there / name) for name in found} == {mode_of(there)} == {0o750}
    with pytest.raises(RemoteFileReadingFailed, match="is no folder"):
        runner.copy_directory_between_targets("default", str(tree / "file"), "second", str(there))
    # A target that lies about the names in its folder changes nothing outside the copy.
    lies = [str(elsewhere), "../elsewhere", "outward", "outward/../kept", "file"]
    monkeypatch.setattr(_Copying, "members", lambda _self, _root: lies)
    runner.copy_directory_between_targets("default", str(tree), "second", str(there), mode="0o700")
    assert (mode_of(elsewhere), mode_of(there / "file")) == (0o755, 0o700)
    assert mode_of(there / "kept") != 0o700


def test_directories_end_by_their_timeout(runner: RemoteRunner, tmp_path: Path) -> None:
    runner.set_target([LOCAL], "second")
    (tmp_path / "tree").mkdir()
    with open(tmp_path / "tree/big", "wb") as file:
        file.truncate(3_000_000_000)
    runner.open_targets()
    with pytest.raises(RemoteFileOperationTimeout):
        runner.copy_directory_from_target(str(tmp_path / "tree"), str(tmp_path / "one"), timeout=0.3)
    with pytest.raises(RemoteFileOperationTimeout):
        runner.copy_directory_between_targets(
            "default", str(tmp_path / "tree"), "second", str(tmp_path / "two"), timeout=0.3
        )
    assert not (tmp_path / "one/big").exists()
    assert not (tmp_path / "two/big").exists()
    assert runner.execute_command_in_target("echo on", "second").stdout == "on"


def test_create_directory(runner: RemoteRunner, tmp_path: Path) -> None:
    for _ in range(2):
        assert runner.create_directory_in_target(str(tmp_path / "a/b"), mode="0o710") == DONE
        assert mode_of(tmp_path / "a/b") == 0o710


@pytest.mark.parametrize("mode", ["rwx", "0o88", "", "17777"])
def test_modes_that_are_none(runner: RemoteRunner, source: Path, mode: str) -> None:
    with pytest.raises(UsageError, match="no mode"):
        runner.copy_file_to_target(str(source), "/nowhere/", mode=mode)


def test_copies_end_by_their_timeout(runner: RemoteRunner, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    runner.execute_command_in_target("true")
    big = tmp_path / "big"
    with open(big, "wb") as file:
        file.truncate(3_000_000_000)
    with pytest.raises(RemoteFileOperationTimeout):
        runner.copy_file_to_target(str(big), str(tmp_path / "never"), timeout=0.3)
    assert not (tmp_path / "never").exists()
    assert runner.execute_command_in_target("echo on").stdout == "on"


@pytest.mark.lab
def test_between_hosts(hosts: RemoteRunner, source: Path, tmp_path: Path) -> None:
    hosts.copy_file_to_target(str(source), "/tmp/crl-between", target="root", mode="0o644")
    hosts.copy_file_between_targets("root", "/tmp/crl-between", "beta", "crl-folder/", mode="0o600")
    listed = hosts.execute_command_in_target("stat -c %a crl-folder/crl-between; rm /tmp/x 2>/dev/null; true", "beta")
    assert listed.stdout == "600"
    hosts.copy_file_from_target("crl-folder/crl-between", str(tmp_path / "back"), target="beta")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    hosts.execute_command_in_target("mkdir -p crl-tree/inside; echo 1 >crl-tree/inside/one", "beta")
    hosts.copy_directory_between_targets("beta", "crl-tree", "root", "/tmp/crl-tree", mode="0o700")
    hosts.copy_directory_from_target("/tmp/crl-tree", str(tmp_path / "tree"), target="root")
    assert (tmp_path / "tree/inside/one").read_text() == "1\n"
    assert hosts.execute_command_in_target("stat -c %a /tmp/crl-tree/inside", "root").stdout == "700"
    assert hosts.execute_command_in_target("rm -r /tmp/crl-between /tmp/crl-tree; id -u", "root").stdout == "0"
    assert hosts.execute_command_in_target("rm -r crl-tree", "beta").status == "0"
    assert hosts.execute_command_in_target("rm -r crl-folder", "beta").status == "0"


@pytest.mark.lab
def test_hosts_beside_each_other(hosts: RemoteRunner) -> None:
    hosts.open_targets("alpha", "beta", "password", "root")
    who = {name: hosts.execute_command_in_target("id -un; hostname", name).stdout for name in ("alpha", "beta", "root")}
    assert who["root"].splitlines()[0] == "root"
    assert len(set(who.values())) == 3


# Python


@pytest.fixture
def module(tmp_path: Path) -> Iterator[Path]:
    file = tmp_path / f"{NAME}.py"
    file.write_text("import os\n\n\nclass Counter:\n    def __init__(self, start):\n        self.value = start\n\n"
                    "    def add(self, more):\n        self.value += more\n        return self.value\n\n"
                    "    def pid(self):\n        return os.getpid()\n")
    yield file
    sys.modules.pop(NAME, None)


def test_modules_and_proxies_in_terminals(runner: RemoteRunner, module: Path) -> None:
    terminal = runner.get_terminal()
    runner.import_local_path_module_in_terminal(terminal, str(module))
    proxy = runner.get_proxy_from_call_in_terminal(terminal, f"{NAME}.Counter", start=3)
    assert proxy.add(4) == 7
    assert proxy.pid() == terminal.runnerterminal.link.facts.pid != os.getpid()
    assert sys.modules[NAME].Counter(1).add(1) == 2
    os_there = runner.get_proxy_object_in_terminal(terminal, f"{NAME}.os")
    assert os_there.getpid() == proxy.pid()
    terminal.remoteimporter.importmodule(sys.modules["textwrap"])
    assert terminal.runnerterminal.run_python("textwrap.dedent('  x')") == "x"
    terminal.give_back()


def test_modules_that_fail_are_not_there(runner: RemoteRunner, tmp_path: Path) -> None:
    bad = tmp_path / f"{NAME}.py"
    bad.write_text("1 / 0\n")
    with runner.get_terminal() as terminal:
        with pytest.raises(ZeroDivisionError):
            runner.import_local_path_module_in_terminal(terminal, str(bad))
        assert NAME not in sys.modules
        with pytest.raises(UsageError, match="no file of Python"):
            runner.import_local_path_module_in_terminal(terminal, str(tmp_path / "nothing.py"))
        with pytest.raises(UsageError, match="cannot be sent"):
            terminal.remoteimporter.importmodule(sys)
