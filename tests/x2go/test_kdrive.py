"""x2gokdrive's client and telekinesis: no system here has the programs, so what is looked at is how they are called.

The stand-ins for the two programs write down what they were given and use the tunnels; all else is real: the tunnels,
sshfs, sftp-server.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from crl.lab import Lab
from crl.x2go import X2GoServerSessionInfo, telekinesis
from crl.x2go._records import parse_start
from crl.x2go.backends.proxy.kdrive import X2GoProxyKDRIVE
from crl.x2go.telekinesis import X2GoTelekinesisClient
from crl.x2go.x2go_exceptions import X2GoProxyMissing, X2GoTelekinesisClientException
from tests.x2go.tunnelling import Left, connection_of, program_there

COOKIE = "3dec" * 8
NAME = "zshuser-50-1795219417_stKMATE_dp24"
PROGRAM = f"""#!{sys.executable} -S
import json, os, re, socket, sys
note = {{"argv": sys.argv, "env": dict(os.environ)}}
words = " ".join(sys.argv)
found = re.search("options=([^:]*):", words)
if found:
    note["options"] = open(found[1]).read()
    note["mode"] = oct(os.stat(found[1]).st_mode & 0o777)
    words = note["options"]
port = int(re.search("(?:port|WORMHOLEPORT)=([0-9]+)", words)[1])
with open({{place!r}} + ".new", "w") as stream:
    json.dump(note, stream)
os.rename({{place!r}} + ".new", {{place!r}})
sock = socket.create_connection(("127.0.0.1", port))
sock.sendall(b"hello")
sock.recv(1)
"""
# Accepts, and says what it was told first.
SERVER = r"""
import socket, subprocess
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
while True:
    sock = server.accept()[0]
    print(sock.recv(5).decode(), flush=True)
"""
# As the server's own sFTP server of telekinesis: whoever connects speaks with it.
SFTP = r"""
import socket, subprocess
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
while True:
    sock = server.accept()[0]
    subprocess.Popen(["/usr/lib/openssh/sftp-server"], stdin=sock, stdout=sock)
    sock.close()
