"""Whoever has a share's key tries to leave the folder by every request of the protocol, and by every name."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crl.x2go._sftpserve import Export
from crl.x2go._sftpwire import Kind, Status
from tests.x2go.channelled import ServedOverChannels
from tests.x2go.sftpraw import (
    APPEND,
    CREATE,
    EXCLUSIVE,
    NO_ATTRIBUTES,
    READ,
    TRUNCATE,
    WRITE,
    RawSftp,
    Served,
    text,
)

SECRET = b"what nobody outside may see"
HIDDEN = b"a-name-that-nobody-may-see"


def everything(folder: Path) -> dict[str, tuple[object, ...]]:
    """All that can be seen of a folder and below: kinds, modes, times, contents."""
    found: dict[str, tuple[object, ...]] = {}
    for path in (folder, *sorted(folder.rglob("*"))):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
        found[str(path)] = (status.st_mode, status.st_mtime_ns, status.st_ino, status.st_nlink, content)
    return found


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A folder that is shared, and neighbours that are not."""
    share, outside = tmp_path / "share", tmp_path / "outside"
    for folder in (share / "below/deep", outside / "folder", tmp_path / "share2"):
        folder.mkdir(parents=True)
    (share / "file").write_bytes(b"inside")
    for place in (outside / "secret", outside / "folder/secret", tmp_path / "share2/secret"):
        place.write_bytes(SECRET)
    (outside / HIDDEN.decode()).write_bytes(SECRET)
    (share / "absolute").symlink_to(outside / "secret")
    (share / "relative").symlink_to("../outside/secret")
    (share / "folder-link").symlink_to(outside)
    (share / "up").symlink_to("..")
    (share / "chain").symlink_to("below/next")
    (share / "below/next").symlink_to("../up/outside/secret")
    (share / "loop").symlink_to("loop")
    (share / "root").symlink_to("/")
    (share / "dangling").symlink_to(outside / "made-by-link")
    (share / "hard").hardlink_to(outside / "secret")
    os.mkfifo(share / "pipe")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(share / "socket"))
    return tmp_path


def evil_names(world: Path) -> list[bytes]:
    share, outside = os.fsencode(world / "share"), os.fsencode(world / "outside")
    return [
        b"..", b"../", b"../outside", b"../outside/secret", b"./.././outside/secret", b"below/../../outside/secret",
        b"below/deep/../../../outside/secret", b"/", b"//", b"/etc/passwd", b"//etc/passwd", outside,
        outside + b"/secret", share + b"/../outside/secret", share + b"/../share/../outside/secret",
        share + b"2/secret", b"/.." + outside + b"/secret", share + b"/below/../../outside", b"absolute", b"relative",
        b"folder-link", b"folder-link/secret", b"folder-link/folder/secret", b"folder-link/new", b"up",
        b"up/outside/secret", b"up/share2/secret", b"chain", b"loop", b"loop/secret", b"root", b"root/etc/passwd",
        b"root" + outside + b"/secret", b"dangling", b"hard", b"pipe", b"socket", b"file/../../outside/secret",
        b"file/secret", b"missing/../../outside", b"folder-link/../outside/secret", b"up/share/up/outside/secret",
        b"\0", b"file\0/../../outside/secret", outside + b"\0", b"\xff\xfe/../../outside/secret",
        b"..\\outside\\secret", b"a" * 5000, b"../" * 1000 + outside, b"below/deep/" + b"../" * 20 + b"etc/passwd",
        b"~/", b"proc/self/root/etc/passwd", b"/proc/self/root/etc/passwd", b"/dev/null", b"/dev/fd/0",
    ]  # fmt: skip


