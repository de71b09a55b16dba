"""Fleets of targets on this machine.

Invariant: one outcome for each target in their order, whatever became of the others, and nothing is left of a run.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from crl.errors import UsageError
from crl.interactivesessions.shells.bashshell import BashShell
from crl.targets import (
    CommandFailed,
    ConnectTimeout,
    Fleet,
    FleetCancelled,
    FleetProgress,
    FleetTimeout,
    Target,
    TargetSpec,
)
from crl.targets._fleetrun import OnLoop, make_room
from crl.targets.outcomes import Stage
from tests.link.peers import eventually

pytestmark = pytest.mark.usefixtures("nothing_left")

HERE = {"shellname": "BashShell", "cmd": "sh"}
NOWHERE = {"shellname": "BashShell", "cmd": "no-such-shell-anywhere"}


def named(*names: str, **others: Any) -> dict[str, Any]:
    return {**dict.fromkeys(names, HERE), **others}


@pytest.fixture
def fleet(nothing_left: None) -> Iterator[Fleet]:
    """Three targets that stay connected."""
    with Fleet(named("a", "b", "c")) as three:
        yield three


def program_of(target: Target) -> int:
    return target.terminal.link.facts.pid


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_one_outcome_for_each_in_order() -> None:
    def work(target: Target, factor: int) -> int:
        if target.name == "bad":
            raise ValueError("not here")
        return target.run("echo 3").stdout.count("3") * factor

    fleet = Fleet({"first": HERE, "nowhere": NOWHERE, "bad": HERE, "last": HERE})
    outcomes = fleet.map(work, 7)
    assert outcomes is fleet.latest
    assert outcomes.names == ["first", "nowhere", "bad", "last"]
    assert [outcome.value for outcome in outcomes] == [7, None, None, 7]
    assert [outcome.name for outcome in outcomes.failed] == ["nowhere", "bad"]
    assert [outcome.stage for outcome in outcomes.failed] == [Stage.CONNECTING, Stage.RUNNING]
    assert outcomes["last"].result() == 7
    assert len(outcomes.succeeded) == 2
    assert not outcomes.ok
    assert "2 succeeded, 2 failed" in repr(outcomes)
    assert "bad: ValueError: not here" in repr(outcomes)
    with pytest.raises(ValueError, match="not here"):
        outcomes["bad"].result()
    with pytest.raises(ExceptionGroup, match="2 of 4 targets failed") as caught:
        outcomes.values()
    notes = [note for error in caught.value.exceptions for note in getattr(error, "__notes__", ())]
    assert notes == ["on bad, running"]
    with pytest.raises(KeyError):
        outcomes["none"]


def test_outside_of_a_block_each_is_closed_when_it_is_done() -> None:
    fleet = Fleet(named("a", "b"))
    pids = fleet.map(program_of).values()
    for pid in pids:
        assert eventually(partial(is_gone, pid))
    assert fleet.map(program_of).values() != pids


def test_in_a_block_connections_stay(fleet: Fleet) -> None:
    pids = fleet.map(program_of).values()
    assert fleet.map(program_of).values() == pids
    assert [target.terminal.link.facts.pid for target in fleet] == pids
    fleet.close()
    for pid in pids:
        assert eventually(partial(is_gone, pid))
    fleet.close()


def test_targets_given_are_the_givers(nothing_left: None) -> None:
    with Target(BashShell("sh"), name="mine") as mine:
        pid = program_of(mine)
        assert Fleet([mine, TargetSpec(HERE, name="own")]).map(program_of).values()[0] == pid
        assert mine.run("echo on").stdout == "on\n"


def test_names_are_unique() -> None:
    fleet = Fleet(["alpha", TargetSpec("alpha"), "beta", {"host": "alpha"}])
    assert fleet.names == ["alpha", "alpha#2", "beta", "alpha#3"]
    assert len(fleet) == 4
    assert repr(fleet) == "<Fleet of 4 targets>"
    assert fleet["beta"].name == "beta"
    with pytest.raises(UsageError, match="no target gamma"):
        fleet.only(["gamma"])
    with pytest.raises(UsageError, match=r"write \['alpha'\]"):
        Fleet("alpha")
    assert list(Fleet(())) == []
    assert Fleet(()).run("true").values() == []


def test_commands(fleet: Fleet) -> None:
    outcomes = fleet.run('echo "$WORD"; cat', env={"WORD": "hello"}, input="there")
    assert [result.stdout for result in outcomes.values()] == ["hello\nthere"] * 3
    assert outcomes.grouped(lambda outcome: outcome.result().stdout) == {"hello\nthere": ["a", "b", "c"]}
    assert [result.status for result in fleet.run("exit 3").values()] == [3, 3, 3]
    failed = fleet.run("exit 3", check=True).failed
    assert [type(outcome.error) for outcome in failed] == [CommandFailed] * 3
    assert failed[0].error.host == "a"  # type: ignore[union-attr]


def test_those_that_failed_once_more(fleet: Fleet) -> None:
    ready: set[str] = {"a"}

    def try_it(target: Target) -> str:
        if target.name not in ready:
            raise OSError("not yet")
        return target.name

    failed = fleet.map(try_it).failed
    ready |= {"b", "c"}
    again = fleet.only(failed)
    assert again.map(try_it).values() == ["b", "c"]
    assert again["b"] is fleet["b"]


def test_python_and_files(fleet: Fleet, tmp_path: Path) -> None:
    assert fleet.python.eval("6 * 7").values() == [42] * 3
    assert fleet.python.exec("answer = 43").values() == [None] * 3
    assert fleet.python.eval("answer").values() == [43] * 3
    assert fleet.python.call("divmod", 7, 2).values() == [(3, 1)] * 3
    assert [facts.pid > 0 for facts in fleet.map(lambda target: target.terminal.link.facts).values()] == [True] * 3
    assert {facts.hostname for facts in fleet.facts().values()} == {os.uname().nodename}
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_text("content")
    # All of these targets are this machine.
    fleet.only(["a"]).files.push(tmp_path / "source", str(tmp_path / "there")).values()
    assert (tmp_path / "there" / "file").read_text() == "content"
    fleet.files.pull(str(tmp_path / "there" / "file"), tmp_path / "pulled").values()
    assert sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "pulled").rglob("file")) == [
        "pulled/a/file",
        "pulled/b/file",
        "pulled/c/file",
    ]
    fleet.only(["b"]).files.write(str(tmp_path / "new"), "text", mode=0o600).values()
    assert fleet.files.read(str(tmp_path / "new")).values() == [b"text"] * 3


def test_a_name_that_leads_elsewhere_is_no_folder(tmp_path: Path) -> None:
    for name in ("..", "a/../../b"):
        with pytest.raises(UsageError, match="folder"):
            Fleet({name: HERE}).files.pull("/etc/hostname", tmp_path)


def test_progress_comes_in_the_callers_thread() -> None:
    steps: list[tuple[FleetProgress, threading.Thread]] = []
    fleet = Fleet(named("a", bad=NOWHERE), progress=lambda step: steps.append((step, threading.current_thread())))
    fleet.run("true")
    assert [step.done for step, _ in steps] == [1, 2]
    last = steps[-1][0]
    assert (last.total, last.succeeded, last.failed) == (2, 1, 1)
    assert {step.outcome.name for step, _ in steps} == {"a", "bad"}
    assert {thread for _, thread in steps} == {threading.current_thread()}


def test_progress_as_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    Fleet(named("a", "b"), progress=True).run("true")
    assert "2/2" in screen.getvalue()
    before = screen.getvalue()
    Fleet(named("a"), progress=None).run("true")
    assert screen.getvalue() == before


def test_a_callback_that_fails_ends_the_run() -> None:
    def fail(_: FleetProgress) -> None:
        raise RuntimeError("of the callback")

    fleet = Fleet(named("a", "b", "c"), progress=fail, at_once=1)
    with pytest.raises(RuntimeError, match="of the callback"):
        fleet.run("true")
    assert [outcome.ok for outcome in fleet.latest] == [True, False, False]
    assert isinstance(fleet.latest[2].error, FleetCancelled)


def test_outcomes_as_they_come(fleet: Fleet) -> None:
    quick = threading.Event()

    def work(target: Target) -> str:
        if target.name == "a":
            assert quick.wait(30)
        return target.name

    came = []
    for outcome in fleet.as_completed(work):
        came.append(outcome.name)
        if outcome.name == "c":
            quick.set()
    assert sorted(came) == ["a", "b", "c"]
    assert came.index("c") < came.index("a")


def test_a_target_beyond_its_time(fleet: Fleet) -> None:
    fleet.connect().values()

    def work(target: Target) -> str:
        return target.run("sleep 100; echo woken").stdout if target.name == "b" else "quick"

    outcomes = fleet.map(work, each=3.0)
    assert [outcome.value for outcome in outcomes] == ["quick", None, "quick"]
    assert isinstance(outcomes["b"].error, FleetTimeout)
    # It was closed to end what was under way, and is connected again when it is needed.
    assert [result.stdout for result in fleet.run("echo again").values()] == ["again\n"] * 3


def test_the_time_of_the_whole_run(fleet: Fleet) -> None:
    fleet.connect().values()
    outcomes = fleet.map(lambda target: target.run("sleep 100"), timeout=0.5)
    assert [type(outcome.error) for outcome in outcomes] == [FleetTimeout] * 3


def test_a_login_is_ended_with_the_run() -> None:
    slow = {**HERE, "init_env": "content:sleep 50"}
    began = time.monotonic()
    outcomes = Fleet({"slow": slow}).map(program_of, timeout=0.5)
    assert isinstance(outcomes[0].error, FleetTimeout)
    assert outcomes[0].stage is Stage.CONNECTING
    assert time.monotonic() - began < 20


def test_connecting_has_a_time_of_its_own() -> None:
    slow = {**HERE, "init_env": "content:sleep 50"}
    (outcome,) = Fleet({"slow": slow}, connect_timeout=0.5).run("true")
    assert outcome.stage is Stage.CONNECTING
    assert isinstance(outcome.error, ConnectTimeout)


def test_enough_failures_end_a_run() -> None:
    outcomes = Fleet(named(bad=NOWHERE, other=HERE, more=HERE), at_once=1).run("true", stop_after=1)
    assert [outcome.stage for outcome in outcomes] == [Stage.CONNECTING, Stage.WAITING, Stage.WAITING]


@contextlib.contextmanager
def interrupted_when(event: threading.Event) -> Iterator[None]:
    def press() -> None:
        event.wait(30)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    yield
    thread.join()


def test_ctrl_c_ends_all() -> None:
    begun, programs = threading.Event(), []
    fleet = Fleet(named("a", "b", "c"), at_once=2)

    def work(target: Target) -> None:
        programs.append(program_of(target))
        if len(programs) == 2:
            begun.set()
        target.run("sleep 100")

    with interrupted_when(begun), pytest.raises(KeyboardInterrupt):
        fleet.map(work)
    assert [type(outcome.error) for outcome in fleet.latest] == [FleetCancelled] * 3
    for pid in programs:
        assert eventually(partial(is_gone, pid))


def test_asyncio(fleet: Fleet) -> None:
    async def main() -> None:
        async def ask(target: Target, word: str) -> str:
            await asyncio.sleep(0)
            return (await asyncio.to_thread(target.run, ["echo", word])).stdout

        assert (await fleet.amap(ask, "hello")).values() == ["hello\n"] * 3
        assert (await fleet.amap(program_of)).values() == [program_of(target) for target in fleet]
        failing = await fleet.amap(lambda target: 1 // 0)
        assert len(failing.failed) == 3

    asyncio.run(main())


def test_a_coroutine_that_is_ended_before_it_begins_is_not_run() -> None:
    async def never(target: Target) -> None:
        raise AssertionError

    loop, target = asyncio.new_event_loop(), Target(BashShell(), name="late")
    work = OnLoop(never, loop)
    work.stop(target)
    with pytest.raises(FleetCancelled, match="late: it was ended before it began"):
        work(target)
    loop.close()


def test_a_cancelled_task_ends_its_run() -> None:
    fleet = Fleet(named("a", "b"))
    begun = threading.Semaphore(0)

    async def wait(target: Target) -> None:
        begun.release()
        await asyncio.sleep(100)

    def block(target: Target) -> None:
        begun.release()
        target.run("sleep 100")

    async def main(work: Any) -> None:
        task = asyncio.ensure_future(fleet.amap(work))
        for _ in range(2):
            assert await asyncio.to_thread(begun.acquire, timeout=30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    for work in (wait, block):
        asyncio.run(main(work))
        assert [type(outcome.error) for outcome in fleet.latest] == [FleetCancelled] * 2


def test_room_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    make_room(10)
    assert asked == []
    make_room(2000)
    assert 2000 < asked[0][0] < 4096
    assert asked[0][1] == 4096
    make_room(100000)
    assert asked[1] == (4096, 4096)
