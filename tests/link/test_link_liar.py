"""Whatever a lying target sends: one clear ProtocolViolation, bounded memory, and nothing of it is executed here."""

from __future__ import annotations

import re
import resource
import shlex
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from crl.link import Keep, Lane, Link, LinkLost, LinkStartError, ProtocolViolation
from tests.link.liar import LIES
from tests.link.peers import Shell

MakeShell = Callable[..., Shell]


def lying_lane(shell: Shell, lie: str) -> Lane:
    """A lane at whose end the liar starts instead of the remote program."""
    lane = shell.lane()

    def send_line(line: str) -> None:
        backwards = re.search(r'\\"([0-9a-f]{16})\\"\[::-1\]', line)
        assert backwards is not None
        argv = [sys.executable, str(Path(__file__).with_name("liar.py")), str(Path(__file__).parents[2])]
        shell.say(shlex.join([*argv, backwards.group(1)[::-1], lie]))

    return Lane(lane.channel, send_line, lane.read_pending, lane.give_back, "liar")


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_one_clear_violation(make_shell: MakeShell, lie: str) -> None:
    link = Link.start(lying_lane(make_shell(), lie), timeout=20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    call = link.submit_evaluate("1", keep=Keep(None))
    with pytest.raises(ProtocolViolation) as caught:
        call.result(20)
    assert caught.value.host == "liar"
    assert "do not trust" in str(caught.value)
    assert not link.alive
    with pytest.raises(LinkLost):
        link.submit_evaluate("2").result(5)
    with pytest.raises(LinkLost):
        link.evaluate("3")
    # What one message may take at most, and no more.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000
    assert threading.current_thread() is threading.main_thread()
    link.close()


def test_a_greeting_that_is_none_is_refused(make_shell: MakeShell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crl.link.wire.values.VERSION", 99)
    with pytest.raises(LinkStartError, match="not ours"):
        Link.start(lying_lane(make_shell(), "an unknown kind"), timeout=20)
