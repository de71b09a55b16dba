"""A target whose files lie: nothing outside the destination is touched and nothing is left in part."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from crl.link import Lane, Link, ProtocolViolation
from crl.link.files_results import FilesError, TransferIncomplete
from tests.link.files_liar import REFUSALS, VIOLATIONS
from tests.link.peers import Shell

MakeShell = Callable[..., Shell]
pytestmark = pytest.mark.clean_only("the liar speaks plain frames")


def lying_link(shell: Shell, lie: str) -> Link:
    """A link at whose end the liar is."""
    lane = shell.lane()

    def send_line(line: str) -> None:
        backwards = re.search(r'\\"([0-9a-f]{16})\\"\[::-1\]', line)
        assert backwards is not None
        argv = [sys.executable, str(Path(__file__).with_name("files_liar.py")), str(Path(__file__).parents[2])]
        shell.say(shlex.join([*argv, backwards.group(1)[::-1], lie]))

    return Link.start(Lane(lane.channel, send_line, lane.read_pending, lane.give_back, "liar"), timeout=60)


@pytest.fixture
def around(tmp_path: Path) -> Path:
    """A folder with a victim beside the destination, and a trap in it."""
    (tmp_path / "victim").mkdir()
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest/trap").symlink_to(tmp_path / "victim")
    (tmp_path / "dest/old").write_bytes(b"old")
    return tmp_path


def untouched(around: Path) -> bool:
    names = {path.name for path in around.iterdir()}
    left = list(around.rglob(".crl-*"))
    victims = list((around / "victim").iterdir())
    return names == {"victim", "dest"} and not left and not victims and (around / "dest/old").read_bytes() == b"old"


@pytest.mark.parametrize("lie", VIOLATIONS)
def test_a_lie_is_a_violation_and_nothing_is_written(make_shell: MakeShell, around: Path, lie: str) -> None:
    link = lying_link(make_shell(), lie)
    with pytest.raises((ProtocolViolation, FilesError)):
        link.files.pull("/x", around / "dest")
    assert untouched(around)
    assert not link.alive
    assert not (around / "dest/evil").exists()
    link.close(0.1)


@pytest.mark.parametrize("lie", REFUSALS)
def test_what_cannot_be_taken_is_told(make_shell: MakeShell, around: Path, lie: str) -> None:
    link = lying_link(make_shell(), lie)
    with pytest.raises(TransferIncomplete) as caught:
        link.files.pull("/x", around / "dest")
    assert caught.value.problems
    assert untouched(around)
    assert sorted(path.name for path in (around / "dest").iterdir()) in (["old", "trap"], ["inside", "old", "trap"])
    link.close(0.1)
