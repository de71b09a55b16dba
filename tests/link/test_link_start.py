"""A link starts on any interpreter and kind of terminal, leaves nothing behind, and fails with a reason."""

from __future__ import annotations

import math
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from crl.link import Link, LinkStartError, PythonNotFound, PythonTooOld, startup
from crl.link.program import MAGIC, encoded_program
from tests.link.peers import INTERPRETERS, Shell, alive, eventually

MakeShell = Callable[..., Shell]
WORLD = "[sys.path, sys.prefix, sys.exec_prefix, sys.flags.no_user_site, __name__]"


@pytest.mark.parametrize("python", INTERPRETERS, ids=lambda path: path.split("/")[-3])
@pytest.mark.parametrize("kind", ["pipe", "pty"])
def test_every_interpreter_works_and_gives_the_terminal_back(make_shell: MakeShell, kind: str, python: str) -> None:
    shell = make_shell(kind)
    before = shell.ask("stty -a 2>&1; pwd")
    link = Link.start(shell.lane(), timeout=60, python=python)
    assert link.alive
    assert link.evaluate("1 + 1") == 2
    assert link.evaluate("import sys\ndef add(a, b=1):\n    return a + b") is None
    assert link.invoke("add", 4, b=5) == 9
    assert link.evaluate("u'\\u20ac' + chr(65)") == "\u20acA"
    with pytest.raises(FileNotFoundError) as caught:
        link.evaluate("open('/nope')")
    assert caught.value.filename == "/nope"
    assert "/nope" in caught.value.remote_traceback  # type: ignore[attr-defined]
    assert link.run(["echo", "hi"]).stdout == b"hi\n"
    assert link.run("printf %s \"$A\" >&2; exit 3", env={"A": "\u20ac"}).stderr.decode() == "\u20ac"
    assert tuple(link.facts.python) == tuple(link.evaluate("tuple(sys.version_info[:3])"))
    pid = link.facts.pid
    assert link.close(20)
    assert _is_lost(link)
    assert eventually(lambda: not alive(pid))
    assert shell.ask("stty -a 2>&1; pwd") == before


