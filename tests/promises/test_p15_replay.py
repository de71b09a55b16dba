"""Reproducible evidence: what went over a terminal is recorded, and ``crl replay`` plays it back.

Invariants: what is played is what came, byte for byte, without the secrets that are known, however the bytes came in
pieces; and any file at all is a recording or one clear error, and can do nothing to the terminal that shows it.
"""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl.errors import CrlError
from crl.interactivesessions import BashShell
from crl.interactivesessions.InteractiveSession import InteractiveSession
from crl.interactivesessions.recording import Event, Recorder, Recording, RecordingError, Visible, play
from crl.secrets import Secret, redact
from crl.targets import Target

CORPUS = Path(__file__).parent / "recordings"
CANARY = Secret("cañary-secret-of-the-recordings")
PARTS = st.sampled_from([b"\r\n", b"cana", "caña".encode(), b"-secret"])
PIECES = st.lists(st.binary(max_size=40) | PARTS, max_size=30)


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path / "recordings", "a host/of mine", columns=100, rows=30)
    yield recorder
    recorder.received.close()
    recorder.sent.close()


def finished(recorder: Recorder) -> Recording:
    recorder.received.close()
    recorder.sent.close()
    return Recording.read(recorder.path)


@given(PIECES)
def test_what_is_played_is_what_came(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]) -> None:
    recorder = Recorder(tmp_path_factory.mktemp("recordings"), "pieces")
    for piece in pieces:
        recorder.received.write(piece)
        recorder.sent.write(piece)
    recording = finished(recorder)
    assert recording.bytes_of("o") == recording.bytes_of("i") == b"".join(pieces)
    assert not recording.cut
    played: list[Event] = []
    play(recording.events, played.append, wait=lambda seconds: None)
    assert tuple(played) == recording.events


@given(st.lists(st.integers(0, 60), max_size=6), st.binary(max_size=20), st.binary(max_size=20))
def test_a_secret_is_never_written_however_it_comes(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], before: bytes, after: bytes
) -> None:
    whole = before + CANARY.value.encode() + after + CANARY.value.encode()
    recorder = Recorder(tmp_path_factory.mktemp("recordings"), f"host {CANARY.value}")
    recorder.note(f"somebody says {CANARY.value}")
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(whole)], strict=True):
        recorder.received.write(whole[start:end])
    recording = finished(recorder)
    assert recording.bytes_of("o") == before + b"<secret>" + after + b"<secret>"
    text = recorder.path.read_text()
    for part in (CANARY.value, json.dumps(CANARY.value).strip('"')):
        assert part not in text


def test_a_recording_is_its_owners_and_tells_who_made_it(recorder: Recorder) -> None:
    recorder.sent.write(b"id\n")
    recorder.received.write(b"uid=0(root)\r\n")
    recorder.note("it ends")
    recording = finished(recorder)
    assert stat.S_IMODE(recorder.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(recorder.path.parent.stat().st_mode) == 0o700
    assert recorder.path.name.endswith("-a-host-of-mine.cast")
    assert recording.header["width"] == 100
    assert recording.header["crl"].keys() == {"version", "python", "system"}
    assert [event.kind for event in recording.events] == ["i", "o", "m"]
    assert [event.seconds for event in recording.events] == sorted(event.seconds for event in recording.events)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no header"),
        (b"no json\n", "line 1"),
        (b"[1]\n", "no header"),
        (b'{"version": 1}\n', "no header"),
        (b'{"version": 2}\n[1, "x", "?"]\n', "line 2: this is no event"),
        (b'{"version": 2}\n[-1, "o", "?"]\n', "line 2"),
        (b'{"version": 2}\n[1, "o", 7]\n', "line 2"),
        (b'{"version": 2}\n[1, "o", "\\ud800"]\n', "line 2"),
        (b'{"version": 2}\n[1, ["o"], "?"]\n', "line 2"),
        (b'{"version": 2}\n[NaN, "o", "?"]\n', "line 2"),
        (b'{"version": 2}\n' + b"[" * 100_000 + b"\n", "line 2"),
        (b"\xff\xfe\n", "line 1"),
    ],
)
def test_a_file_that_is_none_is_told(data: bytes, why: str) -> None:
    with pytest.raises(RecordingError, match=why):
        Recording.parse(data)


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda data: b'{"version": 2}\n' + data))
def test_any_file_is_a_recording_or_an_error(data: bytes) -> None:
    try:
        recording = Recording.parse(data)
    except CrlError:
        return
    assert isinstance(recording.bytes_of("o"), bytes)


