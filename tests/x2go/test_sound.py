"""Sound of sessions: what a program plays on the server is heard by a real PulseAudio here, and that is all it does."""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crl.lab import Lab
from crl.targets import Target
from crl.x2go import AgentState, ClientDisplay, X2GoClient, X2GoSession
from crl.x2go.pulseaudio import Recording, SoundServer, X2GoPulseAudio, daemon_plan, find_sound_server
from crl.x2go.soundtunnel import X2GoRevFwTunnelToAudio
from crl.x2go.x2go_exceptions import X2GoParameterError, X2GoSoundException, X2GoTimeOutException
from tests.x2go.conftest import children, wait_until
from tests.x2go.tunnelling import Hooks, Left, connection_of, listens_there, program_there

# Plays a tone for as long as somebody lets it: frequency, then what has to be in the environment.
PLAYER = r"""
import array, math, subprocess, sys, time
frequency = float(sys.argv[1])
period = array.array("h", [int(12000 * math.sin(2 * math.pi * frequency * n / 44100)) for n in range(44100)]).tobytes()
words = ["pacat", "--playback", "--raw", "--rate=44100", "--channels=1", "--format=s16le", "--latency-msec=200"]
player = subprocess.Popen(words + ["--client-name=tone"], stdin=subprocess.PIPE)
try:
    for _ in range(60):
        player.stdin.write(period)
        player.stdin.flush()
except BrokenPipeError:
    pass
player.wait()
time.sleep(600 * sys.argv.count("lasting"))
"""
# Has a port without listening on it.
TAKEN = r"""
import socket, sys
sock = socket.socket()
sock.bind(("127.0.0.1", {0}))
print({0}, flush=True)
sys.stdin.read()
"""
NOWHERE = ("PULSE_SERVER", "PULSE_COOKIE", "PULSE_RUNTIME_PATH", "XDG_RUNTIME_DIR")


@pytest.fixture(autouse=True)
def no_sound_server_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in NOWHERE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def pulse() -> Iterator[X2GoPulseAudio]:
    left = Left()
    with X2GoPulseAudio(sink="null") as server:
        yield server
    left.check()


def play(target: Target, frequency: float, **env: str) -> Any:
    """Start a tone on the server."""
    return target.start(["python3", "-c", PLAYER, str(frequency)], env=env)


def is_silent(server: X2GoPulseAudio) -> bool:
    return server.record(0.2).loudness == 0.0


# The sound server here.


def test_a_sound_server_of_our_own(pulse: X2GoPulseAudio, monkeypatch: pytest.MonkeyPatch) -> None:
    server = pulse.wait_ready()
    assert isinstance(server.address, str)
    assert is_silent(pulse)
    with pytest.raises(X2GoTimeOutException, match="no tone of 440 Hz was heard: at best 0%"):
        pulse.wait_for_tone(440, 0.2)
    cookie = Path(server.address).with_name("cookie")
    assert cookie.stat().st_mode & 0o77 == 0
    assert cookie.read_bytes().hex() not in repr((pulse, server))
    monkeypatch.setenv("PULSE_SERVER", f"unix:{server.address}")
    monkeypatch.setenv("PULSE_COOKIE", str(cookie))
    assert find_sound_server() == server
    monkeypatch.delenv("PULSE_SERVER")
    monkeypatch.setenv("PULSE_RUNTIME_PATH", str(cookie.parent))
    assert find_sound_server(1) == server


def test_a_sound_server_that_ends_is_told_and_leaves_nothing() -> None:
    class Client:
        told: list[str] = []

        def __getattr__(self, name: str) -> Callable[[], None]:
            return lambda: self.told.append(name)

    left, client = Left(), Client()
    server = X2GoPulseAudio(client_instance=client, sink="null")
    server.start()
    where = server.wait_ready()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    server.join(10)
    assert client.told == ["HOOK_pulseaudio_server_died"]
    with pytest.raises(X2GoSoundException, match="has ended"):
        server.wait_ready()
    assert not Path(str(where.address)).parent.exists()
    with pytest.raises(X2GoSoundException, match="no sound server answers"):
        where.check()
    server.stop_thread()
    left.check()


