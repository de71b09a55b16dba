"""Invariant: what goes through armour comes out byte for byte, however it is cut, and never from one's own echo."""

from __future__ import annotations

import random
import re
import subprocess
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl.errors import UsageError
from crl.link.lane import CLEAN, FLOW_CONTROL, PRINTABLE, TELNET, LaneKind
from crl.link.wire import armour, frames
from tests.link.peers import INTERPRETERS

Figure = Callable[[str], None]
PEER = Path(__file__).with_name("armour_peer.py")

kinds = st.one_of(
    st.sampled_from([FLOW_CONTROL, TELNET, PRINTABLE]),
    st.binary(min_size=1, max_size=armour.MOST_FORBIDDEN).map(lambda forbidden: LaneKind(forbidden=forbidden)),
    st.integers(armour.LEAST_COLUMNS, 200).map(lambda columns: LaneKind(printable=True, columns=columns)),
)
awkward = st.lists(
    st.one_of(st.binary(max_size=200), st.sampled_from([b"\xfe", b"\xfe\xa1", b"\xa1", b"\x11", b"\r~.", b"\xff\xff"]))
).map(b"".join)


def cut(data: bytes, step: int) -> list[bytes]:
    return [data[start : start + step] for start in range(0, len(data), step)]


def through(data: bytes, kind: LaneKind, *, toward_target: bool = True) -> bytes:
    encoded: bytes = armour.make(kind.armour, toward_target).encode(data)
    return encoded


def taken_off(data: bytes, kind: LaneKind, step: int = 1 << 20, *, toward_target: bool = True) -> bytes:
    coat = armour.make(kind.armour, not toward_target)
    return b"".join(coat.decode(part) for part in cut(data, step)) + bytes(coat.rest())


@given(kinds, st.lists(awkward, max_size=5), st.integers(1, 60), st.booleans())
def test_every_byte_comes_out_again(kind: LaneKind, pieces: list[bytes], step: int, toward: bool) -> None:
    data = b"".join(through(piece, kind, toward_target=toward) for piece in pieces)
    assert taken_off(data, kind, step, toward_target=toward) == b"".join(pieces)


@given(kinds, awkward, st.booleans())
def test_nothing_goes_out_that_the_lane_does_not_carry(kind: LaneKind, data: bytes, toward: bool) -> None:
    sent = through(data, kind, toward_target=toward)
    assert not set(sent) & set(kind.forbidden)
    if kind.printable:
        assert set(sent) <= set(range(0x20, 0x7F)) | {0x0A}
        assert max(map(len, sent.split(b"\n"))) <= kind.columns


@given(kinds, st.lists(st.binary(max_size=100), min_size=1, max_size=4), st.integers(1, 60), st.booleans())
def test_an_echo_gives_no_frame(kind: LaneKind, payloads: list[bytes], step: int, toward: bool) -> None:
    sent = [frames.encode(frames.DATA, 3, 1, 7, seq, 3, payload) for seq, payload in enumerate(payloads)]
    echo = b"".join(through(frame, kind, toward_target=toward) for frame in sent)
    assert frames.Decoder().feed(taken_off(echo, kind, step, toward_target=not toward)) == []


@given(kinds, st.binary(max_size=400), st.integers(1, 50))
def test_any_bytes_are_taken_and_held_back_only_for_a_line(kind: LaneKind, data: bytes, step: int) -> None:
    coat = armour.make(kind.armour, toward_target=True)
    for part in cut(data, step):
        coat.decode(part)
    assert len(coat.rest()) <= armour.MOST_HELD


texts = st.text(st.characters(codec="ascii", exclude_characters="{}"), max_size=40).map(
    lambda text: text.encode() + b"\r\n"
)


@given(
    st.lists(st.tuples(texts, st.binary(max_size=200)), max_size=5),
    st.integers(1, 60),
    st.sampled_from([b"\n", b"\r\n", b"\r", b"\r\0", b"\n\n"]),
)
def test_lines_of_others_and_other_line_ends_take_no_frame(
    pairs: list[tuple[bytes, bytes]], step: int, end: bytes
) -> None:
    sent = [frames.encode(frames.DATA, 3, 1, 7, seq, 3, payload) for seq, (_, payload) in enumerate(pairs)]
    filled = b"-" * frames.HEADER_SIZE
    data = b"".join(
        filled + noise + through(frame, PRINTABLE).replace(b"\n", end)
        for (noise, _), frame in zip(pairs, sent, strict=True)
    )
    found = frames.Decoder().feed(taken_off(data + filled, PRINTABLE, step))
    assert [(frame.seq, frame.payload) for frame in found] == [(seq, pair[1]) for seq, pair in enumerate(pairs)]


