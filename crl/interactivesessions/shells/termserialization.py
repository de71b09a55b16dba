"""Values and files as Python expressions, for typing them into a Python on a target.

It knows nothing of shells. The expressions need ``pickle`` and ``base64`` there, hold no quotes of their own, and mean
the same to Python 2.7 and 3; they only ever go towards the target, which trusts what it is told.
"""

from __future__ import annotations

import base64
import os
import pickle
from typing import Any

__all__ = ["serialize", "serialize_from_file"]


def serialize(s: Any) -> str:
    """An expression whose value is `s`, where ``pickle`` and ``base64`` are imported."""
    text = base64.b64encode(pickle.dumps(s, protocol=0)).decode("ascii")
    return f"pickle.loads(base64.b64decode(b'{text}'))"


def serialize_from_file(path: str | os.PathLike[str]) -> str:
    """An expression whose value is the text of a UTF-8 file of this machine; see `serialize`."""
    with open(path, encoding="utf-8") as source:
        return serialize(source.read())
