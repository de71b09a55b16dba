"""Reboots, cut and slow links, frozen processes: each really happens, and each can be undone."""

from __future__ import annotations

import re
import socket
import statistics
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from crl.errors import UsageError
from crl.lab import LabError, LabHostDown
from crl.lab._control import Question
from tests.link.peers import PATIENCE, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crl.lab import Lab, LabHost
    from tests.lab.sshing import Ssh

pytestmark = pytest.mark.lab


@pytest.fixture
def alpha(own_lab: Lab) -> Iterator[LabHost]:
    host = own_lab.host("alpha")
    yield host
    host.restore()


@pytest.fixture
def beta(own_lab: Lab) -> Iterator[LabHost]:
    host = own_lab.host("beta")
    yield host
    host.restore()


def banner(host: LabHost, timeout: float = PATIENCE) -> bytes:
    with socket.create_connection((host.address, host.port), timeout=timeout) as connection:
        return connection.recv(64)


def answers(host: LabHost) -> bool:
    """Whether the host's sshd greets; a link that has just been joined may still be told dead by who asked before."""
    try:
        return banner(host, 5).startswith(b"SSH-")
    except OSError:
        return False


def ping_times(host: LabHost, number: int) -> list[float]:
    """Round trip times, in seconds, from the host to its nearer neighbour."""
    result = host.exec(["ping", "-n", f"-c{number}", "-i0.02", "-W1", neighbour(host)])
    return [float(value) / 1000 for value in re.findall(rb"time=([\d.]+) ms", result.stdout)]


def neighbour(host: LabHost) -> str:
    name = host.via or "controller"
    return host.exec(["getent", "ahostsv4", name]).stdout.split()[0].decode()


def boot_id(host: LabHost) -> str:
    return host.exec(["cat", "/proc/sys/kernel/random/boot_id"]).stdout.decode().strip()


@pytest.mark.parametrize("hard", [False, True])
def test_reboot_gives_a_new_boot_id_and_empties_tmp(alpha: LabHost, hard: bool) -> None:
    alpha.exec(["sh", "-c", "touch /tmp/gone /run/gone /home/keyuser/stays; nohup sleep 999 >/dev/null 2>&1 &"])
    before = alpha.condition
    assert boot_id(alpha) == before.boot_id
    after = alpha.reboot(hard=hard)
    assert after.boot == before.boot + 1
    assert boot_id(alpha) == after.boot_id != before.boot_id
    assert banner(alpha).startswith(b"SSH-2.0-")
    assert alpha.exec(["ls", "/tmp/gone", "/run/gone"]).returncode == 2
    assert alpha.exec(["ls", "/home/keyuser/stays"]).returncode == 0
    assert not [process for process in alpha.processes() if "999" in process.argv]
    assert alpha.exec(["ip", "netns", "exec", "inner", "true"]).returncode == 0


def test_reboot_from_inside_by_sudo(alpha: LabHost, own_ssh: Ssh) -> None:
    password = alpha.users["both"].password
    assert password is not None
    refused = own_ssh("alpha-key", "/sbin/reboot")
    assert (refused.returncode, refused.stderr.strip()) == (1, "reboot: must be superuser.")
    before = alpha.condition
    own_ssh("alpha-both", f"echo {password.value} | sudo -S reboot; sleep 60", timeout=50)
    after = alpha.wait_up(before.boot + 1)
    assert after.boot_id != before.boot_id
    assert own_ssh("alpha-both", "id -un").stdout == "bothuser\n"


@pytest.mark.parametrize("hard", [False, True])
def test_a_reboot_while_it_boots(beta: LabHost, hard: bool) -> None:
    before = beta.condition.boot
    asked = [Question(beta._folder, beta.name, {"do": "reboot", "hard": how}) for how in (True, hard)]
    first, second = (question.answer() for question in asked)
    assert (first.state, second.state) == ("up", "up")
    assert second.boot >= first.boot > before
    assert beta.exec(["true"]).returncode == 0


@pytest.mark.long
def test_many_reboots(beta: LabHost) -> None:
    seen = {beta.reboot(hard=number % 2 == 0).boot_id for number in range(30)}
    assert len(seen) == 30
    assert beta.exec(["x2golistsessions_root"]).returncode == 0
    assert len([one for one in beta.processes() if "x2gocleansessions" in one.command]) == 1


def test_power_off_and_on(beta: LabHost) -> None:
    before = beta.condition
    beta.exec(["poweroff"])
    assert beta.wait_up(before.boot + 1).state == "off"
    with pytest.raises(LabHostDown, match="it is off"):
        beta.exec(["true"])
    assert beta.reboot().state == "up"


