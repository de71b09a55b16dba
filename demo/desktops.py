"""The X2Go part: sessions started, looked at, verified, suspended, resumed and ended on one target.

It works on any target with an X2Go server. Each session is ended whatever happens, and the session list has to be the
same before and after.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from crl.targets import Target
from crl.x2go import X2GoSession, list_sessions
from demo.recorder import Recorder, Step

__all__ = ["Desktop", "show_session"]


@dataclass(frozen=True)
class Desktop:
    """What is started.

    Attributes:
        key: Short name for files.
        title: What a person calls it.
        cmd: The X2Go command.
        session_type: ``desktop`` or ``application``.
        extra: Commands started in the running session, so that there is something to see on a bare desktop.
        window: A window that has to appear, with wildcards.
    """

    key: str
    title: str
    cmd: str
    session_type: str
    extra: tuple[tuple[str, ...], ...]
    window: str


def show_session(recorder: Recorder, target: Target, desktop: Desktop, place: str) -> None:
    """Take one session through its whole life.

    Args:
        recorder: Where it is kept.
        target: Whose account the session belongs to.
        desktop: What to start.
        place: Short name of the target for files.
    """
    with recorder.step(f"{desktop.title}: sessions before") as step:
        before = sorted(list_sessions(target))
        step.fact("sessions before", before or "none")
    session = X2GoSession(
        target=target, cmd=desktop.cmd, session_type=desktop.session_type, geometry="1024x768", pack="nopack"
    )
    with session:
        with recorder.step(f"{desktop.title}: start") as step:
            session.start()
            step.fact("session", session.get_session_name())
        with recorder.step(f"{desktop.title}: see and verify") as step:
            _look(recorder, step, session, target, desktop, f"{place}-{desktop.key}")
        with recorder.step(f"{desktop.title}: suspend") as step:
            session.suspend()
            step.check(session.is_suspended(), "the server says SUSPENDED")
        with recorder.step(f"{desktop.title}: resume and verify again") as step:
            session.resume()
            seen = session.verify([desktop.window])
            step.check(seen.ok, "it is RUNNING, its windows are there and it is shown here")
            assert seen.client_picture is not None
            recorder.picture(step, seen.client_picture, f"{place}-{desktop.key}-resumed", "this side after resuming")
        with recorder.step(f"{desktop.title}: terminate") as step:
            session.terminate()
            step.check(session.has_terminated(), "the server says TERMINATED")
    with recorder.step(f"{desktop.title}: sessions after") as step:
        after = _sessions_when_settled(target, before)
        step.fact("sessions after", after or "none")
        step.check(after == before, "the session list is as before")


def _look(
    recorder: Recorder, step: Step, session: X2GoSession, target: Target, desktop: Desktop, name: str
) -> None:
    """Verify a session and keep both pictures."""
    for command in desktop.extra:
        target.start(list(command), env=session.get_environment(), detached=True)
    seen = session.verify([desktop.window])
    step.check(seen.ok, "agent, proxy, windows and both displays are as they should be")
    step.fact("state", seen.state)
    step.fact("windows there", ", ".join(window.name for window in seen.server_windows if window.name))
    assert seen.server_picture is not None
    assert seen.client_picture is not None
    recorder.picture(step, seen.server_picture, f"{name}-server", "the session's own display")
    recorder.picture(step, seen.client_picture, f"{name}-client", "this side")


def _sessions_when_settled(target: Target, wanted: list[str], timeout: float = 15.0) -> list[str]:
    """The session list once it is as wanted, or as it is at the end: the server tidies it every two seconds."""
    until = time.monotonic() + timeout
    while True:
        # The server offers nothing to wait for; each question is one run of its list command, about half a second.
        after = sorted(list_sessions(target))
        if after == wanted or time.monotonic() > until:
            return after
