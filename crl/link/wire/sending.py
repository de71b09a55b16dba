"""The sending half of a session: messages are cut into numbered frames, which are kept until the peer has them.

A small message never waits behind more than one frame of a large one, and no more is under way than the measured delay
needs. It knows no terminal and no thread; any method may be cut short by an exception anywhere, and after `recover`
every message that was posted still goes out exactly once.
"""
# ruff: noqa: F401 - names in type comments look unused.

from crl.link.wire import frames
from crl.link.wire.compat import deque
from crl.link.wire.errors import NotTransferable, ProtocolError

MYPY = False
if MYPY:
    from collections.abc import Callable

FRAME_LIMIT = 32 * 1024
# On a pair of pipes, where no terminal cuts them into pieces.
WIDE_FRAME = 128 * 1024
# In armour: lines that need it may damage bytes too, and a frame is repeated as a whole.
ARMOURED_FRAME = 8 * 1024
LEAST_FRAME = 512
# The largest frame that need not stand in a line: what is larger is bulk, and goes as that.
AT_ONCE = 2048
WINDOW = 256 * 1024
LEAST_WINDOW = 64 * 1024
SLOW_WINDOW = 4 * 1024
MOST_WINDOW = 8 * 1024 * 1024
# How long a call may stand behind bulk in the window, beside the time that the way itself takes.
QUEUE_SECONDS = 0.003
RATES_KEPT = 8
NEWEST_RATES = 3
# From so many seconds there and back on a way counts as a long one.
LONG_WAY = 0.01
# A long way is full when several answers take so many times as long as the way itself, a lost packet's repetition
# included, and the rate grows no more by such a factor.
FULL_TRIPS = 2.5
GROWTH = 1.25
FULL_SIGNS = 2
# No lost packet takes so many times as long: what holds answers up is what was sent before.
OVERFULL_TRIPS = 5
# As much as one stream may have under way is tried out; on a terminal less, since all is sent again when it is left.
MOST_TRIED = 4 * 1024 * 1024
MOST_TRIED_BEFORE = 1024 * 1024
MAX_MESSAGE = 256 * 1024 * 1024
# How many messages are cut up at the same time; the peer accepts more, so that the two may differ by a version.
MESSAGES_OPEN = 64


class Entry(object):
    """A message on its way out in pieces, and how far it is."""

    __slots__ = ("number", "message", "offset", "order")

    def __init__(self, number, message, order):
        # type: (int, bytes, int | None) -> None
        self.number = number
        self.message = message
        self.offset = 0
        self.order = order


