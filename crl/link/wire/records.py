"""The plain records of the standard library that the value codec knows by name, and the objects of registered classes.

Each has a way to plain values and one back; the modules of this table, and no others, are imported when one of their
records is met. Nothing a peer sends can add to the table or the registered classes. The ways back trust nothing: they
take exact types, so that no lazy sequence, pickled state or number in exponent form unfolds here.
"""
# ruff: noqa: B905, F401 - on Python 2.7 zip knows no `strict`; names in type comments look unused.

import sys

from crl.link.wire.errors import NotTransferable

MYPY = False
if MYPY:
    from collections.abc import Callable
    from typing import Any

    To = Callable[[Any], object]
    Back = Callable[[Any], object]

PY2 = sys.version_info[0] == 2
INTEGERS = (int, long) if PY2 else (int,)  # type: ignore[name-defined]  # noqa: F821
# The greatest common divisor that makes a fraction takes quadratic time.
FRACTION_BITS = 1 << 16
# Names by which the controller asks for values of the basic types.
BASIC_TYPES = ("NoneType", "bool", "int", "long", "float", "str", "unicode", "bytes")


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
    return tuple, lambda plain: getattr(_module(module), name)(_tuple(plain))


def _tuple(plain):
    # type: (Any) -> tuple[Any, ...]
    if type(plain) is not tuple:
        raise TypeError("a tuple was expected")
    return plain


def _list(plain):
    # type: (Any) -> list[Any]
    if type(plain) is not list:
        raise TypeError("a list was expected")
    return plain


def _dict(plain):
    # type: (Any) -> dict[Any, Any]
    if type(plain) is not dict:
        raise TypeError("a dict was expected")
    return plain


def _ints(plain):
    # type: (Any) -> tuple[int, ...]
    """Whole numbers only: these classes also take text, pickled states and floats."""
    if any(type(item) not in INTEGERS for item in _tuple(plain)):
        raise TypeError("whole numbers were expected")
    return _tuple(plain)


STAT_EXTRAS = ("st_atime", "st_mtime", "st_ctime", "st_blksize", "st_blocks", "st_rdev")
STAT_NANOSECONDS = ("st_atime_ns", "st_mtime_ns", "st_ctime_ns")


def _plain_stat(v):
    # type: (Any) -> object
    extras = {name: getattr(v, name) for name in STAT_EXTRAS + STAT_NANOSECONDS if hasattr(v, name)}
    return (tuple(v), extras)


def _stat(plain):
    # type: (Any) -> object
    visible, extras = _tuple(plain)
    _dict(extras)
    known = {name: extras[name] for name in STAT_EXTRAS + STAT_NANOSECONDS if name in extras}
    return _module("os").stat_result(_tuple(visible), known)


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
    return datetime.timezone(datetime.timedelta(*_ints(offset)))


def _folded(value, fold):
    # type: (Any, object) -> object
    return value.replace(fold=1) if fold == 1 else value


def _plain_datetime(v):
    # type: (Any) -> object
    return (v.year, v.month, v.day, v.hour, v.minute, v.second, v.microsecond, _zone(v), getattr(v, "fold", 0))


def _build_datetime(p):
    # type: (Any) -> object
    return _folded(_module("datetime").datetime(*(_ints(_tuple(p)[:7]) + (_tzinfo(p[7]),))), p[8])


def _plain_time(v):
    # type: (Any) -> object
    return (v.hour, v.minute, v.second, v.microsecond, _zone(v), getattr(v, "fold", 0))


def _build_time(p):
    # type: (Any) -> object
    return _folded(_module("datetime").time(*(_ints(_tuple(p)[:4]) + (_tzinfo(p[4]),))), p[5])


def _plain_fraction(v):
    # type: (Any) -> object
    if max(v.numerator.bit_length(), v.denominator.bit_length()) > FRACTION_BITS:
        raise NotTransferable("a fraction of more than %d bits cannot cross" % FRACTION_BITS)
    return (v.numerator, v.denominator)


def _build_fraction(plain):
    # type: (Any) -> object
    if any(item.bit_length() > FRACTION_BITS for item in _ints(plain)):
        raise ValueError("a fraction of more than %d bits" % FRACTION_BITS)
    return _module("fractions").Fraction(*plain)


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


def _of_ints(module, name):
    # type: (str, str) -> Back
    return lambda plain: getattr(_module(module), name)(*_ints(plain))


def _build_ordered(plain):
    # type: (Any) -> object
    keys, items = _tuple(plain)
    if len(_list(keys)) != len(_list(items)):
        raise ValueError("keys without values")
    return _module("collections").OrderedDict(zip(keys, items))


def _build_deque(plain):
    # type: (Any) -> object
    items, longest = _tuple(plain)
    return _module("collections").deque(_list(items), longest)


def _str(plain):
    # type: (Any) -> str
    if not isinstance(plain, (str, type(u""))):
        raise TypeError("a text was expected")
    return str(plain)


