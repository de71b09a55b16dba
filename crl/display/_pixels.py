"""Takes a picture of a part of the root window, in strips.

A strip of 32 rows fits the buffers on the way, and several are asked for before the first has come: a full-HD picture
so takes a fraction of the time of one large answer. The module gives Pillow images and knows no files.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from crl.display._xconnection import ScreenFacts
from crl.display.errors import DisplayError
from crl.display.windows import Geometry
from crl.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["read_picture"]

STRIP_ROWS = 32
STRIPS_UNDER_WAY = 4
_ALL_PLANES = 0xFFFFFFFF
_Z_PIXMAP = 2


def read_picture(x: Any, screen: ScreenFacts, area: Geometry) -> Image.Image:
    """The pixels of `area`, which has to lie on the screen and not be empty, as an RGB image.

    Args:
        x: python-xlib's connection, held by an operation.
        screen: Facts of its screen.
        area: What to take.

    Raises:
        DisplayError: The screen's pixels are laid out in a way that is not understood.
        UsageError: Pillow is not installed.
    """
    from Xlib.protocol import request

    try:
        from PIL import Image
    except ImportError as missing:
        raise UsageError("pictures need Pillow", advice="pip install 'crl[display]'") from missing
    mode = _raw_mode(screen)
    pad = screen.scanline_pad // 8
    stride = -(-area.width * screen.bits_per_pixel // 8 // pad) * pad
    picture = Image.new("RGB", (area.width, area.height))
    under_way: deque[tuple[int, int, Any]] = deque()
    tops = list(range(0, area.height, STRIP_ROWS))
    while tops or under_way:
        while tops and len(under_way) < STRIPS_UNDER_WAY:
            top = tops.pop(0)
            rows = min(STRIP_ROWS, area.height - top)
            question = request.GetImage(
                display=x, defer=True, format=_Z_PIXMAP, drawable=screen.root, x=area.x, y=area.y + top,
                width=area.width, height=rows, plane_mask=_ALL_PLANES,
            )  # fmt: skip
            under_way.append((top, rows, question))
        top, rows, question = under_way.popleft()
        question.reply()
        strip = Image.frombytes("RGB", (area.width, rows), bytes(question.data[: stride * rows]), "raw", mode, stride)
        picture.paste(strip, (0, top))
    return picture


def _raw_mode(screen: ScreenFacts) -> str:
    """Pillow's name for the layout of the screen's pixels."""
    masks = (screen.red_mask, screen.green_mask, screen.blue_mask)
    modes = {
        (32, False, (0xFF0000, 0xFF00, 0xFF)): "BGRX",
        (32, False, (0xFF, 0xFF00, 0xFF0000)): "RGBX",
        (32, True, (0xFF0000, 0xFF00, 0xFF)): "XRGB",
        (32, True, (0xFF, 0xFF00, 0xFF0000)): "XBGR",
        (24, False, (0xFF0000, 0xFF00, 0xFF)): "BGR",
        (24, True, (0xFF0000, 0xFF00, 0xFF)): "RGB",
        (16, False, (0xF800, 0x7E0, 0x1F)): "BGR;16",
    }
    mode = modes.get((screen.bits_per_pixel, screen.big_endian, masks))
    if mode is None:
        colours = ", ".join(hex(mask) for mask in masks)
        raise DisplayError(
            f"pictures of a screen with {screen.bits_per_pixel} bits a pixel and the colour masks {colours} are not "
            "understood",
            advice="use a display of depth 16 or 24",
        )
    return mode
