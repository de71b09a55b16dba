"""Targets on this machine and behind an sshd of our own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crl.interactivesessions.shells.bashshell import BashShell
from crl.targets import Target
from tests.terminals.conftest import nothing_left, sshd

__all__ = ["nothing_left", "sshd"]


@pytest.fixture(scope="module")
def here() -> Iterator[Target]:
    """This machine as a target, for all tests of a module."""
    with Target(BashShell(), name="here") as target:
        yield target
