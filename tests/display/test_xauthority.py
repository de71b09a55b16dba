"""Any bytes give entries without an error, and entries that are written are read back the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl.display.xauthority import (
    FAMILY_LOCAL,
    FAMILY_WILD,
    MAGIC_COOKIE,
    XauthEntry,
    choose_cookie,
    format_xauthority,
    parse_xauthority,
)

SHORT = st.binary(max_size=40)
ENTRIES = st.lists(st.builds(XauthEntry, st.integers(0, 65535), SHORT, SHORT, SHORT, SHORT), max_size=6)


def local(host: bytes, number: bytes, data: bytes) -> XauthEntry:
    return XauthEntry(FAMILY_LOCAL, host, number, MAGIC_COOKIE, data)


@given(ENTRIES)
def test_what_is_written_is_read(entries: list[XauthEntry]) -> None:
    assert parse_xauthority(format_xauthority(entries)) == tuple(entries)


@given(st.binary(max_size=300))
def test_any_bytes_are_read(content: bytes) -> None:
    entries = parse_xauthority(content)
    assert content.startswith(format_xauthority(entries))


@given(ENTRIES, st.integers(0, 30))
def test_a_damaged_end_costs_only_the_last_entry(entries: list[XauthEntry], cut: int) -> None:
    whole = format_xauthority(entries)
    found = parse_xauthority(whole[: len(whole) - min(cut, len(whole))])
    assert found == tuple(entries)[: len(found)]


def test_the_newest_cookie_of_the_host_is_chosen() -> None:
    entries = [
        XauthEntry(FAMILY_WILD, b"", b"", MAGIC_COOKIE, b"wild"),
        local(b"alpha", b"50", b"old"),
        local(b"alpha", b"51", b"other display"),
        local(b"beta", b"50", b"other host"),
        local(b"alpha", b"50", b"new"),
        XauthEntry(FAMILY_LOCAL, b"alpha", b"50", b"XDM-AUTHORIZATION-1", b"other protocol"),
    ]
    assert choose_cookie(entries, "alpha", 50) == (MAGIC_COOKIE, b"new")
    assert choose_cookie(entries, "gamma", 7) == (MAGIC_COOKIE, b"wild")
    assert choose_cookie(entries[1:], "gamma", 7) is None


def test_a_cookie_is_not_shown() -> None:
    assert "new" not in repr(local(b"alpha", b"50", b"new"))


def test_a_field_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        format_xauthority([local(b"x" * 70_000, b"50", b"")])
