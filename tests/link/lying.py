"""Links to the liar, for tests and for the programs that tests run."""

from __future__ import annotations

import contextlib
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from crl.link import Lane, Link
from tests.link.peers import Shell

__all__ = ["lying_lane", "lying_link"]


def lying_lane(shell: Shell, lie: str) -> Lane:
    """A lane at whose end the liar starts instead of the remote program."""
    lane = shell.lane()

    def send_line(line: str) -> None:
        backwards = re.search(r'\\"([0-9a-f]{16})\\"\[::-1\]', line)
        assert backwards is not None
        argv = [sys.executable, str(Path(__file__).with_name("liar.py")), str(Path(__file__).parents[2])]
        shell.say(shlex.join([*argv, backwards.group(1)[::-1], lie]))

    return Lane(lane.channel, send_line, lane.read_pending, lane.give_back, "liar")


@contextlib.contextmanager
def lying_link(lie: str) -> Iterator[Link]:
    """A link to a liar of its own."""
    shell = Shell()
    try:
        with Link.start(lying_lane(shell, lie), timeout=60) as link:
            yield link
    finally:
        shell.close()
