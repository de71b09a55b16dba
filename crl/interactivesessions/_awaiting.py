"""Waiting for calls in asyncio: no thread is held while a call is under way.

It knows calls only as something that says when it is over. It promises that a task which is cancelled stops its call,
and has waited for that, as far as it can be stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol, TypeVar

__all__ = ["answered", "begun", "in_thread"]

T = TypeVar("T")


class Watched(Protocol):
    """Something that tells when it is over."""

    def watch(self, on_done: Callable[[], object]) -> None:
        """Have `on_done` called, in any thread, perhaps twice."""


async def in_thread(function: Callable[[], T]) -> T:
    """What a function returns that may wait for a moment."""
    return await asyncio.get_running_loop().run_in_executor(None, function)


async def begun(start: Callable[[], T], stop: Callable[[], object]) -> T:
    """What `start` returns, in a thread; when the task is cancelled meanwhile, what it has started is stopped."""
    # Taken by who is first, the end of the start or the end of the waiting; the other one stops.
    wanted = [True]

    def start_or_stop() -> T:
        started = start()
        if not _is_first(wanted):
            stop()
        return started

    try:
        return await in_thread(start_or_stop)
    except asyncio.CancelledError:
        if not _is_first(wanted):
            await asyncio.shield(in_thread(stop))
        raise


def _is_first(taken: list[bool]) -> bool:
    try:
        return taken.pop()
    except IndexError:
        return False


async def answered(call: Watched, timeout: float | None, stop: Callable[[], object]) -> bool:
    """Wait for the end of a call.

    Args:
        call: The call.
        timeout: Seconds; None waits for ever.
        stop: Stops the call on the target, when the task that waits is cancelled.

    Returns:
        False when that takes longer.
    """
    loop = asyncio.get_running_loop()
    over = asyncio.Event()

    def tell() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(over.set)

    call.watch(tell)
    try:
        await asyncio.wait_for(over.wait(), timeout)
    except asyncio.CancelledError:
        await asyncio.shield(in_thread(stop))
        raise
    except TimeoutError:
        return False
    return True
