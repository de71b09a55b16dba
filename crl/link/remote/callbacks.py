"""Functions of the controller on the target: each stands for one that was passed as an argument, and calls it there.

A call is a question that the asking thread waits for; the answer is made a value in that thread, never in the one that
reads. The controller hears with a later message which functions nothing here holds any more. It promises that no
question holds up the reading, and that objects which cannot cross stay here under a name.
"""
# ruff: noqa: F401, FBT003 - names in type comments look unused; locks of Python 2 take no keywords.

import os
import sys
import time
import weakref

from crl.link.remote import calls
from crl.link.wire import messages, records, values
from crl.link.wire.compat import allocate_lock, deque, get_ident
from crl.link.wire.errors import NotTransferable

MYPY = False
if MYPY:
    from typing import Any

PY2 = sys.version_info[0] == 2
# Of Python 3: a lock can be waited for with a limit.
LOCKS_WAIT = hasattr(sys, "setswitchinterval")
SLICE = 0.5
SHORT_SLICE = 0.001
READING = "_serve_until_held_up"


class Function(object):
    """Stands for a function of the controller.

    Args:
        owner: Who asks.
        number: Its number there.
        name: What it is called.
    """

    def __init__(self, owner, number, name):
        # type: (Callbacks, int, str) -> None
        self._owner = owner
        self._number = number
        self._passed = 0
        self.__name__ = str(name)

    def __call__(self, *args, **kwargs):
        # type: (*Any, **Any) -> Any
        """Call the function of the controller."""
        return self._owner.ask(self._number, args, kwargs)

    def __repr__(self):
        # type: () -> str
        return "<function %s of the controller>" % self.__name__

    def __del__(self):
        # type: () -> None
        # In any thread at any moment: nothing here takes a lock.
        self._owner.gone.append((self._number, self._passed))


class Question(object):
    """One call of a function of the controller, under way."""

    __slots__ = ("answer", "bell")

    def __init__(self):
        # type: () -> None
        self.answer = b""
        self.bell = allocate_lock()
        self.bell.acquire()

    def is_answered(self):
        # type: () -> bool
        """Wait for a moment, so that a cancelled call can be interrupted."""
        if LOCKS_WAIT:
            return self.bell.acquire(True, SLICE)
        if self.bell.acquire(False):
            return True
        time.sleep(SHORT_SLICE)
        return False


