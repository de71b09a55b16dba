"""A session's parameters become exactly the server's words, or are refused; nothing of them can become another word."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl.x2go import X2GoParameterError, defaults
from crl.x2go.backends.terminal._failures import start_failure
from crl.x2go.backends.terminal._params import X2GoSessionParams, candidates, command_words, rewrite_blanks
from crl.x2go.x2go_exceptions import X2GoAgentDied, X2GoDesktopSharingDenied, X2GoException, X2GoSessionLimitReached
from tests.x2go.answers import Answer


def test_arguments_of_a_start() -> None:
    params = X2GoSessionParams(
        geometry="1024x768",
        link="lan",
        pack="nopack",
        kbtype="pc105/de",
        kblayout="de",
        session_type="desktop",
        cmd="MATE",
    )
    assert params.start_arguments() == [
        "1024x768", "lan", "nopack", "unix-kde-depth_24", "de", "pc105/de", "1", "D", "MATE", "both",
    ]  # fmt: skip
    assert params.start_environment() == {"X2GO_XINERAMA": "false"}


def test_arguments_of_a_resume() -> None:
    params = X2GoSessionParams(dpi=96, xinerama=True)
    assert params.resume_arguments("a-50-1") == [
        "a-50-1", "800x600", "adsl", "16m-jpeg-9", "null", "null/null", "0", "both", "True",
    ]  # fmt: skip
    assert params.start_environment() == {"X2GO_XINERAMA": "true", "X2GODPI": "96"}


@pytest.mark.parametrize(
    ("session_type", "cmd", "letter"),
    [
        ("application", "xterm", "R"),
        ("rootless", "TERMINAL", "R"),
        ("desktop", "openbox-session", "D"),
        ("application", "OPENBOX", "D"),
        ("application", "mate-session", "D"),
        ("D", "xterm", "D"),
    ],
)
def test_types(session_type: str, cmd: str, letter: str) -> None:
    assert X2GoSessionParams(session_type=session_type, cmd=cmd).rewrite_session_type() == letter


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("geometry", "800"),
        ("geometry", "0x600"),
        ("geometry", "800x600; reboot"),
        ("link", "fast"),
        ("pack", "16m-jpeg"),
        ("pack", ""),
        ("depth", 7),
        ("clipboard", "sometimes"),
        ("session_type", "kiosk"),
        ("kbtype", "us; reboot"),
        ("kblayout", "$(reboot)"),
        ("dpi", "many"),
        ("cache_type", "a b"),
        ("cmd", ""),
        ("cmd", []),
        ("cmd", "xterm -e 'a b'"),
        ("cmd", "xterm; reboot"),
        ("cmd", ["xterm", "-title", "two words"]),
        ("cmd", "ls *"),
    ],
)
def test_what_a_server_would_not_understand_is_refused(key: str, value: object) -> None:
    with pytest.raises(X2GoParameterError):
        X2GoSessionParams().update(**{key: value})


RDP = {"cmd": "RDP", "rdp_server": "win.example", "geometry": "1024x768"}
RDESKTOP = ["rdesktop", "-g", "1024x768", "-N"]


@pytest.mark.parametrize(
    ("options", "letter", "name", "words"),
    [
        ({"published_applications": True, "cmd": ""}, "P", "PUBLISHED", ["PUBLISHED"]),
        ({"session_type": "published", "cmd": None}, "P", "PUBLISHED", ["PUBLISHED"]),
        ({"cmd": None}, "R", "TERMINAL", ["TERMINAL"]),
        ({"session_type": "shared", "cmd": "1XSHADpatXSHAD:50"}, "S", "1XSHADpatXSHAD:50", []),
        ({"cmd": "XDMCP", "xdmcp_server": "login.example"}, "D", "XDMCP", []),
        ({"session_type": "desktop", "cmd": "GNOME", "kdrive": True}, "K", "GNOME", ["GNOME"]),
        (RDP, "R", "rdesktop", [*RDESKTOP, "win.example", "-a", "24"]),
        ({**RDP, "geometry": "fullscreen"}, "D", "rdesktop", ["rdesktop", "-f", "-N", "win.example", "-a", "24"]),
        (
            {**RDP, "rdp_options": "-u X2GO_USER -p X2GO_PASSWORD -r sound:off"},
            "R", "rdesktop", [*RDESKTOP, "-u", "pat", "-r", "sound:off", "win.example", "-a", "24"],
        ),
        (
            {**RDP, "cmd": "xfreerdp", "rdp_options": "/u:X2GO_USER /p:X2GO_PASSWORD"},
            "R", "xfreerdp", ["xfreerdp", "/size:1024x768", "/u:pat", "/v:win.example", "/bpp:24"],
        ),
    ],
)  # fmt: skip
def test_kinds_of_sessions(options: dict[str, Any], letter: str, name: str, words: list[str]) -> None:
    params = X2GoSessionParams(**options)
    assert params.rewrite_session_type() == letter
    assert params.name_for_id() == name
    assert params.run_words("pat") == words
    assert params.start_arguments()[7:9] == [letter, name]
    assert len(params.start_arguments()) == (9 if letter == "S" else 10)
    server = options.get("xdmcp_server")
    assert params.start_environment().get("X2GOXDMCP") == server


@pytest.mark.parametrize(
    "options",
    [
        {"cmd": "XDMCP"},
        {"cmd": "XDMCP", "xdmcp_server": "-query"},
        {"cmd": "XDMCP", "xdmcp_server": "a b"},
        {"cmd": "RDP"},
        {**RDP, "rdp_server": "$(reboot)"},
        {**RDP, "rdp_options": "-p hunter2"},
        {**RDP, "cmd": "xfreerdp", "rdp_options": "/p:hunter2"},
        {**RDP, "rdp_options": "-T 'two words'"},
        {"session_type": "shared", "cmd": "xterm"},
        {"session_type": "shared", "cmd": "2XSHADpatXSHAD:50"},
        {"session_type": "shared", "cmd": "1XSHAD$(reboot)XSHAD:50"},
        {"snd_system": "loud"},
    ],
)
def test_kinds_of_sessions_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(X2GoParameterError) as caught:
        X2GoSessionParams(**options)
    assert "hunter2" not in str(caught.value)


def test_a_refused_update_changes_nothing() -> None:
    params = X2GoSessionParams()
    with pytest.raises(X2GoParameterError, match="geometry"):
        params.update(link="lan", geometry="large")
    assert params == X2GoSessionParams()
    with pytest.raises(X2GoParameterError, match="no parameter colour"):
        params.update(colour="red")


@given(st.text(max_size=40))
def test_a_command_is_passed_word_for_word_or_refused(text: str) -> None:
    with contextlib.suppress(X2GoParameterError):
        words = command_words(text)
        assert words == text.split()
        assert rewrite_blanks(text).split("X2GO_SPACE_CHAR") == words
        assert not set("".join(words)) & set("'\"\\$`;&|<>(){}*?[]~#! \n")
        assert X2GoSessionParams(cmd=text).name_for_id().replace("-", "").replace(".", "").isalnum() or words


def test_words_of_the_server_stand_for_programs() -> None:
    assert candidates("OPENBOX") == ("openbox-session",)
    assert "xterm" in candidates("TERMINAL")
    assert candidates("/usr/bin/xterm -ls") == ("/usr/bin/xterm",)


def test_all_packing_methods_are_known() -> None:
    assert len(defaults.pack_methods_nx3) == len(set(defaults.pack_methods_nx3)) == 136
    assert {"nopack", "16m-jpeg-9", "8-png-jpeg-0", "16m-rle-5", "64-png"} <= set(defaults.pack_methods_nx3)


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (Answer(9, "", "LIMIT\n"), X2GoSessionLimitReached, "no more sessions"),
        (Answer(8, "", "ACCESS DENIED\n"), X2GoDesktopSharingDenied, "did not allow"),
        (Answer(12, "", "X2Go Agent terminated unexpectedly\n"), X2GoAgentDied, "ended at once"),
        (Answer(10, "", ""), X2GoException, "no free display"),
        (Answer(0, "nonsense", ""), X2GoException, "named no session"),
    ],
)
def test_failures_of_a_start(answer: Answer, kind: type[X2GoException], text: str) -> None:
    error = start_failure(answer, "alpha")
    assert type(error) is kind or kind is X2GoException
    assert text in str(error)
    assert "alpha" in str(error)


@given(st.integers(-64, 255), st.text(max_size=60), st.text(max_size=60))
def test_every_failure_has_an_error(status: int, stdout: str, stderr: str) -> None:
    assert isinstance(start_failure(Answer(status, stdout, stderr), "alpha"), X2GoException)
