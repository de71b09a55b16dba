"""The remote program itself: reads frames from the terminal, runs calls, writes answers.

One thread has the turn: it reads and runs the calls itself, for a thread hop costs more than a call; a deputy takes the
turn over when a call is not back within two milliseconds, so that a slow call holds up no other. The program promises
to answer nothing from a forked child, and to end what it was asked to own when it ends.
"""
# ruff: noqa: F401, FBT003 - names in type comments look unused; locks of Python 2 take no keywords.

import errno
import os
import select
import sys
import time

from crl.link.remote import calls, world
from crl.link.wire import messages, session, values
from crl.link.wire.errors import NotTransferable, ProtocolError

try:
    from _thread import allocate_lock, error, start_new_thread
except ImportError:
    from thread import allocate_lock, error, start_new_thread  # type: ignore[import-not-found,no-redef]

MYPY = False
if MYPY:
    from collections import deque
    from collections.abc import Callable
    from typing import Any
else:
    # Its module, not `collections`, which is the largest import of the start.
    from _collections import deque

READ_SIZE = 65536
TICK = 0.002
TICKS_BEFORE_PARKING = 25
SWITCH_INTERVAL = 0.001
MISSED_HEARTBEATS = 3
GREETING_INTERVAL_MS = 1000
END_LIMIT = 10.0
CANCELLED_KEPT = 1024


