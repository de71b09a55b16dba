"""Names of local X displays: ``:50``, ``unix:50.0``, ``50``.

Only displays of the machine itself have a name here; how that machine is reached is not this module's subject. A name
that is not understood is refused, never guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from crl.display.errors import DisplayNameError

__all__ = ["DisplayName"]

_NAME = re.compile(r"(?:unix)?:?(?P<number>[0-9]{1,5})(?:\.(?P<screen>[0-9]{1,3}))?", re.ASCII)


@dataclass(frozen=True)
class DisplayName:
    """A display and one of its screens.

    Args:
        number: The display's number, 50 for ``:50``.
        screen: The screen's number, almost always 0.
    """

    number: int
    screen: int = 0

    @classmethod
    def parse(cls, text: str | int) -> DisplayName:
        """Read ``:50``, ``:50.0``, ``unix:50``, ``50`` or the number 50.

        Raises:
            DisplayNameError: It is none of them, for example because it names another host.
        """
        match = _NAME.fullmatch(str(text).strip())
        if match is None:
            raise DisplayNameError(
                f"{text!r} is not the name of a local display",
                advice="give it as ':50'; for a display of another host make a Target for that host",
            )
        return cls(int(match["number"]), int(match["screen"] or 0))

    def __str__(self) -> str:
        return f":{self.number}" if self.screen == 0 else f":{self.number}.{self.screen}"

    @property
    def addresses(self) -> tuple[str, str]:
        """The unix sockets a server of this display listens on: the file, then the abstract one."""
        path = f"/tmp/.X11-unix/X{self.number}"
        return path, "\0" + path
