"""Running programs of this machine for the lab, with a limit and an error that says what the program said.

It knows nothing of the lab but its errors; every call is bounded in time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from crl.lab.errors import LabCommandError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LIMIT: Final = 30.0
_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def call(
    argv: Sequence[str], *, doing: str, stdin: str = "", timeout: float = LIMIT, env: Mapping[str, str] | None = None
) -> str:
    """Run a program and give its output.

    Raises:
        LabCommandError: It could not be started, failed, or took too long.
    """
    path = f"{_SYSTEM_PATH}:{os.environ.get('PATH', '')}"
    environment = os.environ | {"PATH": path, "LC_ALL": "C.UTF-8"} | dict(env or {})
    try:
        result = subprocess.run(
            argv,
            input=stdin,
            text=True,
            errors="replace",
            capture_output=True,
            timeout=timeout,
            env=environment,
            check=False,
        )
    except FileNotFoundError as error:
        raise LabCommandError(f"{argv[0]} is not installed", doing=doing) from error
    except subprocess.TimeoutExpired as error:
        raise LabCommandError(f"{argv[0]} was not done after {timeout:g} s", doing=doing) from error
    if result.returncode:
        said = result.stdout + result.stderr
        raise LabCommandError(f"{argv[0]} ended with status {result.returncode}", doing=doing, transcript=said)
    return result.stdout


def lock(fd: int, timeout: float) -> bool:
    """Lock an open file or folder until it is closed; False when another process had it locked all the time."""
    command = ["flock", "--exclusive", "--timeout", str(timeout), str(fd)]
    return subprocess.run(command, pass_fds=[fd], check=False).returncode == 0


def start_program(module: str, arguments: Sequence[str], *, log: Path, keep: Sequence[int] = ()) -> None:
    """Start one of the lab's own programs in the background, child of nobody here.

    Args:
        module: It runs as ``python -m MODULE``.
        arguments: Its arguments.
        log: Where its output goes.
        keep: Descriptors that it inherits.
    """
    home = str(Path(__file__).resolve().parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))}
    with log.open("ab") as output:
        subprocess.run(
            ["setsid", "--fork", sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=keep,
            env=environment,
            timeout=LIMIT,
            check=True,
        )
