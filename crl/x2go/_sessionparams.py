"""Which parameter of a session belongs to what: its display, the login on the server, the hop before it.

Names are looked up in fixed lists; one that is in none is an error, and nothing is dropped. Passwords become secrets
at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from crl.secrets import Secret, to_secret
from crl.x2go.backends.terminal.plain import X2GoSessionParams, X2GoTerminalSession
from crl.x2go.x2go_exceptions import X2GoParameterError

__all__ = ["SessionParameters"]

_NOT_TERMINAL: Final = {"self", "control_session", "session_info", "session_instance", "params", "forwarder"}
TERMINAL: Final = frozenset(inspect.signature(X2GoTerminalSession.__init__).parameters) - _NOT_TERMINAL
CONTROL: Final = frozenset(
    {
        "username", "password", "passphrase", "pkey", "key_filename", "timeout", "allow_agent", "look_for_keys",
        "force_password_auth", "unique_hostkey_aliases", "low_latency", "published_applications_no_submenus",
        "prompter",
    }
)  # fmt: skip
SSHPROXY: Final = frozenset(
    f"sshproxy_{name}"
    for name in (
        "host", "port", "user", "password", "force_password_auth", "key_filename", "pkey", "passphrase",
        "look_for_keys", "allow_agent", "tunnel",
    )
)  # fmt: skip
SECRET: Final = frozenset({"password", "passphrase", "sshproxy_password", "sshproxy_passphrase"})


@dataclass
class SessionParameters:
    """The parameters of a session by what they are for.

    Attributes:
        terminal: Of the session itself.
        control: Of the login.
        sshproxy: Of the login on the hop.
    """

    terminal: dict[str, Any] = field(default_factory=dict)
    control: dict[str, Any] = field(default_factory=dict)
    sshproxy: dict[str, Any] = field(default_factory=dict)

    def take(self, params: Mapping[str, Any]) -> None:
        """Sort parameters in.

        Raises:
            X2GoParameterError: There is no such parameter.
        """
        unknown = sorted(set(params) - TERMINAL - CONTROL - SSHPROXY)
        if unknown:
            known = ", ".join(sorted(TERMINAL | CONTROL | SSHPROXY))
            raise X2GoParameterError(f"a session has no parameter {', '.join(unknown)}", advice=f"it has: {known}")
        for name, value in params.items():
            group = self.terminal if name in TERMINAL else self.control if name in CONTROL else self.sshproxy
            group[name] = to_secret(value) if name in SECRET and value else value

    def of_display(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The session's own parameters: those of `X2GoSessionParams`, and what else a terminal session takes."""
        names = {one.name for one in fields(X2GoSessionParams)}
        ours = {name: value for name, value in self.terminal.items() if name in names}
        rest = {name: value for name, value in self.terminal.items() if name not in names}
        return ours, rest

    def forget_secrets(self) -> None:
        """Let passwords go."""
        for group in (self.control, self.sshproxy):
            for name in SECRET & set(group):
                group[name] = None

    @property
    def password(self) -> str | None:
        """The password, as long as it is kept."""
        secret = self.control.get("password")
        return secret.value if isinstance(secret, Secret) else None
