"""What a look at a session from both sides has shown.

Plain values and the rules that judge them; nothing here asks a host or a display.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from crl.display import Geometry, Window
from crl.x2go.state import AgentState

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["ALIKE", "SidesSeen", "Verification", "is_blank", "likeness"]

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


def likeness(one: Image.Image, other: Image.Image) -> float:
    """How much two pictures look alike, from 0 (each pixel as different as can be) to 1; details do not count."""
    from PIL import ImageChops, ImageStat

    small = [picture.convert("L").resize(_COMPARED_SIZE) for picture in (one, other)]
    return 1.0 - float(ImageStat.Stat(ImageChops.difference(*small)).mean[0]) / 255.0


@dataclass(frozen=True)
class SidesSeen:
    """Both displays at one moment, and how much the session's parts of them look alike.

    Args:
        server: The session's display.
        client: The controller's display.
        likeness: The least of all parts, None when there is no part to compare.
    """

    server: Image.Image
    client: Image.Image
    likeness: float | None

    @classmethod
    def compare(
        cls, server: Image.Image, client: Image.Image, parts: Sequence[tuple[Geometry, Geometry]]
    ) -> SidesSeen:
        """Compare the parts, each given as where it is on the server's and on the client's display."""
        found = [likeness(*pair) for pair in (_cut(server, client, *part) for part in parts) if pair is not None]
        return cls(server, client, min(found) if found else None)


def _cut(
    server: Image.Image, client: Image.Image, there: Geometry, here: Geometry
) -> tuple[Image.Image, Image.Image] | None:
    """The pixels of one window that are on both screens, None when there are none."""
    left = max(0, -there.x, -here.x)
    top = max(0, -there.y, -here.y)
    right = min(there.width, here.width, server.width - there.x, client.width - here.x)
    bottom = min(there.height, here.height, server.height - there.y, client.height - here.y)
    if right <= left or bottom <= top:
        return None
    boxes = [(place.x + left, place.y + top, place.x + right, place.y + bottom) for place in (there, here)]
    return server.crop(boxes[0]), client.crop(boxes[1])
