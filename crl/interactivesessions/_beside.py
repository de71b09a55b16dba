"""A lane without a terminal beside the one of a session's only shell, on the same connection.

It knows what to run there so that any login shell gives a plain `sh` that waits for one line, and nothing of links. It
promises that the line is sent only when that `sh` has announced itself, and that nothing but this line is executed.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import TYPE_CHECKING

from crl.channels.base import Channel, ChannelStartError
from crl.deadlines import Deadline
from crl.interactivesessions.shells._prompt import Nonce

if TYPE_CHECKING:
    from crl.link import Lane

__all__ = ["lane_beside"]

_TAIL = 4096


def lane_beside(run: Callable[[str, Deadline], Channel], host: str, deadline: Deadline) -> Lane:
    """Open the lane.

    Args:
        run: Runs a command of the login shell on the connection, without a terminal.
        host: The host's name, for errors.
        deadline: When to give up.

    Raises:
        ChannelStartError: The host runs no further command, or another one, or none in time.
    """
    from crl.link import Lane

    nonce = Nonce()
    # As with the first shell: neither backslash nor exclamation mark, and no quote but those around the script.
    script = f'exec 2>/dev/null; echo {nonce.quoted_inside}; read -r crl_l; eval "$crl_l"'
    channel = run(f"exec /bin/sh -c '{script}'", deadline)
    try:
        rest = [_await(channel, nonce.bytes + b"\n", host, deadline)]
    except BaseException:
        channel.close()
        raise
    return Lane(
        channel=channel,
        send_line=lambda line: _write(channel, line.encode("utf-8") + b"\n", host, deadline),
        read_pending=lambda: rest.pop() if rest else b"",
        give_back=_nobody,
        host=host,
        discard=channel.close,
    )


def _nobody(_leftover: bytes) -> None:
    """Nobody waits for this lane's shell: it ends."""


def _await(channel: Channel, expected: bytes, host: str, deadline: Deadline) -> bytes:
    """Read up to what is expected, past whatever a login shell prints; what came behind it."""
    seen = b""
    poller = select.poll()
    poller.register(channel.fileno(), select.POLLIN)
    while True:
        _, found, rest = seen.partition(expected)
        if found:
            return rest
        if not poller.poll(deadline.poll_ms()):
            raise _failure("the host runs another command, or none in time", host, seen)
        try:
            data = channel.read()
        except BlockingIOError:
            continue
        if not data:
            raise _failure(_words(channel) or "the host opens no further session, or its shell has ended", host, seen)
        seen = seen[-_TAIL:] + data


def _words(channel: Channel) -> str:
    """What was said about the end, where that is known."""
    errors = getattr(channel, "stderr", None)
    try:
        said = b"" if errors is None else errors.read()
    except BlockingIOError:
        return ""
    return bytes(said).decode("utf-8", "replace").strip().partition("\n")[0].strip()


def _write(channel: Channel, data: bytes, host: str, deadline: Deadline) -> None:
    view = memoryview(data)
    poller = select.poll()
    poller.register(channel.fileno(), select.POLLOUT)
    while view:
        if not poller.poll(deadline.poll_ms()):
            raise _failure("the start line was not taken in time", host, b"")
        try:
            view = view[channel.write(view) :]
        except BrokenPipeError:
            raise _failure("the shell has ended", host, b"") from None


def _failure(why: str, host: str, seen: bytes) -> ChannelStartError:
    return ChannelStartError(
        why,
        host=host,
        doing="opening a channel beside the terminal",
        advice="look at MaxSessions and ForceCommand in the host's sshd_config; the terminal carries everything",
        transcript=seen.decode("utf-8", "replace"),
    )
