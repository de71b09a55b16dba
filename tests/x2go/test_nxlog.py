"""nxproxy's output is understood in whatever pieces it comes, and any other bytes do no harm."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl.x2go.backends.proxy._nxlog import KEPT_LINES, NXLog

UP = b"""
NXPROXY - Version 3.5.99.26

Info: Connected to remote proxy on FD#5.
Info: Connection with remote proxy completed.
Info: Established X server connection.
"""
WRONG_COOKIE = b"""Info: Connected to remote proxy on FD#5.
Error: Failure negotiating the session in stage '7'.
Error: Wrong version or invalid session authentication cookie.
Session: Terminating session at 'Sat Nov 21 02:00:00 2026'.
"""


@given(st.lists(st.integers(0, len(UP)), max_size=10))
def test_pieces_do_not_matter(cuts: list[int]) -> None:
    log = NXLog()
    places = [0, *sorted(cuts), len(UP)]
    for start, end in itertools.pairwise(places):
        log.feed(UP[start:end])
    assert log.connected
    assert log.established
    assert log.reason is None


@given(st.lists(st.binary(max_size=3000), max_size=20))
def test_any_bytes(pieces: list[bytes]) -> None:
    log = NXLog()
    for piece in pieces:
        log.feed(piece)
    assert len(log.tail.splitlines()) <= KEPT_LINES * 3
    assert len(log._partial) <= 2000


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (WRONG_COOKIE, "refused the cookie"),
        (b"Error: Connection with remote peer broken.\n", "broke"),
        (b"PANIC! Connection to '127.0.0.1:2299' failed. Error is 111.\n", "could not reach the tunnel"),
        (b"Session: Session started at 'x'.\nError: Connection to ':49' failed.\n", "X display could not be reached"),
    ],
)
def test_reasons(output: bytes, reason: str) -> None:
    log = NXLog()
    log.feed(output)
    assert not log.established
    assert reason in str(log.reason)
