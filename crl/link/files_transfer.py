"""One transfer of files under way: what is sent and received on its stream, and what becomes of it here.

It joins the stream of the link with a reader or writer of trees and turns what goes wrong, at either end, into one
error that names both paths. It trusts nothing that the target says.
"""

from __future__ import annotations

import errno
import io
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from crl.errors import CrlError
from crl.link.errors import LinkLost
from crl.link.files_results import (
    FilesError,
    OnProgress,
    Problem,
    Progress,
    TransferIncomplete,
    TransferResult,
    files_error,
    text_of,
)
from crl.link.files_stream import Answered, FileStream
from crl.link.remote import files_folder
from crl.link.wire import entries, messages, values
from crl.link.wire.errors import ProtocolError

if TYPE_CHECKING:
    from crl.link.link import Link

__all__ = ["FileTransfer", "MemorySink", "Sink", "transfer"]

PROGRESS_INTERVAL: Final = 0.1
COUNTS: Final = ("files", "folders", "links", "bytes", "unchanged", "deleted")

T = TypeVar("T")


class Sink(Protocol):
    """Who takes the records of a pull."""

    finished: bool

    def take(self, kind: int, body: Any) -> None:
        """One record."""

    def abort(self, keep: bool = False) -> None:
        """Nothing follows: put things in order."""


class MemorySink:
    """Takes one file into memory.

    Args:
        limit: How many bytes at most.
        digest: Which checksum.
        changing: Whether the file may change while it is read.
    """

    def __init__(self, limit: int, digest: str, changing: bool) -> None:
        self.finished = False
        self.data = io.BytesIO()
        self._closed = False
        self._limit = limit
        self._changing = changing
        self._digest = files_folder.new_digest(digest)

    def take(self, kind: int, body: Any) -> None:
        """One record.

        Raises:
            OSError: It is no file, too large, damaged or was changed.
        """
        if kind == entries.ENTRY:
            if entries.decode_entry(body).kind != entries.FILE:
                raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        elif kind == entries.DATA:
            if self.data.tell() + len(body) > self._limit:
                raise OSError(errno.EFBIG, f"it has more than {self._limit} bytes: pull it, or give a higher limit")
            self._digest.update(body)
            self.data.write(body)
        elif kind == entries.CLOSE:
            if body[1:] != self._digest.hexdigest().encode("ascii"):
                raise OSError(errno.EBADMSG, "")
            if body[:1] != b"\0" and not self._changing:
                raise OSError(errno.ESTALE, "")
            self._closed = True
        elif kind == entries.FINISH and self._closed:
            self.finished = True
        else:
            raise ProtocolError(f"a record of kind {kind} for a single file")

    def abort(self, keep: bool = False) -> None:
        """Nothing is to be put in order."""


