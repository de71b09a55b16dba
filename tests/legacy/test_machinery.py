"""What was machinery under the published package, used by its names: daemons, kept results, garbage, sent modules."""

from __future__ import annotations

import ast
import base64
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crl.errors import UsageError
from crl.interactivesessions import ShellSubprocess as kept  # noqa: N813 - not the class of that name
from crl.interactivesessions import daemonizer
from crl.interactivesessions.autorunnerterminal import AutoRunnerTerminal
from crl.interactivesessions.garbagemanager import GarbageManager
from crl.interactivesessions.remoteimporter import RemoteImporter
from crl.interactivesessions.shells.bashshell import BashShell
from crl.interactivesessions.shells.modules import ChildModule, MainModule
from crl.interactivesessions.shells.remotemodules import compatibility, exceptions, msgmanager, msgs, pythoncmdline
from crl.interactivesessions.shells.termserialization import serialize, serialize_from_file
from tests.link.peers import eventually
from tests.terminals.conftest import nothing_left
from tests.terminals.test_interpreters import interpreters

__all__ = ["nothing_left"]


@pytest.fixture(params=interpreters())
def terminal(request: pytest.FixtureRequest, nothing_left: None) -> Iterator[AutoRunnerTerminal]:
    made = AutoRunnerTerminal()
    made.python = request.param
    made.initialize_with_shells([BashShell()])
    made.initialize_if_needed()
    yield made
    made.close()


# Daemons


def group_is_gone(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_daemon_of_this_machine(nothing_left: None, tmp_path: Path) -> None:
    out = tmp_path / "out"
    pid = daemonizer.daemon_popen(
        "echo $NAME; echo err >&2; sleep 600 & wait", "/bin/bash", {**os.environ, "NAME": "höflich"}, str(out)
    )
    try:
        assert eventually(lambda: out.exists() and out.read_text() == "höflich\nerr\n")
        assert os.getsid(pid) == pid
    finally:
        os.killpg(pid, signal.SIGTERM)
    assert eventually(lambda: group_is_gone(pid))
    with pytest.raises(FileNotFoundError):
        daemonizer.daemon_popen("true", "/no/such/shell", None)


def test_a_daemon_of_a_target_outlives_its_terminal(terminal: AutoRunnerTerminal) -> None:
    importer = RemoteImporter(terminal, 60)
    importer.importmodule(daemonizer)
    start = terminal.get_proxy_object("daemonizer.daemon_popen", None)
    pid = start("exec sleep 600", executable="/bin/sh", env=None)
    terminal.close()
    try:
        assert not group_is_gone(pid)
    finally:
        os.killpg(pid, signal.SIGKILL)
    assert eventually(lambda: group_is_gone(pid))


# Kept results


def packed(cmd: str) -> bytes:
    return base64.b64encode(pickle.dumps(cmd, protocol=0))


def test_results_are_printed_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kept.BackupNotFound):
        kept.ReadonlyShellSubprocess("one").run().get_result("one")
    capsys.readouterr()
    ran = kept.RunShellSubprocess("one", packed("echo out; echo ö >&2; exit 3"))
    assert ran.run().get_result("one") == (3, b"out\n", "ö\n".encode())
    trigger, line = capsys.readouterr().out.splitlines()
    assert trigger == ran.get_start_trigger()
    printed = pickle.loads(base64.b64decode(line))
    again = kept.ReadonlyShellSubprocess("two").run()
    for result in (printed, again):
        assert (result.run_id, result.get_result("one")[0]) == ("one", 3)
        with pytest.raises(kept.MismatchInRunId):
            result.get_result("two")
    assert "Run one (echo out" in str(again)
    assert os.listdir() == ["pickled_backup"]


def test_a_run_that_takes_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = kept.RunShellSubprocess("late", packed("echo $$ >pid; sleep 600 & sleep 600"), timeout=4).run()
    with pytest.raises(kept.RemoteTimeoutError):
        result.get_result("late")
    pid = int((tmp_path / "pid").read_text())
    assert eventually(lambda: group_is_gone(pid))
    with pytest.raises(kept.RemoteTimeoutError):
        kept.ReadonlyShellSubprocess("any").run().get_remote_result()
    assert "RemoteTimeoutError" in str(result)


def test_an_interrupted_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGINT)
    command = f"echo $$ >pid; kill -INT {os.getpid()}; sleep 600"
    result = kept.RunShellSubprocess("cut", packed(command), timeout=30).run()
    with pytest.raises(kept.InterruptedWithSigint):
        result.get_result("cut")
    assert eventually(lambda: group_is_gone(int((tmp_path / "pid").read_text())))
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_while_a_run_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[int] = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            began.append(self.pid)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    result = kept.RunShellSubprocess("cut", packed("sleep 600"), timeout=30).run()
    with pytest.raises(kept.InterruptedWithSigint):
        result.get_result("cut")
    assert eventually(lambda: group_is_gone(began[0]))


