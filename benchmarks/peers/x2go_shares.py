"""Files of this machine used on a server: through a folder that crl shares with a session, and over plain sshfs.

Both are mounted on the same account of ``alpha`` with the options of the server's own script, and used by the same
program there, which has the clock. Plain sshfs goes to an sshd that is started here for it; that is not counted.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from benchmarks.peers.base import Settings
from benchmarks.peers.x2go_clock import Clock, Times
from crl.targets import Target
from crl.x2go import ClientDisplay, X2GoSession

__all__ = ["share_by_crl", "share_by_hand"]

ALIAS = "alpha-zsh"
MIB = 2**20
LARGE = 64 * MIB
SMALL = 200
SMALL_SIZE = 4096
USE = r"""
import json, os, sys, time
os.chdir(sys.argv[1])
size, count = int(sys.argv[2]), int(sys.argv[3])
def timed(work):
    began = time.time()
    work()
    return time.time() - began
def read_large():
    with open("large", "rb") as stream:
        while stream.read(1 << 20):
            pass
def write_large():
    with open("written", "wb") as stream:
        for _ in range(size >> 20):
            stream.write(b"x" * (1 << 20))
        os.fsync(stream.fileno())
def small():
    for name in sorted(os.listdir("small")):
        with open("small/" + name, "rb") as stream:
            stream.read()
    os.mkdir("new")
    for number in range(count):
        with open("new/%d" % number, "wb") as stream:
            stream.write(b"x" * 4096)
read, write, files = timed(read_large), timed(write_large), timed(small)
print(json.dumps({"read": size / read / 1e6, "write": size / write / 1e6, "small": 2 * count / files}))
"""


class _Result(Protocol):
    @property
    def stdout(self) -> str: ...


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder with a large file and many small ones."""
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "large").write_bytes(os.urandom(MIB) * (LARGE // MIB))
        (Path(place) / "small").mkdir()
        for number in range(SMALL):
            (Path(place) / "small" / str(number)).write_bytes(os.urandom(SMALL_SIZE))
        yield Path(place)


def _used(result: _Result) -> Times:
    found: Times = json.loads(result.stdout)
    return found


def share_by_crl(settings: Settings) -> Times:
    """Seconds of the mount, and what the files of a session's shared folder come to."""
    with (
        _folder() as folder,
        Target.from_ssh_alias(ALIAS, config=settings.ssh_config) as target,
        ClientDisplay.start() as display,
        X2GoSession(target=target, client_display=display, cmd="sleep 600", link="lan", pack="nopack") as session,
    ):
        session.start()
        clock = Clock()
        session.share_local_folder(folder)
        clock.note("mount")
        place = target.run(["sh", "-c", "echo ~/media/disk/*"], check=True).stdout.strip()
        used = target.run(["python3", "-c", USE, place, str(LARGE), str(SMALL)], check=True, timeout=120)
        return {**clock.times, **_used(used)}


def share_by_hand(settings: Settings) -> Times:
    """The same over sshfs and sshd, as anybody would use them."""
    with _folder() as folder, Target.from_ssh_alias(ALIAS, config=settings.ssh_config) as target, _sshd(target) as door:
        key, known, port, address = door
        place = target.run(["mktemp", "-d"], check=True).stdout.strip()
        target.files.push(str(key), f"{place}/key", modes=True)
        target.files.push(str(known), f"{place}/known")
        target.run(["mkdir", f"{place}/mount"], check=True)
        options = (
            "idmap=user,uid=$(id -u),gid=$(id -g),default_permissions,ServerAliveInterval=300,"
            f"IdentityFile={place}/key,UserKnownHostsFile={place}/known"
        )
        where = f"{getpass.getuser()}@{address}:{folder}"
        clock = Clock()
        mount = ["sh", "-c", f"exec sshfs -o {options} {where} {place}/mount -p {port} >/dev/null 2>&1"]
        target.run(mount, check=True)
        clock.note("mount")
        try:
            used = target.run(["python3", "-c", USE, f"{place}/mount", str(LARGE), str(SMALL)], check=True, timeout=120)
            return {**clock.times, **_used(used)}
        finally:
            target.run(["fusermount3", "-u", f"{place}/mount"], check=True)
            target.run(["rm", "-rf", place])


@contextlib.contextmanager
def _sshd(target: Target) -> Iterator[tuple[Path, Path, int, str]]:
    """An sshd here that the target reaches, with a key for it: key file, known hosts, port and address."""
    address = str(target.python.eval("__import__('os').environ['SSH_CONNECTION'].split()[0]"))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name in ("host", "key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
        port = _free_port(address)
        (folder / "config").write_text(
            f"Port {port}\nListenAddress {address}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/key.pub\n"
            "StrictModes no\nPermitRootLogin yes\nPidFile none\nSubsystem sftp internal-sftp\n"
        )
        public = (folder / "host.pub").read_text().split()
        (folder / "known").write_text(f"[{address}]:{port} {public[0]} {public[1]}\n")
        server = subprocess.Popen(
            ["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "config")], stderr=subprocess.PIPE, text=True
        )
        try:
            _await_greeting(server)
            yield folder / "key", folder / "known", port, address
        finally:
            server.terminate()
            server.wait(20)
            if server.stderr is not None:
                server.stderr.close()


def _await_greeting(server: subprocess.Popen[str]) -> None:
    """Wait until sshd says that it listens; what it says later is read and forgotten."""
    assert server.stderr is not None
    for line in server.stderr:
        if "listening" in line:
            break
    threading.Thread(target=server.stderr.read, daemon=True).start()


def _free_port(address: str) -> int:
    with socket.create_server((address, 0)) as found:
        return int(found.getsockname()[1])

