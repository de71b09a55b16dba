"""What ssh said of its configuration serves again only while nothing that it read has changed."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from crl.channels.ssh import SshLoginError, SshSettings, _answers, resolve
from crl.channels.ssh._answers import MOST_KEPT, Answer, Answers

from .conftest import in_child

PATIENCE = 20.0
OLD = 1_000_000_000
AT_ONCE = 8


class Asked:
    """A question that counts how often it is asked."""

    def __init__(self, *files: Path | str) -> None:
        self.times = 0
        self.files = None if not files else [str(path) for path in files]

    def __call__(self) -> Answer[int]:
        self.times += 1
        return Answer(self.times, self.files)


def written(path: Path, text: str = "") -> Path:
    """A file that was not changed for long."""
    path.write_text(text)
    age(path)
    return path


def age(path: Path) -> None:
    os.utime(path, (OLD, OLD))


@pytest.fixture
def old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose files count as old: the time of a change itself cannot be set."""
    monkeypatch.setattr(_answers, "_STEP", -(10**12))
    return tmp_path


def test_an_answer_serves_as_long_as_its_files_stay(old_folder: Path) -> None:
    answers: Answers[int] = Answers()
    file = written(old_folder / "config")
    ask = Asked(file)
    assert [answers.get("a", ask, PATIENCE) for _ in range(3)] == [1, 1, 1]
    file.write_text("more")
    assert [answers.get("a", ask, PATIENCE) for _ in range(2)] == [2, 2]
    file.unlink()
    assert [answers.get("a", ask, PATIENCE) for _ in range(2)] == [3, 3]
    (old_folder / "beside").touch()
    assert answers.get("a", ask, PATIENCE) == 4
    assert answers.get("another", ask, PATIENCE) == 5


def test_an_answer_does_not_serve_for_ever(old_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_answers, "KEPT_SECONDS", 0.0)
    answers: Answers[int] = Answers()
    ask = Asked(written(old_folder / "config"))
    assert [answers.get("a", ask, PATIENCE) for _ in range(2)] == [1, 2]


@pytest.mark.parametrize("files", [(), ("relative/config",)])
def test_what_depends_on_more_than_files_is_asked_each_time(files: tuple[str, ...]) -> None:
    answers: Answers[int] = Answers()
    ask = Asked(*files)
    assert [answers.get("a", ask, PATIENCE) for _ in range(2)] == [1, 2]


def test_what_has_changed_just_now_may_change_again(tmp_path: Path) -> None:
    answers: Answers[int] = Answers()
    path = tmp_path / "config"

    def ask() -> Answer[int]:
        path.write_text("as it is written")
        return Answer(1, [str(path)])

    answers.get("a", ask, PATIENCE)
    assert answers.get("a", lambda: Answer(2), PATIENCE) == 2


def test_many_who_ask_at_once_get_one_answer(old_folder: Path) -> None:
    answers: Answers[int] = Answers()
    ask = Asked(written(old_folder / "config"))
    go_on, asking = threading.Event(), threading.Event()

    def slow() -> Answer[int]:
        asking.set()
        assert go_on.wait(PATIENCE)
        return ask()

    def let_it_answer() -> None:
        assert asking.wait(PATIENCE)
        go_on.set()

    assert in_threads(lambda: answers.get("a", slow, PATIENCE), let_it_answer) == [1] * AT_ONCE


def test_who_waits_for_one_that_fails_asks_for_himself(tmp_path: Path) -> None:
    answers: Answers[int] = Answers()
    failures: list[int] = []

    def fail() -> Answer[int]:
        failures.append(1)
        raise KeyError("no")

    def one() -> int:
        with pytest.raises(KeyError):
            answers.get("a", fail, PATIENCE)
        return 0

    in_threads(one, lambda: None)
    assert len(failures) == AT_ONCE
    assert answers.get("a", Asked(), PATIENCE) == 1


def test_one_who_never_answers_holds_up_nobody_for_long() -> None:
    answers: Answers[int] = Answers()
    go_on, asking = threading.Event(), threading.Event()

    def never() -> Answer[int]:
        asking.set()
        assert go_on.wait(PATIENCE)
        return Answer(1)

    thread = threading.Thread(target=lambda: answers.get("a", never, PATIENCE))
    thread.start()
    assert asking.wait(PATIENCE)
    assert answers.get("a", lambda: Answer(2), 0.05) == 2
    assert answers.get("a", lambda: Answer(3), PATIENCE) == 3
    go_on.set()
    thread.join(PATIENCE)


