"""Any text gives a menu; an application that is in it has a name and a command without places for files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl.x2go._pubapps import PublishedApplications, application_words

MENU = """
<desktop>
Exec=xterm -class "UXTerm" %U
Name=XTerm
Name[de]=Ein Terminal
Comment=Terminal emulator = the first
Comment[de_DE]=Terminal
Categories=System;TerminalEmulator;
<icon>
aGVs
bG8=
</icon>
</desktop>
<desktop>
Exec=mutt
Name=mutt
Terminal=true
Categories=Network;Email;
</desktop>
<desktop>
Exec=top
Name=Top
Categories=Game;X2Go-Top;
<icon>not base64!</icon>
</desktop>
<desktop>
Name=Nothing to run
</desktop>
"""


def test_a_menu_by_category() -> None:
    menu = PublishedApplications(MENU).menu("de_DE", max_no_submenus=0)["de_DE"]
    assert {category: [one["name"] for one in entries] for category, entries in menu.items()} == {
        "System": ["Ein Terminal"],
        "Internet": ["mutt"],
        "TOP": ["Top"],
    }
    (terminal,) = menu["System"]
    assert terminal == {
        "name": "Ein Terminal", "comment": "Terminal", "exec": 'xterm -class "UXTerm"', "icon": b"hello",
    }  # fmt: skip
    assert menu["Internet"][0]["exec"] == "x-terminal-emulator -e mutt"
    assert menu["TOP"][0]["icon"] is None


def test_few_applications_need_no_categories() -> None:
    (entries,) = PublishedApplications(MENU).menu()["en"].values()
    assert [one["name"] for one in entries] == ["mutt", "Top", "XTerm"]
    assert entries[2]["comment"] == "Terminal emulator = the first"


@given(st.text(max_size=200), st.text(max_size=60))
def test_any_text(text: str, block: str) -> None:
    found = PublishedApplications(f"{text}<desktop>{block}\nExec=a %f\nName=b\n</desktop>{text}")
    for one in found.plain():
        assert one["exec"]
        assert one["name"]
        assert "%f" not in one["exec"]
    found.menu("de", max_no_submenus=0)


@pytest.mark.parametrize(
    ("command", "words"),
    [("xterm -title 'two words'", ["xterm", "-title", "two words"]), ("it's", []), ("a;reboot", ["a;reboot"])],
)
def test_commands_are_words_and_nothing_more(command: str, words: list[str]) -> None:
    assert application_words(command) == words
