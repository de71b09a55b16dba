"""Modules of this machine on a target: sent as source, registered in ``sys.modules`` of both ends.

It knows terminals and the source files here. It promises that nothing is written to the target's disk, and that a
module is imported here only when the caller names it.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from crl.errors import UsageError
from crl.interactivesessions.runnerterminal import RunnerTerminal

__all__ = ["RemoteImporter"]

TIMEOUT: Final = 3600.0

# Registered before it runs, as an import does, and taken out again when it fails.
_SOURCE: Final = """
def _crl_import(name, path, source):
    import sys
    name = str(name)  # Python 2.7 takes no unicode
    module = type(sys)(name)
    module.__file__ = path
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        eval(compile(source, path, 'exec'), module.__dict__)
    except BaseException:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        raise
"""


class RemoteImporter:
    """Brings modules to a target.

    Args:
        terminal: An open terminal there.
        timeout: Seconds for each import.
    """

    def __init__(self, terminal: RunnerTerminal, timeout: float = TIMEOUT) -> None:
        self._terminal = terminal
        self._timeout = timeout
        self._prepared_for: str | None = None

    def prepare(self) -> None:
        """Send what importing needs; done by itself, once for each session."""
        session_id = self._terminal.session_id
        if self._prepared_for != session_id:
            self._terminal.run_python(_SOURCE, timeout=self._timeout)
            self._prepared_for = session_id

    def importfile(self, filepath: str) -> ModuleType:
        """Import a file of Python here and on the target, under its name without the suffix.

        Returns:
            The module here.

        Raises:
            UsageError: It is no such file.
            Exception: What the module raised, here or there.
        """
        file = Path(filepath)
        spec = importlib.util.spec_from_file_location(file.stem, file)
        if spec is None or spec.loader is None or not file.is_file():
            raise UsageError(f"{filepath!r} is no file of Python", doing="importing a module", advice="give a .py file")
        module = importlib.util.module_from_spec(spec)
        before = sys.modules.get(file.stem)
        sys.modules[file.stem] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            if before is None:
                del sys.modules[file.stem]
            else:
                sys.modules[file.stem] = before
            raise
        self._send(file.stem, file)
        return module

    def importmodule(self, module: ModuleType) -> None:
        """Import a module that is imported here on the target, under the last part of its name.

        Raises:
            UsageError: It has no source, or is a package.
            Exception: What the module raised there.
        """
        file = getattr(module, "__file__", None)
        if file is None or not file.endswith(".py") or hasattr(module, "__path__"):
            raise UsageError(
                f"the module {module.__name__} cannot be sent", doing="importing a module", advice="give one plain file"
            )
        self._send(module.__name__.rpartition(".")[2], Path(file))

    def _send(self, name: str, file: Path) -> None:
        self.prepare()
        source: Any = file.read_bytes()
        arguments = (name, str(file), source)
        self._terminal.run_python_call_with_timeout(self._timeout, "_crl_import", arguments, {})
        self._terminal.import_libraries(name)
        self._terminal.known_there(name)
