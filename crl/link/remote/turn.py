"""Who has the turn in the remote program: the one thread that reads frames and runs the calls in them.

It runs the calls itself, for a thread hop costs more than a call; a deputy takes the turn over when a call is not back
within two milliseconds, so that a slow call holds up no other. It knows messages, and neither frames nor terminals.
"""
# ruff: noqa: F401 - names in type comments look unused.

import time

from crl.link.remote import world
from crl.link.wire import messages
from crl.link.wire.compat import allocate_lock, error, start_new_thread

MYPY = False
if MYPY:
    from collections.abc import Callable

    from crl.link.wire.session import Session

TICK = 0.002
TICKS_BEFORE_PARKING = 25
# For as long a call may take to begin: calls begin in the order in which they were sent.
TICKS_TO_BEGIN = 25


class Turn(object):
    """The turn, which goes from thread to thread; `program.Program` says how to read and write in it.

    Args:
        session: Where messages arrive.

    Attributes:
        session: The same.
        handlers: What is done with each kind of message, called with its number and body.
    """

    def __init__(self, session):
        # type: (Session) -> None
        self.session = session
        self.handlers = {}  # type: dict[int, Callable[[int, bytes], None]]
        self._turn_lock = allocate_lock()
        self._turn = self._started = 0
        self._busy = self._begun = self._has_deputy = False
        self._parked = True
        self._wake_deputy = allocate_lock()
        self._wake_deputy.acquire()

    def flush(self):
        # type: () -> None
        """Write what may be written."""
        raise NotImplementedError

    def _wait_and_read(self):
        # type: () -> None
        raise NotImplementedError

    def _serve_turn(self, turn):
        # type: (int) -> None
        """Read and run while the turn is ours."""
        while True:
            try:
                self._serve_until_held_up(turn)
            except BaseException:  # noqa: BLE001 - a signal handler of user code may raise anything anywhere
                world.complain()
                if self._goes_on(turn):
                    continue
            return

    def _serve_until_held_up(self, turn):
        # type: (int) -> None
        session = self.session
        delivered = session.delivered
        while True:
            while delivered:
                self.handle(delivered.popleft()[2])
                if not delivered:
                    break
                if not self._goes_on(turn):
                    self.flush()
                    return
            # Still busy: a terminal that has room may not have enough of it, and a dead one never will.
            if session.has_outgoing or session.interrupted:
                self.flush()
            if not self._goes_on(turn):
                return
            self._wait_and_read()

    def _goes_on(self, turn):
        # type: (int) -> bool
        """Whether the turn is still ours, now that nothing holds us up."""
        with self._turn_lock:
            ours = self._turn == turn
            if ours:
                self._busy = False
        return ours

    def handle(self, message):
        # type: (bytes) -> None
        """Do what one message asks."""
        kind, number, body = messages.unpack(message)
        handler = self.handlers.get(kind)
        if handler is None:
            return
        if kind != messages.CALL and kind != messages.LOAD:
            handler(number, body)
            return
        with self._turn_lock:
            self._busy = True
            self._begun = kind == messages.LOAD
            self._started += 1
            if self._parked:
                self._unpark()
        handler(number, body)

    def begins(self):
        # type: () -> None
        """The call that holds the turn has come to what it asks for."""
        self._begun = True

    def _unpark(self):
        # type: () -> None
        """Have the deputy watch; with the lock of the turn."""
        self._parked = False
        if not self._has_deputy:
            self._start_deputy()
        self._wake_deputy.release()

    def _start_deputy(self):
        # type: () -> None
        """Have a thread that waits for its turn; where none can be started now, the next call tries again."""
        try:
            start_new_thread(self._deputy, ())
        except error:
            self._has_deputy = False
        else:
            self._has_deputy = True

    def _deputy(self):
        # type: () -> None
        """Watch the thread that has the turn, and take the turn when it is held up by a call."""
        turn = None
        while turn is None:
            self._wake_deputy.acquire()
            turn = self._watch_turn()
        self._serve_turn(turn)

    def _watch_turn(self):
        # type: () -> int | None
        """The number of our own turn; None when nothing was called for a while."""
        idle = ticks = 0
        seen = None  # type: tuple[int, bool] | None
        while True:
            time.sleep(TICK)
            with self._turn_lock:
                state = (self._started, self._begun)
                if not self._busy:
                    idle += 1
                    seen = None
                    if idle >= TICKS_BEFORE_PARKING:
                        self._parked = True
                        return None
                elif state != seen:
                    idle = ticks = 0
                    seen = state
                elif not self._begun and ticks < TICKS_TO_BEGIN:
                    ticks += 1
                else:
                    self._turn += 1
                    self._busy = False
                    self._parked = True
                    self._start_deputy()
                    return self._turn
