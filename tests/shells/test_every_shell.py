"""Every kind of shell, over or into every login shell: a pairwise choice, all of them in the long form.

No container engine runs here, and no serial line of iron: a program that takes the engine's arguments, and socat,
stand in for them.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from crl.interactivesessions.shells import (
    BashShell,
    ContainerShell,
    DefaultSshShell,
    KeyAuthenticatedSshShell,
    KubernetesShell,
    MsgPythonShell,
    NamespaceShell,
    PythonShell,
    RawPythonShell,
    RemoteShell,
    SerialShell,
    SftpShell,
    SudoShell,
    SuShell,
    TelnetShell,
    conformance,
)
from crl.interactivesessions.shells.autocompletableshell import AutoCompletableShell
from crl.interactivesessions.shells.shell import TimeoutError as ShellTimeout
from crl.lab.plan import ROLES, RoleSpec
from tests.shells.consoles import serial_line, telnetd
from tests.shells.test_more_shells import STAND_IN

if TYPE_CHECKING:
    from crl.interactivesessions.shells.shell import Shell
    from crl.lab import Lab
    from tests.shells.conftest import Open
    from tests.shells.test_conformance import ShellTo

SLOW = (conformance.stubborn_command, conformance.all_statuses, conformance.big_output)
BY_NAME = {role.role: role for role in ROLES}
LOGIN_SHELLS = ["bash", "dash", "zsh", "fish", "tcsh", "ash", "nasty"]
KEY_ROLES = [role.role for role in ROLES if "publickey" in role.methods]
PROGRAMS = {"bash": "bash", "dash": "dash", "zsh": "zsh", "fish": "fish", "tcsh": "tcsh", "ash": "busybox ash"}


def matrix(kinds: list[Any], names: list[str], quick: int = 1) -> list[Any]:
    """All pairs; of each kind so many in the quick form, other ones for each."""
    pairs = []
    for row, kind in enumerate(kinds):
        chosen = {(row * quick + step) % len(names) for step in range(quick)}
        for column, name in enumerate(names):
            marks = [] if column in chosen else [pytest.mark.long]
            pairs.append(pytest.param(kind, name, marks=marks, id=f"{getattr(kind, '__name__', kind)}-{name}"))
    return pairs


@pytest.fixture
def checks(request: pytest.FixtureRequest) -> list[conformance.Check]:
    long = request.config.getoption("--long")
    return [check for check in conformance.CHECKS if long or check not in SLOW]


# Into the login shells


def default_ssh(lab: Lab, role: RoleSpec) -> list[Shell]:
    return [DefaultSshShell(host=f"alpha-{role.role}", config=str(lab.ssh_config), **password_of(lab, role))]


def remote(lab: Lab, role: RoleSpec) -> list[Shell]:
    return [RemoteShell(f"alpha-{role.role}", config=str(lab.ssh_config), **password_of(lab, role))]


def key_authenticated(lab: Lab, role: RoleSpec) -> list[Shell]:
    return [KeyAuthenticatedSshShell(f"alpha-{role.role}", r"[$#%>] ", config=str(lab.ssh_config))]


def sudo(lab: Lab, role: RoleSpec) -> list[Shell]:
    both = lab.host("alpha").users["both"]
    return [*default_ssh(lab, BY_NAME["both"]), SudoShell(f"sudo -u {role.login} -i", both.password)]


def su(lab: Lab, role: RoleSpec) -> list[Shell]:
    both = lab.host("alpha").users["both"]
    return [*default_ssh(lab, BY_NAME["both"]), SudoShell(password=both.password), SuShell(role.login)]


def namespace(lab: Lab, role: RoleSpec) -> list[Shell]:
    both = lab.host("alpha").users["both"]
    return [
        *default_ssh(lab, BY_NAME["both"]),
        SudoShell(password=both.password),
        NamespaceShell("inner", f"su - {role.login}"),
    ]


def password_of(lab: Lab, role: RoleSpec) -> dict[str, Any]:
    user = lab.host("alpha").users[role.role]
    return {} if "publickey" in user.methods else {"password": user.password}


@pytest.mark.lab
@pytest.mark.parametrize(
    ("way", "role"),
    [
        *matrix([default_ssh, remote], [role.role for role in ROLES]),
        *matrix([key_authenticated], KEY_ROLES),
        *matrix([sudo, su, namespace], LOGIN_SHELLS),
    ],
)
def test_into_a_login_shell(
    open_session: Open, lab: Lab, checks: list[conformance.Check], way: Callable[..., list[Shell]], role: str
) -> None:
    session = open_session(*way(lab, BY_NAME[role]))
    assert session.current_shell().exec_command("id -un") == f"{BY_NAME[role].login}\r\n"
    conformance.check_shell(session, checks)


# Over the login shells


@pytest.mark.lab
@pytest.mark.parametrize(("cls", "role"), matrix([PythonShell, RawPythonShell, MsgPythonShell], LOGIN_SHELLS, 2))
def test_python_over_a_login_shell(
    open_session: Open, shell_to: ShellTo, cls: Callable[[], Shell], role: str
) -> None:
    conformance.check_python_shell(open_session(shell_to("alpha", role, command=""), cls()))


@pytest.mark.parametrize("cls", [PythonShell, RawPythonShell, MsgPythonShell])
def test_python_as_first_shell(open_session: Open, cls: Callable[[], Shell]) -> None:
    conformance.check_python_shell(open_session(cls()))


@pytest.mark.lab
@pytest.mark.parametrize(("cls", "role"), matrix([SftpShell], LOGIN_SHELLS))
def test_sftp_over_a_login_shell(
    open_session: Open, shell_to: ShellTo, lab: Lab, cls: type[SftpShell], role: str
) -> None:
    beta = lab.host("beta").users["password"]
    there = cls(lab.host("alpha").address, beta.login, password=alpha_password(lab), host_keys="off")
    session = open_session(shell_to("alpha", role, command=""), there)
    assert there.exec_command("pwd") == f"Remote working directory: /home/{beta.login}\r\n"
    there.exec_command("mkdir crl-sftp")
    assert "crl-sftp" in there.exec_command("ls -1")
    there.exec_command("rmdir crl-sftp")
    assert "crl-sftp" not in there.exec_command("ls -1")
    assert "not found" in there.exec_command("get nothing-there")
    session.pop()
    assert session.current_shell().exec_command("echo on") == "on\r\n"


def alpha_password(lab: Lab) -> Any:
    return lab.host("alpha").users["password"].password


# Containers, telnet, serial lines: with each shell as their own


@pytest.fixture
def engine(tmp_path: Path) -> str:
    program = tmp_path / "docker"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    return str(program)


@pytest.mark.lab
@pytest.mark.parametrize(("cls", "program"), matrix([KubernetesShell, ContainerShell], list(PROGRAMS)))
def test_a_shell_in_a_container(
    open_session: Open, engine: str, checks: list[conformance.Check], cls: Any, program: str
) -> None:
    below = [BashShell(PROGRAMS["zsh" if program == "bash" else "bash"])] if cls is ContainerShell else []
    session = open_session(*below, cls("box", cmd=PROGRAMS[program], cli=engine))
    assert session.current_shell().exec_command("uname -n") == "box\r\n"
    conformance.check_shell(session, checks)


@contextlib.contextmanager
def telnet(folder: Path, program: str) -> Iterator[Shell]:
    with telnetd(program) as port:
        yield TelnetShell("127.0.0.1", port=port)


@contextlib.contextmanager
def serial(folder: Path, program: str) -> Iterator[Shell]:
    with serial_line(folder, program) as device:
        yield SerialShell(device)


@pytest.mark.parametrize(("line", "program"), matrix([telnet, serial], list(PROGRAMS)))
def test_a_shell_behind_a_line(
    open_session: Open, tmp_path: Path, checks: list[conformance.Check], line: Any, program: str
) -> None:
    starter = tmp_path / "start"
    starter.write_text(f"#!/bin/sh\nexport TERM=dumb\nexec {PROGRAMS[program]} -i\n")
    starter.chmod(0o755)
    with line(tmp_path, str(starter)) as shell:
        session = open_session(shell)
        conformance.check_shell(session, checks)
        session.close_terminal()


# Completion


class Completing(AutoCompletableShell):
    """A shell of a user with a line editor that completes."""

    def get_start_cmd(self) -> str:
        return "bash --norc -i"

    def start(self) -> str:
        self._prompt = "ready> "
        self._send_input_line("bind 'set bell-style none'; bind 'set enable-bracketed-paste off'; PS1=rea''dy'> '")
        return self._read_until("ready> ")

    def exit(self) -> None:
        self._send_input_line("exit")


def test_completion_where_there_is_a_line_editor(open_session: Open) -> None:
    shell = open_session(Completing()).current_shell()
    assert isinstance(shell, AutoCompletableShell)
    shell.exec_command("crl_first_word() { :; }; crl_second_word() { :; }")
    offered = shell.get_command_auto_completion("crl_", 10, "\t\t")
    assert "crl_first_word" in offered
    assert "crl_second_word" in offered
    assert "here" in shell.exec_command("echo he''re")


def test_completion_that_takes_its_time(open_session: Open) -> None:
    shell = open_session(Completing()).current_shell()
    assert isinstance(shell, AutoCompletableShell)
    shell.exec_command("crl_slow() { sleep 0.3; COMPREPLY=(crl_one crl_two); }; complete -F crl_slow slowly")
    offered = shell.get_command_auto_completion("slowly ", 10, "\t\t")
    assert "crl_" in offered
    assert "here" in shell.exec_command("echo he''re")


@pytest.mark.parametrize("program", [name for name in PROGRAMS if shutil.which(PROGRAMS[name].split()[0])])
def test_completion_where_there_is_none(open_session: Open, program: str) -> None:
    shell = open_session(BashShell(PROGRAMS[program])).current_shell()
    assert isinstance(shell, BashShell)
    with pytest.raises(ShellTimeout):
        shell.get_command_auto_completion("ech", 0.2, "\t\t")
    assert shell.exec_command("echo on") == "on\r\n"
