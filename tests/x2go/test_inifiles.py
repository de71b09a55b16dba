"""Configuration files under changes from several sides.

Invariant: whoever reads a file sees a whole one, and nobody's change is lost; no lock and no temporary file is left.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from crl.deadlines import Deadline
from crl.x2go import _filelock, inifiles
from crl.x2go.backends.printing.file import X2GoClientPrinting
from crl.x2go.backends.settings.file import X2GoClientSettings
from crl.x2go.inifiles import X2GoIniFile
from crl.x2go.x2go_exceptions import X2GoClientException, X2GoClientSettingsException, X2GoParameterError

FILES = Path(__file__).parent / "files"
DEFAULTS = {"a": {"yes": True, "number": 7, "text": "x", "list": ["p", "q"]}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / ".x2goclient" / "node"


def only_files(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def test_a_missing_file_is_made_with_the_defaults(path: Path) -> None:
    X2GoIniFile([path], DEFAULTS)
    assert path.read_text() == "[a]\nyes=1\nnumber=7\ntext=x\nlist=p, q\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert only_files(path.parent) == ["node"]


def test_values_have_the_types_of_their_defaults(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("[a]\nyes=false\nlist=\nnumber=\n[b]\nnew=1\n")
    node = X2GoIniFile(path, DEFAULTS)
    assert node.get_value("a", "yes") is False
    assert (node.get("a", "number"), node("a", "text"), node("a", "list")) == (7, "x", [])
    assert (node.get_value("b", "new"), node.get_value("b", "new", int), node.get_value("b", "old")) == ("1", 1, None)
    assert node.get_type("a", "number") is int
    with pytest.raises(KeyError):
        node.get_type("b", "new")


def test_a_value_of_another_type_names_file_and_line(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("[a]\nyes=perhaps\nnumber=0x\n")
    node = X2GoIniFile([path], DEFAULTS)
    with pytest.raises(X2GoClientException, match=r"yes has to be 1, 0, true or false, not 'perhaps'") as caught:
        node.get_value("a", "yes")
    assert str(path) in str(caught.value)
    with pytest.raises(X2GoClientException, match="a whole number"):
        node.get_value("a", "number")


def test_the_users_file_wins_and_alone_is_written(path: Path, tmp_path: Path) -> None:
    of_all = tmp_path / "of_all"
    of_all.write_text("[a]\nnumber=1\ntext=all\n")
    path.parent.mkdir(parents=True)
    path.write_text("[a]\nnumber=2\n")
    node = X2GoIniFile([path, of_all], DEFAULTS)
    assert (node.get_value("a", "number"), node.get_value("a", "text")) == (2, "all")
    node.update_value("a", "text", "mine")
    assert node.write()
    assert of_all.read_text() == "[a]\nnumber=1\ntext=all\n"
    assert path.read_text() == "[a]\nnumber=2\ntext=mine\n"


def test_what_others_write_is_seen_and_kept(path: Path) -> None:
    node, other = X2GoIniFile([path], DEFAULTS), X2GoIniFile([path], DEFAULTS)
    node.update_value("a", "number", 8)
    other.update_value("a", "text", "other")
    assert other.write()
    assert (node.get_value("a", "text"), node.get_value("a", "number")) == ("other", 8)
    assert node.write()
    assert (other.get_value("a", "number"), other.get_value("a", "text")) == (8, "other")


def test_a_change_within_one_tick_of_the_clock_is_seen(path: Path) -> None:
    node = X2GoIniFile([path], DEFAULTS)
    for number in range(1, 9):  # the same length in the same file, and the same time
        facts = path.stat()
        with path.open("r+") as stream:
            stream.write(f"[a]\nyes=1\nnumber={number}")
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        assert node.get_value("a", "number") == number
        path.touch()


def test_a_change_is_seen_also_when_its_time_is_set_back(path: Path) -> None:
    node = X2GoIniFile([path], DEFAULTS)
    os.utime(path, (0, 0))
    assert node.get_value("a", "number") == 7
    for number in range(1, 4):
        with path.open("r+") as stream:
            stream.write(f"[a]\nyes=1\nnumber={number}")
        os.utime(path, (0, 0))
        assert node.get_value("a", "number") == number


def test_load_forgets_what_was_not_written(path: Path) -> None:
    node = X2GoIniFile([path], DEFAULTS)
    node.update_value("a", "number", 8)
    assert "number=8" in node.printable_config_file
    node.load()
    assert node.get_value("a", "number") == 7
    assert node.write()
    assert "number=7" in path.read_text()


def test_the_same_value_changes_no_byte(path: Path) -> None:
    path.parent.mkdir(parents=True)
    for name in ("settings", "printing"):
        path.write_bytes((FILES / name).read_bytes())
        kind = X2GoClientSettings if name == "settings" else X2GoClientPrinting
        before = path.stat().st_mtime_ns
        node: X2GoIniFile = kind([path])
        for section, keys in node.defaults.items():
            for key in keys:
                if f"\n{key}=" in path.read_text():
                    node.update_value(section, key, node.get_value(section, key))
        assert node.write()
        assert path.stat().st_mtime_ns == before or path.read_bytes() == (FILES / name).read_bytes()
        assert path.read_bytes().startswith((FILES / name).read_bytes()[:10])


def test_a_truth_value_keeps_the_spelling_of_its_file(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes((FILES / "settings").read_bytes())
    settings = X2GoClientSettings([path])
    assert settings.get_value("LDAP", "useldap") is True
    assert settings.get_value("LDAP", "basedn") == "dc=beispiel,dc=büro"
    settings.update_value("LDAP", "useldap", value=False)
    settings.update_value("LDAP", "port", 636)
    assert settings.write()
    text = (FILES / "settings").read_text()
    assert path.read_text() == text.replace("useldap=true", "useldap=false").replace("port=389", "port=636")


@pytest.mark.parametrize(
    ("section", "key"), [("a]b", "k"), ("a\nb", "k"), ("a", "k=v"), ("a", "#k"), ("a", "k\nl"), ("a", ""), ("ü", "k")]
)
def test_names_that_a_file_cannot_hold_are_refused(path: Path, section: str, key: str) -> None:
    node = X2GoIniFile([path], DEFAULTS)
    with pytest.raises(X2GoParameterError):
        node.update_value(section, key, 1)
    assert path.read_text() == X2GoIniFile([path], DEFAULTS).printable_config_file


def test_latin_1_and_utf_8_are_read_and_stay(path: Path) -> None:
    path.parent.mkdir(parents=True)
    for encoding in ("utf-8", "latin-1", "utf-8-sig"):
        path.write_bytes("[a]\ntext=Büro\n# é\n".encode(encoding))
        node = X2GoIniFile([path], DEFAULTS)
        assert node.get_value("a", "text") == "Büro"
        node.update_value("a", "number", 1)
        assert node.write()
        assert path.read_bytes() == "[a]\ntext=Büro\nnumber=1\n# é\n".encode(encoding)


def test_mode_and_link_stay(path: Path, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles"
    real.write_text("[a]\nnumber=1\n")
    real.chmod(0o640)
    path.parent.mkdir(parents=True)
    path.symlink_to(real)
    node = X2GoIniFile([path], DEFAULTS)
    node.update_value("a", "number", 2)
    assert node.write()
    assert path.is_symlink()
    assert real.read_text() == "[a]\nnumber=2\n"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert only_files(tmp_path) == ["dotfiles", "home"]


def test_switched_off_writing_says_so(path: Path) -> None:
    node = X2GoIniFile([path], DEFAULTS)
    node.write_user_config = False
    node.update_value("a", "number", 9)
    assert node.write() is False
    assert "number=7" in path.read_text()
    assert X2GoIniFile([], DEFAULTS).write() is False


def test_a_folder_in_the_way_is_an_error_and_reading_works(path: Path) -> None:
    path.parent.parent.mkdir(parents=True)
    path.parent.write_text("not a folder")
    settings = X2GoClientSettings([path])
    assert settings.get_value("General", "clientport") == 22
    settings.update_value("General", "clientport", 2222)
    with pytest.raises(X2GoClientSettingsException, match="cannot be written") as caught:
        settings.write()
    assert caught.value.advice
    assert settings.get_value("General", "clientport") == 2222
    path.parent.unlink()
    assert settings.write()
    assert X2GoClientSettings([path]).get_value("General", "clientport") == 2222


def test_a_failing_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = X2GoIniFile([path], DEFAULTS)
    before = path.read_bytes()
    node.update_value("a", "number", 9)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(X2GoClientException, match="No space left"):
            node.write()
    assert path.read_bytes() == before
    assert only_files(path.parent) == ["node"]
    assert node.write()
    assert "number=9" in path.read_text()


# The lock.


def test_many_threads_lose_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inifiles, "LOCK_PATIENCE", 100.0)  # the machine may be slow
    X2GoIniFile([path], DEFAULTS)

    def work(number: int) -> None:
        node = X2GoIniFile([path], DEFAULTS)
        for step in range(5):
            node.update_value("n", f"k{number}_{step}", step)
            node.write()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    node = X2GoIniFile([path], DEFAULTS)
    assert [node.get_value("n", f"k{n}_{s}", int) for n in range(6) for s in range(5)] == [*range(5)] * 6
    assert only_files(path.parent) == ["node"]


ADD = """
import sys
from crl.x2go import inifiles
from crl.x2go.inifiles import X2GoIniFile
inifiles.LOCK_PATIENCE = 100.0
node = X2GoIniFile([sys.argv[1]])
for step in range(4):
    node.update_value("p", f"k{sys.argv[2]}_{step}", step)
    node.write()
