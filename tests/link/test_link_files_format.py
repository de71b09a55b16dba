"""Records of file streams: split anywhere they are the same; any bytes give records or a ProtocolError and no more."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crl.link.remote import files_write
from crl.link.wire import entries
from crl.link.wire.errors import ProtocolError

NUMBERS = st.integers(0, 2**32 - 1)
RECORDS = st.lists(st.tuples(st.sampled_from(sorted(entries.KINDS)), st.binary(max_size=60)), max_size=12)
EVIL = [b"", b".", b"..", b"a/b", b"/etc/passwd", b"../x", b"a\0b", b"x" * 256]


def joined(found: list[tuple[int, object]]) -> list[tuple[int, bytes]]:
    """Records with the parts of DATA joined, empty ones left out: they may come in any parts."""
    together: list[tuple[int, bytes]] = []
    for kind, body in found:
        plain = bytes(body)  # type: ignore[call-overload]
        if kind == entries.DATA and together and together[-1][0] == entries.DATA:
            together[-1] = (kind, together[-1][1] + plain)
        elif plain or kind != entries.DATA:
            together.append((kind, plain))
    return together


@given(RECORDS, st.lists(st.integers(1, 40), min_size=1, max_size=20), st.integers(0, 5))
def test_split_anywhere_they_are_the_same(records: list[tuple[int, bytes]], steps: list[int], start: int) -> None:
    stream = b"".join(entries.pack(kind, body) for kind, body in records)
    parser = entries.Parser()
    found: list[tuple[int, object]] = []
    at = 0
    for step in steps * (len(stream) + 1):
        found += parser.feed(bytes(start) + stream[at : at + step], start)
        at += step
        if at >= len(stream):
            break
    assert joined(found) == joined(list(records))
    assert not parser.partial


@settings(max_examples=300)
@given(st.binary(max_size=400))
def test_any_bytes_are_records_or_refused(data: bytes) -> None:
    parser = entries.Parser()
    try:
        found = parser.feed(data)
    except ProtocolError:
        return
    for kind, body in found:
        if kind == entries.ENTRY:
            try:
                entries.decode_entry(body)
            except ProtocolError:
                continue


@given(
    st.sampled_from([entries.FILE, entries.FOLDER, entries.LINK]),
    st.binary(max_size=255),
    NUMBERS,
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**64 - 1),
)
def test_an_entry_comes_back(kind: bytes, name: bytes, number: int, mtime_ns: int, size: int) -> None:
    link = b"to" if kind == entries.LINK else b""
    entry = entries.Entry(kind, name, number, number, number, mtime_ns, size, 0, link)
    again = entries.decode_entry(entry.encoded())
    assert all(getattr(again, slot) == getattr(entry, slot) for slot in entries.Entry.__slots__)


@pytest.mark.parametrize("name", EVIL)
def test_names_that_lead_elsewhere_are_refused(name: bytes) -> None:
    with pytest.raises(ProtocolError, match="leaves the destination"):
        entries.check_name(name)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.builds(
                lambda kind, name, link: (entries.ENTRY, entries.Entry(kind, name, link=link).encoded()),
                st.sampled_from([entries.FILE, entries.FOLDER, entries.LINK]),
                st.sampled_from([b"a", b"b", b"A", b"..", b"c/d"]),
                st.sampled_from([b"", b"a", b"../b", b"/etc"]),
            ),
            st.tuples(st.sampled_from(sorted(entries.KINDS)), st.sampled_from([b"", b"a", b"\0" * 8, b"\0\0\0\2b"])),
        ),
        max_size=12,
    )
)
def test_any_records_stay_in_the_destination(
    tmp_path_factory: pytest.TempPathFactory, records: list[tuple[int, bytes]]
) -> None:
    outer = tmp_path_factory.mktemp("any")
    (outer / "b").write_bytes(b"old")
    writer = files_write.TreeWriter(bytes(outer / "dest"), {"digest": "sha256", "sparse": True, "delete": True})
    # Refused or done: what matters is what is there afterwards.
    with suppress(ProtocolError, OSError):
        for kind, body in [(entries.ENTRY, entries.Entry(entries.FOLDER, b"r").encoded()), *records]:
            writer.take(kind, body)
    writer.abort()
    assert sorted(path.name for path in outer.iterdir()) == ["b", "dest"]
    assert (outer / "b").read_bytes() == b"old"
    assert not list(Path(outer).rglob(".crl-*"))


@pytest.mark.parametrize(
    ("folder", "link", "out"),
    [
        (b"", b"a", False),
        (b"", b"..", True),
        (b"", b"/a", True),
        (b"d", b"..", False),
        (b"d", b"../..", True),
        (b"d", b"../e/f", False),
        (b"d", b"e/..", True),
        (b"d/e", b"../../x", False),
        (b"d", b"./a//b", False),
    ],
)
def test_which_links_lead_out(folder: bytes, link: bytes, out: bool) -> None:
    assert files_write.leads_out(folder, link) is out
