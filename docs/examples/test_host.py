"""Drives a host: commands, Python, a process, a tunnel. The host is one of ``crl lab up``."""

from __future__ import annotations

import socket

import pytest

from crl.interactivesessions.shells import SshShell
from crl.lab import Lab
from crl.pytest_plugin import CrlConfig, TargetFactory
from crl.targets import CommandFailed, Target

pytestmark = pytest.mark.crl_target("alpha")


def test_a_command_runs_and_its_result_is_an_object(target: Target) -> None:
    """Status and both outputs, apart."""
    result = target.run("echo out; echo err >&2; exit 3")
    assert (result.status, result.stdout, result.stderr) == (3, "out\n", "err\n")


def test_a_command_can_be_made_to_raise(target: Target) -> None:
    """With `check`, as `subprocess.run` does."""
    with pytest.raises(CommandFailed, match="status 1"):
        target.run(["test", "-d", "/nowhere"], check=True)


def test_python_runs_there(target: Target) -> None:
    """Remote objects are used like local ones; a function of this file is sent there."""
    assert target.python.platform.system() == "Linux"
    assert target.python.os.path.join("/tmp", "here") == "/tmp/here"

    def squares(limit: int) -> list[int]:
        return [number * number for number in range(limit)]

    assert target.python.call(squares, 4) == [0, 1, 4, 9]


def test_a_process_goes_on_while_the_test_does(target: Target) -> None:
    """Its output can be read while it runs; `kill` ends its children too."""
    process = target.start(["sh", "-c", "echo started; exec sleep 60"])
    assert process.read_stdout(timeout=10) == b"started\n"
    assert process.kill() == ()
    assert process.wait(timeout=10) < 0
    assert not target.python.os.path.exists(f"/proc/{process.pid}")


def test_a_tunnel_leads_to_a_service_of_the_host(target: Target) -> None:
    """A port here that comes out at the host."""
    with target.forward(("127.0.0.1", 22)) as tunnel, socket.create_connection(tunnel.address, 10) as connection:
        assert connection.recv(8) == b"SSH-2.0-"


def test_another_account_by_password(target_factory: TargetFactory, crl_config: CrlConfig) -> None:
    """A second target; its password is in no log and on no command line."""
    password = Lab().plan.hosts["alpha"].users["password"].password
    shell = SshShell("alpha-password", password=password, config=crl_config.ssh_config)
    with target_factory("other", shells=shell) as other:
        assert other.facts.user == "pwuser"
