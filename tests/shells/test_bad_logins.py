"""Each bad login is its own error, inside the deadline, asked for once, with nothing left and the parent usable."""

from __future__ import annotations

import pickle
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from crl.channels.ssh import errors
from crl.interactivesessions.interactivesessionexceptions import (
    InteractiveSessionError,
    ShellStartError,
    ShellStateError,
)
from crl.interactivesessions.shells.bashshell import BashShell
from crl.interactivesessions.shells.ssherrors import SshError
from crl.interactivesessions.shells.sshshell import SshShell
from crl.interactivesessions.shells.sudoshell import SudoError, SudoShell
from tests.link.peers import eventually

if TYPE_CHECKING:
    from crl.lab import Lab
    from tests.shells.conftest import Open

pytestmark = pytest.mark.lab

ShellTo = Callable[..., SshShell]
BACKENDS = ("openssh", "paramiko")
WRONG = "not-the-password-7d1f"
# The usual limit of a start, and what it takes to come back.
LIMIT = 45.0


def attempts(lab: Lab, host: str, login: str) -> int:
    """How many logins with a wrong password sshd has seen."""
    log = lab.host(host).exec(["cat", "/var/log/auth.log"]).stdout.decode()
    return len(re.findall(rf"Failed password for {login} |PAM: Authentication failure for {login} ", log))


def one_more_attempt(lab: Lab, host: str, login: str, before: int) -> bool:
    """Whether sshd has seen exactly one more; it may write that down after it has answered."""
    assert eventually(lambda: attempts(lab, host, login) > before)
    return attempts(lab, host, login) == before + 1


def fails(expected: type[Exception], action: Callable[[], object]) -> Any:
    began = time.monotonic()
    with pytest.raises(expected) as caught:
        action()
    assert time.monotonic() - began < LIMIT
    assert type(pickle.loads(pickle.dumps(caught.value))) is type(caught.value)
    assert WRONG not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("login", ["pwuser", "kbuser", "nasty"])
def test_wrong_password_is_tried_once(open_session: Open, lab: Lab, login: str, backend: str) -> None:
    before = attempts(lab, "alpha", login)
    address = lab.host("alpha").address
    shell = SshShell(address, login, WRONG, config="none", known_hosts=lab.known_hosts, backend=backend)
    error = fails(errors.AuthenticationFailed, lambda: open_session(shell))
    assert error.definite
    assert isinstance(error, SshError)
    assert isinstance(error, InteractiveSessionError)
    assert error.host == address
    assert one_more_attempt(lab, "alpha", login, before)


@pytest.mark.parametrize(("role", "login"), [("password", "pwuser"), ("kbdint", "kbuser")])
def test_wrong_password_at_the_second_hop_is_tried_once(
    open_session: Open, shell_to: ShellTo, lab: Lab, role: str, login: str
) -> None:
    before = attempts(lab, "beta", login)
    session = open_session(shell_to("gateway"))
    error = fails(errors.AuthenticationFailed, lambda: session.push(to_beta(lab, role, password=WRONG)))
    assert (error.host, error.hop) == (lab.host("beta").address, "gateway-key")
    assert one_more_attempt(lab, "beta", login, before)
    assert session.current_shell().exec_command("hostname") == "gateway\r\n"


def to_beta(lab: Lab, role: str = "password", **kwargs: Any) -> SshShell:
    beta = lab.host("beta")
    user = beta.users[role]
    kwargs.setdefault("password", user.password)
    kwargs.setdefault("known_hosts", str(lab.known_hosts))
    return SshShell(kwargs.pop("host", beta.address), user.login, **kwargs)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_password_given(open_session: Open, shell_to: ShellTo, backend: str) -> None:
    error = fails(
        errors.AuthenticationFailed,
        lambda: open_session(shell_to("alpha", "password", password=None, backend=backend)),
    )
    assert "password" in str(error)


