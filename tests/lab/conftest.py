"""Fixtures of the lab's own tests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from crl.lab import Lab, requirements
from tests.lab.sshing import Ssh

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def own_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab of this module's own, so that what is broken here harms nobody."""
    found = requirements()
    if not found.ok:
        pytest.skip("this machine cannot run the lab: " + "; ".join(found.missing))
    with Lab(tmp_path_factory.mktemp("lab") / "lab", f"t{os.getpid() % 1_000_000}") as own:
        yield own


@pytest.fixture
def ssh(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Ssh:
    """Plain ssh into the shared lab."""
    return Ssh(lab, tmp_path_factory.mktemp("askpass"))


@pytest.fixture
def own_ssh(own_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Ssh:
    """Plain ssh into the module's own lab."""
    return Ssh(own_lab, tmp_path_factory.mktemp("askpass"))