class Callbacks(object):
    """Asks the controller.

    Args:
        program: The remote program.
    """

    def __init__(self, program):
        # type: (Any) -> None
        self._program = program
        self._lock = allocate_lock()
        self._asked = self._kept = 0
        self._waiting = {}  # type: dict[int, Question]
        self._functions = weakref.WeakValueDictionary()  # type: weakref.WeakValueDictionary[int, Function]
        self._classes = {}  # type: dict[tuple[str, str, str], type]
        self.gone = deque()  # type: deque[tuple[int, int]]
        program.handlers[messages.TOLD] = self._take_answer

    def function(self, number, name):
        # type: (int, str) -> Function
        """What stands for a function of the controller: the same object as long as anything here holds it."""
        with self._lock:
            found = self._functions.get(number)
            if found is None:
                found = self._functions[number] = Function(self, number, name)
            found._passed += 1  # noqa: SLF001 - of this module
        self._tell_gone()
        return found

    def _tell_gone(self):
        # type: () -> None
        """Say what nothing here holds any more; it goes along with the next answer."""
        gone = []
        while self.gone:
            gone.append(self.gone.popleft())
        if gone:
            self._program.post(messages.pack(messages.GONE, 0, values.encode(gone)))

    def ask(self, number, args, kwargs):
        # type: (int, tuple[Any, ...], dict[str, Any]) -> Any
        """Call a function of the controller."""
        if os.getpid() != self._program.pid:
            raise RuntimeError("a forked process cannot call functions of the controller")
        if self._would_stop_reading():
            raise RuntimeError("a function of the controller cannot be called here: nothing would read its answer")
        try:
            status, told = self._told(self._described(number, args, kwargs, False))
            if status == "again":
                status, told = self._told(self._described(number, args, kwargs, True))
        except NotTransferable as error:
            raise TypeError("the arguments of a call to the controller cannot cross: %s" % error)
        if status == "value":
            return told
        raise self._error(*told)

    def _would_stop_reading(self):
        # type: () -> bool
        """Whether this thread reads, and is in no call that another one would take the reading over for."""
        if get_ident() in list(self._program.running.values()):
            return False
        frame = sys._getframe()  # type: Any  # noqa: SLF001 - the way to the frames that every Python has
        while frame is not None and frame.f_code.co_name != READING:
            frame = frame.f_back
        return frame is not None

    def _told(self, body):
        # type: (bytes) -> Any
        """Ask, wait and give the answer."""
        question = Question()
        with self._lock:
            if len(self._waiting) >= messages.MOST_ASKED:
                raise RuntimeError("%d calls to the controller are under way already" % messages.MOST_ASKED)
            self._asked += 1
            number = self._asked
            self._waiting[number] = question
        try:
            self._tell_gone()
            self._program.send(messages.pack(messages.ASK, number, body))
            while not question.is_answered():
                pass
        finally:
            self._waiting.pop(number, None)
        return values.decode(question.answer, self._program.calls.resolve)

    def _take_answer(self, number, body):
        # type: (int, bytes) -> None
        """The controller's answer, in the reading thread."""
        question = self._waiting.get(number)
        if question is not None and question.bell.locked():
            question.answer = body
            question.bell.release()

    # -- arguments -------------------------------------------------------------------------------------------------

    def _described(self, number, args, kwargs, plain):
        # type: (int, tuple[Any, ...], dict[str, Any], bool) -> bytes
        """The question; arguments that cannot cross, where `plain` all that the controller may not know, stay here."""
        record_of = records.plain_of if plain else records.plain_of_any
        try:
            return values.encode((number, args, kwargs, {}), record_of)
        except NotTransferable:
            kept = {}  # type: dict[Any, int]
            args = tuple(self._crossing(place, arg, kept, record_of) for place, arg in enumerate(args))
            kwargs = {name: self._crossing(name, arg, kept, record_of) for name, arg in kwargs.items()}
            return values.encode((number, args, kwargs, kept), record_of)

    def _crossing(self, place, arg, kept, record_of):
        # type: (Any, Any, dict[Any, int], Any) -> Any
        try:
            values.encode(arg, record_of)
        except NotTransferable:
            with self._lock:
                self._kept += 1
                kept[place] = self._kept
            self._program.calls.kept["asked_%x" % kept[place]] = arg
            return None
        return arg

    # -- errors ----------------------------------------------------------------------------------------------------

    def _error(self, module, name, base, args, text, trace):
        # type: (str, str, str, tuple[Any, ...], str, str) -> Any
        """What the function raised: of the same builtin class, or of one made here, by its name, below it."""
        cls = self._class(str(module), str(name), str(base))
        try:
            error = cls(*args)
        except Exception:  # noqa: BLE001 - a builtin that wants other arguments; the text counts
            error = RuntimeError("%s: %s" % (name, text))
        error.controller_traceback = trace
        return error

    def _class(self, module, name, base):
        # type: (str, str, str) -> Any
        builtins = sys.modules["__builtin__" if PY2 else "builtins"]
        found = getattr(builtins, base, None)
        below = found if isinstance(found, type) and issubclass(found, Exception) else RuntimeError
        if module == "builtins":
            return below
        key = (module, name, base)
        if key not in self._classes:
            self._classes[key] = type(name, (below,), {"__module__": module, "__qualname__": name})
        return self._classes[key]


CALLBACKS = None  # type: Any


def install(program):
    # type: (Any) -> None
    """Called when this piece arrives."""
    global CALLBACKS
    CALLBACKS = Callbacks(program)
