"""RemoteRunner on this machine and on hosts of the lab; afterwards nothing of it may be left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from crl.interactivesessions._targetproperties import _TargetProperties
from crl.interactivesessions._terminalpools import MAXSIZE
from crl.interactivesessions.remoterunner import RemoteRunner
from tests.terminals.conftest import nothing_left
from tests.terminals.sshd import Sshd

if TYPE_CHECKING:
    from crl.lab import Lab

__all__ = ["nothing_left"]

LOCAL = {"shellname": "BashShell"}


@pytest.fixture
def runner(nothing_left: None) -> Iterator[RemoteRunner]:
    """A runner whose target ``default`` is this machine."""
    made = RemoteRunner()
    made.set_target([LOCAL])
    yield made
    made.close()
    made.set_terminalpools_maxsize(MAXSIZE)
    _TargetProperties.reset_defaults()


@pytest.fixture
def hosts(runner: RemoteRunner, lab: Lab) -> RemoteRunner:
    """A runner whose targets are hosts of the lab, behind a password, a key, a gateway and sudo."""
    config = str(lab.ssh_config)
    password = lab.host("alpha").users["both"].password
    runner.set_target([{"host": "alpha-key", "config": config}], "alpha")
    runner.set_target([{"host": "beta-key", "config": config}], "beta")
    runner.set_target([{"host": "alpha-password", "config": config, "password": lab.host("alpha").users[
        "password"].password}], "password")
    runner.set_target(
        [
            {"host": "alpha-both", "config": config, "password": password},
            {"shellname": "SudoShell", "password": password},
        ],
        "root",
    )
    return runner


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """An sshd on the loopback, for a key of its own."""
    with Sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server
