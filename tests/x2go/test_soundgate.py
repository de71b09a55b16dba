"""The gate before the sound server: whatever a session sends, in whatever pieces, only sound of it gets through."""

from __future__ import annotations

import array
import contextlib
import math
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl.x2go._soundgate import SoundGate, SoundGateRefused, auth_message, auth_reply
from crl.x2go.pulseaudio import Recording

OURS, THEIRS = bytes(range(256)), bytes(reversed(range(256)))
PLAY, RECORD, KILL_CLIENT, LOAD_MODULE, EXIT, EXTENSION = 3, 5, 48, 51, 7, 87


def message(command: int, tag: int = 7, rest: bytes = b"") -> bytes:
    body = struct.pack(">cIcI", b"L", command, b"L", tag) + rest
    return struct.pack(">5I", len(body), 0xFFFFFFFF, 0, 0, 0) + body


def sound(data: bytes, channel: int = 0, flags: int = 0) -> bytes:
    return struct.pack(">5I", len(data), channel, 0, 0, flags) + data


def admitted(*, microphone: bool = False) -> SoundGate:
    gate = SoundGate(OURS, THEIRS, microphone=microphone)
    assert gate.feed(auth_message(OURS, 35 | 0xC0000000, 3)) == auth_message(THEIRS, 35, 3)
    return gate


def test_the_sound_servers_cookie_takes_the_place_of_the_sessions_and_no_memory_is_shared() -> None:
    gate = admitted()
    assert gate.admitted
    talk = message(PLAY, rest=b"N") + sound(b"\x01\x02" * 500) + message(4)
    assert gate.feed(talk) == talk
    assert gate.refused == 0


@pytest.mark.parametrize(
    "first",
    [
        auth_message(THEIRS),
        auth_message(bytes(256)),
        message(PLAY),
        sound(b"noise"),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        auth_message(OURS)[:-1] + b"!",
    ],
)
def test_nobody_gets_in_without_the_sessions_cookie(first: bytes) -> None:
    gate = SoundGate(OURS, THEIRS)
    with pytest.raises(SoundGateRefused):
        gate.feed(first)
    assert not gate.admitted


@pytest.mark.parametrize("command", [LOAD_MODULE, EXIT, EXTENSION, KILL_CLIENT, RECORD, 8, 52, 19, 25, 27, 104, 70000])
def test_what_is_not_playing_goes_on_as_a_question_that_is_answered_with_no(command: int) -> None:
    gate = admitted()
    answer = gate.feed(message(command, tag=99, rest=b"t" + b"module-pipe-sink\0"))
    assert answer == message(KILL_CLIENT, tag=99, rest=struct.pack(">cI", b"L", 0xFFFFFFFF))
    assert gate.refused == 1


def test_the_microphone_is_open_for_who_was_given_it() -> None:
    gate = admitted(microphone=True)
    assert gate.feed(message(RECORD)) == message(RECORD)
    assert gate.feed(message(LOAD_MODULE)) != message(LOAD_MODULE)


@pytest.mark.parametrize(
    "strange",
    [
        sound(b"", flags=0x80000000),
        struct.pack(">5I", 0, 0xFFFFFFFF, 0, 0, 0x40000000),
        struct.pack(">5I", 1 << 30, 0, 0, 0, 0),
        struct.pack(">5I", 1 << 20, 0xFFFFFFFF, 0, 0, 0),
        struct.pack(">5I", 3, 0xFFFFFFFF, 0, 0, 0) + b"abc",
        struct.pack(">5I", 10, 0xFFFFFFFF, 0, 0, 0) + b"t" * 10,
    ],
)
def test_what_no_sound_program_sends_ends_the_connection(strange: bytes) -> None:
    with pytest.raises(SoundGateRefused):
        admitted().feed(strange)


PIECES = st.one_of(
    st.builds(message, st.integers(0, 110), st.integers(0, 2**32 - 1), st.binary(max_size=40)),
    st.builds(sound, st.binary(max_size=300), st.integers(0, 20), st.sampled_from([0, 1, 2, 3])),
)


@given(st.lists(PIECES, max_size=12), st.data())
def test_cuts_make_no_difference(talk: list[bytes], data: st.DataObject) -> None:
    """The same bytes in other pieces give the same bytes."""
    whole = b"".join(talk)
    at_once = admitted().feed(whole)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    gate, passed = admitted(), b""
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        passed += gate.feed(whole[start:end])
    assert passed == at_once
    assert len(at_once) <= len(whole) + 5 * len(talk)


@given(st.binary(max_size=400))
def test_noise_gets_in_nowhere(noise: bytes) -> None:
    """Before the cookie nothing but waiting and refusing happens, whatever comes."""
    gate = SoundGate(OURS, THEIRS)
    with contextlib.suppress(SoundGateRefused):
        assert gate.feed(noise) == b""
    assert not gate.admitted


def test_a_sound_servers_first_answer() -> None:
    assert auth_reply(message(2)) is True
    assert auth_reply(message(0)) is False
    assert auth_reply(message(2)[:20]) is None
    for strange in (message(3), sound(b"0123456789"), b"SSH-2.0-OpenSSH_9.2p1 Debian-2"):
        with pytest.raises(SoundGateRefused):
            auth_reply(strange)


def tone(frequency: float, seconds: float = 0.5, strength: float = 0.5) -> Recording:
    count = int(44100 * seconds)
    wave = (int(32767 * strength * math.sin(2 * math.pi * frequency * n / 44100)) for n in range(count))
    return Recording(array.array("h", wave))


@pytest.mark.parametrize("frequency", [100.0, 440.0, 1000.0, 5000.0])
def test_a_tone_is_known_by_its_frequency(frequency: float, tmp_path: Path) -> None:
    heard = tone(frequency)
    assert heard.share_of(frequency) > 0.99
    for other in (50.0, 300.0, 700.0, 3000.0, 12000.0):
        assert heard.share_of(other) < 0.01
    assert heard.loudness == pytest.approx(0.5 / math.sqrt(2), abs=0.01)
    assert heard.seconds == pytest.approx(0.5)
    assert heard.part(0.1, 0.2).seconds == pytest.approx(0.2)
    heard.save(tmp_path / "tone.wav")
    data = (tmp_path / "tone.wav").read_bytes()
    assert data[:4] == b"RIFF"
    assert Recording.from_bytes(data[44:] + b"\0") == heard


def test_silence_and_nothing_are_no_tone() -> None:
    for nothing in (Recording(array.array("h", [0] * 1000)), Recording(array.array("h"))):
        assert (nothing.loudness, nothing.share_of(440)) == (0.0, 0.0)
