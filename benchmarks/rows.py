"""What is promised: the rows, each with its bounds and how they are judged.

It knows the tasks' names and judges figures; it measures nothing. A bound is met, missed, or cannot be judged, and then
the reason is told.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.figures import Figures

__all__ = ["ROWS", "Bound", "Row", "Verdict"]

CRL, PTY, PIPE = "crl", "floor-pty", "floor-pipe"
PEERS = ("execnet", "mitogen", "mitogen-plain", "rpyc", "pyro5", "paramiko", "asyncssh", "crl-1.3.1")
TRIP = 0.05
SUSPICION = 5.0
MB = 1e6
WINDOW = 8 * 2**20
FLEET = 200
AT_ONCE = 10
HAND = "by hand"


@dataclass(frozen=True)
class Verdict:
    """What a bound comes to.

    Attributes:
        shown: The figure that is judged, or why there is none.
        met: Whether it keeps the bound; None when it cannot be judged.
    """

    shown: str
    met: bool | None


NO_ROUND = Verdict("not in the same rounds", None)
Judge = Callable[[Figures], Verdict]


@dataclass(frozen=True)
class Bound:
    """One promise.

    Attributes:
        text: What is promised.
        judge: Whether it is kept.
    """

    text: str
    judge: Judge


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        issue: 3 is the session and its calls, 4 the services, 5 the published names, recovery and fleets, 6 and 7 X2Go.
        title: What is measured.
        figure: As `Figures.series` takes it.
        unit: ``us``, ``ms``, ``s``, ``MB/s``, ``/s``, ``MB`` or ``1``.
        bounds: What is promised.
        larger: Whether more is better.
    """

    issue: int
    title: str
    figure: str
    unit: str
    bounds: tuple[Bound, ...] = ()
    larger: bool = False


def _missing(figures: Figures, *wanted: tuple[str, str]) -> Verdict:
    for figure, who in wanted:
        if figures.median(figure, who) is None:
            return Verdict(f"{who}: {figures.why(figure, who)}", None)
    return NO_ROUND


def _ratio(figure: str, base: str, limit: float, *, who: str = CRL, other: str = "", least: bool = False) -> Bound:
    """At most, or at least, so many times another's figure of the same round."""
    one, two = (figure, who), (other or figure, base)

    def judge(figures: Figures) -> Verdict:
        found = figures.paired(one, two, operator.truediv)
        if found is None:
            return _missing(figures, one, two)
        return Verdict(f"{found:.2f} ×", found >= limit if least else found <= limit)

    return Bound(f"{'≥' if least else '≤'} {limit:g} × {base}", judge)


def _named(name: str, bound: Bound) -> Bound:
    return Bound(f"{name}: {bound.text}", bound.judge)


def _more(figure: str, base: tuple[str, str], limit: float, scale: float, unit: str, *, text: str = "") -> Bound:
    """At most so much more than another figure of the same round."""

    def judge(figures: Figures) -> Verdict:
        found = figures.paired((figure, CRL), base, operator.sub)
        if found is None:
            return _missing(figures, (figure, CRL), base)
        return Verdict(f"{found * scale:+.3g} {unit}", found <= limit)

    return Bound(text or f"≤ {base[1]} + {limit * scale:g} {unit}", judge)


def _value(figure: str, limit: float, scale: float, unit: str, text: str = "", who: str = CRL) -> Bound:
    """At most so much."""

    def judge(figures: Figures) -> Verdict:
        found = figures.median(figure, who)
        if found is None:
            return _missing(figures, (figure, who))
        return Verdict(f"{found * scale:.3g} {unit}".strip(), found <= limit)

    return Bound(text or f"≤ {limit * scale:g} {unit}", judge)


