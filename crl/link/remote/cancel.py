"""Cancelling calls: raises an exception in the thread that runs one, at its next instruction of Python code.

A call that is blocked in C goes on until it is back in Python. It is sent on first use and needs ctypes; it promises
that the exception reaches the call it is meant for or nobody.
"""
# ruff: noqa: F401 - names in type comments look unused.

import ctypes

from crl.link.remote import calls
from crl.link.wire.compat import allocate_lock, get_ident

MYPY = False
if MYPY:
    from typing import Any


class Canceller(object):
    """Interrupts running calls."""

    def __init__(self, program):
        # type: (Any) -> None
        self.program = program
        self._lock = allocate_lock()
        self._asked = {}  # type: dict[int, int]
        program.calls.services["cancel.stop"] = self.stop

    def stop(self, number):
        # type: (int) -> bool
        """Interrupt a call; False when it is not running: it has ended, or has not come yet and will not begin."""
        with self._lock:
            thread = self.program.running.get(number)
            if thread is None or thread == get_ident():
                self.program.drop(number)
                return False
            if number not in self._asked:
                self._asked[number] = thread
                _raise_in(thread, ctypes.py_object(calls.Cancelled))
            return True

    def settle(self, number):
        # type: (int) -> None
        """A call has ended, in its own thread: what was meant for it and has not struck yet must not strike later."""
        with self._lock:
            thread = self._asked.pop(number, None)
            if thread is not None:
                _raise_in(thread, ctypes.py_object())


def _raise_in(thread, error):
    # type: (int, Any) -> None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_long(thread), error)


def install(program):
    # type: (Any) -> None
    """Called when this piece arrives."""
    program.canceller = Canceller(program)
