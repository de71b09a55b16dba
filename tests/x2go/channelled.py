"""A share over a channel whose sshfs is a client of the test's own; the program for the mount is real, and runs here.

In the place of sshfs stands a program that joins the channel to a socket, so that a test can ask what no sshfs would.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from crl.channels import ChannelStartError, ProcessChannel
from crl.deadlines import Deadline
from crl.errors import CrlError
from crl.interactivesessions._beside import CommandChannel, open_channel
from crl.x2go._channelshare import ChannelShare
from crl.x2go._confined import ConfinedFolder
from crl.x2go._mountprogram import MountWish
from crl.x2go._sftpserve import Export
from tests.x2go.sftpraw import RawSftp, Served

WAIT = 20.0
# Joins its standard input and output to the socket beside the place; its status is what a file there says.
IN_PLACE_OF_SSHFS = r"""
import os, socket, sys, threading
place = sys.argv[-5]
there = socket.socket(socket.AF_UNIX)
there.connect(place + ".socket")
def bring():
    while True:
        data = os.read(0, 65536)
        if not data:
            break
        there.sendall(data)
    there.shutdown(socket.SHUT_RDWR)
thread = threading.Thread(target=bring)
thread.daemon = True
thread.start()
try:
    while True:
        data = there.recv(65536)
        if not data:
            break
        while data:
            data = data[os.write(1, data):]
except OSError:
    pass
try:
    with open(place + ".status") as stream:
        status = int(stream.read())
except IOError:
    status = 1
os._exit(status)
"""


class LocalHost:
    """This machine, as a host on which something can be run beside.

    Args:
        limit: How many channels can be had.
    """

    name = "localhost"

    def __init__(self, limit: int = 100) -> None:
        self.limit = limit
        self.opened: list[ProcessChannel] = []
        self.refusals: list[Exception] = []
        self.refused = threading.Event()

    def open_channel(self, words: Sequence[str], timeout: float = WAIT, *, connect: bool = True) -> CommandChannel:
        del connect
        return open_channel(self._run, words, self.name, Deadline.after(timeout))

    def _run(self, command: str, deadline: Deadline) -> ProcessChannel:
        del deadline
        if self.refusals:
            raise self.refusals.pop()
        if len(self.opened) >= self.limit:
            self.refused.set()
            raise ChannelStartError("no further session", host=self.name)
        self.opened.append(ProcessChannel(["/bin/sh", "-c", command], name="beside", dialogue=False))
        return self.opened[-1]


class Channelled:
    """One folder that is shared with a client of the test's own.

    Args:
        tmp_path: A folder for what is needed.
        folder: The folder that is shared.
        host: Where the program runs.
        python: The interpreter that it runs in.
        options: Of `ConfinedFolder`, where `folder` is a path.
    """

    def __init__(
        self,
        tmp_path: Path,
        folder: Path | ConfinedFolder,
        host: LocalHost | None = None,
        python: str = sys.executable,
        **options: Any,
    ) -> None:
        self.host = host or LocalHost()
        self.base = tmp_path
        self.place = tmp_path / "place"
        self.place.mkdir(exist_ok=True)
        self.said: list[str] = []
        self.gone: list[CrlError | None] = []
        self.is_gone = threading.Event()
        sshfs = tmp_path / "sshfs"
        sshfs.write_text(f"#!{sys.executable} -ESs\n{IN_PLACE_OF_SSHFS}")
        sshfs.chmod(0o700)
        self.door = socket.socket(socket.AF_UNIX)
        self.door.bind(f"{self.place}.socket")
        self.door.listen()
        self.door.settimeout(WAIT)
        self.script: subprocess.Popen[bytes] | None = None
        self.wish = MountWish(
            python, str(sshfs), "passive", "/usr/local/bin:/usr/bin:/bin", str(tmp_path / "log"), str(self.place),
            (str(tmp_path / "no such folder/mount"), str(tmp_path / "mount.x")),
        )  # fmt: skip
        confined = folder if isinstance(folder, ConfinedFolder) else ConfinedFolder(folder, **options)
        self.share = ChannelShare(self.host, confined, confined.path, self.wish, self._gone, self.said.append)  # type: ignore[arg-type]

    def _gone(self, share: ChannelShare, error: CrlError | None) -> None:
        assert share is self.share
        self.gone.append(error)
        self.is_gone.set()

    def begin(self) -> None:
        """What the server's script does: it believes to call sshfs."""
        folder = self.share._begin()
        shared = f"me@127.0.0.1:{self.share.folder.path}"
        words = ["sshfs", "-o", "idmap=user,it's=\"$x\"", shared, str(self.place), "-p", "9"]
        self.script = subprocess.Popen(words, env={**os.environ, "PATH": f"{folder}:{self.wish.path}"})

    def client(self) -> RawSftp:
        """The client that stands for sshfs, once that has been started."""
        connection, _ = self.door.accept()
        return RawSftp(connection)

    def close(self) -> None:
        """End all; nothing may be left."""
        self.share.end()
        self.door.close()
        if self.script is not None:
            self.script.wait(WAIT)
        assert self.share.ended
        assert all(channel.closed for channel in self.host.opened)
        os.unlink(f"{self.place}.socket")


class ServedOverChannels(Served):
    """As `Served`, each folder over a channel, for one client."""

    def __init__(self, tmp_path: Path) -> None:
        super().__init__()
        self._base = tmp_path
        self._count = 0

    @contextlib.contextmanager
    def client(self, export: Export) -> Iterator[RawSftp]:
        """A client of one folder."""
        self._count += 1
        base = self._base / str(self._count)
        base.mkdir()
        one = Channelled(base, export.folder)
        try:
            one.begin()
            client = one.client()
            with client.channel:
                yield client
        finally:
            one.close()
