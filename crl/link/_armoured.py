"""A channel that carries every byte over one that does not: the controller's end of the armour.

It is put around a lane's channel when the remote program at the other end has its armour on as well. It borrows the
channel, blocks as little as that does, and takes what is written only as fast as the lane does.
"""

from __future__ import annotations

from crl.channels.base import Channel
from crl.link.lane import LaneKind
from crl.link.wire import armour

__all__ = ["ArmouredChannel", "put_armour_on"]


def put_armour_on(channel: Channel, kind: LaneKind, seen: bytes) -> tuple[Channel, bytes]:
    """The channel for frames.

    Args:
        channel: The lane's.
        kind: What it carries.
        seen: What has been read from it already.

    Returns:
        The channel itself when it carries every byte, else one around it; and what was read, without armour.
    """
    if not kind.armour:
        return channel, seen
    armoured = ArmouredChannel(channel, kind.armour)
    return armoured, armoured.decode(seen)


class ArmouredChannel:
    """Frames in, armour out, and back.

    Args:
        channel: The lane's channel, borrowed.
        text: As of `armour.make`.

    Attributes:
        breaks_lines: Whether the lane may break lines that are not armour.
    """

    def __init__(self, channel: Channel, text: str) -> None:
        self._channel = channel
        self._armour = armour.make(text, toward_target=True)
        self.breaks_lines = text.startswith(armour.LINES)
        self._unsent = memoryview(b"")

    @property
    def name(self) -> str:
        """What the channel is connected to."""
        return self._channel.name

    @property
    def closed(self) -> bool:
        """Whether the channel was closed."""
        return self._channel.closed

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._channel.fileno()

    def decode(self, data: bytes) -> bytes:
        """What bytes of the lane mean, as far as that is sure by now."""
        decoded: bytes = self._armour.decode(data)
        return decoded

    def read(self, size: int = 65536) -> bytes:
        """Read what is there and sure.

        Raises:
            BlockingIOError: Nothing is, yet.
            ChannelClosed: The channel was closed.
        """
        data = self._channel.read(size)
        if not data:
            return self.rest()
        decoded = self.decode(data)
        if not decoded:
            raise BlockingIOError
        return decoded

    def rest(self) -> bytes:
        """Take what was read and is not sure; nothing that follows belongs to it."""
        rest: bytes = self._armour.rest()
        return rest

    def bare(self) -> Channel:
        """The channel inside, when no more frames are written; what was not written of the last one is dropped."""
        self._unsent = memoryview(b"")
        return self._channel

    def write(self, data: bytes | memoryview) -> int:
        """Take one piece, and say that its last byte is taken when all of its armour is on the lane.

        Raises:
            BrokenPipeError: The peer has ended.
            ChannelClosed: The channel was closed.
        """
        if self._unsent:
            self._push()
            # Whoever was told that one byte is left brings that byte; anybody else was interrupted and begins anew.
            if self._unsent:
                return 0
            if len(data) == 1:
                return 1
        self._unsent = memoryview(self._armour.encode(bytes(data)))
        self._push()
        return len(data) - 1 if self._unsent else len(data)

    def _push(self) -> None:
        while self._unsent:
            count = self._channel.write(self._unsent)
            self._unsent = self._unsent[count:]
            if not count:
                return

    def resize(self, columns: int, rows: int) -> None:
        """Tell the far terminal its size in characters."""
        self._channel.resize(columns, rows)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()
