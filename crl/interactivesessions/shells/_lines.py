"""The lines that are typed into shells: to find out which shell it is, to set it up, and to run a command in it.

Everything here is text in, text out; nothing is sent. It promises that the probe and the start script mean the same in
bash, dash, zsh, ksh, busybox ash, fish, csh and tcsh, and that no line is longer than a terminal takes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from crl.errors import UsageError, WrongArgument
from crl.interactivesessions.shells._prompt import Nonce, ShellPrompt

__all__ = [
    "CHECK_STATUS",
    "COLUMNS",
    "LINE_LIMIT",
    "POSIX_KINDS",
    "ROWS",
    "beginning",
    "command_lines",
    "kind_of",
    "line_limit",
    "probe_line",
    "replacing_line",
    "setup_line",
    "start_script",
]

LINE_LIMIT: Final = 4095
"""Bytes of one line, newline included, that a Linux terminal in its canonical mode takes; the rest would be lost."""

COLUMNS: Final = 400
ROWS: Final = 400
CHECK_STATUS: Final = 37
"""Exit status that the set-up line ends with, to see that the prompt shows statuses."""

POSIX_KINDS: Final = frozenset({"bash", "dash", "ash", "busybox", "zsh", "sh"})
"""Shells that are spoken to as they are; every other one is replaced by bash or sh in its place."""

_SHORT_LIMIT: Final = 1000
"""Bytes of a line that every shell takes: busybox, where it does not edit the line, reads 1024."""

_LITERAL_NEXT: Final = "\x16"
_CONTROL: Final = re.compile(r"[\x01-\x08\x0b-\x1f\x7f]")
_SIZE: Final = f"cols {COLUMNS} rows {ROWS}"

_QUIETEN: Final = {
    "bash": "{ trap - DEBUG; set +o history +o histexpand +o emacs +o vi; shopt -s promptvars;"
    " unset HISTFILE PROMPT_COMMAND PS0 MAILCHECK; unset TMOUT; } 2>/dev/null",
    "zsh": "{ unsetopt zle promptsp promptcr; setopt promptsubst nobanghist nocheckjobs interactivecomments;"
    " RPROMPT=; RPS1=; precmd_functions=(); preexec_functions=(); unset HISTFILE TMOUT;"
    " unfunction precmd preexec; } 2>/dev/null",
}
_QUIETEN_OTHERS: Final = "{ unset HISTFILE PROMPT_COMMAND ENV TMOUT; } 2>/dev/null"


def kind_of(answer: str) -> str:
    """The name of the shell in what the probe answered: a path, or a process name with the dash of a login shell."""
    return answer.strip().rpartition("/")[2].lstrip("-").partition(" ")[0]


def probe_line(nonce: Nonce) -> str:
    """A line that any shell answers with ``<nonce>:<path or name of the shell>:`` and that turns its echo off."""
    return (
        f"sh -c 'stty -echo 2>/dev/null; echo {nonce.quoted_inside}:"
        "$(readlink /proc/$PPID/exe 2>/dev/null || ps -o comm= -p $PPID):'"
    )


def _announce(nonce: Nonce, kind: str) -> str:
    return f"echo {nonce.quoted_inside}:{kind}:"


def start_script(nonce: Nonce, *, login: bool = False, first: str = "") -> str:
    """A line that replaces any shell by a plain bash, or sh where there is none; usable as ssh's command.

    It holds neither backslash nor exclamation mark, and no quote but those around the script, so that fish and csh
    read it as the others do.

    Args:
        nonce: Announced as ``<nonce>:<kind>:`` before the shell comes. With `login` it is not, since what the profile
            prints and reads comes after it: probe for the shell then.
        login: Whether the profile is read.
        first: What is run before that, as `beginning` gives it.
    """
    terminal = f"{first}stty sane -echo -ixon {_SIZE} 2>/dev/null; TERM=dumb; export TERM"
    if login:
        return (
            f"exec /bin/sh -c '{terminal}; b=$(command -v bash); "
            'if test -n "$b"; then exec "$b" --login --noediting -i; fi; exec /bin/sh -l -i\''
        )
    return (
        f"exec /bin/sh -c '{terminal}; b=$(command -v bash); "
        f'if test -n "$b"; then {_announce(nonce, "bash")}; exec "$b" --norc --noprofile --noediting -i; fi; '
        f"{_announce(nonce, 'sh')}; ENV=; exec /bin/sh -i'"
    )


def beginning(nonce: Nonce, script: str) -> str:
    """What a `start_script` runs before the shell: the nonce is printed, then a script is run in a raw terminal.

    Args:
        nonce: Printed as soon as the terminal is raw.
        script: Commands with neither quotes but double ones, nor backslashes, nor exclamation marks.
    """
    return f"stty raw -echo {_SIZE} 2>/dev/null; TERM=dumb; export TERM; printf {nonce.quoted_inside}; {script}; "


def replacing_line(nonce: Nonce) -> str:
    """The line typed into a foreign interactive shell (fish, csh) to put bash or sh in its place."""
    return start_script(nonce)


def setup_line(kind: str, prompt: ShellPrompt, nonce: Nonce, *, echo: bool = False) -> str:
    """The line that makes a shell ours: no echo, history, line editor or hooks, and our prompt.

    The answer is the nonce on a line of its own, then the prompt with `CHECK_STATUS`.
    """
    modes = f"{'echo' if echo else '-echo'} -ixon {_SIZE}"
    # Some terminals turn tabs into blanks (telnetd's do); a stty that does not know the word sets nothing at all.
    terminal = f"{{ stty {modes} tab0 || stty {modes}; }} 2>/dev/null"
    quieten = _QUIETEN.get(kind, _QUIETEN_OTHERS)
    return f"{quieten}; {terminal}; {prompt.assignments()}; echo {nonce.quoted}; (exit {CHECK_STATUS})"


def line_limit(kind: str) -> int:
    """Bytes of one typed line, newline included, that a kind of shell takes.

    It is 0 for zsh: without its line editor it does not give up an unfinished command at Ctrl-C, and never has one when
    each command is a quoted ``eval``.
    """
    if kind == "zsh":
        return 0
    return _SHORT_LIMIT if kind in ("busybox", "ash", "sh") else LINE_LIMIT


def command_lines(command: str, limit: int = LINE_LIMIT) -> list[str]:
    """The lines to type so that a POSIX shell runs `command` as one command.

    A short line is typed as it is. A command of several lines, or one longer than a terminal takes, becomes an
    ``eval`` of quoted pieces on continued lines. Control characters are quoted for the terminal (Ctrl-V).

    Args:
        command: The command.
        limit: Bytes that one line may have; see `line_limit`.

    Raises:
        WrongArgument: It is no text.
        UsageError: It has a NUL, which no shell can take.
    """
    if not isinstance(command, str):
        raise WrongArgument(f"the command {command!r} is no text", doing="running a command", advice="give it as text")
    if "\0" in command:
        raise UsageError(
            "a command cannot contain a NUL character", doing="running a command", advice="give it by a file or a pipe"
        )
    plain = _CONTROL.sub(_literal, command)
    if "\n" not in plain and _size(plain) < limit:
        return [plain]
    pieces = [f"'{piece}'" for piece in _quoted_pieces(command)]
    if len(pieces) == 1:
        return [f"eval {pieces[0]}"]
    return ["eval \\", *(f"{piece}\\" for piece in pieces[:-1]), pieces[-1]]


def _literal(match: re.Match[str]) -> str:
    return _LITERAL_NEXT + match.group()


def _quoted_pieces(command: str) -> Iterator[str]:
    """The inside of the single-quoted words that mean the command when joined; each fits into a line of any shell."""
    piece, size = "", 0
    for character in command:
        typed = "'\\''" if character == "'" else _CONTROL.sub(_literal, character)
        if size + _size(typed) > _SHORT_LIMIT - len("eval ''\\"):
            yield piece
            piece, size = "", 0
        piece += typed
        size += _size(typed) - 1
    yield piece


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape")) + 1
