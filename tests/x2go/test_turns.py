"""Turns of starts: two at most on one server, others wait for their deadline, who asks for permission is not held."""

from __future__ import annotations

import contextlib

import pytest

from crl.deadlines import Deadline
from crl.x2go import X2GoTimeOutException
from crl.x2go.backends.terminal._turns import AT_ONCE, start_turn


def test_turns() -> None:
    host = "a server of this test"
    soon = Deadline.after(0.05)
    with contextlib.ExitStack() as held:
        for _ in range(AT_ONCE):
            held.enter_context(start_turn(host, Deadline.after(10)))
        with pytest.raises(X2GoTimeOutException, match="took all the time"), start_turn(host, soon):
            raise AssertionError("there was a third turn")
        with start_turn("another server", soon), start_turn(host, soon, needed=False):
            pass
    with pytest.raises(KeyError), start_turn(host, Deadline.after(10)):
        raise KeyError
    with contextlib.ExitStack() as again:
        for _ in range(AT_ONCE):
            again.enter_context(start_turn(host, Deadline.after(10)))