@given(
    st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=5),
    st.lists(st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=80)), max_size=4),
    st.integers(1, 60),
    st.integers(20, 90),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
)
def test_echoes_in_the_middle_of_lines_and_broken_lines_take_nothing(
    pieces: list[bytes], echoes: list[tuple[int, bytes]], step: int, columns: int, end: bytes
) -> None:
    stream = b"".join(through(piece, PRINTABLE, toward_target=False) for piece in pieces)
    mixed, done = b"", 0
    for place, echo in sorted(echoes):
        mixed += stream[done:place] + through(echo, PRINTABLE)
        done = max(done, place)
    broken = end.join(cut(mixed + stream[done:], columns))
    found = taken_off(broken, PRINTABLE, step, toward_target=False)
    # The line end of an echo may be left, as noise.
    assert found.translate(None, armour.LINE_END) == b"".join(pieces).translate(None, armour.LINE_END)


@given(st.lists(st.binary(max_size=200), min_size=3, max_size=6), st.data())
def test_a_damaged_byte_costs_few_frames(payloads: list[bytes], data: st.DataObject) -> None:
    sent = [frames.encode(frames.DATA, 3, 1, 7, seq, 3, payload) for seq, payload in enumerate(payloads)]
    stream = bytearray(b"".join(through(frame, PRINTABLE) for frame in sent))
    stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    # What is missing of a frame is taken from those that follow, which are asked for again.
    filled = b"-" * 1000
    found = frames.Decoder().feed(taken_off(bytes(stream) + filled, PRINTABLE))
    assert len(found) >= len(sent) - 3
    assert all(frame.payload == payloads[frame.seq] for frame in found)


@pytest.mark.parametrize("kind", [FLOW_CONTROL, TELNET, PRINTABLE], ids=lambda kind: kind.armour.split(":")[0])
def test_what_the_line_puts_in_is_taken_out(kind: LaneKind) -> None:
    data = bytes(range(256)) * 8
    sent = b"\x13\x11".join(cut(through(data, kind), 7))
    assert taken_off(sent, kind, 5) == data


def test_what_a_shell_says_passes_at_once_and_unchanged() -> None:
    said = b"\r\nlogin: {not base64} caf\xc3\xa9 }x $ "
    for kind in (FLOW_CONTROL, TELNET, PRINTABLE):
        assert armour.make(kind.armour, toward_target=True).decode(said) == said


@pytest.mark.parametrize("kind", [FLOW_CONTROL, TELNET, PRINTABLE], ids=["flow", "telnet", "printable"])
@pytest.mark.parametrize("python", INTERPRETERS)
def test_both_ends_agree_on_every_interpreter(python: str, kind: LaneKind) -> None:
    data = random.Random(7).randbytes(60_000)
    # The module alone, as it is sent: it imports nothing of ours.
    command = [python, "-B", str(PEER), str(Path(armour.__file__).parent), kind.armour]
    answer = subprocess.run(command, input=through(data, kind), capture_output=True, check=True, timeout=30)
    assert taken_off(answer.stdout, kind, 4096, toward_target=False) == data


def _spent(work: Callable[[], object]) -> float:
    def once() -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    return min(once() for _ in range(3))


@pytest.mark.parametrize("kind", [TELNET, PRINTABLE], ids=["telnet", "printable"])
@pytest.mark.parametrize(
    "noise", [b"{", b"A", b"{AAAA", b"{" + b"A" * 600, b"\xfe", b"\n", b"{AA=\r\n", b"{A}A", b"}{.", None]
)
def test_time_and_space_are_linear(kind: LaneKind, noise: bytes | None) -> None:
    def flood(count: int) -> bytes:
        if noise is None:
            return through(bytes(range(256)) * (count // 256), kind)
        return noise * (count // len(noise))

    small, large = flood(60_000), flood(480_000)
    # 8 times the input may take 8 times as long; something quadratic would take 64 times.
    assert _spent(lambda: taken_off(large, kind, 100)) < 24 * _spent(lambda: taken_off(small, kind, 100)) + 0.05
    coat = armour.make(kind.armour, toward_target=True)
    tracemalloc.start()
    for part in cut(large, 100):
        coat.decode(part)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 200_000


def test_the_growth_is_small(figure: Figure) -> None:
    data = random.Random(1).randbytes(1 << 20)
    limits = [("flow control", FLOW_CONTROL, 1.013), ("telnet", TELNET, 1.033), ("lines", PRINTABLE, 1.39)]
    for name, kind, most in limits:
        growth = len(through(data, kind)) / len(data)
        figure(f"{name}: {growth:.3f} times the bytes")
        assert growth < most


@pytest.mark.parametrize(
    "wrong",
    [{"forbidden": bytes(range(40))}, {"printable": True, "columns": 4}, {"printable": True, "columns": 4000}],
)
def test_a_kind_that_no_armour_serves_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="cannot carry a link"):
        LaneKind(**wrong)


def test_a_clean_lane_gets_no_armour() -> None:
    assert CLEAN.armour == ""
    assert armour.make("", toward_target=True) is None
    with pytest.raises(ValueError, match=re.escape("no armour is called 'x'")):
        armour.make("x:1", toward_target=True)
