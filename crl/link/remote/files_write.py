"""Writes the records of a tree to a file system, at either end of a link.

Whoever made the records is not trusted: every name is one component, folders are entered without following links, and
nothing outside the destination is touched. A file is written beside its place, compared with its checksum and renamed;
whatever goes wrong, the old file stays whole and no part of the new one is left, but what a resume was asked to find.
"""
# ruff: noqa: F401 - names in type comments look unused.

import binascii
import errno
import os
import stat

from crl.link.remote import files_folder, files_read
from crl.link.wire import entries
from crl.link.wire.errors import ProtocolError

MYPY = False
if MYPY:
    from typing import Any

PART_START = b".crl-"
PART_END = b".part"
WRITE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOCTTY
# Where one of these strikes, the rest has no chance either.
HOPELESS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE)
PLAIN_MODE = 0o777


class Level(object):
    """A folder that is being filled.

    Attributes:
        folder: The open folder.
        entry: Its entry.
        path: Its path from the root.
        names: The names of the tree in it.
        nodes: The files written into it: one that is met again has two names in a folder that tells no case.
        whole: Whether all of it could be read and written.
        ours: Whether it gets the properties of its entry; a root that was there before keeps its own.
    """

    def __init__(self, folder, entry, path, ours=True):
        # type: (files_folder.Folder, entries.Entry, bytes, bool) -> None
        self.folder = folder
        self.entry = entry
        self.path = path
        self.names = set()  # type: set[bytes]
        self.nodes = set()  # type: set[tuple[int, int]]
        self.whole = True
        self.ours = ours

    def member(self, name):
        # type: (bytes) -> bytes
        """The path of a member from the root."""
        return self.path + b"/" + name if self.path else name


