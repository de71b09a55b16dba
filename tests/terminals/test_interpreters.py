"""The same things on every Python that a target may have, where this machine has it."""

from __future__ import annotations

import glob
import operator
import os
import shutil

import pytest

from crl.interactivesessions.runnerexceptions import RemoteTimeout, RunnerTerminalUnableToDeserialize
from tests.terminals.conftest import Make, gate

WANTED = ("2.7", "3.6", "3.13")


def interpreters() -> list[str]:
    """Paths of the interpreters that are here, the system's own among them."""
    found = [path for path in (shutil.which("python3", path="/usr/bin:/bin"),) if path]
    for version in WANTED:
        found += glob.glob(os.path.expanduser(f"~/.pyenv/versions/{version}.*/bin/python"))[:1]
    return found


@pytest.mark.parametrize("python", interpreters())
def test_basic_use(make: Make, python: str) -> None:
    terminal = make()
    terminal.python = python
    terminal.initialize_if_needed()
    terminal.import_libraries("os", "sys", "time")
    version = terminal.run_python("tuple(sys.version_info[:2])")
    assert version == terminal.link.facts.python[:2]
    assert terminal.run_python("u'\\xe4'") == "ä"
    assert terminal.run_python("2 ** 100") == 2**100
    assert terminal.run("[1]") == "[1]"
    with pytest.raises(ZeroDivisionError):
        terminal.run_python("1 / 0")
    with pytest.raises(RunnerTerminalUnableToDeserialize):
        terminal.run_python("sys")
    os_proxy = terminal.get_recursive_proxy("os")
    assert os_proxy.path.join("a", "b") == "a/b"
    numbers = terminal.get_proxy_object_from_call("list", [3, 1]).as_recursive_proxy()
    assert (len(numbers), 3 in numbers, list(numbers), sorted(numbers)) == (2, True, [3, 1], [1, 3])
    assert operator.add(numbers, [4]).as_local_value() == [3, 1, 4]
    numbers += [5]
    assert numbers == [3, 1, 5]
    assert {"a": numbers}["a"][0] == 3
    assert str(numbers) == "[3, 1, 5]"
    assert terminal.get_proxy_or_basic_from_call("int", "7") == 7
    assert terminal.get_proxy_object("os").getpid() == terminal.link.facts.pid
    assert terminal.run_python_call("sorted", [2, 1], reverse=True) == [2, 1]
    assert terminal.iscallable("os.getpid")
    assert "<module 'os'" in repr(os_proxy)
    open_gate = gate(terminal)
    with pytest.raises(RemoteTimeout) as caught:
        terminal.run_python("gate.wait(30) and 'late'", timeout=0.02)
    open_gate()
    assert terminal.get_response(caught.value, 30) == "late"
    assert terminal.assign_and_run_python("kept", "'x'") == (True, "x")
    assert terminal.run_python("kept") == "x"
