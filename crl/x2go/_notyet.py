"""The one way in which parts that are not in this release say so.

Their modules and classes can be imported, so that programs that name them start; making an object, or calling a
function, raises `X2GoNotImplementedYetException` that names the part.
"""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from crl.x2go.x2go_exceptions import X2GoNotImplementedYetException

__all__ = ["NotInThisRelease", "refuse"]


def refuse(name: str, part: str) -> NoReturn:
    """Say that something is not there.

    Raises:
        X2GoNotImplementedYetException: Always.
    """
    raise X2GoNotImplementedYetException(
        f"{name} is not in this release of crl: {part} comes with a later one",
        advice=f"run the session without {part}",
    )


class NotInThisRelease:
    """Base of classes that are not there yet; a subclass names the part of X2Go it belongs to."""

    PART: ClassVar[str]

    def __new__(cls, *args: Any, **kwargs: Any) -> NoReturn:  # noqa: ARG004 - nothing is made
        """Refuse, whatever the arguments."""
        refuse(cls.__name__, cls.PART)
