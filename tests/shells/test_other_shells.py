"""PythonShell, the registry, stacks from dictionaries, and what is importable where."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import crl.interactivesessions
import crl.interactivesessions.shells
from crl.errors import UsageError
from crl.interactivesessions.interactivesessionexceptions import ShellStartError, ShellStateError
from crl.interactivesessions.shells import pythonshell
from crl.interactivesessions.shells.bashshell import BashShell
from crl.interactivesessions.shells.namespaceshell import NamespaceShell
from crl.interactivesessions.shells.pythonshell import PythonRunNotStarted, PythonShell
from crl.interactivesessions.shells.pythonshellbase import UnexpectedOutputInPython
from crl.interactivesessions.shells.registershell import (
    RegisteredShells,
    RegisterShell,
    ShellAlreadyRegistered,
    UnregisteredShell,
)
from crl.interactivesessions.shells.shell import Shell
from crl.interactivesessions.shells.shell import TimeoutError as ShellTimeout
from crl.interactivesessions.shells.shellstack import DefaultSshShell, ShellStack
from crl.interactivesessions.shells.sshshell import SshShell
from crl.interactivesessions.shells.sudoshell import SudoShell
from crl.secrets import Secret
from tests.link.peers import eventually, freeze

if TYPE_CHECKING:
    from tests.shells.conftest import Open


def interpreters() -> list[str]:
    """The Pythons of this machine, by what `pyenv` and Debian call them."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    return ["python", *sorted(str(path) for path in root.glob("*/bin/python") if path.exists())]


@pytest.mark.parametrize("command", interpreters())
def test_python_shell(
    open_session: Open, tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_session(BashShell("bash --norc"), PythonShell(command))
    shell = session.current_shell()
    assert isinstance(shell, PythonShell)
    assert shell.exec_command("print(6 * 7)") == "42\r\n"
    assert shell.exec_command_rstrip("'text'") == "'text'"
    shell.block_exec("for number in (1, 2):")
    shell.block_exec("  total = number")
    shell.block_end_no_output()
    assert shell.single_command("total") == "2\r\n"
    with pytest.raises(UnexpectedOutputInPython):
        shell.single_command_no_output("print('noise')")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "text.txt").write_text("höflich\n" * 1000, "utf-8")
    shell.transfer_text_file(str(tmp_path / "source" / "text.txt"), str(tmp_path))
    assert (tmp_path / "text.txt").read_bytes() == (tmp_path / "source" / "text.txt").read_bytes()
    with pytest.raises(PythonRunNotStarted):
        shell.exec_single_with_trigger("import time; time.sleep(300)", "never")
    assert "KeyboardInterrupt" in shell.stop_run(30)
    # How quick the machine is says nothing of the trigger.
    monkeypatch.setattr(pythonshell, "_TRIGGER_TIMEOUT", 30.0)
    shell.exec_single_with_trigger("print('go'); time.sleep(0.1); print('end')", "go\r\n")
    session.pop()
    assert session.current_shell().exec_command("echo back") == "back\r\n"


def test_python_as_first_shell(open_session: Open) -> None:
    session = open_session(PythonShell())
    assert session.current_shell().exec_command("print(6 * 7)") == "42\r\n"


def test_a_prompt_that_comes_late_is_no_answer(open_session: Open) -> None:
    session = open_session(PythonShell())
    shell, pid = session.current_shell(), session.terminal.channel.pid
    freeze(pid)
    try:
        with pytest.raises(ShellTimeout):
            shell.exec_command("'lost'", timeout=0.1)
        with pytest.raises(ShellStateError, match="did not end in time"):
            shell.exec_command("'refused'")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert eventually(lambda: is_known(shell))
    assert [shell.exec_command(f"{number} + 1") for number in range(3)] == ["1\r\n", "2\r\n", "3\r\n"]


def is_known(shell: Shell) -> bool:
    """Whether it answers again."""
    with contextlib.suppress(ShellStateError):
        return shell.exec_command("6 * 7") == "42\r\n"
    return False


def test_no_such_python(open_session: Open) -> None:
    session = open_session(BashShell("bash --norc"))
    with pytest.raises(ShellStartError, match="no-such-python"):
        session.push(PythonShell("no-such-python"))
    assert session.current_shell().exec_command("echo back") == "back\r\n"


