"""Where ``~`` is: the home that the system's accounts tell, as for OpenSSH, whatever ``$HOME`` says.

It knows the account database and nothing of ssh. What has no account there (a container's arbitrary user) has the
home that its environment tells.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

__all__ = ["expanded", "home"]


def home() -> Path:
    """The user's home."""
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return Path.home()


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path without its ``~`` or ``~user``."""
    text = os.fspath(path)
    if text == "~" or text.startswith("~/"):
        return home() / text[2:]
    return Path(os.path.expanduser(text))
