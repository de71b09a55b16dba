"""One child process: how it is started, watched, ended and reaped.

It stands on posix_spawn (no fork, so threads of the caller are safe) and on a pidfd (so that no process with a reused
number is ever waited for or killed). It promises that nothing but the descriptors named in the file actions reaches the
child, and that `Child.end` leaves neither a process of its group nor a zombie.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import select
import shutil
import signal
import stat
import threading
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from crl.channels.base import ChannelStartError, NoSuchProgram
from crl.deadlines import Deadline
from crl.errors import UsageError

__all__ = ["UNKNOWN_STATUS", "Child", "FileAction", "above_standard", "open_pty"]

FileAction: TypeAlias = tuple[int, int] | tuple[int, int, int] | tuple[int, int, str, int, int]

UNKNOWN_STATUS: Final = 255
_ENDING: Final = ((signal.SIGHUP, 0.4), (signal.SIGTERM, 0.3), (signal.SIGKILL, 15.0))
_ENTER_AND_RUN: Final = 'cd "$1" && shift && exec "$@"'
_log = logging.getLogger("crl.channels")


class Child:
    """A process that we started as leader of its own session and process group.

    Args:
        argv: Program and arguments.
        actions: What posix_spawn does in the child, after setsid and in this order.
        env: The child's environment; None is ours.
        cwd: The child's working directory; None is ours.

    Raises:
        ChannelStartError: The program or the folder does not exist or cannot be used.
        UsageError: The argument list cannot be one.
    """

    def __init__(
        self,
        argv: Sequence[str],
        actions: Sequence[FileAction],
        *,
        env: Mapping[str, str] | None,
        cwd: str | os.PathLike[str] | None,
    ) -> None:
        environment = dict(os.environ if env is None else env)
        words = _checked(argv)
        program = _find_program(words[0], environment, cwd)
        path, line = (program, words) if cwd is None else _in_folder(program, words, cwd)
        try:
            self.pid = os.posix_spawn(
                path,
                line,
                environment,
                file_actions=[*actions, *_closings()],
                setsid=True,
                setsigmask=[],
                setsigdef=_resettable_signals(),
            )
        except (OSError, ValueError) as error:
            raise ChannelStartError(f"{program} could not be started: {error}", doing="starting a program") from error
        self._owner = os.getpid()
        self._returncode: int | None = None
        self._reaped = False
        # Held where the descriptor is used or the child reaped: neither number may become somebody else's meanwhile.
        self._using = threading.RLock()
        self._pidfd = self._open_pidfd()

    def _open_pidfd(self) -> int:
        try:
            return os.pidfd_open(self.pid)
        except OSError:
            # No descriptor is left, so the child cannot be watched: it is not yet reaped, hence the number is its own.
            os.killpg(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            raise

    @property
    def pidfd(self) -> int:
        """A descriptor that is readable once the child has ended; -1 after `end`."""
        return self._pidfd

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal, None while it runs.

        255 stands for a status that somebody else collected.
        """
        if self._returncode is None:
            with self._held():
                if self._pidfd >= 0:
                    self._collect(os.WNOWAIT)
        return self._returncode

    def _held(self) -> contextlib.AbstractContextManager[object]:
        """Keep other threads out; in a forked child there is none, though one of them may have been in here."""
        return self._using if os.getpid() == self._owner else contextlib.nullcontext()

    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self.returncode is not None

    def _collect(self, flags: int) -> None:
        """Look at the child's end, and reap it unless `flags` has WNOWAIT; no effect while it runs."""
        try:
            result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG | flags)
        except ChildProcessError:
            # Somebody reaped it (SIGCHLD is ignored, or a foreign wait for any child).
            self._reaped = True
            self._returncode = UNKNOWN_STATUS if self._returncode is None else self._returncode
            return
        if result is not None:
            self._returncode = result.si_status if result.si_code == os.CLD_EXITED else -result.si_status
            self._reaped = not flags & os.WNOWAIT

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end of the child.

        Args:
            timeout: Seconds; None is no limit.

        Returns:
            The exit status, or None when it still runs.
        """
        if self.returncode is None:
            with self._held():
                watched = os.dup(self._pidfd) if self._pidfd >= 0 else -1
            if watched >= 0:
                _await_end(watched, timeout)
        return self.returncode

    def signal_group(self, number: int) -> None:
        """Send a signal to the whole process group; no effect once the child was reaped."""
        with self._held():
            if self.returncode is None or not self._reaped:
                # The leader is at least a zombie, so its number is still its own. No permission: it became another
                # user.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, number)

    def end(self) -> None:
        """End the process group, gently first, and reap the child; at most about a second, again is harmless."""
        if self._pidfd < 0:
            return
        if os.getpid() == self._owner:
            self._end_group()
        with self._held():
            pidfd, self._pidfd = self._pidfd, -1
            if pidfd >= 0:
                os.close(pidfd)

    def _end_group(self) -> None:
        for number, patience in _ENDING:
            self.signal_group(number)
            self.signal_group(signal.SIGCONT)
            if self.wait(patience) is not None:
                break
        else:
            _log.warning("process %d does not end, not even when killed; it is left behind", self.pid)
            return
        with self._held():
            self.signal_group(signal.SIGKILL)
            if not self._reaped and self._pidfd >= 0:
                self._collect(0)


def _await_end(pidfd: int, timeout: float | None) -> None:
    """Wait for the end of a process, at most so many seconds; the descriptor is closed then."""
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.poll(Deadline.after(timeout).poll_ms())
    finally:
        os.close(pidfd)


def open_pty() -> tuple[int, int, str]:
    """Open a pty: its master, its slave and the slave's path; both descriptors are close-on-exec.

    Raises:
        ChannelStartError: The system gives none.
    """
    try:
        master, slave = os.openpty()
    except OSError as error:
        raise ChannelStartError(
            f"no pseudo terminal can be had: {error}",
            doing="opening a terminal",
            advice="see that /dev/pts is mounted and that /proc/sys/kernel/pty/max is not reached",
        ) from error
    return above_standard(master), above_standard(slave), os.ttyname(slave)


def above_standard(descriptor: int) -> int:
    """The same descriptor with a number above 2, so that putting others on 0 to 2 in a child does not hit it."""
    if descriptor > 2:
        return descriptor
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(descriptor)
    return moved


def _checked(argv: Sequence[str]) -> list[str]:
    if isinstance(argv, str) or not argv or not all(isinstance(word, str) and "\0" not in word for word in argv):
        raise UsageError(
            "a program is started from a non-empty list of strings without NUL",
            advice='write ["ls", "-l"], not "ls -l"',
        )
    return list(argv)


def _find_program(word: str, env: Mapping[str, str], cwd: str | os.PathLike[str] | None) -> str:
    """The path of a program, looked for as the child would: with its PATH and from its folder."""
    if "/" in word:
        path = os.path.abspath(os.path.join(cwd or os.curdir, word))
        if not os.path.exists(path):
            raise NoSuchProgram(f"there is no program {path}", doing="starting a program")
        if not os.access(path, os.X_OK) or os.path.isdir(path):
            raise NoSuchProgram(f"{path} is not an executable program", doing="starting a program")
        return path
    search = env.get("PATH", os.defpath)
    found = shutil.which(word, path=search)
    if found is None:
        raise NoSuchProgram(
            f"the program {word!r} is in no folder of PATH ({search})",
            doing="starting a program",
            advice=f"install {word}, give its full path, or set PATH",
        )
    return os.path.abspath(found)


def _in_folder(program: str, words: list[str], cwd: str | os.PathLike[str]) -> tuple[str, list[str]]:
    """The same program started from a folder; posix_spawn cannot change it, so a shell does, without quoting."""
    folder = os.path.abspath(cwd)
    try:
        usable = stat.S_ISDIR(os.stat(folder).st_mode) and os.access(folder, os.X_OK)
    except OSError as error:
        raise ChannelStartError(f"the folder {folder}: {error.strerror}", doing="starting a program") from error
    if not usable:
        raise ChannelStartError(f"{folder} is not a folder that can be entered", doing="starting a program")
    return "/bin/sh", ["sh", "-c", _ENTER_AND_RUN, "sh", folder, program, *words[1:]]


def _resettable_signals() -> list[int]:
    """All signals whose handling a program may choose: what we ignore (SIGPIPE, nohup's SIGHUP) is our own matter."""
    return [number for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP)]


def _closings() -> list[FileAction]:
    """Actions that close what somebody made inheritable in this process; it is not meant for our children."""
    actions: list[FileAction] = []
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # closed meanwhile, as the listing's own descriptor is
            if int(entry) > 2 and os.get_inheritable(int(entry)):
                actions.append((os.POSIX_SPAWN_CLOSE, int(entry)))
    return actions
