"""A target that lies: speaks the frames of the wire, and then says what the argument names.

Run as `python liar.py FOLDER TOKEN LIE` behind the token of the start line; it uses the wire's sources only. LIE is the
name of one of `LIES`, which must end the link, or ``claims`` or ``oddities``, of which it answers one to each call, or
``twice``, when it gives each call two different answers.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable
from itertools import count
from typing import Any

if __name__ == "__main__":
    # The wire alone, without the package around it: what starts for each lie must be there at once.
    sys.path.insert(0, sys.argv[1])
    package = type(sys)("crl.link")
    package.__path__ = [os.path.join(sys.argv[1], "crl", "link")]
    sys.modules["crl.link"] = package

from crl.link.wire import frames, messages, values
from crl.link.wire.tags import COUNT, DICTS, INTS, MIXED, NONES, PLAIN, RAGGED, RECORDS, ROWS, SHORT_INTS, TEXTS

MAX = 0xFFFFFFFF
HUGE = 1 << 62


def frame(
    seq: int, message: bytes, flags: int = frames.WHOLE, number: int = 1, ack: int = 1, kind: int = frames.DATA
) -> bytes:
    """A frame."""
    return frames.encode(kind, flags, 1, number, seq, ack, message)


def pack(kind: int, number: int, body: bytes = b"") -> bytes:
    """A whole message in a frame with the first number."""
    return frame(1, messages.pack(kind, number, body))


def result(body: bytes) -> bytes:
    """An answer to the first call."""
    return pack(messages.RESULT, 1, body)


def long(tag: bytes, count: int, mode: bytes, body: bytes = b"") -> bytes:
    """A container that says what it likes of itself."""
    return tag + COUNT.pack(count) + mode + body


def items(count: int, mode: bytes, body: bytes = b"") -> bytes:
    """The same inside another one."""
    return long(b"", count, mode, body)


def record(name: str, plain: Any) -> bytes:
    """A record of any name with any content."""
    content = plain if isinstance(plain, bytes) else values.encode(plain)
    return b"r" + COUNT.pack(len(name)) + name.encode() + content


def error(
    module: Any,
    name: Any,
    args: Any = (),
    text: Any = "the lie",
    trace: Any = "a traceback\n",
    state: Any = None,
    notes: Any = (),
    members: Any = (),
) -> bytes:
    """The description of an exception."""
    attributes = {} if state is None else state
    described = (module, name, values.encode(args), text, trace, values.encode(attributes), list(notes), list(members))
    return values.encode(described)


def group(depth: int) -> bytes:
    """A group in a group in a group."""
    body = error("builtins", "ValueError", ("leaf",))
    for _ in range(depth):
        body = error("builtins", "ExceptionGroup", ("group",), members=[body])
    return body


OK = values.encode(None)
RANGE = record("range", (0, HUGE, 1))
PICKLE = b"cos\nabort\n(tR."
EMPTY = items(0, PLAIN)
CLOSED = frame(1, messages.pack(messages.CLOSE, 0))
ONE_HASH = values.encode([number * ((1 << 61) - 1) for number in range(20_000)])[1:]
# What breaks the protocol in the frames and messages.
FRAMES = {
    "an ack of what was never sent": frame(1, b"x", ack=999),
    "a nak of what was never sent": frame(0, struct.pack(">Q", 999), 0, 0, kind=frames.NAK) + pack(99, 1),
    "a middle without a beginning": frame(1, b"x", 0),
    "a reply to a call never made": pack(messages.RESULT, 4711, OK),
    "an error for a call never made": pack(messages.ERROR, HUGE, error("builtins", "ValueError")),
    "a reply to a stream": pack(messages.EXIT, 4711, struct.pack(">?q", 1, 0)),
    "credit for a stream never opened": pack(messages.CREDIT_TO, 4711, messages.CREDIT.pack(1)),
    "an unknown kind": pack(99, 1),
    "a kind of the controller's": pack(messages.CALL, 1, values.encode(("evaluate", "1", None))),
    "a piece of program": pack(messages.LOAD, 1, values.encode(("_crl.remote.x", "import os; os.abort()"))),
    "a question for code": pack(messages.WANT, 1, b"os"),
    "a call of a function never passed": pack(messages.ASK, 1, values.encode((1, (), {}, {}))),
    "functions let go that were never passed": pack(messages.GONE, 0, values.encode([(1, 1)])),
    "an order to close": pack(messages.CLOSE, 0),
    "output of no descriptor": pack(messages.OUTPUT, 77, b"x"),
    "a message too short": frame(1, b"\x10"),
    "an empty message": frame(1, b""),
    "an answer of the wrong form": pack(messages.KEPT, 1, values.encode((1, 2))),
    "an answer kept as a list": pack(messages.KEPT, 1, values.encode([True, 1, False])),
    "a refusal that is no text": pack(messages.REFUSED, 1, values.encode({"a": 1})),
    "credit of the wrong size": pack(messages.CREDIT_TO, 1, b"x"),
    "an exit of the wrong size": pack(messages.EXIT, 1, b"x"),
}
# What no value may be.
BODIES = {
    "nothing at all": b"",
    "an unknown tag": b"?",
    "every byte": bytes(range(256)),
    "code": values.encode(values.Expression("__import__('os').abort()")),
    "code in a dict": values.encode({"a": [values.Expression("__import__('os').abort()")]}),
    "a pickle": values.encode([values.Pickled(PICKLE)]),
    "a bare pickle": PICKLE,
    "a pickle of protocol 5": b"\x80\x05cos\nabort\n)R.",
    "marshalled code": b"\xe3\x00\x00\x00\x00",
    "a length that lies": long(b"l", MAX, PLAIN),
    "a number of numbers that lies": long(b"l", MAX, INTS),
    "a text that lies": b"s" + COUNT.pack(MAX) + b"x",
    "a short text that lies": b"u\xffx",
    "bytes that lie": b"b" + COUNT.pack(MAX),
    "digits that lie": b"I" + COUNT.pack(MAX) + b"f",
    "digits that are none": b"I" + COUNT.pack(4) + b"0x g",
    "a table of nothing": long(b"l", MAX, ROWS, b"t\0"),
    "a wide table": long(b"l", 1, ROWS, b"l\xff" + items(1, PLAIN, b"N") * 255),
    "a table of dicts as rows": long(b"l", 1, ROWS, b"m\x01" + items(1, PLAIN, b"N")),
    "columns of different lengths": long(b"l", 2, ROWS, b"t\x02" + items(2, PLAIN, b"NN") + items(1, PLAIN, b"N")),
    "texts that are fewer": long(b"l", 9, TEXTS, COUNT.pack(9) + bytes(9)),
    "records without keys": long(b"l", 1 << 24, DICTS, items(0, PLAIN)),
    "records of many keys": long(b"l", 9, DICTS, items(99, NONES, bytes(99))),
    "lengths below nothing": long(b"l", 2, RAGGED, b"l" + items(2, SHORT_INTS, struct.pack("<2i", -1, 1)) + EMPTY),
    "lengths that are texts": long(b"l", 1, RAGGED, b"l" + items(1, PLAIN, b"u\x01a") + EMPTY),
    "lengths that lie": long(b"l", 1, RAGGED, b"l" + items(1, PLAIN, b"i" + struct.pack("<q", HUGE)) + EMPTY),
    "a mixture of nothing": long(b"l", 8, MIXED, b"\0" + bytes(8)),
    "a mixture that lacks": long(b"l", 2, MIXED, b"\x02\0\0" + items(1, PLAIN, b"N") + items(1, PLAIN, b"T")),
    "a mixture of what is not there": long(b"l", 1, MIXED, b"\x01\x07" + items(1, PLAIN, b"N")),
    "an unhashable key": b"M\x02L\0N",
    "an unhashable member": long(b"e", 1, PLAIN, b"L\0"),
    "half a dict": b"M\x01N",
    "more keys than values": b"m" + items(2, PLAIN, b"NT") + items(1, PLAIN, b"N"),
    "a depth that kills": b"L\x01" * 30_000,
    "a depth of dicts": b"M\x02N" * 30_000,
    "a depth of tables": long(b"l", 1, ROWS, b"l\x01") + items(1, ROWS, b"l\x01") * 30_000,
    "a depth of mixtures": b"l" + items(1, MIXED, b"\x01\0") * 30_000,
    "lengths that are decimals": long(b"l", 1, RAGGED, b"l" + items(1, PLAIN, record("decimal.Decimal", "0")) + EMPTY),
    "a depth of records": b"r\x05\0\0\0range" * 30_000,
    "a width that kills": long(b"l", 20_000_000, NONES, bytes(20_000_000)),
    "a width of empty lists": long(b"l", 4_000_000, PLAIN, b"L\0" * 4_000_000),
    "bytes behind the value": OK + OK,
    "keys of one hash": b"m" + ONE_HASH + items(20_000, NONES, bytes(20_000)),
    "members of one hash": b"e" + ONE_HASH,
    "a record of no table": record("os.system", "true"),
    "a record with an empty name": record("", "true"),
    "a record in a module's name": record("subprocess.Popen", (["true"],)),
    "records of no table": long(b"l", 1, RECORDS, COUNT.pack(9) + b"os.system" + items(1, PLAIN, b"u\x04true")),
    "a range unfolded by a deque": record("collections.deque", b"U\x02" + RANGE + b"N"),
    "a range unfolded by an ordered dict": record("collections.OrderedDict", b"L\x01" + RANGE),
    "a range unfolded by a counter": record("collections.Counter", RANGE),
    "a range unfolded by a delta": record("datetime.timedelta", RANGE),
    "a range unfolded by a user": record("pwd.struct_passwd", RANGE),
    "a range unfolded by a stat": record("os.stat_result", b"U\x02" + RANGE + b"M\0"),
    "a range unfolded by a process": record("subprocess.CompletedProcess", RANGE),
    "a fraction in exponent form": record("fractions.Fraction", ("1e999999999", 1)),
    "a fraction of a text": record("fractions.Fraction", ("1e999999999",)),
    "a fraction of nothing": record("fractions.Fraction", (1, 0)),
    "a fraction to reduce for ever": record("fractions.Fraction", (3**200_000, 2**300_000)),
    "a pickled date": record("datetime.date", (b"\x07\xe8\x02\xff",)),
    "a pickled time": record("datetime.datetime", (b"\x07\xe8\x02\xff\0\0\0\0\0\0", None)),
    "a date beyond the calendar": record("datetime.date", (HUGE, 1, 1)),
    "a delta beyond all time": record("datetime.timedelta", (HUGE, 0, 0)),
    "a zone beyond a day": record("datetime.timezone", (9, 0, 0)),
    "a decimal that is none": record("decimal.Decimal", "1_0e"),
    "a decimal of a list": record("decimal.Decimal", [0, [1], "N"]),
    "a signalling decimal as a key": b"M\x02" + record("decimal.Decimal", "sNaN") + b"N",
    "a range of texts": record("range", ("0", "9")),
    "a range without a step": record("range", (0, 1, 0)),
    "a path of bytes": record("pathlib.PurePosixPath", b"b\x01\0\0\0a"),
    "a UUID that is none": record("uuid.UUID", "x" * 32),
    "an address that is none": record("ipaddress.IPv4Address", "999.1.1.1"),
    "an address as a number": record("ipaddress.IPv4Address", HUGE),
    "an object without a kind": record("=os.system", "true"),
    "an object as a namedtuple of a range": record("=a.B", b"U\x02u\x0anamedtuple" + RANGE),
    "an unfinished surrogate": b"u\x03\xed\xa0x",
}
# What no description of an exception may be.
ERRORS = {
    "an error that is none": values.encode(["x"]),
    "an error of old": values.encode(("builtins", "ValueError", OK, "t", "t", OK)),
    "an error with arguments that are none": values.encode(("builtins", "ValueError", b"junk", "t", "t", b"?", [], [])),
    "an error with a list of arguments": error("builtins", "ValueError", []),
    "an error with attributes that are a list": error("builtins", "ValueError", state=[]),
    "an error whose module is a number": error(1, "ValueError"),
    "an error whose class is a list": error("builtins", ["ValueError"]),
    "an error without a text": error("builtins", "ValueError", text=None),
    "an error whose traceback is bytes": error("builtins", "ValueError", trace=b"t"),
    "an error with notes that are numbers": error("builtins", "ValueError", notes=[1]),
    "an error with notes that are a text": values.encode(("a", "b", OK, "t", "t", OK, "notes", [])),
    "a group whose members are texts": error("builtins", "ExceptionGroup", ("g",), members=["x"]),
    "a group whose members are none": error("builtins", "ExceptionGroup", ("g",), members=[b"?"]),
    "a group that is a pickle": error("builtins", "ExceptionGroup", ("g",), members=[PICKLE]),
    "a group too deep": group(1000),
    "a group too wide": error("builtins", "ExceptionGroup", ("g",), members=[error("builtins", "KeyError")] * 5000),
    "code in the arguments": values.encode(
        ("builtins", "ValueError", values.encode((values.Expression("1"),)), "t", "t", values.encode({}), [], [])
    ),
}
LIES: dict[str, bytes] = {
    **FRAMES,
    **{name: result(body) for name, body in BODIES.items() if len(body) < 60_000},
    **{name: pack(messages.ERROR, 1, body) for name, body in ERRORS.items() if len(body) < 60_000},
}

# The same for what does not end by itself, piece by piece.
ENDLESS: dict[str, Callable[[int], bytes]] = {
    "an endless message": lambda seq: frame(seq, bytes(200_000), frames.FIRST if seq == 1 else 0),
    "endless beginnings": lambda seq: frame(seq, b"", frames.FIRST, number=seq),
}

# What would decide on a test if it were raised here, under the names that test frameworks know.
DECIDING = {
    "unittest": ["SkipTest", "case.SkipTest"],
    "unittest.case": ["SkipTest", "_ShouldStop", "_UnexpectedSuccess"],
    "robot.api": ["PassExecution", "SkipExecution", "Failure", "FatalError"],
    "robot.api.exceptions": ["SkipExecution", "ContinuableFailure", "FatalError", "Error", "Failure"],
    "robot.errors": ["PassExecution", "ExecutionPassed", "SkipExecution", "ReturnFromKeyword", "ContinueLoop"],
    "robot.libraries.BuiltIn": ["PassExecution", "RobotNotRunningError"],
    "pytest": ["skip", "skip.Exception", "exit.Exception", "xfail.Exception", "fail.Exception", "PytestWarning"],
    "_pytest.outcomes": ["Skipped", "Exit", "XFailed", "Failed", "OutcomeException"],
    "_pytest.runner": ["Skipped", "Exit"],
    "nose": ["SkipTest"],
    "nose.plugins.skip": ["SkipTest"],
    "twisted.trial.unittest": ["SkipTest"],
    "testtools": ["TestSkipped"],
    "doctest": ["UnexpectedException", "DocTestFailure"],
    "bdb": ["BdbQuit"],
    "asyncio": ["CancelledError", "TimeoutError", "InvalidStateError"],
    "asyncio.exceptions": ["CancelledError", "IncompleteReadError"],
    "concurrent.futures": ["CancelledError", "BrokenExecutor", "TimeoutError"],
    "concurrent.futures._base": ["CancelledError", "Error"],
    "paramiko": ["SSHException", "AuthenticationException"],
    "paramiko.ssh_exception": ["BadHostKeyException"],
    "pexpect": ["EOF", "TIMEOUT"],
    "pexpect.exceptions": ["ExceptionPexpect", "EOF"],
    "crl.link": ["LinkLost", "CallTimeout", "ProtocolViolation", "RemoteError"],
    "crl.errors": ["CrlError", "UsageError", "InternalError"],
    "crl.interactivesessions.runnerexceptions": ["RemoteTimeout", "RunnerTerminalSessionBroken"],
    "builtins": ["KeyboardInterrupt", "SystemExit", "GeneratorExit", "BaseException", "BaseExceptionGroup", "eval"],
    "exceptions": ["SystemExit", "KeyboardInterrupt"],
    "": ["", "ValueError", "SkipTest"],
    "__main__": ["SkipTest", "Anything"],
    "os": ["system"],
    "sys": ["exit"],
}
HOSTILE_STATE = {
    "ROBOT_SKIP_EXECUTION": True,
    "ROBOT_EXIT_ON_FAILURE": True,
    "ROBOT_CONTINUE_ON_FAILURE": True,
    "__class__": "unittest.SkipTest",
    "__traceback__": None,
    "__cause__": 1,
    "__context__": 2,
    "__suppress_context__": True,
    "__notes__": 3,
    "__dict__": {"a": 1},
    "__str__": "x",
    "__reduce__": ["os.system", "true"],
    "add_note": 4,
    "with_traceback": 5,
    "args": [6],
    "_pytest_skip": True,
    "allow_module_level": True,
    "returncode": 0,
}
SKIP = error("unittest", "SkipTest", ("skip me",))
# Every one of these must be an error of the test that asked.
CLAIMS = {
    **{
        f"{module}.{name}": error(module, name, ("skip me",), "skip me", state=HOSTILE_STATE)
        for module, names in DECIDING.items()
        for name in names
    },
    "a hostile state": error("builtins", "ValueError", ("x",), state=HOSTILE_STATE),
    "a hostile state of an OSError": error("builtins", "OSError", (2, "x", "f"), state=HOSTILE_STATE),
    "arguments of other types": error("builtins", "UnicodeDecodeError", (1, [2], {3: 4})),
    "arguments without end": error("builtins", "OSError", tuple(range(1000))),
    "a syntax error of anywhere": error("builtins", "SyntaxError", ("x", ("/etc/passwd", 1, 1, "x", 2, 2))),
    "a note that is long": error("builtins", "ValueError", ("x",), notes=["n" * 100_000] * 10),
    "surrogates": error("builtins", "ValueError", ("\ud800\udcff",), "\ud800", "\udc80\n", notes=["\ud8ff"]),
    "a class name with an accent": error("builtins", "ValueErr\u00f6r\0", ("x",)),
    "an object nobody knows": values.encode(
        ("builtins", "ValueError", record("=os.system", ("dataclass", {})), "t", "t", values.encode({}), [], [])
    ),
    "a group of skips": error("builtins", "ExceptionGroup", ("skips",), members=[SKIP, SKIP]),
    "a group of groups of skips": error(
        "builtins", "ExceptionGroup", ("g",), members=[error("builtins", "ExceptionGroup", ("g",), members=[SKIP])]
    ),
    "a group of exits": error("builtins", "ExceptionGroup", ("g",), members=[error("builtins", "SystemExit", (0,))]),
    "a group of everything": error("builtins", "BaseExceptionGroup", ("g",), members=[SKIP]),
    "a group of nothing": error("builtins", "ExceptionGroup", ("g", [])),
    "an assertion": error("builtins", "AssertionError", ("*HTML*<script>",)),
}
# Values that are odd, and no lie: each arrives, or is an error of its call alone.
ODDITIES = {
    "a huge int": values.encode(10**1_000_000),
    "a decimal without end": record("decimal.Decimal", "1e999999999999999999"),
    "a decimal of many digits": record("decimal.Decimal", "9" * 1_000_000),
    "a decimal that is no number": record("decimal.Decimal", "sNaN123"),
    "a range of huge numbers": record("range", (0, 2**9999, 3)),
    "a path with a zero": record("pathlib.PurePosixPath", "/a\0b"),
    "a path of surrogates": record("pathlib.PureWindowsPath", "\ud800:\\.."),
    "a text of surrogates": values.encode("\ud800\udc00\udfff"),
    "a pattern that backtracks": values.encode("(a+)+$" + "a" * 40),
    "escapes": values.encode("\x1b]0;title\x07\x1b[2J\r\n*HTML*<b>"),
    "dunder keys": values.encode({"__class__": "x", "__reduce__": ["os.system", "true"]}),
    "a struct of odd items": record("time.struct_time", ("a", None, (), 1.5, b"", {}, [], -1, HUGE)),
    "a stat of odd items": record("os.stat_result", (("x",) * 10, {"st_mtime": [], "st_evil": 1})),
    "a process that never was": record("subprocess.CompletedProcess", ({"a": 1}, "0", [], {})),
    "an object nobody registered": record("=no.such.Class", ("dataclass", {"a": 1})),
    "a member nobody registered": record("=os.system", ("enum", ("A", 1, False))),
    "a namedtuple nobody registered": record("=unittest.SkipTest", ("namedtuple", ("a", 1))),
    "a NaN as a key": values.encode({float("nan"): 1}),
    "many numbers": values.encode(list(range(100_000))),
}


def main() -> None:
    """Greet as the remote program does, wait for the first call, and lie."""
    lie = sys.argv[3]
    facts = {"python": (3, 11, 0), "executable": "", "pid": os.getpid(), "uid": 0, "codec": values.VERSION}
    os.write(1, (sys.argv[2] + ":3.11:;").encode())
    seen = b""
    while b"\n.\n" not in seen:
        seen += os.read(0, 65536)
    os.write(1, frames.encode(frames.HELLO, 0, 1, 0, 0, 1, values.encode(facts)))
    decoder = frames.Decoder()
    if lie in LIES:
        # A heartbeat may come before it: then nothing is asked yet that the lie could answer.
        await_message(decoder, messages.CALL)
        write(LIES[lie])
    elif lie in ENDLESS:
        await_message(decoder, messages.CALL)
        for seq in count(1):
            write(ENDLESS[lie](seq))
    elif lie == "claims":
        answer_each([(messages.ERROR, body) for body in CLAIMS.values()])
    elif lie == "oddities":
        answer_each([(messages.RESULT, body) for body in ODDITIES.values()])
    elif lie == "twice":
        answer_each([(messages.RESULT, values.encode(number)) for number in range(20)], repeat=True)
    else:
        raise ValueError(f"no lie is called {lie!r}")
    await_message(decoder)
    write(frames.encode(frames.BYE, 0, 1, 0, 0, 1, b""))


def await_message(decoder: frames.Decoder, *kinds: int) -> None:
    """Read until a message of some kind has come, or the controller wants to close."""
    wanted = {bytes([kind]) for kind in (*kinds, messages.CLOSE)}
    came: list[frames.Frame] = []
    while not any(one.kind == frames.DATA and one.payload[:1] in wanted for one in came):
        came = decoder.feed(os.read(0, 65536) or CLOSED)


def answer_each(answers: list[tuple[int, bytes]], *, repeat: bool = False) -> None:
    """One answer to each call, in order; `repeat`: and then those to earlier calls again, with other values."""
    decoder = frames.Decoder()
    asked = answered = seq = 0
    while answered < len(answers):
        for came in decoder.feed(os.read(0, 65536)):
            asked += came.kind == frames.DATA and came.payload[:1] == bytes([messages.CALL])
        while answered < min(asked, len(answers)):
            kind, body = answers[answered]
            answered += 1
            seq = say(seq, asked, messages.pack(kind, answered, body))
            for number in range(1, answered + 1 if repeat else 0):
                seq = say(seq, asked, messages.pack(kind, number, values.encode("again")))


def say(seq: int, asked: int, message: bytes) -> int:
    """One message in as many frames as it takes; returns the number of the last one."""
    number = seq + 1
    for start in range(0, len(message), 65536):
        flags = (start == 0) * frames.FIRST | (start + 65536 >= len(message)) * frames.LAST
        seq += 1
        write(frame(seq, message[start : start + 65536], flags, number, ack=asked + 1))
    return seq


def write(data: bytes) -> None:
    """All of it."""
    left = memoryview(data)
    while left:
        left = left[os.write(1, left) :]


if struct.calcsize("P") and __name__ == "__main__":
    main()
