"""What crl's Robot Framework libraries have in common.

It knows Robot Framework and crl's error tree, no target and no session. It promises that nothing a target says is
rendered as HTML in a log, and that an assertion is tried again only where its keyword says so.
"""

from __future__ import annotations

import ast
import time
from collections.abc import Callable
from datetime import timedelta
from importlib.metadata import version
from typing import Any, TypeVar

from assertionengine import AssertionOperator, verify_assertion
from robotlibcore import DynamicCore

from crl.deadlines import Deadline

__all__ = ["CrlLibrary", "asserted", "importing", "make_reportable", "seconds"]

T = TypeVar("T")
PAUSE = 0.2
_HTML = "*HTML*"
_COMPARED = frozenset(AssertionOperator[name] for name in ("==", "!=", "<", ">", "<=", ">="))


class CrlLibrary(DynamicCore):  # type: ignore[misc] # robotlibcore has no types
    """Base of the libraries: one instance for a whole run, keywords from the class itself."""

    ROBOT_LIBRARY_SCOPE = "GLOBAL"
    ROBOT_LIBRARY_VERSION = version("crl")
    ROBOT_LIBRARY_DOC_FORMAT = "ROBOT"

    def __init__(self) -> None:
        super().__init__([])

    def run_keyword(self, name: str, args: list[Any], kwargs: dict[str, Any] | None = None) -> Any:
        """Run a keyword; called by Robot Framework."""
        try:
            return super().run_keyword(name, args, kwargs)
        except Exception as error:
            make_reportable(error)
            self.keyword_failed(error)
            raise

    def keyword_failed(self, error: Exception) -> None:
        """A keyword of the library has failed; libraries report here what they can see."""


def make_reportable(error: Exception) -> None:
    """Change an error so that Robot Framework can report it, whoever wrote its text and whatever its causes are."""
    _as_plain_text(error)
    _cut_cycles(error)


def _as_plain_text(error: Exception) -> None:
    """Keep an error's text from being taken for HTML: the target may have written it."""
    if str(error).startswith(_HTML):
        first, *rest = error.args or ("",)
        error.args = (f"Text: {first}", *rest)


def _cut_cycles(error: BaseException) -> None:
    """Make a tree of an error and its causes: Robot Framework walks them by recursion, both ways of each.

    An error that is kept and raised again, a lost link's, can be the cause of the one in whose handling it is raised.
    """
    seen = [error]
    for one in seen:
        for name in ("__cause__", "__context__"):
            other = getattr(one, name)
            if other is None:
                continue
            if any(other is known for known in seen):
                suppressed = one.__suppress_context__
                setattr(one, name, None)
                one.__suppress_context__ = suppressed
            else:
                seen.append(other)


def seconds(time_limit: timedelta | None) -> float | None:
    """A time limit as the Python interfaces take it; None stays None."""
    return None if time_limit is None else time_limit.total_seconds()


def asserted(
    read: Callable[[], T],
    operator: AssertionOperator | None,
    expected: Any,
    message: str | None,
    *,
    what: str,
    retry_for: timedelta,
) -> Any:
    """The value that `read` gives, verified.

    Args:
        read: Gives the value; called again after a pause when the assertion does not hold.
        operator: How to compare; None only returns the value.
        expected: What to compare with; a text is read as a Python literal where the value is no text.
        message: The error's text instead of the usual one.
        what: What the value is, for the usual text.
        retry_for: How long to try again.

    Raises:
        AssertionError: It did not hold.
    """
    deadline = Deadline.after(seconds(retry_for))
    while True:
        value = read()
        try:
            return verify_assertion(value, operator, _like(value, operator, expected), what, message)
        except AssertionError:
            left = deadline.remaining() or 0.0
            if not left:
                raise
        time.sleep(min(PAUSE, left))  # nothing tells when a value changes there: it has to be asked for


def _like(value: object, operator: AssertionOperator | None, expected: Any) -> Any:
    """What is expected, as a number or the like when it is compared with one."""
    if not isinstance(expected, str) or isinstance(value, str) or operator not in _COMPARED:
        return expected
    try:
        return ast.literal_eval(expected)
    except (ValueError, SyntaxError):
        return expected


def importing(function: str) -> str:
    """An expression that imports the modules of a dotted name; other expressions stay as they are."""
    parts = function.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        return function
    # A step that is no attribute yet is a module of the package before it.
    module = "__import__('importlib').import_module(o.__name__ + '.' + n)"
    step = f"lambda o, n: getattr(o, n) if hasattr(o, n) else {module}"
    found = f"__import__('functools').reduce({step}, {parts[1:]!r}, __import__({parts[0]!r}))"
    return f"({function} if {parts[0]!r} in globals() else {found})"
