"""Files over the link: what arrives is what was sent, whole or not at all, and errors name both paths."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from crl.errors import UsageError
from crl.link import Link
from crl.link.files_results import FileMissing, FilesError, Progress, TransferIncomplete
from tests.link.peers import INTERPRETERS, eventually
from tests.link.ways import SLOW

MakeLink = Callable[..., Link]
PY2 = [python for python in INTERPRETERS if "/2." in python]


def make_tree(root: Path) -> Path:
    """A folder with something of everything."""
    (root / "deep" / "er").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "a.txt").write_bytes(b"a" * 1000)
    (root / "none").write_bytes(b"")
    (root / "deep" / "tool").write_bytes(b"#!/bin/sh\n")
    (root / "deep" / "tool").chmod(0o750)
    (root / "deep" / "er" / "big").write_bytes(os.urandom(300_000))
    (root / "deep" / "link").symlink_to("er/big")
    (root / os.fsdecode(b"odd \xff\n'name")).write_bytes(b"odd")
    (root / "uml\u00e4ut").write_bytes(b"u")
    (root / "deep" / "er").chmod(0o555)
    for path in (root / "a.txt", root / "deep" / "er", root / "deep"):
        os.utime(path, ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789))
    return root


def picture(root: Path, times: bool = True) -> dict[str, tuple[object, ...]]:
    """All that is told of a tree: kind, mode, content and time by path."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(root.rglob("*")):
        info = path.lstat()
        if path.is_symlink():
            content: object = os.readlink(path)
        else:
            content = path.read_bytes() if path.is_file() else None
        mtime = info.st_mtime_ns // 1000 if times and not path.is_symlink() else 0
        found[str(path.relative_to(root))] = (stat.filemode(info.st_mode), content, mtime)
    return found


def near(one: dict[str, tuple[object, ...]], other: dict[str, tuple[object, ...]]) -> bool:
    """Whether two pictures are the same, times to the two microseconds that Python 2 knows."""
    if one.keys() != other.keys():
        return False
    same = all(one[name][:2] == other[name][:2] for name in one)
    return same and all(abs(int(str(one[name][2])) - int(str(other[name][2]))) <= 2 for name in one)


def left_parts(root: Path) -> list[Path]:
    return list(root.rglob(".crl-*"))


@pytest.mark.parametrize("python", INTERPRETERS, ids=lambda path: path.split("/")[-3])
def test_a_tree_is_the_same_there_and_back(make_link: MakeLink, python: str, tmp_path: Path) -> None:
    files = make_link(python=python).files
    source = make_tree(tmp_path / "source")
    pushed = files.push(source, f"{tmp_path}/new/there", owners=os.geteuid() == 0, fsync=True)
    assert (pushed.files, pushed.folders, pushed.links) == (6, 4, 1)
    assert near(picture(tmp_path / "new/there"), picture(source))
    pulled = files.pull(f"{tmp_path}/new/there", tmp_path / "back")
    assert (pulled.files, pulled.folders, pulled.links, pulled.bytes) == (6, 4, 1, pushed.bytes)
    assert near(picture(tmp_path / "back"), picture(source))
    assert left_parts(tmp_path) == []


@pytest.mark.parametrize("python", INTERPRETERS, ids=lambda path: path.split("/")[-3])
def test_single_files(make_link: MakeLink, python: str, tmp_path: Path) -> None:
    files = make_link(python=python).files
    data = os.urandom(3_000_000)
    done = files.write(f"{tmp_path}/sub/file", data, mode=0o640)
    assert done.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert stat.S_IMODE((tmp_path / "sub/file").stat().st_mode) == 0o640
    assert files.read(f"{tmp_path}/sub/file") == data
    files.write(f"{tmp_path}/sub/file", b"")
    assert files.read(f"{tmp_path}/sub/file") == b""
    assert stat.S_IMODE((tmp_path / "sub/file").stat().st_mode) == 0o640
    assert b"processor" in files.read("/proc/cpuinfo")
    name = f"{tmp_path}/\u20ac \udcff"
    files.write(name, b"x")
    assert os.path.exists(name)
    assert files.stat(name).path == name
    assert files.list(str(tmp_path))[-1].name == "\u20ac \udcff"
    local = tmp_path / "local"
    local.write_bytes(data)
    assert files.push(local, f"{tmp_path}/into/").bytes == len(data)
    assert files.pull(f"{tmp_path}/into/local", f"{tmp_path}/out/").bytes == len(data)
    assert (tmp_path / "out/local").read_bytes() == data