NO = struct.pack(">5I", 15, 0xFFFFFFFF, 0, 0, 0) + struct.pack(">cIcIcI", b"L", 0, b"L", 0, b"L", 1)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n", r"what is at .* is no sound server"),
        (b"", r"it ends the connection"),
        (NO, r"does not let us in"),
    ],
)
def test_what_is_no_sound_server(answer: bytes, why: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            sock, _ = listening.accept()
            with sock:
                sock.sendall(answer)
                sock.recv(1000)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(X2GoSoundException, match=f"this machine has no sound server: .*{why}"):
            find_sound_server(listening.getsockname()[1])
        thread.join(10)


def test_a_sound_server_that_does_not_come_up(tmp_path: Path) -> None:
    (tmp_path / "pulseaudio").write_text("#!/bin/sh\necho no hardware >&2\nexit 1\n")
    (tmp_path / "pulseaudio").chmod(0o755)
    failing = X2GoPulseAudio(tmp_path)
    failing.start()
    with pytest.raises(X2GoSoundException, match="ended at once") as caught:
        failing.wait_ready()
    assert "no hardware" in caught.value.transcript
    failing.stop_thread()
    with pytest.raises(X2GoSoundException, match="there is no pulseaudio"):
        X2GoPulseAudio(tmp_path / "nowhere")
    with pytest.raises(X2GoParameterError, match="sink"):
        X2GoPulseAudio(sink="loud")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:/run/user/1000/pulse/native", "/run/user/1000/pulse/native"),
        ("/tmp/native", "/tmp/native"),
        ("{0123abcd}unix:/tmp/native tcp:other", "/tmp/native"),
        ("tcp:127.0.0.1:4714", ("127.0.0.1", 4714)),
        ("tcp6:[::1]:4714", ("::1", 4714)),
        ("[::1]", ("::1", 4713)),
        ("localhost", ("localhost", 4713)),
    ],
)
def test_names_of_sound_servers(text: str, address: Any) -> None:
    assert SoundServer.parse(text).address == address


@pytest.mark.parametrize("text", ["", "tcp:", "localhost:sound", "host:70000"])
def test_names_of_no_sound_server(text: str) -> None:
    with pytest.raises(X2GoParameterError, match="names no sound server"):
        SoundServer.parse(text)


def test_a_client_that_starts_a_sound_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left, told = Left(), []

    class Client(X2GoClient):
        def HOOK_pulseaudio_server_startup_failed(self) -> None:
            told.append("failed")

    with Client(client_rootdir=tmp_path, start_pulseaudio=True) as client:
        assert client.pulseaudio is not None
        where = client.pulseaudio.wait_ready()
        # Who has a sound server gets no other.
        monkeypatch.setenv("PULSE_RUNTIME_PATH", str(Path(str(where.address)).parent))
        with Client(client_rootdir=tmp_path, start_pulseaudio=True) as other:
            assert other.pulseaudio is None
    assert told == []
    with Client(client_rootdir=tmp_path, start_pulseaudio=True, pulseaudio_installdir=str(tmp_path)) as client:
        assert client.pulseaudio is None
    assert told == ["failed"]
    left.check()


def test_how_it_is_called_on_windows_and_elsewhere() -> None:
    """The decisions alone: no Windows is here."""
    folder = r"C:\Users\pat\AppData\Local\Temp\crl-pulse-1"
    windows = daemon_plan("Windows", r"C:\x2go\pulse\pulseaudio.exe", folder, "hardware", 4714)
    assert windows.command[:4] == (r"C:\x2go\pulse\pulseaudio.exe", "-n", "-F", folder + r"\script.pa")
    assert windows.command[-2:] == ("-p", r"C:\x2go\pulse\modules")
    assert windows.script == (
        "load-module module-waveout sink_name=crl\n"
        "load-module module-native-protocol-tcp listen=127.0.0.1 port=4714 auth-anonymous=0 "
        'auth-cookie="C:/Users/pat/AppData/Local/Temp/crl-pulse-1/cookie"\n'
    )
    assert (windows.address, windows.environment) == (("127.0.0.1", 4714), {})
    linux = daemon_plan("Linux", "/usr/bin/pulseaudio", "/tmp/p", "hardware")
    assert linux.address == "/tmp/p/native"
    assert "module-udev-detect" in linux.script
    assert set(linux.environment.values()) == {"/tmp/p", "disabled:"}
    for plan in (windows, linux, daemon_plan("Linux", "pulseaudio", "/tmp/p", "null")):
        assert {"--disallow-exit", "--disallow-module-loading", "--disable-shm=yes"} < set(plan.command)
        assert "auth-anonymous=0" in plan.script


