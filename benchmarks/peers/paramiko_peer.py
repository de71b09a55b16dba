"""paramiko: the floor's loop over a channel of a transport in this process; option ``nodelay`` sets TCP_NODELAY."""

from __future__ import annotations

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import paramiko

from benchmarks.peers.base import MIB, Peer, Settings
from benchmarks.peers.floor import LoopPeer, start_line

__all__ = ["ParamikoPeer", "make"]

# Larger pieces are copied again for each packet that is sent of them.
SLICE = 128 * 1024


class ParamikoPeer(LoopPeer):
    """The loop over paramiko."""

    bulk = 32 * MIB

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._client: paramiko.SSHClient | None = None

    def _connect(self, alias: str) -> paramiko.SSHClient:
        found = paramiko.SSHConfig.from_path(self.settings.ssh_config).lookup(alias)
        client = paramiko.SSHClient()
        client.load_host_keys(self.settings.known_hosts)
        keys = found["identityfile"][0].strip('"')
        client.connect(found["hostname"], int(found["port"]), found["user"], key_filename=keys, allow_agent=False,
                       look_for_keys=False, timeout=60, banner_timeout=60, auth_timeout=60)  # fmt: skip
        transport = client.get_transport()
        assert transport is not None
        if self.settings.option == "nodelay":
            cast(socket.socket, transport.sock).setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client

    def open(self, place: str) -> None:
        """Connect and start the loop."""
        self._client = self._connect(place)
        self._channel = self._start(self._client)
        self.begin()

    def _start(self, client: paramiko.SSHClient) -> paramiko.Channel:
        transport = client.get_transport()
        assert transport is not None
        channel = transport.open_session(window_size=8 * MIB)
        channel.exec_command(start_line())
        return channel

    def close(self) -> None:
        """End the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def send_bytes(self, data: bytes | memoryview) -> None:
        """In slices."""
        view = memoryview(data)
        for start in range(0, len(view), SLICE):
            self._channel.sendall(bytes(view[start : start + SLICE]))

    def read_some(self) -> bytes:
        """What the channel has."""
        data = self._channel.recv(MIB)
        if not data:
            raise ConnectionError("the channel has ended")
        return data

    def push(self, local: str, remote: str) -> None:
        """By SFTP."""
        assert self._client is not None
        with self._client.open_sftp() as sftp:
            sftp.put(local, remote)

    def pull(self, remote: str, local: str) -> None:
        """By SFTP."""
        assert self._client is not None
        with self._client.open_sftp() as sftp:
            sftp.get(remote, local)

    def push_tree(self, local: str, remote: str) -> None:
        """By SFTP."""
        self.call("folder", remote)
        assert self._client is not None
        with self._client.open_sftp() as sftp:
            for name in os.listdir(local):
                sftp.put(f"{local}/{name}", f"{remote}/{name}", confirm=False)

    def pull_tree(self, remote: str, local: str) -> None:
        """By SFTP."""
        Path(local).mkdir()
        assert self._client is not None
        with self._client.open_sftp() as sftp:
            for name in sftp.listdir(remote):
                sftp.get(f"{remote}/{name}", f"{local}/{name}")

    def fleet(self, aliases: list[str]) -> dict[str, float]:
        """Seconds, threads and CPU to open many targets at once, up to a result of each."""
        before, used = threading.active_count(), time.process_time()
        started = time.perf_counter()
        with ThreadPoolExecutor(len(aliases)) as pool:
            clients = list(pool.map(self._first_result, aliases))
            seconds = time.perf_counter() - started
            more = threading.active_count() - before - len(pool._threads)  # noqa: SLF001
        for client in clients:
            client.close()
        return {"seconds": seconds, "threads": more, "cpu": time.process_time() - used}

    def _first_result(self, alias: str) -> paramiko.SSHClient:
        client = self._connect(alias)
        channel = self._start(client)
        seen = b""
        while b"READY" not in seen:
            seen += channel.recv(4096)
        return client


def make(settings: Settings) -> Peer:
    """This peer."""
    return ParamikoPeer(settings)