@pytest.mark.parametrize("python", INTERPRETERS, ids=lambda path: path.split("/")[-3])
def test_stat_list_mkdir_remove(make_link: MakeLink, python: str, tmp_path: Path) -> None:
    files = make_link(python=python).files
    make_tree(tmp_path / "tree")
    info = files.stat(f"{tmp_path}/tree/deep/tool")
    assert (info.kind, info.mode, info.size, info.name, info.is_file) == ("file", 0o750, 10, "tool", True)
    assert abs(info.mtime_ns - (tmp_path / "tree/deep/tool").stat().st_mtime_ns) < 2000
    link = files.stat(f"{tmp_path}/tree/deep/link", follow=False)
    assert (link.kind, link.link) == ("link", "er/big")
    assert files.stat(f"{tmp_path}/tree/deep/link").size == 300_000
    assert [one.path for one in files.list(f"{tmp_path}/tree/deep", recursive=True)] == ["er", "er/big", "link", "tool"]
    files.mkdir(f"{tmp_path}/x/y/z", mode=0o700)
    files.mkdir(f"{tmp_path}/x/y/z")
    with pytest.raises(FilesError) as caught:
        files.mkdir(f"{tmp_path}/x/y", parents=False)
    assert caught.value.errno == errno.EEXIST
    assert files.exists(f"{tmp_path}/x/y/z")
    with pytest.raises(FilesError):
        files.remove(f"{tmp_path}/x")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept").write_bytes(b"k")
    (tmp_path / "x/way-out").symlink_to(tmp_path / "outside")
    assert files.remove(f"{tmp_path}/x/", recursive=True)
    assert (tmp_path / "outside/kept").exists()
    assert not files.exists(f"{tmp_path}/x")
    assert not files.remove(f"{tmp_path}/x", missing_ok=True)
    with pytest.raises(FileMissing, match="No such file"):
        files.remove(f"{tmp_path}/x")
    with pytest.raises(FileMissing):
        files.list(f"{tmp_path}/x")
    with pytest.raises(FileMissing):
        files.stat(f"{tmp_path}/x")
    assert files.remove(f"{tmp_path}/tree/deep/link")


def test_errors_name_both_paths_and_leave_the_old_file(link: Link, tmp_path: Path) -> None:
    files = link.files
    old = tmp_path / "old"
    old.write_bytes(b"old")
    (tmp_path / "folder").mkdir()
    (tmp_path / "local").write_bytes(b"new")

    def fails(call: Callable[[], object], code: int) -> FilesError:
        with pytest.raises(FilesError) as caught:
            call()
        assert caught.value.errno == code
        assert caught.value.host == "localhost"
        assert left_parts(tmp_path) == []
        return caught.value

    error = fails(lambda: files.push(tmp_path / "missing", str(old)), errno.ENOENT)
    assert isinstance(error, FileNotFoundError)
    assert f"{tmp_path}/missing" in str(error)
    assert f"{old}" in str(error)
    assert " here" in str(error)
    error = fails(lambda: files.pull(f"{tmp_path}/missing", old), errno.ENOENT)
    assert f"{tmp_path}/missing" in str(error)
    assert f"{old}" in str(error)
    error = fails(lambda: files.push(tmp_path / "local", f"{tmp_path}/folder"), errno.EISDIR)
    assert "slash" in str(error)
    fails(lambda: files.pull(str(old), tmp_path / "folder"), errno.EISDIR)
    fails(lambda: files.push(tmp_path / "folder", str(old)), errno.ENOTDIR)
    fails(lambda: files.pull(f"{tmp_path}/folder", old), errno.ENOTDIR)
    error = fails(lambda: files.push(tmp_path / "local", f"{old}/below"), errno.ENOTDIR)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert pickle.loads(pickle.dumps(error)).errno == errno.ENOTDIR
    fails(lambda: files.read(f"{tmp_path}/folder"), errno.EISDIR)
    fails(lambda: files.read(str(old), limit=2), errno.EFBIG)
    fails(lambda: files.read("/dev/null"), errno.EINVAL)
    assert old.read_bytes() == b"old"
    with pytest.raises(UsageError, match="no option"):
        files.push(old, str(old), nonsense=True)  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="links"):
        files.push(old, str(old), links="maybe")


