"""What the published documents promise of terminals and proxies, promise by promise, on a host of the lab.

The classes stand in the documents' order; each test is one promise, said in our words. One session serves all that
leave it as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from crl.interactivesessions import AutorecoveringTerminal, InteractiveSession, SshShell
from crl.interactivesessions.autorecoveringterminal import AutoRecoveringTerminal
from crl.interactivesessions.autorunnerterminal import AutoRunnerTerminal
from crl.interactivesessions.remoteproxies import _RecursiveProxy, _RemoteProxy
from crl.interactivesessions.runnerexceptions import (
    InvalidProxySession,
    RemoteTimeout,
    RunnerException,
    RunnerTerminalSessionBroken,
    RunnerTerminalSessionClosed,
    RunnerTerminalUnableToDeserialize,
    SessionInitializationFailed,
    responsehandler,
)
from crl.interactivesessions.runnerterminal import RunnerTerminal
from crl.interactivesessions.shells import BashShell
from crl.lab import Lab
from tests.terminals.conftest import gate

pytestmark = pytest.mark.lab

NOT_IN_A_HURRY = 60


@pytest.fixture(scope="module")
def shells(lab: Lab) -> Callable[[], list[Any]]:
    """Makes the way to the host."""
    return lambda: [SshShell("alpha", config=lab.ssh_config)]


@pytest.fixture(scope="module")
def term(shells: Callable[[], list[Any]]) -> Iterator[AutoRunnerTerminal]:
    """The session for all tests that leave it as it is."""
    made = AutoRunnerTerminal()
    made.initialize_with_shells(shells())
    made.initialize_if_needed()
    made.import_libraries("os", "collections")
    yield made
    made.close()


@pytest.fixture
def auto(shells: Callable[[], list[Any]]) -> Iterator[AutoRunnerTerminal]:
    """One that a test may open, lose and close."""
    made = AutoRunnerTerminal()
    made.initialize_with_shells(shells())
    yield made
    made.close()


@pytest.fixture
def recovering() -> Iterator[AutoRecoveringTerminal]:
    """A terminal of shells; what they are matters to none of its sentences."""
    made = AutoRecoveringTerminal()
    yield made
    made.close()


class Broken(Exception):
    """What a test takes for a broken session."""


class Flaky(BashShell):
    """A shell that starts at the `starts_at`-th try."""

    tries = 0
    starts_at = 1

    def start(self) -> str:
        type(self).tries += 1
        if self.tries < self.starts_at:
            raise Broken(self.tries)
        return super().start()


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> type[Flaky]:
    monkeypatch.setattr(Flaky, "tries", 0)
    monkeypatch.setattr(Flaky, "starts_at", 3)
    return Flaky


class TestAutoRecoveringTerminal:
    def test_example(self, shells: Callable[[], list[Any]]) -> None:
        """The example of the documents runs, with its own spelling of the import."""
        term = AutorecoveringTerminal()
        term.initialize(shells()[0])
        assert term.run("echo hello world!").strip() == "hello world!"
        term.close()

    def test_close(self, recovering: AutoRecoveringTerminal) -> None:
        """What was closed is usable again after initialize_terminal."""
        recovering.initialize(BashShell())
        recovering.initialize_terminal()
        recovering.close()
        assert recovering.get_session() is None
        recovering.initialize_terminal()
        assert recovering.run("echo again").strip() == "again"

    def test_initialize(self, recovering: AutoRecoveringTerminal, flaky: type[Flaky]) -> None:
        """To say what the terminal consists of opens nothing; initialize_terminal does."""
        recovering.initialize([flaky()])
        assert (recovering.get_session(), flaky.tries) == (None, 0)
        flaky.starts_at = 1
        recovering.initialize_terminal()
        assert recovering.get_session() is not None

    def test_retry_run(self, recovering: AutoRecoveringTerminal) -> None:
        """The opening may be left to the first retry_run."""
        recovering.initialize(BashShell())
        assert recovering.get_session() is None
        assert recovering.retry_run("echo opened").strip() == "opened"

    @pytest.mark.parametrize("several", [False, True])
    def test_shells(self, recovering: AutoRecoveringTerminal, several: bool) -> None:
        """One shell, or a list of them, is what the terminal comes to."""
        recovering.initialize([BashShell(), BashShell(workdir="/usr")] if several else BashShell(workdir="/usr"))
        assert recovering.run("pwd").strip() == "/usr"
        session = recovering.get_session()
        assert session is not None
        assert session.get_nbr_of_shells() == 1 + several

    @pytest.mark.parametrize(("classes", "recovers"), [(Broken, True), ([OSError, Broken], True), (OSError, False)])
    def test_broken_exceptions(self, recovering: AutoRecoveringTerminal, classes: Any, recovers: bool) -> None:
        """One of the classes given means a broken session, which is recovered; another one does not."""
        recovering.initialize(BashShell(), broken_exceptions=classes)
        recovering.initialize_terminal()
        before = recovering.get_session()
        with pytest.raises(Broken), recovering.auto_close():
            raise Broken
        recovering.initialize_if_needed()
        assert (recovering.get_session() is not before) == recovers

    def test_broken_by_default(self, recovering: AutoRecoveringTerminal) -> None:
        """Unless classes are given, every exception means that."""
        recovering.initialize(BashShell())
        recovering.initialize_terminal()
        before = recovering.get_session()
        with pytest.raises(LookupError), recovering.auto_close():
            raise LookupError
        recovering.initialize_if_needed()
        assert recovering.get_session() is not before

    def test_init_broken_exceptions(self, recovering: AutoRecoveringTerminal, flaky: type[Flaky]) -> None:
        """While the session is opened, only the classes given are tried again."""
        recovering.initialize(flaky(), init_broken_exceptions=OSError, sleep_between_tries=0)
        with pytest.raises(Broken):
            recovering.initialize_terminal()
        assert flaky.tries == 1

    def test_init_broken_by_default(self, recovering: AutoRecoveringTerminal, flaky: type[Flaky]) -> None:
        """Unless classes are given, every exception is tried again, max_tries times in all."""
        recovering.initialize(flaky(), sleep_between_tries=0)
        recovering.initialize_terminal()
        assert flaky.tries == 3
        flaky.tries, flaky.starts_at = 0, 4
        with pytest.raises(SessionInitializationFailed):
            recovering.initialize_terminal()
        assert flaky.tries == 3

    def test_sleep_between_tries(self, recovering: AutoRecoveringTerminal, flaky: type[Flaky]) -> None:
        """There is a pause between two tries, and one opening in the end."""
        started: list[float] = []
        recovering.initialize(flaky(), sleep_between_tries=0.2, prepare=lambda: started.append(1))
        recovering.initialize_terminal()
        assert (flaky.tries, started) == (3, [1])

    def test_one_try(self, recovering: AutoRecoveringTerminal, flaky: type[Flaky]) -> None:
        """With max_tries=1 nothing is tried again."""
        recovering.initialize(flaky(), max_tries=1)
        with pytest.raises(SessionInitializationFailed):
            recovering.initialize_terminal()
        assert flaky.tries == 1

    def test_prepare_and_finalize(self, recovering: AutoRecoveringTerminal) -> None:
        """The shells are up when prepare is called, and still are when finalize is."""
        seen: list[Any] = []

        def look() -> None:
            session = recovering.get_session()
            seen.append(session.current_shell().exec_command("echo up").strip() if session else None)

        recovering.initialize(BashShell(), prepare=look, finalize=look)
        recovering.initialize_terminal()
        assert seen == ["up"]
        recovering.close()
        assert seen == ["up", "up"]

    def test_verify(self, recovering: AutoRecoveringTerminal) -> None:
        """A verify that raises a broken exception makes initialize_if_needed close the old session and open another."""
        told: list[str] = []

        def verify() -> None:
            told.append("verify")
            if len(told) == 2:
                raise Broken

        recovering.initialize(
            BashShell(), prepare=lambda: told.append("prepare"), finalize=lambda: told.append("finalize")
        )
        recovering.set_verify(verify)
        recovering.initialize_if_needed()
        recovering.initialize_if_needed()
        assert told == ["prepare", "verify", "finalize", "prepare"]


class TestRunnerTerminal:
    def test_garbage(self, term: AutoRunnerTerminal) -> None:
        """Handles of the garbage are removed along with a call once there are more than MAX_GARBAGE."""
        for number in range(term.MAX_GARBAGE + 1):
            term.run_python(f"garbage_{number} = 1")
            term.add_handle_to_garbage(str(term.session_id), f"garbage_{number}")
        term.run_python("1")
        assert term.run_python("[name for name in globals() if name.startswith('garbage_')]") == []

    def test_assign_and_run_python(self, term: AutoRunnerTerminal) -> None:
        """The value gets a name there, and comes along when it is of HANDLED_TYPES."""
        found = term.assign_and_run_python("assigned", "40 + 2")
        assert (found.isobj, found.obj) == (True, 42)
        found = term.assign_and_run_python("assigned", "collections.Counter('aab')")
        assert found.isobj is False
        assert term.run_python("assigned['a']") == 2
        assert term.run_and_return_handled_python("assigned").isobj is False
        found = term.run_and_return_handled_python("os.sep")
        assert (found.isobj, found.obj) == (True, "/")

    @pytest.mark.parametrize("way", ["run_python", "run_python_call", "assign_and_run_python"])
    def test_remote_exceptions(self, term: AutoRunnerTerminal, way: str, caplog: pytest.LogCaptureFixture) -> None:
        """What is raised there is raised here, and its traceback stands in the log."""
        caplog.set_level(logging.DEBUG)
        term.run_python("def number(text): return int(text)")
        arguments = {"run_python_call": ("number", "seven"), "assign_and_run_python": ("there", "number('seven')")}
        with pytest.raises(ValueError, match="seven"):
            getattr(term, way)(*arguments.get(way, ("number('seven')",)))
        assert "Traceback" in caplog.text
        assert "invalid literal for int()" in caplog.text

    def test_close(self, shells: Callable[[], list[Any]]) -> None:
        """Nothing of ours runs there after close, and the terminal is given back."""
        with InteractiveSession.InteractiveSession() as session:
            session.spawn(shells()[0])
            terminal = RunnerTerminal()
            terminal.initialize(SimpleNamespace(get_session=lambda: session))
            pid = terminal.run_python("__import__('os').getpid()")
            terminal.close()
            wait = f"for i in $(seq 100); do kill -0 {pid} 2>/dev/null || break; sleep 0.1; done"
            said = session.current_shell().exec_command(f"{wait}; kill -0 {pid} 2>&1 || echo gone")
            assert said.split()[-1:] == ["gone"]

    @pytest.mark.parametrize("kind", [_RemoteProxy, _RecursiveProxy])
    def test_empty_proxies(self, term: AutoRunnerTerminal, kind: type[_RemoteProxy]) -> None:
        """An empty proxy is of no use until it takes over what another one has."""
        recursive = kind is _RecursiveProxy
        empty = term.create_empty_recursive_proxy() if recursive else term.create_empty_remote_proxy()
        assert type(empty) is kind
        with pytest.raises(RunnerException):
            empty.getpid()
        empty.set_from_remote_proxy(term.get_recursive_proxy("os") if recursive else term.get_proxy_object("os", None))
        assert empty.getpid() == term.run_python("os.getpid()")

    def test_get_proxy_object(self, term: AutoRunnerTerminal) -> None:
        """Attributes and methods of a proxy are those of the object of that name."""
        term.run_python("a = open('/proc/self/comm')")
        proxy = term.get_proxy_object("a", None)
        assert proxy.readlines() == term.run_python("open('/proc/self/comm').readlines()")
        assert proxy.name == "/proc/self/comm"
        assert isinstance(proxy.as_recursive_proxy(), _RecursiveProxy)

    def test_local_spec(self, term: AutoRunnerTerminal) -> None:
        """A class given as spec says which methods there are, without asking there."""
        term.run_python("words = ['one']")
        proxy = term.get_proxy_object("words", list)
        requests = term.link.statistics.requests
        append = proxy.append
        assert term.link.statistics.requests == requests
        append("two")
        assert term.run_python("words") == ["one", "two"]

    def test_proxy_from_call(self, term: AutoRunnerTerminal) -> None:
        """What a call gives stays there, behind a proxy."""
        proxy = term.get_proxy_object_from_call("dict", a=1)
        assert type(proxy) is _RemoteProxy
        assert proxy.as_local_value() == {"a": 1}

    @pytest.mark.parametrize("value", [1, 1.5, "text", None])
    def test_basic_from_call(self, term: AutoRunnerTerminal, value: object) -> None:
        """Numbers, texts and None come as values; anything else stays behind a proxy."""
        term.run_python("def same(value): return value")
        got = term.get_proxy_or_basic_from_call("same", value)
        assert (got, type(got)) == (value, type(value))
        assert type(term.get_proxy_or_basic_from_call("same", [value])) is _RemoteProxy

    def test_recursive_proxy(self, term: AutoRunnerTerminal) -> None:
        """Attributes, methods and results of a recursive proxy are recursive proxies; as_local_value fetches a copy."""
        proxy = term.get_recursive_proxy("collections")
        counter = proxy.Counter("aab")
        assert all(type(one) is _RecursiveProxy for one in (proxy.Counter, counter, counter.most_common()))
        assert counter.most_common(1).as_local_value() == [("a", 2)]
        assert counter["a"] == 2

    def test_import_libraries(self, term: AutoRunnerTerminal) -> None:
        """Modules imported there can be used by their names."""
        term.import_libraries("string", "os.path")
        assert term.run_python("string.digits + os.path.sep") == "0123456789/"

    def test_iscallable_isproxy(self, term: AutoRunnerTerminal) -> None:
        """What can be called there is told from what cannot, and a proxy from what is none."""
        assert (term.iscallable("os.getpid"), term.iscallable("os.sep")) == (True, False)
        assert RunnerTerminal.isproxy(term.get_recursive_proxy("os"))
        assert not RunnerTerminal.isproxy(term)

    def test_calls(self, term: AutoRunnerTerminal) -> None:
        """Arguments are passed on; run gives the text of a value."""
        assert term.run_python_call("divmod", 7, 2) == (3, 1)
        assert term.run_python_call("dict", a=1) == {"a": 1}
        assert term.run("6 * 7") in (b"42", "42")


class TestAutoRunnerTerminal:
    def test_not_opened(self, auto: AutoRunnerTerminal) -> None:
        """To say which shells to use opens nothing."""
        assert auto.session_id is None
        auto.initialize_if_needed()
        assert auto.session_id is not None

    def test_empty_proxies_open_it(self, auto: AutoRunnerTerminal, shells: Callable[[], list[Any]]) -> None:
        """The use of an empty proxy opens the session, and prepare fills the proxy."""
        proxy = auto.create_empty_recursive_proxy()

        def prepare() -> None:
            auto.import_libraries("os")
            proxy.set_from_remote_proxy(auto.get_recursive_proxy("os"))

        auto.initialize_with_shells(shells(), prepare=prepare)
        assert auto.session_id is None
        assert proxy.sep == "/"

    def test_shelldicts(self, auto: AutoRunnerTerminal, lab: Lab) -> None:
        """Dictionaries of shells are as good as shells."""
        auto.initialize_with_shelldicts([{"host": "alpha", "config": str(lab.ssh_config)}])
        auto.initialize_if_needed()
        assert auto.run_python("__import__('socket').gethostname()") == "alpha"

    def test_verify_is_overridden(self, auto: AutoRunnerTerminal) -> None:
        """A verify of one's own has to be set after initialize, which sets the usual one."""
        verified: list[int] = []
        session = AutoRecoveringTerminal()
        session.initialize(BashShell(), verify=lambda: verified.append(1))
        auto.initialize(session)
        auto.initialize_if_needed()
        auto.initialize_if_needed()
        assert verified == []
        session.set_verify(lambda: verified.append(2))
        auto.initialize_if_needed()
        assert verified == [2]

    def test_finalize(self, auto: AutoRunnerTerminal, shells: Callable[[], list[Any]]) -> None:
        """There is still a session in finalize, for files to be removed; proxies are of no use after it."""
        found: list[object] = []
        auto.initialize_with_shells(shells(), finalize=lambda: found.append(auto.run_python_call("os.remove", name)))
        auto.initialize_if_needed()
        auto.import_libraries("os", "tempfile")
        handle, name = auto.run_python_call("tempfile.mkstemp")
        assert handle > 0
        proxy = auto.get_recursive_proxy("os")
        auto.close()
        assert found == [None]
        with pytest.raises(InvalidProxySession):
            proxy.getpid()

    def test_errors_of_finalize(self, auto: AutoRunnerTerminal, caplog: pytest.LogCaptureFixture) -> None:
        """What finalize raises is only logged."""
        auto.initialize_with_shells(BashShell(), finalize=lambda: 1 // 0)
        auto.initialize_if_needed()
        auto.close()
        assert "finalize" in caplog.text


class TestExceptions:
    def test_remote_timeout(self, term: AutoRunnerTerminal) -> None:
        """The error of a timeout is the claim to the answer."""
        proxy = term.get_recursive_proxy("os")
        proxy.set_remote_proxy_timeout(-1)
        with pytest.raises(RemoteTimeout) as timeout:
            proxy.getpid()
        assert timeout.value.response_id is not None
        assert proxy.get_remote_proxy_response(timeout.value) == term.run_python("os.getpid()")

    def test_response_wrap(self, term: AutoRunnerTerminal) -> None:
        """What wraps the answer of a call that was in time wraps one that is fetched later."""
        proxy = term.get_recursive_proxy("os")
        proxy.set_remote_proxy_timeout(-1)
        with pytest.raises(RemoteTimeout) as timeout:
            responsehandler(proxy.getpid, response_wrap=str)()
        assert proxy.get_remote_proxy_response(timeout.value) == str(term.run_python("os.getpid()"))

    def test_broken(self, auto: AutoRunnerTerminal) -> None:
        """The error of a broken session has the reason as its first argument."""
        auto.initialize_if_needed()
        with pytest.raises(RunnerTerminalSessionBroken) as broken:
            auto.run_python("__import__('os')._exit(3)")
        assert isinstance(broken.value.args[0], BaseException)

    def test_closed(self, auto: AutoRunnerTerminal) -> None:
        """A terminal that was closed, or never was initialized, says so."""
        for terminal in (RunnerTerminal(), auto):
            with pytest.raises(RunnerTerminalSessionClosed):
                terminal.run_python("1")
        auto.initialize_if_needed()
        auto.close()
        with pytest.raises(RunnerTerminalSessionClosed):
            auto.run_python("1")

    def test_unable_to_deserialize(self, term: AutoRunnerTerminal) -> None:
        """What cannot cross is refused, and only that."""
        with pytest.raises(RunnerTerminalUnableToDeserialize):
            term.run_python("lambda: None")
        assert term.run_python("1") == 1

    def test_initialization_failed(self, recovering: AutoRecoveringTerminal, flaky: type[Flaky]) -> None:
        """The error of an opening has the reason as its first argument."""
        recovering.initialize(flaky(), max_tries=1)
        with pytest.raises(SessionInitializationFailed) as failed:
            recovering.initialize_terminal()
        assert isinstance(failed.value.args[0], Broken)


class TestProxies:
    def test_transparent(self, term: AutoRunnerTerminal) -> None:
        """To read, set and call what a proxy has is to do it there."""
        term.run_python("class Thing:\n    size = 1\n    def grow(self, by):\n        self.size += by\nthing = Thing()")
        proxy = term.get_proxy_object("thing", None)
        assert proxy.size == 1
        proxy.grow(2)
        proxy.colour = "red"
        assert term.run_python("(thing.size, thing.colour)") == (3, "red")

    @pytest.mark.parametrize("owned", [True, False])
    def test_is_remote_owned(self, term: AutoRunnerTerminal, owned: bool) -> None:
        """The object goes with a proxy that owns it, and stays when the proxy does not."""
        term.run_python("owned = [1]")
        proxy = _RemoteProxy(term, "owned", is_remote_owned=owned)
        assert proxy.as_local_value() == [1]
        del proxy
        for _ in range(term.MAX_GARBAGE + 1):
            term.add_handle_to_garbage(str(term.session_id), "nobody")
        term.run_python("1")
        assert term.run_python("'owned' in globals()") is not owned

    def test_get_proxy_handle(self, term: AutoRunnerTerminal) -> None:
        """The handle is the object's name there."""
        proxy = term.get_proxy_object_from_call("list", [1, 2])
        assert term.run_python(f"len({proxy.get_proxy_handle()})") == 2
        assert term.get_recursive_proxy("os").get_proxy_handle() == "os"

    def test_asynchronous(self, term: AutoRunnerTerminal) -> None:
        """In asynchronous mode a call gives a claim at once, which fetches the answer."""
        proxy = term.get_proxy_object("os", None)
        proxy.remote_proxy_use_asynchronous_response()
        handle = proxy.getpid()
        assert isinstance(handle, RemoteTimeout)
        assert proxy.get_remote_proxy_response(handle, timeout=NOT_IN_A_HURRY) == term.run_python("os.getpid()")
        proxy.remote_proxy_use_synchronous_response()
        assert proxy.getpid() == term.run_python("os.getpid()")

    def test_autoprepare(self, auto: AutoRunnerTerminal) -> None:
        """A proxy can open its session before anything is asked of it."""
        proxy = auto.create_empty_recursive_proxy()
        proxy.remote_proxy_autoprepare()
        assert auto.session_id is not None

    def test_set_from_remote_proxy(self, term: AutoRunnerTerminal) -> None:
        """The proxy whose content was taken over is of no use any more."""
        given, taking = term.get_proxy_object_from_call("list", [1]), term.create_empty_remote_proxy()
        taking.set_from_remote_proxy(given)
        assert taking.as_local_value() == [1]
        with pytest.raises(InvalidProxySession):
            given.as_local_value()

    def test_set_proxy_spec(self, term: AutoRunnerTerminal) -> None:
        """A proxy can be given a spec later, once."""
        proxy = term.get_proxy_object_from_call("list", [2, 1])
        proxy.set_proxy_spec(list)
        proxy.sort()
        assert proxy.as_local_value() == [1, 2]
        with pytest.raises(RuntimeError):
            proxy.set_proxy_spec(list)

    def test_timeouts(self, term: AutoRunnerTerminal) -> None:
        """A call beyond the proxy's time is a RemoteTimeout; without a time of its own it is the default of an hour."""
        open_gate, proxy = gate(term), term.get_recursive_proxy("gate.wait")
        proxy.set_remote_proxy_timeout(0.05)
        with pytest.raises(RemoteTimeout) as timeout:
            proxy(30)
        open_gate()
        assert proxy.get_remote_proxy_response(timeout.value) is True
        proxy.set_remote_proxy_timeout(None)
        assert proxy(30) is True
        assert term.default_timeout == 3600

    def test_basic_types_are_values(self, term: AutoRunnerTerminal) -> None:
        """A recursive proxy gives values of HANDLED_TYPES as they are."""
        proxy = term.get_recursive_proxy("os")
        values = (proxy.sep, proxy.getpid(), proxy.path.getsize("/proc"), proxy.environ.get("NO_SUCH_NAME"))
        assert [type(value) for value in values] == [str, int, int, type(None)]
