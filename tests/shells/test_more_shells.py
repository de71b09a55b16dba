"""Shells in containers, by su, by paramiko, and raw Pythons; the timeouts of the process.

No container engine runs here: a program that takes the engine's arguments starts the shell in a namespace of its own,
so that the terminal, the start line and the shell are real and the engine is not.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crl.errors import UsageError
from crl.interactivesessions.autorunnerterminal import AutoRunnerTerminal
from crl.interactivesessions.interactivesessionexceptions import ShellStartError
from crl.interactivesessions.remoteproxies import _RemoteProxy
from crl.interactivesessions.shells import conformance
from crl.interactivesessions.shells.bashshell import BashShell
from crl.interactivesessions.shells.kubernetesshell import ContainerShell, KubernetesShell
from crl.interactivesessions.shells.msgreader import MsgReader
from crl.interactivesessions.shells.pythonshellbase import PythonShellBase
from crl.interactivesessions.shells.rawpythonshell import RawPythonShell
from crl.interactivesessions.shells.registershell import RegisteredShells
from crl.interactivesessions.shells.remoteshell import RemoteError, RemoteShell
from crl.interactivesessions.shells.sftpshell import SftpConnectionError, SftpShell
from crl.interactivesessions.shells.shell import DEFAULT_STATUS_TIMEOUT
from crl.interactivesessions.shells.ssherrors import AuthenticationFailed
from crl.interactivesessions.shells.sushell import SuShell
from crl.interactivesessions.shells.timeouts import Timeouts

if TYPE_CHECKING:
    from collections.abc import Callable

    from crl.lab import Lab
    from tests.shells.conftest import Open

    ShellTo = Callable[..., BashShell]

STAND_IN = """#!/bin/sh
# The arguments of kubectl exec and docker exec; the name of pod or container becomes that of the host.
[ "$1" = exec ] || { echo "unknown command $1" >&2; exit 1; }
shift
name=
while [ $# -gt 0 ]; do
    case $1 in
    -it | --detach-keys=*) ;;
    -c | -n | --user) export "STAND_IN_${1##*-}=$2"; shift ;;
    --) shift; break ;;
    *) [ -n "$name" ] && break; name=$1 ;;
    esac
    shift
