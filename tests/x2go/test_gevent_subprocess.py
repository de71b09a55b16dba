"""The process class of python-x2go's gevent module: it is there, and it is an ordinary process."""

from __future__ import annotations

import pytest

from crl.x2go.gevent_subprocess import PIPE, STDOUT, Popen


def test_both_pipes() -> None:
    with Popen(["sh", "-c", "cat; echo no >&2; exit 3"], stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        assert process.communicate(b"x" * 300000) == (b"x" * 300000, b"no\n")
        assert process.wait(check_interval=0.5) == 3
        assert process.wait(0.1) == process.returncode == process.poll() == 3


def test_pipes_by_hand() -> None:
    process = Popen(["cat"], stdin=PIPE, stdout=PIPE, stderr=STDOUT, text=True)
    process._write_pipe(process.stdin, "text")
    assert process._read_pipe(process.stdout) == "text"
    process.stdout.close()
    assert process.wait(timeout=10) == 0


def test_no_such_program() -> None:
    with pytest.raises(FileNotFoundError):
        Popen(["/there/is/none"])
