"""A display's name is understood or refused, and a pattern chooses windows by title, instance or class."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl.display import DisplayNameError, Geometry, Window, WindowPattern, window_matcher
from crl.display.names import DisplayName

XTERM = Window(7, "user@alpha: ~", ("xterm", "XTerm"), Geometry(10, 20, 300, 200), viewable=True, parent=1)


@pytest.mark.parametrize(
    ("text", "number", "screen"),
    [(":50", 50, 0), (":50.1", 50, 1), ("unix:3", 3, 0), ("7", 7, 0), (7, 7, 0), (" :0 ", 0, 0)],
)
def test_names_of_local_displays(text: str | int, number: int, screen: int) -> None:
    assert DisplayName.parse(text) == DisplayName(number, screen)


@pytest.mark.parametrize("text", ["", ":", "alpha:0", "localhost:10", "tcp/alpha:0", ":x", ":-1", ":1234567", "/tmp/x"])
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(DisplayNameError, match="not the name of a local display"):
        DisplayName.parse(text)


@given(st.integers(0, 99_999), st.integers(0, 999))
def test_a_name_is_read_as_it_is_shown(number: int, screen: int) -> None:
    name = DisplayName(number, screen)
    assert DisplayName.parse(str(name)) == name


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("xterm", True),
        ("XTerm", True),
        ("user@*", True),
        ("USER@*", False),
        ("term", False),
        (re.compile("te.m$"), True),
        (re.compile("^term"), False),
        (lambda window: window.geometry.width == 300, True),
    ],
)
def test_patterns(pattern: WindowPattern, matches: bool) -> None:
    assert window_matcher(pattern)(XTERM) is matches


GEOMETRIES = st.builds(
    Geometry, st.integers(-5000, 5000), st.integers(-5000, 5000), st.integers(0, 9000), st.integers(0, 9000)
)


@given(GEOMETRIES, st.integers(1, 4000), st.integers(1, 4000))
def test_what_is_clipped_lies_on_the_screen(area: Geometry, width: int, height: int) -> None:
    part = area.clipped(width, height)
    assert part.width >= 0
    assert part.height >= 0
    if part.width and part.height:
        assert 0 <= part.x <= part.x + part.width <= width
        assert 0 <= part.y <= part.y + part.height <= height
        assert part.clipped(width, height) == part
