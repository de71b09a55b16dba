"""Other distributions in the folders of crl: the published ``crl.interactivesessions`` has the names of ours.

`crl` is a namespace that distributions share, file by file. Importing this module looks, in less than a millisecond,
whether `crl.interactivesessions` is the one that the rest of crl was made for; when it is not, it says what to do.
"""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Final

from crl.errors import UsageError

__all__ = ["FilesOverwritten", "check"]

_PACKAGE: Final = "crl.interactivesessions"
_PUBLISHED: Final = "crl.interactivesessions"
"""The name of the other distribution."""
_THEIRS: Final = "RunnerHandler.py"
"""A file that is only in the other one."""
_HERE: Final = Path(__file__).parent
_ADVICE: Final = f"pip uninstall {_PUBLISHED}, then pip install --force-reinstall --no-deps crl"


class FilesOverwritten(UsageError, ImportError):
    """The package `crl.interactivesessions` is not that of this distribution."""


def check() -> None:
    """See that `crl.interactivesessions` is ours.

    Raises:
        FilesOverwritten: It is another one, or its files are gone.

    Warns:
        UserWarning: It is ours, and files of another distribution lie among them.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise _error("its files are gone, as after another distribution that had the same ones was uninstalled")
    folder = Path(spec.origin).parent
    if folder.parent != _HERE:
        raise _error(f"that in {folder} is found before ours in {_HERE / folder.name}")
    source = getattr(spec.loader, "get_source", None)
    if source is not None and __name__ not in source(_PACKAGE):
        raise _error(f"its files in {folder} were overwritten")
    if (folder / _THEIRS).exists():
        warnings.warn(
            f"{folder} also holds files of {_other()}; uninstalling that takes files of crl along. "
            f"What to do: {_ADVICE}",
            stacklevel=2,
        )


def _error(why: str) -> FilesOverwritten:
    return FilesOverwritten(
        f"{_PACKAGE} is not the one that crl was made for: {why} (also installed: {_other()})",
        doing="importing crl",
        advice=_ADVICE,
    )


def _other() -> str:
    """The other distribution with its version, for people."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"{_PUBLISHED} {version(_PUBLISHED)}"
    except PackageNotFoundError:
        return f"no {_PUBLISHED}"


check()
