"""The parts of a session's face that a later release brings: sound. Asking for it raises."""

from __future__ import annotations

from crl.x2go._notyet import refuse
from crl.x2go.backends.terminal.plain import X2GoSessionParams

__all__ = ["LaterSharing"]


class LaterSharing:
    """What `crl.x2go.X2GoSession` has of them."""

    session_params: X2GoSessionParams

    def _refuse_later_parts(self) -> None:
        """Say what was asked for and is not there, before anything is started."""
        if self.session_params.snd_system not in {"none", "nosnd", ""}:
            refuse(f"snd_system={self.session_params.snd_system!r}", "sound")
