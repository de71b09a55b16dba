"""python-x2go's `Popen` of this name, on ordinary pipes: nothing of gevent is here.

It wraps `subprocess.Popen` and gives out what that has; only `communicate` and `wait` have python-x2go's arguments.
A program that patches its process with gevent itself gets cooperative waits by that.
"""

from __future__ import annotations

import subprocess
from subprocess import DEVNULL, PIPE, STDOUT
from typing import IO, Any, Self

__all__ = ["DEVNULL", "PIPE", "STDOUT", "Popen"]

CHECK_INTERVAL = 0.01


class Popen:
    """A process; arguments as of `subprocess.Popen`.

    Attributes:
        popen: The `subprocess.Popen` behind it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.popen: subprocess.Popen[Any] = subprocess.Popen(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name == "popen":  # the constructor has failed
            raise AttributeError(name)
        return getattr(self.popen, name)

    def _write_pipe(self, f: IO[Any], input: Any) -> None:  # noqa: A002 - the published name
        f.write(input)
        f.close()

    def _read_pipe(self, f: IO[Any]) -> Any:
        return f.read()

    def communicate(self, input: Any = None) -> tuple[Any, Any]:  # noqa: A002 - the published name
        """Send input, and read all output to its end."""
        return self._communicate(input)

    def _communicate(self, input: Any) -> tuple[Any, Any]:  # noqa: A002 - the published name
        return self.popen.communicate(input)

    def wait(self, check_interval: float = CHECK_INTERVAL, *, timeout: float | None = None) -> int:  # noqa: ARG002
        """Wait for the end, and give the status; the interval has no meaning, for the end is noticed at once."""
        return self.popen.wait(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.popen.__exit__(*exc)  # type: ignore[arg-type]
