"""Local programs: three separate streams, a controlling terminal, no leaks, and a quick, complete end."""

from __future__ import annotations

import fcntl
import os
import resource
import select
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from crl.channels import Channel, ChannelClosed, ChannelStartError, LocalPtyChannel, ProcessChannel
from crl.channels._child import Child
from crl.channels.conformance import read_exactly, write_all
from crl.errors import UsageError
from tests.link.peers import PATIENCE

from .conftest import drain


def test_output_errors_and_dialogue_arrive_on_three_channels() -> None:
    script = "echo out; echo err >&2; printf 'Password: ' >/dev/tty; read secret </dev/tty; echo got $secret"
    channel = ProcessChannel(["sh", "-c", script])
    try:
        assert read_exactly(channel.dialogue, 10) == b"Password: "
        write_all(channel.dialogue, b"hunter2\n")
        # The kernel may hand the line to its reader before it echoes it.
        assert read_exactly(channel.dialogue, 9) == b"hunter2\r\n"
        assert drain(channel) == b"out\ngot hunter2\n"
        assert drain(channel.stderr) == b"err\n"
        assert channel.wait(PATIENCE) == 0
        assert channel.dialogue.read() == b""
    finally:
        channel.close()


def test_the_child_has_a_controlling_terminal_and_no_descriptor_of_it() -> None:
    channel = ProcessChannel(["sh", "-c", "readlink /proc/self/fd/0 /proc/self/fd/1; cut -d' ' -f5,6,7 /proc/$$/stat"])
    try:
        *links, stat = drain(channel).decode().splitlines()
        assert all(link.startswith("socket:") for link in links)
        group, session, terminal = (int(word) for word in stat.split())
        assert group == session == channel.pid
        assert terminal != 0
    finally:
        channel.close()


def test_without_dialogue_there_is_no_controlling_terminal() -> None:
    channel = ProcessChannel(["sh", "-c", "cut -d' ' -f7 /proc/$$/stat"], dialogue=False)
    try:
        assert drain(channel) == b"0\n"
        with pytest.raises(UsageError, match="without a terminal"):
            _ = channel.dialogue
    finally:
        channel.close()


def test_a_shell_on_a_pty_has_job_control_and_the_size_that_was_asked_for() -> None:
    channel = LocalPtyChannel(["sh", "-c", "stty size; read _; stty size"], columns=97, rows=31)
    try:
        assert read_exactly(channel, 7) == b"31 97\r\n"
        channel.resize(120, 50)
        write_all(channel, b"\n")
        assert drain(channel).endswith(b"50 120\r\n")
    finally:
        channel.close()


@pytest.mark.parametrize("size", [(-1, 24), (80, 70000)])
def test_an_impossible_size_is_refused(size: tuple[int, int]) -> None:
    channel = LocalPtyChannel(["cat"])
    try:
        with pytest.raises(UsageError, match="columns"):
            channel.resize(*size)
    finally:
        channel.close()


def test_the_size_of_the_dialogue_can_be_set() -> None:
    channel = ProcessChannel(["sh", "-c", "read _; stty size </dev/tty"])
    try:
        channel.resize(101, 33)
        write_all(channel, b"\n")
        assert drain(channel) == b"33 101\n"
    finally:
        channel.close()


@pytest.fixture
def inheritable() -> Iterator[int]:
    """A descriptor that somebody in this process made inheritable."""
    descriptor = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(descriptor, True)  # noqa: FBT003
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize("kind", [ProcessChannel, LocalPtyChannel])
def test_no_descriptor_leaks_into_the_child(kind: type[ProcessChannel | LocalPtyChannel], inheritable: int) -> None:
    assert os.get_inheritable(inheritable)
    channel = kind(["ls", "/proc/self/fd"])
    try:
        assert drain(channel).split() == [b"0", b"1", b"2", b"3"]  # 3 is the listing's own
    finally:
        channel.close()


def test_ignored_signals_are_the_default_again_in_the_child() -> None:
    channel = ProcessChannel(["grep", "-E", "SigIgn|SigBlk", "/proc/self/status"])
    try:
        masks = [int(line.split()[1], 16) for line in drain(channel).splitlines()]
        internal = 3 << 31  # signals 32 and 33 belong to glibc, whose posix_spawn leaves them ignored
        assert [mask & ~internal for mask in masks] == [0, 0]
    finally:
        channel.close()


def test_the_environment_and_the_folder_are_those_given(tmp_path: Path) -> None:
    folder = tmp_path / "a 'quoted' $(folder); -n"
    folder.mkdir()
    channel = ProcessChannel([sys.executable, "-c", "import os; print(os.getcwd(), os.environ['X'])"],
                             env={"X": "1 2", "PATH": os.defpath}, cwd=folder)  # fmt: skip
    try:
        assert drain(channel).decode() == f"{folder} 1 2\n"
        assert channel.wait(PATIENCE) == 0
    finally:
        channel.close()


def test_a_program_that_is_not_there_is_named_with_the_path_that_was_searched() -> None:
    with pytest.raises(ChannelStartError) as caught:
        ProcessChannel(["no-such-program"], env={"PATH": "/usr/bin:/nowhere"})
    assert "'no-such-program'" in str(caught.value)
    assert "/usr/bin:/nowhere" in str(caught.value)


