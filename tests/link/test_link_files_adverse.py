"""Files when something breaks: a killed target, a full disk, two targets, large files in little memory."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from crl.link import Link, LinkLost
from crl.link.files_results import FilesError, Progress
from crl.link.files_stream import CREDIT
from tests.link.peers import INTERPRETERS, alive, eventually

MakeLink = Callable[..., Link]
SIZE = 24_000_000
MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress comes with each piece, so that a test can break a transfer in its middle."""
    monkeypatch.setattr("crl.link.files_transfer.PROGRESS_INTERVAL", 0.0)


def resident(pid: str, name: str = "VmHWM") -> int:
    """The largest resident memory of a process so far, or another line of its status, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.split(f"{name}:")[1].split()[0]) * 1024


def harmless(size: int) -> bytes:
    """Bytes of which each line is a comment: where the remote program is killed, its shell reads what is under way."""
    return b"".join(b"# %064x\n" % number for number in range(size // 67 + 1))[:size]


@pytest.fixture
def make_link(make_link: MakeLink, tmp_path_factory: pytest.TempPathFactory) -> MakeLink:
    """Links to shells in a folder of their own, for the same reason."""
    return partial(make_link, cwd=str(tmp_path_factory.mktemp("cwd")))


def killing(link: Link, after: int) -> Callable[[Progress], None]:
    """Kill the remote program once so many bytes are through."""
    killed: list[int] = []

    def progress(now: Progress) -> None:
        # Once: what was under way still comes when it has ended.
        if now.done > after and not killed:
            killed.append(link.facts.pid)
            os.kill(link.facts.pid, signal.SIGKILL)

    return progress


@pytest.mark.parametrize("direction", ["push", "pull"])
def test_a_lost_transfer_goes_on_where_it_ended(make_link: MakeLink, tmp_path: Path, direction: str) -> None:
    data = harmless(SIZE)
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(data)
    copy.write_bytes(b"old")
    first = make_link()
    with pytest.raises(LinkLost):
        _transfer(first, direction, source, copy, progress=killing(first, SIZE // 3))
    assert copy.read_bytes() == b"old"
    # What has arrived is on the disk once the program that was writing it is gone.
    assert eventually(lambda: not alive(first.facts.pid))
    (part,) = tmp_path.glob(".crl-*.part")
    there = part.stat().st_size
    assert 0 < there < SIZE
    assert _transfer(make_link(), direction, source, copy) == SIZE - there
    assert copy.read_bytes() == data
    assert not list(tmp_path.glob(".crl-*"))


def _transfer(
    link: Link, direction: str, source: Path, copy: Path, progress: Callable[[Progress], None] | None = None
) -> int:
    if direction == "push":
        return link.files.push(source, str(copy), resume=True, progress=progress).bytes
    return link.files.pull(str(source), copy, resume=True, progress=progress).bytes


@pytest.mark.parametrize("direction", ["push", "pull"])
def test_a_part_of_something_else_is_not_gone_on_with(make_link: MakeLink, tmp_path: Path, direction: str) -> None:
    data = harmless(SIZE)
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(data)
    first = make_link()
    with pytest.raises(LinkLost):
        _transfer(first, direction, source, copy, progress=killing(first, SIZE // 3))
    assert eventually(lambda: not alive(first.facts.pid))
    source.write_bytes(b"##" + data[2:])
    assert _transfer(make_link(), direction, source, copy) == SIZE
    assert copy.read_bytes() == b"##" + data[2:]
    assert not list(tmp_path.glob(".crl-*"))


def test_without_resume_a_lost_pull_leaves_nothing(make_link: MakeLink, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(harmless(SIZE))
    link = make_link()
    with pytest.raises(LinkLost):
        link.files.pull(f"{tmp_path}/source", tmp_path / "copy", progress=killing(link, SIZE // 3))
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_link_that_closes_leaves_nothing_there(make_link: MakeLink, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(harmless(SIZE))
    link = make_link()

    def close(_now: Progress) -> None:
        threading.Thread(target=link.close, name="closing").start()

    with pytest.raises(LinkLost):
        link.files.push(tmp_path / "source", f"{tmp_path}/copy", progress=close)
    assert eventually(lambda: [path.name for path in tmp_path.iterdir()] == ["source"])
    assert eventually(lambda: not [one for one in threading.enumerate() if one.name == "closing"])


DISK_FULL = """
    import errno, os, pathlib, sys
    from tests.link.peers import Shell
    from crl.link import Link
    from crl.link.files_results import FilesError

    folder = pathlib.Path(sys.argv[1])
    full, source = folder / "full", folder / "source"
    full.mkdir()
    assert os.system(f"mount -t tmpfs -o size=1m tmpfs {full}") == 0
    (full / "old").write_bytes(b"old")
    source.write_bytes(os.urandom(3_000_000))
    tree = folder / "tree"
    tree.mkdir()
    for number in range(30):
        (tree / str(number)).write_bytes(bytes(100_000))
    shell = Shell()
    with Link.start(shell.lane(), timeout=60) as link:
        files = link.files
        for work in (
            lambda: files.push(source, f"{full}/old"),
            lambda: files.pull(str(source), full / "old"),
            lambda: files.push(tree, f"{full}/tree"),
            lambda: files.pull(str(tree), full / "tree"),
            lambda: files.write(f"{full}/old", bytes(3_000_000)),
        ):
            try:
                work()
            except FilesError as error:
                assert error.errno == errno.ENOSPC, error
                assert "old file" in str(error) and str(full) in str(error), error
            else:
                raise AssertionError("it fits")
            assert (full / "old").read_bytes() == b"old"
            assert not list(full.rglob(".crl-*")), list(full.rglob("*"))
            for path in (full / "tree").glob("*"):
                assert path.stat().st_size == 100_000
            files.remove(f"{full}/tree", recursive=True, missing_ok=True)
    shell.close()
    print("told")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a file system of its own needs root")
