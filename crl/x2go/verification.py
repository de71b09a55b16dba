"""What a look at a session from both sides has shown.

Plain values and the rules that judge them; nothing here asks a host or a display.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from crl.display import Window
from crl.x2go.state import AgentState

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["ALIKE", "Verification", "is_blank", "likeness", "likeness_to"]

ALIKE = 0.97  # as good as the same, whatever the packing
UNLIKE = 0.5
_COMPARED_SIZE = (64, 48)


@dataclass(frozen=True)
class Verification:
    """The result of `X2GoSession.verify`.

    Args:
        session_name: Which session.
        state: The agent's state on the server.
        agent_alive: Whether the agent's process is there.
        proxy_up: Whether nxproxy shows the session here.
        server_windows: Windows of the session's own display.
        client_windows: Windows of the controller's display.
        missing: The patterns that no window of the session matched.
        shown: Whether the session can be seen among the client's windows.
        likeness: How much the session looks alike on both displays, from 0 to 1; packing with loss and other windows
            in front of it make it less. None when it could not be compared.
        expected: How much the session's display looks like the picture that was asked for, from 0 to 1; None when
            none was, 0 when it has another size.
        redrawn: Whether the client's windows had to be drawn anew before they looked alike.
        server_picture: The session's display.
        client_picture: The controller's display.
    """

    session_name: str
    state: AgentState
    agent_alive: bool
    proxy_up: bool
    server_windows: tuple[Window, ...] = ()
    client_windows: tuple[Window, ...] = ()
    missing: tuple[str, ...] = ()
    shown: bool = False
    likeness: float | None = None
    expected: float | None = None
    redrawn: bool = False
    server_picture: Image.Image | None = field(default=None, repr=False, compare=False)
    client_picture: Image.Image | None = field(default=None, repr=False, compare=False)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is not as it should be, one sentence each; empty when all is well."""
        checks = (
            (self.state is AgentState.RUNNING, f"the agent is {self.state}, not RUNNING"),
            (self.agent_alive, "the agent's process is not there"),
            (self.proxy_up, "nxproxy does not show the session"),
            (not self.missing, f"no window matches {', '.join(self.missing)}"),
            (self.shown, "the session cannot be seen on the client's display"),
            (self.likeness is None or self.likeness >= UNLIKE, "the client's display shows something else"),
            (self.expected is None or self.expected >= ALIKE, "the session does not look like the picture asked for"),
            (not self._shows_nothing(), "the session has windows, but its display is all of one colour"),
        )
        return tuple(text for holds, text in checks if not holds)

    def _shows_nothing(self) -> bool:
        """Whether there is nothing to see although there are windows; an empty desktop is all right."""
        windows = [window for window in self.server_windows if window.viewable and window.geometry.width > 1]
        return bool(windows) and self.server_picture is not None and is_blank(self.server_picture)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def is_blank(picture: Image.Image) -> bool:
    """Whether all pixels of a picture have one colour."""
    extrema = picture.getextrema()
    return all(isinstance(band, tuple) and band[0] == band[1] for band in extrema)


def likeness_to(expected: Image.Image, found: Image.Image) -> float:
    """How much a display looks like a picture of it; 0 when it has another size."""
    return likeness(expected, found) if expected.size == found.size else 0.0


def likeness(one: Image.Image, other: Image.Image) -> float:
    """How much two pictures look alike, from 0 (each pixel as different as can be) to 1; details do not count."""
    from PIL import ImageChops, ImageStat

    small = [picture.convert("L").resize(_COMPARED_SIZE) for picture in (one, other)]
    return 1.0 - float(ImageStat.Stat(ImageChops.difference(*small)).mean[0]) / 255.0
