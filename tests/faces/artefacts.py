"""What a run of Robot Framework or pytest has left in its folder, as text in which nothing can hide.

Robot's ``log.html`` holds long texts compressed; here they are read as the browser reads them.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LIMIT = 280
"""Seconds that a program may take: whole desktops are slow where the machine is busy."""
TIMEOUT = pytest.mark.timeout(LIMIT + 20)
ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"
PICTURE = "data:image/png;base64,iVBOR"
_PACKED = re.compile(r'"([A-Za-z0-9+/=]{16,})"')


@dataclass(frozen=True)
class Ended:
    """A program that has ended, and the folder it wrote to."""

    status: int
    output: str
    errors: str
    folder: Path

    def everything(self) -> str:
        """All text that it has left anywhere."""
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return "\n".join([self.output, self.errors, *map(read, files)])


def read(path: Path) -> str:
    """A file as text, with what is compressed in it."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix != ".html":
        return text
    return "\n".join([text, *(unpacked(found) for found in _PACKED.findall(text))])


def unpacked(text: str) -> str:
    """A string of Robot's log; empty when it is none."""
    try:
        return zlib.decompress(base64.b64decode(text, validate=True)).decode("utf-8", "replace")
    except (binascii.Error, zlib.error):
        return ""


def python(folder: Path, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Ended:
    """Run Python with warnings as errors; whatever it writes goes into the folder."""
    argv = [sys.executable, "-W", "error", *map(str, arguments)]
    done = subprocess.run(
        argv, cwd=folder, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    return Ended(done.returncode, done.stdout, done.stderr, folder)


def robot(folder: Path, suite: Path, *options: str | Path, env: Mapping[str, str] | None = None) -> Ended:
    """Run a suite with everything logged."""
    options = ("--loglevel", "TRACE:INFO", "--outputdir", folder / "results", *options)
    return python(folder, "-m", "robot", *options, suite, env=env)


def write_suite(folder: Path, body: str, name: str = "suite.robot") -> Path:
    """A suite that uses both libraries and the examples' variables."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = ["Library    TargetLibrary", "Library    X2GoLibrary", f"Variables    {EXAMPLES / 'lab.py'}"]
    path.write_text("\n".join(["*** Settings ***", *settings, body]), encoding="utf-8")
    return path


def secrets_in(text: str, secrets: Sequence[str]) -> list[str]:
    """The places of the secrets that a text shows, plain or in base64, with a few characters before them."""
    forms = [form for secret in secrets for form in (secret, base64.b64encode(secret.encode()).decode().rstrip("="))]
    return [text[max(0, text.index(form) - 60) : text.index(form)] for form in forms if form in text]
