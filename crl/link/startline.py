"""The line that starts Python in a shell: its text, for a shell that waits for a line and for one that is not up yet.

It is text only; nothing is typed. It knows the POSIX shell's syntax, and promises that no secret stands in it, that no
echo of it can be taken for an answer, and that the target's terminal is afterwards as it was.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from typing import ClassVar, Final

__all__ = ["INTERPRETERS", "TOO_OLD_STATUS", "Ahead", "end_mark", "first_mark", "start_line"]

INTERPRETERS: Final = ("python3", "python", "/usr/libexec/platform-python", "python2")
TOO_OLD_STATUS: Final = 93
PLAIN_NAME: Final = re.compile(r"[\w./+-]+", re.ASCII)

# Runs in the target's interpreter, whatever its version: says what it is and what byte code it takes (nothing on
# Python 2), then reads lines up to one with a dot. While they are on their way it imports what they will want, and has
# `compile` do what it does the first time, which takes most of a millisecond; it must not fail at that, for the shell
# would read them. The token is written backwards in the line, so that no echo of the line can be taken for the answer.
# What it imports comes from the standard library, not from the working directory, and is not written to the disk.
STAGE: Final = (
    "import sys\n"
    "q=sys.path[:],sys.dont_write_bytecode\n"
    "sys.path[:],sys.dont_write_bytecode=[e for e in q[0] if e],True\n"
    "import posix,zlib,binascii\n"
    "v=sys.version_info\n"
    'm=getattr(sys.modules.get("_frozen_importlib_external"),"MAGIC_NUMBER",b"")\n'
    'posix.write(1,("%s"[::-1]+":%%d.%%d:"%%v[:2]+binascii.hexlify(m).decode()+";").encode())\n'
    f"if v<(2,7) or (3,)<=v<(3,6): sys.exit({TOO_OLD_STATUS})\n"
    "try: import os,marshal,struct,errno,select,fcntl,operator\n"
    "except ImportError: pass\n"
    'compile("0","","eval")\n'
    'd=b""\n'
    'while b"\\n.\\n" not in d[-9:].replace(b"\\r",b"\\n"):\n'
    " c=posix.read(0,65536)\n"
    " if not c: sys.exit(1)\n"
    " d+=c\n"
    "p=zlib.decompressobj()\n"
    "d=p.decompress(binascii.a2b_base64(d.rstrip()[:-1]))\n"
    "sys.path[:],sys.dont_write_bytecode=q\n"
    'exec(compile(d,"<_crl.boot>","exec"),{"__name__":"_crl","packed":p})'
)


def first_mark(token: str) -> bytes:
    """What a typed line prints before all else, so that the way to the shell can be measured."""
    return (token[4:] + token[:4]).encode()


def end_mark(token: str) -> bytes:
    """The two halves of the token, which nowhere stand together but in what the line prints at a bad end."""
    return (token[8:] + token[:8]).encode()


def start_line(token: str, interpreters: tuple[str, ...], *, restore_cr: bool = False) -> str:
    """The line that a shell gets: raw terminal, first interpreter that will do, terminal as it was.

    Args:
        token: What announces the interpreter; it stands backwards in the line.
        interpreters: Names or paths to try, in order.
        restore_cr: Whether the lane may have changed an LF of ours into a CR.
    """
    raw = "raw -echo icrnl" if restore_cr else "raw -echo"
    # As one string literal, so that the whole is one line: a shell would prompt between lines.
    stage = f"'exec({json.dumps(STAGE % token[::-1])})'"
    names = " ".join("'" + name.replace("'", "'\\''") + "'" for name in interpreters)
    return (
        f"printf %s%s {token[4:]} {token[:4]}; "
        f"crl_s=; [ ! -t 0 ] || {{ crl_s=$(stty -g 2>/dev/null); stty {raw} 2>/dev/null; }}; "
        f'{_run(names, stage)}; [ -z "$crl_s" ] || stty "$crl_s"; {_tell(token)}; unset crl_s crl_r crl_p'
    )


def _run(names: str, stage: str) -> str:
    return (
        f"crl_r=127; for crl_p in {names}; do "
        f'command -v "$crl_p" >/dev/null 2>&1 || continue; "$crl_p" -S -c {stage}; crl_r=$?; '
        f"[ $crl_r -eq {TOO_OLD_STATUS} ] || [ $crl_r -eq 127 ] || [ $crl_r -eq 126 ] || break; done"
    )


def _tell(token: str) -> str:
    return f'[ $crl_r -eq 0 ] || printf "%s:%s;" "$(printf %s {token[8:]})$(printf %s {token[:8]})" $crl_r'


@dataclass(frozen=True)
class Ahead:
    """A start that a shell makes before it reads its first line, for a link that will be wanted at once.

    Attributes:
        token: What announces the interpreter.
        script: The commands, for a terminal that is raw. Neither a quote nor a backslash nor an exclamation mark is in
            it but double quotes, so that it may stand between single ones in any shell.
    """

    token: str
    script: str

    # What an interpreter takes for the whole program: it then ends in order, and the script goes on.
    NOTHING: ClassVar[bytes] = b"\n.\n"

    @classmethod
    def make(cls, python: str | None = None) -> Ahead | None:
        """One with a fresh token; None for an interpreter whose name has to be quoted.

        Args:
            python: The interpreter to use, by name or path; None tries the usual names.
        """
        names = (python,) if python else INTERPRETERS
        if not all(map(PLAIN_NAME.fullmatch, names)):
            return None
        token = secrets.token_hex(8)
        # A number needs no quotes.
        number = (STAGE % token[::-1]).encode("ascii").hex()
        stage = f'"exec(bytes(bytearray.fromhex(hex(0x{number})[2:].rstrip(chr(76)))))"'
        return cls(token, f"{_run(' '.join(names), stage)}; {_tell(token)}")
