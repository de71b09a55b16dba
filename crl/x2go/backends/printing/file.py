"""The client's print settings in a file, shared with x2goclient: ``~/.x2goclient/printing``.

They say what happens with a print job: it is shown, stored, printed, given to a command, or somebody is asked.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from crl.x2go import defaults as values
from crl.x2go import inifiles, printactions
from crl.x2go.log import X2GoLogger, loglevel_DEFAULT
from crl.x2go.x2go_exceptions import X2GoClientPrintingException, X2GoException

__all__ = ["X2GoClientPrinting", "X2GoClientPrintingFILE"]

_PROPERTIES = {
    "pdfview_cmd": ("view", "command"),
    "save_to_folder": ("save", "folder"),
    "printer": ("CUPS", "defaultprinter"),
    "print_cmd": ("print", "command"),
}
# For each action: the flags that choose it, and its own property.
_FLAGS: dict[str, dict[tuple[str, str], bool]] = {
    "DIALOG": {("General", "showdialog"): True},
    "PDFVIEW": {("General", "showdialog"): False, ("General", "pdfview"): True, ("view", "open"): True},
    "PDFSAVE": {("General", "showdialog"): False, ("General", "pdfview"): True, ("view", "open"): False},
    "PRINT": {("General", "showdialog"): False, ("General", "pdfview"): False, ("print", "startcmd"): False},
    "PRINTCMD": {("General", "showdialog"): False, ("General", "pdfview"): False, ("print", "startcmd"): True},
}
_ARGUMENT = {"PDFVIEW": "pdfview_cmd", "PDFSAVE": "save_to_folder", "PRINT": "printer", "PRINTCMD": "print_cmd"}


class X2GoClientPrinting(inifiles.X2GoIniFile):
    """The client's print settings.

    Args:
        config_files: The user's file, then others; default ``~/.x2goclient/printing`` and ``/etc/x2goclient/printing``.
        defaults: Sections, keys and values where no file says anything; default X2Go's own.
        client_instance: The client whose hook asks what to do; without one nobody can be asked.
        logger: Where to log.
        loglevel: Levels to log when `logger` is not an `X2GoLogger`.
    """

    _FAILURE: ClassVar[type[X2GoException]] = X2GoClientPrintingException

    def __init__(
        self,
        config_files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None = None,
        defaults: Mapping[str, Mapping[str, Any]] | None = None,
        client_instance: Any = None,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
    ) -> None:
        files = values.X2GO_PRINTING_CONFIGFILES if config_files is None else config_files
        known = values.X2GO_CLIENTPRINTING_DEFAULTS if defaults is None else defaults
        self.client_instance = client_instance
        self._print_action: Any = None
        super().__init__(files, known, logger, loglevel)

    def _detect_print_action(self) -> str:
        """The name of the action that the settings choose."""
        if self.get_value("General", "showdialog") and self.client_instance is not None:
            return "DIALOG"
        if self.get_value("General", "pdfview"):
            return "PDFVIEW" if self.get_value("view", "open") else "PDFSAVE"
        return "PRINTCMD" if self.get_value("print", "startcmd") else "PRINT"

    @property
    def print_action(self) -> Any:
        """The object that handles print jobs."""
        return self.get_print_action()

    def get_print_action(self, reload: bool = False, reinit: bool = False, return_name: bool = False) -> Any:
        """What handles print jobs, as the settings are now.

        Args:
            reload: Forget changes that were not written.
            reinit: Make a new object.
            return_name: Give the name of the action, as ``PDFVIEW``, instead of an object.
        """
        if reload:
            self.load()
        name = self._detect_print_action()
        if return_name:
            return name
        arguments = {_ARGUMENT[name]: self.get_property(_ARGUMENT[name])} if name in _ARGUMENT else {}
        known = self._print_action
        if reinit or known is None or known[:2] != (name, arguments):
            action = getattr(printactions, values.X2GO_PRINT_ACTIONS[name])
            made = action(client_instance=self.client_instance, logger=self.logger, **arguments)
            self._print_action = known = (name, arguments, made)
        return known[2]

    def get_property(self, print_property: str) -> Any:
        """A property of the actions: pdfview_cmd, save_to_folder, printer or print_cmd.

        Raises:
            X2GoClientPrintingException: There is no such property.
        """
        return self.get_value(*self._place(print_property))

    def set_property(self, print_property: str, value: Any) -> None:
        """Give a property of the actions a value; `write` stores it.

        Raises:
            X2GoClientPrintingException: There is no such property, or it has another type.
        """
        section, key = self._place(print_property)
        wanted = self.get_type(section, key)
        if not isinstance(value, wanted):
            raise X2GoClientPrintingException(
                f"the print property {print_property} has to be a {wanted.__name__}, not {value!r}"
            )
        self.update_value(section, key, value)

    def _place(self, print_property: str) -> tuple[str, str]:
        if print_property not in _PROPERTIES:
            raise X2GoClientPrintingException(
                f"there is no print property {print_property!r}", advice=f"use one of: {', '.join(_PROPERTIES)}"
            )
        return _PROPERTIES[print_property]

    def store_print_action(self, print_action: str, **print_properties: Any) -> None:
        """Choose an action by its name and set its properties; `write` stores it.

        Raises:
            X2GoClientPrintingException: There is no such action or property.
        """
        if print_action not in _FLAGS:
            raise X2GoClientPrintingException(
                f"there is no print action {print_action!r}", advice=f"use one of: {', '.join(_FLAGS)}"
            )
        for print_property, value in print_properties.items():
            self.set_property(print_property, value)
        for (section, key), value in _FLAGS[print_action].items():
            self.update_value(section, key, value)


X2GoClientPrintingFILE = X2GoClientPrinting
