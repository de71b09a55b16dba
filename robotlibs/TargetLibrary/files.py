"""Keywords for the files of a target, a part of ``TargetLibrary``.

Each is one verb of ``target.files`` with its arguments converted and its result logged; it knows no link and no shell.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Literal

from assertionengine import AssertionOperator
from robot.api import logger
from robot.api.deco import keyword

from crl.link import FileInfo, RemotePath, TransferOptions, TransferResult
from TargetLibrary.foundation import asserted, seconds
from TargetLibrary.registry import OpenTargets

__all__ = ["FileKeywords"]

Links = Literal["keep", "all", "follow", "skip"]

STALL_TIME = timedelta(minutes=2)
NO_TIME = timedelta()


class FileKeywords:
    """What ``TargetLibrary`` can do with files.

    Attributes:
        targets: The targets that are open.
    """

    targets: OpenTargets
    _retry_for: timedelta

    @keyword
    def push_files(
        self,
        source: str,
        destination: str,
        *,
        from_target: str | None = None,
        include: list[str] | None = None,
        exclude: list[str] | None = None,
        delete: bool = False,
        update: bool = False,
        resume: bool = False,
        owners: bool = False,
        links: Links = "keep",
        timeout: timedelta = STALL_TIME,
    ) -> TransferResult:
        """Copies a file, or a folder with all that is in it, to the host.

        A file is complete and compared by its checksum before it gets its name; until then the old one stays.

        Example:
        | Push Files    ${CURDIR}/site    /srv/site    update=True    delete=True
        | Push Files    /var/log/app    /tmp/logs    from_target=web1

        Args:
            source: What to copy.
            destination: What it is to be there; one that ends with a slash is the folder to put it into.
            from_target: Alias of another open target that `source` is on; by default it is here.
            include: Patterns of the files to take: of names, or with a slash of paths from the source.
            exclude: Patterns of what to leave out.
            delete: Make it a mirror: remove there what the source does not have.
            update: Leave out files whose size and time are the same.
            resume: Go on after the host was lost and found again.
            owners: Take over user and group by their numbers.
            links: Symbolic links as links (``keep``), the files they lead to (``follow``), or none (``skip``).
            timeout: How long nothing may move.

        Returns:
            ``files``, ``folders``, ``links``, ``bytes``, ``unchanged``, ``deleted``, ``digest`` and ``duration``.
        """
        target = self.targets.find(None)
        there: str | RemotePath = source if from_target is None else self.targets.find(from_target).files.path(source)
        options = _options(include, exclude, delete, update, resume, owners, links)
        result = target.files.push(there, destination, timeout=seconds(timeout), **options)
        logger.info(repr(result))
        return result

    @keyword
    def pull_files(
        self,
        source: str,
        destination: Path,
        *,
        include: list[str] | None = None,
        exclude: list[str] | None = None,
        delete: bool = False,
        update: bool = False,
        resume: bool = False,
        owners: bool = False,
        links: Links = "keep",
        timeout: timedelta = STALL_TIME,
    ) -> TransferResult:
        """Copies a file, or a folder with all that is in it, from the host; nothing is written but ``destination``.

        Example:
        | Pull Files    /var/log    ${OUTPUT_DIR}/log    include=*.log    exclude=journal/

        Args:
            source: What to copy.
            destination: What it is to be here.
            include: As in `Push Files`, as all others.
            exclude: Patterns of what to leave out.
            delete: Remove here what the source does not have.
            update: Leave out files whose size and time are the same.
            resume: Go on after the host was lost and found again.
            owners: Take over user and group by their numbers.
            links: Links that stay in the folder as links (``keep``), all of them (``all``), the files they lead
                to (``follow``), or none (``skip``).
            timeout: How long nothing may move.
        """
        options = _options(include, exclude, delete, update, resume, owners, links)
        result = self.targets.find(None).files.pull(source, destination, timeout=seconds(timeout), **options)
        logger.info(repr(result))
        return result

    @keyword(tags=("Getter", "Assertion"))
    def get_remote_file(
        self,
        path: str,
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: str | None = None,
        message: str | None = None,
        *,
        encoding: str = "utf-8",
        retry_for: timedelta | None = None,
        timeout: timedelta = STALL_TIME,
    ) -> str:
        """Gets the content of a file of the host as text.

        Example:
        | Get Remote File    /etc/hostname    matches    ^web
        | Get Remote File    /run/app/state    ==    ready    retry_for=30s

        Args:
            path: Where it is.
            assertion_operator: How its content is compared.
            assertion_expected: What is expected.
            message: The error's text when the assertion fails.
            encoding: How its bytes are read.
            retry_for: How long to read it again until the assertion holds.
            timeout: How long nothing may move.
        """
        files = self.targets.find(None).files
        text: str = asserted(
            lambda: files.read_text(path, encoding=encoding, timeout=seconds(timeout)),
            assertion_operator,
            assertion_expected,
            message,
            what=f"The content of {path}",
            retry_for=self._retry_for if retry_for is None else retry_for,
        )
        return text

    @keyword
    def write_remote_file(
        self, path: str, content: str | bytes, *, mode: str | None = None, timeout: timedelta = STALL_TIME
    ) -> TransferResult:
        """Makes a file of the host with this content, in place of the one that is there.

        Args:
            path: Where; folders above it are made.
            content: Text, written as UTF-8, or bytes.
            mode: Permissions in octal, like ``0640``; by default those of the old file.
            timeout: How long nothing may move.
        """
        octal = None if mode is None else int(mode, 8)
        return self.targets.find(None).files.write(path, content, mode=octal, timeout=seconds(timeout))

    @keyword
    def get_remote_file_info(self, path: str, *, follow: bool = True) -> FileInfo:
        """Gets what is known of a file, folder or link of the host.

        Args:
            path: Where it is.
            follow: Of a symbolic link, tell of what it leads to.

        Returns:
            ``kind`` (``file``, ``folder``, ``link`` …), ``size``, ``mode``, ``uid``, ``gid``, ``mtime_ns``, ``link``.
        """
        return self.targets.find(None).files.stat(path, follow=follow)

    @keyword
    def list_remote_folder(self, path: str, *, recursive: bool = False) -> list[FileInfo]:
        """Lists the members of a folder of the host, in order.

        Args:
            path: The folder.
            recursive: Also what is in its folders.

        Returns:
            For each its ``path`` from the folder, ``name``, ``kind``, ``size`` and so on.
        """
        return list(self.targets.find(None).files.list(path, recursive=recursive))

    @keyword
    def make_remote_folder(self, path: str, *, mode: str | None = None) -> None:
        """Makes a folder of the host and those above it; harmless when it is there.

        Args:
            path: Where.
            mode: Permissions in octal, like ``0750``.
        """
        self.targets.find(None).files.mkdir(path, mode=None if mode is None else int(mode, 8))

    @keyword
    def remove_remote_file(self, path: str, *, recursive: bool = False, missing_ok: bool = False) -> bool:
        """Removes a file, a link or a folder of the host; links are never followed.

        Args:
            path: What.
            recursive: Remove a folder with all that is in it.
            missing_ok: Nothing there is no error.

        Returns:
            Whether there was something.
        """
        return self.targets.find(None).files.remove(path, recursive=recursive, missing_ok=missing_ok)


def _options(
    include: list[str] | None,
    exclude: list[str] | None,
    delete: bool,
    update: bool,
    resume: bool,
    owners: bool,
    links: Links,
) -> TransferOptions:
    return {
        "include": include or [],
        "exclude": exclude or [],
        "delete": delete,
        "update": update,
        "resume": resume,
        "owners": owners,
        "links": links,
    }
