"""The plain records of the standard library that the value codec knows by name.

Each has a way to plain values and one back; the modules are imported only when one of their records is met. Nothing a
peer sends can add to this table, and the ways back take nothing but plain values.
"""
# ruff: noqa: F401 - names in type comments look unused.

import sys

MYPY = False
if MYPY:
    from collections.abc import Callable
    from typing import Any

    To = Callable[[Any], object]
    Back = Callable[[Any], object]

PY2 = sys.version_info[0] == 2


def type_name(cls):
    # type: (type) -> str
    """Module and name of a class, without the module for builtins."""
    module = getattr(cls, "__module__", None)
    name = str(getattr(cls, "__name__", cls))
    if module in (None, "builtins", "__builtin__"):
        return name
    return "%s.%s" % (module, name)


def _module(name):
    # type: (str) -> Any
    __import__(name)
    return sys.modules[name]


def _struct(module, name):
    # type: (str, str) -> tuple[To, Back]
    """A struct sequence: crosses as its visible items."""
    return tuple, lambda plain: getattr(_module(module), name)(tuple(plain))


STAT_EXTRAS = ("st_atime", "st_mtime", "st_ctime", "st_blksize", "st_blocks", "st_rdev")
STAT_NANOSECONDS = ("st_atime_ns", "st_mtime_ns", "st_ctime_ns")


def _plain_stat(v):
    # type: (Any) -> object
    extras = {name: getattr(v, name) for name in STAT_EXTRAS + STAT_NANOSECONDS if hasattr(v, name)}
    return (tuple(v), extras)


def _stat(plain):
    # type: (Any) -> object
    visible, extras = plain
    known = {name: extras[name] for name in STAT_EXTRAS + STAT_NANOSECONDS if name in extras}
    return _module("os").stat_result(tuple(visible), known)


def _seconds(delta):
    # type: (Any) -> tuple[int, int, int]
    return (delta.days, delta.seconds, delta.microseconds)


def _zone(value):
    # type: (Any) -> tuple[int, int, int] | None
    """Offset from UTC, None without one: zone names of the target mean nothing here."""
    offset = value.utcoffset()
    return None if offset is None else _seconds(offset)


def _tzinfo(offset):
    # type: (Any) -> Any
    if offset is None:
        return None
    datetime = _module("datetime")
    return datetime.timezone(datetime.timedelta(*offset))


def _folded(value, fold):
    # type: (Any, object) -> object
    return value.replace(fold=1) if fold == 1 else value


def _plain_datetime(v):
    # type: (Any) -> object
    return (v.year, v.month, v.day, v.hour, v.minute, v.second, v.microsecond, _zone(v), getattr(v, "fold", 0))


def _build_datetime(p):
    # type: (Any) -> object
    return _folded(_module("datetime").datetime(*(tuple(p[:7]) + (_tzinfo(p[7]),))), p[8])


def _plain_time(v):
    # type: (Any) -> object
    return (v.hour, v.minute, v.second, v.microsecond, _zone(v), getattr(v, "fold", 0))


def _build_time(p):
    # type: (Any) -> object
    return _folded(_module("datetime").time(*(tuple(p[:4]) + (_tzinfo(p[4]),))), p[5])


def _plain_fraction(v):
    # type: (Any) -> object
    return (v.numerator, v.denominator)


def _plain_range(v):
    # type: (Any) -> object
    return (v.start, v.stop, v.step)


def _plain_completed(v):
    # type: (Any) -> object
    return (v.args, v.returncode, v.stdout, v.stderr)


def _text(module, name):
    # type: (str, str) -> tuple[To, Back]
    """A class that its own text makes again."""
    return str, lambda plain: getattr(_module(module), name)(_str(plain))


def _call(module, name):
    # type: (str, str) -> Back
    return lambda plain: getattr(_module(module), name)(*plain)


def _str(plain):
    # type: (Any) -> str
    if not isinstance(plain, (str, type(u""))):
        raise TypeError("a text was expected")
    return str(plain)


RECORDS = {
    "collections.OrderedDict": (lambda v: list(v.items()), lambda p: _module("collections").OrderedDict(p)),
    "collections.Counter": (dict, lambda p: _module("collections").Counter(dict(p))),
    "collections.deque": (
        lambda v: (list(v), v.maxlen),
        lambda p: _module("collections").deque(list(p[0]), p[1]),
    ),
    "datetime.datetime": (_plain_datetime, _build_datetime),
    "datetime.date": (lambda v: (v.year, v.month, v.day), _call("datetime", "date")),
    "datetime.time": (_plain_time, _build_time),
    "datetime.timedelta": (_seconds, _call("datetime", "timedelta")),
    "datetime.timezone": (lambda v: _seconds(v.utcoffset(None)), _tzinfo),
    "decimal.Decimal": _text("decimal", "Decimal"),
    "fractions.Fraction": (_plain_fraction, _call("fractions", "Fraction")),
    "ipaddress.IPv4Address": _text("ipaddress", "IPv4Address"),
    "ipaddress.IPv4Network": _text("ipaddress", "IPv4Network"),
    "ipaddress.IPv6Address": _text("ipaddress", "IPv6Address"),
    "ipaddress.IPv6Network": _text("ipaddress", "IPv6Network"),
    "os.stat_result": (_plain_stat, _stat),
    "pathlib.PurePosixPath": _text("pathlib", "PurePosixPath"),
    "pathlib.PureWindowsPath": _text("pathlib", "PureWindowsPath"),
    "posix.uname_result": _struct("posix", "uname_result"),
    "pwd.struct_passwd": _struct("pwd", "struct_passwd"),
    "grp.struct_group": _struct("grp", "struct_group"),
    "range": (_plain_range, lambda p: range(*p)),
    "subprocess.CompletedProcess": (_plain_completed, _call("subprocess", "CompletedProcess")),
    "time.struct_time": _struct("time", "struct_time"),
    "uuid.UUID": (lambda v: v.hex, lambda p: _module("uuid").UUID(hex=_str(p))),
}  # type: dict[str, tuple[To, Back]]

# A path of the target stays a path in name only: what is concrete there must not open files here.
ALIASES = {
    "pathlib.PosixPath": "pathlib.PurePosixPath",
    "pathlib.WindowsPath": "pathlib.PureWindowsPath",
    "pathlib._local.PosixPath": "pathlib.PurePosixPath",
    "pathlib._local.PurePosixPath": "pathlib.PurePosixPath",
    "pathlib._local.PureWindowsPath": "pathlib.PureWindowsPath",
    "posix.stat_result": "os.stat_result",
}
if PY2:
    del RECORDS["range"]


def plain_of(value):
    # type: (object) -> tuple[str, object] | None
    """The record's name and its content in plain values; None for what is no registered record."""
    name = type_name(type(value))
    name = ALIASES.get(name, name)
    record = RECORDS.get(name)
    return None if record is None else (name, record[0](value))


def build(name, plain):
    # type: (str, Any) -> object
    """The record again.

    Raises:
        ValueError: No record has that name.
        TypeError: The content is not that record's (as AttributeError, ImportError or ArithmeticError of builders).
    """
    record = RECORDS.get(name)
    if record is None:
        raise ValueError("no record is called %r" % name)
    try:
        return record[1](plain)
    except (AttributeError, ImportError, ArithmeticError, LookupError) as error:
        raise TypeError("not the content of a %s (%s)" % (name, type(error).__name__))