def test_what_a_killed_process_has_written_is_played(recorder: Recorder) -> None:
    recorder.received.write(b"one\r\n")
    data = recorder.path.read_bytes()
    recording = Recording.parse(data + b'[0.3, "o", "tw')
    assert recording.cut
    assert recording.bytes_of("o") == b"one\r\n"


@given(st.binary(max_size=200), st.integers(0, 200))
def test_what_is_shown_does_nothing_to_a_terminal(data: bytes, cut: int) -> None:
    whole = Visible().feed(data, final=True)
    visible = Visible()
    assert visible.feed(data[:cut]) + visible.feed(data[cut:], final=True) == whole
    assert all(char in "\n\t" or char.isprintable() for char in whole)


def test_control_characters_are_shown() -> None:
    shown = Visible().feed(b"red \x1b[31m\r\nbell\x07 back\rfront \x9b31m \xc3\xa4\r", final=True)
    assert shown == "red ^[[31m\nbell^G back^Mfront \\x9b31m ä^M"


def replay(*words: str, **options: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "crl.cli", "replay", *words]
    return subprocess.run(command, capture_output=True, timeout=60, check=False, env={**os.environ, **options})


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.cast")), ids=lambda path: path.stem)
def test_recordings_of_former_versions_are_played(path: Path) -> None:
    raw = replay(str(path), "--raw")
    assert (raw.returncode, raw.stderr) == (0, b"")
    assert raw.stdout == path.with_suffix(".raw").read_bytes()
    shown = replay(str(path), "--sent", PYTHONIOENCODING="utf-8")
    assert shown.stdout.decode() == path.with_suffix(".txt").read_text(encoding="utf-8")


def test_a_terminal_is_recorded_as_it_is_dumped(tmp_path: Path) -> None:
    dumps = {name: tmp_path / name for name in ("dump_received", "dump_outgoing")}
    folder = tmp_path / "recordings"
    session = InteractiveSession(**{name: str(path) for name, path in dumps.items()}, recordings=str(folder))
    session.spawn(BashShell("bash --norc"))
    session.current_shell().exec_command("printf 'a\\033[1mb\\377\\n'")
    session.close_terminal()
    (made,) = folder.iterdir()
    recording = Recording.read(made)
    for kind, name in (("o", "dump_received"), ("i", "dump_outgoing")):
        assert recording.bytes_of(kind) == re.sub(rb"^\**NEW TERMINAL\**\n", b"", dumps[name].read_bytes())
    assert b"a\033[1mb\377\r\n" in recording.bytes_of("o")
    raw = replay(str(made), "--raw")
    assert raw.stdout == recording.bytes_of("o")
    told = json.loads(replay(str(made), "--json").stdout)
    assert told["header"]["title"] == "localhost"
    assert len(told["events"]) == len(recording.events)
    missing = replay(str(tmp_path / "nothing"))
    assert missing.returncode == 2
    assert b"cannot be read" in missing.stderr


def test_the_environment_has_every_terminal_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRL_RECORDINGS", str(tmp_path))
    with Target([BashShell("bash --norc")]) as target:
        assert target.run("echo recorded").stdout == "recorded\n"
    (made,) = tmp_path.iterdir()
    notes = [event.data.decode() for event in Recording.read(made).events if event.kind == "m"]
    assert len(notes) == 1
    assert f"python {sys.version_info[0]}." in notes[0]
    assert redact(notes[0]) == notes[0]
