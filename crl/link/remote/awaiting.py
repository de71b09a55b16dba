"""Awaits what user code on the target has made, on one event loop that runs in a thread of its own.

All awaits of a link share that loop, so that what belongs to it (connections, locks) lives from one to the next; what
is bound to another loop that runs is awaited there. It promises that a cancelled await cancels the task.
"""
# ruff: noqa: F401 - names in type comments look unused.

import asyncio
import concurrent.futures
import threading

MYPY = False
if MYPY:
    from typing import Any


class Awaiting(object):
    """Runs awaitables to their ends."""

    def __init__(self):
        # type: () -> None
        self._lock = threading.Lock()
        self._loop = None  # type: Any
        self._tasks = {}  # type: dict[int, tuple[Any, Any]]
        self._stopped = set()  # type: set[int]

    def run(self, key, what, thing, args):
        # type: (int, str, Any, tuple[Any, ...]) -> Any
        """The result of an awaitable, or of an asynchronous method of a thing.

        Args:
            key: A number of the controller's, to stop it by.
            what: Name of the method; nothing for the thing itself.
            thing: The awaitable, or what has the method.
            args: The method's arguments.
        """
        loop = self._loop_of(thing)
        done = concurrent.futures.Future()  # type: Any

        def begin():
            # type: () -> None
            try:
                awaitable = getattr(type(thing), what)(thing, *args) if what else thing
                task = asyncio.ensure_future(awaitable, loop=loop)
            except BaseException as error:  # noqa: BLE001 - user code may raise anything: it goes to who waits
                done.set_exception(error)
                return
            self._tasks[key] = (loop, task)
            task.add_done_callback(lambda task: _hand_over(task, done))
            if key in self._stopped:
                task.cancel()

        loop.call_soon_threadsafe(begin)
        try:
            return done.result()
        finally:
            self._tasks.pop(key, None)
            self._stopped.discard(key)

    def leave(self, key, thing, error):
        # type: (int, Any, tuple[str | None, str]) -> Any
        """`__aexit__`, with the controller's exception as class name and text."""
        import builtins

        kind, text = error
        cls = None if kind is None else getattr(builtins, kind, RuntimeError)
        return self.run(key, "__aexit__", thing, (cls, None if cls is None else cls(text), None))

    def stop(self, key):
        # type: (int) -> None
        """Cancel what was begun, or will be, under that number."""
        self._stopped.add(key)
        loop, task = self._tasks.get(key, (None, None))
        if loop is not None:
            loop.call_soon_threadsafe(task.cancel)

    def _loop_of(self, thing):
        # type: (Any) -> Any
        """The loop that a future is bound to, when it runs; else our own."""
        bound = getattr(thing, "get_loop", None)
        if isinstance(thing, asyncio.Future) and bound is not None and bound().is_running():
            return bound()
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                thread = threading.Thread(target=self._loop.run_forever, name="crl-await")
                thread.daemon = True
                thread.start()
            return self._loop


def _hand_over(task, done):
    # type: (Any, Any) -> None
    if task.cancelled():
        done.cancel()
        done.set_running_or_notify_cancel()
    elif task.exception() is not None:
        done.set_exception(task.exception())
    else:
        done.set_result(task.result())


AWAITING = None  # type: Any


def install(_program):
    # type: (Any) -> None
    """Called when this piece arrives."""
    global AWAITING
    AWAITING = Awaiting()