class Part(object):
    """A file that is being written.

    Attributes:
        folder: Where it is going to be.
        name: What it is going to be called.
        part: What it is called until then.
        kept: Whether the part stays for a resume when the link is lost.
    """

    def __init__(self, folder, name, part, descriptor, entry, digest, kept):
        # type: (files_folder.Folder, bytes, bytes, int, entries.Entry, Any, bool) -> None
        self.folder = folder
        self.name = name
        self.part = part
        self.descriptor = descriptor
        self.entry = entry
        self.digest = digest
        self.kept = kept
        self.at = entry.offset
        self.has_holes = False

    def write(self, data):
        # type: (Any) -> None
        """Add bytes."""
        self.digest.update(data)
        self.at += len(data)
        written = os.write(self.descriptor, data)
        while written < len(data):
            written += os.write(self.descriptor, data[written:])

    def skip(self, count):
        # type: (int) -> None
        """Leave a hole."""
        if self.at + count > self.entry.size:
            raise ProtocolError("a hole behind the end of %r" % (self.name,))
        self.has_holes = True
        files_read.digest_zeros(self.digest, count)
        self.at += count
        os.lseek(self.descriptor, self.at, os.SEEK_SET)

    def close(self, keep=False):
        # type: (bool) -> None
        """Give its descriptor back and, unless it is kept, remove it."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
            if not keep:
                self.folder.unlink(self.part)


class TreeWriter(object):
    """Writes one file or tree.

    Args:
        path: The destination; one that ends with a slash is the folder that a file is put into under its own name.
        options: ``digest``, ``modes``, ``times``, ``owners``, ``fsync``, ``resume``, ``sparse``, ``delete``,
            ``exclude``, ``changing``: a file may change while it is read, ``special``: set-user-id bits may be set,
            ``outward``: links may lead out of the tree.

    Attributes:
        finished: Whether the tree is complete.
        counts: Files, folders, links, bytes, unchanged and deleted so far.
        problems: What could not be read or written: errno, path from the root, which side.
        digest: The checksum of the last file.
    """

    def __init__(self, path, options):
        # type: (bytes, dict[str, Any]) -> None
        self.path = path
        self.options = options
        self.finished = False
        self.counts = {"files": 0, "folders": 0, "links": 0, "bytes": 0, "unchanged": 0, "deleted": 0}
        self.problems = []  # type: list[tuple[int, bytes, str]]
        self.more_problems = 0
        self.digest = ""
        self.current = b""
        self._root_parent = None  # type: files_folder.Folder | None
        self._single = False
        self._seen_root = False
        self._levels = []  # type: list[Level]
        self._part = None  # type: Part | None
        self._old = None  # type: os.stat_result | None
        self._skipping = 0
        self._ignored_file = False
        self._token = binascii.hexlify(os.urandom(6))
        self._parts = 0
        self._exclude = files_folder.Patterns((), options.get("exclude") or ())
        self._mask = 0o7777 if options.get("special") else PLAIN_MODE
        self._handlers = {
            entries.ENTRY: self._entry,
            entries.HOLE: self._hole,
            entries.CLOSE: self._close_file,
            entries.LEAVE: self._leave,
            entries.PROBLEM: self._their_problem,
            entries.SKIPPED: self._unchanged,
            entries.FINISH: self._finish,
        }

    # -- records -----------------------------------------------------------------------------------------------------

    def take(self, kind, body):
        # type: (int, Any) -> None
        """Do what one record says.

        Raises:
            OSError: The whole transfer cannot be done.
            ProtocolError: The records do not follow one another as those of a tree, or a name leads elsewhere.
        """
        if kind == entries.DATA:
            part = self._part
            if part is not None:
                part.write(body)
                self.counts["bytes"] += len(body)
            elif not self._ignored_file:
                raise ProtocolError("bytes of no file")
            return
        handler = self._handlers.get(kind)
        if handler is None or self.finished:
            raise ProtocolError("a record of kind %d where none may come" % kind)
        handler(body)

    def result(self):
        # type: () -> dict[str, Any]
        """What was done."""
        return dict(self.counts, digest=self.digest, problems=self.problems, more_problems=self.more_problems)

    def abort(self, keep=False):
        # type: (bool) -> None
        """Give everything back; what is not complete is removed, or kept for a resume that was asked for."""
        part, self._part = self._part, None
        if part is not None:
            part.close(keep and part.kept)
        while self._levels:
            self._levels.pop().folder.close()
        if self._root_parent is not None:
            self._root_parent.close()

    def have(self):
        # type: () -> tuple[int, str] | None
        """Size and checksum of what an earlier try has left of the file."""
        folder, name = files_folder.split(self.path)
        if not name:
            return None
        try:
            parent = files_folder.Folder(folder)
        except OSError:
            # The folder is still to be made.
            return None
        try:
            descriptor = self._left_part(parent, name)
            if descriptor is None:
                return None
            try:
                digest = files_folder.new_digest(self.options["digest"])
                size = os.fstat(descriptor).st_size
                files_read.digest_start(descriptor, size, digest)
                return size, digest.hexdigest()
            finally:
                os.close(descriptor)
        finally:
            parent.close()

    # -- entries -----------------------------------------------------------------------------------------------------

    def _entry(self, body):
        # type: (bytes) -> None
        entry = entries.decode_entry(body)
        if self._part is not None or self._ignored_file:
            raise ProtocolError("an entry in the middle of a file")
        if not self._seen_root:
            self._seen_root = True
            self._begin_root(entry)
            return
        if not self._levels:
            raise ProtocolError("an entry behind the end of the tree")
        level = self._levels[-1]
        name = entries.check_name(entry.name)
        if name in level.names:
            raise ProtocolError("two members of a folder are called %r" % (name,))
        level.names.add(name)
        if self._skipping:
            self._skip_entry(entry)
            return
        self.current = level.member(name)
        try:
            self._write_entry(level, entry)
        except OSError as error:
            self._own_problem(error, level.member(name))
            self._skip_entry(entry)

    def _skip_entry(self, entry):
        # type: (entries.Entry) -> None
        """What follows of this entry has no place to go."""
        if entry.kind == entries.FILE:
            self._ignored_file = True
        elif entry.kind == entries.FOLDER:
            self._skipping += 1

    def _write_entry(self, level, entry):
        # type: (Level, entries.Entry) -> None
        if entry.kind == entries.FILE:
            if entry.offset:
                raise ProtocolError("a file of a tree that begins in its middle")
            self._begin_file(level.folder, entry.name, entry, level)
        elif entry.kind == entries.FOLDER:
            self._begin_folder(level, entry)
        else:
            self._make_link(level, entry)

    def _begin_root(self, entry):
        # type: (entries.Entry) -> None
        path = self.path
        if entry.kind == entries.FOLDER:
            was_there = os.path.isdir(path)
            if not was_there:
                files_folder.make_folders(path.rstrip(b"/") or b"/")
            self._levels.append(Level(files_folder.Folder(path), entry, b"", not was_there))
            self.counts["folders"] += 1
            return
        if entry.kind != entries.FILE:
            raise ProtocolError("a tree that is neither file nor folder")
        self._single = True
        folder, name = files_folder.split(path)
        if not name:
            name = entries.check_name(entry.name)
        if name in (b".", b".."):
            raise files_folder.refusal(errno.EISDIR, path)
        files_folder.make_folders(folder)
        self.current = name
        self._root_parent = files_folder.Folder(folder)
        self._begin_file(self._root_parent, name, entry, None)

    def _begin_folder(self, level, entry):
        # type: (Level, entries.Entry) -> None
        name, folder = entry.name, level.folder
        info = folder.look(name)
        if len(self._levels) > files_read.MAX_DEPTH:
            raise files_folder.refusal(errno.ENAMETOOLONG, folder.join(name))
        if info is None:
            os.mkdir(folder.name(name), 0o700, **folder.at)
            info = folder.look(name)
        elif not stat.S_ISDIR(info.st_mode):
            raise files_folder.refusal(errno.ENOTDIR, folder.join(name))
        self._check_node(level, info)
        inner = folder.enter(name)
        made = os.fstat(inner.fd)
        level.nodes.add((made.st_dev, made.st_ino))
        self._levels.append(Level(inner, entry, level.member(name)))
        self.counts["folders"] += 1

    def _make_link(self, level, entry):
        # type: (Level, entries.Entry) -> None
        name, folder = entry.name, level.folder
        if not self.options.get("outward") and leads_out(level.path, entry.link):
            raise files_folder.refusal(errno.EXDEV, folder.join(name))
        info = folder.look(name)
        self._check_node(level, info)
        if info is not None and stat.S_ISDIR(info.st_mode):
            raise files_folder.refusal(errno.EISDIR, folder.join(name))
        part = self._part_name()
        os.symlink(entry.link, folder.name(part), **folder.at)
        try:
            if self.options.get("owners"):
                os.chown(folder.name(part), entry.uid, entry.gid, **folder.itself)
            if self.options.get("times", True) and files_folder.HAS_AT:
                os.utime(part, ns=(entry.mtime_ns, entry.mtime_ns), **folder.itself)
            folder.rename(part, name)
        except BaseException:
            folder.unlink(part)
            raise
        made = folder.look(name)
        if made is not None:
            level.nodes.add((made.st_dev, made.st_ino))
        self.counts["links"] += 1

    def _check_node(self, level, info):
        # type: (Level, os.stat_result | None) -> None
        """Two names that are one here: the folder tells no case, or takes letters for the same."""
        if info is not None and (info.st_dev, info.st_ino) in level.nodes:
            raise files_folder.refusal(errno.ENOTUNIQ, level.folder.path)

    # -- files -------------------------------------------------------------------------------------------------------

    def _part_name(self):
        # type: () -> bytes
        self._parts += 1
        return PART_START + self._token + b"-" + str(self._parts).encode("ascii") + PART_END

    def _begin_file(self, folder, name, entry, level):
        # type: (files_folder.Folder, bytes, entries.Entry, Level | None) -> None
        info = folder.look(name)
        if info is not None:
            if level is not None:
                self._check_node(level, info)
            if stat.S_ISDIR(info.st_mode):
                raise files_folder.refusal(errno.EISDIR, folder.join(name))
        digest = files_folder.new_digest(self.options["digest"])
        kept = bool(self._single and self.options.get("resume"))
        part, descriptor = self._open_part(folder, name, kept, info)
        self._part = Part(folder, name, part, descriptor, entry, digest, kept)
        self._old = info
        if not kept and entry.offset:
            raise ProtocolError("a file that begins in its middle")
        if kept:
            # Only what its checksum has shown to be the same stays.
            files_read.digest_start(descriptor, entry.offset, digest)
            os.ftruncate(descriptor, entry.offset)

    def _open_part(self, folder, name, kept, old):
        # type: (files_folder.Folder, bytes, bool, os.stat_result | None) -> tuple[bytes, int]
        """Name and descriptor of the file to write: what an earlier try has left, or a new one."""
        part = _kept_name(name) if kept else self._part_name()
        descriptor = self._left_part(folder, name) if kept else None
        if descriptor is None:
            # Until it has the mode it is going to have, others see nothing of it.
            mode = 0o600 if self.options.get("modes", True) or old is not None else 0o666
            descriptor = folder.open(part, WRITE_FLAGS | os.O_EXCL, mode)
            if kept:
                _lock(descriptor)
        return part, descriptor

    def _left_part(self, folder, name):
        # type: (files_folder.Folder, bytes) -> int | None
        """What an earlier try has left of a file: a plain file of ours that nobody else writes or names.

        Raises:
            OSError: Something else stands there, or another transfer is writing it.
        """
        try:
            descriptor = folder.open(_kept_name(name), os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            return None
        try:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode) or info.st_nlink != 1 or info.st_uid != os.geteuid():
                raise files_folder.refusal(errno.EEXIST, folder.join(_kept_name(name)))
            _lock(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _hole(self, body):
        # type: (bytes) -> None
        if not self.options.get("sparse") or len(body) != entries.HOLE_BODY.size:
            raise ProtocolError("a hole where none may be")
        if self._part is not None:
            self._part.skip(entries.HOLE_BODY.unpack(body)[0])
        elif not self._ignored_file:
            raise ProtocolError("a hole of no file")

    def _close_file(self, body):
        # type: (bytes) -> None
        part, self._part = self._part, None
        if part is None:
            if not self._ignored_file:
                raise ProtocolError("the end of no file")
            self._ignored_file = False
            return
        try:
            self._complete(part, body)
        except OSError as error:
            part.close()
            self._own_problem(error, self.current)
        except BaseException:
            part.close()
            raise
        else:
            part.close(keep=True)

    def _complete(self, part, body):
        # type: (Part, bytes) -> None
        """Verify a file, give it its properties and its name."""
        self.digest = part.digest.hexdigest()
        if body[1:] != self.digest.encode("ascii"):
            raise files_folder.refusal(errno.EBADMSG, part.folder.join(part.name))
        if body[:1] != b"\0" and not self.options.get("changing"):
            raise files_folder.refusal(errno.ESTALE, part.folder.join(part.name))
        descriptor, entry = part.descriptor, part.entry
        if part.has_holes:
            os.ftruncate(descriptor, part.at)
        old = self._old
        if self.options.get("owners"):
            os.fchown(descriptor, entry.uid, entry.gid)
        elif old is not None and os.geteuid() == 0:
            # A file that root writes anew stays its owner's.
            os.fchown(descriptor, old.st_uid, old.st_gid)
        if self.options.get("modes", True):
            os.fchmod(descriptor, entry.mode & self._mask)
        elif old is not None:
            os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
        if self.options.get("times", True):
            set_time(part.folder, part.part, descriptor, entry.mtime_ns)
        if self.options.get("fsync"):
            os.fsync(descriptor)
        part.folder.rename(part.part, part.name)
        if self.options.get("fsync"):
            os.fsync(part.folder.fd)
        if self._levels:
            info = os.fstat(descriptor)
            self._levels[-1].nodes.add((info.st_dev, info.st_ino))
        self.counts["files"] += 1

    # -- ends --------------------------------------------------------------------------------------------------------

    def _unchanged(self, name):
        # type: (bytes) -> None
        if not self._levels:
            raise ProtocolError("a file of no folder")
        self._levels[-1].names.add(entries.check_name(name))
        self.counts["unchanged"] += 1

    def _their_problem(self, body):
        # type: (bytes) -> None
        """What could not be read: what is here of that name stays."""
        if len(body) <= entries.PROBLEM_HEAD.size or not self._levels:
            raise ProtocolError("a problem with nothing")
        name = entries.check_name(body[entries.PROBLEM_HEAD.size :])
        level = self._levels[-1]
        part, self._part = self._part, None
        self._ignored_file = False
        if part is not None:
            part.close()
        level.names.add(name)
        self._note(entries.PROBLEM_HEAD.unpack_from(body)[0], level.member(name), "source")

    def _own_problem(self, error, path):
        # type: (OSError, bytes) -> None
        if self._single or error.errno in HOPELESS:
            raise error
        self._note(error.errno or errno.EIO, path, "destination")

    def _note(self, code, path, side):
        # type: (int, bytes, str) -> None
        for level in self._levels:
            level.whole = False
        if len(self.problems) < files_folder.PROBLEMS_KEPT:
            self.problems.append((code, path, side))
        else:
            self.more_problems += 1

    def _leave(self, _body):
        # type: (bytes) -> None
        if self._skipping:
            self._skipping -= 1
            return
        if not self._levels or self._part is not None or self._ignored_file:
            raise ProtocolError("the end of no folder")
        level = self._levels.pop()
        try:
            self._complete_folder(level)
        except OSError as error:
            self._own_problem(error, level.path)
        finally:
            level.folder.close()

    def _complete_folder(self, level):
        # type: (Level) -> None
        folder, entry = level.folder, level.entry
        if self.options.get("delete") and level.whole:
            for name in folder.names():
                info = folder.look(name)
                is_folder = info is not None and stat.S_ISDIR(info.st_mode)
                if name not in level.names and self._exclude.takes(level.member(name), is_folder):
                    folder.remove(name)
                    self.counts["deleted"] += 1
        if not level.ours:
            return
        if self.options.get("owners"):
            os.fchown(folder.fd, entry.uid, entry.gid)
        if self.options.get("modes", True):
            os.fchmod(folder.fd, entry.mode & self._mask)
        if self.options.get("times", True):
            set_time(folder, b".", folder.fd, entry.mtime_ns)
        if self.options.get("fsync"):
            os.fsync(folder.fd)

    def _finish(self, _body):
        # type: (bytes) -> None
        if self._levels or self._part is not None or self._ignored_file or self._skipping or not self._seen_root:
            raise ProtocolError("a tree that ends in its middle")
        self.finished = True


def _kept_name(name):
    # type: (bytes) -> bytes
    """What the part of a file is called that a later try has to find."""
    digest = files_folder.new_digest(files_folder.DIGEST)
    digest.update(name)
    return PART_START + str(digest.hexdigest())[:16].encode("ascii") + PART_END


def _lock(descriptor):
    # type: (int) -> None
    """Keep other transfers, with a resume to the same place, away from a part."""
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def leads_out(path, link):
    # type: (bytes, bytes) -> bool
    """Whether a link in the folder `path` leads out of the tree, by its text."""
    if link.startswith(b"/"):
        return True
    parts = [part for part in link.split(b"/") if part not in (b"", b".")]
    ups = 0
    while ups < len(parts) and parts[ups] == b"..":
        ups += 1
    # Behind a name, which may be a link itself, nobody knows where `..` leads.
    return b".." in parts[ups:] or ups > len([part for part in path.split(b"/") if part])


def set_time(folder, name, descriptor, mtime_ns):
    # type: (files_folder.Folder, bytes, int, int) -> None
    """Set when something was last changed."""
    if files_folder.HAS_AT:
        os.utime(descriptor, ns=(mtime_ns, mtime_ns))
    else:
        seconds = mtime_ns / 1e9
        os.utime(folder.join(name), (seconds, seconds))


def install(_program):
    # type: (Any) -> None
    """Called when this piece arrives: other pieces import it, and that is all."""
