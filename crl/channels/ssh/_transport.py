"""A connection of paramiko's that never blocks who sends, survives a silent host in bounded time, and a fork.

It is paramiko's own `Transport` on a `Wire`, with the host key types and methods that the user's configuration allows.
It promises that a message of the user waits in memory, not in a lock, while keys are exchanged, and that a forked child
can neither send on the connection nor hang on it.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import paramiko
from paramiko.common import MSG_CHANNEL_WINDOW_ADJUST, cMSG_CHANNEL_WINDOW_ADJUST, cMSG_GLOBAL_REQUEST

from crl.channels._hub import hub
from crl.channels.ssh._wire import Packets, Wire

__all__ = ["ChannelUser", "Transport"]

_KEEPALIVE: Final = 15.0
_live: weakref.WeakSet[Transport] = weakref.WeakSet()


def _window_adjusted(channel: Any, message: paramiko.Message) -> None:
    """Paramiko's handler, and then whoever waits for the room."""
    paramiko.Channel._window_adjust(channel, message)  # type: ignore[attr-defined]  # noqa: SLF001
    channel.transport.pump(channel.chanid)


class ChannelUser(Protocol):
    """Who uses a channel of a connection; none of these may block."""

    def bind(self, channel: paramiko.Channel) -> None:
        """The channel is open; nothing has come from it yet."""

    def refused(self, why: str) -> None:
        """The host does not open the channel, and these are its words."""

    def pump(self) -> None:
        """There may be room to send."""

    def disown(self) -> None:
        """This is a forked child: make the channel harmless."""


