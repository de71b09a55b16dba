"""Any text of a server is read without an error, and what is a session in it is found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl.x2go import X2GoServerSessionInfo, X2GoServerSessionList
from crl.x2go._records import parse_resume, parse_sessions, parse_start

COOKIE = "3dec4a0b9d2e1c4d786f37d5ae3fa07e"
LINE = (
    "18885|alice-50-1795219224_stDOPENBOX_dp24|50|vm|R|2026-11-21T00:00:24|" + COOKIE + "|127.0.0.1|35077|35078|"
    "2026-11-21T00:00:26|alice|4|35079|-1|-1"
)
APPLICATION = (
    LINE.replace("stDOPENBOX", "stRxterm").replace("-50-", "-51-").replace("|50|", "|51|").replace("|R|", "|S|")
)
YOUNG = "|alice-52-1795219226_stRxterm_dp24|52|vm|R|2026-11-21T00:00:26||||||alice|0|"
START = ["50", COOKIE, "18885", "alice-50-1795219224_stDOPENBOX_dp24", "35077", "35078", "35079"]
TEXT = st.text(st.characters(codec="utf-8"), max_size=300) | st.text("|0123456789abcdef-_stRD\n", max_size=300)


@given(TEXT)
def test_any_text_is_read(text: str) -> None:
    for row in parse_sessions(text):
        assert row.name
        assert row.agent_pid is None or row.agent_pid >= 0
    assert parse_start(text) is None or parse_start(text) is not None
    assert parse_resume(text) is None or parse_resume(text) is not None
    assert len(X2GoServerSessionList(text)) <= text.count("|")


@given(TEXT, TEXT)
def test_other_lines_around_sessions_do_no_harm(before: str, after: str) -> None:
    names = [row.name for row in parse_sessions(f"{before}\n{LINE}\n{APPLICATION}\n{after}")]
    place = names.index("alice-50-1795219224_stDOPENBOX_dp24")
    assert names[place + 1] == "alice-51-1795219224_stRxterm_dp24"


@given(st.lists(st.sampled_from([*START, "", "x", "-1", "99999999999"]), max_size=20))
def test_a_start_is_read_whole_or_not_at_all(lines: list[str]) -> None:
    answer = parse_start("\n".join(lines))
    if answer is not None:
        assert "\n".join(START[:4]) in "\n".join(lines)
        assert answer.cookie == COOKIE


def test_one_session_of_the_list() -> None:
    (row,) = parse_sessions(LINE)
    assert (row.agent_pid, row.display, row.hostname, row.status) == (18885, 50, "vm", "R")
    assert (row.graphics_port, row.snd_port, row.sshfs_port, row.tekictrl_port) == (35077, 35078, 35079, None)
    assert (row.username, row.age, row.client) == ("alice", 4, "127.0.0.1")


def test_a_session_that_is_just_being_made_has_no_numbers_yet() -> None:
    (row,) = parse_sessions(YOUNG)
    assert (row.agent_pid, row.graphics_port, row.display) == (None, None, 52)


def test_the_answer_of_a_start() -> None:
    answer = parse_start("\n".join(["a warning", *START, "-1"]))
    assert answer is not None
    assert (answer.display, answer.agent_pid, answer.graphics_port, answer.sshfs_port) == (50, 18885, 35077, 35079)
    assert answer.tekictrl_port is None
    with_telekinesis = parse_start("\n".join([*START, "35080", "35081"]))
    assert with_telekinesis is not None
    assert (with_telekinesis.tekictrl_port, with_telekinesis.tekidata_port) == (35080, 35081)


@pytest.mark.parametrize("lines", [START[:6], START[1:], ["LIMIT"], []])
def test_an_answer_that_is_not_complete_is_none(lines: list[str]) -> None:
    assert parse_start("\n".join(lines)) is None


def test_the_answer_of_a_resume() -> None:
    answer = parse_resume("gr_port=35915\nsound_port=35916\nfs_port=\n")
    assert answer is not None
    assert (answer.graphics_port, answer.snd_port, answer.sshfs_port) == (35915, 35916, None)
    assert (answer.tekictrl_port, answer.tekidata_port) == (None, None)
    with_telekinesis = parse_resume("gr_port=1\ntekictrl_port=2\ntekidata_port=-1")
    assert with_telekinesis is not None
    assert (with_telekinesis.tekictrl_port, with_telekinesis.tekidata_port) == (2, None)
    assert parse_resume("gr_port=\nsound_port=1") is None


def test_cookies_are_not_shown() -> None:
    (row,) = parse_sessions(LINE)
    shown = repr(row) + repr(parse_start("\n".join(START))) + repr(X2GoServerSessionInfo.from_row(row))
    assert COOKIE not in shown


class TestInfo:
    def test_types(self) -> None:
        records = X2GoServerSessionList("\n".join([LINE, APPLICATION])).get_sessions()
        desktop, application = records.values()
        assert (desktop.get_session_type(), application.get_session_type()) == ("D", "R")
        assert desktop.is_desktop_session()
        assert not application.is_desktop_session()
        assert desktop.is_running()
        assert application.is_suspended()
        assert desktop.is_nx3_session()
        assert not desktop.is_kdrive_session()

    @pytest.mark.parametrize(
        ("name", "letter", "mode"),
        [
            ("a-50-1795219224_stRPUBLISHED_dp24", "P", None),
            ("a-50-1795219224_stS1XSHADbobXSHADPP51_dp24", "S", "1"),
            ("a-50-1795219224_stKGNOME_dp24", "K", None),
            ("", None, None),
        ],
    )
    def test_names_tell_the_type(self, name: str, letter: str | None, mode: str | None) -> None:
        info = X2GoServerSessionInfo()
        info.name = name
        assert info.get_session_type() == letter
        assert info.get_share_mode() == mode

    def test_start_output_makes_a_protected_record(self) -> None:
        info = X2GoServerSessionInfo()
        assert info.initialize("\n".join(START), username="alice", hostname="vm")
        assert info.is_initialized()
        assert info.is_protected()
        assert (info.cookie, info.display, info.username) == (COOKIE, 50, "alice")

    def test_what_is_no_start_changes_nothing(self) -> None:
        info = X2GoServerSessionInfo()
        assert not info.initialize("LIMIT")
        assert not info._parse_x2golistsessions_line("nonsense")
        assert not info._parse_x2gostartagent_output("nonsense")
        assert not info.is_initialized()

    def test_update_takes_ports_and_status_only(self) -> None:
        info = X2GoServerSessionInfo()
        assert info._parse_x2gostartagent_output("\n".join(START))
        assert not info.is_protected()
        info.initialize("\n".join(START))
        newer = X2GoServerSessionInfo()
        assert newer._parse_x2golistsessions_line(APPLICATION.replace("35077", "40000"))
        info.update(newer)
        assert (info.graphics_port, info.status, info.display) == (40000, "S", 50)

    def test_search(self) -> None:
        records = X2GoServerSessionList("\n".join([LINE, APPLICATION]))
        assert str(records.get_session_with("display", ":51.0")) == "alice-51-1795219224_stRxterm_dp24"
        assert records.get_session_with("display", ":51", hostname="elsewhere") is None
        assert records.get_session_with("no_such_property", "x") is None
        assert "alice-51-1795219224_stRxterm_dp24" in records