@pytest.mark.clean_only("armour is for the source")
@pytest.mark.parametrize("near", [math.inf, -1.0], ids=["near", "far"])
@pytest.mark.parametrize("python", INTERPRETERS, ids=lambda path: path.split("/")[-3])
def test_only_a_near_interpreter_of_our_kind_gets_the_program_compiled(
    make_link: Callable[..., Link], python: str, near: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: dict[bytes, bool] = {}
    written: list[bytes] = []
    write = startup._Conversation.write

    def encoded(config: dict[str, object], **how: object) -> bytes:
        program = encoded_program(config, **how)  # type: ignore[arg-type]
        made[program] = bool(how.get("compiled"))
        return program

    def noted(conversation: startup._Conversation, data: bytes) -> None:
        written.append(data)
        write(conversation, data)

    monkeypatch.setattr(startup, "NEAR", near)
    monkeypatch.setattr(startup, "encoded_program", encoded)
    monkeypatch.setattr(startup._Conversation, "write", noted)
    link = make_link(python=python)
    magic = link.evaluate("getattr(__import__('sys').modules.get('_frozen_importlib_external'), 'MAGIC_NUMBER', None)")
    assert made[written[0]] is (near > 0 and magic == bytes.fromhex(MAGIC))
    assert link.invoke("sorted", [3, 1, 2]) == [1, 2, 3]
    with pytest.raises(ZeroDivisionError):
        link.evaluate("1 / 0")


@pytest.mark.clean_only("armour is for the source")
def test_how_long_it_takes_to_pack_says_nothing_of_the_distance(
    make_link: Callable[..., Link], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def encoded(config: dict[str, object], **how: object) -> bytes:
        asked.append(bool(how["compiled"]))
        monkeypatch.setattr(startup, "NEAR", -1.0)
        return encoded_program(config, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(startup, "NEAR", math.inf)
    monkeypatch.setattr(startup, "encoded_program", encoded)
    assert make_link(python=sys.executable).evaluate("6 * 7") == 42
    assert asked == [True]


@pytest.mark.parametrize("python", INTERPRETERS, ids=lambda path: path.split("/")[-3])
def test_user_code_sees_what_plain_python_shows(make_link: Callable[..., Link], python: str) -> None:
    link = make_link(python=python)
    plain = subprocess.run([python, "-c", f"import sys; print({WORLD})"], capture_output=True, text=True, check=True)
    assert link.evaluate(f"(lambda sys: {WORLD})(__import__('sys'))") == link.evaluate(plain.stdout)
    # But for the container of the handles the namespace is empty.
    assert link.evaluate("[name for name in dir() if name[:2] != '__' and name != '_PROXY_CONTAINER']") == []


def test_user_code_in_a_virtual_environment_sees_it(make_link: Callable[..., Link], tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    world = "[sys.path, sys.prefix, sys.base_prefix]"
    plain = subprocess.run([python, "-c", f"import sys; print({world})"], capture_output=True, text=True, check=True)
    link = make_link(python=python)
    assert link.evaluate(f"(lambda sys: {world})(__import__('sys'))") == link.evaluate(plain.stdout)


def test_nothing_of_the_program_stands_in_ps_or_on_the_disk(make_shell: MakeShell, tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "HISTFILE": str(tmp_path / "h")}
    shell = make_shell("pty", ["/bin/bash", "--norc"], env=env, cwd=str(tmp_path))
    link = Link.start(shell.lane(), timeout=60)
    link.run("true")
    # Of this session of the terminal: others may have sources of crl in their command lines.
    ps = ["ps", "-s", str(shell.pid), "-o", "pid,args", "ww"]
    listed = subprocess.run(ps, capture_output=True, text=True, check=True).stdout
    listed += Path(f"/proc/{link.facts.pid}/cmdline").read_text(encoding="ascii")
    assert "a2b_base64" in listed
    assert "class Session" not in listed
    assert "crl.link" not in listed
    assert link.close(20)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["pipe", "pty"])
def test_without_python_the_shell_stays_usable(make_shell: MakeShell, kind: str) -> None:
    shell = make_shell(kind)
    before = shell.ask("stty -a 2>&1")
    with pytest.raises(PythonNotFound, match=r"no-such-python") as caught:
        Link.start(shell.lane(), timeout=60, python="no-such-python")
    assert caught.value.host == "localhost"
    assert caught.value.advice
    assert shell.ask("stty -a 2>&1") == before


def _script(folder: Path, text: str) -> str:
    path = folder / "fake-python"
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="ascii")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


# What stands in the third argument is executed by a real interpreter that takes itself for another version.
OLD = """exec {python} -S -c 'import sys
class V(tuple): pass
code = sys.argv[1].replace("sys.version_info", "({version})").replace("v=sys", "v=sys")
eval(code.replace("import sys,os", "import sys,os"))' "$3" """


@pytest.mark.parametrize("version", ["2,6,9", "3,5,2"])
def test_a_python_that_is_too_old_is_named(make_shell: MakeShell, tmp_path: Path, version: str) -> None:
    shell = make_shell()
    fake = _script(tmp_path, OLD.format(python=sys.executable, version=version))
    with pytest.raises(PythonTooOld, match=version[:3].replace(",", r"\.")):
        Link.start(shell.lane(), timeout=60, python=fake)
    assert shell.ask("echo usable") == "usable"


@pytest.mark.parametrize("body", ["exit 7", "kill -9 $$"], ids=["exits", "is killed"])
def test_an_interpreter_that_dies_is_told_with_its_status(make_shell: MakeShell, tmp_path: Path, body: str) -> None:
    shell = make_shell()
    with pytest.raises(LinkStartError, match="ended with status"):
        Link.start(shell.lane(), timeout=60, python=_script(tmp_path, body))
    assert shell.ask("echo usable") == "usable"


def test_a_program_that_crashes_at_start_shows_its_traceback(
    make_shell: MakeShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crl.link.link.HEARTBEAT", "no number")
    shell = make_shell()
    with pytest.raises(LinkStartError) as caught:
        Link.start(shell.lane(), timeout=60)
    assert "TypeError" in str(caught.value)
    assert shell.ask("echo usable") == "usable"


def test_an_interpreter_that_never_answers_ends_with_the_time(make_shell: MakeShell, tmp_path: Path) -> None:
    shell = make_shell()
    with pytest.raises(LinkStartError, match="in time"):
        Link.start(shell.lane(), timeout=0.5, python=_script(tmp_path, "exec sleep 5"))


def test_noise_before_the_answer_does_no_harm(make_shell: MakeShell) -> None:
    shell = make_shell()
    shell.pending = b"motd\r\n" + os.urandom(5000)
    shell.say("printf 'You have mail.\\r\\n'; sleep 0.1; printf '\\033[0m$ '")
    link = Link.start(shell.lane(), timeout=60)
    assert link.evaluate("6 * 7") == 42
    assert link.close(20)


def _is_lost(link: Link) -> bool:
    return not link.alive


def test_a_program_that_ends_by_force_is_noticed_and_the_shell_comes_back(make_shell: MakeShell) -> None:
    for kind in ("pipe", "pty"):
        shell = make_shell(kind)
        before = shell.ask("stty -a 2>&1")
        link = Link.start(shell.lane(), timeout=60)
        os.kill(link.facts.pid, 9)
        assert eventually(partial(_is_lost, link))
        assert link.close(20)
        assert shell.ask("stty -a 2>&1") == before


def test_two_links_after_each_other_on_one_terminal(make_shell: MakeShell) -> None:
    shell = make_shell("pty")
    for number in range(3):
        link = Link.start(shell.lane(), timeout=60)
        assert link.evaluate(str(number)) == number
        assert link.close(20)
        assert not link.close()
        assert shell.ask(f"echo {number}") == str(number)
