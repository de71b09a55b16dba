"""Carrying out the dialogue of an SSH login, over the three descriptors of a local ssh or over one terminal.

It feeds `login.LoginDialogue` and sends what that answers. It promises that every login ends by its deadline, in a
session or in an error that says why; the deadline's error shows what was seen last.
"""

from __future__ import annotations

import contextlib
import select
import termios
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import pexpect

from crl.channels import ProcessChannel
from crl.channels.base import Channel
from crl.channels.ssh.diagnosis import Stop, diagnose
from crl.channels.ssh.errors import SshLoginError
from crl.channels.ssh.settings import SshSettings
from crl.deadlines import Deadline
from crl.interactivesessions.shells import ssherrors
from crl.interactivesessions.shells._prompt import ShellPrompt
from crl.interactivesessions.shells.login import Answer, LoginDialogue, Refusal, RefusalKind, Source
from crl.secrets import Secret

__all__ = ["log_in", "log_in_through_terminal"]

_READ: Final = 65536
_LAST_WORDS: Final = 3.0
_ADVICE: Final = {
    RefusalKind.NO_PASSWORD: "give a password, or a key that the host accepts (identity=)",
    RefusalKind.NO_PASSPHRASE: "give the key's passphrase (passphrase=), or load the key into an ssh-agent",
    RefusalKind.OTHER_HOST: "log in to the hop by key, or push one SshShell for each hop with its own password",
    RefusalKind.EXPIRED: "log in by hand once and set a new password",
    RefusalKind.TOKEN: "a key that needs a touch or PIN cannot be used here; give another one (identity=)",
    RefusalKind.REJECTED: "check user name and password; it is not tried again, as that may lock the account",
}
_WHY: Final = {
    RefusalKind.NO_PASSWORD: "the host asks for a password and none was given",
    RefusalKind.NO_PASSPHRASE: "the key is encrypted and no passphrase was given",
    RefusalKind.OTHER_HOST: "a host on the way asks for a password, and the one given is for the target only",
    RefusalKind.EXPIRED: "the password was accepted but has expired",
    RefusalKind.TOKEN: "ssh waits for a hardware token",
    RefusalKind.REJECTED: "the password was not accepted",
}


def log_in(
    channel: ProcessChannel,
    dialogue: LoginDialogue,
    settings: SshSettings,
    deadline: Deadline,
    stops: Callable[[], Sequence[Stop]] = tuple,
) -> bytes:
    """Do the dialogue with a local ssh.

    Args:
        channel: The ssh.
        dialogue: The state.
        settings: The login, for errors.
        deadline: When it has to be through.
        stops: Gives the hosts on the way, for errors.

    Returns:
        The first bytes of the session.

    Raises:
        SshLoginError: The login failed; also an `ssherrors.SshError`.
    """
    sources: dict[int, tuple[Source, Channel]] = {
        channel.fileno(): (Source.DATA, channel),
        channel.stderr.fileno(): (Source.ERRORS, channel.stderr),
        channel.dialogue.fileno(): (Source.DIALOGUE, channel.dialogue),
    }
    poll = select.poll()
    for descriptor in sources:
        poll.register(descriptor, select.POLLIN)
    while not dialogue.authenticated and dialogue.refusal is None:
        ready = poll.poll(deadline.poll_ms())
        if not ready:
            raise _too_late(dialogue, settings)
        for descriptor, _ in ready:
            source, origin = sources[descriptor]
            data = _read(origin)
            if data == b"":
                poll.unregister(descriptor)
                if source is Source.DATA:
                    raise _ended(channel, dialogue, settings, stops())
            elif data:
                answer = dialogue.feed(source, data, echo_off=source is Source.DIALOGUE and _echo_is_off(origin))
                if answer is not None:
                    _send(origin, answer.secret, deadline)
    if dialogue.refusal is not None:
        raise _refused(dialogue.refusal, dialogue, settings)
    return dialogue.after


def _read(channel: Channel) -> bytes | None:
    try:
        return channel.read(_READ)
    except BlockingIOError:
        return None


def _echo_is_off(channel: Channel) -> bool:
    """Whether the program at a pty's other end has turned its echo off: it asks for a secret then."""
    with contextlib.suppress(termios.error):  # the program has just ended
        return not termios.tcgetattr(channel.fileno())[3] & termios.ECHO
    return False


