"""A password is in no log, dump, representation, argument list, history or error, at any level."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crl.interactivesessions.shells.sshshell import SshShell
from crl.interactivesessions.shells.sudoshell import SudoShell
from crl.secrets import Secret

if TYPE_CHECKING:
    from crl.lab import Lab
    from tests.shells.conftest import Open

pytestmark = pytest.mark.lab

ShellTo = Callable[..., SshShell]


def forms(secret: Secret) -> list[str]:
    value = secret.value
    return [value, base64.b64encode(value.encode()).decode().rstrip("="), value.encode().hex()]


def command_lines() -> str:
    return "\n".join(
        (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and (entry / "cmdline").exists()
    )


@pytest.mark.parametrize("backend", ["openssh", "paramiko"])
def test_passwords_of_three_logins_appear_nowhere(
    open_session: Open,
    shell_to: ShellTo,
    lab: Lab,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    backend: str,
) -> None:
    caplog.set_level(1)
    logging.getLogger("paramiko").setLevel(logging.DEBUG)
    host, beta = lab.host("gateway"), lab.host("beta")
    first, second = host.users["password"].password, beta.users["both"].password
    assert first is not None
    assert second is not None
    shells = [
        shell_to("gateway", "password", backend=backend),
        SshShell(beta.address, "bothuser", second, known_hosts=lab.known_hosts, options=("PubkeyAuthentication=no",)),
        SudoShell(password=second),
    ]
    dumps = {name: str(tmp_path / name) for name in ("dump_received", "dump_outgoing")}
    session = open_session(*shells, **dumps)
    shell = session.current_shell()
    assert shell.exec_command("id -un; hostname") == "root\r\nbeta\r\n"
    seen = {
        "log": caplog.text,
        "representations": repr([vars(shell) for shell in shells]) + repr(vars(session)) + str(session.terminal),
        "local arguments": command_lines(),
        "remote arguments": shell.exec_command("cat /proc/[0-9]*/cmdline | tr '\\0' ' '"),
        "history": shell.exec_command("history; fc -l 2>&1"),
    }
    session.close_terminal()
    seen |= {name: Path(path).read_text("utf-8", "replace") for name, path in dumps.items()}
    assert "<secret>" in seen["dump_outgoing"]
    for place, text in seen.items():
        for secret in (first, second):
            for form in forms(secret):
                assert form not in text, place


def test_password_that_the_target_echoes_is_redacted_in_errors(open_session: Open, shell_to: ShellTo, lab: Lab) -> None:
    password = lab.host("alpha").users["both"].password
    assert password is not None
    session = open_session(shell_to("alpha", "both"))
    with pytest.raises(Exception, match="Last seen") as caught:
        session.push(SudoShell(f"echo {password.value}; false", password))
    assert password.value not in str(caught.value)
    assert "<secret>" in str(caught.value)
