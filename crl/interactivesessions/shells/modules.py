"""Modules of this end as commands that make them in a Python on a target, with no file there.

It knows no terminal: it gives the commands and runs none. A module whose ``CHILD_MODULES`` lists others takes them
along, each of them once; they must be able to run on the target's Python.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Final

from crl.errors import UsageError
from crl.interactivesessions.shells.termserialization import serialize_from_file

__all__ = ["ChildModule", "MainModule"]

_COMMAND_SIZE: Final = 5000


class MainModule:
    """A module to be made on a target, under the name `module_var`.

    Args:
        module: The module here; its source has to be in a file.
    """

    def __init__(self, module: ModuleType) -> None:
        self.module = module

    @property
    def name(self) -> str:
        """The last part of its name."""
        return self.module.__name__.rpartition(".")[2]

    @property
    def module_var(self) -> str:
        """The expression for it on the target."""
        return f"__{self.name}"

    @property
    def path(self) -> str:
        """The file of its source.

        Raises:
            UsageError: There is none.
        """
        try:
            return str(inspect.getsourcefile(self.module) or self.module.__file__)
        except (TypeError, AttributeError):
            raise UsageError(
                f"{self.module.__name__} has no file of Python", doing="making commands of a module"
            ) from None

    def cmds_gen(self) -> Iterator[str]:
        """The commands, each of them a line of moderate length, to be run in their order."""
        line = ""
        for command in self.raw_cmds_gen():
            line = f"{line}; {command}" if line else command
            if len(line) > _COMMAND_SIZE:
                yield line
                line = ""
        if line:
            yield line

    def raw_cmds_gen(self, made: dict[str, str] | None = None) -> Iterator[str]:
        """The commands one by one.

        Args:
            made: The modules that are there already, by name; this one and its children are added.
        """
        made = {} if made is None else made
        if self.module.__name__ in made:
            yield f"{self.module_var} = {made[self.module.__name__]}"
            return
        made[self.module.__name__] = self.module_var
        yield "import pickle, base64, types"
        yield f"{self.module_var} = types.ModuleType('{self.name}')"
        for child in getattr(self.module, "CHILD_MODULES", ()):
            yield from ChildModule(child, self).raw_cmds_gen(made)
        code = f"compile({serialize_from_file(self.path)}, '{self.name}.py', 'exec')"
        yield f"exec({code}, {self.module_var}.__dict__)"


class ChildModule(MainModule):
    """A module that another one has as an attribute.

    Args:
        module: The module here.
        parent: The one that has it.
    """

    def __init__(self, module: ModuleType, parent: MainModule) -> None:
        super().__init__(module)
        self._parent = parent

    @property
    def module_var(self) -> str:
        """The expression for it on the target."""
        return f"{self._parent.module_var}.__dict__['{self.name}']"
