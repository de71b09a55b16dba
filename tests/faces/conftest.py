"""Fixtures of the faces' tests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crl.lab import Lab


def _passwords(record: Any) -> Iterator[str]:
    if isinstance(record, dict):
        for name, value in record.items():
            if "password" in name and isinstance(value, str):
                yield value
            yield from _passwords(value)
    elif isinstance(record, list):
        for value in record:
            yield from _passwords(value)


@pytest.fixture
def secrets(lab: Lab) -> list[str]:
    """Every password that the lab has."""
    found = list(_passwords(json.loads((lab.folder / "lab.json").read_text(encoding="utf-8"))))
    assert found
    return found


@pytest.fixture
def lab_env(lab: Lab) -> dict[str, str]:
    """The environment by which the examples find the lab."""
    return {"CRL_LAB_DIR": str(lab.folder)}
