"""Functions for fleets whose work is done in other processes: these import them from here."""

from __future__ import annotations

import os
import threading

from crl.targets import Target


class Unpicklable(Exception):
    """Comes out of no pickle: its class wants two arguments."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


def where(target: Target) -> tuple[str, int, int]:
    """The target's name, the process that works on it, and that of Python there."""
    return target.name, os.getpid(), target.python.os.getpid()


def add(target: Target, more: int) -> int:
    """A number from the target, and one from here."""
    return int(target.run("echo 1").stdout) + more


def fail_on_second(target: Target) -> object:
    """Different ends for different targets."""
    match target.name:
        case "lock":
            return threading.Lock()
        case "strange":
            raise Unpicklable("this", "that")
        case "bad":
            raise ValueError("no")
    return target.name


def die(target: Target) -> None:
    """End the process that works, when it is the target's turn."""
    if target.name == "deadly":
        os._exit(3)
