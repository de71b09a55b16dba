"""Pictures in Robot Framework's log: inside of it, or as files beside it.

It knows images and the log, no session. It promises that no two pictures get the same file, also when several runs
share a folder, and that a title is never taken for HTML.
"""

from __future__ import annotations

import base64
import html
import io
import os
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from robot.api import logger
from robot.libraries.BuiltIn import BuiltIn

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["EMBED", "Picture", "show", "write_new"]

EMBED = "EMBED"
INDEX = "{index}"
_IMAGE = '<img alt="{title}" title="{title}" src="{source}" style="max-width: 100%; border: 1px solid #888">'


@dataclass(frozen=True)
class Picture:
    """A picture that was taken.

    Attributes:
        title: What it shows.
        width: In pixels.
        height: In pixels.
        path: Its file; None when it is in the log itself.
        image: The picture, for Pillow.
    """

    title: str
    width: int
    height: int
    path: Path | None
    image: Image.Image = field(repr=False, compare=False)


def show(image: Image.Image, title: str, filename: str = EMBED) -> Picture:
    """Put a picture into the log.

    Args:
        image: The picture.
        title: What it shows.
        filename: ``EMBED``, or a file's name, relative to the output folder; ``{index}`` in it becomes the first free
            number, without it a number is added when the file is there already.
    """
    data = io.BytesIO()
    image.save(data, "PNG")
    if filename.upper() == EMBED:
        path, source = None, "data:image/png;base64," + base64.b64encode(data.getvalue()).decode("ascii")
    else:
        folder = Path(BuiltIn().get_variable_value("${OUTPUT DIR}", "."))
        path = write_new(folder / filename, data.getvalue())
        source = html.escape(os.path.relpath(path, folder))
    safe = html.escape(title)
    logger.info(f"{safe} ({image.width} x {image.height})<br>{_IMAGE.format(title=safe, source=source)}", html=True)
    return Picture(title, image.width, image.height, path, image)


def write_new(wanted: Path, data: bytes) -> Path:
    """Write a file that was not there before.

    Args:
        wanted: Its path; ``{index}`` in the name becomes the first free number, without it a number is added when
            there is such a file; ``.png`` is added to a name without an ending.
        data: What to write.

    Returns:
        Its path.
    """
    path = wanted if wanted.suffix else wanted.with_suffix(".png")
    path.parent.mkdir(parents=True, exist_ok=True)
    pattern = path.name if INDEX in path.name else f"{path.stem}-{INDEX}{path.suffix}"
    if INDEX not in path.name and _written(path, data):
        return path
    for index in count(1):
        candidate = path.with_name(pattern.replace(INDEX, str(index)))
        if _written(candidate, data):
            return candidate
    raise AssertionError("numbers do not end")


def _written(path: Path, data: bytes) -> bool:
    """Write a file, unless there is one of that name: made in one step, so that no other run can have the same."""
    try:
        with path.open("xb") as stream:
            stream.write(data)
    except FileExistsError:
        return False
    return True
