"""The errors of terminals keep their places and texts, and every one survives pickling."""

from __future__ import annotations

import pickle

import pytest

from crl.errors import CrlError, RemoteWorldError
from crl.interactivesessions import runnerexceptions
from crl.interactivesessions.runnerexceptions import (
    RemoteTimeout,
    RunnerException,
    RunnerTerminalSessionBroken,
    SessionInitializationFailed,
    asyncresponsehandler,
    remotetimeouthandler,
    responsehandler,
)
from crl.link import LinkLost

CLASSES = [
    getattr(runnerexceptions, name)
    for name in runnerexceptions.__all__
    if isinstance(getattr(runnerexceptions, name), type)
]


@pytest.mark.parametrize("cls", CLASSES)
def test_tree_and_pickling(cls: type[RunnerException]) -> None:
    error = cls("why", host="alpha", advice="do this")
    copied = pickle.loads(pickle.dumps(error))
    assert issubclass(cls, RunnerException)
    assert issubclass(RunnerException, RemoteWorldError)
    assert type(copied) is cls
    assert str(copied) == str(error)
    assert copied.host == "alpha"


@pytest.mark.parametrize("cls", [RunnerTerminalSessionBroken, SessionInitializationFailed])
def test_wrapping_errors_say_what_is_behind(cls: type[RunnerException]) -> None:
    original = LinkLost("the cable is out", host="alpha", advice="put it in", transcript="last words")
    error = cls(original)
    assert error.args[0] is original
    assert error.host == "alpha"
    for text in ("alpha", "LinkLost", "the cable is out", "put it in", "last words"):
        assert text in str(error)
    assert str(error).count("put it in") == 1
    assert isinstance(pickle.loads(pickle.dumps(error)).args[0], LinkLost)
    assert "ValueError: no" in str(cls(ValueError("no")))


def test_remote_timeout() -> None:
    timeout = RemoteTimeout(7)
    assert timeout.response_id == 7
    assert str(timeout) == "Remote response not got yet from response 7"
    assert timeout.response_wrap(5) == 5
    timeout.add_response_wrap(lambda number: number + 1)
    timeout.add_response_wrap(str)
    assert timeout.response_wrap(5) == "6"
    timeout.link_state = "nothing was heard of alpha for 9 s"
    assert "nothing was heard of alpha" in str(timeout)
    copied = pickle.loads(pickle.dumps(timeout))
    assert copied.response_id == 7
    assert copied.response_wrap(5) == 5


def _late() -> int:
    raise RemoteTimeout(1)


def test_handlers() -> None:
    with pytest.raises(RemoteTimeout) as caught, remotetimeouthandler(str):
        _late()
    assert caught.value.response_wrap(3) == "3"
    assert responsehandler(lambda: 3) == 3
    assert responsehandler(lambda: 3, str) == "3"
    with pytest.raises(RemoteTimeout) as caught:
        responsehandler(_late, str)
    assert caught.value.response_wrap(3) == "3"
    returned = asyncresponsehandler(_late, str)
    assert isinstance(returned, RemoteTimeout)
    assert returned.response_wrap(3) == "3"
    assert asyncresponsehandler(lambda: 3, str) == "3"
    with pytest.raises(ZeroDivisionError):
        asyncresponsehandler(lambda: 1 // 0, str)


def test_all_are_errors_of_crl() -> None:
    assert all(issubclass(cls, CrlError) for cls in CLASSES)
