"""The parts of a session that a later release brings: sound, telekinesis.

Asking for one raises; ending what was never there is no error.
"""

from __future__ import annotations

from crl.x2go._notyet import refuse

__all__ = ["LaterParts"]


class LaterParts:
    """What `X2GoTerminalSession` has of them; every method that would start something refuses."""

    def start_sound(self) -> None:
        """Not in this release."""
        refuse("start_sound", "sound")

    def start_telekinesis(self) -> None:
        """Not in this release."""
        refuse("start_telekinesis", "telekinesis")

    def stop_sound(self) -> None:
        """Nothing is running."""

    def release_telekinesis(self) -> None:
        """Nothing is running."""

    def _x2go_pause_rev_fw_tunnel(self, name: str) -> None:
        """Nothing is running."""