# The tunnel.


class SoundHooks(Hooks):
    def HOOK_on_sound_tunnel_failed(self, **what: Any) -> None:
        self.calls.append(("sound", what))


@pytest.mark.lab
@pytest.mark.parametrize("kind", ["paramiko", "target"])
def test_a_tone_through_a_tunnel_and_nothing_but_sound(
    lab: Lab, alpha: Target, pulse: X2GoPulseAudio, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    with connection_of(kind, lab) as connection:
        left = Left()
        hooks = SoundHooks()
        tunnel = X2GoRevFwTunnelToAudio(0, connection, pulse.wait_ready(), session_instance=hooks)
        tunnel.start()
        assert tunnel.wait_listening(30)
        port = tunnel.server_port
        folder = alpha.run(["mktemp", "-d"]).stdout.strip()
        cookie = f"{folder}/cookie"
        alpha.files.write(cookie, tunnel.cookie)
        env = {"PULSE_SERVER": f"127.0.0.1:{port}", "PULSE_COOKIE": cookie, "HOME": folder}
        tone = play(alpha, 440, **env)
        assert pulse.wait_for_tone(440, 60).share_of(1000) < 0.05
        for words in (
            ["pactl", "load-module", "module-null-sink"],
            ["pactl", "list", "modules"],
            ["pactl", "unload-module", "0"],
            ["pactl", "suspend-sink", "0", "1"],
            ["timeout", "30", "parec", "--raw", "--process-time-msec=10"],
        ):
            refused = alpha.run(words, env=env)
            assert refused.status == 1, (words, refused)
            assert "No such entity" in refused.stderr
        assert "Server Name" in alpha.run(["pactl", "info"], env=env).stdout
        stranger = alpha.run(["pactl", "info"], env={**env, "PULSE_COOKIE": "/dev/null"})
        assert stranger.status == 1
        assert "a program of the session was refused what is not playing sound" in caplog.text
        assert "does not know the session's cookie" in caplog.text
        assert hooks.calls == []
        # The sound server goes: who plays then is refused, and the hook hears it once.
        pulse.stop_thread()
        for _ in range(2):
            assert alpha.run(["pactl", "info"], env=env).status == 1
        assert hooks.calls == [("sound", {})]
        tone.kill()
        tunnel.stop_thread()
        assert not listens_there(lab, port)
        alpha.run(["rm", "-r", folder])
        left.check()


@pytest.mark.lab
def test_a_microphone_that_is_open_and_a_port_that_is_not_to_be_had(
    lab: Lab, alpha: Target, pulse: X2GoPulseAudio
) -> None:
    with connection_of("target", lab) as connection:
        left, hooks = Left(), SoundHooks()
        refused = X2GoRevFwTunnelToAudio(22, connection, pulse.wait_ready(), session_instance=hooks)
        refused.start()
        assert not refused.wait_listening(30)
        refused.stop_thread()
        assert hooks.calls == [("reverse", {"server_port": 22})]
        tunnel = X2GoRevFwTunnelToAudio(0, connection, pulse.wait_ready(), microphone=True)
        tunnel.start()
        assert tunnel.wait_listening(30)
        alpha.files.write("/home/zshuser/cookie", tunnel.cookie)
        env = {"PULSE_SERVER": f"127.0.0.1:{tunnel.server_port}", "PULSE_COOKIE": "/home/zshuser/cookie"}
        tone = play(alpha, 500, **env)
        pulse.wait_for_tone(500, 60)
        record = "timeout 30 parec --raw --rate=44100 --channels=1 --format=s16le --latency-msec=50"
        text = alpha.run(["sh", "-c", f"{record} | head -c 88200 | base64"], env=env).stdout
        heard = Recording.from_bytes(base64.b64decode(text))
        assert heard.seconds == pytest.approx(1.0)
        assert max(heard.part(n / 10, 0.1).share_of(500) for n in range(10)) > 0.9
        tone.kill()
        tunnel.stop_thread()
        alpha.files.remove("/home/zshuser/cookie")
        left.check()


# Sessions.


@pytest.fixture
def display() -> Iterator[ClientDisplay]:
    with ClientDisplay.start((800, 600)) as started:
        yield started


@pytest.fixture
def player(alpha: Target) -> Iterator[str]:
    """A program on the server that plays a tone as long as it is let."""
    path = "/home/zshuser/tone.py"
    alpha.files.write(path, PLAYER.encode())
    yield path
    alpha.files.remove(path)


def play_until_heard(one: X2GoSession, pulse: X2GoPulseAudio, command: str, frequency: float) -> None:
    """Start a program in a session that was resumed just now, again if need be.

    The server's daemon may suspend such a session, which crl resumes then: what played loses its sound server.
    """
    for _ in range(3):
        one.exec_published_application(command)
        with contextlib.suppress(X2GoTimeOutException):
            pulse.wait_for_tone(frequency, 30)
            return
    raise AssertionError("nothing was heard")


@pytest.mark.lab
@pytest.mark.usefixtures("nothing_left")
def test_a_session_is_heard_until_it_is_suspended_and_again_after_that(
    session: Callable[..., X2GoSession],
    lab: Lab,
    alpha: Target,
    pulse: X2GoPulseAudio,
    display: ClientDisplay,
    player: str,
) -> None:
    command = f"python3 {player} 660 lasting"
    one = session(alpha, cmd=command, snd_system="pulse", sound_server=pulse, client_display=display)
    one.start()
    assert one.has_sound
    pulse.wait_for_tone(660, 60)
    folder = f"/home/zshuser/.x2go/C-{one.get_session_name()}"
    modes = alpha.run(["stat", "-c", "%a", f"{folder}/.pulse-cookie", f"{folder}/.pulse-client.conf"]).stdout
    assert modes.split() == ["600", "600"]
    # Nothing of the sound server's own cookie is there.
    there = alpha.files.read(f"{folder}/.pulse-cookie")
    assert len(there) == 256
    assert there != pulse.wait_ready().cookie
    one.stop_sound()
    wait_until(lambda: is_silent(pulse))
    assert is_silent(pulse)
    # The server cannot take the file that programs are told by.
    alpha.run(["mkdir", f"{folder}/.pulse-cookie.new"])
    with pytest.raises(X2GoSoundException, match=r"the session has no sound: .*cookie.new"):
        one.start_sound()
    assert one.session_ok()
    alpha.run(["rmdir", f"{folder}/.pulse-cookie.new"])
    # The server cannot listen on the session's port, which is a client's at this moment: another one does.
    with program_there(lab, TAKEN.format(one.info.snd_port)):
        one.start_sound()
        assert alpha.files.read(f"{folder}/.pulse-client.conf").startswith(b"default-server=127.0.0.1:")
        assert f":{one.info.snd_port}\n".encode() not in alpha.files.read(f"{folder}/.pulse-client.conf")
        one.exec_published_application(f"python3 {player} 770")
        pulse.wait_for_tone(770, 60)
    one.suspend()
    one.resume()
    play_until_heard(one, pulse, f"python3 {player} 880", 880)
    assert f":{one.info.snd_port}\n".encode() in alpha.files.read(f"{folder}/.pulse-client.conf")
    # The sound server goes; the session does not.
    pulse.stop_thread()
    assert alpha.run(["pactl", "info"], env={"PULSE_CLIENTCONFIG": f"{folder}/.pulse-client.conf"}).status == 1
    wait_until(lambda: one.get_state() is AgentState.RUNNING)
    assert one.get_state() is AgentState.RUNNING
    with pytest.raises(X2GoSoundException, match=r"has ended|is not running"):
        one.start_sound()
    assert isinstance(one.sound_error, X2GoSoundException)
    assert one.session_ok()
    one.terminate()


def knocks_at_another_sound_system(one: X2GoSession, lab: Lab, home: Path) -> None:
    """EsounD's way, to a program that listens as one would; and aRts', which there is not."""
    alpha = lab.host("alpha")
    one.session_params.update(snd_system="arts")
    with pytest.raises(X2GoSoundException, match="aRts has not been made"):
        one.start_sound()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        one.session_params.update(snd_system="esd", snd_port=listening.getsockname()[1])
        (home / ".esd_auth").write_bytes(b"short")
        with pytest.raises(X2GoSoundException, match="no key of EsounD"):
            one.start_sound()
        (home / ".esd_auth").write_bytes(bytes(range(16)))
        one.start_sound()
        script = f"exec 3<>/dev/tcp/127.0.0.1/{one.info.snd_port}; head -c 16 ~/.esd_auth >&3; rm ~/.esd_auth"
        assert alpha.exec(["bash", "-c", script], user="zshuser").returncode == 0
        listening.settimeout(10)
        heard = []
        for _ in range(2):  # the first only looks whether anybody is there
            sock, _ = listening.accept()
            with sock:
                sock.settimeout(10)
                heard.append(sock.recv(16))
        assert heard == [b"", bytes(range(16))]


@pytest.mark.lab
@pytest.mark.usefixtures("nothing_left")
def test_a_client_without_a_sound_server_is_told_and_gets_its_session(
    lab: Lab, tmp_path: Path, display: ClientDisplay
) -> None:
    told: list[dict[str, Any]] = []

    class Client(X2GoClient):
        def HOOK_on_sound_tunnel_failed(self, **names: Any) -> None:  # type: ignore[override]
            told.append(names)

    host = lab.host("alpha")
    with Client(client_rootdir=tmp_path / "c", sessions_rootdir=tmp_path / "s", start_pulseaudio=False) as client:
        uuid = client.register_session(
            server=host.address, username=host.user("zsh").login, key_filename=str(lab.key("zsh")),
            known_hosts=str(lab.known_hosts), profile_name="Lab", cmd="xterm", snd_system="pulse", snd_port=1,
            client_display=display, link="lan",
        )  # fmt: skip
        assert client.connect_session(uuid)
        assert client.start_session(uuid)
        one = client.get_session(uuid)
        assert isinstance(one, X2GoSession)
        assert told == [{"profile_name": "Lab", "session_name": one.get_session_name()}]
        assert "no sound server" in str(one.sound_error)
        knocks_at_another_sound_system(one, lab, tmp_path)
        assert client.terminate_session(uuid)


@pytest.mark.long
@pytest.mark.lab
def test_sound_outlives_a_cut_of_the_link(lab: Lab, pulse: X2GoPulseAudio) -> None:
    with connection_of("target", lab) as connection:
        tunnel = X2GoRevFwTunnelToAudio(0, connection, pulse.wait_ready())
        tunnel.start()
        assert tunnel.wait_listening(30)
        connection.files.write("/home/zshuser/cookie", tunnel.cookie)
        env = {"PULSE_SERVER": f"127.0.0.1:{tunnel.server_port}", "PULSE_COOKIE": "/home/zshuser/cookie"}
        tone = play(connection, 440, **env)
        pulse.wait_for_tone(440, 60)
        for child in list(children()):
            number, _, command = child.partition(" ")
            if "alpha-zsh" in command:
                os.kill(int(number), signal.SIGKILL)
        assert connection.run(["true"]).status == 0  # over another ssh
        pulse.wait_for_tone(440, 60)  # the same program plays on
        assert tone.status is None
        tone.kill()
        tunnel.stop_thread()
        connection.files.remove("/home/zshuser/cookie")
