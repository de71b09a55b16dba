"""The verbs of a target, for real: results, limits, other users, loss of the connection, many threads."""

from __future__ import annotations

import getpass
import os
import pickle
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crl.errors import UsageError
from crl.interactivesessions.runnerexceptions import RunnerTerminalSessionClosed, SessionInitializationFailed
from crl.interactivesessions.shells.bashshell import BashShell
from crl.interactivesessions.shells.sshshell import SshShell
from crl.link import LinkLost, RemoteProcess
from crl.secrets import Secret
from crl.targets import (
    BecomeRefused,
    CommandFailed,
    CommandTimeout,
    ConnectTimeout,
    DetachedProcess,
    RebootFailed,
    RunResult,
    Target,
)
from tests.link.peers import PATIENCE, eventually, freeze
from tests.terminals.sshd import Sshd


def test_run(here: Target) -> None:
    result = here.run("echo out; echo err >&2; exit 3")
    assert (result.status, result.stdout, result.stderr, result.ok) == (3, "out\n", "err\n", False)
    assert result.duration > 0
    assert "status=3 stdout='out" in repr(result)
    assert here.run(["printf", "%s|", "a b", "$HOME", "'"]).stdout == "a b|$HOME|'|"
    assert here.run(["cat"], input="ä").stdout == "ä"
    assert here.run(["cat"], input=b"\xff\x00").stdout_bytes == b"\xff\x00"
    assert here.run("echo $ONE; pwd", env={"ONE": "1"}, cwd="/usr").stdout == "1\n/usr\n"
    assert here.run("echo ${HOME-unset}", env={"HOME": None}).stdout == "unset\n"
    assert here.run("kill -9 $$").status == -9
    with pytest.raises(FileNotFoundError):
        here.run(["/no/such/program"])


def test_output_is_exact_and_large(here: Target) -> None:
    data = bytes(range(256)) * 4096
    assert here.run(["cat"], input=data).stdout_bytes == data
    both = here.run("head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2", timeout=20)
    assert (len(both.stdout), len(both.stderr)) == (1000000, 1000000)
    errors_first = here.run("head -c 2000000 /dev/zero >&2; echo done", timeout=20)
    assert (errors_first.stdout, len(errors_first.stderr)) == ("done\n", 2000000)


def test_check(here: Target) -> None:
    secret = Secret("a-canary-of-a-secret")
    with pytest.raises(CommandFailed) as caught:
        here.run(f"echo bad news >&2; exit 4 # {secret.value}", check=True)
    text = str(caught.value)
    assert "here: running echo bad news" in text
    assert "status 4" in text
    assert "| bad news" in text
    assert secret.value not in text + repr(caught.value)
    assert caught.value.result.status == 4
    copied = pickle.loads(pickle.dumps(caught.value))
    assert str(copied) == text
    assert copied.result == caught.value.result
    with pytest.raises(CommandFailed, match="signal 9"):
        here.run("kill -9 $$", check=True)


