"""The suites that every POSIX-like shell and every Python of a session passes; for people who write their own shell.

It drives a session through its public names only, on a target that has the usual small programs (``head``, ``tr``,
``seq``, ``sleep``, ``cat``). It promises that a shell which passes gives exact output and statuses and comes back from
timeouts and interrupts. ::

    from crl.interactivesessions.shells import conformance

    def test_my_shell():
        session = InteractiveSession()
        session.spawn(MyShell())
        try:
            conformance.check_shell(session)
        finally:
            session.close_terminal()
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from crl.deadlines import Deadline
from crl.errors import CrlError, RemoteWorldError
from crl.interactivesessions.InteractiveSession import InteractiveSession
from crl.interactivesessions.interactivesessionexceptions import ShellStateError
from crl.interactivesessions.shells.bashshell import BashShell, IncompleteCommand
from crl.interactivesessions.shells.pythonshellbase import PythonShellBase
from crl.interactivesessions.shells.shell import Shell
from crl.interactivesessions.shells.shell import TimeoutError as ShellTimeout

__all__ = ["CHECKS", "PYTHON_CHECKS", "Check", "ShellNotConforming", "check_python_shell", "check_shell"]

Check: TypeAlias = Callable[[InteractiveSession], None]

_ODD_OUTPUTS: Final = (
    b"",
    b"no newline",
    b"one\n",
    b"\n",
    b"$ ",
    b"# \n# ",
    b">>> ",
    b"user@host:~$ echo PROMPT=\n",
    b"password: ",
    b"tab\there\rreturn\r\nboth\n\r",
    b"\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b[2J",
    b"\xff\xfe not utf-8 \xc3\x28",
    "höflich ⏎ 日本\n".encode(),
    bytes(range(1, 256)),
    b"nul \0 inside",
)
_ODD_TEXTS: Final = ["$ ", "# \n# ", "\x1b[31m", "\x00"]
_MANY_LINES: Final = 150_000
_MANY_NUMBERS: Final = 20_000
_LONG: Final = 20_000
_TIMEOUT: Final = 0.5
_LONG_TIMEOUT: Final = 10.0
# Its other end would be that of a command of ten minutes: how quick a machine is, is not asked.
_GRACE: Final = 20.0


class ShellNotConforming(RemoteWorldError):
    """A shell failed a check; the text says which and how."""


def check_shell(session: InteractiveSession, checks: Iterable[Check] | None = None) -> None:
    """Run all checks on the current shell of a session.

    Args:
        session: An open session; its current shell is a `BashShell` or one of its kind.
        checks: The checks to run; None is all of `CHECKS`.

    Raises:
        ShellNotConforming: A check failed, or the shell raised where it should not.
    """
    _run(session, CHECKS if checks is None else checks)


def check_python_shell(session: InteractiveSession, checks: Iterable[Check] | None = None) -> None:
    """Run all checks on the current shell of a session, which is an interactive Python; the last one pops it.

    Args:
        session: An open session; its current shell is a `PythonShellBase`.
        checks: The checks to run; None is all of `PYTHON_CHECKS`.

    Raises:
        ShellNotConforming: A check failed, or the shell raised where it should not.
    """
    _run(session, PYTHON_CHECKS if checks is None else checks)


def _run(session: InteractiveSession, checks: Iterable[Check]) -> None:
    for check in checks:
        try:
            check(session)
        except ShellNotConforming:
            raise
        except CrlError as error:
            raise ShellNotConforming(f"{check.__name__} raised {type(error).__name__}: {error}") from error


def _shell(session: InteractiveSession) -> BashShell:
    shell: Shell = session.current_shell()
    if not isinstance(shell, BashShell):
        raise ShellNotConforming(f"a {type(shell).__name__} is no BashShell, so it has no exact output and status")
    return shell


def _require(what: str, holds: bool) -> None:
    if not holds:
        raise ShellNotConforming(f"not so: {what}")


def _expect(what: str, got: object, wanted: object) -> None:
    if got != wanted:
        raise ShellNotConforming(f"{what}: got {_short(got)}, not {_short(wanted)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 300 else f"{text[:140]}…{text[-140:]} ({len(text)} characters)"


def _once_it_answers(shell: BashShell, command: str) -> str:
    """The output of a command, which a shell may refuse for a while: what it could not interrupt may still run."""
    deadline = Deadline.after(_GRACE)
    while True:
        try:
            return shell.exec_command(command)
        except ShellStateError:
            if deadline.expired:
                raise


def _printing(data: bytes) -> str:
    """A command that writes exactly these bytes."""
    return "printf '" + "".join(f"\\{byte:03o}" for byte in data) + "'"


def exact_output(session: InteractiveSession) -> None:
    """Output is exact for odd bytes: look-alikes of prompts, escapes, no line end, NUL, no UTF-8."""
    shell = _shell(session)
    for data in _ODD_OUTPUTS:
        result = shell.run_command(_printing(data))
        _expect(f"output of {data[:40]!r}", (result.status, result.output), (0, data))


def own_prompt_in_output(session: InteractiveSession) -> None:
    """What shows how the prompt is made is not taken for the prompt."""
    shell = _shell(session)
    for command in ('echo "$PS1$PS2"', "set", "env"):
        shell.exec_command(command)
        _expect(f"output after {command}", shell.exec_command("echo after"), "after\r\n")


def big_output(session: InteractiveSession) -> None:
    """A megabyte of output is exact."""
    wanted = "".join(f"{number}\n" for number in range(1, _MANY_LINES + 1)).encode()
    result = _shell(session).run_command(f"seq {_MANY_LINES}")
    _require("a megabyte of output is exact", result.output == wanted)


def all_statuses(session: InteractiveSession) -> None:
    """Every exit status arrives."""
    shell = _shell(session)
    for status in range(256):
        shell.exec_command(f"(exit {status})")
        _expect("status", shell.get_status_code(), status)


def odd_commands(session: InteractiveSession) -> None:
    """Commands of several lines, of any length and with any characters but NUL do what they say."""
    shell = _shell(session)
    cases = {
        "for i in 1 2; do\n  echo $i\ndone": b"1\n2\n",
        "cat <<'END'\n$HOME `x` \"q\" it's\nEND": b"$HOME `x` \"q\" it's\n",
        "echo a; echo b >&2; echo c": b"a\nb\nc\n",
        "echo 'it'\\''s !! done!'": b"it's !! done!\n",
        "printf '%s' 'tab\there \x01\x03\x04\x16\x1a\x7f'": b"tab\there \x01\x03\x04\x16\x1a\x7f",
        "printf '%s' 'first\rsecond'": b"first\rsecond",
        f"printf '%s' '{'ö' * _LONG}' | wc -c | tr -d ' '": f"{2 * _LONG}\n".encode(),
        "# only a comment": b"",
        "   ": b"",
        "true &&\n\n\necho joined": b"joined\n",
    }
    for command, wanted in cases.items():
        _expect(f"output of {command[:50]!r}", shell.run_command(command).output, wanted)


def state_is_kept(session: InteractiveSession) -> None:
    """Variables, functions and the working directory stay from command to command, also of several lines."""
    shell = _shell(session)
    shell.exec_command("cd /; crl_kept=1")
    shell.exec_command("crl_function() {\n  echo \"$crl_kept $PWD\"\n}")
    _expect("kept state", shell.exec_command("crl_function"), "1 /\r\n")


def standard_input(session: InteractiveSession) -> None:
    """A command can read what is typed."""
    answer = _shell(session).exec_prompting_command(
        "printf 'name? '; read -r name; echo \"hello $name\"", [("name? ", "crl")], timeout=30
    )
    _expect("answer", answer, "hello crl\r\n")


def incomplete_command(session: InteractiveSession) -> None:
    """A command that is not complete is refused at once, by us or by the shell, and nothing of it runs."""
    shell = _shell(session)
    for command in ("echo 'abc", "if true; then echo ran"):
        with contextlib.suppress(IncompleteCommand):  # that, or a status of the shell's own
            output = shell.exec_command(command, timeout=30)
            _require(f"{command!r} is refused", shell.get_status_code() != 0 and "ran\r\n" not in output)
        _expect("output afterwards", _once_it_answers(shell, "echo next"), "next\r\n")


def timeout_then_recovery(session: InteractiveSession) -> None:
    """After a timeout the command is gone and the shell answers, or it refuses by `ShellStateError` until it does."""
    shell = _shell(session)
    # A shell that is slow may not have come to the output in the shorter time.
    if not (_output_in_time(shell, _TIMEOUT) or _output_in_time(shell, _LONG_TIMEOUT)):
        raise ShellNotConforming("the timeout's error does not have the output")


def _output_in_time(shell: BashShell, timeout: float) -> bool:
    """Whether the output of a command that lasts too long is in the error for it."""
    began = time.monotonic()
    try:
        shell.exec_command("echo started; sleep 600", timeout=timeout)
    except ShellTimeout as error:
        output = error.output
    else:
        raise ShellNotConforming("a command of ten minutes was not timed out")
    _require("the timeout came in time", time.monotonic() - began < timeout + _GRACE)
    _expect("output after a timeout", _once_it_answers(shell, "echo alive"), "alive\r\n")
    return b"started" in output


def stubborn_command(session: InteractiveSession) -> None:
    """A command that ignores Ctrl-C makes the shell refuse, not mix up its output; it comes back when that ends."""
    shell = _shell(session)
    try:
        shell.exec_command("sh -c 'trap : INT; for i in 1 2 3 4; do sleep 0.5; done; echo late'", timeout=_TIMEOUT)
    except ShellTimeout:
        _expect("output after a stubborn command", _once_it_answers(shell, "echo alive"), "alive\r\n")
    else:
        raise ShellNotConforming("a command of two seconds was not timed out")


def interrupted_application(session: InteractiveSession) -> None:
    """A program in the foreground is started, seen and interrupted."""
    shell = _shell(session)
    shell.start_application("sh -c 'echo is up; exec sleep 600'", "is up", timeout=30)
    shell.stop_application(timeout=30)
    _require("the status of an interrupted program is above 128", shell.get_status_code() > 128)
    _expect("output afterwards", shell.exec_command("echo free"), "free\r\n")


def push_and_pop(session: InteractiveSession) -> None:
    """A shell pushed over this one works, this one refuses meanwhile, and works again after the pop."""
    shell = _shell(session)
    shell.exec_command("crl_outer=yes")
    session.push(BashShell("sh"))
    _expect("the pushed shell", session.current_shell().exec_command('echo "[$crl_outer]"'), "[]\r\n")
    try:
        shell.exec_command("echo wrong")
    except CrlError:
        session.pop()
    else:
        raise ShellNotConforming("a covered shell could be used")
    _expect("the shell after the pop", shell.exec_command('echo "[$crl_outer]"'), "[yes]\r\n")


def _python(session: InteractiveSession) -> PythonShellBase:
    shell: Shell = session.current_shell()
    if not isinstance(shell, PythonShellBase):
        raise ShellNotConforming(f"a {type(shell).__name__} is no interactive Python")
    return shell


def python_values(session: InteractiveSession) -> None:
    """The value of an expression is exact, also a long one, and one with prompts of shells in it."""
    shell = _python(session)
    _expect("a number", shell.exec_command_rstrip("6 * 7"), "42")
    _expect("odd texts", shell.exec_command_rstrip(repr(_ODD_TEXTS)), repr(_ODD_TEXTS))
    numbers = range(_MANY_NUMBERS)
    _require("a long value is exact", shell.exec_command_rstrip(f"list(range({len(numbers)}))") == repr(list(numbers)))


def python_state(session: InteractiveSession) -> None:
    """Statements print nothing, blocks may come line by line, and what they made is kept."""
    shell = _python(session)
    for line in ("crl_kept = 20", "def crl_function():", "    crl_more = 1", "    return crl_kept + crl_more", ""):
        _expect(f"output of {line!r}", shell.exec_command_rstrip(line), "")
    _expect("kept state", shell.exec_command_rstrip("crl_function()"), "21")


def python_errors(session: InteractiveSession) -> None:
    """An error is told with its name, and the Python goes on."""
    shell = _python(session)
    for command, name in (("1 / 0", "ZeroDivisionError"), ("crl_no_such_name", "NameError"), ("a b", "SyntaxError")):
        _require(f"{command!r} tells {name}", name in shell.exec_command_rstrip(command))
        _expect("a value afterwards", shell.exec_command_rstrip("1 + 1"), "2")


def python_timeout(session: InteractiveSession) -> None:
    """After a timeout the Python answers."""
    shell = _python(session)
    began = time.monotonic()
    try:
        shell.exec_command("import time; time.sleep(600)", timeout=_TIMEOUT)
    except ShellTimeout:
        _require("the timeout came in time", time.monotonic() - began < _TIMEOUT + _GRACE)
    else:
        raise ShellNotConforming("a command of ten minutes was not timed out")
    _expect("a value after a timeout", shell.exec_command_rstrip("2 + 2"), "4")


def python_is_left(session: InteractiveSession) -> None:
    """When the Python is left, the shell under it answers, if there is one."""
    _python(session)
    session.pop()
    if session.get_nbr_of_shells():
        output = session.current_shell().exec_command("echo back")
        _expect("the shell after the pop", output.splitlines()[-1:], ["back"])


CHECKS: Final[tuple[Check, ...]] = (
    exact_output,
    own_prompt_in_output,
    big_output,
    all_statuses,
    odd_commands,
    state_is_kept,
    standard_input,
    incomplete_command,
    timeout_then_recovery,
    stubborn_command,
    interrupted_application,
    push_and_pop,
)
"""All checks, in an order in which one session can pass them."""

PYTHON_CHECKS: Final[tuple[Check, ...]] = (
    python_values,
    python_state,
    python_errors,
    python_timeout,
    python_is_left,
)
"""All checks of an interactive Python, in an order in which one session can pass them."""