class Sender(object):
    """Queues messages and gives their frames.

    Args:
        window: How many bytes may be under way without acknowledgement, to begin with.
        frame_limit: The largest piece of a message in one frame, in bytes.
        max_message: The largest message, in bytes.
        clock: Seconds, for measuring the way; None keeps the window as it is.

    Attributes:
        window: The window now.
        frame_size: The largest piece now: a slow way gets small ones, so that a call does not wait long for one.
        frame_limit: The largest that it may become on this lane.
        next_seq: The number of the next frame.
        repeated: How many frames were sent again because the peer asked.
        delay: The shortest time in which an acknowledgement came back, in seconds; None before the first.
        repeats: The frames that the peer waits for because it has missed them.
    """

    def __init__(self, window, frame_limit, max_message, clock=None):
        # type: (int, int, int, Callable[[], float] | None) -> None
        self.frame_limit = self._usual_limit = frame_limit
        self._bulk_flag = 0
        self._set_window(window)
        self.max_message = max_message
        self.next_seq = 1
        self.repeated = 0
        self.delay = None  # type: float | None
        self._clock = clock
        self._next_message = 1
        # What goes as one frame: its number and itself.
        self._small = deque()  # type: deque[tuple[int, bytes]]
        self._bulk = {}  # type: dict[int, deque[Entry]]
        self._turns = deque()  # type: deque[int]
        self._waiting = deque()  # type: deque[int]
        self._begun_bytes = 0
        self._acked = 1
        self._unacked = {}  # type: dict[int, bytes]
        self._unacked_bytes = 0
        self.repeats = {}  # type: dict[int, bytes]
        # What is being framed: its number and, for after an interruption, where it stands and how far it then is.
        self._framing = None  # type: tuple[int, Entry | tuple[int, bytes], int] | None
        self._since_asked = 0
        self._asked = None  # type: tuple[int, float, int] | None
        self._acked_bytes = 0
        self._was_full = False
        self._rates = deque(maxlen=RATES_KEPT)  # type: deque[float]
        # A lane that may be slow is not tried out.
        self._signs_needed = self._signs = FULL_SIGNS if window >= WINDOW else 0
        self._best = 0.0

    # -- messages --------------------------------------------------------------------------------------------------

    def post(self, message, order=None):
        # type: (bytes, int | None) -> None
        """Queue a message; `take_frames` gives its frames when the window has room.

        Args:
            message: The message.
            order: Messages of the same order arrive in the order they were posted and give way to those of none.
                Without one, small messages keep their order and a large one lets others pass.

        Raises:
            NotTransferable: It is larger than the peer takes.
        """
        size = len(message)
        if size > self.max_message:
            raise NotTransferable("%d bytes in one message; the limit is %d" % (size, self.max_message))
        number = self._next_message
        self._next_message = (number % 0xFFFFFFFF) + 1
        if order is None and size <= self.frame_size:
            self._small.append((number, message))
            return
        entry = Entry(number, message, order)
        key = _key(entry)
        queue = self._bulk.get(key)
        if queue is not None:
            queue.append(entry)
            return
        # One operation makes it known; a key that stands in no line yet is found by `recover`.
        self._bulk[key] = deque((entry,))
        self._waiting.append(key)

    @property
    def backlog(self):
        # type: () -> int
        """How many bytes of messages wait for room in the window."""
        bulk = sum(len(e.message) - e.offset for queue in self._bulk.values() for e in queue)
        return bulk + sum(len(message) for _, message in self._small)

    def go_beside(self, beside):
        # type: (bool) -> None
        """The lane is a pair of pipes of ssh's from now on, or again what it was in the beginning.

        A pair of pipes takes larger frames, and ssh vouches for each byte of bulk.
        """
        self.frame_limit = WIDE_FRAME if beside else self._usual_limit
        self._bulk_flag = frames.VOUCHED if beside else 0
        self._set_window(self.window)

    def _set_window(self, window):
        # type: (int) -> None
        self.window = window
        self.frame_size = min(self.frame_limit, max(LEAST_FRAME, window >> 1))

    # -- frames ----------------------------------------------------------------------------------------------------

    @property
    def ready(self):
        # type: () -> bool
        """Whether `take_frames` would give any."""
        if self._small or self._turns or self._waiting:
            if self._unacked_bytes < self.window:
                return True
            self._was_full = True
        return False

    def at_once(self, message, epoch, ack):
        # type: (bytes, int, int) -> bytes | None
        """Number a small message and give its frame, as `post` and `take_frames` would, but in one go.

        Where nothing waits, this keeps every order.

        Returns:
            None, and nothing has changed, when something else is to go first or with it.
        """
        size = frames.HEADER_SIZE + len(message)
        since_asked = self._since_asked + size
        if (
            since_asked >= self.window >> 2
            or size > AT_ONCE
            or size > self.frame_size
            or self._unacked_bytes >= self.window
            or self._small
            or self._turns
            or self._waiting
        ):
            return None
        seq, number = self.next_seq, self._next_message
        frame = frames.encode(frames.DATA, frames.WHOLE, epoch, number, seq, ack, message)
        self._unacked[seq] = frame
        self._next_message = (number % 0xFFFFFFFF) + 1
        # From here on it counts as sent.
        self.next_seq = seq + 1
        self._since_asked = since_asked
        self._unacked_bytes += size
        return frame

    def take_frames(self, epoch, ack, ready):
        # type: (int, int, list[bytes]) -> bool
        """Put the data frames that the window has room for into a list; whether there were any."""
        small = self._small
        before = self.next_seq
        while small or self._turns or self._waiting:
            if self._unacked_bytes >= self.window:
                self._was_full = True
                break
            if small:
                entry = small[0]
                number, message = entry
                ready.append(self._number(entry, number, frames.WHOLE, message, len(message), epoch, ack))
                small.popleft()
            else:
                ready.append(self._piece(epoch, ack))
            self._framing = None
        return self.next_seq != before

    def _piece(self, epoch, ack):
        # type: (int, int) -> bytes
        """The next piece of the bulk whose turn it is; each order has one frame, then the next."""
        if self._waiting:
            self._admit()
        key = self._turns[0]
        queue = self._bulk[key]
        entry = queue[0]
        end = min(len(entry.message), entry.offset + self.frame_size)
        flags = (frames.FIRST if entry.offset == 0 else 0) | (frames.LAST if end == len(entry.message) else 0)
        flags |= self._bulk_flag
        piece = entry.message if flags & frames.WHOLE == frames.WHOLE else entry.message[entry.offset : end]
        frame = self._number(entry, entry.number, flags, piece, end, epoch, ack)
        entry.offset = end
        self._turns.popleft()
        if end < len(entry.message):
            self._turns.append(key)
        else:
            self._begun_bytes -= len(entry.message)
            self._take_off(key, queue)
        return frame

    def _take_off(self, key, queue):
        # type: (int, deque[Entry]) -> None
        """The first message of an order is on its way."""
        queue.popleft()
        if queue:
            self._waiting.append(key)
        else:
            del self._bulk[key]

    def _admit(self):
        # type: () -> None
        """Let large messages begin, as many as the peer keeps unfinished at a time."""
        while self._waiting and len(self._turns) < MESSAGES_OPEN:
            size = len(self._bulk[self._waiting[0]][0].message)
            if self._turns and self._begun_bytes + size > self.max_message:
                return
            self._begun_bytes += size
            self._turns.append(self._waiting.popleft())

    def _number(self, entry, message, flags, piece, end, epoch, ack):
        # type: (Entry | tuple[int, bytes], int, int, bytes, int, int, int) -> bytes
        """Make a frame of a piece of a message, number it and keep it."""
        seq = self.next_seq
        encode, size = frames.encode, frames.HEADER_SIZE + len(piece)
        if flags & frames.VOUCHED:
            encode, size = frames.encode_vouched, size + frames.CHECK_SIZE
        self._since_asked += size
        asks = self._since_asked >= self.window >> 2
        if asks:
            flags |= frames.ASK
            self._since_asked = 0
        frame = encode(frames.DATA, flags, epoch, message, seq, ack, piece)
        self._framing = (seq, entry, end)
        self._unacked[seq] = frame
        # From here on it counts as sent.
        self.next_seq = seq + 1
        self._unacked_bytes += size
        if asks and self._asked is None and self._clock is not None:
            self._was_full = False
            self._asked = (seq, self._clock(), self._acked_bytes)
        return frame

    # -- what the peer says ----------------------------------------------------------------------------------------

    def forget(self, ack):
        # type: (int) -> None
        """The peer has all frames below `ack`."""
        if ack > self.next_seq:
            raise ProtocolError("frame %d was acknowledged, the last one sent is %d" % (ack - 1, self.next_seq - 1))
        seq = self._acked
        if ack <= seq:
            return
        pop = self._unacked.pop
        size = 0
        while seq < ack:
            size += len(pop(seq, b""))
            seq += 1
        self._unacked_bytes -= size
        self._acked_bytes += size
        self._acked = ack
        asked = self._asked
        if asked is not None and ack > asked[0]:
            self._asked = None
            self._measure(*asked)

    def _measure(self, _seq, asked_at, acked_then):
        # type: (int, float, int) -> None
        """Let the window follow the rate and the delay of the way; what was not limited by it says nothing of it."""
        if self._clock is None:
            return
        seconds = max(self._clock() - asked_at, 1e-6)
        self.note_delay(seconds)
        if not self._was_full or self.delay is None:
            return
        self._rates.append((self._acked_bytes - acked_then) / seconds)
        rate = self._rate()
        # What is under way and was not asked about must leave room for a frame that asks, or all stands still.
        usual = WINDOW if self._is_far() else LEAST_WINDOW
        least = max(min(usual, max(SLOW_WINDOW, int(rate / 4))), self._since_asked + 1)
        wanted = max(int(rate * (2 * self.delay + QUEUE_SECONDS)), self._grown(seconds))
        self._set_window(max(least, min(MOST_WINDOW, wanted)))

    def _grown(self, seconds):
        # type: (float) -> int
        """On a long way, twice the window until the way is full: rates alone, of which losses spoil most, find it late.

        Args:
            seconds: What the last answer took.
        """
        if not self._signs or not self._is_far() or self.delay is None:
            return 0
        newest, best = self._rates[-1], self._best
        self._best = max(newest, best)
        most = MOST_TRIED if self._bulk_flag else MOST_TRIED_BEFORE
        if seconds > OVERFULL_TRIPS * self.delay or self.window >= most:
            self._signs = 0
            return 0
        if seconds > FULL_TRIPS * self.delay and newest < GROWTH * best:
            self._signs -= 1
            return self.window if self._signs else 0
        return min(2 * self.window, most)

    def _rate(self):
        # type: () -> float
        """The rate that the way has, of those that were seen."""
        if self._is_far():
            # A lost packet holds up all behind it: only the best says what goes through, or the window shrinks with
            # each loss and never finds back.
            return max(self._rates)
        # The middle one: acknowledgements that come in a heap show a rate that the way does not have.
        newest = sorted(list(self._rates)[-NEWEST_RATES:])
        return newest[len(newest) >> 1]

    def _is_far(self):
        # type: () -> bool
        return self.delay is not None and self.delay >= LONG_WAY

    def note_delay(self, seconds):
        # type: (float) -> None
        """An answer took that long; the shortest time is that of the way itself."""
        self.delay = seconds if self.delay is None else min(self.delay, seconds)

    def repeat(self, seq):
        # type: (int) -> None
        """The peer misses a frame; however often it asks, one answer goes out."""
        frame = self._unacked.get(seq)
        if frame is not None:
            self.repeats[seq] = frame

    def take_repeats(self):
        # type: () -> list[bytes]
        """The frames to send again."""
        repeats, self.repeats = self.repeats, {}
        self.repeated += len(repeats)
        return [repeats[seq] for seq in sorted(repeats)]

    def start_again(self, epoch, ack):
        # type: (int, int) -> None
        """On a new terminal: all that the peer does not have goes out once more, before anything new."""
        self._asked = self.delay = None
        self._rates.clear()
        self._signs, self._best = self._signs_needed, 0.0
        self._since_asked = 0
        repeats = {}
        for seq in sorted(self._unacked):
            repeats[seq] = self._unacked[seq] = frames.readdress(self._unacked[seq], epoch, ack)
        self.repeats = repeats
        self._unacked_bytes = sum(map(len, repeats.values()))

    # -- after an interruption -------------------------------------------------------------------------------------

    def recover(self):
        # type: () -> None
        """Make the state whole again after an exception has cut a method short."""
        framing = self._framing
        if framing is not None:
            seq, entry, end = framing
            if seq < self.next_seq:
                self._finish(entry, end)
            self._framing = None
        # What was kept and did not get its number yet.
        self._unacked.pop(self.next_seq, None)
        for key in [key for key, queue in self._bulk.items() if not queue]:
            del self._bulk[key]
        # Whose message has begun keeps its turn; all others wait again.
        self._turns = deque(key for key, queue in self._bulk.items() if queue[0].offset)
        self._waiting = deque(key for key in self._bulk if key not in self._turns)
        self._begun_bytes = sum(len(self._bulk[key][0].message) for key in self._turns)
        self._unacked_bytes = sum(len(frame) for frame in self._unacked.values())

    def _finish(self, entry, end):
        # type: (Entry | tuple[int, bytes], int) -> None
        """The frame of this piece was numbered: what it came from must not be sent again."""
        if not isinstance(entry, Entry):
            if self._small and self._small[0] is entry:
                self._small.popleft()
            return
        entry.offset = end
        queue = self._bulk.get(_key(entry))
        if queue and queue[0] is entry and end == len(entry.message):
            queue.popleft()


def _key(entry):
    # type: (Entry) -> int
    """The line that a message stands in; one without an order has a line of its own, with a negative number."""
    return -entry.number if entry.order is None else entry.order
