"""Every wait ends: no verb keeps its caller beyond his limit when the target stands still.

Invariant: each verb that takes a limit raises one of our errors soon after it, whether the remote program is frozen or
the host is silent, and works again afterwards.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from crl.errors import CrlError
from crl.interactivesessions import BashShell, SshShell
from crl.targets import Target
from tests.link.peers import freeze

if TYPE_CHECKING:
    from crl.lab import Lab

LIMIT = 1.0
# The verbs' own limits without one are 60 s and more.
SOON = 40.0
Verb = Callable[[Target, Path], Any]
VERBS: dict[str, Verb] = {
    "run": lambda target, _: target.run(["true"], timeout=LIMIT),
    "run a line": lambda target, _: target.run("echo; exit 3", timeout=LIMIT),
    "eval": lambda target, _: target.python.eval("1 + 1", timeout=LIMIT),
    "exec": lambda target, _: target.python.exec("found = 1", timeout=LIMIT),
    "read": lambda target, _: target.files.read("/etc/hostname", timeout=LIMIT),
    "write": lambda target, folder: target.files.write(f"{folder}/written", b"text", timeout=LIMIT),
    "stat": lambda target, _: target.files.stat("/etc/hostname", timeout=LIMIT),
    "exists": lambda target, _: target.files.exists("/etc/hostname", timeout=LIMIT),
    "list": lambda target, _: target.files.list("/etc/ssh", timeout=LIMIT),
    "mkdir": lambda target, folder: target.files.mkdir(f"{folder}/made", timeout=LIMIT),
    "push": lambda target, folder: target.files.push(__file__, f"{folder}/pushed", timeout=LIMIT),
    "pull": lambda target, folder: target.files.pull("/etc/hostname", str(folder / "pulled"), timeout=LIMIT),
    "connect_socket": lambda target, _: target.connect_socket(("127.0.0.1", 9), timeout=LIMIT),
}


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    freeze(pid)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _ends_soon(verb: Verb, target: Target, folder: Path) -> None:
    began = time.monotonic()
    with pytest.raises((CrlError, OSError)) as caught:
        verb(target, folder)
    took = time.monotonic() - began
    assert isinstance(caught.value, CrlError), f"{caught.value!r} says neither where nor what to do"
    assert took < SOON, f"{took:.1f} s"


@pytest.fixture(scope="module")
def frozen() -> Iterator[Target]:
    with Target(BashShell(), name="here") as target:
        yield target


@pytest.mark.parametrize("name", list(VERBS))
def test_a_frozen_program(frozen: Target, tmp_path: Path, name: str) -> None:
    pid = frozen.python.os.getpid()
    with stopped(pid):
        _ends_soon(VERBS[name], frozen, tmp_path)
    assert frozen.run(["true"], timeout=60).ok


@pytest.mark.lab
def test_a_silent_host(lab: Lab, tmp_path: Path) -> None:
    with Target(SshShell("alpha", config=str(lab.ssh_config)), name="alpha") as target:
        session = target.terminal.session
        assert session is not None
        with stopped(session.get_session().terminal.channel.pid):  # type: ignore[union-attr]
            for name in ("run", "eval", "read", "push"):
                _ends_soon(VERBS[name], target, tmp_path)
        assert target.run(["true"], timeout=60).ok
