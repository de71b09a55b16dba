"""x2go_cleanup ends what is the client's and nothing else, and raises what it was given."""

from __future__ import annotations

import threading

import pytest

from crl.x2go import x2go_cleanup
from crl.x2go.backends.proxy.base import X2GoProxyBASE


class Part(X2GoProxyBASE):
    """A thread of an application that derives from one of ours."""

    def __init__(self, *, fails: bool = False) -> None:
        threading.Thread.__init__(self, daemon=True)
        self.fails = fails
        self.asked = threading.Event()

    def run(self) -> None:
        self.asked.wait(30)

    def stop_thread(self) -> None:
        self.asked.set()
        self.join(30)
        if self.fails:
            raise RuntimeError("cannot")


class Foreign(threading.Thread):
    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.end = threading.Event()

    def run(self) -> None:
        self.end.wait(30)

    def stop_thread(self) -> None:
        self.end.set()


def test_only_ours_are_ended() -> None:
    ours, foreign = Part(), Foreign()
    ours.start()
    foreign.start()
    x2go_cleanup()
    assert not ours.is_alive()
    assert foreign.is_alive()
    x2go_cleanup(threads=[foreign])
    foreign.join(30)
    assert not foreign.is_alive()


def test_what_was_given_is_raised_also_systemexit() -> None:
    part = Part(fails=True)
    part.start()
    with pytest.raises(SystemExit, match="3"):
        x2go_cleanup(SystemExit(3), threads=[part])
    assert not part.is_alive()


def test_one_that_fails_keeps_no_other(caplog: pytest.LogCaptureFixture) -> None:
    parts = [Part(fails=True), Part()]
    for part in parts:
        part.start()
    with pytest.raises(ExceptionGroup) as error:
        x2go_cleanup(threads=[threading.current_thread(), *parts])
    assert [str(one) for one in error.value.exceptions] == ["cannot"]
    assert not any(part.is_alive() for part in parts)
    assert "could not be ended: cannot" in caplog.text


class Closing:
    closed = False

    def close(self) -> None:
        self.closed = True


def test_transports_are_closed() -> None:
    one = Closing()
    x2go_cleanup(threads=[one])
    assert one.closed
