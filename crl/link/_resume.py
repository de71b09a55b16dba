"""Resume: a link whose terminal has ended, or is silent, goes on over another one; and lane change, for bulk.

A thread of its own opens fresh terminals by the recipe of the lane, as long as the remote program waits for one, and
hands the first that works to the engine. In the same way it opens a lane beside a terminal that works, and leads back
to that terminal. It knows no session and no call; it promises that nothing of a failed attempt stays, and that what
cannot come back is said at once.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from crl.channels.base import ChannelClosed
from crl.deadlines import Deadline
from crl.errors import CrlError
from crl.link._attachment import Attachment
from crl.link._engine import SUSPECT_AFTER, Engine
from crl.link._parked import Parked
from crl.link.errors import LinkError, LinkLost, ProgramGone
from crl.link.lane import Lane
from crl.link.startline import INTERPRETERS
from crl.link.startup import Attached, attach_program, dialogue_seconds

__all__ = ["Recipe", "Resumer"]

ATTEMPT_SECONDS: Final = 3.0
FIRST_INTERVAL: Final = 0.1
ATTEMPT_INTERVAL: Final = 1.0
CHANGE_SECONDS: Final = 15.0
LAST_EPOCH: Final = 0xFFFF
PLAIN_PATH: Final = re.compile(r"/[\w./+-]+")


@dataclass(frozen=True)
class Recipe:
    """How the remote program is found again.

    Attributes:
        door: Name of the abstract socket that it listens on.
        token: What opens the door.
        grace: Seconds that the program waits for a new terminal.
        interpreters: Interpreters to try on the target, in order.
    """

    door: str
    token: str
    grace: float
    interpreters: tuple[str, ...] = INTERPRETERS

    @classmethod
    def new(cls, grace: float) -> Recipe:
        """Fresh names that nobody can guess."""
        return cls(f"crl-{secrets.token_hex(16)}", secrets.token_hex(16), grace)

    def plain(self) -> dict[str, object]:
        """What the remote program has to know."""
        return {"door": self.door, "token": self.token, "grace": self.grace}

    def found_with(self, python: str | None, executable: str) -> Recipe:
        """The same with the interpreter that runs the program before all others."""
        if python is not None:
            return Recipe(self.door, self.token, self.grace, (python,))
        # The path is the target's word: it goes into a line for its shell only when it is nothing but a path.
        first = (executable,) if PLAIN_PATH.fullmatch(executable) else ()
        return Recipe(self.door, self.token, self.grace, (*first, *INTERPRETERS))


class Resumer:
    """Opens terminals for one link.

    Args:
        lane: The lane in use.
        recipe: How the remote program is found.
        epoch: Number of the attachment in use.

    Attributes:
        lane: The lane in use now.
        on_resumed: Called in the resumer's thread when that has happened, with the seconds since the last sign of life.
        on_changed: Called in the resumer's thread when the link has gone over to a lane beside its terminal.
        why_not_beside: Why that could not be done; None while nothing has stood against it.
    """

    def __init__(self, lane: Lane, recipe: Recipe, epoch: int) -> None:
        self.lane = lane
        self.on_resumed: Callable[[float], None] | None = None
        self.on_changed: Callable[[], None] | None = None
        self.why_not_beside: str | None = None
        self._beside: Lane | None = None
        self._parked: Parked | None = None
        self._recipe = recipe
        self._epoch = epoch
        self._armoured = bool(lane.kind.armour)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._failure: BaseException | None = None

    def start(self, engine: Engine, reason: LinkLost) -> bool:
        """Open another terminal in the background, once at a time; False when that is over."""
        self._start_thread(self._run, engine, reason)
        return not self._stopped.is_set()

    def change(self, engine: Engine) -> bool:
        """Go over to a lane beside the terminal, in the background; False when something else is being done."""
        return self._start_thread(self._run_change, engine)

    def _start_thread(self, target: Callable[..., None], *args: object) -> bool:
        with self._lock:
            if self._stopped.is_set() or self._thread is not None:
                return False
            name = f"crl-resume-{self.lane.host}"
            thread = threading.Thread(target=target, args=args, name=name, daemon=True)
            thread.start()
            self._thread = thread
        return True

    def stop(self, deadline: Deadline) -> None:
        """Try no more, and wait for the attempt under way."""
        self._stopped.set()
        # Under the lock, for one that is just being started is one to wait for.
        with self._lock:
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(deadline.remaining())

    # -- the thread --------------------------------------------------------------------------------------------------

    def _run(self, engine: Engine, reason: LinkLost) -> None:
        # Who started us notes just now that there is no terminal.
        engine.settle()
        seconds = ATTEMPT_SECONDS + dialogue_seconds(self.lane.kind)
        # The program counts from the same silence, or from the end of its terminal.
        doubted = time.monotonic() if engine.down is not None else engine.last_heard + SUSPECT_AFTER
        give_up_at = doubted + self._recipe.grace
        if engine.down is not None and not self._stopped.is_set():
            self.go_home(engine)
        interval = FIRST_INTERVAL
        while not self._stopped.is_set() and engine.lost is None and engine.in_doubt():
            started = time.monotonic()
            if started >= give_up_at:
                engine.give_up(self._too_late(engine, reason))
                break
            final = self._try(engine, Deadline.after(min(seconds, give_up_at - started)))
            if final is not None:
                self._bear_or_give_up(engine, final, give_up_at)
                break
            if not engine.in_doubt():
                break
            # A login that is slower than we are patient must succeed in the end.
            seconds = min(2 * seconds, self._recipe.grace)
            self._stopped.wait(max(0.0, started + interval - time.monotonic()))
            interval = min(2 * interval, ATTEMPT_INTERVAL)
        self._finish(engine, reason)

    def _finish(self, engine: Engine, reason: LinkLost) -> None:
        with self._lock:
            self._thread = None
        # Who came for another terminal while this thread was there leaves it to us, and notes that just now.
        engine.settle()
        if engine.in_doubt() and engine.lost is None and not self._stopped.is_set():
            # It ended again just after we had looked, or while another lane was being opened.
            self.start(engine, engine.down or reason)

    def _bear_or_give_up(self, engine: Engine, final: LinkError, give_up_at: float) -> None:
        """No other terminal can be had; but one that is only silent may yet speak, unless its program is gone."""
        while (
            not isinstance(final, ProgramGone)
            and engine.down is None
            and engine.in_doubt()
            and time.monotonic() < give_up_at
            and not self._stopped.wait(ATTEMPT_INTERVAL)
        ):
            continue
        if engine.in_doubt() and not self._stopped.is_set():
            engine.give_up(final)

    def _try(self, engine: Engine, deadline: Deadline) -> LinkError | None:
        """One attempt; the error that ends all attempts, None when it worked or may yet work."""
        try:
            self._attempt(engine, deadline)
        except ProgramGone as error:
            return error
        except (CrlError, OSError) as error:
            self._failure = error
            if getattr(error, "definite", False) or isinstance(error, LinkLost):
                return self._refused(error)
        except Exception as error:  # noqa: BLE001 - shells of users may raise anything, and the next attempt may work
            self._failure = error
        return None

    def _attempt(self, engine: Engine, deadline: Deadline) -> None:
        assert self.lane.reopen is not None
        silent_since = engine.last_heard
        fresh = self.lane.reopen(deadline)
        try:
            taken = self._hand_over(engine, fresh, deadline)
            if taken:
                self.let_go()
                fresh.take_over()
        except ProgramGone:
            (fresh.keep or fresh.discard)()
            raise
        except BaseException:
            fresh.discard()
            raise
        if not taken:
            fresh.discard()
            return
        self.lane = fresh
        if self.on_resumed is not None:
            self.on_resumed(time.monotonic() - silent_since)

    def _hand_over(self, engine: Engine, fresh: Lane, deadline: Deadline) -> bool:
        """Offer a terminal to the program, and go on over it when it is taken."""
        if self._stopped.is_set() or not engine.in_doubt():
            return False
        if fresh.kind.armour and not self._armoured:
            raise LinkLost(
                "the other terminal does not carry every byte, and the program was started on one that does, without "
                "what it would need there",
                host=fresh.host,
                doing="resuming a link",
                advice="declare the kind of the first lane as that of the one that takes its place",
            )
        attached = self._offer(engine, fresh, deadline)
        return engine.attach(
            attached.channel, attached.end_mark, self._epoch, attached.data, under=fresh.under
        )

    def _offer(self, engine: Engine, fresh: Lane, deadline: Deadline, *, beside: bool = False) -> Attached:
        self._next_epoch()
        line = f"{self._recipe.token} {self._epoch} {engine.session.expected} {beside:d}"
        return attach_program(fresh, self._recipe.door, line, self._epoch, self._recipe.interpreters, deadline)

    def _next_epoch(self) -> None:
        if self._epoch >= LAST_EPOCH:
            raise LinkLost("the link was resumed too often", host=self.lane.host, doing="resuming a link")
        self._epoch += 1

    # -- the lane beside ---------------------------------------------------------------------------------------------

    @property
    def away(self) -> bool:
        """Whether the link is on a lane beside its terminal."""
        return self._beside is not None

    def _run_change(self, engine: Engine) -> None:
        before = self._epoch
        try:
            self._change(engine, Deadline.after(CHANGE_SECONDS))
        except (CrlError, OSError) as error:
            self.why_not_beside = str(error)
        except Exception as error:  # noqa: BLE001 - channels of users may raise anything, and nothing depends on this
            self.why_not_beside = repr(error)
        if self.away:
            if self.on_changed is not None:
                self.on_changed()
        elif self._epoch != before and engine.lost is None:
            # The program may have gone over, though nobody has heard it say so.
            self._next_epoch()
            engine.greet_again(self._epoch)
        self._finish(engine, LinkLost("the terminal has ended", host=self.lane.host, doing="talking to the target"))

    def _change(self, engine: Engine, deadline: Deadline) -> None:
        assert self.lane.beside is not None
        fresh = self.lane.beside(deadline)
        taken = False
        try:
            attached = self._offer(engine, fresh, deadline, beside=True)
            if not self._stopped.is_set():
                self._beside = fresh
                taken = engine.attach(
                    attached.channel,
                    attached.end_mark,
                    self._epoch,
                    attached.data,
                    beside=True,
                    leave=lambda left: self._park(left, engine),
                )
        finally:
            if not taken:
                self._beside = None
                fresh.discard()

    def _park(self, left: Attachment, engine: Engine) -> None:
        self._parked = Parked(self.lane, left, engine.leave)

    def go_home(self, engine: Engine) -> None:
        """From a lane beside the terminal back to it, where it is still there; waits for nothing."""
        beside, parked = self._beside, self._parked
        if beside is None or parked is None or parked.ended or engine.lost is not None:
            return
        silent_since = engine.last_heard
        self._next_epoch()
        self._beside = self._parked = None
        tail, first = parked.leave(), parked.unfinished + engine.greeting(self._epoch)
        was_down = engine.down is not None
        with suppress(ChannelClosed):  # just now; then fresh terminals are what is left
            engine.attach(
                parked.lane.channel, parked.mark, self._epoch, tail, under=parked.lane.under, first=first
            )
        beside.discard()
        if was_down and self.on_resumed is not None:
            self.on_resumed(time.monotonic() - silent_since)

    def look_away(self) -> None:
        """Look after a terminal that was left no more; again is harmless."""
        parked, self._parked = self._parked, None
        if parked is not None:
            parked.leave()

    def let_go(self) -> None:
        """The lane beside and the terminal under it are not needed any more; again is harmless."""
        self.look_away()
        beside, self._beside = self._beside, None
        if beside is not None:
            beside.discard()

    # -- errors ------------------------------------------------------------------------------------------------------

    def _too_late(self, engine: Engine, reason: LinkLost) -> LinkLost:
        down = time.monotonic() - engine.last_heard
        error = LinkLost(
            f"{reason.message}; no other terminal could be opened within {down:.0f} s"
            + (f" (last: {self._failure})" if self._failure is not None else ""),
            host=self.lane.host,
            doing="resuming a link",
            transcript=reason.transcript,
            advice=reason.advice or "look whether the host or the network on the way to it is down",
        )
        error.__cause__ = self._failure
        return error

    def _refused(self, failure: BaseException) -> LinkLost:
        error = LinkLost(
            f"its terminal has ended, and another one cannot be opened: {failure}",
            host=self.lane.host,
            doing="resuming a link",
        )
        error.__cause__ = failure
        return error
