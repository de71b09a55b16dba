"""The program that makes a link slow: it joins two TUN devices, one in each namespace, and holds packets back.

Run as ``python -m crl.lab._shaper FOLDER HOST FD END END DELAY JITTER LOSS RATE``, END being
``PID:INTERFACE:OWN:PEER``. It says ``ready`` on FD when packets take its way, and everything it made ends with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import selectors
import signal
import struct
import sys
import time
from collections import deque
from typing import Final

from crl.lab import _syscalls as sys_
from crl.lab._network import ip
from crl.lab._shaping import Shape, tun_lines

TUNSETIFF: Final = 0x400454CA
IFF_TUN: Final = 0x0001
IFF_NO_PI: Final = 0x1000
LONGEST_PACKET: Final = 65536
BURST: Final = 64
QUEUE_SECONDS: Final = 2.0
"""A limited link queues at most so much time's worth of packets, then drops new ones."""


class Pipe:
    """One direction of the link: packets come in, wait and go out in order."""

    def __init__(self, shape: Shape, sink: int, chance: random.Random) -> None:
        self.shape = shape
        self.sink = sink
        self.chance = chance
        self.queue: deque[tuple[float, bytes]] = deque()
        self.line_free = 0.0
        self.last = 0.0

    def put(self, packet: bytes, now: float) -> None:
        """Take a packet: lose it, or say when it may go."""
        if self.shape.loss and self.chance.random() < self.shape.loss:
            return
        sent = now
        if self.shape.rate:
            if self.line_free - now > QUEUE_SECONDS:
                return
            sent = self.line_free = max(now, self.line_free) + len(packet) * 8 / self.shape.rate
        due = sent + self.shape.delay + (self.chance.random() * self.shape.jitter if self.shape.jitter else 0.0)
        self.last = max(self.last, due)
        self.queue.append((self.last, packet))

    def flush(self, now: float) -> float | None:
        """Send what is due; the moment of the next packet."""
        while self.queue and self.queue[0][0] <= now:
            _due, packet = self.queue.popleft()
            send(self.sink, packet)
        return self.queue[0][0] if self.queue else None


def send(fd: int, packet: bytes) -> None:
    """Give a packet to a device; one whose interface is down, or whose queue is full, swallows it like a wire."""
    with contextlib.suppress(OSError):  # that is what a wire does with it
        os.write(fd, packet)


def open_tun(name: str) -> int:
    """Make a TUN device in the present network namespace; it lives as long as its descriptor."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return fd


def open_end(text: str) -> int:
    """Make one end of the link where it belongs and lead the way there through it."""
    pid, name, own, peer = text.split(":")
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if pid != "0":
            sys_.setns(f"/proc/{pid}/ns/net", sys_.CLONE_NEWNET)
        fd = open_tun(name)
        ip(None, tun_lines(name, own, peer), doing="leading the way through the slow link")
        sys_.setns(f"/proc/self/fd/{home}", sys_.CLONE_NEWNET)
    finally:
        os.close(home)
    return fd


def receive(fd: int, pipe: Pipe) -> None:
    """Take what a device has, up to a burst."""
    now = time.monotonic()
    for _ in range(BURST):
        try:
            packet = os.read(fd, LONGEST_PACKET)
        except BlockingIOError:
            return
        pipe.put(packet, now)


def main(arguments: list[str]) -> int:
    """Be the slow link until told to end."""
    _folder, _host, ready = arguments[:3]
    first, second = (open_end(text) for text in arguments[3:5])
    delay, jitter, loss, rate = (float(text) for text in arguments[5:9])
    shape = Shape(delay, jitter, loss, rate or None)
    chance = random.Random()
    pipes = {first: Pipe(shape, second, chance), second: Pipe(shape, first, chance)}
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    os.write(int(ready), b"ready\n")
    os.close(int(ready))
    with selectors.DefaultSelector() as selector:
        for fd, pipe in pipes.items():
            selector.register(fd, selectors.EVENT_READ, pipe)
        while True:
            moments = [moment for pipe in pipes.values() if (moment := pipe.flush(time.monotonic())) is not None]
            timeout = max(0.0, min(moments) - time.monotonic()) if moments else None
            for key, _events in selector.select(timeout):
                receive(key.fd, key.data)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
