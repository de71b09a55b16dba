"""Asking the supervisor of a lab host: one JSON line there, one back.

It knows the socket's address and the errors; every question has a deadline.
"""

from __future__ import annotations

import contextlib
import json
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from crl.lab.errors import LabBootError, LabHostDown, LabTimeout

if TYPE_CHECKING:
    from crl.lab.records import LabFolder

BOOT_LIMIT: Final = 60.0
STATUS_LIMIT: Final = 30.0


@dataclass(frozen=True)
class Condition:
    """How a host is.

    Attributes:
        state: ``new``, ``booting``, ``up``, ``off``, ``failed`` or ``gone`` (no supervisor).
        boot: Number of the present boot.
        boot_id: What the host's ``/proc/sys/kernel/random/boot_id`` says.
        pid: The supervisor.
        pid1: The host's PID 1, as this machine numbers it; 0 when it does not run.
        error: Why it failed.
    """

    state: str = "gone"
    boot: int = 0
    boot_id: str = ""
    pid: int = 0
    pid1: int = 0
    error: str = ""


class Question:
    """A question on its way, so that several hosts can be asked at once."""

    def __init__(self, folder: LabFolder, host: str, what: dict[str, Any], timeout: float = BOOT_LIMIT) -> None:
        self.host = host
        self.doing = f"asking for {what['do']}"
        self.timeout = timeout
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(folder.control_address(host))
            self._socket.sendall(json.dumps(what).encode() + b"\n")
        except OSError as error:
            self._socket.close()
            raise LabHostDown(
                f"its supervisor does not run ({error})",
                host=host,
                doing=self.doing,
                advice="start the lab again: crl lab down, crl lab up",
            ) from error

    def answer(self) -> Condition:
        """Wait for the answer.

        Raises:
            LabTimeout: None came in time.
            LabHostDown: The supervisor has ended.
            LabBootError: The host has failed to come up.
        """
        with contextlib.closing(self._socket), self._socket.makefile("rb") as stream:
            try:
                line = stream.readline()
            except TimeoutError as error:
                raise LabTimeout(f"no answer after {self.timeout:g} s", host=self.host, doing=self.doing) from error
            except OSError as error:
                raise LabHostDown(str(error), host=self.host, doing=self.doing) from error
        if not line:
            raise LabHostDown("its supervisor has ended", host=self.host, doing=self.doing)
        condition = Condition(**json.loads(line))
        if condition.state == "failed":
            raise LabBootError(condition.error, host=self.host, doing=self.doing)
        return condition


def ask(folder: LabFolder, host: str, do: str, *, timeout: float = BOOT_LIMIT, **more: object) -> Condition:
    """Ask one host and wait; errors as `Question.answer`."""
    return Question(folder, host, {"do": do, **more}, timeout).answer()


def condition_of(folder: LabFolder, host: str) -> Condition:
    """How a host is, whatever that may be."""
    try:
        return ask(folder, host, "status", timeout=STATUS_LIMIT)
    except LabBootError as error:
        return Condition("failed", error=error.message)
    except LabHostDown:
        return Condition()


def running(folder: LabFolder, host: str) -> Condition:
    """The condition of a host that runs.

    Raises:
        LabHostDown: It does not.
    """
    condition = condition_of(folder, host)
    if not condition.pid1:
        advice = "start the lab again: crl lab up"
        if condition.state == "off":
            advice = f"switch it on: crl lab reboot {host}"
        raise LabHostDown(f"it is {condition.state} {condition.error}".rstrip(), host=host, advice=advice)
    return condition