@pytest.mark.parametrize("backend", BACKENDS)
def test_unknown_host_key(open_session: Open, shell_to: ShellTo, lab: Lab, backend: str, tmp_path: Path) -> None:
    before = attempts(lab, "alpha", "pwuser")
    (tmp_path / "known").write_text("")
    shell = shell_to("alpha", "password", password=WRONG, known_hosts=tmp_path / "known", backend=backend)
    error = fails(errors.HostKeyUnknown, lambda: open_session(shell))
    assert isinstance(error, SshError)
    assert str(tmp_path / "known") in str(error)
    assert attempts(lab, "alpha", "pwuser") == before, "no credential may be sent to an unknown host"


@pytest.mark.parametrize("backend", BACKENDS)
def test_changed_host_key(open_session: Open, shell_to: ShellTo, lab: Lab, backend: str, tmp_path: Path) -> None:
    shell = shell_to("alpha", known_hosts=changed(lab, "alpha", tmp_path), backend=backend)
    assert isinstance(fails(errors.HostKeyChanged, lambda: open_session(shell)), SshError)


def changed(lab: Lab, host: str, folder: Path) -> Path:
    """A known_hosts file that has another host's keys for this one."""
    known = lab.known_hosts.read_text().splitlines()
    lines = [f"{lab.host(host).address} {line.split(' ', 1)[1]}" for line in known if line.startswith("gamma,")]
    assert lines
    (folder / "changed").write_text("\n".join(lines) + "\n")
    return folder / "changed"


def test_unknown_and_changed_host_key_at_the_second_hop(
    open_session: Open, shell_to: ShellTo, lab: Lab, tmp_path: Path
) -> None:
    before = attempts(lab, "beta", "pwuser")
    (tmp_path / "known").write_text("")
    session = open_session(shell_to("gateway"))
    unknown = to_beta(lab, password=WRONG, known_hosts=tmp_path / "known")
    error = fails(errors.HostKeyUnknown, lambda: session.push(unknown))
    assert error.hop == "gateway-key"
    other = to_beta(lab, password=WRONG, known_hosts=changed(lab, "beta", tmp_path))
    fails(errors.HostKeyChanged, lambda: session.push(other))
    assert attempts(lab, "beta", "pwuser") == before
    assert session.current_shell().exec_command("hostname") == "gateway\r\n"
    session.push(to_beta(lab))
    assert session.current_shell().exec_command("hostname") == "beta\r\n"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("127.0.0.1", 1, errors.ConnectionRefused),
        ("no-such-host.invalid", None, errors.NameNotResolved),
    ],
)
def test_no_way_there(
    open_session: Open, host: str, port: int | None, expected: type[Exception], backend: str
) -> None:
    shell = SshShell(host, "nobody", "irrelevant", port=port, config="none", backend=backend)
    assert isinstance(fails(expected, lambda: open_session(shell)), SshError)


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("127.0.0.1", 1, errors.ConnectionRefused),
        ("no-such-host.invalid", None, errors.NameNotResolved),
    ],
)
def test_no_way_there_from_the_first_hop(
    open_session: Open, shell_to: ShellTo, host: str, port: int | None, expected: type[Exception]
) -> None:
    session = open_session(shell_to("gateway"))
    error = fails(expected, lambda: session.push(SshShell(host, "nobody", "irrelevant", port=port)))
    assert error.hop == "gateway-key"
    assert session.current_shell().exec_command("echo usable") == "usable\r\n"


def test_host_that_does_not_answer(open_session: Open, shell_to: ShellTo, lab: Lab) -> None:
    """Beta is not reached directly: its address is a black hole from here."""
    shell = SshShell(lab.host("beta").address, "x", "irrelevant", config="none", connect_timeout=2)
    fails(errors.HostUnreachable, lambda: open_session(shell))
    session = open_session(shell_to("alpha"))
    fails(errors.HostUnreachable, lambda: session.push(SshShell("192.0.2.1", "x", "irrelevant", start_timeout=2)))
    assert session.current_shell().exec_command("echo usable") == "usable\r\n"