@pytest.mark.parametrize(("argv", "cwd"), [(["/no/such"], None), (["/etc/passwd"], None), (["ls"], "/no/such")])
def test_what_cannot_be_started_says_so_and_leaves_no_descriptor(argv: list[str], cwd: str | None) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for kind in (ProcessChannel, LocalPtyChannel):
        with pytest.raises(ChannelStartError):
            kind(argv, cwd=cwd)
    # What others had left open may be closed meanwhile.
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("argv", [[], "ls -l", ["a\0b"], ["a", 1]])
def test_an_impossible_argument_list_is_a_usage_error(argv: list[str]) -> None:
    with pytest.raises(UsageError, match="non-empty list"):
        ProcessChannel(argv)


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("kill -TERM $$", -15), ("kill -KILL $$", -9)])
def test_the_exit_status_is_negative_for_a_signal(script: str, status: int) -> None:
    channel = ProcessChannel(["sh", "-c", script])
    try:
        assert channel.wait(PATIENCE) == status
        assert channel.returncode == status
    finally:
        channel.close()
    assert channel.returncode == status


def test_waiting_for_a_running_program_ends_with_none() -> None:
    channel = ProcessChannel(["cat"])
    try:
        assert channel.wait(0.05) is None
        assert channel.returncode is None
        channel.end_writing()
        assert channel.wait(PATIENCE) == 0
    finally:
        channel.close()


def test_close_ends_the_whole_process_group() -> None:
    channel = ProcessChannel(["sh", "-c", "sleep 1000 & echo $!; wait"])
    child = int(read_exactly(channel, 1) + _line(channel))
    pidfd = os.pidfd_open(child)
    try:
        channel.close()
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        assert poll.poll(15_000), "a process of the group lives on"
    finally:
        os.close(pidfd)


def _line(channel: Channel) -> bytes:
    result = b""
    while not result.endswith(b"\n"):
        byte = read_exactly(channel, 1)
        assert byte, f"it ended after {result!r}"
        result += byte
    return result


def test_a_child_that_somebody_else_reaped_is_not_waited_for() -> None:
    channel = ProcessChannel(["true"])
    os.waitpid(channel.pid, 0)
    assert channel.wait(PATIENCE) == 255
    channel.close()
    assert channel.returncode == 255


def test_who_asks_whether_it_runs_while_another_thread_closes_it_gets_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look, looking, closed = Child._collect, threading.Event(), threading.Event()
    got: list[object] = []

    def slowly(child: Child, flags: int) -> None:
        if threading.current_thread() is asking:
            looking.set()
            closed.wait(0.5)
        look(child, flags)

    def ask() -> None:
        try:
            got.append(channel.returncode)
        except OSError as error:
            got.append(error)

    channel = ProcessChannel(["cat"])
    monkeypatch.setattr(Child, "_collect", slowly)
    asking = threading.Thread(target=ask)
    asking.start()
    assert looking.wait(PATIENCE)
    channel.close()
    closed.set()
    asking.join(PATIENCE)
    assert got in ([None], [-signal.SIGHUP])


def test_other_children_are_left_alone() -> None:
    other = os.posix_spawn("/bin/true", ["true"], {})
    channel = ProcessChannel(["true"])
    channel.wait(PATIENCE)
    channel.close()
    assert os.waitpid(other, 0) == (other, 0)


def test_a_parent_that_ignores_sigchld_still_gets_an_end() -> None:
    old = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        channel = ProcessChannel(["cat"])
        channel.close()
        assert channel.returncode is not None
    finally:
        signal.signal(signal.SIGCHLD, old)


def test_descriptors_above_1023_work() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    null = os.open("/dev/null", os.O_RDONLY)
    held = [fcntl.fcntl(null, fcntl.F_DUPFD_CLOEXEC, 0) for _ in range(1100)]
    try:
        for kind in (ProcessChannel, LocalPtyChannel):
            channel = kind(["sh", "-c", "echo hello"])
            try:
                assert channel.fileno() > 1023
                assert drain(channel).strip() == b"hello"
                assert channel.wait(PATIENCE) == 0
            finally:
                channel.close()
    finally:
        for descriptor in (*held, null):
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_standard_descriptors_that_are_closed_here_do_not_confuse_the_child() -> None:
    code = (
        "import os\nfor n in (0, 1, 2): os.close(n)\n"
        "from crl.channels import ProcessChannel\nfrom crl.channels.conformance import read_to_end\n"
        "c = ProcessChannel(['sh', '-c', 'echo out; echo err >&2'])\n"
        "good = (read_to_end(c), read_to_end(c.stderr)) == (b'out\\n', b'err\\n')\nc.close()\nos._exit(not good)\n"
    )
    channel = ProcessChannel([sys.executable, "-c", code])
    try:
        assert channel.wait(PATIENCE) == 0, drain(channel.stderr)
    finally:
        channel.close()


def test_errors_cannot_be_written_to() -> None:
    channel = ProcessChannel(["cat"])
    try:
        with pytest.raises(UsageError, match="reading only"):
            channel.stderr.write(b"x")
    finally:
        channel.close()
    with pytest.raises(ChannelClosed):
        channel.stderr.read()


def test_a_channel_that_is_forgotten_warns_and_ends_its_program() -> None:
    channel = ProcessChannel(["cat"])
    pidfd = os.pidfd_open(channel.pid)
    with pytest.warns(ResourceWarning, match="was not closed"):
        del channel
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    assert poll.poll(15_000)
    os.close(pidfd)
