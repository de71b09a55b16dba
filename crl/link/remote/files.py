"""Files on the target: transfers, each in a thread of its own, and what is asked of single files and folders.

A transfer is one stream of the link with records of `wire.entries` in it, in one direction those of the tree, in the
other what came of it. It is sent on first use. When the link ends, transfers end, and what was not complete is removed,
but what a resume was asked to find.
"""
# ruff: noqa: F401 - names in type comments look unused.

import errno
import os
import stat
import time
from collections import deque

from crl.link.remote import files_folder, files_read, files_write
from crl.link.wire import entries, messages, values
from crl.link.wire.compat import allocate_lock, error, start_new_thread
from crl.link.wire.errors import ProtocolError

MYPY = False
if MYPY:
    from collections.abc import Callable
    from typing import Any

END_PATIENCE = 2.0
END_STEP = 0.01

now = getattr(time, "monotonic", time.time)


class Cut(Exception):
    """Nobody waits for this transfer any more."""


class Transfer(object):
    """One stream of records, for the thread that works on it.

    Args:
        program: The remote program.
        number: Number of the stream.
        credit: How many bytes may be under way in each direction.
    """

    def __init__(self, program, number, credit):
        # type: (Any, int, int) -> None
        self.program = program
        self.number = number
        self.credit = self.limit = credit
        self.sent = self.used = self.granted = 0
        self.pending = deque()  # type: deque[bytes]
        self.ended = False
        self.cut = False
        self.lost = False
        self._bell = allocate_lock()

    def ring(self):
        # type: () -> None
        """Something has changed: the thread looks again."""
        try:
            self._bell.release()
        except (error, RuntimeError):
            # It has been rung already.
            return

    def send(self, parts):
        # type: (list[bytes]) -> None
        """Send bytes to the controller as soon as it takes them."""
        size = sum(map(len, parts))
        while self.sent + size > self.limit and not self.cut:
            self._bell.acquire()
        if self.cut:
            raise Cut
        self.sent += size
        head = messages.HEAD.pack(messages.DATA, self.number)
        self.program.send(b"".join([head] + parts), self.number)

    def say(self, kind, value):
        # type: (int, object) -> None
        """Send a record with a value."""
        self.send([entries.pack(kind, values.encode(value))])

    def receive(self):
        # type: () -> bytes | None
        """The next message of the controller, its head included; None at their end."""
        while not self.cut:
            if self.pending:
                message = self.pending.popleft()
                self.used += len(message) - messages.HEAD.size
                if self.used - self.granted >= self.credit // 4:
                    self.granted = self.used
                    limit = messages.CREDIT.pack(self.used + self.credit)
                    self.program.send(messages.pack(messages.CREDIT_TO, self.number, limit))
                return message
            if self.ended:
                return None
            self._bell.acquire()
        raise Cut

    def end(self):
        # type: () -> None
        """Nothing of ours follows."""
        self.program.send(messages.pack(messages.END, self.number), self.number)


class Files(object):
    """The services of files."""

    def __init__(self, program):
        # type: (Any) -> None
        self.program = program
        self.pump = program.pump
        self.transfers = {}  # type: dict[int, Transfer]
        self._handlers = {
            messages.DATA: _data,
            messages.END: _end,
            messages.CREDIT_TO: _credit,
            messages.RESET: _reset,
        }  # type: dict[int, Callable[[Transfer, bytes], None]]
        for kind in self._handlers:
            program.handlers[kind] = self._locked(kind)
        program.at_end.append(self.end_all)
        services = program.calls.services
        services["file.push"] = self.push
        services["file.pull"] = self.pull
        services["file.digest"] = lambda: files_folder.DIGEST
        services["file.snapshot"] = lambda path: files_folder.snapshot(_path(path))
        services["file.stat"] = stat_of
        services["file.list"] = list_of
        services["file.mkdir"] = mkdir
        services["file.remove"] = remove

    def push(self, number, credit, path, options):
        # type: (int, int, Any, dict[str, Any]) -> None
        """Begin to write what comes on stream `number`."""
        self._start(self._receive, number, credit, _path(path), options)

    def pull(self, number, credit, path, options):
        # type: (int, int, Any, dict[str, Any]) -> None
        """Begin to send a file or a tree on stream `number`."""
        self._start(self._send, number, credit, _path(path), options)

    def _start(self, work, number, credit, path, options):
        # type: (Any, int, int, bytes, dict[str, Any]) -> None
        transfer = Transfer(self.program, number, credit)
        with self.pump.lock:
            # Another thread reads on when this call is slow: what it has read so far, then what is still to come.
            for kind, body in self.pump.overtaken(number):
                self._handlers[kind](transfer, body)
            self.transfers[number] = transfer
        try:
            start_new_thread(self._work, (work, transfer, path, options))
        except error:
            self._forget(number)
            self.program.send(messages.pack(messages.RESET, number))
            raise

    def _work(self, work, transfer, path, options):
        # type: (Any, Transfer, bytes, dict[str, Any]) -> None
        """One transfer, from its first to its last byte; whatever happens is told."""
        try:
            try:
                work(transfer, path, options)
            except Cut:
                pass
            except EnvironmentError as failure:
                text = failure.strerror or str(failure)
                transfer.say(entries.FAILED, (failure.errno or errno.EIO, text, _shown(failure.filename)))
            except Exception as failure:  # noqa: BLE001 - the controller has to hear of everything
                code = errno.EPROTO if isinstance(failure, ProtocolError) else 0
                transfer.say(entries.FAILED, (code, "%s: %s" % (type(failure).__name__, failure), ""))
        except Cut:
            pass
        finally:
            self._forget(transfer.number)
            # At the link's end the controller is to hear of that, not of a transfer that was given up.
            if not transfer.lost:
                transfer.end()

    def _receive(self, transfer, path, options):
        # type: (Transfer, bytes, dict[str, Any]) -> None
        writer = files_write.TreeWriter(path, options)
        parser = entries.Parser()
        try:
            if options.get("resume"):
                have = writer.have() or (0, "")
                transfer.say(entries.HAVE, have)
            while True:
                message = transfer.receive()
                if message is None:
                    break
                for kind, body in parser.feed(message, messages.HEAD.size):
                    writer.take(kind, body)
            if not writer.finished:
                raise ProtocolError("the records end in their middle")
        finally:
            writer.abort(keep=transfer.lost)
        transfer.say(entries.RESULT, writer.result())

    def _send(self, transfer, path, options):
        # type: (Transfer, bytes, dict[str, Any]) -> None
        files_read.TreeReader(files_read.Out(transfer.send, self.program.session.sender), options).send(path)

    def end_all(self):
        # type: () -> None
        """The link ends: let every transfer put its things in order."""
        for transfer in list(self.transfers.values()):
            transfer.lost = transfer.cut = True
            transfer.ring()
        until = now() + END_PATIENCE
        while self.transfers and now() < until:
            time.sleep(END_STEP)

    def _forget(self, number):
        # type: (int) -> None
        with self.pump.lock:
            self.transfers.pop(number, None)
            self.pump.finished(number)

    # -- messages, in the thread that reads frames -------------------------------------------------------------------

    def _locked(self, kind):
        # type: (int) -> Callable[[int, bytes], None]
        handler, pump = self._handlers[kind], self.pump

        def handle(number, body):
            # type: (int, bytes) -> None
            with pump.lock:
                transfer = self.transfers.get(number)
                if transfer is None:
                    pump.handle(kind, number, body)
                else:
                    handler(transfer, body)

        return handle


