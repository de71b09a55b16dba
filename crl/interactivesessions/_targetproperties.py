"""The properties of a target of `RemoteRunner`, and their defaults for all targets of the process.

It knows no terminal. It promises that a property nobody has defined is refused, and that a value given as text, as
Robot suites do, has the type of the default.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from crl.errors import UsageError

__all__ = ["_TargetProperties"]

_ORIGINAL: Final[Mapping[str, Any]] = {
    "default_executable": "/bin/bash",
    "max_processes_in_target": 100,
    "prompt_timeout": 30,
    "termination_timeout": 10,
    "update_env_dict": {},
}


class UnknownProperty(UsageError, AttributeError):
    """No property has that name."""


class _TargetProperties:
    """The properties in force for one target: its own ones, else the defaults at the time of asking."""

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _defaults: ClassVar[dict[str, Any]] = dict(_ORIGINAL)

    def __init__(self) -> None:
        self._own: dict[str, Any] = {}

    @classmethod
    def set_default_property(cls, name: str, value: Any) -> None:
        """Set, or create, the default of a property for the whole process."""
        with cls._lock:
            cls._defaults[name] = _typed(name, value)

    @classmethod
    def reset_defaults(cls) -> None:
        """Take back every `set_default_property`."""
        with cls._lock:
            cls._defaults = dict(_ORIGINAL)

    def set_property(self, name: str, value: Any) -> None:
        """Set a property of this target.

        Raises:
            UnknownProperty: There is none of that name.
        """
        if name not in self._defaults:
            known = ", ".join(sorted(self._defaults))
            raise UnknownProperty(f"there is no target property {name!r}", advice=f"use one of {known}")
        self._own[name] = _typed(name, value)

    @property
    def properties(self) -> dict[str, Any]:
        """All properties in force."""
        with self._lock:
            return {**self._defaults, **self._own}


def _typed(name: str, value: Any) -> Any:
    """The value as what the property is; only numbers and dictionaries have to be looked at."""
    wanted = type(_ORIGINAL.get(name, value))
    try:
        if wanted is int:
            number = float(value)
            if number < 0:
                raise ValueError("it is negative")
            return int(number) if name == "max_processes_in_target" or number == int(number) else number
        if wanted is dict:
            return {str(key): None if text is None else str(text) for key, text in dict(value).items()}
    except (TypeError, ValueError) as error:
        raise UsageError(f"{value!r} is no value for the target property {name}: {error}") from error
    return value
