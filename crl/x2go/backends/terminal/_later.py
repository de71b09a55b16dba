"""The part of a session that a later release brings: telekinesis.

Asking for one raises; ending what was never there is no error.
"""

from __future__ import annotations

from crl.x2go._notyet import refuse

__all__ = ["LaterParts"]


class LaterParts:
    """What `X2GoTerminalSession` has of them; every method that would start something refuses."""

    def start_telekinesis(self) -> None:
        """Not in this release."""
        refuse("start_telekinesis", "telekinesis")

    def release_telekinesis(self) -> None:
        """Nothing is running."""

    def _x2go_pause_rev_fw_tunnel(self, name: str) -> None:
        """Nothing is running."""
