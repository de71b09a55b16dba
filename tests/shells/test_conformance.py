"""Every shell passes the conformance suite; pairwise over ways in, login shells and backends, all in the long form."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from crl.channels import LocalPtyChannel
from crl.interactivesessions._spawn import ChannelSpawn
from crl.interactivesessions.InteractiveSession import InteractiveSession
from crl.interactivesessions.shells import conformance
from crl.interactivesessions.shells.bashshell import BashShell
from crl.interactivesessions.shells.keyauthenticatedsshshell import KeyAuthenticatedSshShell
from crl.interactivesessions.shells.namespaceshell import NamespaceShell
from crl.interactivesessions.shells.sshshell import SshShell
from crl.interactivesessions.shells.sudoshell import SudoShell
from crl.lab.plan import ROLES

if TYPE_CHECKING:
    from crl.interactivesessions.shells.shell import Shell
    from crl.lab import Lab
    from tests.shells.conftest import Open

ShellTo = Callable[..., SshShell]
Conforms = Callable[[InteractiveSession], None]
SLOW = (conformance.stubborn_command, conformance.all_statuses)
LOCAL = ["bash", "bash --norc --noediting", "dash", "busybox ash", "zsh", "zsh -f", "fish", "tcsh", "csh -f", "sh"]
LOCAL += [shell for shell in ("ksh93", "mksh") if shutil.which(shell)]
ROLE_NAMES = [role.role for role in ROLES]
WAYS: dict[str, dict[str, object]] = {"plain": {}, "profile": {"login": True}, "own shell": {"command": ""}}
BACKENDS = ("openssh", "paramiko")
# Each role with each backend or way at least once between the columns; the rest is the long form.
QUICK = {
    (role, backend, way)
    for index, role in enumerate(ROLE_NAMES)
    for backend, way in [(BACKENDS[index % 2], list(WAYS)[index % 3])]
} | {("nasty", "openssh", "own shell"), ("zsh", "openssh", "own shell"), ("fish", "paramiko", "own shell")}


@pytest.fixture
def conforms(request: pytest.FixtureRequest) -> Conforms:
    """Runs the suite; in the quick form without the checks that take seconds, which the local shells pass anyway."""
    long = request.config.getoption("--long")
    checks = [check for check in conformance.CHECKS if long or check not in SLOW]
    return lambda session: conformance.check_shell(session, checks)


@pytest.mark.parametrize("command", LOCAL)
def test_local_shell(open_session: Open, command: str) -> None:
    conformance.check_shell(open_session(BashShell(command)))


class OneByteChannel(LocalPtyChannel):
    """A terminal that gives one byte at a time."""

    def read(self, size: int = 1) -> bytes:
        return super().read(min(size, 1))


class OneByteShell(BashShell):
    def spawn(self, timeout: float) -> ChannelSpawn:
        return ChannelSpawn(OneByteChannel(["bash", "--norc"]), timeout=timeout)


def test_one_byte_at_a_time(open_session: Open) -> None:
    checks = [check for check in conformance.CHECKS if check not in (*SLOW, conformance.big_output)]
    conformance.check_shell(open_session(OneByteShell()), checks)


@pytest.mark.lab
@pytest.mark.parametrize(
    ("role", "backend", "way"),
    [
        pytest.param(*case, marks=[] if case in QUICK else [pytest.mark.long])
        for case in [(role, backend, way) for role in ROLE_NAMES for backend in BACKENDS for way in WAYS]
    ],
)
def test_ssh_shell(
    open_session: Open, shell_to: ShellTo, conforms: Conforms, role: str, backend: str, way: str
) -> None:
    conforms(open_session(shell_to("alpha", role, backend=backend, **WAYS[way])))


@pytest.mark.lab
@pytest.mark.parametrize("command", ["sudo bash", "sudo -i", "su -"])
def test_shell_of_another_user(
    open_session: Open, shell_to: ShellTo, conforms: Conforms, lab: Lab, command: str
) -> None:
    host = lab.host("alpha")
    password = host.root_password if command.startswith("su ") else host.users["both"].password
    session = open_session(shell_to("alpha", "both"), SudoShell(command, password))
    assert session.current_shell().exec_command("id -u") == "0\r\n"
    conforms(session)


@pytest.mark.lab
@pytest.mark.parametrize("role", ["password", "kbdint", "nasty"])
def test_nested_hop(open_session: Open, shell_to: ShellTo, conforms: Conforms, lab: Lab, role: str) -> None:
    conforms(open_session(shell_to("gateway"), hop_to_beta(lab, role)))


@pytest.mark.lab
def test_jump_host(open_session: Open, shell_to: ShellTo, conforms: Conforms) -> None:
    conforms(open_session(shell_to("beta", "password")))


@pytest.mark.lab
def test_namespace_under_sudo_under_ssh(
    open_session: Open, shell_to: ShellTo, conforms: Conforms, lab: Lab
) -> None:
    stack: list[Shell] = [
        shell_to("alpha", "both"),
        SudoShell(password=lab.host("alpha").users["both"].password),
        NamespaceShell("inner"),
    ]
    session = open_session(*stack)
    assert session.current_shell().exec_command("ip netns identify $$") == "inner\r\n"
    conforms(session)


@pytest.mark.lab
def test_key_authenticated_shell(open_session: Open, lab: Lab) -> None:
    session = open_session(KeyAuthenticatedSshShell("alpha", r"\$ ", config=str(lab.ssh_config)))
    assert session.current_shell().exec_command("id -un") == "keyuser\r\n"


def hop_to_beta(lab: Lab, role: str) -> SshShell:
    beta = lab.host("beta")
    user = beta.users[role]
    return SshShell(beta.address, user.login, user.password, known_hosts=str(lab.known_hosts))
