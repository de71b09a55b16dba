"""Whatever bytes come, the SFTP part answers, or ends the conversation by one exception; however they are cut up."""

from __future__ import annotations

import itertools
import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crl.x2go._confined import ConfinedFolder
from crl.x2go._sftpsession import LONGEST_READ, MOST_HANDLES, SftpSession
from crl.x2go._sftpwire import LARGEST, Kind, Packets, SftpGarbage, Status
from tests.x2go.sftpraw import CREATE, NO_ATTRIBUTES, READ, WRITE, text

INIT = struct.pack(">IBI", 5, Kind.INIT, 3)
NAMES = st.sampled_from(
    [b"", b".", b"..", b"file", b"folder/deep", b"link", b"/", b"../x", b"\xff\0", b"folder/../up/x"]
)
FIELDS = st.one_of(
    NAMES.map(text), st.binary(max_size=12), st.integers(0, 2**32 - 1).map(lambda n: struct.pack(">I", n)),
    st.integers(0, 2**64 - 1).map(lambda n: struct.pack(">Q", n)), st.just(text(b"1")), st.just(text(b"2")),
)  # fmt: skip
REQUESTS = st.tuples(st.integers(0, 255) | st.sampled_from(list(map(int, Kind))), st.lists(FIELDS, max_size=5)).map(
    lambda both: packet(bytes([both[0]]) + struct.pack(">I", 7) + b"".join(both[1]))
)


def packet(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


@pytest.fixture(scope="module")
def confined() -> Iterator[tuple[ConfinedFolder, Path]]:
    with tempfile.TemporaryDirectory() as place:
        share = Path(place, "share")
        (share / "folder/deep").mkdir(parents=True)
        (share / "file").write_bytes(b"inside")
        (share / "link").symlink_to("../outside")
        (share / "up").symlink_to("..")
        Path(place, "outside").write_bytes(b"outside")
        one = ConfinedFolder(share)
        yield one, Path(place)
        one.close()


def conversation(folder: ConfinedFolder, pieces: list[bytes]) -> tuple[list[bytes], bool]:
    """All answers, and whether it ended in garbage."""
    session = SftpSession(folder, b"/share")
    answers: list[bytes] = []
    try:
        for piece in pieces:
            only = session.answer(piece)
            answers += session.answers(piece) if only is None else [only]
    except SftpGarbage:
        return answers, True
    finally:
        session.close()
    return answers, False


@settings(max_examples=150, deadline=None)
@given(requests=st.lists(REQUESTS, max_size=6))
def test_any_request_gets_one_answer(confined: tuple[ConfinedFolder, Path], requests: list[bytes]) -> None:
    folder, place = confined
    answers, garbage = conversation(folder, [INIT, *requests])
    assert len(answers) == 1 + len(requests) or garbage
    assert (place / "outside").read_bytes() == b"outside"
    assert sorted(os.listdir(place)) == ["outside", "share"]
    assert len(os.listdir("/proc/self/fd")) < 300


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=5))
def test_any_bytes_cut_anywhere(data: bytes, cuts: list[int]) -> None:
    def packets(pieces: list[bytes], *, short: bool = False) -> tuple[list[bytes], str]:
        cutter, found = Packets(), []
        try:
            for piece in pieces:
                only = cutter.single(piece) if short else None
                found += list(cutter.feed(piece)) if only is None else [only]
        except SftpGarbage as error:
            return found, str(error)
        return found, ""

    edges = [0, *sorted(cuts), len(data)]
    pieces = [data[begin:end] for begin, end in itertools.pairwise(edges)]
    assert packets([data]) == packets(pieces) == packets([bytes([one]) for one in data])
    framed = packet(data)
    for whole in ([data], pieces, [framed, data], [data, framed], [framed[:5], framed[5:], framed]):
        assert packets(whole, short=True) == packets(whole)


def test_a_packet_may_not_be_too_large() -> None:
    packets = Packets()
    with pytest.raises(SftpGarbage):
        list(packets.feed(struct.pack(">I", LARGEST + 1)))
    with pytest.raises(SftpGarbage):
        list(Packets().feed(bytes(4)))


def test_what_does_not_begin_is_not_answered(confined: tuple[ConfinedFolder, Path]) -> None:
    request = bytes([Kind.LSTAT]) + struct.pack(">I", 1) + text(b"file")
    for first in (packet(request), packet(b"\1"), packet(b"\1\0\0\0\2")):
        assert conversation(confined[0], [first]) == ([], True)


def test_open_files_and_answers_are_bounded(confined: tuple[ConfinedFolder, Path]) -> None:
    folder, place = confined
    (place / "share/large").write_bytes(bytes(LARGEST * 2))
    before = len(os.listdir("/proc/self/fd"))
    session = SftpSession(folder, b"/share")
    try:
        list(session.answers(INIT))

        def ask(kind: Kind, *fields: bytes) -> bytes:
            [answer] = session.answers(packet(bytes([kind]) + struct.pack(">I", 1) + b"".join(fields)))
            return answer[4:]

        large = text(b"large"), struct.pack(">I", READ), NO_ATTRIBUTES
        kinds = [ask(Kind.OPEN, *large)[0] for _ in range(MOST_HANDLES + 9)]
        assert kinds.count(Kind.HANDLE) == MOST_HANDLES
        assert ask(Kind.OPENDIR, text(b""))[0] == Kind.STATUS
        assert len(os.listdir("/proc/self/fd")) <= before + MOST_HANDLES + 1
        read = ask(Kind.READ, text(b"1"), struct.pack(">QI", 0, 2**32 - 1))
        assert len(read) == 9 + LONGEST_READ
        for number in (2**63, 2**64 - 1):
            answer = ask(Kind.READ, text(b"1"), struct.pack(">QI", number, 10))
            assert answer[0] == Kind.STATUS
    finally:
        session.close()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_large_folders_are_listed_piece_by_piece(tmp_path: Path) -> None:
    names = {f"file {number:04} \udcff".encode("utf-8", "surrogateescape") for number in range(450)}
    for name in names:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).touch()
    folder = ConfinedFolder(tmp_path)
    session = SftpSession(folder, b"/share")
    list(session.answers(INIT))
    found, pieces = set(), 0

    def ask(kind: Kind, *fields: bytes) -> bytes:
        [answer] = session.answers(packet(bytes([kind]) + struct.pack(">I", 1) + b"".join(fields)))
        return answer[4:]

    assert ask(Kind.OPENDIR, text(b"/share"))[0] == Kind.HANDLE
    while (answer := ask(Kind.READDIR, text(b"1")))[0] == Kind.NAME:
        pieces += 1
        at = 9
        for _ in range(int.from_bytes(answer[5:9])):
            for _ in range(2):
                size = int.from_bytes(answer[at : at + 4])
                value = answer[at + 4 : at + 4 + size]
                found.add(value)
                at += 4 + size
            at += 4 + 8 + 5 * 4
    assert names <= found
    assert int.from_bytes(answer[5:9]) == Status.EOF
    assert pieces > 2
    made = ask(Kind.OPEN, text(b"new"), struct.pack(">I", WRITE | CREATE), NO_ATTRIBUTES)
    assert made[0] == Kind.HANDLE
    session.close()
    folder.close()