def test_a_result_that_is_not_known_yet_and_one_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    busy = kept.RunShellSubprocess("busy", packed("until [ -e go-on ]; do sleep 0.05; done"), timeout=60)
    thread = threading.Thread(target=busy.run)
    thread.start()
    assert eventually(lambda: Path("pickled_backup").exists())
    with pytest.raises(kept.ResultNotStoredYet):
        kept.ReadonlyShellSubprocess("busy").run().get_result("busy")
    Path("go-on").touch()
    thread.join()
    assert kept.ReadonlyShellSubprocess("busy").run().get_result("busy") == (0, b"", b"")
    Path("pickled_backup").write_text("__import__('os').mkdir('evil')")
    with pytest.raises(ValueError, match="malformed"):
        kept.ReadonlyShellSubprocess("evil").run().get_remote_result()
    assert not Path("evil").exists()


def test_kept_results_on_a_target(terminal: AutoRunnerTerminal, tmp_path: Path) -> None:
    RemoteImporter(terminal, 60).importfile(kept.ShellSubprocess.get_python_file_path())
    terminal.import_libraries("os")
    terminal.run_python_call("os.chdir", str(tmp_path))
    name = kept.ShellSubprocess.get_module_name()
    for cls, args in (("RunShellSubprocess", ("one", packed("echo out"))), ("ReadonlyShellSubprocess", ("two",))):
        run = terminal.get_proxy_object_from_call(f"{name}.{cls}", *args).as_recursive_proxy()
        result = run.run().get_result("one").as_local_value()
        assert [compatibility.to_string(part) for part in result] == [0, "out\n", ""]
    sys.modules.pop(name, None)


# Garbage


class Cleaner:
    def __init__(self) -> None:
        self.cleaned: list[Any] = []
        self.broken = False

    def __call__(self, garbage: list[Any]) -> None:
        if self.broken:
            raise OSError("no way")
        self.cleaned += garbage


def test_garbage_is_collected_until_it_is_worth_it() -> None:
    clean = Cleaner()
    manager = GarbageManager(clean=clean, max_garbage=3)
    for number in range(4):
        manager.clean_if_needed(session_id=1)
        assert (clean.cleaned, len(manager)) == ([], number)
        manager.add(session_id=1, garbage=number)
    manager.clean_if_needed(session_id=2)
    clean.broken = True
    with pytest.raises(OSError, match="no way"):
        manager.clean_if_needed(session_id=1)
    clean.broken = False
    assert len(manager) == 4
    manager.clean_if_needed(session_id=1)
    assert (clean.cleaned, len(manager)) == ([0, 1, 2, 3], 0)
    manager.add(1, "old")
    manager.add(2, "new")
    assert len(manager) == 1


