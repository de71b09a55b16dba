"""What stands between a shell and a terminal in which another shell, started from it, has ended.

It knows the prompt of the shell that is guarded, and what POSIX-like shells do at the end of a command. It promises
that nothing that was sent to the other shell is read as a line by this one, however the other one ended, and that this
one then reads again in a terminal as it was.
"""

from __future__ import annotations

from typing import Final

from crl.interactivesessions._spawn import ChannelSpawn
from crl.interactivesessions.shells._prompt import Nonce, ShellPrompt

__all__ = ["Guard"]

# No byte means anything to the terminal but the end of a line; it gives lines all the same, for bash would read ahead.
_SWALLOWING: Final = "raw -echo -iexten icanon eof undef eol undef"
# What else a terminal may make of them until then. While the other shell runs, an interactive one minds INT only.
_SIGNALS: Final = "INT QUIT TSTP"
# A zsh that ignores TSTP does not go on behind a command that was killed.
_SIGNALS_ZSH: Final = "INT QUIT"
# Each Ctrl-D that came before that counts as an end, and a terminal holds 4,096 bytes; one that hung up ends for ever.
_MOST_ENDS: Final = 9999
_SPLIT: Final = 4


class Guard:
    """The guard of one shell, from the line that starts another shell in it until it reads again itself.

    What was sent to the other shell and had not arrived there when it ended (its ssh was killed, its connection was
    lost) comes to the shell under it, which would execute it. So behind the command that starts the other one there
    stands a loop that shows this shell's prompt, with the command's status, and swallows what comes, up to a line of
    ours. As the prompt is the one that everybody looks out for anyway, nobody else has to know of the guard.

    Args:
        terminal: The terminal of both.
        prompt: The prompt of the shell that is guarded.
        kind: Which shell that is.
    """

    def __init__(self, terminal: ChannelSpawn, prompt: ShellPrompt, kind: str = "") -> None:
        self._terminal = terminal
        self._prompt = prompt
        self._signals = _SIGNALS_ZSH if kind == "zsh" else _SIGNALS
        self._release = Nonce()

    def line(self, command: str) -> str:
        """The line that runs a command, with the guard behind it.

        Until no byte means anything to the terminal any more, signals are trapped or ignored, for Ctrl-C is a byte like
        others in what is swallowed; traps of the user's for them are gone afterwards. Interactive shells take care of
        theirs.

        Args:
            command: The command; one behind which nothing can be written stays as it is.
        """
        self._terminal.look_out_for(self._prompt.text)
        if command.rstrip()[-1:] in ("", "&", ";", "\\"):
            return command
        shown = f"printf %s%s%s {_apart(self._prompt.mark)} $crl_g {_apart(self._prompt.end)}"
        swallowed = (
            f"crl_n=0; while [ $crl_n -lt {_MOST_ENDS} ]; do read -r crl_l || crl_n=$((crl_n+1)); "
            f"case $crl_l in *{self._release.text}*) break;; esac; done"
        )
        return (
            f"crl_t=$(stty -g 2>/dev/null); trap : INT; {command}; crl_g=$?; trap '' {self._signals}; "
            f'stty {_SWALLOWING} 2>/dev/null; {shown}; {swallowed}; stty "$crl_t" 2>/dev/null; trap - {self._signals}; '
            'unset crl_t crl_l crl_n; eval "unset crl_g; (exit $crl_g)"'
        )

    @property
    def waits(self) -> bool:
        """Whether it was seen to wait: then nothing runs there that Ctrl-C would end, or that would answer it."""
        return self._terminal.has_shown(self._prompt.text)

    def end(self) -> None:
        """Have the shell read again; one that reads already gets lines that do nothing.

        Raises:
            pexpect.EOF: The terminal has ended.
        """
        # Nothing echoes it, whatever the shell's terminal does otherwise; the first newline ends what came without one.
        self._terminal.send(f"\n: {self._release.text}\n")

    def forget(self) -> None:
        """The shell has answered."""
        self._terminal.forget(self._prompt.text)


def _apart(text: str) -> str:
    """A text as it is typed, so that it does not stand there as it comes."""
    return f"{text[:_SPLIT]}''{text[_SPLIT:]}"