@pytest.mark.parametrize("backend", BACKENDS)
def test_hop_in_the_middle_that_fails(open_session: Open, lab: Lab, backend: str) -> None:
    shell = SshShell(
        "beta-key", config=str(lab.ssh_config), jump=f"{lab.host('gateway').address}:1", backend=backend
    )
    error = fails(errors.ConnectionRefused, lambda: open_session(shell))
    assert error.hop == lab.host("gateway").address


def test_password_is_not_given_to_a_hop_that_asks(open_session: Open, lab: Lab) -> None:
    """The gateway's password user has to be asked; the password given is the target's."""
    before = attempts(lab, "gateway", "pwuser")
    shell = SshShell("beta-password", config=str(lab.ssh_config), password=WRONG, jump="gateway-password")
    error = fails(errors.AuthenticationFailed, lambda: open_session(shell))
    assert "target only" in str(error)
    assert attempts(lab, "gateway", "pwuser") == before


@pytest.mark.parametrize("command", ["/nonexistent/shell", "false", "echo This account is closed"])
def test_session_that_ends_at_once(open_session: Open, shell_to: ShellTo, command: str) -> None:
    """As with nologin, ForceCommand or a shell that is not there."""
    error = fails(ShellStartError, lambda: open_session(shell_to("alpha", command=command)))
    assert command.split()[-1] in str(error) or "exit status 1" in str(error)


def test_host_that_runs_no_shell(open_session: Open, shell_to: ShellTo) -> None:
    fails(ShellStateError, lambda: open_session(shell_to("alpha", command="cat", start_timeout=6)))


def test_no_such_shell(open_session: Open) -> None:
    session = open_session(BashShell())
    error = fails(ShellStartError, lambda: session.push(BashShell("no-such-shell --login")))
    assert "no-such-shell" in str(error)
    assert "127" in str(error)
    assert session.current_shell().exec_command("echo usable") == "usable\r\n"


def test_wrong_sudo_password_is_tried_once(open_session: Open, shell_to: ShellTo, lab: Lab) -> None:
    session = open_session(shell_to("alpha", "both"))
    error = fails(SudoError, lambda: session.push(SudoShell(password=WRONG)))
    assert "not accepted" in str(error)
    assert error.definite
    assert session.current_shell().exec_command("id -un") == "bothuser\r\n"
    session.push(SudoShell(password=lab.host("alpha").users["both"].password))
    assert session.current_shell().exec_command("id -un") == "root\r\n"


@pytest.mark.parametrize(
    ("role", "command", "text"),
    [
        ("both", "sudo bash", "none was given"),
        ("both", "sudo -n bash", "password is required"),
        ("both", "sudo -u no-such-user bash", "unknown user"),
        ("both", "sudo no-such-command", "none was given"),
        ("key", "sudo bash", "asks for a password"),
        ("both", "no-such-sudo bash", "No such file"),
    ],
)
def test_sudo_that_cannot(open_session: Open, shell_to: ShellTo, role: str, command: str, text: str) -> None:
    session = open_session(shell_to("alpha", role))
    error = fails(SudoError, lambda: session.push(SudoShell(command)))
    assert text in str(error)
    assert session.current_shell().exec_command("echo usable") == "usable\r\n"


def test_user_who_is_not_in_sudoers(open_session: Open, shell_to: ShellTo, lab: Lab) -> None:
    session = open_session(shell_to("alpha", "kbdint"))
    error = fails(SudoError, lambda: session.push(SudoShell(password=lab.host("alpha").users["kbdint"].password)))
    assert "not in the sudoers file" in str(error)


def test_frozen_sshd(open_session: Open) -> None:
    """A port that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        shell = SshShell("127.0.0.1", "x", "irrelevant", port=port, config="none", connect_timeout=2)
        fails(errors.HostUnreachable, lambda: open_session(shell))