"""


def test_many_processes_lose_nothing(path: Path) -> None:
    X2GoIniFile([path], DEFAULTS)
    running = [subprocess.Popen([sys.executable, "-c", ADD, str(path), str(number)]) for number in range(3)]
    assert [process.wait(110) for process in running] == [0, 0, 0]
    node = X2GoIniFile([path])
    assert [node.get_value("p", f"k{n}_{s}", int) for n in range(3) for s in range(4)] == [*range(4)] * 3
    assert only_files(path.parent) == ["node"]


def test_a_lock_that_is_held_is_waited_for_and_then_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = X2GoIniFile([path], DEFAULTS)
    node.update_value("a", "number", 8)
    lock = path.with_name("node.lock")
    lock.write_text(f"{os.getpid()}\nx2goclient\n{os.uname().nodename}\n")  # as Qt writes it
    monkeypatch.setattr(inifiles, "LOCK_PATIENCE", 0.1)
    with pytest.raises(X2GoClientException, match="another program holds"):
        node.write()
    assert "number=7" in path.read_text()
    monkeypatch.setattr(inifiles, "LOCK_PATIENCE", 30.0)
    later = threading.Timer(0.1, lock.unlink)
    later.start()
    assert node.write()
    assert "number=8" in path.read_text()
    later.join()


@pytest.mark.parametrize("kind", ["owner is gone", "old"])
def test_a_stale_lock_is_no_lock(path: Path, kind: str) -> None:
    node = X2GoIniFile([path], DEFAULTS)
    node.update_value("a", "number", 8)
    lock = path.with_name("node.lock")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait(60)
    owner = gone.pid if kind == "owner is gone" else os.getpid()
    lock.write_text(f"{owner}\nx2goclient\n{os.uname().nodename}\n")
    if kind == "old":
        os.utime(lock, (0, 0))
    assert node.write()
    assert only_files(path.parent) == ["node"]


def test_the_lock_says_who_holds_it_as_qt_does(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with _filelock.locked(path, Deadline.after(1)):
        pid, program, host = path.with_name("node.lock").read_text().splitlines()
        assert (int(pid), host) == (os.getpid(), os.uname().nodename)
        assert program == Path("/proc/self/exe").resolve().name
    assert only_files(path.parent) == []


@pytest.mark.parametrize("text", ["[", "[]]\n=\n", "a\n" * 3, "\0\0=", "[a]\nyes", "==\n:\n", "[a]\ntext=\\x\n"])
def test_garbage_is_read_as_nothing_and_kept(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(text)
    node = X2GoIniFile([path], DEFAULTS)
    assert node.get_value("a", "number") == 7
    node.update_value("a", "number", 1)
    assert node.write()
    assert all(line in path.read_text().split("\n") for line in text.split("\n"))