def test_what_cannot_be_transferred_of_a_tree_is_told_and_the_rest_is_there(link: Link, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("a", "b", "c"):
        (source / name).write_bytes(name.encode())
    os.mkfifo(source / "fifo")
    there = tmp_path / "there"
    (there / "b").mkdir(parents=True)
    transfers: list[Callable[[], object]] = [
        lambda: link.files.push(source, str(there)),
        lambda: link.files.pull(str(source), there),
    ]
    for transfer in transfers:
        with pytest.raises(TransferIncomplete) as caught:
            transfer()
        problems = [(one.path, one.side, one.errno) for one in caught.value.problems]
        assert problems == [("b", "destination", errno.EISDIR), ("fifo", "source", 0)]
        assert caught.value.result is not None
        assert caught.value.result.files == 2
        assert "first b (destination): there is a folder" in str(caught.value)
        assert (there / "c").read_bytes() == b"c"
        (there / "c").unlink()


@pytest.mark.parametrize("python", [INTERPRETERS[-1], *PY2], ids=lambda path: path.split("/")[-3])
def test_include_exclude_update_and_mirror(make_link: MakeLink, python: str, tmp_path: Path) -> None:
    files = make_link(python=python).files
    source, there, back = make_tree(tmp_path / "source"), tmp_path / "there", tmp_path / "back"
    files.push(source, str(there), exclude=["deep/er/", "odd*"], links="skip")
    assert sorted(picture(there)) == ["a.txt", "deep", "deep/tool", "empty", "none", "uml\u00e4ut"]
    files.pull(str(source), back, include=["*.txt", "deep/er/*"])
    assert sorted(picture(back)) == ["a.txt", "deep", "deep/er", "deep/er/big"]
    (there / "log.keep").write_bytes(b"k")
    (there / "old" / "er").mkdir(parents=True)
    (there / "old" / "er" / "file").write_bytes(b"x")
    mirrored = files.push(source, str(there), update=True, delete=True, exclude=["*.keep"])
    # The four that are there already; the folder `old` goes with all that is in it.
    assert (mirrored.files, mirrored.unchanged, mirrored.deleted) == (2, 4, 1)
    assert (there / "log.keep").exists()
    (there / "log.keep").unlink()
    assert near(picture(there), picture(source))
    again = files.pull(str(source), there, update=True, delete=True)
    assert (again.files, again.unchanged, again.deleted) == (0, 6, 0)


def test_links_are_followed_only_when_asked_and_never_out_of_the_tree(link: Link, tmp_path: Path) -> None:
    source, there = tmp_path / "source", tmp_path / "there"
    source.mkdir()
    (tmp_path / "secret").write_bytes(b"s")
    (source / "file").write_bytes(b"f")
    (source / "inside").symlink_to("file")
    (source / "outside").symlink_to(tmp_path / "secret")
    link.files.push(source, str(there))
    assert os.readlink(there / "outside") == str(tmp_path / "secret")
    with pytest.raises(TransferIncomplete) as caught:
        link.files.pull(str(source), tmp_path / "pulled")
    assert [one.path for one in caught.value.problems] == ["outside"]
    assert not (tmp_path / "pulled/outside").is_symlink()
    link.files.pull(str(source), tmp_path / "all", links="all")
    assert (tmp_path / "all/outside").is_symlink()
    with pytest.raises(TransferIncomplete):
        link.files.push(source, str(tmp_path / "followed"), links="follow")
    assert sorted(picture(tmp_path / "followed")) == ["file", "inside"]
    assert not (tmp_path / "followed/inside").is_symlink()
    # A folder that is a link at the destination is not entered.
    (tmp_path / "victim").mkdir()
    make_tree(tmp_path / "tree")
    (tmp_path / "trap").mkdir()
    (tmp_path / "trap/deep").symlink_to(tmp_path / "victim")
    with pytest.raises(TransferIncomplete) as caught:
        link.files.pull(str(tmp_path / "tree"), tmp_path / "trap")
    assert [(one.path, one.errno) for one in caught.value.problems] == [("deep", errno.ENOTDIR)]
    assert list((tmp_path / "victim").iterdir()) == []


@pytest.mark.parametrize("python", [INTERPRETERS[-1], *PY2], ids=lambda path: path.split("/")[-3])
def test_holes_stay_holes(make_link: MakeLink, python: str, tmp_path: Path) -> None:
    files = make_link(python=python).files
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.write(b"begin")
        file.seek(20_000_000)
        file.write(b"middle")
        file.truncate(30_000_000)
    if sparse.stat().st_blocks * 512 > 10_000_000:
        pytest.skip("this file system has no holes")
    pushed = files.push(sparse, f"{tmp_path}/there", sparse=True)
    pulled = files.pull(str(sparse), tmp_path / "back", sparse=True)
    assert max(pushed.bytes, pulled.bytes) < 200_000
    for copy in (tmp_path / "there", tmp_path / "back"):
        assert copy.stat().st_blocks * 512 < 1_000_000
        assert copy.read_bytes() == sparse.read_bytes()


def test_a_file_that_changes_is_refused_or_taken_as_asked(link: Link, tmp_path: Path) -> None:
    growing = tmp_path / "growing"
    growing.write_bytes(os.urandom(3_000_000))
    old = tmp_path / "old"
    old.write_bytes(b"old")

    def grow(_progress: Progress) -> None:
        with growing.open("ab") as file:
            file.write(b"more")

    with pytest.raises(FilesError, match="it changed while it was read") as caught:
        link.files.push(growing, str(old), progress=grow)
    assert caught.value.errno == errno.ESTALE
    assert old.read_bytes() == b"old"
    assert left_parts(tmp_path) == []
    size = growing.stat().st_size
    assert link.files.push(growing, str(old), progress=grow, changing=True).bytes == size


@pytest.mark.every_way
def test_progress_is_told_in_the_calling_thread(link: Link, tmp_path: Path, over: str) -> None:
    # Five seconds of a slow line, too.
    size = 6_000 if over == SLOW else 5_000_000
    (tmp_path / "file").write_bytes(bytes(size))
    told: list[tuple[int, int | None, threading.Thread]] = []

    def progress(now: Progress) -> None:
        # Whatever it does, calls too: no lock is held.
        assert link.evaluate("1", timeout=30) == 1
        told.append((now.done, now.total, threading.current_thread()))

    link.files.push(tmp_path / "file", f"{tmp_path}/a", progress=progress)
    assert told[-1][:2] == (size, size)
    link.files.pull(f"{tmp_path}/a", tmp_path / "b", progress=progress)
    assert told[-1][:2] == (size, size)
    assert {thread for *_, thread in told} == {threading.current_thread()}


def test_an_error_in_progress_stops_the_transfer_and_leaves_nothing(link: Link, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(5_000_000))

    def stop(_now: Progress) -> None:
        raise KeyboardInterrupt

    transfers: list[Callable[[], object]] = [
        lambda: link.files.push(tmp_path / "file", f"{tmp_path}/copy", progress=stop),
        lambda: link.files.pull(f"{tmp_path}/file", tmp_path / "copy", progress=stop),
    ]
    for transfer in transfers:
        with pytest.raises(KeyboardInterrupt):
            transfer()
        assert eventually(lambda: not left_parts(tmp_path))
        assert not (tmp_path / "copy").exists()
    assert eventually(lambda: not link.evaluate("len(__import__('sys').modules['_crl'].program.files.transfers)"))
    assert link.files.read(f"{tmp_path}/file") == bytes(5_000_000)


def test_many_at_once_and_calls_go_on(link: Link, tmp_path: Path) -> None:
    contents = {number: os.urandom(2_000_000 + number) for number in range(8)}
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            path = f"{tmp_path}/{number}"
            link.files.write(path, contents[number])
            link.files.pull(path, f"{path}.back")
            assert Path(f"{path}.back").read_bytes() == contents[number]
        except BaseException as error:  # noqa: BLE001 - what fails in a thread is told by the test
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in contents]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert link.evaluate("6 * 7", timeout=60) == 42
    for thread in threads:
        thread.join()
    assert failures == []


def test_processes_and_tunnels_keep_their_streams_beside_files(link: Link, tmp_path: Path) -> None:
    files = link.files
    files.write(f"{tmp_path}/a", b"1")
    process = link.start_process(["cat"])
    files.write(f"{tmp_path}/b", bytes(1_000_000))
    process.write(b"hello")
    process.close_stdin()
    assert process.read_stdout(60) == b"hello"
    assert process.wait(60) == 0
    assert files.read(f"{tmp_path}/b") == bytes(1_000_000)
