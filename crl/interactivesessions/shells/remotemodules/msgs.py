"""The messages between a `TerminalClient` and the Python that it drives.

A message has a number, which its reply repeats, and one argument. It can be written as a line of text and read again;
reading makes nothing but these classes and the plain values of the link's codec, whatever the line says.
"""

from __future__ import annotations

import base64
import binascii
import itertools
from collections.abc import Iterator
from typing import Any, ClassVar, Final, TypeVar

from crl.errors import UsageError
from crl.interactivesessions.shells.remotemodules.exceptions import FatalPythonError
from crl.link.wire import values
from crl.link.wire.errors import NotTransferable, ProtocolError

__all__ = [
    "NOARG",
    "Ack",
    "CommandMsgBase",
    "ExecCommandReply",
    "ExecCommandRequest",
    "ExitRequest",
    "FatalPythonErrorReply",
    "MsgBase",
    "NoArg",
    "SendCommandRequest",
    "ServerIdReply",
    "ServerIdRequest",
]

_Msg = TypeVar("_Msg", bound="MsgBase")


class NoArg:
    """Stands for the argument of a message that has none."""

    def __repr__(self) -> str:
        return "NOARG"


NOARG: Final = NoArg()


class MsgBase:
    """A message; make one with `create`, or with `create_reply` for the answer to another one."""

    _uids: ClassVar[Iterator[int]] = itertools.count()

    def __init__(self) -> None:
        self._arg: Any = NOARG
        self._uid = next(self._uids)

    def __str__(self) -> str:
        return f"{type(self).__name__}({self._uid}, {self._arg!r})"

    def set_arg(self, arg: Any) -> None:
        """Give it its argument."""
        self._arg = arg

    def set_uid(self, uid: int) -> None:
        """Give it its number."""
        self._uid = uid

    @property
    def uid(self) -> int:
        """Its number."""
        return self._uid

    @property
    def msgid(self) -> int:
        """The number of its class."""
        return _CLASSES.index(type(self))

    @property
    def is_response_expected(self) -> bool:
        """Whether somebody waits for the answer."""
        return True

    @classmethod
    def create(cls: type[_Msg], arg: Any = NOARG) -> _Msg:
        """A message of this class with a number of its own."""
        msg = cls()
        msg.set_arg(arg)
        return msg

    @classmethod
    def create_with_uid_and_args(cls: type[_Msg], uid: int, arg: Any) -> _Msg:
        """A message of this class with that number."""
        msg = cls.create(arg)
        msg.set_uid(uid)
        return msg

    @classmethod
    def create_reply(cls: type[_Msg], msg: MsgBase, arg: Any = NOARG) -> _Msg:
        """A message of this class that answers `msg`."""
        return cls.create_with_uid_and_args(msg.uid, arg)

    def serialize(self) -> str:
        """The message as a line of text.

        Raises:
            UsageError: Its argument cannot be written.
        """
        try:
            body = values.encode(() if self._arg is NOARG else (self._arg,))
        except NotTransferable as error:
            raise UsageError(f"a message cannot have the argument {self._arg!r}: {error}") from None
        return f"{self.msgid}:{self._uid}:{base64.b64encode(body).decode('ascii')}"

    @classmethod
    def deserialize(cls, s: str) -> MsgBase:
        """The message that `serialize` made the text of.

        Raises:
            FatalPythonError: It is a `FatalPythonErrorReply`, whose argument this has.
            UsageError: It is no message.
        """
        try:
            number, uid, body = s.split(":")
            found: type[MsgBase] = _CLASSES[int(number) if number.isdecimal() else -1]
            arg = values.decode(base64.b64decode(body, validate=True))
            msg = found.create_with_uid_and_args(int(uid), *arg or (NOARG,))
        except (ValueError, IndexError, TypeError, binascii.Error, ProtocolError, NotTransferable) as error:
            raise UsageError(f"this is no message: {s[:80]!r}", doing="reading a message") from error
        msg.received()
        return msg

    def received(self) -> None:
        """What its arrival means; nothing, but for errors."""


class CommandMsgBase(MsgBase):
    """A message that brings a command."""

    @property
    def cmd(self) -> str:
        """The command."""
        return str(self._arg)


class ExecCommandRequest(CommandMsgBase):
    """Run a command and answer with what it gave."""


class ExecCommandReply(MsgBase):
    """What a command gave."""

    @property
    def out(self) -> Any:
        """The output: text or bytes."""
        return self._arg


class ExitRequest(MsgBase):
    """Take no more commands."""


class FatalPythonErrorReply(MsgBase):
    """The Python cannot go on; reading it raises."""

    def received(self) -> None:
        """Raise what it tells.

        Raises:
            FatalPythonError: Always.
        """
        raise FatalPythonError(self._arg)


class ServerIdRequest(MsgBase):
    """Say which Python you are."""


class ServerIdReply(MsgBase):
    """Which Python it is."""

    @property
    def server_id(self) -> str:
        """Its random name."""
        return str(self._arg)


class SendCommandRequest(CommandMsgBase):
    """Run a command; nobody waits for what it gives."""

    @property
    def is_response_expected(self) -> bool:
        """False."""
        return False


class Ack(MsgBase):
    """A message has arrived."""


_CLASSES: Final[tuple[type[MsgBase], ...]] = (
    ExecCommandRequest,
    ExecCommandReply,
    ExitRequest,
    FatalPythonErrorReply,
    ServerIdRequest,
    ServerIdReply,
    SendCommandRequest,
    Ack,
)
