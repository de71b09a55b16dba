"""Sound as samples, and what can be heard in it.

A `Recording` says how loud it is and how much of it is one tone, which is enough to tell by a test what a session
played. The module is arithmetic over plain numbers and knows no sound server.
"""

from __future__ import annotations

import array
import math
import os
import sys
import wave
from dataclasses import dataclass, field

__all__ = ["Recording"]

FULL_SCALE = 32768.0


@dataclass(frozen=True)
class Recording:
    """One channel of sound.

    Args:
        samples: Signed 16 bit numbers.
        rate: How many of them make a second.
    """

    samples: array.array[int] = field(repr=False)
    rate: int = 44100

    @classmethod
    def from_bytes(cls, data: bytes, rate: int = 44100) -> Recording:
        """A recording by its bytes, little-endian; half a sample at the end is left out."""
        samples = array.array("h", data[: len(data) // 2 * 2])
        if sys.byteorder == "big":
            samples.byteswap()
        return cls(samples, rate)

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / self.rate

    @property
    def loudness(self) -> float:
        """The root of the mean square: 0 is silence, 1 the loudest there is; a full sine has 0.71."""
        if not self.samples:
            return 0.0
        return math.sqrt(sum(sample * sample for sample in self.samples) / len(self.samples)) / FULL_SCALE

    def share_of(self, frequency: float) -> float:
        """How much of the sound is one tone: 1 for a pure one of that frequency, near 0 for silence and other sound.

        Args:
            frequency: In hertz.
        """
        count, total = len(self.samples), sum(sample * sample for sample in self.samples)
        if not total:
            return 0.0
        # Goertzel's algorithm: the strength of one frequency without that of all others.
        turn = 2 * math.cos(2 * math.pi * frequency / self.rate)
        last = before = 0.0
        for sample in self.samples:
            last, before = sample + turn * last - before, last
        return min(1.0, 2 * (last * last + before * before - turn * last * before) / (count * total))

    def part(self, start: float, seconds: float) -> Recording:
        """A piece of it.

        Args:
            start: Its begin in seconds.
            seconds: Its length.
        """
        return Recording(self.samples[int(start * self.rate) : int((start + seconds) * self.rate)], self.rate)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as a WAV file."""
        samples = array.array("h", self.samples)
        if sys.byteorder == "big":
            samples.byteswap()
        with wave.open(os.fspath(path), "wb") as stream:
            stream.setnchannels(1)
            stream.setsampwidth(2)
            stream.setframerate(self.rate)
            stream.writeframes(samples.tobytes())
