"""What is done to the links of a running lab: cut, black hole, slow; and how it is undone.

It knows the plan's links, the shaper program and a small file per link that remembers what was done, so that another
process can undo it.
"""

from __future__ import annotations

import json
import os
import select
import signal
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

from crl.errors import UsageError
from crl.lab import _network as network
from crl.lab._commands import start_program
from crl.lab._control import condition_of, running
from crl.lab.errors import LabError
from crl.lab.processes import find_program, kill_and_wait

if TYPE_CHECKING:
    from crl.lab.plan import HostPlan, LabPlan
    from crl.lab.records import LabFolder

SHAPER: Final = "crl.lab._shaper"
HOST_TUN: Final = "slow0"
START_LIMIT: Final = 60.0
END_LIMIT: Final = 5.0


@dataclass(frozen=True)
class Shape:
    """How slow a link is, in each direction; see `LabHost.slow`."""

    delay: float = 0.1
    jitter: float = 0.0
    loss: float = 0.0
    rate: float | None = None

    def check(self) -> None:
        """Refuse what no link can be.

        Raises:
            UsageError: A number is out of range.
        """
        if self.delay < 0 or self.jitter < 0 or not 0 <= self.loss <= 1 or (self.rate is not None and self.rate <= 0):
            raise UsageError(
                f"no link can be like {self}",
                doing="slowing a link",
                advice="delay and jitter in seconds from 0, loss from 0 to 1, rate in bits a second above 0",
            )


@dataclass(frozen=True)
class LinkState:
    """What has been done to a link.

    Attributes:
        cut: None, ``down`` or ``drop``.
        shape: How it has been slowed, or None.
    """

    cut: str | None = None
    shape: Shape | None = None


def load(folder: LabFolder, host: str) -> LinkState:
    """What has been done to the link of a host."""
    try:
        record = json.loads(folder.link_state(host).read_text())
    except FileNotFoundError:
        return LinkState()
    return LinkState(record["cut"], None if record["shape"] is None else Shape(**record["shape"]))


def _save(folder: LabFolder, host: str, state: LinkState) -> None:
    path = folder.link_state(host)
    # Whole for whoever reads it at this moment.
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(asdict(state)))
    fresh.replace(path)


def near_tun(plan: LabPlan, host: HostPlan) -> str:
    """Name of the tunnel interface at the near end of a slowed link."""
    return f"crl-{plan.name}-t{host.index}" if host.via is None else f"slow-{host.name}"


def _near_pid(folder: LabFolder, host: HostPlan) -> int | None:
    return None if host.via is None else running(folder, host.via).pid


def tun_lines(interface: str, own: str, peer: str) -> list[str]:
    """Lines of ip(8) that lead the way to the peer through a tunnel instead of the wire."""
    return [f"link set dev {interface} up", f"route replace {peer}/32 dev {interface} src {own}"]


def cut(folder: LabFolder, plan: LabPlan, host: HostPlan, *, drop: bool) -> None:
    """Cut a link, as `LabHost.cut`."""
    pid = running(folder, host.name).pid
    state = load(folder, host.name)
    if state.cut is not None:
        _join(host, pid, state)
    if drop:
        network.drop(pid, [host.link.interface, HOST_TUN])
    else:
        network.set_link(pid, host.link, "down")
        if state.shape is not None:
            network.ip(pid, [f"link set dev {HOST_TUN} down"], doing="cutting the slow link")
            near = f"link set dev {near_tun(plan, host)} down"
            network.ip(_near_pid(folder, host), [near], doing="cutting the slow link")
    _save(folder, host.name, replace(state, cut="drop" if drop else "down"))


def _join(host: HostPlan, pid: int, state: LinkState) -> None:
    """Undo a cut."""
    if state.cut == "drop":
        network.undrop(pid)
    elif state.cut == "down":
        network.set_link(pid, host.link, "up")


def restore(folder: LabFolder, host: HostPlan) -> None:
    """Make a link sound again."""
    pid = running(folder, host.name).pid
    end_shaper(folder, host.name)
    _join(host, pid, load(folder, host.name))
    _save(folder, host.name, LinkState())


def slow(folder: LabFolder, plan: LabPlan, host: HostPlan, shape: Shape) -> None:
    """Slow a link, as `LabHost.slow`; a link that was cut is joined again."""
    shape.check()
    restore(folder, host)
    near = condition_of(folder, host.via).pid if host.via else 0
    far = running(folder, host.name).pid
    ends = [
        f"{near}:{near_tun(plan, host)}:{host.link.near_address}:{host.link.address}",
        f"{far}:{HOST_TUN}:{host.link.address}:{host.link.near_address}",
    ]
    numbers = [str(value) for value in (shape.delay, shape.jitter, shape.loss, shape.rate or 0)]
    log = folder.log(f"{host.name}.shaper")
    read_end, write_end = os.pipe()
    try:
        arguments = [str(folder.path), host.name, str(write_end), *ends, *numbers]
        start_program(SHAPER, arguments, log=log, keep=[write_end])
    finally:
        os.close(write_end)
    with os.fdopen(read_end, "rb") as stream:
        poll = select.poll()
        poll.register(stream, select.POLLIN)
        if not poll.poll(START_LIMIT * 1000) or stream.read() != b"ready\n":
            said = log.read_text(errors="replace")
            raise LabError("the shaper did not start", host=host.name, doing="slowing the link", transcript=said)
    _save(folder, host.name, LinkState(shape=shape))


def end_shaper(folder: LabFolder, host: str) -> None:
    """End the program that slows a link; the wire takes over at once."""
    pids = find_program(SHAPER, str(folder.path), host)
    left = kill_and_wait(pids, signal.SIGTERM, END_LIMIT)
    kill_and_wait(left, signal.SIGKILL, START_LIMIT)
