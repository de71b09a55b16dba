"""Other ways to the shells of the link's tests: by SSH, by telnet, over serial lines, and over lines that eat bytes.

With ``--over`` every test of the link that opens a lane to a local shell opens it over such a way instead. Each shell
has a connection of its own, so that no test can spoil another one's.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

from crl.channels.base import Channel
from crl.channels.process import ProcessChannel
from crl.channels.serial import SerialChannel
from crl.channels.ssh import connect
from crl.channels.telnet import TelnetChannel
from crl.link.lane import FLOW_CONTROL, PRINTABLE, TELNET, LaneKind
from tests.channels.conftest import Sshd, running_sshd
from tests.link.peers import Far, Program
from tests.shells.consoles import serial_line, telnetd

Way = Callable[[Program], Far]
LINE = Path(__file__).with_name("awkward.py")
# What a telnet server starts for each connection: it is told in the first line which program that shall be.
LOGIN = "#!/bin/sh\nstty -echo\nread -r program\nexec /bin/sh \"$program\"\n"


class Held:
    """A channel that takes something along when it is closed.

    Args:
        channel: What is read and written.
        held: What ends with it.
    """

    def __init__(self, channel: Channel, held: ExitStack) -> None:
        self._channel = channel
        self._held = held
        self.fileno = channel.fileno
        self.read = channel.read
        self.write = channel.write
        self.resize = channel.resize

    @property
    def name(self) -> str:
        """What the channel is connected to."""
        return self._channel.name

    @property
    def closed(self) -> bool:
        """Whether the channel was closed."""
        return self._channel.closed

    def close(self) -> None:
        """Close all; again is harmless."""
        self._channel.close()
        self._held.close()


@contextmanager
def _scripts() -> Iterator[Callable[[Program], Path]]:
    """Writes each program into a script of its own."""
    numbers = itertools.count()
    with tempfile.TemporaryDirectory(prefix="crl-way-") as folder:

        def write(program: Program) -> Path:
            path = Path(folder) / str(next(numbers))
            path.write_text(program.line + "\n", encoding="utf-8", errors="surrogateescape")
            return path

        yield write


@contextmanager
def paramiko_way() -> Iterator[Way]:
    """A connection of paramiko each."""
    with running_sshd() as server:

        def way(program: Program) -> Far:
            with ExitStack() as stack:
                connection = stack.enter_context(connect(server.settings()))
                channel = connection.open_channel(program.line, pty=program.kind != "pipe")
                return Far(Held(channel, stack.pop_all()))

        yield way


def _ssh(server: Sshd, *options: str) -> list[str]:
    known = ["-F", "none", "-o", f"UserKnownHostsFile={server.known_hosts}", "-p", str(server.port)]
    return ["ssh", *options, *known, "-i", str(server.folder / "id"), "-o", "BatchMode=yes", "root@127.0.0.1"]


@contextmanager
def openssh_way() -> Iterator[Way]:
    """An ``ssh`` each."""
    with running_sshd() as server:

        def way(program: Program) -> Far:
            terminal = "-T" if program.kind == "pipe" else "-tt"
            return Far(ProcessChannel([*_ssh(server, terminal, "-e", "none"), program.line], name="ssh"))

        yield way


@contextmanager
def escapes_way() -> Iterator[Way]:
    """An ``ssh`` each that acts on what begins a line with a tilde."""
    with running_sshd() as server:
        kind = LaneKind(forbidden=b"~")
        yield lambda program: Far(
            ProcessChannel([*_ssh(server, "-tt", "-e", "~"), program.line], name="ssh"), kind, terminal=True
        )


def _type(channel: Channel, data: bytes) -> None:
    while data:
        data = data[channel.write(data) :]


@contextmanager
def telnet_way() -> Iterator[Way]:
    """A telnet connection each, to a server that is not in binary mode."""
    with tempfile.TemporaryDirectory(prefix="crl-way-") as folder, _scripts() as script:
        login = Path(folder) / "login"
        login.write_text(LOGIN, encoding="ascii")
        login.chmod(0o700)
        with telnetd(str(login)) as port:

            def way(program: Program) -> Far:
                channel = TelnetChannel("127.0.0.1", port, timeout=20)
                _type(channel, f"{script(program)}\n".encode())
                return Far(channel, TELNET, terminal=True)

            yield way


@contextmanager
def serial_way() -> Iterator[Way]:
    """A serial line each, with software flow control, whose other end is a terminal."""
    kind = LaneKind(FLOW_CONTROL.forbidden, rate=11520)
    with tempfile.TemporaryDirectory(prefix="crl-way-") as folder, _scripts() as script:

        def way(program: Program) -> Far:
            with ExitStack() as stack:
                device = stack.enter_context(serial_line(Path(folder), f"/bin/sh {script(program)}"))
                return Far(Held(SerialChannel(device, flow="xonxoff"), stack.pop_all()), kind, terminal=True)

        yield way


@contextmanager
def awkward_way(kind: LaneKind, *words: str) -> Iterator[Way]:
    """A line each that does to bytes what the words say; see `awkward`."""
    with _scripts() as script:

        def way(program: Program) -> Far:
            argv = [sys.executable, str(LINE), *words, f"run={script(program)}"]
            return Far(ProcessChannel(argv, name="awkward line"), kind, terminal=True)

        yield way


CLEAN = ("openssh", "paramiko")
"""Carry every byte as it is."""
SLOW = "slow"
"""Carries so little that only chosen tests run over it."""
WAYS: dict[str, Callable[[], AbstractContextManager[Way]]] = {
    "openssh": openssh_way,
    "paramiko": paramiko_way,
    "escapes": escapes_way,
    "telnet": telnet_way,
    "serial": serial_way,
    "seven-bits": partial(awkward_way, PRINTABLE, "strip"),
    "console": partial(awkward_way, PRINTABLE, "strip", "crlf", "eat=001113", "break=80", "echo"),
    SLOW: partial(awkward_way, LaneKind(printable=True, rate=1200), "strip", "rate=1200"),
}
