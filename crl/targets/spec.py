"""Descriptions of targets that travel: as values, as JSON, pickled to other processes and machines.

This module knows dictionaries of shells and where secrets come from, and connects to nothing. It promises that no
description shows a secret, and that one with a literal secret in it does not leave this process.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from crl.errors import UsageError
from crl.interactivesessions.shells.shellstack import is_secret_name
from crl.secrets import Secret, to_secret
from crl.targets.target import Target

__all__ = ["SecretFrom", "TargetSpec"]

_DOING: Final = "describing a target"
_FIELDS: Final = frozenset({"name", "shells", "max_tries", "python", "imports"})


@dataclass(frozen=True)
class SecretFrom:
    """Says where a secret is to be had, on the machine that connects; holds no secret.

    Args:
        env: Name of an environment variable.
        file: Path of a file, whose first line is the secret.

    Raises:
        UsageError: Not exactly one of both was given.
    """

    env: str | None = None
    file: str | None = None

    def __post_init__(self) -> None:
        if (self.env is None) == (self.file is None):
            raise UsageError("a secret comes from env= or from file=", doing=_DOING)

    def get(self) -> Secret:
        """The secret.

        Raises:
            UsageError: It is not there.
        """
        if self.env is not None:
            text = os.environ.get(self.env)
            if text is None:
                raise UsageError(f"the environment variable {self.env} is not set", doing="looking for a secret")
            return Secret(text)
        assert self.file is not None
        try:
            lines = Path(self.file).expanduser().read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"the file {self.file} cannot be read: {error}", doing="looking for a secret") from error
        if not lines:
            raise UsageError(f"the file {self.file} is empty", doing="looking for a secret")
        return Secret(lines[0])

    def as_dict(self) -> dict[str, str]:
        """It as plain values."""
        return {"env": self.env} if self.env is not None else {"file": self.file or ""}


@dataclass(frozen=True, init=False)
class TargetSpec:
    """A target as a value: made into a `Target` where it is to be connected to.

    Args:
        shells: A host of the ssh configuration, a dictionary of a shell or dictionaries of shells, from the first hop
            to the last, as `crl.interactivesessions.shells.shellstack.ShellStack` takes them. Passwords and the like
            are best given as `SecretFrom`, or as ``{"env": NAME}`` or ``{"file": PATH}``; literal ones become `Secret`.
        name: What to call it in texts; None takes the host's name from the shells.
        max_tries: As of `Target`.
        python: As of `Target`.
        imports: Modules to import before, because they register shells.

    Raises:
        UsageError: The shells cannot be such.

    Example:
        >>> spec = TargetSpec({"host": "alpha", "password": SecretFrom(env="ALPHA_PASSWORD")})
        >>> TargetSpec.from_json(spec.to_json()) == spec
        True
    """

    shells: tuple[Mapping[str, Any], ...]
    name: str
    max_tries: int
    python: str | None
    imports: tuple[str, ...]

    def __init__(
        self,
        shells: str | Mapping[str, Any] | Iterable[Mapping[str, Any]],
        *,
        name: str | None = None,
        max_tries: int = 3,
        python: str | None = None,
        imports: Iterable[str] = (),
    ) -> None:
        if isinstance(shells, str):
            shells = {"host": shells}
        given = [shells] if isinstance(shells, Mapping) else list(shells) if isinstance(shells, Iterable) else []
        if not given or not all(isinstance(one, Mapping) for one in given):
            raise UsageError(
                "a target is described by a host's name or by dictionaries of shells",
                doing=_DOING,
                advice="write {'host': 'NAME', …}; a Target can be in a fleet as it is, but does not travel",
            )
        values = {
            "shells": tuple(_shell(one) for one in given),
            "name": name or _name_of(given),
            "max_tries": max_tries,
            "python": python,
            "imports": tuple(imports),
        }
        for field, value in values.items():
            object.__setattr__(self, field, value)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """It from plain values, as `as_dict` gives them.

        Raises:
            UsageError: They are no description of a target.
        """
        unknown = sorted(set(values) - _FIELDS)
        if unknown or "shells" not in values:
            what = f"unknown: {', '.join(unknown)}" if unknown else "'shells' is missing"
            raise UsageError(f"not a description of a target: {what}", doing=_DOING)
        return cls(**values)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """It from JSON; see `from_dict`."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise UsageError(f"not JSON: {error}", doing=_DOING) from error
        if not isinstance(values, dict):
            raise UsageError("not a description of a target: not a JSON object", doing=_DOING)
        return cls.from_dict(values)

    def as_dict(self) -> dict[str, Any]:
        """It as plain values.

        Raises:
            UsageError: It has a literal secret.
        """
        return {
            "name": self.name,
            "shells": [{name: _plain(self.name, name, value) for name, value in one.items()} for one in self.shells],
            "max_tries": self.max_tries,
            "python": self.python,
            "imports": list(self.imports),
        }

    def to_json(self) -> str:
        """It as JSON; see `as_dict`."""
        return json.dumps(self.as_dict())

    def renamed(self, name: str) -> TargetSpec:
        """The same target by another name."""
        return TargetSpec(
            self.shells, name=name, max_tries=self.max_tries, python=self.python, imports=self.imports
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_dict, (self.as_dict(),)

    def __hash__(self) -> int:
        return hash((self.name, self.max_tries, self.python))

    @property
    def first_hop(self) -> str:
        """What the way begins with, as far as the description says."""
        first = self.shells[0]
        jump = first.get("jump")
        hop = jump if isinstance(jump, str) else next(iter(jump or ()), None)
        return str(hop or first.get("host") or first.get("ip") or first.get("shellname"))

    def target(self, **options: Any) -> Target:
        """A new target; not connected.

        Args:
            options: As of `Target`, in place of what stands here.

        Raises:
            UsageError: A secret is not there, an argument is wrong, or a shell is not known.
        """
        for module in self.imports:
            importlib.import_module(module)
        shells = [
            {name: value.get() if isinstance(value, SecretFrom) else value for name, value in one.items()}
            for one in self.shells
        ]
        own = {"name": self.name, "max_tries": self.max_tries, "python": self.python}
        return Target(shells, **{**own, **options})


def _shell(given: Mapping[str, Any]) -> dict[str, Any]:
    return {str(name): _value(str(name), value) for name, value in given.items()}


def _value(name: str, value: Any) -> Any:
    if value is None or isinstance(value, SecretFrom | Secret):
        return value
    if is_secret_name(name) and not isinstance(value, bool | int | float):
        if isinstance(value, Mapping) and set(value) <= {"env", "file"}:
            return SecretFrom(**value)
        return to_secret(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return list(value) if isinstance(value, tuple) else value


def _name_of(shells: list[Mapping[str, Any]]) -> str:
    names = (shell.get("host") or shell.get("ip") for shell in reversed(shells))
    return next((str(name) for name in names if name), "localhost")


def _plain(target: str, name: str, value: Any) -> Any:
    if isinstance(value, SecretFrom):
        return value.as_dict()
    if isinstance(value, Secret):
        raise UsageError(
            f"the {name} stands in it as it is, and secrets do not travel",
            host=target,
            doing="handing over the description of a target",
            advice=f"give {name}=SecretFrom(env=…) or SecretFrom(file=…), which is looked up where it is needed",
        )
    return value