@pytest.mark.parametrize("drop", [False, True])
def test_cut_link_is_silent_until_restored(alpha: LabHost, drop: bool) -> None:
    assert banner(alpha).startswith(b"SSH-")
    alpha.cut(drop=drop)
    assert alpha.link.cut == ("drop" if drop else "down")
    with pytest.raises(OSError, match=r"timed out|No route|unreachable"):
        banner(alpha, 0.5)
    assert alpha.exec(["hostname"]).stdout == b"alpha\n"
    alpha.restore()
    assert eventually(lambda: answers(alpha))
    assert alpha.link.cut is None


def test_open_connection_survives_a_cut(alpha: LabHost) -> None:
    with socket.create_connection((alpha.address, alpha.port), timeout=5) as connection:
        assert connection.recv(64)
        alpha.cut()
        connection.sendall(b"SSH-2.0-test\r\n")
        connection.settimeout(0.4)
        with pytest.raises(TimeoutError):
            connection.recv(64)
        alpha.restore()
        connection.settimeout(PATIENCE)
        assert connection.recv(64)


def test_slow_link_has_its_delay_in_each_direction(alpha: LabHost) -> None:
    assert eventually(lambda: min(ping_times(alpha, 10)) < 0.05)
    alpha.slow(delay=0.05, jitter=0.02)
    times = ping_times(alpha, 20)
    assert len(times) == 20
    assert min(times) >= 0.1
    assert statistics.median(times) > 0.105
    # Who holds packets back may come late to it himself, but not always.
    assert eventually(lambda: min(ping_times(alpha, 10)) < 0.19)
    started = time.monotonic()
    assert banner(alpha).startswith(b"SSH-")
    assert time.monotonic() - started > 0.2
    alpha.restore()
    assert eventually(lambda: min(ping_times(alpha, 10)) < 0.05)


def test_lossy_link_loses_its_share(beta: LabHost) -> None:
    beta.slow(delay=0, loss=0.3)
    said = beta.exec(["ping", "-n", "-q", "-f", "-i", "0.005", "-c", "300", neighbour(beta)]).stdout.decode()
    sent, answered = (int(number) for number in re.findall(r"(\d+) packets transmitted, (\d+) received", said)[0])
    assert sent == 300
    assert 0.35 < answered / sent < 0.63  # both ways: 0.7 squared is 0.49


def test_link_of_limited_rate(alpha: LabHost) -> None:
    near = neighbour(alpha)
    alpha.slow(delay=0.0, rate=2_000_000)
    with socket.create_server((near, 0)) as server:
        server.settimeout(PATIENCE)
        line = f"exec 3<>/dev/tcp/{near}/{server.getsockname()[1]}; head -c 250000 /dev/zero >&3"
        # Much may have come by the time that the connection is accepted.
        started = time.monotonic()
        with subprocess.Popen(alpha.command(["timeout", "60", "bash", "-c", line])) as sender:
            connection, _peer = server.accept()
            with connection:
                connection.settimeout(PATIENCE)
                received = 0
                while data := connection.recv(65536):
                    received += len(data)
        took = time.monotonic() - started
    assert (sender.returncode, received) == (0, 250_000)
    assert took > 0.9, "two million bits at two million bits a second"


def test_slow_link_can_be_cut(alpha: LabHost) -> None:
    alpha.slow(delay=0.01)
    assert banner(alpha)
    alpha.cut()
    with pytest.raises(OSError, match=r"timed out|No route|unreachable"):
        banner(alpha, 0.5)
    alpha.restore()
    assert eventually(lambda: answers(alpha))


def test_slow_link_outlives_a_reboot(alpha: LabHost) -> None:
    alpha.slow(delay=0.05)
    alpha.reboot()
    assert min(ping_times(alpha, 5)) >= 0.1


def test_no_link_is_like_that(alpha: LabHost) -> None:
    with pytest.raises(UsageError, match="no link can be like"):
        alpha.slow(loss=1.5)


def test_frozen_sshd_accepts_and_says_nothing(alpha: LabHost) -> None:
    frozen = alpha.freeze("sshd: /usr/sbin/sshd")
    assert len(frozen) == 1
    try:
        assert next(one for one in alpha.processes() if one.pid == frozen[0].pid).state == "T"
        with pytest.raises(TimeoutError):
            banner(alpha, 0.5)
    finally:
        assert [one.pid for one in alpha.thaw(frozen[0].pid)] == [frozen[0].pid]
    assert banner(alpha).startswith(b"SSH-")
    with pytest.raises(LabError, match="there is no process 'nothing like this'"):
        alpha.freeze("nothing like this")


def test_killed_sshd_comes_back(alpha: LabHost) -> None:
    old = alpha.kill("sshd: /usr/sbin/sshd")[0].pid
    assert eventually(lambda: answers(alpha))
    assert old not in {one.pid for one in alpha.processes()}