def every_request(client: RawSftp, name: bytes) -> Iterator[bytes]:
    """All that came back for all that can be asked about a name."""
    other = text(b"attack-%d" % os.getpid())
    for flags in (READ, WRITE, READ | WRITE, WRITE | CREATE, WRITE | CREATE | TRUNCATE, WRITE | APPEND,
                  READ | WRITE | CREATE | TRUNCATE | APPEND, WRITE | CREATE | EXCLUSIVE, WRITE | TRUNCATE):  # fmt: skip
        opened = client.open(name, flags)
        yield opened.body
        if opened.kind == Kind.HANDLE:
            handle = text(opened.first)
            yield client.ask(Kind.READ, handle, struct.pack(">QI", 0, 65536)).body
            yield client.ask(Kind.WRITE, handle, struct.pack(">Q", 0), text(b"overwritten")).body
            yield client.ask(Kind.FSETSTAT, handle, struct.pack(">IQ", 0x1, 0)).body
            yield client.ask(Kind.FSETSTAT, handle, struct.pack(">II", 0x4, 0o4777)).body
            yield client.ask(Kind.CLOSE, handle).body
    listed = client.ask(Kind.OPENDIR, text(name))
    yield listed.body
    if listed.kind == Kind.HANDLE:
        yield client.ask(Kind.READDIR, text(listed.first)).body
        yield client.ask(Kind.CLOSE, text(listed.first)).body
    for kind in (Kind.STAT, Kind.LSTAT, Kind.REALPATH, Kind.READLINK):
        yield client.ask(kind, text(name)).body
    for change in (struct.pack(">IQ", 0x1, 0), struct.pack(">II", 0x4, 0o6777), struct.pack(">III", 0x2, 0, 0),
                   struct.pack(">III", 0x8, 1, 1), struct.pack(">IQIII", 0xD, 3, 0, 1, 1)):  # fmt: skip
        yield client.ask(Kind.SETSTAT, text(name), change).body
    yield client.ask(Kind.MKDIR, text(name), NO_ATTRIBUTES).body
    yield client.ask(Kind.SYMLINK, text(b"file"), text(name)).body
    yield client.ask(Kind.SYMLINK, text(name), other).body
    yield from (client.read(b"attack-%d" % os.getpid()) or b"",)
    yield client.ask(Kind.REMOVE, other).body
    for extension in (b"posix-rename@openssh.com", b"hardlink@openssh.com", b"copy-data"):
        yield client.ask(Kind.EXTENDED, text(extension), text(b"file"), text(name)).body
        yield client.ask(Kind.EXTENDED, text(extension), text(name), other).body
        yield client.read(b"attack-%d" % os.getpid()) or b""
        yield client.ask(Kind.EXTENDED, text(extension), other, text(name)).body
    for extension in (b"statvfs@openssh.com", b"lsetstat@openssh.com", b"expand-path@openssh.com", b"home-directory"):
        yield client.ask(Kind.EXTENDED, text(extension), text(name), struct.pack(">II", 0x4, 0)).body
    yield client.ask(Kind.RENAME, text(b"file"), text(name)).body
    yield client.ask(Kind.RENAME, text(name), other).body
    yield client.read(b"attack-%d" % os.getpid()) or b""
    yield client.ask(Kind.RENAME, other, text(name)).body
    yield client.ask(Kind.REMOVE, text(name)).body
    yield client.ask(Kind.RMDIR, text(name)).body


