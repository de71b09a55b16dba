"""The run as a picture: for a few rows one bar for each contestant, crl in its own colour.

It knows rows and figures; bars have a logarithmic scale, since peers differ by orders of magnitude.
"""

from __future__ import annotations

import math
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from benchmarks.contestants import CONTESTANTS
from benchmarks.figures import Figures
from benchmarks.report import shown
from benchmarks.rows import ROWS, Row

__all__ = ["draw"]

PICTURED = ("call", "threads", "connect", "run", "push", "pull", "fetch-ints", "tree:push")
COLUMNS = 2
WIDTH, LINE, TOP, GAP = 760, 30, 64, 36
NAMES, NUMBERS = 170, 130
INK, GREY, PALE = "#1c2530", "#8fa1b3", "#dfe5eb"
OURS, FLOOR = "#c8402f", "#4a6a8a"


def draw(figures: Figures, path: Path) -> None:
    """Write the picture."""
    rows = [row for figure in PICTURED for row in ROWS if row.figure == figure and _bars(figures, row)]
    if not rows:
        return
    panels = [_panel(figures, row) for row in rows]
    lines = [panels[start : start + COLUMNS] for start in range(0, len(panels), COLUMNS)]
    heights = [max(panel.height for panel in line) for line in lines]
    picture = Image.new("RGB", (COLUMNS * (WIDTH + GAP) + GAP, sum(heights) + GAP * (len(lines) + 1)), "white")
    top = GAP
    for line, height in zip(lines, heights, strict=True):
        for number, panel in enumerate(line):
            picture.paste(panel, (GAP + number * (WIDTH + GAP), top))
        top += height + GAP
    picture.save(path, optimize=True)


def _bars(figures: Figures, row: Row) -> list[tuple[str, float]]:
    """Contestants and figures, the best first."""
    found = [(one.name, figures.median(row.figure, one.name)) for one in CONTESTANTS]
    known = [(name, value) for name, value in found if value]
    return sorted(known, key=lambda bar: bar[1], reverse=row.larger)


def _panel(figures: Figures, row: Row) -> Image.Image:
    bars = _bars(figures, row)
    picture = Image.new("RGB", (WIDTH, TOP + LINE * len(bars)), "white")
    pen = ImageDraw.Draw(picture)
    pen.text((0, 0), row.title.replace("`", ""), INK, ImageFont.load_default(24))
    better = "more is better" if row.larger else "less is better"
    pen.text((0, 32), f"{better}, logarithmic", GREY, ImageFont.load_default(17))
    values = [value for _, value in bars]
    low, high = math.log(min(values) / 1.6), math.log(max(values))
    for number, (name, value) in enumerate(bars):
        top = TOP + number * LINE
        share = (math.log(value) - low) / (high - low)
        _bar(pen, top, name, share, shown(value, row.unit))
    return picture


def _bar(pen: ImageDraw.ImageDraw, top: int, name: str, share: float, text: str) -> None:
    colour = OURS if name in ("crl", "crl-paramiko") else FLOOR if name.startswith("floor") else GREY
    font = ImageFont.load_default(18)
    right = NAMES + round((WIDTH - NAMES - NUMBERS) * share)
    pen.text((0, top + 2), name, colour if colour != GREY else INK, font)
    pen.rectangle((NAMES, top + 13, WIDTH - NUMBERS, top + 14), PALE)
    pen.rectangle((NAMES, top + 3, right, top + LINE - 7), colour)
    # Pillow's own font has no Greek letter.
    text = text.replace("µ", "u")
    pen.rectangle((right + 1, top, right + 14 + pen.textlength(text, font), top + LINE - 2), "white")
    pen.text((right + 8, top + 2), text, INK, font)
