"""The remote program itself: reads frames from the terminal, runs calls, writes answers.

It joins a session, its terminals and the calls; which thread reads and calls is the matter of `turn`. The program
promises to answer nothing from a forked child, and to end what it was asked to own when it ends.
"""
# ruff: noqa: F401, FBT003 - names in type comments look unused; locks of Python 2 take no keywords.

import errno
import os
import select
import sys
import time

from crl.link.remote import calls, terminal, world
from crl.link.remote.turn import Turn
from crl.link.wire import messages, session, values
from crl.link.wire.compat import allocate_lock, deque, error, get_ident, start_new_thread
from crl.link.wire.errors import NotTransferable, ProtocolError

MYPY = False
if MYPY:
    from collections.abc import Callable
    from typing import Any

READ_SIZE = 65536
BULK_READ_SIZE = 4 * READ_SIZE
SWITCH_INTERVAL = 0.0005
MISSED_HEARTBEATS = 3
GREETING_INTERVAL_MS = 1000
END_LIMIT = 10.0
CANCELLED_KEPT = 1024


class Program(Turn):
    """The program's state: one session, on one terminal at a time.

    Args:
        first: The terminal that it was started on.
        config: Settings of the controller: ``heartbeat`` and ``grace`` in seconds, ``epoch``, ``window``,
            ``frame`` and ``armour``, ``mark`` of the first terminal; ``door`` and ``token`` for new terminals.
    """

    def __init__(self, first, config):
        # type: (terminal.Terminal, dict[str, Any]) -> None
        Turn.__init__(
            self,
            session.Session(config["epoch"], config["window"], config["frame"], clock=world.now, pings_back=True),
        )
        self.terminal = first
        self.config = config
        self._detached_after = MISSED_HEARTBEATS * config["heartbeat"]
        self.patience = self._detached_after + config["grace"]
        self.calls = calls.Calls(sys.modules["__main__"].__dict__, self.begins)
        self.handlers = {
            messages.CALL: self._run_call,
            messages.CANCEL: self._cancel,
            messages.RELEASE: self._release,
            messages.LOAD: self._load,
            messages.CLOSE: self._close,
        }
        self.at_end = []  # type: list[Callable[[], None]]
        self.output = None  # type: world.Output | None
        self.door = None  # type: Any
        self.pid = os.getpid()
        self._reads = 0
        self._read_size = READ_SIZE
        self._lock = allocate_lock()
        self._wake_read, self._wake_write = (world.private(world.nonblocking(end)) for end in os.pipe())
        self._read_from = None  # type: terminal.Terminal | None
        self._poller = None  # type: Any
        self.running = {}  # type: dict[int, int]
        self.canceller = None  # type: Any
        self._cancelled = deque(maxlen=CANCELLED_KEPT)  # type: deque[int]
        self._pieces = set()  # type: set[str]
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
            world.complain()
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
        """A forked child is not the program."""
        self.terminal.close_in_child()
        if self.door is not None:
            self.door.close_in_child()
            self.door = None

    def _watch_controller(self):
        # type: () -> None
        """End when the controller has been silent for too long; seconds are counted, for clocks may jump."""
        silent = seen = 0
        while silent <= self.patience:
            time.sleep(1.0)
            here = self.terminal
            # Unread input means that we are the slow ones.
            silent = silent + 1 if self._reads == seen and not self._has_input(here) else 0
            if here.lost:
                silent = max(silent, int(self._detached_after))
            seen = self._reads
        self.end(orderly=False)

    def _has_input(self, here):
        # type: (terminal.Terminal) -> bool
        descriptor = here.tty_in
        if here.lost or descriptor < 0:
            return False
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        return bool(world.wait(poller, 0))

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
        except BaseException:  # noqa: BLE001 - whatever happens here, the program ends
            world.complain()
        finally:
            os._exit(0)

    def _say_goodbye(self):
        # type: () -> None
        # Not by `flush`, which would leave the writing to a thread that does not live long enough.
        here = self.terminal
        here.lock_for_writing(True)
        self._write_ready(here, may_block=True)
        with self._lock:
            self.session.part()
        self._write_ready(here, may_block=True)
        here.say_end()

    # -- terminals -------------------------------------------------------------------------------------------------

    def go_over_to(self, new, epoch, peer_has, beside):
        # type: (terminal.Terminal, int, int, bool) -> None
        """Go on over a terminal; see `door.Door.adopt`."""
        with self._lock:
            self.session.resume(epoch, peer_has)
            self.session.sender.go_beside(beside)
            self.session.greet(values.encode(self._facts()))
            self.terminal = new
        self._reads += 1

    def turn_around(self):
        # type: () -> None
        """Have the thread that reads look which terminal it is now."""
        try:
            os.write(self._wake_write, b"w")
        except OSError as failure:
            if failure.errno != errno.EAGAIN:
                raise
        self.flush()

    def _lose(self, here):
        # type: (terminal.Terminal) -> None
        """A terminal has ended: wait for another one, where there is a door and time for it."""
        if here is self.terminal and (self.door is None or not self.config["grace"]):
            self.end(orderly=False)
        # Its output as well: where that is a pipe of its own, the controller learns by it.
        here.retire()
        here.close_input()
        # The poller has to leave it out.
        self._read_from = None

    # -- reading --------------------------------------------------------------------------------------------------

    def _wait_and_read(self):
        # type: () -> None
        if self._read_from is not self.terminal:
            self._turn_to(self.terminal)
        here, poller = self._read_from, self._poller
        if self.session.heard:
            happened = world.wait(poller, None)
        else:
            # The greeting goes out without a number, so nobody asks for it again when noise has hit it.
            happened = world.wait(poller, GREETING_INTERVAL_MS)
            if not happened:
                self._greet()
        for descriptor, _ in happened:
            if descriptor == self._wake_read:
                os.read(self._wake_read, 64)
            elif here is not None and here is self.terminal:
                self._read(here)

    def _turn_to(self, here):
        # type: (terminal.Terminal) -> None
        """Read from another terminal from now on, or from none when it is lost."""
        before, self._read_from = self._read_from, here
        if before is not None and before is not here:
            # Only now, for two readers of one terminal would wait for each other's bytes.
            if before.parked and self.door is not None:
                self.door.watch(before)
            else:
                before.close_input()
        self._poller = select.poll()
        self._poller.register(self._wake_read, select.POLLIN)
        if not here.lost:
            self._poller.register(here.tty_in, select.POLLIN)

    def _read(self, here):
        # type: (terminal.Terminal) -> None
        try:
            data = os.read(here.tty_in, self._read_size)
        except OSError as failure:
            if failure.errno in (errno.EINTR, errno.EAGAIN):
                return
            data = b""
        if not data:
            self._lose(here)
            return
        self._reads += 1
        # More only behind a full read, since room for it costs a small one time.
        self._read_size = BULK_READ_SIZE if len(data) >= READ_SIZE else READ_SIZE
        with self._lock:
            if here is not self.terminal:
                # The controller may be on its way back there already.
                here.unread = data
                return
            try:
                if self.session.interrupted:
                    self._mend()
                self.session.take(here.decode(data))
                turn, self.session.turn = self.session.turn, None
            except ProtocolError:
                # Nothing that damage can explain: who speaks there is not our controller.
                self.door = None
                turn = None
            except BaseException:
                self.session.interrupted = True
                raise
            else:
                if turn is None:
                    return
        if turn is None:
            self.end(orderly=False)
        elif self.door is not None:
            self.door.adopt(here, *turn)

    def _mend(self):
        # type: () -> None
        """A signal handler of user code has cut something short in the session. Under the lock."""
        self.session.recover()
        self.session.ping(0)

    # -- messages --------------------------------------------------------------------------------------------------

    def _run_call(self, number, body):
        # type: (int, bytes) -> None
        self.running[number] = get_ident()
        try:
            # Only now, for who cancels it meanwhile finds it here or there.
            if self._cancelled and number in self._cancelled:
                answer = messages.pack(messages.CANCELLED, number)
            else:
                answer = self.calls.run(number, body)
            self._call_is_over(number)
        except calls.Cancelled:
            # It struck when the call was just done.
            answer = messages.pack(messages.CANCELLED, number)
            self._call_is_over(number)
        if os.getpid() != self.pid:
            # User code forked and its child came back here: it must not answer in our name.
            world.flush_standard_streams()
            os._exit(0)
        self._answer(number, answer)

    def _call_is_over(self, number):
        # type: (int) -> None
        self.running.pop(number, None)
        if self.canceller is not None:
            self.canceller.settle(number)

    def _answer(self, number, answer):
        # type: (int, bytes) -> None
        # Where more has come, the answers go out together.
        if not self.session.delivered and self._answer_at_once(answer):
            return
        if self.output is not None:
            self.output.drain()
        try:
            self.post(answer)
        except NotTransferable as refusal:
            self.post(messages.pack(messages.REFUSED, number, values.encode(str(refusal))))

    def _answer_at_once(self, answer):
        # type: (bytes) -> bool
        """Write a small answer when nobody writes, no print has to go before it and there is room; whether it went."""
        here, output, session = self.terminal, self.output, self.session
        if output is None or len(answer) > terminal.ANSWER or not here.lock_for_writing(False):
            return False
        try:
            if not here.is_quiet(output):
                return False
            with self._lock:
                if here is not self.terminal or session.interrupted:
                    return False
                try:
                    frame = session.at_once(answer)
                except BaseException:
                    session.interrupted = True
                    raise
            if frame is None:
                return False
            here.write(frame)
        finally:
            here.unlock()
        if here.flush_again:
            self.flush()
        return True

    def _cancel(self, number, _body):
        # type: (int, bytes) -> None
        # Calls begin as soon as they arrive: only a large one, which this message has overtaken, can be dropped.
        self.drop(number)

    def drop(self, number):
        # type: (int) -> None
        """Do not begin a call that has not come yet."""
        self._cancelled.append(number)

    def _release(self, _number, body):
        # type: (int, bytes) -> None
        self.calls.release(values.decode(body))

    def _load(self, number, body):
        # type: (int, bytes) -> None
        try:
            for name, source in values.decode(body):
                if name not in self._pieces:
                    sys.modules["_crl"].__dict__["load"](str(name), str(source)).install(self)
                    self._pieces.add(name)
        except BaseException:  # noqa: BLE001 - a module that a slim Python lacks, above all
            self.post(messages.pack(messages.ERROR, number, calls.describe_error()))
        else:
            self.post(messages.pack(messages.RESULT, number, values.encode(None)))

    def _close(self, _number, _body):
        # type: (int, bytes) -> None
        self.terminal.begin_to_swallow()
        self.end(orderly=True)

    # -- writing ---------------------------------------------------------------------------------------------------

    def post(self, message, order=None):
        # type: (bytes, int | None) -> None
        """Queue a message; the thread with the turn writes it when no more input waits."""
        with self._lock:
            if self.session.interrupted:
                self._mend()
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
        """Write what may be written; where another thread is at it, it takes ours along.

        Nobody blocks in it: what the terminal may not take at once is left to a thread of the terminal's own, which may
        hang for ever when the terminal is dead, and holds up nothing but itself.
        """
        if os.getpid() != self.pid:
            os._exit(0)
        while True:
            here = self.terminal
            here.flush_again = True
            if not here.lock_for_writing(False):
                return
            try:
                while here.flush_again and here.waiting is None:
                    here.flush_again = False
                    self._write_ready(here)
            finally:
                # As soon as the lock is free, another thread may leave frames; it goes along with ours.
                left = here.waiting is not None
                if left:
                    self._wake_writer(here)
                else:
                    here.unlock()
            if left or (not here.flush_again and here is self.terminal):
                return

    def _write_ready(self, here, may_block=False):
        # type: (terminal.Terminal, bool) -> None
        """Write what is ready now; who posts something later flushes again."""
        with self._lock:
            if here is not self.terminal:
                return
            try:
                if self.session.interrupted:
                    self._mend()
                ready = self.session.outgoing()
            except BaseException:
                self.session.interrupted = True
                raise
        if not may_block:
            here.waiting = here.write_some(ready) or None
            return
        for frame in ready:
            if not here.write(frame):
                return

    def _wake_writer(self, here):
        # type: (terminal.Terminal) -> None
        if not here.has_writer:
            try:
                start_new_thread(self._write_for, (here,))
            except error:
                # No thread can be had now: then this one may hang as well as that one.
                self._write_waiting(here)
                return
            here.has_writer = True
        here.wake_writer.release()

    def _write_for(self, here):
        # type: (terminal.Terminal) -> None
        """Write what may block, for one terminal, as long as it is the one in use."""
        while True:
            here.wake_writer.acquire()
            if here.waiting is None:
                return
            self._write_waiting(here)

    def _write_waiting(self, here):
        # type: (terminal.Terminal) -> None
        """Write the frames that came with the lock, and all that follows them; then let the lock go."""
        try:
            for frame in here.waiting or ():
                if not here.write(frame):
                    break
            self._write_ready(here, may_block=True)
        finally:
            here.waiting = None
            here.unlock()
        # For what came when we had just looked.
        self.flush()


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
        first = terminal.Terminal(tty_in, tty_out, life, config["mark"], config["armour"])
        program = Program(first, config)
        sys.modules["_crl"].__dict__["program"] = program
        program.output = world.Output(program, sources)
        start_new_thread(program.output.run, ())
        program.serve(path)
    except BaseException:  # noqa: BLE001 - why the program cannot start must be seen where somebody looks
        os.dup2(tty_out, 2)
        world.complain()
        os._exit(1)
