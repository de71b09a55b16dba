"""For any text `parse_os_release` gives a dict of texts, and what is not the answer of `COLLECT` is refused."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl.errors import RemoteWorldError
from crl.targets import Target
from crl.targets.facts import parse_facts, parse_os_release


@given(st.text())
def test_os_release_is_total(text: str) -> None:
    assert all(isinstance(part, str) for pair in parse_os_release(text).items() for part in pair)


def test_os_release() -> None:
    text = "# comment\nNAME=Debian\nPRETTY_NAME=\"Debian GNU/Linux 12\"\nODD='un\nVERSION_ID='12'\n"
    parsed = parse_os_release(text)
    assert (parsed["NAME"], parsed["PRETTY_NAME"], parsed["VERSION_ID"]) == ("Debian", "Debian GNU/Linux 12", "12")


GOOD = ("host", "root", 0, (3, 11, 2), "Linux 6", "PRETTY_NAME=X", "id", 1)


@pytest.mark.parametrize("position", range(len(GOOD)))
def test_answers_of_another_form_are_refused(position: int) -> None:
    assert parse_facts(GOOD, "alpha").os == "X"
    wrongs: tuple[object, ...] = (None, b"", [], (1,), ("a", "b", "c"))
    for wrong in wrongs:
        answer = (*GOOD[:position], wrong, *GOOD[position + 1 :])
        with pytest.raises(RemoteWorldError, match="alpha: asking for facts"):
            parse_facts(answer, "alpha")
    with pytest.raises(RemoteWorldError):
        parse_facts(GOOD[:position], "alpha")


def test_facts_are_one_round_trip(here: Target) -> None:
    requests = here.terminal.link.statistics.requests
    facts = here.facts
    assert here.terminal.link.statistics.requests == requests + 1
    assert facts.hostname == socket.gethostname()
    assert facts.uid == os.getuid()
    assert facts.pid == here.terminal.link.facts.pid
    assert facts.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
