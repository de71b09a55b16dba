"""Starts, verifies, suspends, resumes and ends a desktop of ``beta``, which is reached through ``gateway``."""

from __future__ import annotations

import pytest

from crl.targets import Target
from crl.x2go import AgentState, X2GoSession, list_sessions

pytestmark = pytest.mark.crl_target("beta")


def test_the_host_is_the_right_one(target: Target) -> None:
    """Facts, and remote objects, of the far side."""
    assert target.facts.hostname == "beta"
    assert target.python.platform.node() == "beta"


@pytest.mark.x2go_session(cmd="OPENBOX", geometry="800x600")
def test_a_desktop_starts_and_ends(target: Target, x2go_session: X2GoSession) -> None:
    """One life of a session: seen, suspended, resumed, seen again, ended."""
    # An application on the desktop.
    display = {"DISPLAY": f":{x2go_session.info.display}"}
    target.start(["xterm", "-geometry", "80x24+60+60", "-bg", "ivory", "-fg", "black"], env=display)
    assert x2go_session.wait_for_window("xterm").geometry.width > 100
    seen = x2go_session.verify(["xterm"])
    assert seen.server_picture is not None
    assert seen.server_picture.size == (800, 600)

    # It goes on while nobody looks.
    x2go_session.suspend()
    assert x2go_session.get_state() is AgentState.SUSPENDED
    x2go_session.resume()
    assert x2go_session.verify(["xterm"]).ok

    # Nothing is left.
    name = str(x2go_session.get_session_name())
    x2go_session.terminate()
    assert x2go_session.get_state() is AgentState.TERMINATED
    assert name not in list_sessions(target)
    assert target.run(["pgrep", "-f", f"x2goagent.*{name}"]).status == 1
    assert target.run(f"ls -d .x2go/C-{name} /tmp/.x2go-*/C-{name}").status != 0
