"""Sound as a session's face has it: it comes with start and resume, and its absence is told and stops nothing."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from crl.x2go.backends.terminal.plain import X2GoTerminalSession
from crl.x2go.log import X2GoLogger, loglevel_WARN
from crl.x2go.x2go_exceptions import X2GoSoundException

__all__ = ["HearsSound"]


class HearsSound:
    """What `crl.x2go.X2GoSession` has of sound."""

    logger: X2GoLogger
    sound_error: X2GoSoundException | None
    _terminal: X2GoTerminalSession
    _lock: threading.RLock

    if TYPE_CHECKING:

        def HOOK_on_sound_tunnel_failed(self) -> None: ...

    @property
    def has_sound(self) -> bool:
        """Whether there is a way for the session's sound to the sound server of this machine."""
        return self._terminal.sound_tunnel is not None

    def start_sound(self) -> None:
        """Set up the session's sound anew, for example after this machine's sound server was away.

        Raises:
            X2GoSoundException: This machine has no sound server, or there is no way to it; the session goes on.
        """
        with self._lock:
            self.sound_error = None
            try:
                self._terminal.start_sound()
            except X2GoSoundException as error:
                self.sound_error = error
                raise

    def stop_sound(self) -> None:
        """End the session's sound; the session goes on."""
        with self._lock:
            self._terminal.stop_sound()

    def _start_sound_as_wished(self) -> None:
        """Set up sound where it was asked for; when that fails it is told, and the session goes on without."""
        try:
            self.start_sound()
        except X2GoSoundException as error:
            self.logger(f"{error}", loglevel=loglevel_WARN)
            self.HOOK_on_sound_tunnel_failed()
