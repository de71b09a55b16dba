"""The keyboard of a session's display: what the server's own start leaves to the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crl.x2go.backends.terminal._params import X2GoSessionParams

if TYPE_CHECKING:
    from crl.x2go._server import X2GoServer

__all__ = ["SessionKeyboard"]


class SessionKeyboard:
    """What `X2GoTerminalSession` does with it."""

    params: X2GoSessionParams

    if TYPE_CHECKING:

        @property
        def server(self) -> X2GoServer: ...

        def environment(self) -> dict[str, str]: ...

    def set_keyboard(self, layout: str = "null", variant: str = "null") -> bool:
        """Set layout and variant of the session's keyboard; whether the server did.

        Raises:
            X2GoParameterError: They cannot be names.
        """
        self.params.update(kblayout=layout, kbvariant=variant or "null")
        words = ["setxkbmap"]
        words += ["-layout", layout] if layout not in {"", "null"} else []
        words += ["-variant", variant] if variant not in {"", "null"} else []
        if len(words) == 1:
            return False
        try:
            return self.server.execute(words, env=self.environment()).status == 0
        except FileNotFoundError:
            return False

    def set_keyboard_as_wished(self) -> None:
        """Do what the server's own start leaves to the client: layout and variant, where a keyboard was named."""
        params = self.params
        given = {params.kblayout, params.kbvariant} - {"", "null"}
        if params.kbtype not in {"null/null", "auto"} and given:
            self.set_keyboard(params.kblayout, params.kbvariant)
