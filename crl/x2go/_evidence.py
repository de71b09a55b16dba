"""What a failed verification shows beside its reasons: processes, windows, the ends of both logs, and a picture.

Plain values and how they become text and a file; nothing here asks a host. What comes from the server is cut to size
and made printable, and secrets are taken out of it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crl.secrets import redact
from crl.x2go.verification import Verification

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Evidence", "open_picture", "save_pictures"]

LINES = 12
LONGEST_LINE = 200
GAP = 8


@dataclass(frozen=True)
class Evidence:
    """What was found of a session that is not as it should be.

    Args:
        processes: Its processes on the server, one line each.
        agent_log: The agent's log.
        command_output: What its command wrote.
        proxy_log: What nxproxy said here.
    """

    processes: tuple[str, ...] = ()
    agent_log: str = ""
    command_output: str = ""
    proxy_log: str = ""

    def text(self, seen: Verification) -> str:
        """All of it, in sections; without secrets."""
        alive = "its process is there" if seen.agent_alive else "its process is not there"
        proxy = "nxproxy shows it" if seen.proxy_up else "nxproxy does not show it"
        sections = (
            ("State", [f"the agent is {seen.state}, {alive}, {proxy}"]),
            ("Processes on the server", self.processes or ["none"]),
            ("Windows of the session", [str(window) for window in seen.server_windows] or ["none"]),
            ("Windows of the display here", [str(window) for window in seen.client_windows] or ["none"]),
            ("The agent's log", self.agent_log.splitlines()),
            ("The command's output", self.command_output.splitlines()),
            ("nxproxy's log", self.proxy_log.splitlines()),
        )
        return redact("\n".join(_section(title, lines) for title, lines in sections if lines))


def _section(title: str, lines: Sequence[str]) -> str:
    shown = ["".join(sign if sign.isprintable() else "?" for sign in line)[:LONGEST_LINE] for line in lines[-LINES:]]
    return "\n".join([f"{title}:", *(f"  | {line}" for line in shown)])


def open_picture(picture: str | os.PathLike[str] | Image.Image | None) -> Image.Image | None:
    """A picture, from its file if it is the name of one."""
    if picture is None or not isinstance(picture, (str, os.PathLike)):
        return picture
    from PIL import Image

    with Image.open(picture) as opened:
        return opened.convert("RGB")


def save_pictures(seen: Verification, folder: str | os.PathLike[str] | None) -> Path | None:
    """Write both pictures side by side, the session's first, into a new file that only its owner can read.

    Args:
        seen: What was seen.
        folder: Where; None is the folder for temporary files.

    Returns:
        The file, None when there is no picture.
    """
    from PIL import Image

    pictures = [one for one in (seen.server_picture, seen.client_picture) if one is not None]
    if not pictures:
        return None
    width = sum(one.width for one in pictures) + GAP * (len(pictures) - 1)
    both = Image.new("RGB", (width, max(one.height for one in pictures)), "magenta")
    left = 0
    for one in pictures:
        both.paste(one, (left, 0))
        left += one.width + GAP
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f"{seen.session_name[:60]}-", suffix=".png", dir=folder)
    with open(descriptor, "wb") as stream:
        both.save(stream, "PNG")
    return Path(name)
