"""Fleets spread over processes: by the standard library's pool, and by dask.

Invariant: what comes back is what a run in this process gives, and what cannot come back costs one outcome only.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl.errors import UsageError
from crl.interactivesessions._manyatonce import Limits
from crl.interactivesessions.shells.bashshell import BashShell
from crl.targets import Fleet, FleetCancelled, FleetTimeout, OutcomeLost, Target, TargetSpec
from crl.targets._spread import divided
from tests.targets.fleet_work import add, die, fail_on_second, where

HERE = {"shellname": "BashShell", "cmd": "sh"}


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as two:
        yield two


def names(*wanted: str) -> dict[str, Any]:
    return dict.fromkeys(wanted, HERE)


@given(
    hops=st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=30),
    parts=st.integers(1, 9),
    per_hop=st.integers(1, 8),
)
def test_parts_hold_each_target_once_and_share_the_limit(hops: list[str], parts: int, per_hop: int) -> None:
    specs = [TargetSpec(hop) for hop in hops]
    made = divided(specs, parts, Limits(per_hop=per_hop))
    assert sorted(number for numbers, _ in made for number in numbers) == list(range(len(hops)))
    assert len(made) == min(parts, len(hops))
    assert all(numbers for numbers, _ in made)
    for hop in set(hops):
        users = [limits.per_hop for numbers, limits in made if any(hops[number] == hop for number in numbers)]
        assert sum(users) <= max(per_hop, len(users))


def test_over_processes(pool: ProcessPoolExecutor) -> None:
    steps: list[int] = []
    fleet = Fleet(
        names("a", "b", "c", "d"), executor=pool, parts=2, progress=lambda step: steps.append(step.done)
    )
    found = fleet.map(where)
    assert [value[0] for value in found.values()] == ["a", "b", "c", "d"]
    assert os.getpid() not in {value[1] for value in found.values()}
    assert len({value[2] for value in found.values()}) == 4
    assert steps == [1, 2, 3, 4]
    assert fleet.map(add, 41).values() == [42] * 4
    assert [result.stdout for result in fleet.run("echo $WORD", env={"WORD": "far"}).values()] == ["far\n"] * 4
    assert fleet.python.eval("6 * 7").values() == [42] * 4


def test_what_cannot_come_back(pool: ProcessPoolExecutor) -> None:
    found = Fleet(names("good", "lock", "strange", "bad"), executor=pool, parts=1).map(fail_on_second)
    assert found["good"].result() == "good"
    assert isinstance(found["lock"].error, OutcomeLost)
    assert "lock cannot be pickled" in str(found["lock"].error)
    assert isinstance(found["strange"].error, OutcomeLost)
    assert "this and that" in str(found["strange"].error)
    assert type(found["bad"].error) is ValueError


def test_a_process_that_dies() -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as one:
        found = Fleet(names("deadly", "other"), executor=one, parts=1).map(die)
    assert [type(outcome.error) for outcome in found] == [OutcomeLost] * 2
    assert "deadly: spreading a run" in str(found[0].error)


def test_a_function_that_does_not_travel(pool: ProcessPoolExecutor) -> None:
    found = Fleet(names("a"), executor=pool).map(lambda target: target.name)
    assert isinstance(found[0].error, OutcomeLost)
    assert "pickle" in str(found[0].error)


class Never(Executor):
    """Begins nothing."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.futures.append(Future())
        return self.futures[-1]


def test_nobody_is_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crl.targets._spread.LATE_PARTS", 0.2)
    never = Never()
    found = Fleet(names("a", "b", "c"), executor=never, parts=2).map(where, timeout=0.1)
    assert [type(outcome.error) for outcome in found] == [FleetTimeout] * 3
    assert [future.cancelled() for future in never.futures] == [True, True]


def test_a_callback_that_fails_cancels_the_parts(pool: ProcessPoolExecutor) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("of the callback")

    fleet = Fleet(names("a", "b"), executor=pool, parts=2, progress=fail)
    with pytest.raises(RuntimeError, match="of the callback"):
        fleet.run("true")
    assert isinstance(fleet.latest[1].error or fleet.latest[0].error, FleetCancelled)


def test_what_does_not_travel_is_refused_at_once(pool: ProcessPoolExecutor) -> None:
    with pytest.raises(UsageError, match="do not travel"):
        Fleet([Target(BashShell())], executor=pool)
    with pytest.raises(UsageError, match="holds no connections"):
        Fleet(names("a"), executor=pool).connect()
    found = Fleet({"a": {"host": "a", "password": "in clear"}}, executor=pool).run("true")
    assert "secrets do not travel" in str(found[0].error)
    assert "in clear" not in str(found[0].error)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_over_dask() -> None:
    distributed = pytest.importorskip("distributed", reason="the extra crl[dask] is not installed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, memory_limit=None
        ) as cluster,
        distributed.Client(cluster) as client,
        client.get_executor() as executor,
    ):
        fleet = Fleet(names("a", "b", "c", "d"), executor=executor, parts=4)
        found = fleet.map(where).values()
        assert [value[0] for value in found] == ["a", "b", "c", "d"]
        assert os.getpid() not in {value[1] for value in found}
        assert isinstance(fleet.map(fail_on_second).values(), list)
        failing = Fleet(names("lock", "bad"), executor=executor).map(fail_on_second)
        assert [type(outcome.error) for outcome in failing] == [OutcomeLost, ValueError]
