"""A folder of files from a session, and the jobs that they become: what print queue and MIME box have in common.

One thread looks into the folder ten times a second and gives each job a thread of its own, some at a time. Whatever
one job does, the next is looked at; each ends with a record of what became of it. The threads, the private folder with
the jobs' files and the programs that they run end with the queue.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from crl.deadlines import Deadline
from crl.x2go._programs import JobPlace, working_at
from crl.x2go._spool import SpoolError, look_into
from crl.x2go._threads import OwnThread
from crl.x2go.log import X2GoLogger, logger_for, loglevel_ERROR, loglevel_INFO, loglevel_WARN
from crl.x2go.x2go_exceptions import X2GoException, X2GoTimeOutException

__all__ = ["BoxJob", "BoxQueue", "FinishedJob"]

LOOK_INTERVAL = 0.1
JOBS_AT_A_TIME = 32  # an open viewer is a job too
HISTORY = 100
END_PATIENCE = 5.0


@dataclass(frozen=True)
class FinishedJob:
    """What became of a job.

    Attributes:
        name: Of its file in the session.
        title: What it is called there.
        action: Of what was done with it.
        result: What the action gave back: where the file is now, for PDFSAVE.
        error: Why it failed; None when it did not.
    """

    name: str
    title: str
    action: str
    result: Any = None
    error: Exception | None = None


class BoxJob(OwnThread):
    """The thread of one job; its arguments are those of `threading.Thread`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"daemon": True, **kwargs})


