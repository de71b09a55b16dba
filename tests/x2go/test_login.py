"""The login of a session on real servers: every credential, host keys, hops, and the end of the connection."""

from __future__ import annotations

import gc
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest

from crl.lab import Lab
from crl.x2go import SessionState, X2GoSession
from crl.x2go.x2go_exceptions import (
    AuthenticationException,
    BadHostKeyException,
    PasswordRequiredException,
    X2GoControlSessionException,
    X2GoHostKeyException,
    X2GoParameterError,
    X2GoServerMissing,
    X2GoSessionException,
    X2GoSFTPClientException,
    X2GoSSHProxyException,
    X2GoStateError,
    X2GoTimeOutException,
)
from tests.x2go.conftest import listens, wait_until

pytestmark = pytest.mark.lab

Login = Callable[..., X2GoSession]


@pytest.fixture
def login(lab: Lab, tmp_path: Path) -> Iterator[Login]:
    """Make sessions for servers of the lab: ``login("both", password=True)``; closed at the end, nothing stays."""
    made: list[X2GoSession] = []
    before = set(threading.enumerate())

    def make(role: str = "zsh", host: str = "alpha", **options: Any) -> X2GoSession:
        there = lab.host(host)
        user = there.user(role)
        if options.get("password") is True:
            assert user.password is not None
            options["password"] = user.password
        options = {"known_hosts": lab.known_hosts, "sessions_rootdir": tmp_path / "x2go", **options}
        made.append(X2GoSession(server=there.address, port=there.port, username=user.login, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
    wait_until(lambda: not set(threading.enumerate()) - before)
    assert not set(threading.enumerate()) - before


@pytest.mark.parametrize("role", ["password", "both", "kbdint"])
def test_a_password(login: Login, role: str) -> None:
    one = login(role, password=True)
    assert one.get_password() is not None
    assert (one.connected, one.running) == (False, None)
    assert one.connect()
    assert one.is_connected()
    assert one.get_password() is None
    assert one.get_username() == one.control_session.remote_username()
    assert one.get_server_peername() == (one.server, one.port)
    transport = one.control_session.get_transport()
    assert isinstance(transport, paramiko.Transport)
    assert transport.is_authenticated()
    assert one.is_alive()
    assert one.disconnect()
    assert not one.is_connected()
    assert not transport.is_active()


def test_a_key_and_a_second_login_on_the_same_object(login: Login, lab: Lab) -> None:
    one = login(key_filename=str(lab.key("zsh")))
    assert one.can_auto_connect()
    one.connect()
    assert one.connect()
    with pytest.raises(X2GoSessionException, match="connected as zshuser, not as root"):
        one.connect(username="root")
    one.disconnect()
    with pytest.raises(X2GoControlSessionException, match="no connection"):
        one.list_sessions()
    key = paramiko.PKey.from_path(lab.key("zsh"))
    one.update_params({"key_filename": None, "pkey": key})
    assert one.connect()
    assert one.get_remote_home() == "/home/zshuser"


def test_a_locked_key(login: Login, lab: Lab, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    shutil.copy(lab.key("zsh"), locked)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "open sesame", "-f", str(locked)], check=True, timeout=60)
    with pytest.raises(PasswordRequiredException, match="needs a passphrase"):
        login(key_filename=str(locked)).connect()
    assert login(key_filename=str(locked)).connect(passphrase="open sesame")


def test_wrong_credentials(login: Login) -> None:
    one = login("password", password="not the password")
    with pytest.raises(AuthenticationException, match="does not let pwuser in") as caught:
        one.connect()
    assert isinstance(caught.value, X2GoControlSessionException)
    assert "not the password" not in str(caught.value)
    assert not one.connected
    with pytest.raises(AuthenticationException, match="neither a password nor a key"):
        login("password").connect()
    assert not login("password").can_auto_connect()


def test_questions_beyond_the_password(login: Login) -> None:
    asked: list[list[tuple[str, bool]]] = []

    def answer(title: str, instructions: str, prompts: list[tuple[str, bool]]) -> list[str]:
        asked.append(prompts)
        return ["wrong"] * len(prompts)

    with pytest.raises(AuthenticationException):
        login("kbdint", prompter=answer).connect()
    assert asked
    assert not asked[0][0][1]


def test_an_unknown_host_key(login: Login, lab: Lab, tmp_path: Path) -> None:
    known = tmp_path / "known"
    with pytest.raises(X2GoHostKeyException, match=r"SSH-ED25519 SHA256:.* is not known"):
        login(key_filename=str(lab.key("zsh")), known_hosts=known).connect()
    assert not known.exists() or not known.read_text()
    one = login(key_filename=str(lab.key("zsh")), known_hosts=known)
    asked: list[tuple[Any, ...]] = []

    def agree(*args: Any, **kwargs: Any) -> bool:
        asked.append((args, kwargs))
        return True

    one.HOOK_check_host_dialog = agree  # type: ignore[method-assign]
    assert one.check_host()
    assert one.connect()  # what was agreed to is not asked about again
    assert len(asked) == 1
    assert asked[0][1]["fingerprint"].count(":") == 15
    assert known.read_text().startswith("|1|")
    assert login(key_filename=str(lab.key("zsh")), known_hosts=known).check_host()
    assert login(key_filename=str(lab.key("zsh")), known_hosts=known).connect()


def test_another_host_key_than_known(login: Login, lab: Lab, tmp_path: Path) -> None:
    known = tmp_path / "known"
    other = paramiko.ECDSAKey.generate()
    known.write_text(f"{lab.host('alpha').address} {other.get_name()} {other.get_base64()}\n")
    for add in (False, True):
        with pytest.raises(BadHostKeyException, match="is another than the one that is known") as caught:
            login(key_filename=str(lab.key("zsh")), known_hosts=known, add_to_known_hosts=add).connect()
        assert isinstance(caught.value, X2GoHostKeyException)
        assert f"{known}:1" in str(caught.value)


def test_a_server_that_is_not_there(login: Login) -> None:
    one = login(password="unused")
    one.set_port(1)
    with pytest.raises(OSError, match="refused") as caught:
        one.connect()
    assert isinstance(caught.value, X2GoControlSessionException)


def test_a_host_without_x2go_can_be_logged_in_on(login: Login, lab: Lab) -> None:
    one = login(host="gateway", key_filename=str(lab.key("zsh")))
    assert one.connect()
    with pytest.raises(X2GoServerMissing):
        one.list_sessions()


def test_through_a_hop_that_is_connected(login: Login, lab: Lab) -> None:
    gateway = lab.host("gateway")
    hop = paramiko.SSHClient()
    hop.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    hop.connect(
        gateway.address, gateway.port, gateway.user("zsh").login, key_filename=str(lab.key("zsh")),
        allow_agent=False, look_for_keys=False,
    )  # fmt: skip
    try:
        one = login(host="beta", key_filename=str(lab.key("zsh")))
        assert one.connect(sshproxy=hop)
        assert one.control_session.server.get_facts().hostname == "beta"
        one.disconnect()
        assert hop.get_transport() is not None
    finally:
        hop.close()


def test_through_a_hop_of_its_own(login: Login, lab: Lab) -> None:
    gateway = lab.host("gateway")
    hop = {
        "use_sshproxy": True, "sshproxy_host": gateway.address, "sshproxy_port": gateway.port,
        "sshproxy_user": gateway.user("zsh").login, "sshproxy_key_filename": str(lab.key("zsh")),
    }  # fmt: skip
    one = login(host="beta", key_filename=str(lab.key("zsh")), **hop)
    assert (one.uses_sshproxy(), one.can_sshproxy_auto_connect()) == (True, True)
    assert one.connect()
    assert one.control_session.server.get_facts().hostname == "beta"
    inner = one.control_session.sshproxy_session.get_transport()
    one.disconnect()
    assert not inner.is_active()
    again = login(host="beta", key_filename=str(lab.key("zsh")), **{**hop, "sshproxy_user": "nobody-there"})
    with pytest.raises(X2GoSSHProxyException):
        again.connect()
    assert not again.connected


def test_a_name_of_the_ssh_configuration(login: Login, lab: Lab, tmp_path: Path) -> None:
    """Its address, user, key and the hop before it all stand there."""
    folder = tmp_path / "ssh"
    folder.mkdir()
    (folder / "config").write_text(lab.ssh_config.read_text())
    one = login(host="beta", ssh_rootdir=folder, known_hosts=None, look_for_keys=True)
    one.set_server("beta")
    one.set_port(22)
    one.update_params({"username": None})
    assert one.connect()
    assert one.control_session.server.get_facts().hostname == "beta"
    assert one.get_username() == "keyuser"
    assert one.get_server_hostname() == "beta"


@pytest.fixture
def agent(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An agent that holds one key."""
    path = str(tmp_path / "agent")
    with subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: listens(path))
            monkeypatch.setenv("SSH_AUTH_SOCK", path)
            subprocess.run(["ssh-add", "-q", str(lab.key("zsh"))], check=True, timeout=60, stderr=subprocess.DEVNULL)
            yield
        finally:
            process.terminate()


@pytest.mark.usefixtures("agent")
def test_the_keys_of_an_agent_log_in_by_themselves_and_can_be_used_there(login: Login) -> None:
    one = login(allow_agent=True, forward_sshagent=True)
    assert one.can_auto_connect()
    one.do_auto_connect()
    wait_until(lambda: one.connected, 60)
    assert one.connected
    assert "ED25519" in one.target.run(["ssh-add", "-l"]).stdout


def test_a_login_that_needs_a_password_asks_the_application_for_it(login: Login) -> None:
    told: list[str] = []
    one = login("password", auto_connect=True)
    one.HOOK_auto_connect = lambda: told.append("asked")  # type: ignore[method-assign]
    one.do_auto_connect()
    assert told == ["asked"]
    assert not one.is_connected()


def test_a_step_logs_in_by_itself_where_it_may(login: Login, lab: Lab) -> None:
    one = login(key_filename=str(lab.key("zsh")), auto_connect=True, session_name="zshuser-99-1234567890_stRxterm_dp24")
    assert not one.is_connected()
    with pytest.raises(X2GoStateError, match="that is terminated cannot resume"):
        one.resume()
    assert one.is_connected()
    one.disconnect()
    assert "zshuser-99-1234567890_stRxterm_dp24" not in one.list_sessions()
    assert one.is_connected()
    told: list[str] = []
    locked = login("password", auto_connect=True)
    locked.HOOK_auto_connect = lambda: told.append("asked")  # type: ignore[method-assign]
    with pytest.raises(AuthenticationException, match="neither a password nor a key"):
        locked.start()
    assert told == ["asked"]
    with pytest.raises(X2GoControlSessionException, match="no connection"):
        login("password").list_sessions()
    # Two at once log in once.
    one.disconnect()
    one.do_auto_connect()
    one.connect()
    first = one.control_session.get_transport()
    wait_until(lambda: not any(thread.is_alive() for thread in one._threads))
    assert one.control_session.get_transport() is first


def test_a_session_that_nobody_uses_any_more_ends_its_login(lab: Lab, tmp_path: Path) -> None:
    there = lab.host("alpha")
    one: X2GoSession | None = X2GoSession(
        server=there.address, username=there.user("zsh").login, key_filename=str(lab.key("zsh")),
        known_hosts=lab.known_hosts, sessions_rootdir=tmp_path / "x2go",
    )  # fmt: skip
    assert one is not None
    one.connect()
    with pytest.raises(X2GoParameterError, match="all_suspended needs a client"):
        one.do_auto_start_or_resume(all_suspended=True)
    transport = one.control_session.get_transport()
    assert isinstance(transport, paramiko.Transport)
    one.__del__()  # as applications of python-x2go do, which go on with the login
    assert one.is_alive()
    one = None
    gc.collect()
    wait_until(lambda: not transport.is_active())
    assert not transport.is_active()


def test_commands_and_files_in_the_words_of_python_x2go(login: Login, lab: Lab, tmp_path: Path) -> None:
    one = login(key_filename=str(lab.key("zsh")))
    one.connect()
    control = one.control_session
    _, out, err = control._x2go_exec_command("echo $HOME; echo oh >&2; exit 3")
    assert (out.read(), err.read(), out.exit_status) == (b"/home/zshuser\n", b"oh\n", 3)
    _, out, _ = control._x2go_exec_command(["echo", "$HOME; reboot"])
    assert out.read() == b"$HOME; reboot\n"
    control.test_sftpclient()
    written = "/home/zshuser/written"
    control._x2go_sftp_write(written, "text")
    assert control._x2go_exec_command(f"stat -c %a {written}; cat {written}")[1].read() == b"600\ntext"
    (tmp_path / "there").write_bytes(b"\0\1")
    control._x2go_sftp_put(tmp_path / "there", written)
    assert control._x2go_exec_command(["od", "-An", "-c", written])[1].read().split() == [b"\\0", b"001"]
    control._x2go_sftp_remove(written)
    with pytest.raises(X2GoSFTPClientException, match="removing /home/zshuser/written"):
        control._x2go_sftp_remove(written)
    assert control.home_exists()
    assert control.is_x2gouser("zshuser")
    assert control._x2go_remote_home == "/home/zshuser"
    assert control._x2go_remote_group("x2gouser") == []
    assert (control.get_hostname(), control.get_port()) == (one.server, one.port)
    with pytest.raises(X2GoTimeOutException):
        control._x2go_exec_command("sleep 60", timeout=0.5)
    with pytest.raises(X2GoParameterError, match="cannot be the name of a session"):
        control.suspend("-x; reboot")


def test_a_connection_that_is_lost(login: Login, lab: Lab) -> None:
    told: list[str] = []
    one = login(key_filename=str(lab.key("zsh")))
    one.connect()
    one.HOOK_on_control_session_death = lambda: told.append("death")  # type: ignore[method-assign]
    assert one.state is SessionState.VIRGIN
    transport = one.control_session.get_transport()
    assert transport is not None
    transport.sock.close()
    started = time.monotonic()
    wait_until(lambda: not one.connected)
    assert not one.connected
    with pytest.raises(X2GoControlSessionException, match="connection to the server was lost"):
        one.list_sessions()
    assert time.monotonic() - started < 30
    assert told == ["death"]
    assert not one.is_alive()
    with pytest.raises(X2GoControlSessionException):
        one.start()
    assert one.connect()
    assert one.is_alive()


def test_who_finds_out_late_that_a_connection_has_ended_ends_no_other(login: Login, lab: Lab) -> None:
    one = login(key_filename=str(lab.key("zsh")))
    one.connect()
    former = one.control_session._own_host
    one.disconnect()
    one.connect()
    assert former is not None
    former._on_loss(X2GoControlSessionException("what a thread that was under way sees now"))
    assert not one.control_session.has_session_died()
    assert one.is_connected()
    assert one.is_alive()


def test_parameters_are_known_or_refused(login: Login) -> None:
    with pytest.raises(X2GoParameterError, match="no parameter colour"):
        login(colour="red")
    one = login(password="a secret word", geometry="1024x768", sshproxy_host="hop")
    assert one.terminal_params["geometry"] == "1024x768"
    assert one.sshproxy_params == {"sshproxy_host": "hop"}
    assert "a secret word" not in repr(one.control_params) + repr(one) + repr(one.__dict__)
    assert one.get_session_profile_option("geometry") == "1024x768"
    one.update_params({"geometry": "640x480", "profile_name": "other"})
    assert (one.session_params.geometry, one.get_profile_name()) == ("640x480", "other")
    assert (one.uses_sshproxy(), one.can_sshproxy_auto_connect()) == (False, None)