def test_answers_do_not_heap_up(old_folder: Path) -> None:
    answers: Answers[int] = Answers()
    ask = Asked(written(old_folder / "config"))
    for number in range(3 * MOST_KEPT):
        answers.get(number, ask, PATIENCE)
    assert len(answers._questions) <= MOST_KEPT


def test_a_forked_child_asks_for_itself(old_folder: Path) -> None:
    answers: Answers[int] = Answers()
    answers.get("a", Asked(written(old_folder / "config")), PATIENCE)
    assert in_child(lambda: answers.get("a", lambda: Answer(7), PATIENCE)) == 7


def in_threads(work: Callable[[], int], meanwhile: Callable[[], object]) -> list[int]:
    got: list[int] = []
    threads = [threading.Thread(target=lambda: got.append(work())) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    meanwhile()
    for thread in threads:
        thread.join(PATIENCE)
    return got


# -- ssh -G itself


@pytest.fixture
def asked(old_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often ssh was asked: one of ours, which counts, stands before it."""
    ssh = shutil.which("ssh")
    folder, log = old_folder / "bin", old_folder / "log" / "asked"
    folder.mkdir()
    log.parent.mkdir()
    log.touch()
    script = folder / "ssh"
    script.write_text(f'#!/bin/sh\necho x >> {log}\nexec {ssh} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return lambda: len(log.read_text().splitlines())


def config_of(folder: Path, text: str) -> Path:
    """A configuration in a folder of its own."""
    own = folder / "conf"
    own.mkdir(exist_ok=True)
    (own / "config").write_text(text)
    return own / "config"


def test_ssh_is_asked_once_for_many_logins(old_folder: Path, asked: Callable[[], int]) -> None:
    config = config_of(old_folder, "Host a\n HostName 10.0.0.1\nHost b\n ProxyJump a\n HostName 10.0.0.2\n")
    assert {resolve(SshSettings("a", config=config)).hostname for _ in range(5)} == {"10.0.0.1"}
    assert asked() == 1
    assert {resolve(SshSettings("b", config=config)).jumps[0].hostname for _ in range(5)} == {"10.0.0.1"}
    assert asked() == 3
    resolve(SshSettings("a", config=config, user="me"))
    assert asked() == 4


def test_a_changed_configuration_holds_at_once(old_folder: Path, asked: Callable[[], int]) -> None:
    part = config_of(old_folder, "Host a\n HostName 10.0.0.1\n")
    whole = old_folder / "whole"
    whole.write_text(f"Include {part}\n")
    assert resolve(SshSettings("a", config=whole)).hostname == "10.0.0.1"
    # The clock of files goes in steps of some milliseconds, and might not tell.
    age(config_of(old_folder, "Host a\n HostName 10.0.0.2\n"))
    assert resolve(SshSettings("a", config=whole)).hostname == "10.0.0.2"
    assert asked() == 2


def test_another_environment_is_another_question(
    old_folder: Path, asked: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(old_folder, "Host a\n ControlPath ${WHERE}/socket\n")
    for where in ("/one", "/two", "/two"):
        monkeypatch.setenv("WHERE", where)
        resolve(SshSettings("a", config=config))
    assert asked() == 2


@pytest.mark.parametrize("text", ['Match exec "true"\n Port 1\n', "CanonicalizeHostname yes\n"])
def test_where_more_than_files_decides_ssh_is_asked_each_time(
    old_folder: Path, asked: Callable[[], int], text: str
) -> None:
    config = config_of(old_folder, text)
    for _ in range(2):
        resolve(SshSettings("127.0.0.1", config=config))
    assert asked() == 2


def test_a_refusal_says_what_ssh_says_and_no_more(old_folder: Path) -> None:
    config = config_of(old_folder, "Host a\n NoSuchThing 1\n")
    with pytest.raises(SshLoginError) as raised:
        resolve(SshSettings("a", config=config))
    assert "nosuchthing" in str(raised.value)
    assert "debug1" not in str(raised.value)
    assert "debug1" not in (raised.value.transcript or "")
