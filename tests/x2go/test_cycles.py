"""Many sessions: one after the other without a leak, and many at once, on two cores.

Invariant: after the last one both sides are as before the first, in processes, threads, descriptors and files.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable

import pytest

from crl.display import Window
from crl.lab import Lab
from crl.targets import Target
from crl.x2go import AgentState, ClientDisplay, list_sessions
from tests.x2go.conftest import Session, remains_of, wait_until, wait_until_gone

pytestmark = pytest.mark.lab
Figure = Callable[[str], None]


def together(steps: Iterable[Callable[[], object]], seconds: float) -> None:
    """Run each in a thread of its own; what one raises fails the test."""
    failures: list[BaseException] = []

    def one(step: Callable[[], object]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - it is raised below
            failures.append(error)

    threads = [threading.Thread(target=one, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
    if failures:
        raise ExceptionGroup("sessions failed", [error for error in failures if isinstance(error, Exception)])
    assert not [thread for thread in threads if thread.is_alive()]


def cycles(alpha: Target, session: Session, lab: Lab, count: int, figure: Figure) -> None:
    """Start and terminate sessions two at a time, and compare both sides after the first ones and after the last."""

    def some(number: int) -> None:
        for _ in range(number):
            one = session(alpha, cmd="xterm", client_display=display)
            one.start()
            assert one.get_state() is AgentState.RUNNING
            one.terminate()

    with ClientDisplay.start((640, 480)) as display:
        some(1)  # from now on everything that is made once is there
        wait_until(lambda: not list_sessions(alpha))
        before = remains_of(lab, "alpha", "zshuser")
        threads = set(threading.enumerate())
        began = time.monotonic()
        together([lambda: some(count // 2)] * 2, 30.0 * count)
        figure(f"{count} cycles in {time.monotonic() - began:.1f} s, load {os.getloadavg()[0]:.1f}")
        wait_until_gone(lambda: remains_of(lab, "alpha", "zshuser").new_since(before))
        wait_until(lambda: not set(threading.enumerate()) - threads)
        assert not set(threading.enumerate()) - threads
        assert list_sessions(alpha) == {}
        wait_until(lambda: not of_sessions(display))
        assert not of_sessions(display)


def of_sessions(display: ClientDisplay) -> list[Window]:
    """The windows of sessions."""
    return [window for window in display.screen.windows() if window.wm_class[1] in ("XTerm", "X2GoAgent")]


@pytest.mark.timeout(600)
def test_ten_cycles(alpha: Target, session: Session, lab: Lab, figure: Figure) -> None:
    cycles(alpha, session, lab, 10, figure)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_hundred_cycles(alpha: Target, session: Session, lab: Lab, figure: Figure) -> None:
    cycles(alpha, session, lab, 100, figure)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("nothing_left")
def test_ten_at_once(alpha: Target, session: Session, figure: Figure) -> None:
    with ClientDisplay.start((1280, 1024)) as display:
        sessions = [session(alpha, cmd="xterm", client_display=display) for _ in range(10)]
        began = time.monotonic()
        together([lambda one=one: one.start(timeout=240) for one in sessions], 300)  # type: ignore[misc]
        figure(f"all started after {time.monotonic() - began:.1f} s, load {os.getloadavg()[0]:.1f}")
        assert {one.get_state() for one in sessions} == {AgentState.RUNNING}
        assert len({one.info.display for one in sessions}) == 10
        for one in sessions:
            one.wait_for_window("xterm", 60)
            assert one.verify(["xterm"]).agent_alive
        together([one.terminate for one in sessions], 120)
