"""Python on a target: names, modules that import themselves, and functions of this end sent with what they use."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from crl.errors import UsageError
from crl.interactivesessions.remoteproxies import _RecursiveProxy
from crl.interactivesessions.runnerexceptions import RunnerTerminalUnableToDeserialize
from crl.targets import Target
from tests.targets import sent


def test_root(here: Target) -> None:
    pid = here.terminal.link.facts.pid
    requests = here.terminal.link.statistics.requests
    assert here.python.os.getpid() == pid
    assert here.terminal.link.statistics.requests == requests + 3
    assert here.python.os.path.join("a", "b") == "a/b"
    assert here.python.len([1, 2]) == 2
    assert here.python.xml.etree.ElementTree.fromstring("<a b='1'/>").attrib["b"] == "1"
    with pytest.raises(AttributeError, match="no_such_module"):
        here.python.no_such_module  # noqa: B018
    with pytest.raises(AttributeError, match="nothing_here"):
        here.python.xml.nothing_here  # noqa: B018
    assert not hasattr(here.python, "_repr_html_")
    assert "os" in dir(here.python)
    assert repr(here.python) == "<Python on localhost>"


def test_eval_exec(here: Target) -> None:
    here.python.exec("number = 5\ndef double(x):\n    return 2 * x")
    assert here.python.number == 5
    assert here.python.double(4) == 8
    assert here.python.eval("double(number)  # a comment") == 10
    with pytest.raises(SyntaxError):
        here.python.eval("number = 6")
    here.python.exec("1 + 1")
    assert here.python.proxy("number").as_local_value() == 5


def test_call_by_expression(here: Target) -> None:
    assert here.python.call("__import__('os').path.join", "a", "b") == "a/b"
    assert here.python.call(here.python.os.path.basename, "/a/b") == "b"
    with pytest.raises(RunnerTerminalUnableToDeserialize):
        here.python.call("object")
    made = here.python.proxy_of_call("list", (1, 2))
    assert isinstance(made, _RecursiveProxy)
    assert here.python.call(sorted.__name__, made) == [1, 2]


def test_functions_are_sent_with_what_they_use(here: Target) -> None:
    pid = here.terminal.link.facts.pid
    assert pid != os.getpid()
    assert here.python.call(sent.everything, 3, extra=2) == (pid, "a/b", 49, "1/2", [1, 2])
    requests = here.terminal.link.statistics.requests
    here.python.call(sent.everything, 3)
    assert here.terminal.link.statistics.requests == requests + 1
    assert here.python.call(sent.factorial, 20) == 2432902008176640000
    with pytest.raises(KeyError, match="from there"):
        here.python.call(sent.raises)


def test_closures(here: Target) -> None:
    offset = 10

    def add(number: int) -> int:
        return int(json.dumps(number)) + offset

    assert here.python.call(add, 5) == 15


def test_what_cannot_be_sent(here: Target) -> None:
    for thing in (len, threading.Lock, "x".join):
        with pytest.raises(UsageError, match="cannot be sent"):
            here.python.call(thing)


def test_import_local(here: Target, tmp_path: Path) -> None:
    path = tmp_path / "brought_along.py"
    path.write_text("import os\nPID = os.getpid()\ndef where():\n    return __name__, __file__\n")
    module = here.python.import_local(str(path))
    assert here.terminal.link.facts.pid == module.PID
    assert list(module.where()) == ["brought_along", str(path)]
    here.python.exec("import brought_along")
    assert here.python.brought_along.PID == module.PID
    assert here.python.import_local(sent).twice(4) == 8
    with pytest.raises(UsageError, match="no source"):
        here.python.import_local(str(tmp_path / "nothing.so"))
    with pytest.raises(UsageError, match="No such file"):
        here.python.import_local(str(tmp_path / "nothing.py"))