def _ahead(figure: str, peers: tuple[str, ...], text: str, *, larger: bool) -> Bound:
    """Better than each of some peers in the same rounds."""

    def judge(figures: Figures) -> Verdict:
        measured = [who for who in peers if figures.median(figure, who) is not None]
        if figures.median(figure, CRL) is None:
            return _missing(figures, (figure, CRL))
        if not measured:
            return _missing(figures, *((figure, who) for who in peers))
        ratios = {who: figures.paired((figure, CRL), (figure, who), operator.truediv) or 0.0 for who in measured}
        better = [who for who in measured if (ratios[who] < 1.0) == larger]
        if better:
            return Verdict("behind " + ", ".join(f"{who} ({ratios[who]:.2f} ×)" for who in better), met=False)
        return Verdict(f"ahead of all {len(measured)}", met=True)

    return Bound(text, judge)


def _connect_trips(figures: Figures) -> Verdict:
    """Round trips that a connection and the first call take beyond ssh's own."""
    wanted = (("slow-reach", CRL), ("reach", CRL), ("slow-ssh-true", "openssh"), ("ssh-true", "openssh"))
    medians = [figures.median(*one) for one in wanted]
    if any(one is None for one in medians):
        return _missing(figures, *wanted)
    slow, fast, ssh_slow, ssh_fast = (one or 0.0 for one in medians)
    trips = ((slow - fast) - (ssh_slow - ssh_fast)) / TRIP
    return Verdict(f"ssh's {(ssh_slow - ssh_fast) / TRIP:.1f} {trips:+.1f}", trips <= 4)


def _call_trips(figures: Figures) -> Verdict:
    found = figures.median("slow-call", CRL)
    if found is None:
        return _missing(figures, ("slow-call", CRL))
    return Verdict(f"{found / TRIP:.2f}", found < 1.5 * TRIP)


def _alone(figures: Figures) -> Verdict:
    """Neither a file nor a second interpreter."""
    words, good = [], True
    for name in ("interpreters", "files"):
        ours, bare = (figures.median(f"footprint:{name}", who) for who in (CRL, "openssh"))
        if ours is None or bare is None:
            return _missing(figures, ("footprint", CRL), ("footprint", "openssh"))
        words.append(f"{ours - bare:+.0f} {name}")
        good = good and ours <= bare
    return Verdict(", ".join(words), good)


def _resumed(figures: Figures) -> Verdict:
    found = figures.median("cut:resumed", CRL)
    if found is None:
        return _missing(figures, ("cut", CRL))
    return Verdict("the session goes on" if found else "a new session; objects of the old one are gone", bool(found))


def _all_good(figures: Figures) -> Verdict:
    """All sessions that were started at once."""
    found = figures.median("x2go-at-once:good", CRL)
    if found is None:
        return _missing(figures, ("x2go-at-once", CRL))
    return Verdict(f"{found:.0f} of {AT_ONCE}", found >= AT_ONCE)


def _files(name: str, floor: str, limit: float, title: str) -> tuple[Row, ...]:
    """Rows of one size both ways."""
    rows = []
    for way in ("push", "pull"):
        key = f"{name}{way}"
        bounds = [
            _ratio(key, floor, limit, least=True),
            _named("process pipes", _ratio(f"{name}pipe-{way}", floor, limit, other=key, least=True)),
        ]
        rows.append(Row(4, f"{title}, {way}", key, "MB/s", tuple(bounds), larger=True))
    return tuple(rows)


def _during() -> tuple[Row, ...]:
    rows = []
    for kind, what in (("", "file"), ("pipe-", "process pipe")):
        for way in ("push", "pull"):
            key = f"during-{kind}{way}"
            idle = (f"{key}:idle", CRL)
            bounds = (
                _more(f"{key}:median", idle, 0.005, 1e3, "ms", text="median ≤ idle + 5 ms"),
                _more(f"{key}:p95", idle, 0.010, 1e3, "ms", text="p95 ≤ idle + 10 ms"),
                _value(f"slow-{key}:median", 2 * TRIP, 1 / TRIP, "trips", "on the 50 ms link ≤ 2 round trips"),
            )
            rows.append(Row(4, f"a small call during a {way} ({what})", f"{key}:median", "ms", bounds))
    return tuple(rows)


