"""The parts of a session that a later release brings: sound, printing, MIME box, telekinesis.

Asking for one raises; ending what was never there is no error.
"""

from __future__ import annotations

from typing import Any

from crl.x2go._notyet import refuse

__all__ = ["LaterParts"]


class LaterParts:
    """What `X2GoTerminalSession` has of them; every method that would start something refuses."""

    def start_sound(self) -> None:
        """Not in this release."""
        refuse("start_sound", "sound")

    def start_printing(self) -> None:
        """Not in this release."""
        refuse("start_printing", "printing")

    def set_print_action(self, print_action: Any, **kwargs: Any) -> None:  # noqa: ARG002 - as published
        """Not in this release."""
        refuse("set_print_action", "printing")

    def start_mimebox(self, mimebox_extensions: Any = (), mimebox_action: Any = None) -> None:  # noqa: ARG002
        """Not in this release."""
        refuse("start_mimebox", "the MIME box")

    def set_mimebox_action(self, mimebox_action: Any, **kwargs: Any) -> None:  # noqa: ARG002 - as published
        """Not in this release."""
        refuse("set_mimebox_action", "the MIME box")

    def start_telekinesis(self) -> None:
        """Not in this release."""
        refuse("start_telekinesis", "telekinesis")

    def stop_sound(self) -> None:
        """Nothing is running."""

    def stop_printing(self) -> None:
        """Nothing is running."""

    def stop_mimebox(self) -> None:
        """Nothing is running."""

    def release_telekinesis(self) -> None:
        """Nothing is running."""

    def _x2go_pause_rev_fw_tunnel(self, name: str) -> None:
        """Nothing is running."""