def test_namespace(open_session: Open) -> None:
    name = f"crl-t{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True, timeout=10)
    try:
        session = open_session(NamespaceShell(name))
        assert session.current_shell().exec_command("ip netns identify $$") == f"{name}\r\n"
        session.close_terminal()
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True, timeout=10)
    session = open_session(BashShell("bash --norc"))
    with pytest.raises(ShellStartError, match="No such file"):
        session.push(NamespaceShell(name))


def test_registry_finds_our_shells_in_a_fresh_process() -> None:
    program = (
        "from crl.interactivesessions.shells.registershell import RegisteredShells as R\n"
        "for name in ('SudoShell', 'SshShell', 'BashShell', 'PythonShell', 'NamespaceShell', 'DefaultSshShell'):\n"
        "    assert R().get_shellcls(name).__name__ == name"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=30, check=False).returncode == 0


def test_registry_of_users_shells() -> None:
    @RegisterShell()
    class CrlTestShell(BashShell):
        pass

    made = RegisteredShells().create_shell("CrlTestShell", cmd="dash")
    assert made.get_start_cmd() == "dash"
    with pytest.raises(UnregisteredShell, match="NoSuchShell"):
        RegisteredShells().get_shellcls("NoSuchShell")
    RegisteredShells().add_shellcls(CrlTestShell)
    with pytest.raises(ShellAlreadyRegistered):
        RegisteredShells().add_shellcls(type("CrlTestShell", (SshShell,), {"__module__": "elsewhere"}))


def test_stack_of_dictionaries() -> None:
    dicts: list[dict[str, Any]] = [
        {"host": "alpha", "user": "x", "password": "canary-55d1"},
        {"shellname": "SudoShell", "password": Secret("canary-55d2")},
        {"shellname": "NamespaceShell", "namespace": "inner"},
    ]
    before = [dict(entry) for entry in dicts]
    stack = ShellStack()
    stack.initialize(dicts)
    ssh, sudo, namespace = stack.shells
    assert stack.shells[0] is ssh
    assert dicts == before
    assert isinstance(ssh, DefaultSshShell)
    assert isinstance(sudo, SudoShell)
    assert isinstance(namespace, NamespaceShell)
    assert (ssh.ip, ssh.username) == ("alpha", "x")
    for text in (str(ssh), repr(ssh), repr(vars(ssh)), repr(vars(sudo)), repr(sudo)):
        assert "canary" not in text
    with pytest.raises(UsageError, match="host"):
        DefaultSshShell(user="x")


def test_names_of_the_packages() -> None:
    for package in (crl.interactivesessions, crl.interactivesessions.shells):
        for name in package.__all__:
            assert getattr(package, name) is not None
            assert name in dir(package)
        with pytest.raises(AttributeError):
            package.no_such_name  # noqa: B018


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("interactivesessionexceptions", "InteractiveSessionError"),
        ("InteractiveSession", "UnexpectedPrompt"),
        ("InteractiveSession", "UnknownShellState"),
        ("InteractiveSession", "SshShell"),
        ("shells.shell", "TimeoutError"),
        ("shells.bashshell", "ScpError"),
        ("shells.bashshell", "BashError"),
        ("shells.bashshell", "FailedToStartApplication"),
        ("shells.bashshell", "FailedToTerminateProcess"),
        ("shells.bashshell", "SourceInitFileFailed"),
        ("shells.bashshell", "CdToWorkdirFailed"),
        ("shells.sshshell", "SshError"),
        ("shells.sudoshell", "SudoError"),
        ("shells.keyauthenticatedsshshell", "ShellStartError"),
        ("shells.pythonshell", "PythonRunNotStarted"),
        ("shells.pythonshellbase", "UnexpectedOutputInPython"),
        ("shells.registershell", "UnregisteredShell"),
        ("shells.registershell", "ShellAlreadyRegistered"),
    ],
)
def test_published_import_paths(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(f"crl.interactivesessions.{module}"), name)


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"backend": "telnet"}, "backend"),
        ({"port": 70000}, "port"),
        ({"username": "-oProxyCommand=x"}, "login name"),
        ({"host_keys": "maybe"}, "host_keys"),
        ({"options": ("NoValue",)}, "Name=value"),
    ],
)
def test_impossible_arguments(kwargs: dict[str, object], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        SshShell("host", **kwargs)  # type: ignore[arg-type]