def _growth() -> tuple[Row, ...]:
    rows = []
    for kind, what in (("", "file"), ("pipe-", "process pipe")):
        for way in ("push", "pull"):
            key = f"growth-{kind}{way}"
            bounds = (
                _value(f"{key}:controller", 12 * MB, 1 / MB, "MB", "controller ≤ 12 MB"),
                _value(f"{key}:target", 4 * MB + WINDOW, 1 / MB, "MB", "target ≤ 4 MB + window of 8 MiB"),
            )
            rows.append(Row(4, f"memory during a {way} ({what})", f"{key}:controller", "MB", bounds))
    return tuple(rows)


def _beside_ssh(figures: Figures) -> Verdict:
    """How many times one of them ten first commands take, and how many times ``ssh host true`` takes itself."""
    ours = figures.paired(("first:many", CRL), ("first:one", CRL), operator.truediv)
    floor = figures.paired(("first:many", "openssh"), ("first:one", "openssh"), operator.truediv)
    if ours is None or floor is None:
        return _missing(figures, ("first:many", CRL), ("first:many", "openssh"))
    return Verdict(f"{ours:.2f} × beside {floor:.2f} ×", ours <= 1.1 * floor)


def _codec(kind: str, title: str, limit: float) -> Row:
    ours = f"codec-{kind}:ours"
    bound = _ratio(ours, CRL, limit, other=f"codec-{kind}:pickle")
    return Row(3, f"encode and decode {title}", ours, "ms", (Bound(f"≤ {limit:g} × pickle 5", bound.judge),))


