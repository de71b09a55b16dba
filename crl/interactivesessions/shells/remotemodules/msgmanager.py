"""How patient a `TerminalClient` is, and its messages as text.

It knows the messages and no terminal. A `Retry` is a plain record: it can be written as text and read again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from crl.errors import UsageError
from crl.interactivesessions.shells.remotemodules.msgs import MsgBase

__all__ = ["MsgManagerBase", "Retry"]


class Retry(NamedTuple):
    """How long a target may be silent before its connection counts as broken: the sum of `timeouts`.

    The published package sends a message again after each of them. Here the link sees to it that messages arrive, once.

    Attributes:
        tries: How many timeouts there are.
        interval: Seconds of each but the last.
        timeout: Seconds of the last.
    """

    tries: int
    interval: float
    timeout: float

    def serialize(self) -> str:
        """It as text."""
        return json.dumps(self._asdict())

    @classmethod
    def deserialize(cls, serialized_retry: str) -> Retry:
        """What `serialize` made the text of.

        Raises:
            UsageError: It is something else.
        """
        try:
            return cls(**json.loads(serialized_retry))
        except (ValueError, TypeError) as error:
            raise UsageError(f"this is no Retry: {serialized_retry!r}") from error

    def timeouts(self) -> Iterator[float]:
        """The seconds, one after the other."""
        for _ in range(1, self.tries):
            yield self.interval
        yield self.timeout


class MsgManagerBase:
    """Base of what handles messages."""

    def __init__(self) -> None:
        self._retry = Retry(tries=10, interval=1, timeout=10)

    def set_retry(self, retry: Retry) -> None:
        """Be as patient as `retry` says."""
        self._retry = retry

    @staticmethod
    def serialize(msg: MsgBase) -> str:
        """A message as text."""
        return msg.serialize()

    @staticmethod
    def deserialize(s: str) -> MsgBase:
        """The message that `serialize` made the text of.

        Raises:
            FatalPythonError: The message says that the Python cannot go on.
            UsageError: It is no message.
        """
        return MsgBase.deserialize(s)