RECORDS = {
    "collections.OrderedDict": (lambda v: (list(v), list(v.values())), _build_ordered),
    "collections.Counter": (dict, lambda p: _module("collections").Counter(_dict(p))),
    "collections.deque": (lambda v: (list(v), v.maxlen), _build_deque),
    "datetime.datetime": (_plain_datetime, _build_datetime),
    "datetime.date": (lambda v: (v.year, v.month, v.day), _of_ints("datetime", "date")),
    "datetime.time": (_plain_time, _build_time),
    "datetime.timedelta": (_seconds, _of_ints("datetime", "timedelta")),
    "datetime.timezone": (lambda v: _seconds(v.utcoffset(None)), _tzinfo),
    "decimal.Decimal": _text("decimal", "Decimal"),
    "fractions.Fraction": (_plain_fraction, _build_fraction),
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
    "range": (_plain_range, lambda p: range(*_ints(p))),
    "subprocess.CompletedProcess": (_plain_completed, lambda p: _module("subprocess").CompletedProcess(*_tuple(p))),
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


# The classes whose objects the controller takes by value, by their name on the target, and the names of those classes.
TYPES = {}  # type: dict[str, type]
NAMES = {}  # type: dict[type, str]
# What stands before the name of a class that is not in the table.
OBJECT = "="


class Named(object):
    """An object of a class that the target knows by name; it trusts the controller.

    Args:
        name: Module and qualified name of the class.
        plain: Its kind and content.
    """

    __slots__ = ("name", "plain")

    def __init__(self, name, plain):
        # type: (str, Any) -> None
        self.name = name
        self.plain = plain

    def build(self, cls):
        # type: (type | None) -> Any
        """The object; without a class what it would be without its class."""
        return build_object(self.name, cls, self.plain)


def class_name(cls):
    # type: (type) -> str
    """Module and qualified name of a class."""
    return "%s.%s" % (cls.__module__, getattr(cls, "__qualname__", cls.__name__))


def plain_of(value):
    # type: (Any) -> tuple[str, object] | None
    """The record's name and its content in plain values; None for what is no record and of no registered class."""
    cls = type(value)
    name = type_name(cls)
    name = ALIASES.get(name, name)
    record = RECORDS.get(name)
    if record is not None:
        return name, record[0](value)
    registered = NAMES.get(cls)
    return None if registered is None else (OBJECT + registered, plain_object(value))


def plain_of_any(value):
    # type: (Any) -> tuple[str, object] | None
    """As `plain_of`, with the objects of all classes that could be registered: who reads knows which are."""
    plain = plain_of(value)
    if plain is None:
        content = plain_object(value)
        if content is not None:
            return OBJECT + class_name(type(value)), content
    return plain


def kind_of(cls):
    # type: (Any) -> str | None
    """Which kind of class with a fixed content it is."""
    if isinstance(getattr(cls, "__dataclass_fields__", None), dict):
        return "dataclass"
    enum = sys.modules.get("enum")
    if enum is not None and issubclass(cls, enum.Enum):
        return "enum"
    if issubclass(cls, tuple) and isinstance(getattr(cls, "_fields", None), tuple):
        return "namedtuple"
    return None


def plain_object(value):
    # type: (Any) -> tuple[str, object] | None
    """Kind and content of an object of a dataclass, an enumeration or a namedtuple."""
    kind = kind_of(type(value))
    if kind == "namedtuple":
        return kind, tuple(value)
    if kind == "enum":
        # What it is as well, when it is a number or a text: a member of IntEnum or Flag.
        plain = value._value_ if isinstance(value._value_, INTEGERS + (float, str)) else None
        return kind, (value._name_, plain, isinstance(value, INTEGERS + (float, str)))
    if kind == "dataclass":
        return kind, {name: getattr(value, name) for name in _fields(type(value))}
    return None


def _fields(cls):
    # type: (Any) -> list[str]
    return [field.name for field in sys.modules["dataclasses"].fields(cls)]


def build(name, plain):
    # type: (str, Any) -> object
    """The record again.

    Raises:
        ValueError: No record has that name.
        NotTransferable: It is an object of a class that is not registered here, or looks otherwise.
        TypeError: The content is not that record's (as AttributeError, ImportError or ArithmeticError of builders).
    """
    if name.startswith(OBJECT):
        return build_object(name[1:], TYPES.get(name[1:]), plain)
    record = RECORDS.get(name)
    if record is None:
        raise ValueError("no record is called %r" % name)
    try:
        return record[1](plain)
    except (AttributeError, ImportError, ArithmeticError, LookupError) as error:
        raise TypeError("not the content of a %s (%s)" % (name, type(error).__name__))


def build_object(name, cls, plain):
    # type: (str, Any, Any) -> object
    """An object of a class by its kind and content, without a run of its constructor."""
    kind, content = _tuple(plain)
    if cls is None:
        return _without_class(name, kind, content)
    if kind == kind_of(cls):
        if kind == "namedtuple" and len(_tuple(content)) == len(cls._fields):
            return tuple.__new__(cls, content)
        if kind == "dataclass" and set(_dict(content)) == set(_fields(cls)):
            made = object.__new__(cls)
            for field, item in content.items():
                object.__setattr__(made, field, item)
            return made
        if kind == "enum":
            return _member(name, cls, _tuple(content))
    raise NotTransferable("a %s of the peer looks otherwise than the class registered for it" % name)


def _member(name, cls, content):
    # type: (str, Any, tuple[Any, ...]) -> object
    label, plain, _ = content
    if type(label) is type(u"") and label in cls.__members__:
        return cls.__members__[label]
    if type(plain) in INTEGERS and issubclass(cls, sys.modules["enum"].Flag):
        return cls(plain)
    raise NotTransferable("the class registered for %s has no such member" % name)


def _without_class(name, kind, content):
    # type: (str, Any, Any) -> object
    if kind == "namedtuple":
        return _tuple(content)
    if kind == "enum":
        _, plain, has_base = _tuple(content)
        if has_base is True:
            return plain
    raise NotTransferable("an object of %s cannot cross: its class is not registered" % name)
