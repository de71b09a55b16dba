"""The same X2Go steps with plain ssh and nxproxy, to compare: no crl in the way.

It starts sessions as the X2Go documentation shows them: one ssh for each command, ``ssh -L`` as tunnel, nxproxy with
an options file. It measures the time from the request to the agent's RUNNING, and ends all it started.
"""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

__all__ = ["PlainSession"]

ENVIRONMENT = "export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin;"
UP = b"Established X server connection"


class PlainSession:
    """An X2Go desktop session by plain programs.

    Args:
        config: OpenSSH configuration.
        alias: The host in it.
        display: The X display of this side, and its cookie file.
    """

    def __init__(self, config: Path, alias: str, display: tuple[str, str | None]) -> None:
        self._ssh = ["ssh", "-F", str(config), "-T", alias]
        self._tunnel = ["ssh", "-F", str(config), "-N", "-o", "ExitOnForwardFailure=yes"]
        self._alias = alias
        self._display = display

    def seconds_to_running(self, cmd: str) -> float:
        """Start a session, wait until the agent's state file says RUNNING, and end it again."""
        begin = time.monotonic()
        lines = self._run(
            f"{ENVIRONMENT} x2gostartagent 1024x768 lan nopack unix-kde-depth_24 us pc105/us 0 D {cmd} both"
        ).split()
        number, cookie, _pid, session, port = lines[:5]
        try:
            with self._connected(int(port)) as local, self._proxied(local, cookie, number):
                state = ""
                while state.strip() != "RUNNING":
                    state = self._run(f"/usr/lib/x2go/x2gogetagentstate {session}")
                    if time.monotonic() - begin > 60:
                        raise TimeoutError(f"{session} is {state} after a minute")
                return time.monotonic() - begin
        finally:
            folders = f"/tmp/.x2go-$USER/C-{session} ~/.x2go/C-{session}"
            self._run(f"{ENVIRONMENT} x2goterminate-session {session}; rm -rf {folders}")

    def _run(self, line: str) -> str:
        done = subprocess.run([*self._ssh, line], capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise RuntimeError(f"ssh {self._alias}: {line}: status {done.returncode}: {done.stderr}")
        return done.stdout

    @contextmanager
    def _connected(self, port: int) -> Iterator[int]:
        """An ssh that forwards a port of the host, ready to be used."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            local = probe.getsockname()[1]
        argv = [*self._tunnel, "-L", f"127.0.0.1:{local}:127.0.0.1:{port}", "-o", "PermitLocalCommand=yes"]
        # The local command runs when the forwarding stands: the event to wait for.
        ssh = subprocess.Popen(
            [*argv, "-o", "LocalCommand=echo ready", self._alias], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        try:
            assert ssh.stdout is not None
            ssh.stdout.readline()
            yield local
        finally:
            ssh.terminate()
            ssh.wait(10)
            assert ssh.stdout is not None
            ssh.stdout.close()

    @contextmanager
    def _proxied(self, port: int, cookie: str, number: str) -> Iterator[None]:
        """An nxproxy that shows the session."""
        with tempfile.TemporaryDirectory() as folder:
            options = Path(folder, "options")
            options.touch(0o600)
            options.write_text(
                f"nx/nx,retry=5,composite=1,connect=127.0.0.1,clipboard=1,cookie={cookie},port={port},"
                f"errors={folder}/errors:{number}"
            )
            name, xauthority = self._display
            env = {**os.environ, "DISPLAY": name, "NX_CLIENT": "/bin/true", "NX_ROOT": folder}
            if xauthority:
                env["XAUTHORITY"] = xauthority
            argv = ["nxproxy", "-S", f"nx/nx,options={options}:{number}"]
            proxy = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            try:
                assert proxy.stdout is not None
                _await_line(proxy.stdout, UP, 30.0)
                yield
            finally:
                proxy.terminate()
                proxy.wait(10)
                assert proxy.stdout is not None
                proxy.stdout.close()


def _await_line(output: IO[bytes], wanted: bytes, timeout: float) -> None:
    """Wait until a program has written something."""
    seen = b""
    until = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while wanted not in seen:
            if not selector.select(until - time.monotonic()):
                raise TimeoutError(f"nxproxy has not said {wanted!r}; its output: {seen!r}")
            data = os.read(output.fileno(), 4096)
            if not data:
                raise RuntimeError(f"nxproxy ended: {seen!r}")
            seen += data