class Program(object):
    """The program's state: one session on one terminal.

    Args:
        tty_in: Descriptor to read frames from.
        tty_out: Descriptor to write frames to, in blocking mode.
        life: Descriptor that the tiny parent waits on; a line in it says that the end is an orderly one.
        config: Settings of the controller: ``heartbeat`` and ``grace`` in seconds, ``epoch``.
    """

    def __init__(self, tty_in, tty_out, life, config):
        # type: (int, int, int, dict[str, Any]) -> None
        self.tty_in = tty_in
        self.tty_out = tty_out
        self.life = life
        self.patience = MISSED_HEARTBEATS * config["heartbeat"] + config["grace"]
        self.session = session.Session(config["epoch"])
        self.calls = calls.Calls(sys.modules["__main__"].__dict__)
        self.handlers = {
            messages.CALL: self._run_call,
            messages.CANCEL: self._cancel,
            messages.RELEASE: self._release,
            messages.LOAD: self._load,
            messages.CLOSE: self._close,
        }  # type: dict[int, Callable[[int, bytes], None]]
        self.at_end = []  # type: list[Callable[[], None]]
        self.output = None  # type: world.Output | None
        self.pid = os.getpid()
        self._reads = 0
        self._lock = allocate_lock()
        self._write_lock = allocate_lock()
        self._flush_again = False
        self._turn_lock = allocate_lock()
        self._turn = 0
        self._busy = False
        self._started = 0
        self._parked = True
        self._has_deputy = False
        self._wake_deputy = allocate_lock()
        self._wake_deputy.acquire()
        self._inbox = deque()  # type: deque[bytes]
        self._cancelled = deque(maxlen=CANCELLED_KEPT)  # type: deque[int]
        self._ending = allocate_lock()

    # -- life ------------------------------------------------------------------------------------------------------

    def serve(self, path):
        # type: (list[str]) -> None
        """Greet the controller, prepare the world of user code, and serve until the end; never returns."""
        self._greet()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._close_in_child)
        try:
            world.prepare(path)
        except BaseException:  # noqa: BLE001 - site runs files of the target's user, which may raise anything
            complain()
        start_new_thread(self._watch_controller, ())
        self._serve_turn(0)
        _sleep_for_ever()

    def _greet(self):
        # type: () -> None
        with self._lock:
            self.session.greet(values.encode(self._facts()))
        self.flush()

    def _facts(self):
        # type: () -> dict[str, object]
        return {
            "python": tuple(sys.version_info[:3]),
            "executable": sys.executable or "",
            "pid": self.pid,
            "uid": os.getuid(),
            "codec": values.VERSION,
        }

    def _close_in_child(self):
        # type: () -> None
        """In a child that user code forked: neither the terminal nor the shell's prompt must wait for its end."""
        # Once: the child of a child has none of them, and may use the same numbers for its own.
        ours = [descriptor for descriptor in (self.tty_in, self.tty_out, self.life) if descriptor >= 0]
        self.tty_in = self.tty_out = self.life = -1
        for descriptor in ours:
            os.close(descriptor)

    def _watch_controller(self):
        # type: () -> None
        """End when the controller has been silent for too long; seconds are counted, for clocks may jump."""
        poller = select.poll()
        poller.register(self.tty_in, select.POLLIN)
        silent = seen = 0
        while silent <= self.patience:
            time.sleep(1.0)
            # Unread input means that we are the slow ones.
            silent = silent + 1 if self._reads == seen and not world.wait(poller, 0) else 0
            seen = self._reads
        self.end(orderly=False)

    def end(self, orderly):
        # type: (bool) -> None
        """End the program and all it owns; never returns."""
        if not self._ending.acquire(False):
            _sleep_for_ever()
        start_new_thread(_exit_later, ())
        try:
            for finish in self.at_end:
                finish()
            if orderly:
                world.run_exit_functions()
                if self.output is not None:
                    self.output.finish()
                self._say_goodbye()
                os.write(self.life, b"\n")
        except BaseException:  # noqa: BLE001 - whatever happens here, the program ends
            complain()
        finally:
            os._exit(0)

    def _say_goodbye(self):
        # type: () -> None
        # Not by `flush`, which would leave the writing to a thread that does not live long enough.
        with self._write_lock:
            self._write_ready()
            with self._lock:
                self.session.part()
            self._write_ready()

    # -- the turn --------------------------------------------------------------------------------------------------

    def _serve_turn(self, turn):
        # type: (int) -> None
        """Read and run while the turn is ours."""
        while True:
            try:
                self._serve_until_held_up(turn)
            except BaseException:  # noqa: BLE001 - a signal handler of user code may raise anything anywhere
                complain()
                if self._turn == turn:
                    continue
            return

    def _serve_until_held_up(self, turn):
        # type: (int) -> None
        poller = select.poll()
        poller.register(self.tty_in, select.POLLIN)
        inbox = self._inbox
        while True:
            while inbox:
                self.handle(inbox.popleft(), turn)
                if self._turn != turn:
                    self.flush()
                    return
            self.flush()
            if self.session.heard:
                happened = world.wait(poller, None)
            else:
                # The greeting goes out without a number, so nobody asks for it again when noise has hit it.
                happened = world.wait(poller, GREETING_INTERVAL_MS)
                if not happened:
                    self._greet()
            if happened:
                self._read()

    def _read(self):
        # type: () -> None
        try:
            data = os.read(self.tty_in, READ_SIZE)
        except OSError as failure:
            if failure.errno in (errno.EINTR, errno.EAGAIN):
                return
            data = b""
        if not data:
            self.end(orderly=False)
        self._reads += 1
        with self._lock:
            try:
                received = self.session.receive(data)
            except ProtocolError:
                received = None
        if received is None:
            self.end(orderly=False)
        else:
            self._inbox.extend(received)

    def handle(self, message, turn):
        # type: (bytes, int) -> None
        """Do what one message asks."""
        kind, number, body = messages.unpack(message)
        handler = self.handlers.get(kind)
        if handler is not None:
            if kind == messages.CALL or kind == messages.LOAD:
                self._begin()
                handler(number, body)
                with self._turn_lock:
                    if self._turn == turn:
                        self._busy = False
            else:
                handler(number, body)

    def _begin(self):
        # type: () -> None
        with self._turn_lock:
            self._busy = True
            self._started += 1
            if self._parked:
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
        idle = 0
        seen = -1
        while True:
            time.sleep(TICK)
            with self._turn_lock:
                if not self._busy:
                    idle += 1
                    seen = -1
                    if idle >= TICKS_BEFORE_PARKING:
                        self._parked = True
                        return None
                elif self._started == seen:
                    self._turn += 1
                    self._busy = False
                    self._parked = True
                    self._start_deputy()
                    return self._turn
                else:
                    idle = 0
                    seen = self._started

    # -- messages --------------------------------------------------------------------------------------------------

    def _run_call(self, number, body):
        # type: (int, bytes) -> None
        if self._cancelled and number in self._cancelled:
            return
        answer = self.calls.run(number, body)
        if os.getpid() != self.pid:
            # User code forked and its child came back here: it must not answer in our name.
            world.flush_standard_streams()
            os._exit(0)
        self._answer(number, answer)

    def _answer(self, number, answer):
        # type: (int, bytes) -> None
        if self.output is not None:
            self.output.drain()
        try:
            self.post(answer)
        except NotTransferable as refusal:
            self.post(messages.pack(messages.REFUSED, number, values.encode(str(refusal))))

    def _cancel(self, number, _body):
        # type: (int, bytes) -> None
        # Calls begin as soon as they arrive: only a large one, which this message has overtaken, can be dropped.
        self._cancelled.append(number)

    def _release(self, _number, body):
        # type: (int, bytes) -> None
        self.calls.release(values.decode(body))

    def _load(self, number, body):
        # type: (int, bytes) -> None
        try:
            name, source = values.decode(body)
            sys.modules["_crl"].__dict__["load"](str(name), str(source)).install(self)
        except BaseException:  # noqa: BLE001 - a module that a slim Python lacks, above all
            self.post(messages.pack(messages.ERROR, number, calls.describe_error()))
        else:
            self.post(messages.pack(messages.RESULT, number, values.encode(None)))

    def _close(self, _number, _body):
        # type: (int, bytes) -> None
        self.end(orderly=True)

    # -- writing ---------------------------------------------------------------------------------------------------

    def post(self, message, order=None):
        # type: (bytes, int | None) -> None
        """Queue a message; the thread with the turn writes it when no more input waits."""
        with self._lock:
            self.session.post(message, order)

    def send(self, message, order=None):
        # type: (bytes, int | None) -> None
        """Queue a message and write it now."""
        self.post(message, order)
        self.flush()

    def backlog(self):
        # type: () -> int
        """How many bytes wait to be written."""
        with self._lock:
            return self.session.backlog

    def flush(self):
        # type: () -> None
        """Write what may be written; where another thread is at it, it takes ours along."""
        if os.getpid() != self.pid:
            os._exit(0)
        while True:
            self._flush_again = True
            if not self._write_lock.acquire(False):
                return
            try:
                while self._flush_again:
                    self._flush_again = False
                    self._write_ready()
            finally:
                self._write_lock.release()
            if not self._flush_again:
                return

    def _write_ready(self):
        # type: () -> None
        while self.session.has_outgoing:
            with self._lock:
                ready = self.session.outgoing()
            # One blocking write a frame: the kernel keeps other writers of the terminal out of the middle of it.
            for frame in ready:
                while frame:
                    try:
                        frame = frame[os.write(self.tty_out, frame) :]
                    except OSError as failure:
                        if failure.errno != errno.EINTR:
                            # The terminal is gone; the reading side finds out and decides what happens.
                            return


