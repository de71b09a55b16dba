"""Invariant: whatever bytes arrive, cut anywhere, the decoder gives the same frames, in linear time and space."""

from __future__ import annotations

import time
import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from crl.link.wire import frames

payloads = st.binary(max_size=300)
whole_frames = st.builds(
    lambda kind, flags, seq, payload: frames.encode(kind, flags, 1, 7, seq, 3, payload),
    st.sampled_from([frames.DATA, frames.ACK, frames.NAK, frames.PING, frames.HELLO]),
    st.integers(0, 3),
    st.integers(0, 2**64 - 1),
    payloads,
)
vouched_frames = st.builds(
    lambda flags, seq, payload: frames.encode_vouched(frames.DATA, flags, 1, 7, seq, 3, payload),
    st.integers(0, 3),
    st.integers(0, 2**64 - 1),
    payloads,
)
noise = st.one_of(
    st.binary(max_size=60), st.sampled_from([frames.MAGIC, frames.MAGIC[:2], frames.MAGIC * 15, b"\n$ "])
)
streams = st.lists(st.one_of(whole_frames, vouched_frames, noise), max_size=12).map(b"".join)


def decoded(data: bytes, step: int) -> list[tuple[object, ...]]:
    decoder = frames.Decoder()
    found: list[frames.Frame] = []
    for start in range(0, len(data), step):
        found += decoder.feed(data[start : start + step])
    return [(f.kind, f.flags, f.epoch, f.message, f.seq, f.ack, f.payload) for f in found]


@given(streams, st.integers(1, 50))
def test_how_the_stream_is_cut_makes_no_difference(data: bytes, step: int) -> None:
    # A last whole frame ends what an incomplete piece of noise may hold back.
    data += frames.encode(frames.ACK, 0, 1, 0, 0, 1, b"")
    assert decoded(data, len(data)) == decoded(data, 1) == decoded(data, step)


@given(st.lists(st.tuples(noise, whole_frames), max_size=8))
def test_noise_between_frames_takes_none_with_it(pairs: list[tuple[bytes, bytes]]) -> None:
    # Noise that ends like a magic number begins is only told from a header by its checksum, which takes more bytes.
    data = b"".join(before + b"-" * frames.HEADER_SIZE + frame for before, frame in pairs)
    expected = [frame for _, frame in pairs]
    found = decoded(data + b"-" * frames.HEADER_SIZE, 7)
    assert [frames.encode(*frame) for frame in found] == expected  # type: ignore[arg-type]


@given(st.lists(whole_frames, min_size=2, max_size=5), st.data())
def test_a_damaged_byte_costs_the_frame_it_is_in_and_no_other(sound: list[bytes], data: st.DataObject) -> None:
    hit = data.draw(st.integers(0, len(sound) - 1))
    offset = data.draw(st.integers(0, len(sound[hit]) - 1))
    damaged = bytearray(sound[hit])
    damaged[offset] ^= data.draw(st.integers(1, 255))
    stream = b"".join([*sound[:hit], bytes(damaged), *sound[hit + 1 :]])
    found = [frames.encode(*frame) for frame in decoded(stream + b"-" * frames.HEADER_SIZE, 11)]  # type: ignore[arg-type]
    assert found == sound[:hit] + sound[hit + 1 :]


@given(vouched_frames, st.binary(min_size=1, max_size=60), st.data())
def test_a_vouched_frame_that_something_is_written_into_is_lost_or_exact(
    frame: bytes, written: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(frame) - 1))
    follows = frames.encode(frames.ACK, 0, 1, 0, 0, 1, b"")
    stream = frame[:at] + written + frame[at:] + b"-" * frames.HEADER_SIZE + follows
    found = decoded(stream + b"-" * frames.HEADER_SIZE, 11)
    # Bytes that repeat their neighbours may leave it as it was.
    whole, last = decoded(frame, len(frame)), decoded(follows, len(follows))
    assert found in ([*whole, *last], last)


@given(vouched_frames)
def test_a_vouched_frame_is_checked_where_nobody_vouches(frame: bytes) -> None:
    checked = frames.readdress(frame, 9, 4)
    _, flags, _, message, seq, _, payload = decoded(frame, len(frame))[0]
    assert checked == frames.encode(frames.DATA, flags, 9, message, seq, 4, payload)  # type: ignore[arg-type]


@given(st.binary(max_size=2000))
def test_arbitrary_bytes_are_noise(data: bytes) -> None:
    decoder = frames.Decoder()
    assert decoder.feed(data) == []
    assert decoder.noise_bytes + len(decoder.rest()) == len(data)
    assert len(decoder.noise) <= frames.NOISE_KEPT


def test_a_header_that_promises_too_much_is_noise() -> None:
    decoder = frames.Decoder()
    frame = frames.encode(frames.DATA, 0, 1, 1, 1, 1, bytes(frames.MAX_PAYLOAD + 1))
    assert decoder.feed(frame[: frames.HEADER_SIZE + 10]) == []
    assert not decoder.partial or len(decoder.rest()) < frames.HEADER_SIZE


def test_what_follows_a_bye_is_left_alone() -> None:
    bye = frames.encode(frames.BYE, 0, 1, 0, 0, 1, b"")
    decoder = frames.Decoder()
    assert [f.kind for f in decoder.feed(bye + b"$ prompt" + bye)] == [frames.BYE]
    assert decoder.held
    assert decoder.rest() == b"$ prompt" + bye
    assert [f.kind for f in decoder.go_on()] == [frames.BYE]


def test_memory_is_bounded_by_one_frame() -> None:
    decoder = frames.Decoder()
    tracemalloc.start()
    try:
        for _ in range(12):
            decoder.feed(frames.MAGIC * 4000)
            decoder.feed(frames.encode(frames.DATA, 0, 1, 1, 1, 1, bytes(50_000)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * frames.MAX_PAYLOAD


@settings(max_examples=5, deadline=None)
@given(st.sampled_from([frames.MAGIC * 3000, frames.encode(1, 0, 1, 1, 1, 1, bytes(9000))[:-1] * 3, bytes(12000)]))
def test_time_is_linear_in_the_bytes(unit: bytes) -> None:
    def seconds(count: int) -> float:
        decoder = frames.Decoder()
        started = time.process_time()
        for _ in range(count):
            for start in range(0, len(unit), 100):
                decoder.feed(unit[start : start + 100])
        return time.process_time() - started

    seconds(1)
    # Eight times the bytes; quadratic would be 64 times.
    assert min(seconds(16) for _ in range(3)) < 24 * max(0.002, min(seconds(2) for _ in range(3)))