def test_a_full_disk_is_told_and_the_old_file_is_whole(tmp_path: Path) -> None:
    script = textwrap.dedent(DISK_FULL)
    ended = subprocess.run(
        ["unshare", "-m", sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert (ended.stdout, ended.returncode) == ("told\n", 0), ended.stderr


@pytest.mark.parametrize("python", [INTERPRETERS[0], INTERPRETERS[-1]], ids=lambda path: path.split("/")[-3])
def test_from_one_target_to_another(make_link: MakeLink, python: str, tmp_path: Path) -> None:
    one, other = make_link(python=python).files, make_link().files
    data = os.urandom(9_000_000)
    one.write(f"{tmp_path}/tree/deep/big", data)
    one.write(f"{tmp_path}/tree/small", b"s")
    (tmp_path / "tree/link").symlink_to("small")
    done = other.push(one.path(f"{tmp_path}/tree"), f"{tmp_path}/copy")
    assert (done.files, done.folders, done.links, done.bytes) == (2, 2, 1, len(data) + 1)
    assert (tmp_path / "copy/deep/big").read_bytes() == data
    again = other.push(one.path(f"{tmp_path}/tree"), f"{tmp_path}/copy", update=True)
    assert (again.files, again.unchanged) == (0, 2)
    assert other.push(one.path(f"{tmp_path}/tree/small"), f"{tmp_path}/into/").files == 1
    with pytest.raises(FilesError) as caught:
        other.push(one.path(f"{tmp_path}/missing"), f"{tmp_path}/x")
    assert caught.value.errno == errno.ENOENT
    assert f"{tmp_path}/missing of localhost" in str(caught.value)
    with pytest.raises(FilesError) as caught:
        other.push(one.path(f"{tmp_path}/tree/small"), f"{tmp_path}/tree")
    assert caught.value.errno == errno.EISDIR
    assert not list(tmp_path.rglob(".crl-*"))
    assert one.read(f"{tmp_path}/tree/small") == other.read(f"{tmp_path}/into/small")


SLOW_TO_BEGIN = """
def slow_to_begin():
    import sys, time
    services = sys.modules["_crl"].program.calls.services
    begin = services["file.push"]
    def late(*args):
        time.sleep(0.2)
        begin(*args)
    services["file.push"] = late
slow_to_begin()
"""


@pytest.mark.parametrize("python", [INTERPRETERS[0], INTERPRETERS[-1]], ids=lambda path: path.split("/")[-3])
def test_bytes_that_overtake_the_request_for_their_transfer_wait(
    make_link: MakeLink, python: str, tmp_path: Path
) -> None:
    """Another thread reads on when a call is not back at once; nor do messages for what is over fill that place."""
    link = make_link(python=python)
    data = os.urandom(3000)
    # More than streams are kept for; each is told of credit when it is over there.
    for number in range(80):
        link.files.write(str(tmp_path / f"file{number}"), data)
        assert link.files.read(str(tmp_path / f"file{number}")) == data
    link.evaluate(SLOW_TO_BEGIN)
    for _ in range(2):
        link.files.write(str(tmp_path / "there"), data, timeout=30)
        assert (tmp_path / "there").read_bytes() == data


@pytest.mark.parametrize("mib", [64, pytest.param(512, marks=pytest.mark.long)])
def test_memory_does_not_grow_with_the_file(
    link: Link, tmp_path: Path, mib: int, pytestconfig: pytest.Config
) -> None:
    source = tmp_path / "source"
    with source.open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(MIB))
    # What the first transfer loads is not growth.
    link.files.push(__file__, f"{tmp_path}/warm")
    link.files.pull(f"{tmp_path}/warm", tmp_path / "cold")
    grown = []
    moves: list[Callable[[], object]] = [
        lambda: link.files.push(source, f"{tmp_path}/there"),
        lambda: link.files.pull(f"{tmp_path}/there", tmp_path / "back"),
    ]
    for move in moves:
        both = ("self", str(link.facts.pid))
        for pid in both:
            # From now on the peak is that of this transfer.
            Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
        before = [resident(pid, "VmRSS") for pid in both]
        move()
        grown.append([resident(pid) - was for pid, was in zip(both, before, strict=True)])
    shown = ", ".join(f"controller + {ours / 1e6:.1f} MB, target + {theirs / 1e6:.1f} MB" for ours, theirs in grown)
    pytestconfig.get_terminal_writer().line(f"{mib} MiB pushed and pulled: {shown}")
    assert all(ours <= 12_000_000 and theirs <= 4_000_000 + CREDIT for ours, theirs in grown)
    assert (tmp_path / "back").stat().st_size == mib * MIB
