"""Proxies and handles in asyncio: awaits run beside each other on one loop of the target, and can be cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from crl.interactivesessions.autorunnerterminal import AutoRunnerTerminal
from crl.interactivesessions.remoteproxies import _RecursiveProxy
from crl.interactivesessions.runnerexceptions import InvalidProxySession, RemoteTimeout
from crl.link import CallCancelled
from tests.link.peers import INTERPRETERS, eventually
from tests.terminals.conftest import Make, gate

CODE = """
import asyncio
log, begun = [], []
class Arriving(object):
    def __init__(self): self.count = 0
    def __aiter__(self): return self
    async def __anext__(self):
        self.count += 1
        if self.count > 3: raise StopAsyncIteration
        await asyncio.sleep(0.01)
        return self.count
class Connection(object):
    async def __aenter__(self):
        self.loop = asyncio.get_event_loop()
        log.append('open')
        return self
    async def __aexit__(self, kind, error, trace):
        log.append((kind and kind.__name__, str(error)))
        return kind is KeyError
    async def same_loop(self):
        return self.loop is asyncio.get_event_loop()
async def slow(seconds, result=None):
    begun.append(seconds)
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        log.append('cancelled')
        raise
    return result
async def fail():
    raise FileNotFoundError(2, 'no such thing')
class Own(object):
    def __await__(self): return slow(0.01, 'own').__await__()