"""


def stand_in(folder: Path, name: str) -> Path:
    """A program that writes down how it was called; where it does."""
    place = folder / f"{name}.json"
    program = folder / name
    program.write_text(PROGRAM.replace("{place!r}", repr(str(place))))
    program.chmod(0o755)
    return place


def record(graphics: int = 1, control: int = 2, data: int = 3) -> X2GoServerSessionInfo:
    answer = parse_start("\n".join(map(str, ["50", COOKIE, 17623, NAME, graphics, 1, 1, control, data])))
    assert answer is not None
    info = X2GoServerSessionInfo()
    info.initialize_from(answer, "zshuser", "alpha", remote_container=f"/home/zshuser/.x2go/C-{NAME}")
    return info


def left_of(connection: Any) -> Left:
    """What there is before, with the one thread that serves all tunnels of this process."""
    if hasattr(connection, "connect_socket"):
        connection.connect_socket(("127.0.0.1", 22)).close()
    return Left()


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def test_without_the_programs_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(X2GoProxyMissing, match="x2gokdriveclient is not installed"):
        X2GoProxyKDRIVE.require_program()
    monkeypatch.setenv("X2GOKDRIVECLIENT_BINARY", str(tmp_path / "other"))
    with pytest.raises(X2GoProxyMissing, match="other is not installed"):
        X2GoProxyKDRIVE.require_program()
    client = X2GoTelekinesisClient(record(), object(), sessions_rootdir=tmp_path)
    assert not client.has_telekinesis_client()
    with pytest.raises(X2GoTelekinesisClientException, match="telekinesis-client is not installed"):
        client.start_telekinesis()
    with pytest.raises(X2GoTelekinesisClientException, match="named no ports"):
        X2GoTelekinesisClient(record(control=-1, data=-1), object())


@pytest.mark.lab
@pytest.mark.parametrize("kind", ["paramiko", "target"])
def test_how_the_kdrive_client_is_called(lab: Lab, programs: Path, tmp_path: Path, kind: str) -> None:
    place = stand_in(programs, "x2gokdriveclient")
    with program_there(lab, SERVER) as (port, there), connection_of(kind, lab) as connection:
        left = left_of(connection)
        proxy = X2GoProxyKDRIVE(
            session_info=record(port), ssh_transport=connection, sessions_rootdir=tmp_path / "x2go", display=":77"
        )
        process, shows = proxy.start_proxy(60)
        assert process is not None
        assert shows
        assert there.stdout is not None
        assert there.stdout.readline() == b"hello\n"
        note = json.loads(place.read_text())
        options = tmp_path / "x2go" / f"S-{NAME}" / "options"
        assert note["argv"] == [str(programs / "x2gokdriveclient"), "-S", f"nx/nx,options={options}:50"]
        assert note["mode"] == "0o600"
        given = note["options"].split(",")
        assert given[:4] == ["nx/nx", "retry=5", "composite=1", "clipboard=1"]
        assert {"connect=127.0.0.1", f"cookie={COOKIE}"} < set(given)
        assert given[-1] == f"errors={options.with_name('session.err')}:50"
        assert (note["env"]["NX_ROOT"], note["env"]["DISPLAY"]) == (str(tmp_path / "x2go"), ":77")
        assert "NX_CLIENT" not in note["env"]
        assert COOKIE not in str(note["argv"])
        proxy.stop_thread()
        assert not proxy.ok()
        assert not options.exists()
        left.check()


@pytest.mark.lab
def test_how_telekinesis_is_called(lab: Lab, programs: Path, tmp_path: Path) -> None:
    place = stand_in(programs, "telekinesis-client")

    class Session:
        def has_server_feature(self, feature: str) -> bool:
            return feature == "X2GO_TELEKINESIS_TEKISFTPSERVER"

    with (
        program_there(lab, SERVER) as (control, there),
        program_there(lab, SFTP) as (data, _),
        connection_of("target", lab) as connection,
    ):
        left = left_of(connection)
        info = record(1, control, data)
        client = X2GoTelekinesisClient(info, connection, tmp_path / "x2go", session_instance=Session())
        process, up = client.start_telekinesis()
        assert process is not None
        assert up
        assert there.stdout is not None
        assert there.stdout.readline() == b"hello\n"
        # What the session offers is here, by the real sshfs.
        assert (client.mount_point / "etc" / "hostname").read_text().strip() == "alpha"
        note = json.loads(place.read_text())
        assert note["argv"][1:] == [f"-setWORMHOLEPORT={client._port}", f"-setX2GOSID={NAME}"]
        assert client._sshfs_cmdline()[-2:] == ["127.0.0.1:/", str(client.mount_point)]
        assert X2GoTelekinesisClient(info, connection)._sshfs_cmdline()[-2] == (
            f"127.0.0.1:/home/zshuser/.x2go/C-{NAME}/telekinesis/remote/"
        )
        client.stop_thread()
        assert not client.mount_point.exists()
        left.check()


@pytest.mark.lab
def test_telekinesis_that_cannot_be(
    lab: Lab, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telekinesis, "MOUNT_TIMEOUT", 6.0)
    stand_in(programs, "telekinesis-client")
    with connection_of("target", lab) as connection, program_there(lab, SERVER) as (port, _):
        left = left_of(connection)
        for data, why in ((1, "no connection to 127.0.0.1:1 there"), (port, "does not say")):
            client = X2GoTelekinesisClient(record(1, 1, data), connection, tmp_path / "x2go")
            with pytest.raises(X2GoTelekinesisClientException, match=why):
                client.start_telekinesis()
        place = client.mount_point
        place.parent.mkdir(0o700, parents=True)
        place.parent.parent.chmod(0o700)
        place.symlink_to(tmp_path)
        try:
            with pytest.raises(X2GoTelekinesisClientException, match="is not a folder of ours alone"):
                X2GoTelekinesisClient(record(), connection, tmp_path / "x2go").start_telekinesis()
        finally:
            place.unlink()
            place.parent.rmdir()
            place.parent.parent.rmdir()
        left.check()


