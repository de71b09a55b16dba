"""The link: one connection to one Python on one target, and everything that can be asked over it.

It is started on a lane that the shells hand over, and gives it back in order when it closes. Many threads may use it at
once; every call is on its own. It promises that nothing the target sends is executed here, that a lost link fails every
operation under way with the same clear reason, and that closing leaves nothing on the target but what was detached.
"""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

from crl.deadlines import Deadline
from crl.errors import UsageError
from crl.link._driver import driver
from crl.link._engine import HEARTBEAT, Engine
from crl.link._output import OutputLog
from crl.link._resume import Recipe, Resumer
from crl.link._services import OUTPUT_PATIENCE, Services
from crl.link._underway import UnderWay
from crl.link._unsure import start_unsure
from crl.link.callbacks import Callbacks
from crl.link.calls import PLAIN_TYPES, Call, DoorCall, Keep, encode_request
from crl.link.errors import ArgumentNotTransferable, LinkError, LinkLost
from crl.link.facts import LinkFacts, Statistics, read_facts
from crl.link.files import Files
from crl.link.lane import Lane
from crl.link.modules import Modules
from crl.link.program import PIECES, piece
from crl.link.startup import Started, start_program
from crl.link.wire import messages, values
from crl.link.wire.errors import NotTransferable, ProtocolError

__all__ = ["Link"]

START_TIMEOUT: Final = 30.0
CLOSE_TIMEOUT: Final = 5.0
SERVICE_TIMEOUT: Final = 60.0
GRACE: Final = 60.0
# What makes the link change lanes: a smaller amount is through before the other lane is there.
BULK: Final = 4 * 1024 * 1024
# So do so many calls within so many seconds: what each gains is then more than the change costs.
MANY: Final = 1000
MANY_SECONDS: Final = 10.0
NEVER: Final = 1 << 62
# Soon after the start, when the first call has its answer.
DOOR_DELAY: Final = 0.03
DOOR_PATIENCE: Final = 0.3
DOOR_PIECE: Final = "remote.door"
_Call = TypeVar("_Call", bound=Call)


