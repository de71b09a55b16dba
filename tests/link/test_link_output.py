"""Whatever code on the target writes arrives as events: exact, in order, before its call's answer, and bounded."""

from __future__ import annotations

import logging
import resource
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crl.link import Link, LinkLost, OutputEvent
from crl.link._output import WAITING_LIMIT, OutputLog
from tests.link.peers import INTERPRETERS, Shell, eventually

MakeLink = Callable[..., Link]
BOTH_KINDS = pytest.mark.parametrize("kind", ["pipe", "pty"])
NEWEST = INTERPRETERS[-1]
MEBIBYTE = 1024 * 1024


class Recorder:
    """All output of a link, and the threads that brought it."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.events: list[OutputEvent] = []
        self.threads: set[str] = set()
        self.end = link.on_output(self._take)

    def _take(self, event: OutputEvent) -> None:
        self.threads.add(threading.current_thread().name)
        self.events.append(event)

    def text(self, stream: str | None = None) -> str:
        """What has arrived by now, of one stream or of both."""
        assert self.link.settle_output(60)
        return b"".join(e.data for e in self.events if stream in (None, e.stream)).decode()


@pytest.mark.parametrize("python", INTERPRETERS, ids=lambda path: path.split("/")[-3])
def test_every_way_of_writing_arrives_before_the_answer(make_link: MakeLink, python: str) -> None:
    recorder = Recorder(link := make_link("pty", python=python))
    ways = {
        "import sys; sys.stdout.write('print\\n')": ("stdout", "print\n"),
        "import os; os.write(1, b'descriptor\\n')": ("stdout", "descriptor\n"),
        "os.system('echo child; echo sad >&2')": ("stderr", "sad\n"),
        "import logging; logging.basicConfig(format='%(message)s')\nlogging.warning('logged')": ("stderr", "logged\n"),
        "import warnings; warnings.warn('look out')": ("stderr", "UserWarning: look out\n"),
        "sys.stderr.write('error\\n')": ("stderr", "error\n"),
        "__import__('ctypes').CDLL(None).dprintf(1, b'from C\\n')": ("stdout", "from C\n"),
    }
    for code, (stream, expected) in ways.items():
        if "ctypes" in code and not _has_ctypes(link):
            continue
        recorder.events.clear()
        link.evaluate(code)
        assert expected in recorder.text(stream), code
    assert recorder.threads == {"crl-output"}


def _has_ctypes(link: Link) -> bool:
    try:
        link.evaluate("__import__('ctypes').CDLL(None).dprintf and None")
    except (ImportError, AttributeError):
        return False
    return True


def test_the_last_error_of_a_thread_arrives(make_link: MakeLink) -> None:
    recorder = Recorder(link := make_link())
    link.evaluate("import threading\ndef fail(): raise ValueError('in a thread')\nt = threading.Thread(target=fail)")
    link.evaluate("t.start(), t.join()")
    assert "ValueError: in a thread" in recorder.text("stderr")
    assert "Traceback" in recorder.text("stderr")


@BOTH_KINDS
def test_output_of_each_call_is_there_when_it_is_answered(make_link: MakeLink, kind: str) -> None:
    recorder = Recorder(link := make_link(kind))
    link.evaluate("import os, sys")
    for number in range(300):
        link.evaluate(f"sys.stdout.write('{number}\\n')" if number % 2 else f"os.write(2, b'{number}\\n')")
        assert recorder.text().endswith(f"{number}\n")
    # Written by turns and read one by one, both streams together are in order too.
    assert recorder.text().split() == [str(number) for number in range(300)]


def test_pieces_cross_byte_for_byte(make_link: MakeLink) -> None:
    recorder = Recorder(link := make_link("pty"))
    data = bytes(range(256)) * 200
    link.evaluate("import os")
    link.invoke("lambda data: [os.write(1, data[i:i + 1000]) for i in range(0, len(data), 1000)] and None", data)
    # On a slow lane it need not be through yet.
    assert eventually(lambda: b"".join(event.data for event in recorder.events) == data)


def test_an_ended_subscription_is_quiet_and_a_failing_one_disturbs_nobody(
    make_link: MakeLink, caplog: pytest.LogCaptureFixture
) -> None:
    link = make_link()

    def fail(event: OutputEvent) -> None:
        raise OSError(event.stream)

    end = link.on_output(fail)
    recorder = Recorder(link)
    with caplog.at_level(logging.INFO):
        link.evaluate("print('one')")
        assert recorder.text() == "one\n"
        end()
        recorder.end()
        link.evaluate("print('two')")
        assert link.settle_output(60)
    assert recorder.text() == "one\n"
    told = [(record.name, record.getMessage()) for record in caplog.records]
    assert told.count(("crl.link._output", "a callback failed on output of the target")) == 1
    assert [text for name, text in told if name == "crl.remote.localhost"] == ["one", "two"]


def test_the_end_of_a_line_that_was_logged_is_no_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "crl.remote")
    log = OutputLog("nowhere")
    for number in range(3):
        log.take(1, b"no end")
        assert eventually(lambda number=number: len(caplog.records) == 3 * number + 1)  # type: ignore[misc]
        log.take(1, b"\nnext\n\n")
        assert log.settle(20)
    log.close(20)
    assert [record.getMessage() for record in caplog.records] == ["no end", "next", ""] * 3


def test_a_callback_may_call_the_target(make_link: MakeLink) -> None:
    link = make_link()
    answers: list[object] = []
    link.on_output(lambda event: answers.append((link.evaluate("6 * 7", timeout=60), link.settle_output(60))))
    link.evaluate("print('ask me')")
    assert link.settle_output(60)
    assert answers == [(42, False)]


# -- the end -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def mortal(make_shell: Callable[..., Shell]) -> Iterator[Callable[..., Link]]:
    """Links whose program is about to die."""
    links: list[Link] = []

    def make(kind: str, python: str | None = None) -> Link:
        links.append(Link.start(make_shell(kind).lane(), timeout=60, python=python))
        return links[-1]

    yield make
    for link in links:
        link.close()


DEATHS = {
    "SIGSEGV": "import os, faulthandler; faulthandler.enable(); os.write(1, b'out'); os.kill(os.getpid(), 11)",
    "SIGABRT": "import os; os.write(2, b'err'); os.write(1, b'out'); os.abort()",
    "SIGKILL": "import os; os.write(1, b'out'); os.write(2, b'err'); os.kill(os.getpid(), 9)",
}


@BOTH_KINDS
@pytest.mark.parametrize("name", DEATHS)
def test_a_crash_is_named_and_its_last_words_come_first(mortal: Callable[..., Link], kind: str, name: str) -> None:
    recorder = Recorder(link := mortal(kind))
    with pytest.raises(LinkLost) as caught:
        link.evaluate(DEATHS[name])
    assert recorder.text("stdout").endswith("out")
    assert ("Segmentation fault" if name == "SIGSEGV" else "err") in recorder.text("stderr")
    if not _is_bash("/bin/sh"):
        # bash takes its children's end away before anybody can look at it.
        assert name in str(caught.value)
    assert link.close(20)


def _is_bash(shell: str) -> bool:
    return Path(shell).resolve().name == "bash"


def test_a_program_that_user_code_leaves_says_its_last_words_too(mortal: Callable[..., Link]) -> None:
    recorder = Recorder(link := mortal("pty"))
    # What others write to the terminal is none of them.
    link.evaluate("import os; os.system('echo noise >/proc/%d/fd/1' % os.getppid())")
    with pytest.raises(LinkLost, match="by force"):
        link.evaluate("os.write(1, b'bye'); os._exit(0)")
    assert recorder.text() == "bye"


def test_a_child_that_goes_on_writing_does_not_hold_up_the_end(mortal: Callable[..., Link]) -> None:
    recorder = Recorder(link := mortal("pty"))
    link.evaluate("import os, subprocess; child = subprocess.Popen(['sh', '-c', 'while echo more; do :; done'])")
    child = link.evaluate("child.pid")
    assert eventually(lambda: "more" in recorder.text())
    with pytest.raises(LinkLost):
        link.evaluate("os.kill(os.getpid(), 9)", timeout=60)
    assert link.close(20)
    # Nobody reads what it writes any more.
    assert eventually(lambda: not Path(f"/proc/{child}").exists())


def test_output_of_exit_functions_arrives(mortal: Callable[..., Link]) -> None:
    recorder = Recorder(link := mortal("pty"))
    link.evaluate("import atexit, sys; atexit.register(sys.stdout.write, 'at the end\\n')")
    assert link.close(20)
    assert recorder.text() == "at the end\n"


# -- bounds ------------------------------------------------------------------------------------------------------------

FLOOD = """
import os, threading
def flood(megabytes):
    line = b"x" * 1023 + b"\\n"
    for _ in range(megabytes * 1024):
        os.write(1, line)