class FileTransfer:
    """One transfer under way: its stream, its errors and what it came to; see `transfer` for the arguments."""

    def __init__(
        self,
        link: Link,
        digest: str,
        doing: str,
        source: str | None,
        destination: str | None,
        timeout: float | None,
        progress: OnProgress | None,
    ) -> None:
        self._link = link
        self._digest = digest
        self._doing = doing
        self._source = source
        self._destination = destination
        self._timeout = timeout
        self._progress = progress
        self._started = time.monotonic()
        self._told = 0.0
        self._done = 0
        self._total: int | None = None
        self._expects_root = True
        self._stream: FileStream | None = None
        self._over = False
        self._parser = entries.Parser()
        self._early: deque[tuple[int, Any]] = deque()

    def begin(self, service: str, path: str, options: dict[str, Any]) -> FileStream:
        """Have the target begin; its answer comes on the stream."""
        self._link.load("file")
        stream = self._link.new_stream(lambda number: FileStream(self._link, number, self._timeout))
        self._stream = stream
        plain = files_folder.as_bytes(path)
        self._link.submit_service(service, stream.number, stream.credit, plain, {**options, "digest": self._digest})
        return stream

    def give_up(self, wait: bool) -> None:
        """Nobody wants the rest."""
        if self._stream is not None and not self._over:
            self._stream.give_up(wait)

    def forget(self) -> None:
        """Nothing more is to come."""
        if self._stream is not None:
            self._link.forget_stream(self._stream.number)

    # -- towards the target ------------------------------------------------------------------------------------------

    def expect(self, total: int) -> None:
        """How many bytes there are going to be."""
        self._total = total

    def counted(self, stream: FileStream) -> Callable[[list[bytes]], None]:
        """A way to send that tells of progress."""
        if self._progress is None:
            return stream.send

        def send(parts: list[bytes]) -> None:
            stream.send(parts)
            self._tell(sum(map(len, parts)))

        return send

    def send_records(self, stream: FileStream, send: Callable[[], None], local: bool = False) -> None:
        """Send a tree, and its end; when the target has an answer already, the rest is left out."""
        try:
            if local:
                self.locally(send)
            else:
                send()
            stream.finish()
        except Answered:
            return

    def what_is_there(self, stream: FileStream) -> tuple[int, str] | None:
        """What the target has of the file already."""
        kind, body = self._next_record(stream)
        if kind != entries.HAVE:
            raise self._violated(f"a record of kind {kind} where none may come")
        plain = self._decoded(body)
        if not (isinstance(plain, tuple) and len(plain) == 2 and isinstance(plain[0], int)):
            raise self._violated("a part of a file that is none")
        return (plain[0], str(plain[1])) if plain[0] > 0 else None

    def answer(self, stream: FileStream) -> TransferResult:
        """What the target has done with what was sent."""
        kind, body = self._next_record(stream)
        if kind != entries.RESULT:
            raise self._violated(f"a record of kind {kind} where none may come")
        self._over = True
        return self.result(self._decoded(body))

    def _next_record(self, stream: FileStream) -> tuple[int, Any]:
        while not self._early:
            self._early.extend(self._received(stream))
        return self._early.popleft()

    # -- from the target ---------------------------------------------------------------------------------------------

    def _received(self, stream: FileStream) -> list[tuple[int, Any]]:
        """The next records; the failure of the target is raised."""
        return self._next_message(stream)[1]

    def _next_message(self, stream: FileStream) -> tuple[bytes, list[tuple[int, Any]]]:
        """The next bytes of records, and those that end in them; the failure of the target is raised."""
        message = stream.receive()
        if message is None:
            raise self._failed(0, "the target has given the transfer up", "")
        try:
            found = self._parser.feed(message, messages.HEAD.size)
        except ProtocolError as error:
            raise self._violated(str(error)) from None
        for kind, body in found:
            if kind == entries.FAILED:
                self._over = True
                raise self._their_failure(self._decoded(body))
        return message[messages.HEAD.size :], found

    def take_records(self, stream: FileStream, sink: Sink) -> None:
        """Take a whole tree."""
        keep = False
        try:
            while not sink.finished:
                for kind, body in self._received(stream):
                    self._take(sink, kind, body)
            self._over = True
        except LinkLost:
            keep = True
            raise
        finally:
            sink.abort(keep)
        self._tell(0, last=True)

    def _take(self, sink: Sink, kind: int, body: Any) -> None:
        try:
            sink.take(kind, body)
        except ProtocolError as error:
            raise self._violated(str(error)) from None
        except CrlError:
            raise
        except OSError as error:
            raise self._local_failure(error) from error
        if kind == entries.DATA:
            self._tell(len(body))
        elif kind == entries.ENTRY and self._expects_root:
            self._expects_root = False
            entry = entries.decode_entry(body)
            if entry.kind == entries.FILE:
                self.expect(entry.size - entry.offset)

    def hand_on(self, stream: FileStream, send: Callable[[list[bytes]], None]) -> None:
        """Give the records of a tree to somebody else."""
        finished = False
        while not finished:
            data, found = self._next_message(stream)
            finished = any(kind == entries.FINISH for kind, _ in found)
            send([data])
        self._over = True

    # -- what came of it -----------------------------------------------------------------------------------------

    def locally(self, work: Callable[[], T]) -> T:
        """Do something with the files of this end."""
        try:
            return work()
        except CrlError:
            raise
        except OSError as error:
            raise self._local_failure(error) from error

    def result(self, plain: Any) -> TransferResult:
        """The result, or the error that says what is missing."""
        try:
            counts = {name: int(plain[name]) for name in COUNTS}
            problems = tuple(Problem(text_of(path), str(side), int(code)) for code, path, side in plain["problems"])
            more, digest = int(plain["more_problems"]), str(plain["digest"])
        except (TypeError, ValueError, LookupError):
            raise self._violated("a result that is none") from None
        shown = f"{self._digest}:{digest}" if digest else ""
        result = TransferResult(**counts, digest=shown, duration=time.monotonic() - self._started)
        self._tell(0, last=True)
        if problems:
            raise self._incomplete(problems, more, result)
        return result

    def _incomplete(self, problems: tuple[Problem, ...], more: int, result: TransferResult) -> TransferIncomplete:
        count = len(problems) + more
        error = TransferIncomplete(
            f"{count} of its members {'was' if count == 1 else 'were'} not transferred, first {problems[0]}",
            host=self._link.host,
            doing=self._doing,
            advice="all others are there; look at the error's problems, or leave them out with exclude",
        )
        error.problems, error.result = problems, result
        error.errno, error.filename = problems[0].errno or None, self._source
        error.filename2 = self._destination
        return error

    def _their_failure(self, plain: Any) -> FilesError:
        if isinstance(plain, tuple) and len(plain) == 3 and isinstance(plain[0], int):
            code, text, path = plain
            return self._failed(code, str(text), str(path))
        return self._failed(0, "the target failed without a reason", "")

    def _failed(self, code: int, text: str, path: str) -> FilesError:
        error = files_error(code, text, path, host=self._link.host, doing=self._doing, other=self._destination)
        error.filename = error.filename or self._source or self._destination
        return error

    def _local_failure(self, error: OSError) -> FilesError:
        path = text_of(error.filename) if error.filename is not None else ""
        made = files_error(
            error.errno or 0, error.strerror or str(error), path, host=None, doing=self._doing, other=self._destination
        )
        made.host = self._link.host
        made.filename = made.filename or self._destination
        return made

    def _decoded(self, body: bytes) -> Any:
        try:
            return values.decode(body)
        except ProtocolError as error:
            raise self._violated(str(error)) from None

    def _violated(self, text: str) -> Exception:
        self._over = True
        return self._link.engine.violated(f"{self._doing}: {text}")

    def _tell(self, count: int, last: bool = False) -> None:
        self._done += count
        if self._progress is None:
            return
        now = time.monotonic()
        if last or now - self._told >= PROGRESS_INTERVAL:
            self._told = now
            done = self._done if self._total is None else min(self._done, self._total)
            self._progress(Progress(done, self._total, self._source or self._destination or ""))


@contextmanager
def transfer(
    link: Link,
    digest: str,
    doing: str,
    source: str | None,
    destination: str | None,
    timeout: float | None,
    progress: OnProgress | None = None,
) -> Iterator[FileTransfer]:
    """One transfer; whatever interrupts it, the target hears of it and nothing stays in the link.

    Args:
        link: The link.
        digest: Name of the checksum.
        doing: What is being done, with both paths.
        source: The path that is read, None for what is in memory.
        destination: The path that is written, None for memory.
        timeout: Seconds without any progress.
        progress: Whom to tell how far it is.
    """
    job = FileTransfer(link, digest, doing, source, destination, timeout, progress)
    try:
        yield job
    except LinkLost:
        raise
    except Exception:
        job.give_up(wait=True)
        raise
    except BaseException:
        # Ctrl-C or a timeout of the test: at once.
        job.give_up(wait=False)
        raise
    finally:
        job.forget()
