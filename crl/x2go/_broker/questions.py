"""What is asked of a session broker, however it is reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from crl.deadlines import Deadline
from crl.secrets import Secret
from crl.x2go._broker.answers import Answer

__all__ = ["Question", "Wire"]


@dataclass(frozen=True)
class Question:
    """One question; what is None or empty is not sent.

    Attributes:
        task: ``listprofiles``, ``selectsession``, ``setpass``, ``testcon``; "" only logs in.
        user: Who asks.
        password: The password.
        authid: What the broker gave to be used instead of the password, or the user's own.
        profile_id: The profile that is selected.
        pubkey: A public key that the server shall let in.
        new_password: The password to be set.
    """

    task: str
    user: str
    password: Secret | None = None
    authid: Secret | None = None
    profile_id: str | None = None
    pubkey: str | None = None
    new_password: Secret | None = None


class Wire(Protocol):
    """A way to ask a broker."""

    def ask(self, question: Question, deadline: Deadline) -> Answer:
        """Ask and read the answer, by the deadline.

        Raises:
            X2GoBrokerAuthenticationFailed: The broker does not let the user in.
            X2GoBrokerAnswerRefused: The answer is not acted upon.
            X2GoBrokerConnectionException: The broker cannot be asked.
        """

    def close(self) -> None:
        """End what is open; again is harmless."""
