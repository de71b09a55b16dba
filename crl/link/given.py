"""What callers give: commands, environments and names of the target, checked before anything is sent.

A wrong one is refused here in words, since the target could only say what its Python stumbled over. Nothing is known of
links or targets, and what is returned is plain: texts, lists and dicts of texts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from crl.errors import UsageError, WrongArgument

__all__ = ["CommandLine", "Environment", "RemoteName", "command_line", "environment", "remote_name"]

CommandLine = str | Sequence[str | os.PathLike[str]]
Environment = Mapping[str, str | None]
RemoteName = str | os.PathLike[str]

_DOING = "starting a process"


def command_line(command: CommandLine) -> str | list[str]:
    """A line for the shell, or a list with at least the program.

    Raises:
        WrongArgument: It is neither.
        UsageError: There is no program in it, or a NUL, which no argument can hold.
    """
    if isinstance(command, str):
        return _without_nul(command, "a command")
    if isinstance(command, bytes | bytearray | Mapping) or not isinstance(command, Sequence):
        raise WrongArgument(
            f"a command is a line for the shell or a list of arguments, not {_named(command)}", doing=_DOING
        )
    if not command:
        raise UsageError("the list of arguments is empty: there is no program in it", doing=_DOING)
    words = []
    for word in command:
        text = os.fspath(word) if isinstance(word, os.PathLike) else word
        if not isinstance(text, str):
            raise WrongArgument(
                f"an argument is a text, not {_named(word)}", doing=_DOING, advice="make it one with str()"
            )
        words.append(_without_nul(text, "an argument"))
    return words


def environment(changes: Environment) -> dict[str, str | None]:
    """Changes to an environment.

    Raises:
        WrongArgument: They are no mapping of texts.
        UsageError: A name is empty or holds an equals sign, or something holds a NUL.
    """
    if not isinstance(changes, Mapping):
        raise WrongArgument(f"env is a mapping of names to values, not {_named(changes)}", doing=_DOING)
    for name, value in changes.items():
        if not isinstance(name, str) or not isinstance(value, str | None):
            raise WrongArgument(
                f"a variable's name and value are texts, not {name!r}: {_named(value)}",
                doing=_DOING,
                advice="None as a value removes the variable",
            )
        if not name or "=" in name:
            raise UsageError(f"{name!r} cannot be the name of a variable", doing=_DOING)
        _without_nul(name + (value or ""), "a variable")
    return dict(changes)


def remote_name(path: RemoteName) -> str:
    """The name of a file or folder there.

    Raises:
        WrongArgument: It is not text.
        UsageError: It is empty or holds a NUL.
    """
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str):
        raise WrongArgument(f"a path of the target is a text, not {_named(path)}")
    if not text:
        raise UsageError("a path of the target is empty")
    return _without_nul(text, "a path")


def _without_nul(text: str, what: str) -> str:
    if "\0" in text:
        raise UsageError(f"{what} cannot hold a NUL: {text!r}")
    return text


def _named(value: object) -> str:
    """A short text for an error; the value itself may be long or a secret."""
    return "None" if value is None else f"a value of type {type(value).__name__}"