class Transport(paramiko.Transport):
    """One connection to one host, before and after the login.

    Args:
        wire: What it stands on; closed with it.
        name: The host, for the name of its thread.
        host_key_types: The types of host keys to ask for, in this order; None is paramiko's choice.
        disabled: Algorithms of paramiko's that must not be used, by paramiko's kind of them.
    """

    _channel_handler_table = {
        **paramiko.Transport._channel_handler_table,  # type: ignore[attr-defined]  # noqa: SLF001
        MSG_CHANNEL_WINDOW_ADJUST: _window_adjusted,
    }

    def __init__(
        self,
        wire: Wire,
        name: str,
        *,
        host_key_types: Sequence[str] | None = None,
        disabled: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._host_key_types = tuple(host_key_types) if host_key_types is not None else None
        super().__init__(wire, disabled_algorithms=disabled, packetizer_class=Packets)  # type: ignore[arg-type]
        self.name = f"crl ssh {name}"
        assert isinstance(self.packetizer, Packets)
        self.packets = self.packetizer
        self.packets.on_room = self._pump_all
        self.clear_to_send_lock = threading.RLock()  # type: ignore[assignment]
        self._kept: deque[paramiko.Message] = deque()
        self._questions: deque[bool] = deque()  # whether each open global request is a question of ours
        self._users: dict[int, ChannelUser] = {}
        self.parting_words = ""
        """Why the host ended the connection, where it said so."""
        self._opening = threading.local()
        self._owner = os.getpid()
        self._ended = threading.Lock()
        hub().join()
        self._uses_hub = True
        _live.add(self)

    @property
    def preferred_keys(self) -> Sequence[str]:
        """The types of host keys to ask for."""
        return super().preferred_keys if self._host_key_types is None else self._host_key_types

    @property
    def alive(self) -> bool:
        """Whether it was not closed and its end was not seen."""
        return self.is_active() and not self.packets.ended

    @property
    def room(self) -> bool:
        """Whether data may be sent now."""
        return self.clear_to_send.is_set() and self.packets.room

    def open_for(
        self, user: ChannelUser, kind: str, address: tuple[str, int] | None, timeout: float | None
    ) -> None:
        """Open a channel, which is bound to its user before the host's first byte on it is looked at.

        Raises:
            SSHException: The host does not open it, or the connection has ended.
        """
        self._opening.user = user
        try:
            self.open_channel(kind, address, ("127.0.0.1", 0) if address else None, timeout=timeout)
        except BaseException:
            for number in [number for number, known in list(self._users.items()) if known is user]:
                self.detach(number)
            raise
        finally:
            self._opening.user = None

    def _next_channel(self) -> int:
        number: int = super()._next_channel()  # type: ignore[misc]
        user = getattr(self._opening, "user", None)
        if user is not None:
            self._users[number] = user
        return number

    def _parse_channel_open_success(self, message: paramiko.Message) -> None:
        number = message.get_int()
        message.rewind()
        user, channel = self._users.get(number), self._channels.get(number)  # type: ignore[attr-defined]
        if user is not None and channel is not None and not channel.active:
            user.bind(channel)
        super()._parse_channel_open_success(message)  # type: ignore[misc]

    def _parse_channel_open_failure(self, message: paramiko.Message) -> None:
        number, _, words = message.get_int(), message.get_int(), message.get_text()
        message.rewind()
        user = self._users.get(number)
        if user is not None:
            user.refused(words)
        super()._parse_channel_open_failure(message)  # type: ignore[misc]

    def _parse_disconnect(self, message: paramiko.Message) -> None:
        _, self.parting_words = message.get_int(), message.get_text()
        message.rewind()
        super()._parse_disconnect(message)  # type: ignore[misc]

    def detach(self, channel: int) -> None:
        """Tell the user of a channel nothing any more."""
        self._users.pop(channel, None)

    def pump(self, channel: int) -> None:
        """Tell the user of a channel that there may be room."""
        user = self._users.get(channel)
        if user is not None:
            user.pump()

    def _pump_all(self) -> None:
        for user in list(self._users.values()):
            user.pump()

    def give_window(self, channel: int, count: int) -> None:
        """Let the host send that much more on the channel which has this number at its end."""
        message = paramiko.Message()
        message.add_byte(cMSG_CHANNEL_WINDOW_ADJUST)
        message.add_int(channel)
        message.add_int(count)
        self.post(message)

    def post(self, message: paramiko.Message) -> None:
        """Send a message, after the exchange of keys that may be under way; never waits."""
        with self.clear_to_send_lock:
            if not self.active:
                return
            if self._kept or not self.clear_to_send.is_set():
                self._kept.append(message)
            else:
                self.packets.send_message(message)

    _send_user_message = post  # what paramiko's channels call

    def _parse_newkeys(self, message: paramiko.Message) -> None:
        super()._parse_newkeys(message)  # type: ignore[misc]
        with self.clear_to_send_lock:
            while self._kept:
                self.packets.send_message(self._kept.popleft())
        self._pump_all()

    def watch_over(self, interval: float = _KEEPALIVE) -> None:
        """End the connection when the host is silent for four times the interval, though it is asked."""
        proxy = weakref.proxy(self)
        self.packets.set_keepalive(interval, proxy.ask_whether_alive)

    def ask_whether_alive(self) -> None:
        """Send a request that every host answers, be it by a refusal."""
        message = paramiko.Message()
        message.add_byte(cMSG_GLOBAL_REQUEST)
        message.add_string("keepalive@openssh.com")
        message.add_boolean(True)  # noqa: FBT003
        self._questions.append(True)
        self.post(message)

    def global_request(self, kind: str, data: Any = None, wait: bool = True) -> paramiko.Message | None:
        """As paramiko's; its answer is told from those to our questions."""
        if wait:
            self._questions.append(False)
        return super().global_request(kind, data, wait)

    def _parse_request_success(self, message: paramiko.Message) -> None:
        if not (self._questions and self._questions.popleft()):
            super()._parse_request_success(message)  # type: ignore[misc]

    def _parse_request_failure(self, message: paramiko.Message) -> None:
        if not (self._questions and self._questions.popleft()):
            super()._parse_request_failure(message)  # type: ignore[misc]

    def end(self, patience: float) -> None:
        """Close the connection and see its thread end; again is harmless."""
        if os.getpid() != self._owner:
            self.sock.close()
            return
        self.packets.close()
        if self.is_alive():
            self.join(patience)
        self.close()
        self.sock.close()
        with self._ended:
            uses_hub, self._uses_hub = self._uses_hub, False
        if uses_hub:
            hub().leave()

    def disown(self) -> None:
        """Make it harmless in a forked child: no lock of it that a thread may have held, nothing left to send."""
        self.active = False
        self.lock = threading.Lock()
        self.clear_to_send_lock = threading.RLock()  # type: ignore[assignment]
        for user in self._users.values():
            user.disown()


def _after_fork() -> None:
    for transport in list(_live):
        transport.disown()


os.register_at_fork(after_in_child=_after_fork)
