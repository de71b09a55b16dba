"""A shell in the middle of a stack ends under a link: nothing that was under way is executed, and the link goes on."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path

from crl.interactivesessions.InteractiveSession import InteractiveSession
from crl.link import Link
from tests.link.peers import eventually
from tests.terminals.sshd import Sshd

COUNT = 100_000


def ssh_below(pid: int) -> int:
    """The ssh that a shell runs, perhaps by another one."""
    while Path(f"/proc/{pid}/comm").read_text() != "ssh\n":
        pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
    return pid


def logins_by(sshd: Sshd) -> list[str]:
    """The command lines of all ssh that go to a server, whoever started them."""
    wanted, found = b"\0-p\0%d\0" % sshd.port, []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            words = entry.read_bytes()
            found += [words.decode("utf-8", "replace")] * (wanted in words)
    return found


def test_the_inner_ssh_is_killed_while_a_file_goes_through_it(
    sshd: Sshd, tmp_path: Path, nothing_left: None
) -> None:
    mark, source, copy = tmp_path / "executed", tmp_path / "source", tmp_path / "copy"
    source.write_bytes(b"touch %s\n" % os.fsencode(mark) * COUNT)
    session = InteractiveSession()
    try:
        session.spawn(sshd.shell())
        outer = int(session.current_shell().exec_command("echo $$"))
        session.push(sshd.shell())
        with Link.start(session.lane()) as link:
            assert eventually(lambda: link.why_not_resumable is None)
            begun = threading.Event()
            pushing = threading.Thread(
                target=lambda: link.files.push(source, copy, progress=lambda _: begun.set()), name="pushing"
            )
            pushing.start()
            assert begun.wait(30)
            os.kill(ssh_below(outer), signal.SIGKILL)
            assert eventually(lambda: link.engine.down is not None)
            reason = link.engine.down
            pushing.join(60)
            assert not pushing.is_alive()
            assert reason is None or "the shell it ran in has ended" in reason.message
            assert copy.read_bytes() == source.read_bytes()
        assert not mark.exists()
    finally:
        session.close_terminal()
    assert eventually(lambda: logins_by(sshd) == [])