ROWS = (
    Row(3, "a small call, median", "call", "us", (
        _ratio("call", PTY, 1.3),
        _ahead("call", ("execnet", "pyro5"), "faster than execnet and Pyro5", larger=False),
    )),
    Row(3, "the same as a user writes it, `target.python.call`", "proxy-call", "us"),
    Row(3, "a small call over ssh→ssh", "hop-call", "us", (_more("hop-call", ("hop-call", PTY), 25e-6, 1e6, "µs"),)),
    Row(3, "a small call over ssh→sudo", "sudo-call", "us", (
        _more("sudo-call", ("sudo-call", PTY), 25e-6, 1e6, "µs"),
    )),
    Row(3, "pipelined futures", "futures", "/s", (
        _ratio("futures", PTY, 0.4, least=True),
        _ahead("futures", PEERS, "≥ the best peer", larger=True),
    ), larger=True),
    Row(3, "16 threads", "threads", "/s", (
        _ahead("threads", PEERS, "≥ the best peer", larger=True),
    ), larger=True),
    Row(3, "worst of 1,000 quick calls beside one that sleeps 2 s", "beside:rest", "ms", (
        _more("beside:rest", ("beside:idle", CRL), 2e-3, 1e3, "ms", text="≤ idle + 2 ms"),
    )),
    Row(3, "worst of 1,000 quick calls beside one that computes", "beside:spin", "ms", (
        _more("beside:spin", ("beside:idle", CRL), 5e-3, 1e3, "ms", text="≤ idle + 5 ms"),
    )),
    Row(3, "spawn to first result", "connect", "ms", (
        Bound("≤ 1.15 × `ssh host python3 -c 1`", _ratio("connect", "openssh", 1.15, other="ssh-python").judge),
        Bound("paramiko backend ≤ 1.2 × the plain paramiko loop",
              _ratio("connect", "paramiko", 1.2, who="crl-paramiko").judge),
    )),
    Row(3, "from a waiting prompt to the first result", "from-prompt", "ms", (
        _value("from-prompt", 0.025, 1e3, "ms"),
    )),
    Row(3, "50 ms link: connect, and a first call", "slow-reach", "ms", (
        Bound("ssh's own + 3 round trips, and 1 for the call", _connect_trips),
    )),
    Row(3, "50 ms link: the same with functions of the caller's sent before it", "slow-connect", "ms"),
    Row(3, "50 ms link: a small call", "slow-call", "ms", (Bound("1 round trip", _call_trips),)),
    Row(3, "next result after a killed ssh", "cut:seconds", "ms", (
        _more("cut:seconds", ("cut-ssh-true", "openssh"), 0.020, 1e3, "ms", text="≤ one cold login + 20 ms"),
        Bound("resumed", _resumed),
    )),
    Row(3, "next result after ssh was frozen", "frozen:seconds", "s", (
        _more("frozen:seconds", ("cut-ssh-true", "openssh"), SUSPICION + 0.020, 1.0, "s",
              text="≤ suspicion (5 s) + one cold login + 20 ms"),
    )),
    _codec("ints", "a list of 1e5 ints", 2.5),
    _codec("texts", "a dict of 1e4 str", 1.2),
    _codec("records", "1e4 equal records", 2.5),
    Row(3, "encode and decode a tiny value", "codec-tiny:ours", "us", (
        _more("codec-tiny:ours", ("codec-tiny:pickle", CRL), 3e-6, 1e6, "µs", text="≤ pickle 5 + 3 µs"),
    )),
    Row(3, "fetch a list of 1e5 ints", "fetch-ints", "ms"),
    Row(3, "fetch a dict of 1e4 str", "fetch-texts", "ms"),
    Row(3, "memory of the remote program", "footprint:rss", "MB", (
        _more("footprint:rss", ("footprint:rss", "openssh"), 5 * MB, 1 / MB, "MB", text="≤ bare interpreter + 5 MB"),
        Bound("no file, no second interpreter", _alone),
    )),
    Row(4, "file of 64 MiB, push", "push", "MB/s", (
        _named("terminal lane", _ratio("push", PTY, 0.85, least=True)),
        _named("after the lane change", _ratio("push", PIPE, 0.9, least=True)),
        _ahead("push", PEERS, "ahead of every peer but scp", larger=True),
        _named("process pipes", _ratio("pipe-push", PTY, 0.85, other="push", least=True)),
    ), larger=True),
    Row(4, "file of 64 MiB, pull", "pull", "MB/s", (
        _named("terminal lane", _ratio("pull", PTY, 0.85, least=True)),
        _named("after the lane change", _ratio("pull", PIPE, 0.85, least=True)),
        _ahead("pull", PEERS, "ahead of every peer but scp", larger=True),
        _named("process pipes", _ratio("pipe-pull", PTY, 0.85, other="pull", least=True)),
    ), larger=True),
    *_files("large-", PTY, 0.85, "file of 512 MiB"),
    *_during(),
    *_growth(),
    Row(4, "bytes value of 64 MiB as argument", "value-out", "MB/s", (_ratio("value-out", PTY, 0.8, least=True),),
        larger=True),
    Row(4, "bytes value of 64 MiB as result", "value-in", "MB/s", (_ratio("value-in", PTY, 0.8, least=True),),
        larger=True),
    *(
        Row(4, f"1,000 files of 1 KiB, {way}", f"tree:{way}", "s", (
            _ratio(f"tree:{way}", PIPE, 1.3),
            _ahead(f"tree:{way}", PEERS, "ahead of every peer but tar over ssh", larger=False),
        ))
        for way in ("push", "pull")
    ),
    Row(4, "`true` with output and status", "run", "ms", (_more("run", ("run", PTY), 0.0006, 1e3, "ms"),)),
    *_files("slow-", PIPE, 0.9, "50 ms link, 16 MiB"),
    *_files("lossy-", PIPE, 0.85, "50 ms link with 1 % loss, 16 MiB"),
    *_files("hop-", PTY, 0.85, "ssh→ssh, 16 MiB"),
    *_files("sudo-", PTY, 0.85, "ssh→sudo, 16 MiB"),
    Row(4, "tunnel, to the target", "tunnel:push", "MB/s", (
        Bound("≥ 0.75 × the lane", _ratio("tunnel:push", PTY, 0.75, other="push", least=True).judge),
    ), larger=True),
    Row(4, "tunnel, from the target", "tunnel:pull", "MB/s", (
        Bound("≥ 0.75 × the lane", _ratio("tunnel:pull", PTY, 0.75, other="pull", least=True).judge),
    ), larger=True),
    Row(4, "tunnel, one byte there and back", "tunnel:trip", "us", (
        _more("tunnel:trip", ("call", PTY), 60e-6, 1e6, "µs", text="≤ floor-pty's call + 60 µs"),
    )),
    Row(4, "200 targets opened at once", "fleet:seconds", "s", (
        Bound("paramiko backend ≤ 1.4 × asyncssh", _ratio("fleet:seconds", "asyncssh", 1.4, who="crl-paramiko").judge),
        _value("fleet:threads", FLEET + 8, 1, "threads", "paramiko backend ≤ its 200 threads + 8", "crl-paramiko"),
        _ratio("fleet:seconds", PIPE, 1.1),
    )),
    Row(5, "opening a terminal, to its first result", "connect", "ms", (
        _ratio("connect", "crl-1.3.1", 0.2),
    )),
    Row(5, "a command of RemoteRunner", "runner", "ms", (
        _more("runner", ("run-bash", PTY), 0.001, 1e3, "ms", text="≤ floor-pty with the same shell + 1 ms"),
    )),
    Row(5, "a folder of 500 files by RemoteRunner", "copied:runner", "s", (
        Bound("≤ 1.5 × the link's stream", _ratio("copied:runner", CRL, 1.5, other="copied:link").judge),
    )),
    Row(5, "the first command on 10 targets at once", "first:many", "s", (
        Bound("≤ 2 × one", _ratio("first:many", CRL, 2, other="first:one").judge),
        Bound("≤ 1.1 × what ssh itself takes more for ten", _beside_ssh),
    )),
    Row(5, "back after a reboot, from sshd's answer", "reboot:seconds", "s", (
        Bound("≤ 1.5 × a cold connect", _ratio("reboot:seconds", CRL, 1.5, other="reboot:cold").judge),
    )),
    Row(6, "X2Go: start to RUNNING", "x2go:start", "s", (_ratio("x2go:start", HAND, 1.15),)),
    Row(6, "X2Go: start to the application's window", "x2go:window", "s"),
    Row(6, "X2Go: list on a live connection", "x2go:list", "s", (
        _ratio("x2go:list", "pyhoca-cli", 0.2, other="x2go-list"),
    )),
    Row(6, "X2Go: list by a program, login and all", "x2go-list", "s"),
    *(Row(6, f"X2Go: {step}", f"x2go:{step}", "s", (_ratio(f"x2go:{step}", HAND, 1.1),))
      for step in ("suspend", "resume", "terminate")),
    Row(6, "X2Go: 10 sessions at once, until all run", "x2go-at-once:started", "s", (
        Bound("all RUNNING and verified", _all_good),
    )),
    Row(7, "X2Go: login on a broker, and its list", "broker", "s", (_ratio("broker", "curl", 1.2),)),
    Row(7, "X2Go: a printed page, until it is here", "x2go-print:client", "s", (
        Bound("≤ 1.2 × CUPS into a folder", _ratio("x2go-print:client", CRL, 1.2, other="x2go-print:cups").judge),
    )),
    Row(7, "X2Go: the same page by CUPS into a folder of the server", "x2go-print:cups", "s"),
    Row(7, "X2Go: the same page by cups-pdf", "x2go-print:cups-pdf", "s"),
    Row(7, "X2Go: a shared folder, until it is mounted", "x2go-share:mount", "s", (
        _value("x2go-share:mount", 0.5, 1, "s"),
    )),
    *(Row(7, f"X2Go: a shared folder, {what}", f"x2go-share:{figure}", unit, (
        Bound("≥ 0.7 × plain sshfs", _ratio(f"x2go-share:{figure}", HAND, 0.7, least=True).judge),
    ), larger=True)
      for figure, what, unit in (
          ("read", "64 MiB read", "MB/s"), ("write", "64 MiB written", "MB/s"), ("small", "400 small files", "/s"),
      )),
)  # fmt: skip
