"""What is measured, in which order and by whom: the phases of a run and the tasks in each.

In a phase every contestant holds one connection, or none, and the tasks are done in turn: round one of each task by
each contestant, then round two. It knows the operations by name and no bound.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import Any

__all__ = ["MIB", "PHASES", "Phase", "Task"]

MIB = 1 << 20
PIPE = "floor-pipe"
FLOORS = (PIPE, "floor-pty")
LIBRARIES = ("execnet", "mitogen", "mitogen-plain", "rpyc", "pyro5", "paramiko", "asyncssh")
CRL = ("crl", "crl-paramiko")
ALL = (*CRL, *FLOORS, "openssh", *LIBRARIES, "crl-1.3.1")
FAST = ("crl", *FLOORS)
KINDS = ("ints", "texts", "records", "tiny")
FLEET = [f"{host}-{role}" for host in ("alpha", "gateway") for role in ("key", "bash", "dash", "both")] * 25

TEN = FLEET[:10]


@dataclass(frozen=True)
class Task:
    """One thing that is measured.

    Attributes:
        key: Its name.
        operation: Of `benchmarks.peers.operations`.
        who: The contestants in their order.
        arguments: Of the operation.
        rounds: At most so many.
        timeout: Seconds that one measurement may take.
        leader: Whether nobody is asked when the first has nothing of the kind.
        fresh: Whether each measurement wants a new process of the contestant.
    """

    key: str
    operation: str
    who: tuple[str, ...]
    arguments: dict[str, Any] = field(default_factory=dict)
    rounds: int = 1000
    timeout: float = 60.0
    leader: bool = False
    fresh: bool = False


@dataclass(frozen=True)
class Phase:
    """Tasks under one condition.

    Attributes:
        name: Its name.
        tasks: What is done.
        place: Where connections are held; None when each task makes its own.
        slow: Whether the link has 50 ms.
        loss: Which part of its packets is lost.
    """

    name: str
    tasks: tuple[Task, ...]
    place: str | None = None
    slow: bool = False
    loss: float = 0.0


def _special(key: str, who: tuple[str, ...], name: str, **more: Any) -> Task:
    rounds, timeout = more.pop("rounds", 1000), more.pop("timeout", 60.0)
    return Task(key, "special", who, {"name": name, **more}, rounds, timeout)


def _bulk(prefix: str, who: tuple[str, ...], count: int | None, **more: Any) -> tuple[Task, ...]:
    """A file each way by everybody, and by crl through the pipes of a process."""
    size = {} if count is None else {"count": count}
    tasks = []
    for way in ("push", "pull"):
        tasks.append(Task(f"{prefix}{way}", way, who, size, **more))
        tasks.append(Task(f"{prefix}pipe-{way}", way, ("crl",), {**size, "way": f"pipe_{way}"}, **more))
    return tuple(tasks)


def _busy(prefix: str, rounds: int) -> tuple[Task, ...]:
    """Small calls during transfers, of files and of process pipes."""
    return tuple(
        Task(f"{prefix}during-{kind}{way}", "during", ("crl",), {"direction": way, "files": not kind}, rounds)
        for way in ("push", "pull")
        for kind in ("", "pipe-")
    )


PHASES = (
    Phase(
        "cold",
        (
            _special("ssh-python", ("openssh",), "cold", command="python3 -c 1"),
            _special("ssh-true", ("openssh",), "cold", command="true"),
            Task("connect", "connect", ALL, {"place": "alpha"}),
            _special("reach", ("crl",), "reach"),
            _special("from-prompt", ("crl",), "from_prompt"),
            Task("footprint", "footprint", ALL, rounds=3),
            _special("first", ("crl", "openssh"), "first_commands", aliases=TEN),
            *(Task(f"codec-{kind}", "codec", ("crl",), {"kind": kind}) for kind in KINDS),
        ),
    ),
    Phase(
        "plain",
        (
            Task("call", "call", ALL),
            _special("proxy-call", ("crl",), "proxy_call"),
            Task("futures", "futures", tuple(who for who in ALL if who not in ("openssh", "crl-1.3.1"))),
            Task("threads", "threads", (*CRL, "openssh", *LIBRARIES), {"number": 16}),
            Task("beside", "beside", ("crl",), {"count": 1000}),
            Task("beside-peers", "beside", ("execnet", "mitogen", "pyro5"), {"count": 300}, rounds=3),
            Task("run", "run", ALL),
            Task("run-bash", "run", ("crl", "floor-pty"), {"argv": ["/bin/bash", "-c", "true"]}),
            _special("runner", ("crl",), "runner_command"),
            _special("copied", ("crl",), "copied_tree", count=500),
            Task("fetch-ints", "fetch", ALL, {"kind": "ints"}),
            Task("fetch-texts", "fetch", ALL, {"kind": "texts"}),
            *_bulk("", ALL, None),
            Task("value-out", "value_out", FAST),
            Task("value-in", "value_in", FAST),
            Task("tree", "tree", ALL[:-1], {"count": 1000}, rounds=5, timeout=90.0),
            *_busy("", 10),
            Task("tunnel", "tunnel", (*CRL, "openssh"), {}),
        ),
        place="alpha",
    ),
    Phase(
        "memory",
        tuple(
            Task(f"growth-{kind}{way}", "growth", ("crl",), {"direction": way, "files": not kind}, 3, fresh=True)
            for way in ("push", "pull")
            for kind in ("", "pipe-")
        ),
    ),
    Phase("large", _bulk("large-", FAST, 512 * MIB, rounds=2, timeout=120.0, leader=True), place="alpha"),
    Phase("hop", (Task("hop-call", "call", FAST), *_bulk("hop-", FAST, 16 * MIB)), place="hop"),
    Phase("sudo", (Task("sudo-call", "call", FAST), *_bulk("sudo-", FAST, 16 * MIB)), place="sudo"),
    Phase(
        "slow",
        (
            _special("slow-ssh-true", ("openssh",), "cold", command="true", rounds=5),
            _special("slow-reach", ("crl",), "reach", rounds=5),
            Task("slow-connect", "connect", (*CRL, *FLOORS, "execnet", "mitogen", "asyncssh"), {"place": "alpha"}, 5),
        ),
        slow=True,
    ),
    Phase(
        "slow-held",
        (
            Task("slow-call", "special", FAST, {"name": "call_time", "count": 5}),
            *_bulk("slow-", (*FAST, "execnet", "mitogen-plain", "asyncssh"), 16 * MIB, rounds=5),
            *_busy("slow-", 3),
        ),
        place="alpha",
        slow=True,
    ),
    Phase("lossy", _bulk("lossy-", FAST, 16 * MIB, rounds=5, timeout=90.0), place="alpha", slow=True, loss=0.01),
    Phase(
        "cuts",
        (
            _special("cut-ssh-true", ("openssh",), "cold", command="true"),
            _special("cut", ("crl",), "after_cut", number=int(signal.SIGKILL)),
            _special("reboot", ("crl",), "after_reboot", rounds=5, timeout=120.0),
            _special("frozen", ("crl",), "after_cut", number=int(signal.SIGSTOP), rounds=1, timeout=90.0),
        ),
    ),
    Phase(
        "fleet",
        (_special("fleet", (PIPE, *CRL, "paramiko", "asyncssh"), "fleet", aliases=FLEET, rounds=2, timeout=180.0),),
    ),
    Phase(
        "x2go",
        (
            _special("x2go", ("by hand", "crl"), "x2go", timeout=180.0),
            _special("broker", ("curl", "crl"), "broker", timeout=180.0),
            _special("x2go-list", ("pyhoca-cli",), "x2go_list", timeout=180.0),
            _special("x2go-share", ("by hand", "crl"), "x2go_share", timeout=180.0),
            _special("x2go-at-once", ("crl",), "x2go_at_once", count=10, rounds=2, timeout=600.0),
            _special("x2go-print", ("crl",), "x2go_print", pages=3, rounds=5, timeout=300.0),
        ),
    ),
)
