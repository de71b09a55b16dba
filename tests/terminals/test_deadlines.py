"""The table of limits: each kind of wait ends when it should, with a live, a frozen and a cut peer.

*Frozen* is a remote program that is stopped, *cut* a connection that is gone and cannot be had again for the moment.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from crl.interactivesessions.autorunnerterminal import AutoRunnerTerminal
from crl.interactivesessions.runnerexceptions import (
    InvalidProxySession,
    RemoteTimeout,
    RunnerTerminalSessionBroken,
)
from crl.interactivesessions.shells.bashshell import BashShell
from crl.interactivesessions.shells.shell import TimeoutError as ShellTimeout
from tests.link.peers import eventually, freeze
from tests.terminals.conftest import Make, gate
from tests.terminals.sshd import Sshd

LIMIT = 0.6
# Less than five seconds of doubt, or any other limit that could have ended the wait.
SLACK = 4.0


class Peer:
    """A terminal whose target can be taken away and given back.

    Args:
        state: ``live``, ``frozen`` or ``cut``.
        terminal: The terminal, over ssh.
        server: Its server.
    """

    def __init__(self, state: str, terminal: AutoRunnerTerminal, server: Sshd) -> None:
        self.state = state
        self.terminal = terminal
        self._server = server
        self._program = 0
        self._open_gate = gate(terminal)

    def take_away(self) -> None:
        """From now on nothing is answered, unless the peer is a live one."""
        self._program = self.terminal.link.facts.pid
        assert eventually(lambda: self.terminal.link.resumable)
        if self.state == "frozen":
            freeze(self._program)
        elif self.state == "cut":
            self._server.__exit__()
            session = self.terminal.get_session()
            os.kill(session.terminal.channel.pid, signal.SIGKILL)
            assert eventually(lambda: self.terminal.link.engine.down is not None)

    def give_back(self) -> None:
        """It answers again, and what waits there goes on."""
        if self.state == "frozen":
            os.kill(self._program, signal.SIGCONT)
        elif self.state == "cut":
            self._server.listen()
        self._open_gate()


@pytest.fixture(params=["live", "frozen", "cut"])
def peer(request: pytest.FixtureRequest, sshd: Sshd, make: Make, tmp_path: Any) -> Iterator[Peer]:
    with contextlib.ExitStack() as own:
        # One that is ended and started again is the test's own.
        server = own.enter_context(Sshd(tmp_path)) if request.param == "cut" else sshd
        terminal = make(server.shell())
        terminal.initialize_if_needed()
        yield Peer(request.param, terminal, server)
        terminal.close()


@contextlib.contextmanager
def takes(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    took = time.monotonic() - started
    assert seconds - 0.05 <= took < seconds + SLACK


# A wait for the answer would not have ended with an error.
SLOW = "gate.wait(60) and 'late'"


def _checked(peer: Peer, use: Callable[[], Any], seconds: float) -> RemoteTimeout:
    """Use it while the peer does not answer; the timeout, which names what is wrong with the link."""
    with takes(seconds), pytest.raises(RemoteTimeout) as caught:
        use()
    if peer.state == "cut":
        assert "down" in str(caught.value)
    return caught.value


def test_a_timeout_of_zero_or_more_is_kept_and_redeemed(peer: Peer) -> None:
    peer.take_away()
    late = _checked(peer, lambda: peer.terminal.run_python(SLOW, timeout=LIMIT), LIMIT)
    peer.give_back()
    assert peer.terminal.get_response(late, 60) == "late"


def test_a_negative_timeout_does_not_wait_for_the_answer(peer: Peer) -> None:
    peer.take_away()
    with takes(0.0), pytest.raises(RemoteTimeout) as caught:
        peer.terminal.run_python(SLOW, timeout=-1)
    peer.give_back()
    assert peer.terminal.get_response(caught.value, 60) == "late"


def test_none_means_the_default(peer: Peer) -> None:
    assert peer.terminal.default_timeout == 3600
    peer.terminal.set_default_timeout(LIMIT)
    peer.take_away()
    late = _checked(peer, lambda: peer.terminal.run_python(SLOW), LIMIT)
    peer.give_back()
    assert peer.terminal.get_response(late, 60) == "late"


def test_a_proxy_keeps_its_timeout(peer: Peer) -> None:
    proxy = peer.terminal.get_recursive_proxy("gate")
    proxy.set_remote_proxy_timeout(LIMIT)
    peer.take_away()
    late = _checked(peer, lambda: proxy.wait(60), LIMIT) if peer.state == "live" else None
    if late is None:
        late = _checked(peer, lambda: proxy.wait, LIMIT)
    peer.give_back()
    proxy.set_remote_proxy_timeout(60)
    proxy.get_remote_proxy_response(late, 60)
    assert proxy.is_set() is True


def test_the_one_endless_wait_ends_with_ctrl_c(peer: Peer) -> None:
    proxy = peer.terminal.get_recursive_proxy("gate")
    proxy.remote_proxy_use_asynchronous_response()
    peer.take_away()
    handle = proxy.wait(60) if peer.state == "live" else _checked_start(peer)
    with takes(LIMIT), _ctrl_c("get_remote_proxy_response"), pytest.raises(KeyboardInterrupt):
        proxy.get_remote_proxy_response(handle)
    peer.give_back()
    proxy.get_remote_proxy_response(handle, 60)


@contextlib.contextmanager
def _ctrl_c(inside: str) -> Iterator[None]:
    """Interrupt the main thread some time after it has come into a function."""

    def names() -> set[str]:
        stack = traceback.walk_stack(sys._current_frames()[threading.main_thread().ident or 0])
        return {frame.f_code.co_name for frame, _ in stack}

    def interrupt() -> None:
        assert eventually(lambda: inside in names())
        threading.Event().wait(LIMIT)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _checked_start(peer: Peer) -> RemoteTimeout:
    """A call under way that is not answered now."""
    with pytest.raises(RemoteTimeout) as caught:
        peer.terminal.run_python("None", timeout=-1)
    return caught.value


def test_the_one_endless_wait_ends_with_the_session(make: Make) -> None:
    terminal = make()
    terminal.initialize_if_needed()
    proxy = terminal.get_recursive_proxy("__import__('time')")
    proxy.remote_proxy_use_asynchronous_response()
    handle = proxy.sleep(60)
    killer = threading.Timer(LIMIT, os.kill, (terminal.link.facts.pid, signal.SIGKILL))
    with takes(LIMIT):
        killer.start()
        with pytest.raises(InvalidProxySession):
            proxy.get_remote_proxy_response(handle)
    killer.join()


def test_a_session_that_is_known_to_be_lost_is_told_as_such(make: Make) -> None:
    terminal = make()
    terminal.initialize_if_needed()
    os.kill(terminal.link.facts.pid, signal.SIGKILL)
    with takes(0.0), pytest.raises(RunnerTerminalSessionBroken):
        terminal.run_python("1", timeout=30)


@pytest.mark.parametrize("state", ["live", "frozen"])
def test_a_shell_has_sixty_seconds(state: str) -> None:
    from crl.interactivesessions import autorecoveringterminal

    assert autorecoveringterminal.RUN_TIMEOUT == 60.0
    session = autorecoveringterminal.AutoRecoveringTerminal()
    session.initialize(BashShell(), max_tries=1)
    try:
        assert session.run("echo hello").strip() == "hello"
        opened = session.get_session()
        assert opened is not None
        assert opened.terminal_expect_timeout == 60
        opened.terminal.timeout = LIMIT
        pid = opened.terminal.channel.pid
        if state == "frozen":
            freeze(pid)
        try:
            with takes(LIMIT), pytest.raises(ShellTimeout):
                session.run("echo asked; sleep 5")
        finally:
            # A command that takes too long ends its session, and the shell with it.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    finally:
        session.close()
