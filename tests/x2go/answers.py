"""A command's result, for functions that only judge one."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Answer"]


@dataclass(frozen=True)
class Answer:
    status: int
    stdout: str
    stderr: str