def _data(transfer, message):
    # type: (Transfer, bytes) -> None
    transfer.pending.append(message)
    transfer.ring()


def _end(transfer, _body):
    # type: (Transfer, bytes) -> None
    transfer.ended = True
    transfer.ring()


def _credit(transfer, body):
    # type: (Transfer, bytes) -> None
    transfer.limit = max(transfer.limit, messages.CREDIT.unpack(body)[0])
    transfer.ring()


def _reset(transfer, _body):
    # type: (Transfer, bytes) -> None
    transfer.cut = True
    transfer.ring()


def _path(path):
    # type: (Any) -> bytes
    """A path of the controller's: UTF-8; a tilde at its beginning is the home of a user."""
    return os.path.expanduser(files_folder.as_bytes(path))


def _shown(path):
    # type: (Any) -> Any
    """A path as it crosses: text, whatever it was."""
    if path is None or isinstance(path, int):
        return ""
    return files_folder.as_text(path) if isinstance(path, bytes) else path


def _described(name, info, link):
    # type: (bytes, os.stat_result, bytes | None) -> tuple[Any, ...]
    """What the controller is told of a file, as plain values."""
    return (
        name,
        info.st_mode,
        info.st_uid,
        info.st_gid,
        info.st_size,
        files_folder.mtime_of(info),
        info.st_nlink,
        link,
    )


def stat_of(path, follow):
    # type: (Any, bool) -> tuple[Any, ...]
    """What is known of a path."""
    plain = _path(path)
    info = os.stat(plain) if follow else os.lstat(plain)
    return _described(plain, info, os.readlink(plain) if stat.S_ISLNK(info.st_mode) else None)


def list_of(path, recursive):
    # type: (Any, bool) -> list[tuple[Any, ...]]
    """The members of a folder; with their own, named by their path from there, when asked to."""
    folder = files_folder.Folder(_path(path))
    found = []  # type: list[tuple[Any, ...]]
    try:
        _list(folder, b"", recursive, found)
    finally:
        folder.close()
    return found


def _list(folder, path, recursive, found):
    # type: (files_folder.Folder, bytes, bool, list[tuple[Any, ...]]) -> None
    for name in folder.names():
        member = path + b"/" + name if path else name
        info = folder.look(name)
        if info is None:
            # It went while we looked.
            continue
        link = folder.link_of(name) if stat.S_ISLNK(info.st_mode) else None
        found.append(_described(member, info, link))
        if recursive and stat.S_ISDIR(info.st_mode):
            inner = folder.enter(name)
            try:
                _list(inner, member, recursive, found)
            finally:
                inner.close()


def mkdir(path, mode, parents):
    # type: (Any, int | None, bool) -> None
    """Make a folder; with those above it, and no matter whether it is there, when `parents` is set."""
    plain = _path(path)
    if parents:
        files_folder.make_folders(plain.rstrip(b"/") or b"/")
    else:
        os.mkdir(plain)
    if mode is not None:
        os.chmod(plain, mode)


def remove(path, recursive, missing_ok):
    # type: (Any, bool, bool) -> bool
    """Remove a file, a link or a folder; False when there was nothing."""
    plain = _path(path).rstrip(b"/") or b"/"
    try:
        info = os.lstat(plain)
        if not stat.S_ISDIR(info.st_mode):
            os.unlink(plain)
        elif not recursive:
            os.rmdir(plain)
        else:
            parent = files_folder.Folder(files_folder.split(plain)[0])
            try:
                parent.remove(files_folder.split(plain)[1])
            finally:
                parent.close()
    except OSError as failure:
        if not missing_ok or failure.errno != errno.ENOENT:
            raise
        return False
    return True


def install(program):
    # type: (Any) -> None
    """Called when this piece arrives."""
    program.files = Files(program)