def test_garbage_of_many_threads() -> None:
    clean = Cleaner()
    manager = GarbageManager(clean, 10)

    def litter() -> None:
        for number in range(500):
            manager.add("s", number)
            manager.clean_if_needed("s")

    threads = [threading.Thread(target=litter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(clean.cleaned) + len(manager) == 2000
    assert sorted(clean.cleaned + manager._garbage) == sorted([*range(500)] * 4)


# Modules and values as commands


@pytest.mark.parametrize("python", interpreters())
def test_values_as_expressions(python: str, tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_text("höflich ' \" \\ \n", encoding="utf-8")
    texts = ["plain", "quote ' \" \\", "höflich\n"]
    lines = ["# -*- coding: utf-8 -*-", "import base64, pickle"]
    lines += [f"assert {serialize(text)} == u{text!r}" for text in texts]
    lines += [f"assert {serialize_from_file(file)} == u{file.read_text('utf-8')!r}"]
    lines += [f"assert {serialize([1, (2.5, None), {'a': b'x'}])}[1] == (2.5, None)"]
    subprocess.run([python, "-c", "\n".join(lines)], check=True, env={"PYTHONIOENCODING": "utf-8", "LC_ALL": "C.UTF-8"})


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module with two children that have one child in common."""
    for name, children, source in (
        ("grandchild", (), "seen = []\ndef note(who):\n    seen.append(who)\n    return len(seen)\n"),
        ("first", ("grandchild",), "def call():\n    return grandchild.note('first')\n"),
        ("second", ("grandchild",), "def call():\n    return grandchild.note('second')\n"),
        ("parent", ("first", "second"), "def call():\n    return [first.call(), second.call()]\n"),
    ):
        imports = "".join(
            f"try:\n    import crl_test_{one} as {one}\nexcept ImportError:\n    pass\n" for one in children
        )
        text = f"{imports}CHILD_MODULES = [{', '.join(children)}]\n{source}"
        (tmp_path / f"crl_test_{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    import crl_test_parent  # type: ignore[import-not-found]

    for name in ("first", "second", "grandchild"):
        module = sys.modules[f"crl_test_{name}"]
        monkeypatch.setattr(module, "__name__", name)
    yield crl_test_parent
    for name in ("parent", "first", "second", "grandchild"):
        sys.modules.pop(f"crl_test_{name}", None)


@pytest.mark.parametrize("runner", [pythoncmdline.PythonCmdline().exec_command, "link"], ids=["here", "on a target"])
def test_modules_as_commands(family: Any, runner: Callable[[str], Any] | str, nothing_left: None) -> None:
    main = MainModule(family)
    assert (main.name, main.module_var) == ("crl_test_parent", "__crl_test_parent")
    child = ChildModule(sys.modules["crl_test_first"], main)
    assert child.module_var == "__crl_test_parent.__dict__['first']"
    commands = list(main.cmds_gen())
    assert all("\n" not in command for command in commands)
    if callable(runner):
        for command in commands:
            assert runner(command) is None
        assert runner(f"{main.module_var}.call()") == [1, 2]
        return
    terminal = AutoRunnerTerminal()
    terminal.initialize_with_shells([BashShell()])
    try:
        terminal.initialize_if_needed()
        for command in commands:
            terminal.run_python(command)
        assert terminal.run_python(f"{main.module_var}.call()") == [1, 2]
    finally:
        terminal.close()


def test_a_module_without_a_file() -> None:
    with pytest.raises(UsageError, match="no file of Python"):
        list(MainModule(sys).cmds_gen())


# Messages


def test_messages_as_text() -> None:
    for msg in (
        msgs.ExecCommandRequest.create("höflich"),
        msgs.ExecCommandReply.create(b"\xff"),
        msgs.ServerIdRequest.create(),
        msgs.Ack.create_with_uid_and_args(-1, None),
    ):
        again = msgmanager.MsgManagerBase.deserialize(msgmanager.MsgManagerBase.serialize(msg))
        assert type(again) is type(msg)
        assert (again.uid, again._arg, again.msgid) == (msg.uid, msg._arg, msg.msgid)
    reply = msgs.ExecCommandReply.create_reply(again, "out")
    assert (reply.uid, reply.out) == (-1, "out")
    assert msgs.ExecCommandRequest.create("a").is_response_expected
    assert not msgs.SendCommandRequest.create("a").is_response_expected
    with pytest.raises(exceptions.FatalPythonError, match="gone"):
        msgs.MsgBase.deserialize(msgs.FatalPythonErrorReply.create("gone").serialize())
    with pytest.raises(UsageError, match="cannot have the argument"):
        msgs.Ack.create(object()).serialize()
    for wrong in ("", "1:2", "99:1:", "-1:1:AAAA", "0:x:AAAA", "0:1:!!", msg.serialize()[:-3]):
        with pytest.raises(UsageError, match="no message"):
            msgs.MsgBase.deserialize(wrong)


def test_retry_as_text() -> None:
    retry = msgmanager.Retry(3, 0.5, 4)
    assert msgmanager.Retry.deserialize(retry.serialize()) == retry
    assert list(retry.timeouts()) == [0.5, 0.5, 4]
    with pytest.raises(UsageError, match="no Retry"):
        msgmanager.Retry.deserialize("[1]")


def test_text_and_bytes() -> None:
    assert compatibility.to_string(b"h\xc3\xb6f \xff") == "höf \\xff"
    assert compatibility.to_bytes("hö\udcff") == b"h\xc3\xb6\\udcff"
    assert compatibility.string_conversion_to_bytes(3) == b"3"
    assert compatibility.py23_unic(b"a") == compatibility.unic_to_string("a") == "a"
    assert compatibility.to_string(None) is compatibility.to_bytes(None) is None


@pytest.mark.parametrize("module", [daemonizer, kept, pythoncmdline], ids=lambda module: module.__name__)
def test_what_is_sent_knows_nothing_of_crl(module: Any) -> None:
    for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="ascii"))):
        if isinstance(node, ast.ImportFrom):
            assert node.module in ("collections.abc", "typing")
        elif isinstance(node, ast.Import):
            assert not any(one.name.startswith("crl") for one in node.names)