def _send(channel: Channel, secret: Secret, deadline: Deadline) -> None:
    view = memoryview(secret.value.encode("utf-8") + b"\n")
    poll = select.poll()
    poll.register(channel.fileno(), select.POLLOUT)
    with contextlib.suppress(BrokenPipeError):  # ssh has ended; what it said on the other channels tells why
        while view and not deadline.expired:
            view = view[channel.write(view) :]
            if view:
                poll.poll(deadline.poll_ms())


def log_in_through_terminal(
    terminal: Any,
    dialogue: LoginDialogue,
    settings: SshSettings,
    deadline: Deadline,
    parent: ShellPrompt | None,
) -> bytes:
    """Do the dialogue with an ssh that another shell runs, all in its one terminal.

    Args:
        terminal: The terminal.
        dialogue: The state, with ``one_terminal``.
        settings: The login, for errors.
        deadline: When it has to be through.
        parent: The prompt of the shell that runs ssh; when it comes, ssh has ended.

    Returns:
        The first bytes of the session.

    Raises:
        SshLoginError: The login failed; also an `ssherrors.SshError`.
    """
    for data in _incoming(terminal, deadline, settings):
        answer: Answer | None = dialogue.feed(Source.DATA, data)
        if dialogue.authenticated:
            return dialogue.after
        if dialogue.refusal is not None:
            raise _refused(dialogue.refusal, dialogue, settings)
        if answer is not None:
            terminal.send_secret(answer.secret)
        seen = dialogue.transcript(Source.DATA)
        if parent is not None and parent.end in seen:
            said = parent.status_pattern.sub(b"", seen.partition(parent.end)[0].encode()).decode()
            raise ssherrors.as_ssh_error(_explain(said, settings))
    raise _too_late(dialogue, settings)


def _incoming(terminal: Any, deadline: Deadline, settings: SshSettings) -> Iterator[bytes]:
    """What comes, until the deadline; the end of the terminal's program raises."""
    while not deadline.expired:
        try:
            yield terminal.read_nonblocking(_READ, deadline.remaining())
        except pexpect.TIMEOUT:
            return
        except pexpect.EOF:
            raise ssherrors.ConnectionClosedByHost(
                "the terminal that ssh was started in has ended", host=settings.host, port=settings.port
            ) from None


def _explain(said: str, settings: SshSettings) -> SshLoginError:
    if "command not found" in said or ": not found" in said:
        return SshLoginError(
            "there is no ssh on the host where it was to be run",
            host=settings.host,
            advice="install the ssh client there, or reach the target by jump=",
            transcript=said,
        )
    if "nownhostscommand" in said.lower():
        return SshLoginError(
            "the ssh of the host before is older than 8.5 and cannot take our host keys",
            host=settings.host,
            advice="reach the target by jump=, or put its key into the known_hosts of the host before",
            transcript=said,
        )
    return diagnose(said, settings)


def _ended(
    channel: ProcessChannel, dialogue: LoginDialogue, settings: SshSettings, stops: Sequence[Stop]
) -> SshLoginError:
    """The error for an ssh that ended: what it wrote, read to the end."""
    channel.wait(_LAST_WORDS)
    for source, origin in ((Source.ERRORS, channel.stderr), (Source.DIALOGUE, channel.dialogue)):
        while data := _read(origin):
            dialogue.feed(source, data)
    return ssherrors.as_ssh_error(diagnose(dialogue.transcript(Source.ERRORS), settings, stops))


def _refused(refusal: Refusal, dialogue: LoginDialogue, settings: SshSettings) -> SshLoginError:
    if refusal.kind is RefusalKind.HOST_KEY:
        return ssherrors.HostKeyUnknown(
            "ssh asks whether to trust an unknown host key; this is never answered",
            advice="add the host's key to known_hosts, or use host_keys='accept-new'",
            host=settings.host,
            port=settings.port,
            transcript=dialogue.transcript(),
        )
    return ssherrors.AuthenticationFailed(
        f"{_WHY[refusal.kind]} ({refusal.text})",
        host=settings.host,
        port=settings.port,
        advice=_ADVICE[refusal.kind],
        transcript=dialogue.transcript(),
    )


def _too_late(dialogue: LoginDialogue, settings: SshSettings) -> SshLoginError:
    return ssherrors.LoginTimeout(
        "the login was not through in time",
        host=settings.host,
        port=settings.port,
        advice="see whether the host is slow or hangs in authentication (DNS, PAM); start_timeout= is the limit",
        transcript=dialogue.transcript(),
    )