done
[ "$name" = missing ] && { echo "Error from server (NotFound): pods \\"missing\\" not found" >&2; exit 1; }
exec unshare --uts sh -c 'hostname "$0"; exec "$@"' "$name" "$@"
"""
SLOW = (conformance.stubborn_command, conformance.all_statuses, conformance.big_output)
CHECKS = [check for check in conformance.CHECKS if check not in SLOW]


@pytest.fixture
def engine(tmp_path: Path) -> str:
    program = tmp_path / "docker"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    return str(program)


@pytest.mark.lab
def test_kubernetes(open_session: Open, engine: str) -> None:
    shell = KubernetesShell("pod-1", "side", "team", cmd="bash --norc", workdir="/", cli=engine)
    assert shell.get_start_cmd() == f"{engine} exec pod-1 -it -c side -n team -- bash --norc"
    session = open_session(shell)
    told = session.current_shell().exec_command('echo "$(uname -n) $STAND_IN_c $STAND_IN_n $PWD"')
    assert told == "pod-1 side team /\r\n"
    conformance.check_shell(session, CHECKS)


@pytest.mark.lab
def test_container_over_another_shell(open_session: Open, engine: str) -> None:
    session = open_session(BashShell("bash --norc"), ContainerShell("box", "sh", user="tester", cli=engine))
    assert session.current_shell().exec_command('echo "$(uname -n) $STAND_IN_user"') == "box tester\r\n"
    conformance.check_shell(session, CHECKS)
    session.pop()
    assert session.current_shell().exec_command("uname -n") != "box\r\n"


@pytest.mark.lab
def test_python_in_a_container(engine: str) -> None:
    terminal = AutoRunnerTerminal()
    terminal.initialize_with_shelldicts([{"shellname": "KubernetesShell", "pod_name": "pod-2", "cli": engine}])
    try:
        terminal.initialize_if_needed()
        assert terminal.run_python("__import__('platform').node()") == "pod-2"
    finally:
        terminal.close()


def test_container_that_is_not_there(open_session: Open, engine: str) -> None:
    with pytest.raises(ShellStartError, match="NotFound"):
        open_session(KubernetesShell("missing", cli=engine))


@pytest.mark.parametrize("name", ["", "-c", "--privileged"])
def test_names_are_no_options(name: str) -> None:
    for make in (KubernetesShell, ContainerShell, SuShell):
        with pytest.raises(UsageError, match="is no name"):
            make(name)
    assert ContainerShell("a b;c", cli="podman").get_start_cmd().endswith(" 'a b;c' bash")


@pytest.mark.lab
@pytest.mark.parametrize("login", [True, False])
def test_su(open_session: Open, shell_to: ShellTo, lab: Lab, login: bool) -> None:
    session = open_session(shell_to("alpha", "both"), SuShell(password=lab.host("alpha").root_password, login=login))
    assert session.current_shell().exec_command("id -u") == "0\r\n"
    conformance.check_shell(session, CHECKS)


@pytest.mark.lab
def test_remote_shell(open_session: Open, lab: Lab) -> None:
    user = lab.host("alpha").users["password"]
    session = open_session(RemoteShell("alpha-password", password=user.password, config=str(lab.ssh_config)))
    assert session.current_shell().exec_command("id -un") == f"{user.login}\r\n"
    conformance.check_shell(session, CHECKS)
    with pytest.raises(RemoteError, match="only be the first"):
        session.push(RemoteShell("beta"))
    assert session.current_shell().exec_command("echo on") == "on\r\n"


@pytest.mark.lab
def test_remote_shell_that_is_refused(open_session: Open, lab: Lab) -> None:
    with pytest.raises(RemoteError, match="AuthenticationFailed") as caught:
        open_session(RemoteShell("alpha-password", password="not the password", config=str(lab.ssh_config)))
    assert isinstance(caught.value.__cause__, AuthenticationFailed)
    assert caught.value.definite
    assert "not the password" not in str(caught.value)


@pytest.mark.lab
@pytest.mark.parametrize("pushed", [False, True])
def test_sftp(open_session: Open, lab: Lab, pushed: bool) -> None:
    user = lab.host("alpha").users["password"]
    below = [BashShell("bash --norc")] if pushed else []
    shell = SftpShell("alpha-password", password=user.password, config=str(lab.ssh_config))
    session = open_session(*below, shell)
    assert shell.exec_command("pwd") == f"Remote working directory: /home/{user.login}\r\n"
    assert ".bashrc" in shell.exec_command("ls -a")
    assert "not found" in shell.exec_command("get nothing-there")
    if pushed:
        session.pop()
        assert session.current_shell().exec_command("echo on") == "on\r\n"


@pytest.mark.lab
@pytest.mark.parametrize("pushed", [False, True])
@pytest.mark.parametrize(("known_hosts", "why"), [(None, "not accepted"), ("/dev/null", "key")])
def test_sftp_that_is_refused(
    open_session: Open, lab: Lab, pushed: bool, known_hosts: str | None, why: str
) -> None:
    shell = SftpShell("alpha-password", password="wrong word", config=str(lab.ssh_config), known_hosts=known_hosts)
    below = [BashShell("bash --norc")] if pushed else []
    with pytest.raises(SftpConnectionError, match=why) as caught:
        open_session(*below, shell)
    assert caught.value.definite
    assert "wrong word" not in str(caught.value)


def test_raw_python(open_session: Open) -> None:
    session = open_session(BashShell("bash --norc"), RawPythonShell())
    assert session.current_shell().exec_command("print(6 * 7)") == "42\r\n"
    session.pop()
    assert session.current_shell().exec_command("echo on") == "on\r\n"


@pytest.mark.parametrize("name", ["ContainerShell", "KubernetesShell", "RawPythonShell", "RemoteShell", "SuShell"])
def test_registered_by_name(name: str) -> None:
    assert RegisteredShells().get_shellcls(name).__name__ == name


def test_messages_of_unknown_length(open_session: Open) -> None:
    shell = open_session(BashShell("bash --norc")).current_shell()
    shell._send_input_line("sleep 0.2; echo banner")
    MsgReader.set_timeout(10)
    try:
        assert MsgReader(shell._read_until_end).read_until_end().startswith("banner\r\n")
        MsgReader.set_timeout(0.05)
        assert MsgReader(shell._read_until_end).read_until_end() == ""
    finally:
        MsgReader.reset_timeout()


def test_timeouts_of_the_process() -> None:
    timeouts = Timeouts()
    timeouts.set("7")  # type: ignore[arg-type]
    timeouts.set_python_short_timeout(8)
    timeouts.set_proxy_default_timeout(9)
    try:
        assert (float(DEFAULT_STATUS_TIMEOUT), MsgReader.get_timeout(), PythonShellBase.short_timeout) == (7, 7, 8)
        terminal = AutoRunnerTerminal()
        assert _RemoteProxy(terminal, None)._crl.default_timeout == 9
    finally:
        timeouts.reset()
        timeouts.reset_python_short_timeout()
        timeouts.reset_proxy_default_timeout()
    assert (float(DEFAULT_STATUS_TIMEOUT), MsgReader.get_timeout(), PythonShellBase.short_timeout) == (5, 15, 10)
    assert _RemoteProxy(AutoRunnerTerminal(), None)._crl.default_timeout is None