@pytest.fixture(params=["tunnel", "channel"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    one = Served() if request.param == "tunnel" else ServedOverChannels(tmp_path_factory.mktemp("c"))
    yield one
    one.close()


@pytest.fixture
def export(served: Served, world: Path) -> Export:
    return served.share(world / "share")


def outside_of(world: Path) -> dict[str, tuple[object, ...]]:
    """All but the shared folder itself; the second name of a file may go, the file may not change."""
    found = {path: known[:3] + known[4:] for path, known in everything(world / "outside").items()}
    return {**found, **everything(world / "share2")}


def test_no_request_with_any_name_leaves_the_folder(served: Served, export: Export, world: Path) -> None:
    before, around = outside_of(world), sorted(os.listdir(world))
    with served.client(export) as client:
        for name in evil_names(world):
            for came in every_request(client, name):
                assert SECRET not in came, name
                assert HIDDEN not in came, name
                assert b"root:" not in came, name
            assert outside_of(world) == before, name
            assert sorted(os.listdir(world)) == around, name
            if not (world / "share/file").exists():
                (world / "share/file").write_bytes(b"inside")


def test_what_is_inside_can_be_had(served: Served, export: Export, world: Path) -> None:
    share = os.fsencode(world / "share")
    (world / "share/sideways").symlink_to("below/../file")
    with served.client(export) as client:
        assert client.read(b"file") == client.read(share + b"/file") == client.read(b"below/../file") == b"inside"
        assert client.read(b"sideways") == b"inside"
        assert client.ask(Kind.REALPATH, text(b".")).first == share
        assert client.ask(Kind.READLINK, text(b"up")).first == b".."
        assert client.write(b"below/new\xff", b"from there", WRITE | CREATE | EXCLUSIVE) == Status.OK
        assert client.ask(Kind.SYMLINK, text(b"deep/x"), text(b"below/down")).status == Status.OK
        moved = client.ask(Kind.EXTENDED, text(b"posix-rename@openssh.com"), text(b"below/new\xff"), text(b"file"))
        assert moved.status == Status.OK
    assert (world / "share/file").read_bytes() == b"from there"
    assert os.readlink(world / "share/below/down") == "deep/x"


def test_links_that_could_lead_out_are_not_made(served: Served, export: Export, world: Path) -> None:
    with served.client(export) as client:
        for target in (b"/etc", b"../outside", b"below/../..", b"", b"below/../file", b"\0/.."):
            assert client.ask(Kind.SYMLINK, text(target), text(b"made")).status != Status.OK, target
    assert not os.path.lexists(world / "share/made")


def test_no_device_and_no_rights_of_others(served: Served, world: Path) -> None:
    if os.geteuid() == 0:
        os.mknod(world / "share/device", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    export = served.share(world / "share")
    with served.client(export) as client:
        for name in (b"pipe", b"socket", *((b"device",) if os.geteuid() == 0 else ())):
            for flags in (READ, WRITE, READ | WRITE | CREATE):
                assert client.open(name, flags).status == Status.PERMISSION_DENIED
        mode = struct.pack(">II", 0x4, 0o6755)
        opened = client.ask(Kind.OPEN, text(b"program"), struct.pack(">I", WRITE | CREATE), mode)
        assert opened.kind == Kind.HANDLE
        assert client.ask(Kind.FSETSTAT, text(opened.first), mode).status == Status.OK
        assert client.ask(Kind.SETSTAT, text(b"program"), mode).status == Status.OK
        assert client.ask(Kind.MKDIR, text(b"group"), struct.pack(">II", 0x4, 0o2777)).status == Status.OK
        owner = client.ask(Kind.SETSTAT, text(b"program"), struct.pack(">III", 0x2, 12345, 12345))
        assert owner.status == Status.PERMISSION_DENIED
    assert stat.S_IMODE((world / "share/program").stat().st_mode) == 0o755
    assert not stat.S_IMODE((world / "share/group").stat().st_mode) & 0o7000


def test_hard_links_are_refused_unless_wanted(served: Served, world: Path) -> None:
    strict, open_handed = served.share(world / "share"), served.share(world / "share", hard_links=True)
    with served.client(strict) as client:
        assert client.read(b"hard") is None
        assert client.write(b"hard", b"x", WRITE | TRUNCATE) == Status.PERMISSION_DENIED
        assert client.ask(Kind.SETSTAT, text(b"hard"), struct.pack(">II", 0x4, 0)).status == Status.PERMISSION_DENIED
    with served.client(open_handed) as client:
        assert client.read(b"hard") == SECRET


def test_read_only_means_it(served: Served, world: Path) -> None:
    export = served.share(world / "share", read_only=True)
    before = everything(world / "share")
    with served.client(export) as client:
        assert client.read(b"file") == b"inside"
        for name in (b"file", b"new", b"below", b"below/deep", b"loop"):
            for _ in every_request(client, name):
                pass
    assert everything(world / "share") == before


SWAP = r"""
import os, sys
os.chdir(sys.argv[1])
while True:
    os.rename(sys.argv[2], "kept")
    os.rename("other", sys.argv[2])
    os.rename(sys.argv[2], "other")
    os.rename("kept", sys.argv[2])
"""


@contextlib.contextmanager
def swapped(share: Path, name: str, target: Path) -> Iterator[None]:
    """Something in the folder is replaced by a link that leads out, and comes back, all the time."""
    (share / "other").symlink_to(target)
    process = subprocess.Popen([sys.executable, "-c", SWAP, str(share), name])
    try:
        yield
    finally:
        process.kill()
        process.wait(20)
        for left in ("other", name):
            if (share / left).is_symlink():
                (share / left).unlink()


def test_what_becomes_a_link_meanwhile(served: Served, export: Export, world: Path) -> None:
    share = world / "share"
    (share / "swap").mkdir()
    for place in (share / "swap/secret", share / "swapped"):
        place.write_bytes(b"ours")
    before = outside_of(world)
    seen = set()
    with served.client(export) as client:
        with swapped(share, "swap", world / "outside/folder"):
            for _ in range(300):
                seen.add(client.read(b"swap/secret"))
                client.write(b"swap/new", b"x")
                client.ask(Kind.REMOVE, text(b"swap/new"))
                client.ask(Kind.SETSTAT, text(b"swap/secret"), struct.pack(">III", 0x8, 1, 1))
                client.ask(Kind.RENAME, text(b"swap/secret"), text(b"swap/secret"))
        with swapped(share, "swapped", world / "outside/secret"):
            for _ in range(600):
                seen.add(client.read(b"swapped"))
                client.write(b"swapped", b"ours", WRITE | TRUNCATE)
                client.ask(Kind.SETSTAT, text(b"swapped"), struct.pack(">II", 0x4, 0o644))
    assert seen <= {b"ours", b"", None}
    assert b"ours" in seen
    assert outside_of(world) == before


def test_the_folder_itself_replaced_by_a_link(served: Served, export: Export, world: Path) -> None:
    (world / "share").rename(world / "moved")
    (world / "share").symlink_to(world / "outside")
    with served.client(export) as client:
        assert client.read(b"secret") is None
        assert client.read(os.fsencode(world / "share/secret")) is None
        assert client.read(b"file") == b"inside"  # the folder that was shared, wherever it is


@pytest.mark.lab  # which is what may mount
def test_a_full_disk_is_told(served: Served, tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(tmp_path)], check=True)
    try:
        export = served.share(tmp_path)
        with served.client(export) as client:
            assert client.write(b"large", bytes(200_000)) == Status.OK
            refused = client.open(b"larger", WRITE | CREATE)
            answer = client.ask(Kind.WRITE, text(refused.first), struct.pack(">Q", 0), text(bytes(200_000)))
            assert answer.status == Status.FAILURE
            assert b"No space left" in answer.body
            assert len(client.read(b"large") or b"") == 4096
            assert client.ask(Kind.REMOVE, text(b"large")).status == Status.OK
        served.exports.remove(export)
    finally:
        served.close()
        subprocess.run(["umount", str(tmp_path)], check=True)
