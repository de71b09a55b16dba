"""Another user on a host whose sudo asks: the command runs as that user, and the password is seen nowhere."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from crl.errors import UsageError
from crl.interactivesessions import SshShell
from crl.lab import Lab
from crl.secrets import Secret
from crl.targets import BecomeRefused, CommandTimeout, Target

pytestmark = pytest.mark.lab
# Every argument list and every environment on the host, as root sees them there.
LOOK = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'"


@pytest.fixture
def target(lab: Lab) -> Iterator[Target]:
    """A host as the user who may use sudo and is asked."""
    with Target(SshShell("alpha-both", config=lab.ssh_config), name="alpha") as one:
        yield one


@pytest.fixture
def password(lab: Lab) -> Secret:
    """What sudo asks him for."""
    found = lab.host("alpha").user("both").password
    assert found is not None
    return found


def test_a_started_process_is_the_other_users(target: Target, password: Secret) -> None:
    line = "id -un; cat; echo error >&2; exit 3"
    with target.start(["sh", "-c", line], become="root", become_password=password) as one:
        one.write(b"what it reads\n" * 10_000)
        one.close_stdin()
        assert one.wait(20) == 3
        assert b"".join(iter(lambda: one.read_stdout(20), b"")) == b"root\n" + b"what it reads\n" * 10_000
        assert one.read_stderr(20) == b"error\n"


def test_so_it_is_in_a_terminal_and_with_both_outputs_in_one(target: Target, password: Secret) -> None:
    with target.start("id -un; tty; read x; echo got $x", become="root", become_password=password, pty=True) as one:
        one.write(b"typed\n")
        said = b"".join(iter(lambda: one.read_stdout(20), b""))
        assert one.wait(20) == 0
    lines = said.decode().split()
    assert lines[0] == "root"
    assert lines[1].startswith("/dev/pts/")
    assert lines[-2:] == ["got", "typed"]
    with target.start("echo one; echo two >&2", become="root", become_password=password, merge=True) as one:
        assert b"".join(iter(lambda: one.read_stdout(20), b"")) == b"one\ntwo\n"
        assert one.wait(20) == 0


def test_run_takes_a_password_as_well(target: Target, password: Secret) -> None:
    result = target.run("id -un; cat", become="root", become_password=password.value, input="x" * 100_000)
    assert (result.status, result.stdout, result.stderr) == (0, "root\n" + "x" * 100_000, "")
    assert target.run("exit 1", become="root", become_password=password).status == 1
    with pytest.raises(CommandTimeout):
        # This user may not end what is root's: it ends by itself.
        target.run("sleep 30", become="root", become_password=password, timeout=2)


def test_whom_sudo_does_not_ask_the_command_reads_nothing_of_it(lab: Lab, target: Target, password: Secret) -> None:
    host = lab.host("alpha")
    rule = "/etc/sudoers.d/become-test"
    line = f"{host.user('both').login} ALL=(ALL) NOPASSWD: ALL\n"
    host.exec(["sh", "-c", f"umask 337; cat > {rule}"], input=line.encode())
    try:
        assert target.run("cat; id -un", become="root", become_password=password, input="mine").stdout == "mineroot\n"
        with target.start("id -un", become="root") as one:
            assert one.read_stdout(20) == b"root\n"
            assert one.wait(20) == 0
    finally:
        host.exec(["rm", "-f", rule])


def test_the_password_is_seen_nowhere(target: Target, password: Secret, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with target.start(f"echo ready; {LOOK}; set; cat", become="root", become_password=password) as one:
        assert one.read_stdout(20).startswith(b"ready")
        one.close_stdin()
        said = b"".join(iter(lambda: one.read_stdout(20), b""))
        assert password.value.encode() not in said
        assert b"PWD=" in said
        assert password.value not in repr(one)
    assert password.value not in caplog.text


def test_what_sudo_refuses_is_refused_at_once(target: Target, password: Secret) -> None:
    with pytest.raises(BecomeRefused, match="did not accept the password") as wrong:
        target.start("id", become="root", become_password="certainly-wrong")
    assert "certainly-wrong" not in str(wrong.value)
    for _ in range(20):  # sudo may have ended before anybody reads what it said
        with pytest.raises(BecomeRefused, match="password is required"):
            target.start("id", become="root")
    with pytest.raises(BecomeRefused, match="no user"):
        target.start("id", become="no-such-user", become_password=password)
    with pytest.raises(UsageError, match="several lines"):
        target.start("id", become="root", become_password="one\ntwo")
    with pytest.raises(UsageError, match="detached"):
        target.start("id", become="root", detached=True)  # type: ignore[call-overload]
    assert target.run("true").ok
