"""The door of a host: seen without a login, for the first host of every kind of way.

Invariant: a door is open exactly when somebody greets there, and a look never takes long.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from crl.channels.ssh import SshSettings
from crl.channels.ssh.door import Door
from tests.link.peers import PATIENCE, eventually

CONFIG = """
Host direct
  HostName 192.0.2.1
  Port 2201
Host behind
  HostName 192.0.2.2
  ProxyJump direct
Host by-command
  ProxyCommand nc %h %p
Host behind-by-command
  ProxyJump by-command
"""


@pytest.mark.parametrize(
    ("host", "door"),
    [
        ("direct", Door("192.0.2.1", 2201)),
        ("behind", Door("192.0.2.1", 2201)),
        ("by-command", None),
        ("behind-by-command", None),
    ],
)
def test_the_door_is_the_first_host_of_the_way(tmp_path: Path, host: str, door: Door | None) -> None:
    config = tmp_path / "config"
    config.write_text(CONFIG)
    assert Door.find(SshSettings(host, config=config)) == door


def test_a_configuration_that_ssh_refuses_has_no_door(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("NoSuchWord 1\n")
    assert Door.find(SshSettings("anywhere", config=config)) is None


def test_a_door_is_open_when_somebody_greets() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        door = Door("127.0.0.1", server.getsockname()[1])
        # The kernel takes the connection, and nobody says a word.
        began = time.monotonic()
        assert not door.is_open()
        assert time.monotonic() - began < 10
        server.accept()[0].close()

        seen = threading.Event()

        def greet() -> None:
            # A look does not wait for a greeting that is late.
            while not seen.is_set():
                connection, _ = server.accept()
                with connection, suppress(OSError):
                    connection.sendall(b"SSH-2.0-anything\r\n")

        greeting = threading.Thread(target=greet)
        greeting.start()
        assert eventually(door.is_open)
        seen.set()
        door.is_open()  # the last one that is greeted
        greeting.join(PATIENCE)
        assert not greeting.is_alive()
    assert not door.is_open()


@pytest.mark.parametrize("name", ["no-such-host.invalid", "no-such-host..invalid", "x" * 64])
def test_a_name_without_an_address_is_a_shut_door(name: str) -> None:
    assert not Door(name, 22).is_open()