def test_timeout_kills_the_group(here: Target, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    started = time.monotonic()
    with pytest.raises(CommandTimeout) as caught:
        here.run(f"echo early; sleep 60 & echo $! $$ > {pids}; setsid sleep 61 & echo $! >> {pids}; wait", timeout=4)
    assert time.monotonic() - started < 40, "the processes end by themselves after 60 s"
    assert "4 s; it and its children were killed" in str(caught.value)
    assert caught.value.stdout == "early\n"
    assert caught.value.alive == ()
    assert [pid for pid in pids.read_text().split() if _runs(int(pid))] == []


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(os.getuid() != 0, reason="becoming another user without a password needs root")
def test_become(here: Target) -> None:
    assert here.run(["id", "-un"], become="nobody").stdout == "nobody\n"
    assert here.run("id -un; echo $USER $ONE", become="nobody", env={"ONE": "1"}).stdout == "nobody\nnobody 1\n"
    assert here.run(["id", "-Gn"], become="nobody").stdout == "nogroup\n"
    assert here.run("echo $0; exit 1", become=getpass.getuser()).status == 1
    with pytest.raises(BecomeRefused, match="there is no user 'no-such-user'"):
        here.run("true", become="no-such-user")


@pytest.mark.skipif(os.getuid() != 0, reason="an account that may not use sudo is made by root")
def test_become_where_sudo_wants_a_password() -> None:
    shell = BashShell(cmd="setpriv --reuid=65534 --clear-groups --regid=65534 env HOME=/ bash")
    with Target(shell, name="poor") as target:
        assert target.facts.user == "nobody"
        with pytest.raises(BecomeRefused) as caught:
            target.run("echo never", become="root")
        assert "NOPASSWD" in str(caught.value)
        assert target.run("echo 'sudo: not really' >&2; exit 1").status == 1


def test_start(here: Target) -> None:
    process = here.start(["cat"])
    assert isinstance(process, RemoteProcess)
    assert repr(process).endswith(": running>")
    process.write(b"live\n")
    assert process.read_stdout(PATIENCE) == b"live\n"
    process.close_stdin()
    assert process.wait(PATIENCE) == 0
    sleeping = here.start("sleep 60")
    assert isinstance(sleeping, RemoteProcess)
    assert sleeping.kill() == ()
    assert sleeping.wait(PATIENCE) < 0


def test_start_with_a_terminal(here: Target) -> None:
    process = here.start("test -t 0 && test -t 1 && tty; read x; stty size; echo got $x; exit 5", pty=True)
    assert isinstance(process, RemoteProcess)
    process.write(b"line\n")
    assert process.wait(PATIENCE) == 5
    output = b"".join(iter(lambda: process.read_stdout(PATIENCE), b""))
    assert b"/dev/pts/" in output
    assert b"24 80" in output
    assert b"got line" in output
    with pytest.raises(FileNotFoundError):
        here.start(["/no/such/program"], pty=True)
    with here.start("stty size; read x; stty size", pty=(10, 20)) as sized:
        assert sized.read_stdout(PATIENCE) == b"10 20\r\n"
        assert sized.resize(30, 40)
        sized.write(b"\n")
        assert sized.wait(PATIENCE) == 0
        assert b"30 40" in b"".join(data for _, data in sized.output(PATIENCE))
    interrupted = here.start(["sleep", "60"], pty=True)
    interrupted.send_signal(signal.SIGTERM)
    assert interrupted.wait(PATIENCE) == -signal.SIGTERM


def test_start_and_run_with_everything(here: Target) -> None:
    result = here.run("umask; echo error >&2; echo out", umask=0o077, merge=True, contain=True)
    assert result.stdout == "0077\nerror\nout\n"
    with here.start("echo one; echo two >&2", umask=0o077, merge=True, spool=1000) as process:
        assert [line.data for line in process] == [b"one", b"two"]


def test_start_detached() -> None:
    with Target(BashShell()) as target:
        process = target.start(["sleep", "60"], detached=True)
        assert isinstance(process, DetachedProcess)
        assert process.alive
        talking = target.start("echo first; sleep 60", detached=True, spool=1000)
        token = talking.token
    assert _runs(process.pid)
    with Target(BashShell()) as target:
        again = DetachedProcess(process.pid, target)
        again.send_signal(signal.SIGKILL)
        assert eventually(lambda: not _runs(process.pid))
        assert eventually(lambda: not again.alive)
        with pytest.raises(ProcessLookupError):
            again.send_signal(signal.SIGKILL)
        found = target.detached(token)
        assert found.pid == talking.pid
        assert eventually(lambda: found.read().data == b"first\n")
        assert found.read(2).data == b"rst\n"
        found.stop()
        assert not found.alive
        found.stop()
        found.forget()
        with pytest.raises(UsageError, match="no token"):
            target.detached("{}")
    assert not _runs(process.pid)
    with pytest.raises(UsageError, match="no terminal"), Target(BashShell()) as target:
        target.start("true", detached=True, pty=True)  # type: ignore[call-overload]
    with pytest.raises(UsageError, match="closed"):
        found.read()


def _serve_once(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.sendall(connection.recv(100).upper())


def test_sockets_and_tunnels(here: Target) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        for _ in range(2):
            thread = threading.Thread(target=_serve_once, args=(server,))
            thread.start()
            with here.connect_socket(server.getsockname()) as direct:
                direct.settimeout(PATIENCE)
                direct.sendall(b"hello")
                assert direct.recv(100) == b"HELLO"
            thread.join(PATIENCE)
        tunnel = here.forward(server.getsockname())
        thread = threading.Thread(target=_serve_once, args=(server,))
        thread.start()
        with socket.create_connection(tunnel.address, timeout=PATIENCE) as client:
            client.sendall(b"tunnel")
            assert client.recv(100) == b"TUNNEL"
        thread.join(PATIENCE)
        tunnel.close()
        with here.reverse(("127.0.0.1", 0), server.getsockname()) as back:
            thread = threading.Thread(target=_serve_once, args=(server,))
            thread.start()
            with socket.create_connection(back.address, timeout=PATIENCE) as client:
                client.sendall(b"back")
                assert client.recv(100) == b"BACK"
            thread.join(PATIENCE)


def test_shell(here: Target) -> None:
    with here.shell() as shell:
        assert shell.exec_command("echo interactive").strip() == "interactive"
        assert here.run("echo meanwhile").stdout == "meanwhile\n"


def test_many_threads(here: Target) -> None:
    outputs: list[str] = []
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            outputs.extend(here.run(["echo", f"{number}.{step}"], check=True).stdout.strip() for step in range(5))
        except Exception as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert sorted(outputs) == sorted(f"{number}.{step}" for number in range(10) for step in range(5))


@pytest.fixture
def remote(sshd: Sshd, nothing_left: None) -> Iterator[Target]:
    target = Target(sshd.shell(), name="remote")
    yield target
    target.close()


def test_connect_close_and_again(remote: Target) -> None:
    assert "not connected" in repr(remote)
    assert remote.run("echo lazy").stdout == "lazy\n"
    assert repr(remote) == "<Target remote (connected)>"
    remote.close()
    remote.close()
    uses: list[Callable[[], object]] = [
        lambda: remote.run("true"),
        lambda: remote.facts,
        lambda: remote.python.os,
        lambda: remote.shell().__enter__(),
    ]
    for use in uses:
        with pytest.raises(UsageError, match="closed"):
            use()
    assert remote.connect() is remote
    assert remote.run("echo again").stdout == "again\n"


def test_a_loss_is_told_and_the_next_verb_connects_again(remote: Target, tmp_path: Path) -> None:
    count = tmp_path / "count"
    remote.connect()
    session = remote.terminal.session
    assert session is not None
    carrier = session.get_session().terminal.channel.pid  # type: ignore[union-attr]
    program = remote.terminal.link.facts.pid

    def kill() -> None:
        # The shell makes the file before it writes.
        eventually(lambda: count.exists() and count.read_text())
        os.kill(program, signal.SIGKILL)
        os.kill(carrier, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(LinkLost):
        remote.run(f"echo x >> {count}; sleep 60")
    killer.join()
    assert remote.run("echo back").stdout == "back\n"
    assert count.read_text() == "x\n"
    assert remote.python.call("len", [1]) == 1


def test_stack_of_ssh_and_bash(sshd: Sshd, nothing_left: None) -> None:
    with Target([sshd.shell(), {"shellname": "BashShell", "workdir": "/usr"}]) as target:
        assert target.run("pwd").stdout == "/usr\n"
        with target.shell() as shell:
            assert shell.exec_command("pwd").strip() == "/usr"


def test_from_ssh_alias(sshd: Sshd, tmp_path: Path, nothing_left: None) -> None:
    config = tmp_path / "config"
    config.write_text(
        f"Host somewhere\n HostName 127.0.0.1\n Port {sshd.port}\n User {getpass.getuser()}\n"
        f" IdentityFile {sshd.folder}/user\n UserKnownHostsFile {sshd.folder}/known_hosts\n"
    )
    with Target.from_ssh_alias("somewhere", config=str(config)) as target:
        assert target.name == "somewhere"
        assert target.run(["true"]).ok


def test_wait_until_up(sshd: Sshd, nothing_left: None) -> None:
    target = Target(sshd.shell(), max_tries=1)
    facts = target.wait_until_up(20)
    assert facts.uid == os.getuid()
    target.close()
    with socket.socket() as deaf:
        # Nobody listens there, and nobody else can.
        deaf.bind(("127.0.0.1", 0))
        nobody = Target(SshShell("127.0.0.1", port=deaf.getsockname()[1]), max_tries=1)
        started = time.monotonic()
        with pytest.raises(RebootFailed, match=r"(?i)refused"):
            nobody.wait_until_up(4)
        assert 3.5 < time.monotonic() - started < 60
        nobody.close()


def test_reboot_is_only_believed_with_another_boot_id(nothing_left: None) -> None:
    with Target(BashShell(), name="steady") as target:
        with pytest.raises(RebootFailed, match="boot id is still the same"):
            target.reboot(4, command=["true"])
        with pytest.raises(RebootFailed, match="status 9"):
            target.reboot(10, command="exit 9")
        with pytest.raises(RebootFailed, match="No such file"):
            target.reboot(10, command=["/no/such/program"])


def test_the_reason_of_a_failed_reboot_is_not_that_the_time_is_over(
    nothing_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Target(BashShell(), name="steady") as target:
        call, looks = target.terminal.run_python_call_with_timeout, []

        def freezing_at_the_third(*args: Any) -> Any:
            looks.append(target.terminal.link.facts.pid)
            if len(looks) == 3:
                freeze(looks[-1])
            return call(*args)

        monkeypatch.setattr(target.terminal, "run_python_call_with_timeout", freezing_at_the_third)
        with pytest.raises(RebootFailed, match="boot id is still the same"):
            target.reboot(8, command=["true"])
        for pid in looks[2:3]:
            os.kill(pid, signal.SIGCONT)


def test_limits_while_connecting(nothing_left: None, tmp_path: Path) -> None:
    go_on = tmp_path / "go on"
    target = Target(BashShell(init_env=f"content:while [ ! -e '{go_on}' ]; do sleep 0.05; done"), name="slow")
    started = time.monotonic()
    with pytest.raises(ConnectTimeout, match="slow: connecting"):
        target.run("true", timeout=0.5)
    assert time.monotonic() - started < 20
    go_on.touch()
    assert target.run("true", timeout=20).ok
    target.close()


def test_usage() -> None:
    with pytest.raises(UsageError, match="at least one shell"):
        Target([])
    assert Target(SshShell("alpha")).name == "alpha"
    assert RunResult(0, "", "", 0.1).ok
    with pytest.raises(RunnerTerminalSessionClosed):
        Target(BashShell()).terminal.link  # noqa: B018


def test_wait_until_up_sees_a_host_come(tmp_path: Path, nothing_left: None) -> None:
    late = Sshd(tmp_path)
    late.prepare()
    target = Target(late.shell(), max_tries=1)
    timer = threading.Timer(1.0, late.listen)
    timer.start()
    try:
        assert target.wait_until_up(20).uid == os.getuid()
    finally:
        timer.join()
        target.close()
        late.__exit__()


def test_a_definite_refusal_ends_the_wait(sshd: Sshd, tmp_path: Path, nothing_left: None) -> None:
    other_key = tmp_path / "known_hosts"
    key = (sshd.folder / "user.pub").read_text().split()[1]
    other_key.write_text(f"[127.0.0.1]:{sshd.port} ssh-ed25519 {key}\n")
    target = Target(SshShell("127.0.0.1", port=sshd.port, known_hosts=other_key), max_tries=3)
    started = time.monotonic()
    with pytest.raises(SessionInitializationFailed):
        target.wait_until_up(30)
    assert time.monotonic() - started < 25
    target.close()
