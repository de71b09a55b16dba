"""A shared folder over a channel of its own: sshfs on the server, and we, at the two ends of one stream.

The SSH connection that the session has already is all that is between them: no port, no key, no further SSH. One thread
answers, reading no more than it can answer, and mounts the folder again when the channel has ended otherwise than by
an unmount in order. It promises that after `end` nothing can be asked any more, and that nothing of it is left.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from crl.channels.base import ChannelClosed, ChannelStartError
from crl.deadlines import Deadline
from crl.errors import CrlError, UsageError
from crl.x2go._confined import ConfinedFolder
from crl.x2go._host import CommandChannel, Host, RunAnswer
from crl.x2go._mountprogram import MountWish
from crl.x2go._mountscript import MOUNT_TIME, mount_words
from crl.x2go._sftpsession import SftpSession, together
from crl.x2go._sftpwire import SftpGarbage
from crl.x2go._threads import OwnThread
from crl.x2go.defaults import SERVER_PATH
from crl.x2go.x2go_exceptions import X2GoFolderSharingException

if TYPE_CHECKING:
    from crl.x2go._server import X2GoServer
    from crl.x2go.backends.info.plain import X2GoServerSessionInfo

__all__ = ["ChannelShare", "NoChannel"]

OPEN_TIME: Final = 10.0
WORDS_TIME: Final = 60.0  # the server's script waits for 30
END_TIME: Final = 5.0
STATUS_TIME: Final = 20.0  # of an unmount in order, which must not be taken for a cut
RESTORING_TIME: Final = 90.0
"""For how long it is tried to mount a folder again; a link waits a minute for its host."""
STEADY_TIME: Final = 10.0
INTERVALS: Final = (0.0, 0.1, 0.2, 0.5, 1.0)
PIECE: Final = 256 * 1024
NO_PORT: Final = 9  # the script wants one; nobody connects
# The program removes its folder by itself, unless it was killed.
_MOUNT: Final = 'f=$1; shift; "$@"; s=$?; rm -rf "$f"; exit $s'
_READY: Final = b"ready"
_GONE: Final = b"gone"
_NO: Final = b"no"


class NoChannel(Exception):
    """No folder can be mounted in this way; why."""


class _Unmounted(Exception):
    """The server has taken away the place of the mount."""


class _Tries:
    """How often, and for how long, it is tried to mount a folder again."""

    def __init__(self) -> None:
        self._good_since = self._lost_since = time.monotonic()
        self._number = 0

    def pauses(self) -> Iterator[float]:
        """How long to wait before each try; they begin anew when it was good for a while."""
        if time.monotonic() > self._good_since + STEADY_TIME:
            self._lost_since, self._number = time.monotonic(), 0
        while time.monotonic() < self._lost_since + RESTORING_TIME:
            pause = INTERVALS[min(self._number, len(INTERVALS) - 1)]
            self._number += 1
            yield pause

    def succeeded(self) -> None:
        """The folder is served again."""
        self._good_since = time.monotonic()


class ChannelShare:
    """One folder, served over channels that are opened one after the other.

    Args:
        host: The server.
        folder: The folder; it becomes ours.
        name: Its absolute name there.
        wish: How it is mounted.
        gone: Called once, in our thread, when the server has unmounted it in order, or, with the reason, when it could
            not be mounted again; not after `end`.
        log: Where to say what happens.
    """

    def __init__(
        self,
        host: Host,
        folder: ConfinedFolder,
        name: str,
        wish: MountWish,
        gone: Callable[[ChannelShare, CrlError | None], object],
        log: Callable[[str], object],
    ) -> None:
        self.folder = folder
        self._host = host
        self._name = name
        self._wish = wish
        self._gone = gone
        self._log = log
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._stream: CommandChannel | None = None
        self._begun = self._over = False
        self._thread = OwnThread(target=self._run, name="crl-x2go-share", daemon=True)

    hint = None

    def mounted(self) -> None:
        """It is mounted."""

    def mount(
        self, marker: str, server: X2GoServer, info: X2GoServerSessionInfo, variables: Mapping[str, str]
    ) -> RunAnswer:
        """Open the channel, answer on it, and run the server's script; what it says.

        Args:
            marker: What the folder is for, as the script has it.
            server: The server.
            info: The session.
            variables: Those that the script needs.

        Raises:
            NoChannel: It cannot be mounted in this way; nothing was done.
        """
        folder = self._begin()
        script = mount_words(server, info, f"{folder}/key", f"{self._name}{marker}", NO_PORT)
        words = ["sh", "-c", _MOUNT, "sh", folder, *script]
        env = {**variables, "PATH": f"{folder}:{SERVER_PATH}"}
        return server.execute(words, Deadline.after(MOUNT_TIME), limit=MOUNT_TIME, env=env)

    def _begin(self) -> str:
        """Open the channel and answer on it; the folder there in which the script is to find its sshfs."""
        try:
            line = self._open()
            folder = line.decode("ascii", "replace")
            if folder not in self._wish.folders:
                raise NoChannel("the program for the mount gives another folder")
            self._thread.start()
            self._begun = True
        except BaseException:
            self._close()
            self.folder.close()
            raise
        return folder

    def end(self) -> None:
        """Answer nothing any more, at once; again is harmless."""
        with self._lock:
            self._ending.set()
            stream = self._stream
        if stream is not None:
            stream.hang_up()
        if not self._begun:
            self.folder.close()
        elif threading.current_thread() is not self._thread:
            self._thread.join(OPEN_TIME + END_TIME)

    @property
    def ended(self) -> bool:
        """Whether it is over, for whatever reason."""
        return self._over or not self._begun

    # Opening.

    def _open(self) -> bytes:
        """Have the program start; the folder that it has made, if any."""
        deadline = Deadline.after(OPEN_TIME)
        first = not self._wish.words
        try:
            # A connection that was lost for good is not our thread's to make.
            stream = self._host.open_channel(self._wish.command(), OPEN_TIME, connect=first)
        except (ChannelStartError, ChannelClosed) as error:  # closed: another connection has just taken its place
            raise NoChannel(error.message) from error
        with self._lock:
            self._stream = stream
            ending = self._ending.is_set()
        if ending:
            raise NoChannel("it is not wanted any more")
        try:
            word, _, rest = stream.read_line(deadline).partition(b" ")
        except TimeoutError as error:
            raise NoChannel("the program for the mount did not start in time") from error
        if word == _GONE:
            raise _Unmounted
        if word == _NO:
            raise NoChannel("nothing that is put there can be run")
        number, _, folder = rest.partition(b" ")
        if word != _READY or not number.isdigit() or len(number) > 10:
            raise NoChannel("the program for the mount does not run there")
        self._wish = replace(self._wish, old=int(number))
        return folder

    def _close(self) -> None:
        with self._lock:
            stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    # The thread.

    def _run(self) -> None:
        failure: CrlError | None = None
        try:
            self._take_words()
            tries = _Tries()
            while not self._serve() and self._open_again(tries):
                self._log(f"{self._name}: its channel had ended; it is mounted again")
        except CrlError as error:
            failure = error
        finally:
            self._close()
            self.folder.close()
            # Before anybody is told: who notes the share only now sees this instead.
            self._over = True
        if not self._ending.is_set():
            self._gone(self, failure)

    def _take_words(self) -> None:
        """The words of the server's script for sshfs, with which it is mounted again."""
        stream = self._stream
        assert stream is not None
        try:
            line = stream.read_line(Deadline.after(WORDS_TIME))
        except TimeoutError:
            line = b""
        if not line:
            raise self._failed("the server's script did not ask for the mount")
        words = line.decode("utf-8", "surrogateescape").split("\0")
        self._wish = replace(self._wish, words=tuple(words), folders=())

    def _serve(self) -> bool:
        """Answer until the channel ends; whether it was unmounted in order."""
        stream = self._stream
        assert stream is not None
        session = SftpSession(self.folder, os.fsencode(self._name))
        try:
            _answer(stream, session)
        except SftpGarbage as error:
            raise self._failed(f"what uses it speaks no SFTP: {error}") from error
        except OSError as error:
            self._log(f"{self._name}: {error}")
        finally:
            session.close()
            stream.hang_up()
        status = None if self._ending.is_set() else stream.wait(STATUS_TIME)
        self._close()
        return status == 0

    def _open_again(self, tries: _Tries) -> bool:
        """Mount it again, as soon as that can be done; False when that is not wanted.

        Raises:
            X2GoFolderSharingException: It cannot, for too long.
        """
        why = "sshfs there ends each time"
        for pause in tries.pauses():
            if self._ending.wait(pause):
                return False
            try:
                self._open()
                tries.succeeded()
                return True
            except _Unmounted:
                return False
            except UsageError as error:  # the target was closed
                raise self._failed(error.message) from error
            except (NoChannel, CrlError, OSError) as error:
                why = str(getattr(error, "message", "") or error)
                self._close()
        raise self._failed(why)

    def _failed(self, why: str) -> X2GoFolderSharingException:
        return X2GoFolderSharingException(
            f"{self.folder.path} is not mounted any more: {why}",
            host=self._host.name,
            doing="sharing a folder",
            advice="share it again",
        )


def _answer(stream: CommandChannel, session: SftpSession) -> None:
    read, write, only = stream.read, stream.write, session.answer
    while data := read(PIECE):
        answer = only(data)
        if answer is not None:
            write(answer)
            continue
        for answers in together(session.answers(data)):
            write(answers)
