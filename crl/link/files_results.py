"""What comes of working with a target's files: what a file is, what a transfer did, and what went wrong.

Plain values and errors; they know neither a link nor the file system. What a target says is checked before it becomes
one of them.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from crl.errors import RemoteWorldError

__all__ = [
    "FileAccessDenied",
    "FileInfo",
    "FileMissing",
    "FilesError",
    "Problem",
    "Progress",
    "TransferIncomplete",
    "TransferOptions",
    "TransferResult",
]

KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "folder",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}
REASONS = {
    0: "it is neither a file nor a folder nor a link",
    errno.EBADMSG: "it did not arrive as it was sent: the checksums differ",
    errno.ESTALE: "it changed while it was read",
    errno.ENOTUNIQ: "another member of the tree stands there: names that differ in case only are one here",
    errno.EXDEV: "the link leads out of the tree",
    errno.EISDIR: "there is a folder where a file is expected",
    errno.ENOTDIR: "there is something else where a folder is expected",
    errno.ELOOP: "a symbolic link stands in the way",
    errno.EINVAL: "it is neither a file nor a folder",
}
ADVICE = {
    errno.ENOSPC: "make room on that disk; the old file is as it was",
    errno.EDQUOT: "the quota of that user is used up; the old file is as it was",
    errno.EROFS: "that file system is mounted read-only",
    errno.EACCES: "look at the permissions, or go through a shell of a user who may",
    errno.EPERM: "look at the permissions, or go through a shell of a user who may",
    errno.ESTALE: "try again when nobody writes it, or give changing=True to take it as it comes",
    errno.EBADMSG: "try again; if it stays, the disk or memory of one of the two hosts is damaged",
    errno.EISDIR: "end the destination with a slash to put the file into that folder",
    errno.EXDEV: 'give links="all" when links may lead anywhere, or links="skip"',
}


class TransferOptions(TypedDict, total=False):
    """How `push` and `pull` transfer; every one may be left out.

    Attributes:
        modes: Take over permissions (default: yes); set-user-id bits only towards a target.
        times: Take over times of change, to the nanosecond (default: yes).
        owners: Take over user and group by their numbers, which needs the rights for it.
        links: ``"keep"``: symbolic links as links, those that a target sends only when they stay in the tree;
            ``"all"``: all of them; ``"follow"``: the files of the tree that they lead to; ``"skip"``: none.
        sparse: Leave holes of a file as holes.
        fsync: Have files and folders on the disk before they get their names.
        include: Patterns of the files to take: of names, or with a slash of paths from the root.
        exclude: Patterns of what to leave out; one that ends with a slash concerns folders only.
        delete: Make the destination a mirror: remove what the source does not have and `exclude` does not name.
        update: Leave out files whose size and time are the same already.
        resume: Keep what was transferred of a file when the link is lost, and go on from there the next time.
        changing: Take also a file that changes while it is read.
    """

    modes: bool
    times: bool
    owners: bool
    links: str
    sparse: bool
    fsync: bool
    include: Sequence[str]
    exclude: Sequence[str]
    delete: bool
    update: bool
    resume: bool
    changing: bool


@dataclass(frozen=True)
class FileInfo:
    """What is known of a file, folder or link of a target.

    Attributes:
        path: Its path, as it was asked for; in a list its path from the folder.
        kind: ``"file"``, ``"folder"``, ``"link"``, ``"fifo"``, ``"socket"`` or ``"device"``.
        mode: Permission bits.
        uid: Number of its owner.
        gid: Number of its group.
        size: Bytes.
        mtime_ns: When it was last changed, in nanoseconds since 1970.
        names: How many names (hard links) it has.
        link: Where a symbolic link leads, None for others.
    """

    path: str
    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    names: int
    link: str | None

    @property
    def name(self) -> str:
        """The last component of its path."""
        return self.path.rstrip("/").rpartition("/")[2]

    @property
    def is_file(self) -> bool:
        """Whether it is a plain file."""
        return self.kind == "file"

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.kind == "folder"


def text_of(name: object) -> str:
    """A name that the target sent, as text; Python 2 sends texts, Python 3 bytes."""
    return name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else str(name)


def file_info(plain: Any) -> FileInfo:
    """What the target says of a file.

    Raises:
        TypeError: It says something else (as ValueError).
    """
    path, mode, uid, gid, size, mtime_ns, names, link = plain
    numbers = (mode, uid, gid, size, mtime_ns, names)
    if not all(isinstance(number, int) for number in numbers):
        raise TypeError("not what is known of a file")
    kind = KINDS.get(stat.S_IFMT(mode), "device")
    shown = None if link is None else text_of(link)
    return FileInfo(text_of(path), kind, stat.S_IMODE(mode), uid, gid, size, mtime_ns, names, shown)


@dataclass(frozen=True)
class Progress:
    """How far a transfer is.

    Attributes:
        done: Bytes so far; of a tree with what is told of its members.
        total: Bytes in all; None where that is not known, as for a tree.
        name: What is being transferred.
    """

    done: int
    total: int | None
    name: str


OnProgress = Callable[[Progress], object]


@dataclass(frozen=True)
class Problem:
    """One member of a tree that was not transferred.

    Attributes:
        path: Its path from the root of the tree.
        side: ``"source"`` when it could not be read, ``"destination"`` when it could not be written.
        errno: Why, as a number of `errno`; 0 for what is neither file nor folder nor link.
    """

    path: str
    side: str
    errno: int

    def __str__(self) -> str:
        return f"{self.path} ({self.side}): {reason(self.errno)}"


@dataclass(frozen=True)
class TransferResult:
    """What a transfer did.

    Attributes:
        files: Files that were transferred.
        folders: Folders.
        links: Symbolic links.
        bytes: Bytes of content that crossed; holes and what a resume found do not count.
        unchanged: Files that were left as they are (`update`).
        deleted: Members of the destination that were removed (`delete`).
        digest: Checksum of the content as ``"sha256:…"``, of the last file of a tree.
        duration: Seconds.
    """

    files: int
    folders: int
    links: int
    bytes: int
    unchanged: int
    deleted: int
    digest: str
    duration: float


class FilesError(RemoteWorldError, OSError):
    """Something with a file of a target, or with its copy here, cannot be done; the old file is as it was.

    Attributes:
        errno: Why, as a number of `errno`; None where there is none.
        filename: The path concerned.
        filename2: For a transfer the other path.
    """

    errno: int | None = None
    filename: str | None = None
    filename2: str | None = None


class FileMissing(FilesError, FileNotFoundError):
    """The file or folder is not there."""


class FileAccessDenied(FilesError, PermissionError):
    """The user that we are there, or here, may not do that."""


class TransferIncomplete(FilesError):
    """A tree was transferred but for some of its members.

    Attributes:
        problems: Which, and why; the first hundred.
        result: What was done all the same.
    """

    problems: tuple[Problem, ...] = ()
    result: TransferResult | None = None


def reason(code: int) -> str:
    """Why something failed, for a number of `errno`."""
    return REASONS.get(code) or os.strerror(code)


def files_error(
    code: int, text: str, path: str, *, host: str | None, doing: str, other: str | None = None
) -> FilesError:
    """The error for a number of `errno`.

    Args:
        code: The number; 0 where there is none.
        text: What to say where the number has no words of its own.
        path: The path concerned.
        host: The target's name, None for this side.
        doing: What was being done, with both paths.
        other: The other path of a transfer.
    """
    classes = {errno.ENOENT: FileMissing, errno.EACCES: FileAccessDenied, errno.EPERM: FileAccessDenied}
    cls = classes.get(code, FilesError)
    why = (REASONS.get(code) or text or os.strerror(code)) if code else text
    place = "" if host is not None else " here"
    error = cls(f"{path}{place}: {why}" if path else why, host=host, doing=doing, advice=ADVICE.get(code))
    error.errno, error.filename, error.filename2 = code or None, path or None, other
    return error
