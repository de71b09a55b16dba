"""An Xvfb with a window manager, and programs that show something on it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator

import pytest

from crl.x2go import ClientDisplay

Show = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture(scope="module")
def xvfb() -> Iterator[ClientDisplay]:
    with ClientDisplay.start((1024, 768)) as display:
        yield display


@pytest.fixture
def show(xvfb: ClientDisplay) -> Iterator[Show]:
    """Start a program on the Xvfb; ended with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "DISPLAY": xvfb.name, "XAUTHORITY": str(xvfb.xauthority)}
        started.append(subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL))
        return started[-1]

    yield start
    for process in started:
        process.terminate()
        process.wait(30)
