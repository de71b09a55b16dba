"""What a target says of itself: one round trip, and nothing of it is believed further than its type.

This module knows text and the source that collects the facts on Python 2.7 and 3.6 or later.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from crl.errors import RemoteWorldError

__all__ = ["COLLECT", "TargetFacts", "parse_facts", "parse_os_release"]

SOURCE = '''
def facts():
    import os, pwd, socket, sys

    def text_of(path):
        try:
            with open(path, "rb") as opened:
                return opened.read(65536).decode("utf-8", "replace")
        except (IOError, OSError):
            return u""

    try:
        user = pwd.getpwuid(os.geteuid())[0]
    except KeyError:
        user = str(os.geteuid())
    return (
        socket.gethostname(), user, os.geteuid(), tuple(sys.version_info[:3]), os.uname()[0] + " " + os.uname()[2],
        text_of("/etc/os-release") or text_of("/usr/lib/os-release"),
        text_of("/proc/sys/kernel/random/boot_id").strip(), os.getpid(),
    )
'''
# A function of several lines defined and called in one expression, without leaving a name on the target.
COLLECT = f"(lambda d: (eval(compile({SOURCE!r}, '<crl facts>', 'exec'), d), d['facts'])[1])({{}})"


@dataclass(frozen=True)
class TargetFacts:
    """Facts of a target.

    Attributes:
        hostname: Its own name.
        user: The user that we are there.
        uid: That user's number.
        python: Version of its Python.
        os: Name of its system, ``"Debian GNU/Linux 12 (bookworm)"``, or that of its kernel.
        boot_id: Changes with every boot; empty where the system has none.
        pid: Process id of the remote program.
    """

    hostname: str
    user: str
    uid: int
    python: tuple[int, int, int]
    os: str
    boot_id: str
    pid: int


def parse_os_release(text: str) -> dict[str, str]:
    """The assignments of an ``os-release`` file (see os-release(5)); lines that are none are left out."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if not equals or not name.replace("_", "").isalnum():
            continue
        try:
            found[name] = "".join(shlex.split(value))
        except ValueError:  # A quote that is not closed: the value as it stands is the best there is.
            found[name] = value
    return found


def parse_facts(answer: Any, host: str) -> TargetFacts:
    """The facts in the answer of `COLLECT`.

    Raises:
        RemoteWorldError: The answer is not what that function returns.
    """
    kinds = (str, str, int, tuple, str, str, str, int)
    well_formed = (
        isinstance(answer, tuple)
        and len(answer) == len(kinds)
        and all(isinstance(item, kind) for item, kind in zip(answer, kinds, strict=True))
        and len(answer[3]) == 3
        and all(isinstance(number, int) for number in answer[3])
    )
    if not well_formed:
        raise RemoteWorldError("the answer makes no sense", host=host, doing="asking for facts")
    hostname, user, uid, python, kernel, release, boot_id, pid = answer
    return TargetFacts(hostname, user, uid, python, parse_os_release(release).get("PRETTY_NAME", kernel), boot_id, pid)
