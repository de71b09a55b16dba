"""A Python's command line without its prompt: commands in, values out; blocks may come line by line.

It is sent to the target as source, by `modules.MainModule`, and can be used here as well. It knows nothing of crl and
keeps to what Python 2.7 and 3.6 have in common; a command that fails changes nothing but what it has done itself.
"""
# ruff: noqa: F401 - names in type comments look unused.

import sys
import traceback

MYPY = False
if MYPY:
    from typing import Any

__all__ = ["PythonCmdline", "get_code_object"]

STDOUT = "__stdout"
STDERR = "__stderr"
_FILE = "<command>"
_GO_ON = ("else", "elif", "except", "finally")

try:
    _TEXT = (str, unicode)  # type: ignore[name-defined]
except NameError:
    _TEXT = (str, bytes)


def get_code_object(cmd, mode="exec"):
    # type: (str, str) -> Any
    """The code of a command: of an expression, which has a value, where it is one."""
    try:
        return compile(cmd, _FILE, "eval")
    except SyntaxError:
        return compile(cmd, _FILE, mode)


def _may_go_on(cmd):
    # type: (str) -> bool
    """Whether a command is the beginning of a longer one.

    Raises:
        SyntaxError: It is the beginning of none.
    """
    import codeop

    return codeop.compile_command(cmd, _FILE, "exec") is None


def _may_have_more_lines(cmd):
    # type: (str) -> bool
    """Whether a prompt would wait for another line of a complete block."""
    import codeop

    try:
        return codeop.compile_command(cmd, _FILE, "single") is None
    except SyntaxError:  # there are statements before the block, which a prompt does not take
        return cmd.splitlines()[-1][:1] in (" ", "\t")


class PythonCmdline(object):
    """Runs commands in a namespace of its own.

    An expression gives its value, statements give None. A block that comes line by line runs when it is complete: at an
    empty line, or when a command follows that is not indented.
    """

    def __init__(self, server_id=None):
        # type: (str | None) -> None
        self.server_id = server_id
        self._namespace = {"__name__": "__main__", STDOUT: sys.stdout, STDERR: sys.stderr}  # type: dict[str, Any]
        self._block = ""
        self._current = None  # type: str | None

    @property
    def current_cmd(self):
        # type: () -> str | None
        """The command that ran last, or that is being put together."""
        return self._current

    @property
    def namespace(self):
        # type: () -> dict[str, Any]
        """The names that commands have made."""
        return self._namespace

    def exec_command(self, cmd):
        # type: (str) -> Any
        """Run a command, or take a line of a block; gives the value of an expression, otherwise None."""
        if self._block:
            return self._next_line(cmd)
        self._current = cmd
        try:
            code = get_code_object(cmd)
        except SyntaxError:
            if not _may_go_on(cmd):
                raise
            self._block = cmd
            return None
        return eval(code, self._namespace)

    def _next_line(self, cmd):
        # type: (str) -> Any
        if not cmd.strip():
            return self._run_block(self._block)
        if not self._is_complete() or cmd[0] in " \t" or cmd.split(":")[0].split(" ")[0] in _GO_ON:
            whole = self._block + "\n" + cmd
            self._block, self._current = "", whole
            if _may_go_on(whole) or _may_have_more_lines(whole):
                self._block = whole
                return None
            return self._run_block(whole)
        self._run_block(self._block)
        return self.exec_command(cmd)

    def _is_complete(self):
        # type: () -> bool
        try:
            get_code_object(self._block)
        except SyntaxError:
            return False
        return True

    def _run_block(self, block):
        # type: (str) -> Any
        self._block, self._current = "", block
        return eval(get_code_object(block), self._namespace)

    def answer(self, cmd):
        # type: (str) -> Any
        """Run a command and give its value as text: text and bytes as they are, nothing for None.

        Of an error, its name, text and traceback with the lines of the command.
        """
        try:
            value = self.exec_command(cmd)
            return value if isinstance(value, _TEXT) else "" if value is None else repr(value)
        except Exception as error:  # noqa: BLE001 - what a command raises is its output
            return self._told(error)

    def _told(self, error):
        # type: (Exception) -> str
        found = traceback.extract_tb(sys.exc_info()[2])
        while found and found[0][0] != _FILE:  # what is ours
            del found[0]
        trace = "".join(traceback.format_list(found))
        lines = (self._current or "").splitlines()
        return "%s\nTraceback (most recent call last):\n%s\nThe command:\n%s" % (
            traceback.format_exception_only(type(error), error)[-1].strip(),
            trace,
            "\n".join("%5d  %s" % (number, line) for number, line in enumerate(lines, 1)),
        )