def complain():
    # type: () -> None
    """Print what is being raised where the controller can read it."""
    import traceback

    text = traceback.format_exc()  # type: Any
    try:
        os.write(2, text if isinstance(text, bytes) else text.encode("ascii", "backslashreplace"))
    except OSError:
        # User code has closed it.
        return


def _sleep_for_ever():
    # type: () -> None
    while True:
        time.sleep(3600.0)


def _exit_later():
    # type: () -> None
    """Nothing may keep the program alive: no exit function of user code, no terminal that takes nothing."""
    time.sleep(END_LIMIT)
    os._exit(1)


def main(config, path, life, pipes):
    # type: (dict[str, Any], list[str], int, list[tuple[int, int]]) -> None
    """Become the program; never returns."""
    tty_in, tty_out, sources = world.take_descriptors(pipes)
    try:
        main_names = sys.modules["__main__"].__dict__
        for name in [n for n in main_names if not n.startswith("__")]:
            del main_names[name]
        if hasattr(sys, "setswitchinterval"):
            sys.setswitchinterval(SWITCH_INTERVAL)
        program = Program(tty_in, tty_out, life, config)
        sys.modules["_crl"].__dict__["program"] = program
        program.output = world.Output(program, sources)
        start_new_thread(program.output.run, ())
        program.serve(path)
    except BaseException:  # noqa: BLE001 - why the program cannot start must be seen where somebody looks
        os.dup2(tty_out, 2)
        complain()
        os._exit(1)