class Link(Services, UnderWay):
    """A running link; make one with `Link.start`.

    Attributes:
        host: The target's name.
        facts: What the remote program says of itself.
        files: The files of the target.
        statistics: Counters.
        why_not_resumable: Why the link would be lost with its terminal; None when it would be resumed.
    """

    def __init__(
        self, lane: Lane, started: Started, facts: LinkFacts, recipe: Recipe, *, lane_change: bool = True
    ) -> None:
        UnderWay.__init__(self)
        self.host = lane.host
        self.facts = facts
        self.statistics = Statistics()
        self.why_not_resumable: str | None = _why_not(lane, recipe) or "it has only just been started"
        self._door_asked = False
        self._takes_plain = facts.python >= (3,)
        self._last_number = 0
        self._handles = itertools.count(1)
        self._prefix = secrets.token_hex(4)
        self._lock = threading.Lock()
        self._calls: dict[int, Call] = {}
        self._loaded: set[str] = set()
        self._loading: dict[str, Call] = {}
        self._load_lock = threading.Lock()
        self.output = OutputLog(lane.host)
        self.files = Files(self)
        self._modules: Modules | None = None
        self._callbacks: Callbacks | None = None
        self._closing = self._given_back = False
        self._resumer = Resumer(lane, recipe, started.session.epoch)
        self._resumer.on_resumed = self._note_resume
        self._resumer.on_changed = self._note_change
        self._bulk = BULK if lane_change else 0
        self._many = MANY
        self._look_at = NEVER
        self._looked = 0.0
        self.engine = Engine(
            started.channel,
            started.session,
            lane.host,
            started.end_mark,
            self._on_message,
            self._on_lost,
            self._on_doubt,
            under=lane.under,
        )
        for message in started.messages:
            self._on_message(message)
        if _why_not(lane, recipe) is None:
            self._door_by = Deadline.after(DOOR_PATIENCE)
            driver.call_later(DOOR_DELAY, self._open_door)

    @classmethod
    def start(
        cls,
        lane: Lane,
        timeout: float = START_TIMEOUT,
        python: str | None = None,
        *,
        grace: float | None = None,
        lane_change: bool = True,
    ) -> Link:
        """Start the remote program on a lane.

        Args:
            lane: A terminal with an idle shell.
            timeout: Seconds for all of it.
            python: Interpreter to use on the target; None tries ``python3``, ``python`` and others.
            grace: Seconds that the link, and all it owns on the target, outlives its terminal; 0 means that both end
                together. None means 60.
            lane_change: Whether bulk, or a thousand calls in a row, make the link go over to a channel without a
                terminal, where the lane has one.

        Raises:
            PythonNotFound: There is none.
            PythonTooOld: It is older than 2.7 or 3.6.
            LinkStartError: It did not start.
        """
        if lane.kind.unsure:
            return start_unsure(lambda on, seconds: cls.start(on, seconds, python, grace=grace), lane, timeout)
        recipe = Recipe.new(GRACE if grace is None else grace)
        config: dict[str, object] = {"heartbeat": HEARTBEAT, **recipe.plain()}
        started = start_program(lane, config, python, Deadline.after(timeout))
        facts = read_facts(started.hello, lane.host)
        return cls(lane, started, facts, recipe.found_with(python, facts.executable), lane_change=lane_change)

    # -- resume ----------------------------------------------------------------------------------------------------

    @property
    def resumable(self) -> bool:
        """Whether the link survives the end of its terminal; see `why_not_resumable`."""
        return self.why_not_resumable is None

    def _open_door(self) -> float | None:
        """Have the remote program listen for other terminals; runs in the I/O thread, which waits for nothing."""
        if self._calls and not self._door_by.expired:
            # The first answer shall not stand behind it.
            return DOOR_DELAY
        if self.engine.lost is None and not self._closing:
            # Before, for another thread may have the answer at once.
            self._door_asked = True
            with suppress(LinkError):  # lost meanwhile
                self._submit_as(DoorCall, messages.LOAD, values.encode([piece(DOOR_PIECE)]))
        return None

    def door_opened(self, refusal: str | None) -> None:
        """The answer of the target; called by the reading thread."""
        self.why_not_resumable = refusal
        self._door_asked = False
        if refusal is None:
            self._watch_bulk()

    # -- lane change -----------------------------------------------------------------------------------------------

    @property
    def why_no_lane_change(self) -> str | None:
        """Why the link does not, or did not, go over to a channel without a terminal; None while it may."""
        if not self._bulk:
            return "it is switched off"
        if self._resumer.lane.beside is None or self._resumer.lane.kind.armour:
            return "there is no other channel of its connection"
        return self.why_not_resumable or self._resumer.why_not_beside

    @property
    def beside(self) -> bool:
        """Whether the link is on a channel beside its terminal now."""
        return self._resumer.away

    def _watch_bulk(self) -> None:
        if self.why_no_lane_change is None:
            self.engine.bulk.start(self._bulk, self._change_lane)
            self._looked, self._look_at = time.monotonic(), self._last_number + self._many

    def _look_at_calls(self, number: int) -> None:
        """So many calls were made that a channel without a terminal pays, if they were made in a short time."""
        now = time.monotonic()
        often = now - self._looked < MANY_SECONDS
        self._looked, self._look_at = now, number + self._many
        if often and self.why_no_lane_change is None:
            self._change_lane()

    def _change_lane(self) -> None:
        """In a thread that reads or writes."""
        if not self._closing and not self.beside and not self._resumer.change(self.engine):
            self._watch_bulk()

    def expect_much(self) -> None:
        """Much is about to be asked or moved: go over to a channel without a terminal now, where that may be done."""
        if self.why_no_lane_change is None:
            self._change_lane()

    def _note_change(self) -> None:
        self.statistics.lane_changes += 1
        # Where lanes beside do not last, bulk stays on the terminal more and more.
        self._bulk *= 4
        self._many *= 4

    def _on_doubt(self, reason: LinkLost) -> bool:
        """The terminal has ended or is silent; whether another one is being opened."""
        if self._closing:
            return False
        # While the answer about the door is on its way it is worth a try.
        if not self.resumable and not self._door_asked:
            reason.advice = reason.advice or f"the link could not be resumed: {self.why_not_resumable}"
            return False
        return self._resumer.start(self.engine, reason)

    def _note_resume(self, pause: float) -> None:
        self.statistics.resumed += 1
        self.statistics.longest_pause = max(self.statistics.longest_pause, pause)
        self._watch_bulk()

    # -- calls -----------------------------------------------------------------------------------------------------

    def submit_evaluate(self, source: str, *, keep: Keep | None = None) -> Call:
        """Have an expression evaluated, or statements executed, without waiting for the answer."""
        return self._submit(messages.CALL, self._encoded((), messages.EVALUATE, source, keep=keep))

    def submit_invoke(
        self, function: str, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None, *, keep: Keep | None = None
    ) -> Call:
        """Have a function called, without waiting for the answer.

        Args:
            function: An expression on the target.
            args: Arguments; an `Expression` among them is evaluated there.
            kwargs: Keyword arguments.
            keep: What happens to the result; None brings its value back.
        """
        args = tuple(args)
        named = dict(kwargs) if kwargs else None
        plain = (kwargs,) if named else args
        return self._submit(messages.CALL, self._encoded(plain, messages.INVOKE, function, args, named, keep=keep))

    def submit_step(self, expression: str, step: str, args: Sequence[Any] = (), *, keep: Keep | None = None) -> Call:
        """Have one operator applied to an object of the target, without waiting for the answer.

        Args:
            expression: The object.
            step: Name of the operator: ``getattr``, ``call``, ``getitem``, ``len``, ``add`` and so on
            args: Its further operands.
            keep: What happens to the result; None brings its value back.
        """
        args = tuple(args)
        return self._submit(messages.CALL, self._encoded(args, messages.STEP, expression, step, args, keep=keep))

    def _encoded(self, values: Sequence[Any], operation: int, *parts: Any, keep: Keep | None) -> bytes:
        plain = self._takes_plain and PLAIN_TYPES.issuperset(map(type, values))
        try:
            return encode_request(operation, *parts, keep=keep, plain=plain)
        except ArgumentNotTransferable as error:
            error.host = self.host
            raise

    def evaluate(self, source: str, *, timeout: float | None = SERVICE_TIMEOUT) -> Any:
        """The value of an expression on the target; None for statements, which are executed."""
        return self.submit_evaluate(source).result(timeout)

    def invoke(self, function: str, *args: Any, timeout: float | None = SERVICE_TIMEOUT, **kwargs: Any) -> Any:
        """The value of a function call on the target."""
        return self.submit_invoke(function, args, kwargs).result(timeout)

    def new_handle(self) -> str:
        """A fresh expression to keep an object under; see `Keep`."""
        return f"_PROXY_CONTAINER['handle_{self._prefix}{next(self._handles):x}']"

    def release(self, handles: Sequence[str]) -> None:
        """Let the target forget kept objects, without waiting."""
        self.send(messages.pack(messages.RELEASE, 0, values.encode(list(handles))))

    def service(self, name: str, *args: Any, timeout: float | None = SERVICE_TIMEOUT) -> Any:
        """Ask a service of the remote program; its part of the program is sent on first use."""
        deadline = Deadline.after(timeout)
        return self.submit_service(name, *args, load_timeout=timeout).result(deadline.remaining())

    def submit_service(self, name: str, *args: Any, load_timeout: float | None = SERVICE_TIMEOUT) -> Call:
        """Ask a service of the remote program without waiting for the answer; only for its part of the program."""
        self.load(name.partition(".")[0], load_timeout)
        return self._submit(messages.CALL, encode_request(messages.SERVICE, name, args, keep=None))

    def submit_watched(self, make: Callable[[Link, int], _Call], name: str, *args: Any) -> _Call:
        """Ask a service whose answer is looked at when it arrives: `make` makes the call."""
        return self._submit_as(make, messages.CALL, encode_request(messages.SERVICE, name, args, keep=None))

    def abandon(self, call: Call) -> None:
        """Drop a call that nobody waits for."""
        known = self._calls.pop(call.number, None)
        if known is not None:
            call.answer(UsageError("this call was abandoned", host=self.host))
            with suppress(LinkError):  # a lost link runs nothing any more
                self.send(messages.pack(messages.CANCEL, call.number))

    @property
    def modules(self) -> Modules:
        """Sends modules of this end; its part of the program goes along with the first use."""
        self.load("imports")
        with self._lock:
            self._modules = self._modules or Modules(self)
            return self._modules

    def has_sent(self, module: str) -> bool:
        """Whether the target has a module of that name from this end."""
        return self._modules is not None and self._modules.has_sent(module)

    @property
    def callbacks(self) -> Callbacks:
        """Functions of this end that are passed; its part of the program goes along with the first use."""
        self.load("callbacks")
        with self._lock:
            self._callbacks = self._callbacks or Callbacks(self)
            return self._callbacks

    # -- for the parts of the link ---------------------------------------------------------------------------------

    def send(self, message: bytes, order: int | None = None) -> None:
        """Send one message; those of one order (the number of a stream) arrive in order and give way to calls."""
        self.engine.send(message, order)

    @property
    def delay(self) -> float | None:
        """Seconds that the way to the target and back takes; None while that is not known."""
        return self.engine.session.sender.delay

    def grant(self, number: int, limit: int) -> None:
        """Tell the target how many bytes it may send in all on a stream."""
        with suppress(LinkError):  # a lost link needs no credit
            self.send(messages.pack(messages.CREDIT_TO, number, messages.CREDIT.pack(limit)))

    def _submit(self, kind: int, body: bytes) -> Call:
        return self._submit_as(Call, kind, body)

    def _submit_as(self, make: Callable[[Link, int], _Call], kind: int, body: bytes) -> _Call:
        with self._lock:
            number = self._last_number = self._last_number + 1
            self.statistics.requests += kind == messages.CALL
        call = self._calls[number] = make(self, number)
        try:
            self.engine.send(messages.pack(kind, number, body))
        except NotTransferable as error:
            self._calls.pop(number, None)
            raise UsageError(
                str(error), host=self.host, doing="calling the target", advice="send it in pieces, or as a file"
            ) from None
        except BaseException:
            self._calls.pop(number, None)
            raise
        if number >= self._look_at:
            self._look_at_calls(number)
        return call

    def load(self, service: str, timeout: float | None = SERVICE_TIMEOUT) -> None:
        """Send the pieces of the program that a service needs, once and in one message; each needs those before it."""
        if self._loaded.issuperset(PIECES[service]):
            return
        deadline = Deadline.after(timeout)
        while under_way := self._load_rest(PIECES[service]):
            for call in under_way:
                call.result(deadline.remaining())
        # Who has no time to wait for a piece leaves it under way: it is not sent twice.
        for name in PIECES[service]:
            self._loading[name].result(deadline.remaining())
        self._loaded.update(PIECES[service])

    def _load_rest(self, pieces: Sequence[str]) -> list[Call]:
        """Send those pieces that were not sent yet; where some need others that are under way, give those instead."""
        with self._load_lock:
            names = [name for name in pieces if name not in self._loading]
            sent = [self._loading[name] for name in pieces if name in self._loading]
            # Two requests run side by side there, and the second one must not look for what the first is making.
            under_way = [call for call in sent if not call.done]
            if names and not under_way:
                call = self._submit(messages.LOAD, values.encode([piece(name) for name in names]))
                self._loading.update(dict.fromkeys(names, call))
            return under_way if names else []

    # -- what the target says; in the reading thread ---------------------------------------------------------------

    def _on_message(self, message: bytes) -> None:
        """Hand one message to whom it concerns; harmless when it is repeated after an interruption."""
        try:
            kind, number, body = messages.unpack(message)
        except ProtocolError as error:
            self.engine.violated(str(error))
            return
        if kind in messages.ANSWERS and number <= self._last_number:
            call = self._calls.get(number)
            if call is not None:
                call.answer((kind, body))
                # Only now: were it taken out first, an interruption between the two would lose the answer.
                self._calls.pop(number, None)
        elif kind == messages.OUTPUT and number in (1, 2):
            self.output.take(number, body)
        elif kind == messages.WANT and self._modules is not None:
            if not self._modules.answer(number, body):
                self.engine.violated("the target asks for more code than was offered to it")
        elif kind in messages.ABOUT_FUNCTIONS and self._callbacks is not None:
            if (wrong := self._callbacks.take(kind, number, body)) is not None:
                self.engine.violated(wrong)
        elif number > self._last_number:
            self.engine.violated(f"a message of kind {kind} with number {number}, which was never used")
        elif not self._on_stream_message(kind, number, message, body):
            self.engine.violated(f"a message of kind {kind} and {len(message)} bytes that the protocol forbids")

    def _on_lost(self, reason: LinkError) -> None:
        self._resumer.look_away()
        with self._lock:
            calls, self._calls = self._calls, {}
            open_tunnels, running, streams = self._forget_all()
        for tunnel in open_tunnels:
            tunnel.close(wait=False)
        for call in calls.values():
            call.answer(reason)
        for process in running:
            process.lost(reason)
        for stream in streams:
            stream.end(reason)

    # -- life ------------------------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether the link is not known to be lost or closed."""
        return self.engine.lost is None

    def close(self, timeout: float = CLOSE_TIMEOUT) -> bool:
        """End the remote program and give the terminal back to the shell; again is harmless.

        Returns:
            True when the shell has its terminal again, also after the remote program was killed; False when the link
            was lost with the terminal, or the program did not end in time.
        """
        with self._lock:
            first, self._closing = not self._closing, True
        if self.engine.foreign:
            return False
        deadline = Deadline.after(timeout)
        if first:
            # A terminal that the program has taken already has to become ours first.
            self._resumer.stop(deadline)
            # The shell gets its terminal back on the terminal.
            self._resumer.go_home(self.engine)
            self.engine.closing = True
        if first and self.engine.lost is None:
            self._close_tunnels()
            with suppress(LinkError):  # lost meanwhile: then there is nobody to tell
                self.send(messages.pack(messages.CLOSE, 0))
        self.engine.close(deadline)
        at_home = not self._resumer.away
        self._resumer.let_go()
        self.output.close(OUTPUT_PATIENCE)
        return at_home and self._give_back()

    def _give_back(self) -> bool:
        """Hand the terminal back to the shell, once, where the remote program left it."""
        with self._lock:
            after = None if self._given_back else self.engine.after
            if after is None:
                return False
            self._given_back = True
        self._resumer.lane.give_back(after)
        return True

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        version = ".".join(map(str, self.facts.python))
        state = "closed" if self._closing else "lost" if not self.alive else "down" if self.engine.down else "alive"
        return f"<Link {self.host} python {version} {state}>"


def _why_not(lane: Lane, recipe: Recipe) -> str | None:
    """What stands against a resume from the beginning."""
    if recipe.grace <= 0:
        return "its grace is 0"
    if lane.reopen is None:
        return "its terminal was opened in a way that cannot be repeated"
    return None