flooder = threading.Thread(target=flood, args=({megabytes},))
flooder.start()
"""
PEAK = "int(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0]) // 1024"


@pytest.mark.parametrize(
    ("kind", "megabytes"), [("pty", 10), pytest.param("pty", 100, marks=pytest.mark.long), ("pipe", 10)]
)
@pytest.mark.here_only("it has limits of time for megabytes")
def test_a_flood_is_bounded_and_delays_no_call(
    make_link: MakeLink, kind: str, megabytes: int, figure: Callable[[str], None]
) -> None:
    link = make_link(kind, python=NEWEST)
    counts = {"bytes": 0}

    def count(event: OutputEvent) -> None:
        counts["bytes"] += len(event.data)

    link.on_output(count)
    before, own_before = link.evaluate(PEAK), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    link.evaluate(FLOOD.format(megabytes=megabytes))
    longest = 0.0
    while link.evaluate("flooder.is_alive()"):
        started = time.monotonic()
        assert link.evaluate("1") == 1
        longest = max(longest, time.monotonic() - started)
    grown = link.evaluate(PEAK) - before
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024 - own_before
    assert link.settle_output(60)
    figure(f"target +{grown} MiB, controller +{own} MiB, longest call {longest * 1000:.0f} ms")
    assert grown <= 12
    assert own <= 3 * WAITING_LIMIT // MEBIBYTE
    assert longest < 5.0
    # A link that keeps up loses nothing; what a slow handler here could not take has been counted.
    assert counts["bytes"] > 0


def test_what_a_standing_link_cannot_take_is_dropped_counted_and_said(
    make_shell: Callable[..., Shell], tmp_path: Path
) -> None:
    written = tmp_path / "written"

    class Blockable:
        """A channel that can stop reading, as a network that stands still."""

        def __init__(self, inner: object) -> None:
            self._inner = inner
            self.standing = False

        def read(self, size: int = 65536) -> bytes:
            if self.standing:
                raise BlockingIOError
            return self._inner.read(size)  # type: ignore[attr-defined, no-any-return]

        def __getattr__(self, name: str) -> object:
            return getattr(self._inner, name)

    blockable: list[Blockable] = []

    def wrap(channel: object) -> object:
        blockable.append(Blockable(channel))
        return blockable[0]

    lane = make_shell("pipe").lane(wrap)  # type: ignore[arg-type]
    with Link.start(lane, timeout=60) as link:
        recorder = Recorder(link)
        link.evaluate(FLOOD.format(megabytes=0))
        # Before, or much of it may be here by the time that we are asked for again.
        blockable[0].standing = True
        flooding = link.submit_evaluate(f"flood(8) or os.mkdir({str(written)!r})")
        # The program goes on although nobody takes what it writes.
        assert eventually(written.exists)
        blockable[0].standing = False
        flooding.result(60)
        assert eventually(lambda: "bytes of output dropped]" in recorder.text())

        def told() -> tuple[int, int]:
            """How much came, and how much was dropped."""
            text = recorder.text()
            dropped = sum(int(part.rpartition("[")[2]) for part in text.split(" bytes of output dropped]")[:-1])
            return text.count("x") + text.count("\n"), dropped

        # What a slow lane has in its buffers comes behind.
        assert eventually(lambda: sum(told()) >= 8 * MEBIBYTE)
        assert told()[1] > 4 * MEBIBYTE


def test_a_slow_handler_bounds_memory_and_loses_with_a_count() -> None:
    log = OutputLog("nowhere")
    entered, gate = threading.Event(), threading.Event()
    seen: list[OutputEvent] = []

    def slow(event: OutputEvent) -> None:
        entered.set()
        gate.wait(60)
        seen.append(event)

    log.subscribe(slow)
    log.take(1, bytes(MEBIBYTE))
    # Who comes for the first only when much has been dropped tells of that first, and of the rest later.
    assert entered.wait(60)
    for _ in range(19):
        log.take(1, bytes(MEBIBYTE))
    assert not log.settle(0.05)
    gate.set()
    log.close(20)
    notice = [event.data for event in seen if event.stream == "stderr"]
    taken = sum(len(event.data) for event in seen if event.stream == "stdout")
    assert notice == [f"[{20 * MEBIBYTE - taken} bytes of output dropped]\n".encode()]
    assert taken <= WAITING_LIMIT + MEBIBYTE
