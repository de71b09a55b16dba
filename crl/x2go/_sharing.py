"""The parts of a session's face that a later release brings: printing, MIME box, sound. Asking for one raises."""

from __future__ import annotations

from typing import Any

from crl.x2go._notyet import refuse
from crl.x2go.backends.terminal.plain import X2GoSessionParams

__all__ = ["LaterSharing"]


class LaterSharing:
    """What `crl.x2go.X2GoSession` has of them."""

    printing: bool
    allow_mimebox: bool
    session_params: X2GoSessionParams

    def _refuse_later_parts(self) -> None:
        """Say what was asked for and is not there, before anything is started."""
        if self.session_params.snd_system not in {"none", "nosnd", ""}:
            refuse(f"snd_system={self.session_params.snd_system!r}", "sound")
        if self.printing:
            refuse("printing=True", "printing")
        if self.allow_mimebox:
            refuse("allow_mimebox=True", "the MIME box")

    def set_print_action(self, print_action: Any, **kwargs: Any) -> None:  # noqa: ARG002 - as published
        """Not in this release."""
        refuse("set_print_action", "printing")