"""


@pytest.fixture(autouse=True)
def code(shared: AutoRunnerTerminal) -> None:
    shared.run_python(CODE)


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    before = {thread.name for thread in threading.enumerate()}
    yield
    assert eventually(lambda: {thread.name for thread in threading.enumerate()} <= before | {"crl-io", "crl-output"})


def proxy(shared: AutoRunnerTerminal, name: str) -> _RecursiveProxy:
    return shared.get_recursive_proxy(name)


def connection(shared: AutoRunnerTerminal) -> _RecursiveProxy:
    made = proxy(shared, "Connection")()
    assert isinstance(made, _RecursiveProxy)
    return made


async def of(awaitable: Any) -> Any:
    return await awaitable


async def under_way(terminal: AutoRunnerTerminal, count: int) -> None:
    """Wait until `slow` runs there so often: one that is cancelled before never begins."""
    async with asyncio.timeout(20):
        while terminal.run_python("len(begun)") < count:
            await asyncio.sleep(0.01)


def test_many_awaits_are_under_way_at_once(shared: AutoRunnerTerminal) -> None:
    shared.run_python(
        "here = []\n"
        "async def meet(count):\n"
        "    here.append(1)\n"
        "    while len(here) < count: await asyncio.sleep(0.005)\n"
        "    return len(here)\n"
    )

    async def main() -> list[Any]:
        return await asyncio.gather(*(of(proxy(shared, "meet")(40)) for _ in range(40)))

    # More than any executor has threads: none of them returns before all have come.
    assert asyncio.run(main()) == [40] * 40


def test_results_and_errors(shared: AutoRunnerTerminal) -> None:
    async def main() -> None:
        assert await proxy(shared, "slow")(0, 5) == 5
        kept = await proxy(shared, "slow")(0, proxy(shared, "Connection")())
        assert isinstance(kept, _RecursiveProxy)
        assert await proxy(shared, "Own")() == "own"
        with pytest.raises(FileNotFoundError):
            await proxy(shared, "fail")()
        with pytest.raises(TypeError):
            await proxy(shared, "log")

    asyncio.run(main())


def test_async_with_and_async_for(shared: AutoRunnerTerminal) -> None:
    async def main() -> list[Any]:
        async with connection(shared) as entered:
            assert await entered.same_loop() is True
        with pytest.raises(ConnectionResetError):
            async with connection(shared):
                raise ConnectionResetError("lost")
        async with connection(shared):
            raise KeyError("swallowed")
        return [number async for number in proxy(shared, "Arriving")()]

    assert asyncio.run(main()) == [1, 2, 3]
    assert [one for one in shared.run_python("log") if one != "open"] == [
        (None, "None"),
        ("ConnectionResetError", "lost"),
        ("KeyError", "\"'swallowed'\""),
    ]


def test_a_cancelled_await_cancels_the_task_there(shared: AutoRunnerTerminal) -> None:
    async def expiring() -> None:
        async with asyncio.timeout(None) as limit:
            task = asyncio.ensure_future(of(proxy(shared, "slow")(3600)))
            await under_way(shared, 2)
            limit.reschedule(0)
            await task

    async def main() -> None:
        task = asyncio.ensure_future(of(proxy(shared, "slow")(3600)))
        await under_way(shared, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(TimeoutError):
            await expiring()

    asyncio.run(main())
    assert eventually(lambda: shared.run_python("log") == ["cancelled"] * 2)


def test_one_that_is_cancelled_at_once_goes_on_nowhere(shared: AutoRunnerTerminal) -> None:
    async def main() -> None:
        for _ in range(5):
            task = asyncio.ensure_future(of(proxy(shared, "slow")(3600)))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert shared.run_python("6 * 7") == 42
    tasks = "len(__import__('sys').modules['_crl.remote.awaiting'].AWAITING._tasks)"
    assert eventually(lambda: shared.run_python(tasks) == 0)


def test_the_proxys_timeout_holds(shared: AutoRunnerTerminal) -> None:
    shared.run_python(
        "class Gate(object):\n"
        "    opened = False\n"
        "    async def passed(self):\n"
        "        while not self.opened: await asyncio.sleep(0.01)\n"
        "        return 'late'\n"
        "gate = Gate()"
    )
    slow = proxy(shared, "gate").passed()
    slow.set_remote_proxy_timeout(0.2)

    async def main() -> Any:
        with pytest.raises(RemoteTimeout) as caught:
            await slow
        shared.run_python("gate.opened = True")
        return await caught.value

    assert asyncio.run(main()) == "late"


def test_handles_are_futures(shared: AutoRunnerTerminal) -> None:
    time = shared.get_proxy_object("time")
    time.remote_proxy_use_asynchronous_response()

    async def main() -> list[Any]:
        return await asyncio.gather(*(of(time.sleep(0.05)) for _ in range(10)))

    assert asyncio.run(main()) == [None] * 10
    open_gate, waiting = gate(shared), shared.get_proxy_object("gate")
    waiting.remote_proxy_use_asynchronous_response()
    handle = waiting.wait(30)
    assert not handle.done()
    open_gate()
    assert handle.result(30) is True
    assert handle.done()
    shared.run_python("def spin():\n    while True: pass")
    with pytest.raises(RemoteTimeout) as caught:
        shared.run_python("spin()", timeout=-1)
    assert caught.value.cancel(30)
    with pytest.raises(CallCancelled):
        caught.value.result()
    with pytest.raises(InvalidProxySession, match="another process"):
        RemoteTimeout(1).result()

    async def stopped() -> None:
        with pytest.raises(RemoteTimeout) as running:
            shared.run_python("spin()", timeout=-1)
        task = asyncio.ensure_future(of(running.value))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert running.value.done()

    asyncio.run(stopped())


def test_on_the_oldest_interpreter(make: Make) -> None:
    terminal = make()
    terminal.python = next(python for python in INTERPRETERS if "2.7" not in python)
    terminal.initialize_if_needed()
    terminal.run_python(CODE)

    async def main() -> list[Any]:
        task = asyncio.ensure_future(of(terminal.get_recursive_proxy("slow")(3600)))
        await under_way(terminal, 1)
        task.cancel()
        await asyncio.wait([task])
        return [one async for one in terminal.get_recursive_proxy("Arriving")()]

    assert asyncio.run(main()) == [1, 2, 3]
    assert eventually(lambda: terminal.run_python("log") == ["cancelled"])


def test_a_session_that_ends_ends_the_await(make: Make) -> None:
    terminal = make()
    terminal.initialize_if_needed()
    terminal.run_python(CODE)
    waiting = terminal.get_recursive_proxy("slow")(3600)

    async def main() -> None:
        task = asyncio.ensure_future(of(waiting))
        await under_way(terminal, 1)
        await asyncio.get_running_loop().run_in_executor(None, terminal.close)
        with pytest.raises(Exception, match=r"(?i)clos|lost|session"):
            await task

    asyncio.run(main())
