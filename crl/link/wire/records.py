"""The plain records of the standard library that the value codec knows by name.

Each has a way to plain values and one back; the modules are imported only when one of their records is met. Nothing a
peer sends can add to this table, and the ways back take nothing but plain values.
"""

import sys

PY2 = sys.version_info[0] == 2


def type_name(cls):
    # type: (type) -> str
    """Module and name of a class, without the module for builtins."""
    module = getattr(cls, "__module__", None)
    name = str(getattr(cls, "__name__", cls))
    if module in (None, "builtins", "__builtin__"):
        return name
    return "%s.%s" % (module, name)


def _module(name):  # type: ignore
    __import__(name)
    return sys.modules[name]


def _struct(module, name):  # type: ignore
    """A struct sequence or namedtuple: crosses as its visible items."""

    def build(plain):  # type: ignore
        cls = getattr(_module(module), name)
        items = tuple(plain)
        visible = getattr(cls, "n_sequence_fields", None)
        return cls(items) if visible is not None else cls(*items)

    return (lambda value: tuple(value)), build


STAT_EXTRAS = ("st_atime", "st_mtime", "st_ctime", "st_blksize", "st_blocks", "st_rdev")
STAT_NANOSECONDS = ("st_atime_ns", "st_mtime_ns", "st_ctime_ns")


def _plain_stat(v):  # type: ignore
    extras = dict((name, getattr(v, name)) for name in STAT_EXTRAS + STAT_NANOSECONDS if hasattr(v, name))
    return (tuple(v), extras)


def _stat(plain):  # type: ignore
    visible, extras = plain
    known = dict((name, extras[name]) for name in STAT_EXTRAS + STAT_NANOSECONDS if name in extras)
    return _module("os").stat_result(tuple(visible), known)


def _seconds(delta):  # type: ignore
    return (delta.days, delta.seconds, delta.microseconds)


def _zone(value):  # type: ignore
    """Offset from UTC in seconds, None without one: zone names of the target mean nothing here."""
    offset = value.utcoffset()
    return None if offset is None else offset.days * 86400 + offset.seconds


def _tzinfo(seconds):  # type: ignore
    if seconds is None:
        return None
    datetime = _module("datetime")
    return datetime.timezone(datetime.timedelta(seconds=seconds))


def _plain_datetime(v):  # type: ignore
    return (v.year, v.month, v.day, v.hour, v.minute, v.second, v.microsecond, _zone(v))


def _build_datetime(p):  # type: ignore
    return _module("datetime").datetime(*(tuple(p[:7]) + (_tzinfo(p[7]),)))


def _plain_time(v):  # type: ignore
    return (v.hour, v.minute, v.second, v.microsecond, _zone(v))


def _build_time(p):  # type: ignore
    return _module("datetime").time(*(tuple(p[:4]) + (_tzinfo(p[4]),)))


def _plain_fraction(v):  # type: ignore
    return (v.numerator, v.denominator)


def _plain_range(v):  # type: ignore
    return (v.start, v.stop, v.step)


def _plain_completed(v):  # type: ignore
    return (v.args, v.returncode, v.stdout, v.stderr)


def _text(module, name):  # type: ignore
    """A class that its own text makes again."""
    return str, lambda plain: getattr(_module(module), name)(_str(plain))


def _call(module, name):  # type: ignore
    return lambda plain: getattr(_module(module), name)(*plain)


def _str(plain):  # type: ignore
    if not isinstance(plain, (str, type(u""))):
        raise TypeError("a text was expected")
    return str(plain)


RECORDS = {
    "collections.OrderedDict": (lambda v: list(v.items()), lambda p: _module("collections").OrderedDict(p)),
    "collections.Counter": (lambda v: dict(v), lambda p: _module("collections").Counter(dict(p))),
    "collections.deque": (
        lambda v: (list(v), v.maxlen),
        lambda p: _module("collections").deque(list(p[0]), p[1]),
    ),
    "datetime.datetime": (_plain_datetime, _build_datetime),
    "datetime.date": (lambda v: (v.year, v.month, v.day), _call("datetime", "date")),
    "datetime.time": (_plain_time, _build_time),
    "datetime.timedelta": (_seconds, _call("datetime", "timedelta")),
    "datetime.timezone": (lambda v: int(v.utcoffset(None).total_seconds()), _tzinfo),
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
}

# A path of the target stays a path in name only: what is concrete there must not open files here.
ALIASES = {
    "pathlib.PosixPath": "pathlib.PurePosixPath",
    "pathlib.WindowsPath": "pathlib.PureWindowsPath",
    "pathlib._local.PosixPath": "pathlib.PurePosixPath",
    "pathlib._local.PurePosixPath": "pathlib.PurePosixPath",
    "posix.stat_result": "os.stat_result",
}
if PY2:
    del RECORDS["range"]


def plain_of(value):  # type: ignore
    """The record's name and its content in plain values; None for what is no registered record."""
    name = type_name(type(value))
    name = ALIASES.get(name, name)
    record = RECORDS.get(name)
    return None if record is None else (name, record[0](value))


def build(name, plain):  # type: ignore
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
