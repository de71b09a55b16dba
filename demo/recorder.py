"""What the demonstration did: steps with their times, facts, pictures and checks.

A `Recorder` shows progress while things happen and keeps everything for the report. It knows nothing of hosts or X2Go,
and promises that a failed step is kept with its error, not lost.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from crl.errors import CrlError
from crl.secrets import redact

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["CheckFailed", "Picture", "Recorder", "Step"]


class CheckFailed(CrlError):
    """Something that had to hold does not."""


@dataclass(frozen=True)
class Picture:
    """A picture of the report.

    Attributes:
        file: Its name in the report's folder.
        caption: What it shows.
    """

    file: str
    caption: str


@dataclass
class Step:
    """One step of the demonstration.

    Attributes:
        title: What was done.
        seconds: How long it took.
        error: What went wrong, empty when nothing did.
        facts: What was found out, name by value.
        checks: What held.
        pictures: What was seen.
    """

    title: str
    seconds: float = 0.0
    error: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    checks: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)

    def fact(self, name: str, value: object) -> None:
        """Keep something that was found out."""
        self.facts[name] = redact(str(value))

    def check(self, holds: object, text: str) -> None:
        """Keep that a check held.

        Raises:
            CheckFailed: It does not hold.
        """
        if not holds:
            raise CheckFailed(text, doing=self.title)
        self.checks.append(redact(text))


@dataclass
class Section:
    """Steps that belong together."""

    title: str
    steps: list[Step] = field(default_factory=list)


class Recorder:
    """Keeps and shows the steps.

    Args:
        folder: The report's folder; it exists.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sections: list[Section] = []
        self.left_out: list[str] = []
        self.links: dict[str, str] = {}
        self.started = time.monotonic()

    @property
    def ok(self) -> bool:
        """Whether every step so far went well."""
        return not any(step.error for section in self.sections for step in section.steps)

    def section(self, title: str) -> None:
        """Begin a new group of steps."""
        self.sections.append(Section(title))
        self._show(f"\n{title}")

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """One step: timed, shown and kept; an error is kept and raised."""
        step = Step(title)
        self.sections[-1].steps.append(step)
        begin = time.monotonic()
        try:
            yield step
        except BaseException as error:
            step.error = redact(f"{type(error).__name__}: {error}")
            raise
        finally:
            step.seconds = time.monotonic() - begin
            mark = "FAILED" if step.error else "ok"
            self._show(f"  {step.seconds:6.2f} s  {mark:6} {title}")

    def picture(self, step: Step, image: Image.Image, name: str, caption: str) -> None:
        """Put a picture into the report."""
        image.save(self.folder / f"{name}.png", optimize=True)
        step.pictures.append(Picture(f"{name}.png", caption))

    def leave_out(self, text: str) -> None:
        """Say what was not done, and why."""
        self.left_out.append(text)
        self._show(f"  left out: {text}")

    def say(self, text: str) -> None:
        """Tell the person who watches."""
        self._show(f"           {text}")

    def _show(self, text: str) -> None:
        sys.stderr.write(redact(text) + "\n")
        sys.stderr.flush()