class BoxQueue(OwnThread):
    """Base of the two queues.

    Args:
        folder: The folder that the session writes to; made for its owner only when it is missing.
        profile_name: Of the session.
        session_name: Of the session.
        client_instance: The client whose hooks are told.
        logger: Where to log.
        loglevel: Levels to log when `logger` is not an `X2GoLogger`.

    Attributes:
        active_jobs: The threads of jobs under way, by the names of their files.
        job_history: The names of the files of finished jobs, the newest last; a hundred at most.
        finished: What became of them.
    """

    WHAT: ClassVar[str]
    FAILURE: ClassVar[type[X2GoException]]

    def __init__(
        self,
        folder: str | os.PathLike[str] | None,
        profile_name: str,
        session_name: str,
        client_instance: Any,
        logger: X2GoLogger | logging.Logger | None,
        loglevel: int,
    ) -> None:
        super().__init__(name=f"crl-x2go-{self.WHAT.replace(' ', '-')}", daemon=True)
        if folder is None:
            raise self.FAILURE(f"a {self.WHAT} needs the folder that its jobs come to")
        self.folder = Path(os.path.abspath(os.path.expanduser(folder)))
        self.profile_name, self.session_name = profile_name, session_name
        self.client_instance = client_instance
        self.logger = logger_for(logger, loglevel, tag=self.WHAT.replace(" ", ""))
        self.active_jobs: dict[str, BoxJob] = {}
        self.finished: deque[FinishedJob] = deque(maxlen=HISTORY)
        self._threads: list[BoxJob] = []  # those that have not ended; a finished job still logs what became of it
        self._place = JobPlace(profile_name, session_name)
        self._changed = threading.Condition()
        self._looking = threading.Lock()
        self._total = 0
        self._paused = False
        self._wake = threading.Event()
        self._told_unusable = False
        self._stuck: set[str] = set()
        self._private: Path | None = None
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise self.FAILURE(f"the folder {folder} of a {self.WHAT} cannot be made: {error.strerror}") from error

    def __repr__(self) -> str:
        state = "ended" if self._place.ending.is_set() else "paused" if self._paused else "looking"
        return f"<{type(self).__name__} {self.folder}: {state}>"

    @property
    def job_history(self) -> list[str]:
        """The names of the files of finished jobs, the newest last."""
        with self._changed:
            return [job.name for job in self.finished]

    # The life of the thread.

    def run(self) -> None:
        """Look for jobs until `stop_thread`; called by `start`."""
        while not self._place.ending.is_set():
            with self._looking:
                usable = self._paused or self._look_once()
            if not usable and not self._told_unusable:
                self._ask_hook(self._tell_unusable)
            self._told_unusable = not usable
            self._wake.wait(LOOK_INTERVAL)
            self._wake.clear()

    def pause(self) -> None:
        """Take no new jobs; those under way go on."""
        with self._looking:
            self._paused = True

    def resume(self) -> None:
        """Take jobs again."""
        self._paused = False
        self.look_now()

    def look_now(self) -> None:
        """Do not wait for the next look; for who knows that a file has come."""
        self._wake.set()

    def stop_thread(self) -> None:
        """End the queue with its jobs' threads, programs and files; may be called more than once."""
        self._place.ending.set()
        self._wake.set()
        deadline = Deadline.after(END_PATIENCE)
        with self._changed:
            threads = [self, *self._threads]
            self._changed.notify_all()
        for thread in threads:
            if thread is not threading.current_thread() and thread._done is not None:  # noqa: SLF001 - ours
                thread.join(deadline.remaining())
                if thread.is_alive():
                    self.logger(f"{thread.name} does not end", loglevel=loglevel_ERROR)
        with self._changed:
            private, self._private = self._private, None
        if private is not None:
            shutil.rmtree(private, ignore_errors=True)

    def wait_for_jobs(self, count: int = 1, timeout: float = 60.0) -> list[FinishedJob]:
        """Wait until that many jobs have finished since the queue was made; the last hundred of them.

        Raises:
            X2GoTimeOutException: They had not in time, or the queue has ended.
        """
        deadline = Deadline.after(timeout)
        with self._changed:
            while self._total < count and not deadline.expired and not self._place.ending.is_set():
                self._changed.wait(deadline.remaining())
            if self._total < count:
                raise X2GoTimeOutException(
                    f"{self._total} of {count} jobs have come through the {self.WHAT}",
                    doing="waiting for jobs of a session",
                )
            return list(self.finished)

    # Jobs.

    def _look_once(self) -> bool:
        """Begin the jobs that are there, as far as there is room; whether the folder could be read."""
        with self._changed:  # before the look: a job that ends meanwhile may still be among the names
            known = {*self._stuck, *self.active_jobs}
        try:
            names = look_into(self.folder)
        except OSError as error:
            if not self._told_unusable:
                self.logger(f"{self.folder} cannot be read: {error.strerror}", loglevel=loglevel_ERROR)
            return False
        with self._changed:
            self._stuck -= known - set(names)
        for name in self._wanted([name for name in names if name not in known]):
            with self._changed:
                if len(self.active_jobs) >= JOBS_AT_A_TIME or self._place.ending.is_set():
                    break
                self._start_job(name)
        return True

    def _start_job(self, name: str) -> None:
        job = self._job(name)
        self.active_jobs[name] = job  # before it runs: what it starts may be seen at once
        try:
            job.start()
        except RuntimeError as error:  # this process can have no more threads: at the next look, perhaps
            del self.active_jobs[name]
            self.logger(f"{name} has to wait: {error}", loglevel=loglevel_WARN)
        else:
            self._threads = [*(thread for thread in self._threads if thread.is_alive()), job]

    def _wanted(self, names: list[str]) -> list[str]:
        """Which of the files in the folder are a job each."""
        raise NotImplementedError

    def _job(self, name: str) -> BoxJob:
        """The thread for a job, not started."""
        raise NotImplementedError

    def _tell_unusable(self) -> None:
        """Call the hook that says that there are no such jobs any more."""
        raise NotImplementedError

    def _working(self) -> contextlib.AbstractContextManager[None]:
        """What a job is done in."""
        return working_at(self._place)

    @contextlib.contextmanager
    def _work_folder(self) -> Iterator[tuple[Path, contextlib.ExitStack]]:
        """A folder for one job, beside the one that the server writes to, and what is to be done at the job's end.

        The folder goes with the job unless ``pop_all`` keeps it until the queue's end.
        """
        with self._changed:
            if self._place.ending.is_set():
                raise SpoolError("the queue has ended")
            if self._private is None:
                self._private = Path(tempfile.mkdtemp(prefix=".jobs-", dir=self.folder.parent))
            work = Path(tempfile.mkdtemp(dir=self._private))
        with contextlib.ExitStack() as at_end:
            at_end.callback(shutil.rmtree, work, ignore_errors=True)
            yield work, at_end

    def _remove(self, *names: str) -> None:
        """Take files out of the folder; what cannot be removed is left alone from then on."""
        for name in names:
            try:
                (self.folder / name).unlink(missing_ok=True)
            except OSError as error:
                self._leave(name)
                self.logger(f"{name} cannot be removed: {error.strerror}", loglevel=loglevel_WARN)

    def _leave(self, name: str) -> None:
        """Do not make a job of a file as long as it is there."""
        with self._changed:
            self._stuck.add(name)

    def _finish_job(self, job: FinishedJob) -> None:
        """Note what became of a job; its file may come again."""
        with self._changed:
            self.active_jobs.pop(job.name, None)
            self.finished.append(job)
            self._total += 1
            self._changed.notify_all()
        said = f"failed: {job.error}" if job.error is not None else "is done"
        self.logger(f"{job.title} ({job.action}) {said}", loglevel=loglevel_ERROR if job.error else loglevel_INFO)

    def _failure(self, error: Exception, doing: str) -> Exception:
        """An error of our own for what files may say."""
        if isinstance(error, SpoolError):
            return self.FAILURE(str(error), doing=doing, advice="see what the session writes to its folder")
        if isinstance(error, OSError):
            return self.FAILURE(f"{error.strerror or error}", doing=doing)
        return error

    def _ask_hook(self, hook: Any, *args: Any, **kwargs: Any) -> None:
        """Call an application's hook; the queue goes on whatever it raises."""
        try:
            hook(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - an application's own code
            self.logger(f"a hook failed: {type(error).__name__}: {error}", loglevel=loglevel_ERROR)
