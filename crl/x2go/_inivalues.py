r"""How one value stands in a configuration file, as x2goclient (Qt), python-x2go and people write it.

Two programs share these files and spell values differently. Qt writes ``key=value`` with quotes and backslash escapes
and reads bytes as Latin-1; python-x2go writes ``key = value`` and means the text as it stands. We write what Qt writes,
in ASCII, and read either. Everything here is total and knows nothing of files.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

__all__ = ["TRUTH", "decode_list", "decode_text", "encode_bool", "encode_list", "encode_text"]

TRUTH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}

_NAMED = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    '"': '"', "\\": "\\", "?": "?", "'": "'",
}  # fmt: skip
_ESCAPED = {code: f"\\{name}" for name, code in _NAMED.items() if name not in "?'"}
_ESCAPE = re.compile(r"\\(?:x(?P<hex>[0-9A-Fa-f]+)|(?P<octal>[0-7]+)|(?P<named>[abfnrtv\"\\?']))")
_LETTER = re.compile(r"\\x(?P<hex>[89a-f][0-9a-f]|[1-9a-f][0-9a-f]{2,3})(?![0-9a-f])")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_ELEMENT = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[^,]*)\s*(,|$)', re.DOTALL)
_INVALID = "@Invalid()"
_BYTES = re.compile(r"@(?:ByteArray|String)\((.*)\)", re.DOTALL)


def encode_text(value: str) -> str:
    """A text as Qt writes it: printable ASCII, in quotes where it needs them."""
    return _quoted(_escaped(value))


def encode_list(values: Sequence[str]) -> str:
    """A list of texts as Qt writes it; within an only element a comma is an escape, so that it parts nothing."""
    if list(values) == [""]:
        return '""'
    if len(values) == 1:
        text = _quoted(_escaped(values[0], but=","))
    else:
        text = ", ".join(encode_text(value) for value in values)
    if text.startswith("["):  # else it could be taken for a list as Python shows it
        first, _, rest = text.partition(",")
        text = f'"{first}",{rest}' if rest else f'"{first}"'
    return text


def _escaped(value: str, but: str = "") -> str:
    """A text with escapes for what is not printable ASCII, and for the characters of `but`."""
    pieces: list[str] = []
    after_number = False
    for unit in _utf16(value):
        character = chr(unit)
        digit = character in "0123456789abcdefABCDEF"
        if character in _ESCAPED:
            pieces.append(_ESCAPED[character])
            after_number = False
        elif not 0x20 <= unit < 0x7F or character in but or (after_number and digit):
            pieces.append(f"\\x{unit:x}")
            after_number = True
        else:
            pieces.append(character)
            after_number = False
    return "".join(pieces)


def _quoted(text: str) -> str:
    text = f"@{text}" if text.startswith("@") else text
    if any(mark in text for mark in ";,=") or text != text.strip():
        return f'"{text}"'
    return text


def encode_bool(value: bool, before: str | None = None) -> str:
    """A truth value, spelled as the one `before` it: Qt's ``true`` and ``false``, or python-x2go's 1 and 0."""
    if before is not None and before.strip().lower() in ("true", "false"):
        return "true" if value else "false"
    return "1" if value else "0"


def decode_text(raw: str, *, plain: bool = False) -> str:
    r"""What a value means as one text.

    Args:
        raw: What stands behind the equals sign.
        plain: The line is of python-x2go's kind, in which a backslash outside quotes is one, unless it begins a letter
            beyond ASCII in Qt's spelling.
    """
    raw = raw.strip()
    if raw == _INVALID:
        return ""
    wrapped = _BYTES.fullmatch(raw)
    if wrapped and not plain:
        return _unescaped(wrapped.group(1))
    if _QUOTED.fullmatch(raw):
        raw, plain = raw[1:-1], False
    if plain:  # python-x2go copies what Qt wrote: its letters beyond ASCII, which no path or user is likely to spell
        return _unescaped(raw, _LETTER)
    return _unescaped(raw.removeprefix("@") if raw.startswith("@@") else raw)


def decode_list(raw: str, *, plain: bool = False) -> list[str]:
    """What a value means as a list: parts between commas, also inside one pair of quotes, or Python's spelling."""
    raw = raw.strip()
    if raw in ("", _INVALID):
        return []
    if raw.startswith("[") and raw.endswith("]"):
        shown = _python_list(raw)
        if shown is not None:
            return shown
    if _QUOTED.fullmatch(raw):
        inner = raw[1:-1].split(",")
        return [decode_text(f'"{part.strip() if len(inner) > 1 else part}"') for part in inner]
    return [decode_text(part, plain=plain) for part in _parts(raw)]


def _parts(raw: str) -> list[str]:
    """The elements of a list, parted at commas that stand outside quotes."""
    parts: list[str] = []
    at = 0
    while (found := _ELEMENT.match(raw, at)) is not None:
        parts.append(found.group(1).rstrip())
        at = found.end()
        if not found.group(2):
            break
    return parts


def _python_list(raw: str) -> list[str] | None:
    """The texts of a list in Python's spelling, which python-x2go reads too; None when it is no such list."""
    try:
        value = ast.literal_eval(raw)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return [str(one) for one in value] if isinstance(value, list) else None


def _utf16(value: str) -> list[int]:
    """The units in which Qt counts characters."""
    data = value.encode("utf-16-le", "surrogatepass")
    return [data[at] | data[at + 1] << 8 for at in range(0, len(data), 2)]


def _unescaped(text: str, escape: re.Pattern[str] = _ESCAPE) -> str:
    """A text without its escapes; a backslash that begins none stays. Pairs of surrogates become one character."""
    if "\\" not in text:
        return text
    plain = escape.sub(_meaning, text)
    return plain.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _meaning(escape: re.Match[str]) -> str:
    if escape["hex"]:
        return chr(int(escape["hex"][-4:], 16))
    if escape["octal"]:
        return chr(int(escape["octal"], 8) & 0xFFFF)
    return _NAMED[escape["named"]]
