"""Small functions that run in the target's Python, and how they are called.

Their source is sent with each call as one expression, so that nothing stays on the target, one call is one round trip,
and nothing is spliced into it but literals. It is written for Python 2.7 and 3. Answers are plain values; the callers
here check them, because the target is not trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from crl.x2go._host import Host
from crl.x2go.defaults import SERVER_PATH
from crl.x2go.state import AgentState
from crl.x2go.x2go_exceptions import X2GoControlSessionException

__all__ = [
    "AgentReport",
    "RemoteNotes",
    "ServerFacts",
    "SharingFacts",
    "await_agent_listening",
    "end_mount",
    "mount_log",
    "put_private",
    "read_notes",
    "server_facts",
    "sharing_facts",
    "tidy",
    "watch_agent",
]

PROGRAM = r'''
import os, pwd, shutil, signal, socket, subprocess, sys, time

clock = getattr(time, "monotonic", time.time)

def me():
    return pwd.getpwuid(os.getuid())

def session_dirs(sid):
    user = me().pw_name
    tails = (os.path.join(me().pw_dir, ".x2go"), "/tmp-inst/%s/.x2go-%s" % (user, user), "/tmp/.x2go-" + user)
    return [os.path.join(tail, "C-" + sid) for tail in tails]

def read(path, limit=4096):
    try:
        with open(path, "rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - limit))
            return stream.read().decode("utf-8", "replace")
    except (IOError, OSError):
        return u""

def first(sid, name, limit=4096):
    for folder in session_dirs(sid):
        text = read(os.path.join(folder, name), limit)
        if text:
            return text
    return u""

def alive(pid, sid):
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as stream:
            return sid.encode() in stream.read()
    except (IOError, OSError):
        return False

def which(word, path):
    if word.startswith("/"):
        places = [word]
    else:
        places = [os.path.join(folder, word) for folder in path.split(":") if folder]
    for place in places:
        if os.path.isfile(place) and os.access(place, os.X_OK):
            return place
    return None

def facts(programs, path):
    user = me()
    found = dict((word, which(word, path)) for word in programs)
    return {"user": user.pw_name, "home": user.pw_dir, "hostname": socket.gethostname(), "found": found,
            "home_there": os.path.isdir(user.pw_dir)}

def drop_sshd_pid(sid):
    for folder in session_dirs(sid):
        try:
            os.unlink(os.path.join(folder, "sshd.pid"))
        except OSError:
            pass

def report(sid, pid):
    state = first(sid, "state")
    return [state, alive(pid, sid)]

def of_process(pid, name):
    try:
        with open("/proc/%s/%s" % (pid, name), "rb") as stream:
            return stream.read()
    except (IOError, OSError):
        return b""

def parent_of(pid):
    return (of_process(pid, "stat").rpartition(b")")[2].split()[1:2] or [b""])[0].decode("ascii")

def is_swept(sid):
    """Whether the server's daemon, and no user, is about to suspend the session."""
    for entry in filter(str.isdigit, os.listdir("/proc")):
        words = of_process(entry, "cmdline")
        if b"x2gosuspend-session" in words and sid.encode() in words:
            above = parent_of(entry)
            while above not in ("", "0"):
                if b"x2gocleansessions" in of_process(above, "cmdline"):
                    return True
                above = parent_of(above)
    return False

def watch(sid, pid, wanted, seconds, interval):
    drop_sshd_pid(sid)
    end = clock() + seconds
    seen, swept = u"", False
    while True:
        now = report(sid, pid)
        if now[1] and now[0] != seen and now[0].startswith(u"SUSPEND"):
            swept = swept or is_swept(sid)
        seen = now[0]
        if seen.strip() in wanted or not now[1] or clock() >= end:
            return now + [swept]
        time.sleep(interval)

def listens(port):
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(path) as stream:
                sockets = [line.split() for line in stream]
        except (IOError, OSError):
            continue
        if any(words[3] == "0A" and words[1].endswith(":%04X" % port) for words in sockets):
            return True
    return False

def await_listening(sid, pid, port, seconds, interval):
    end = clock() + seconds
    while not listens(port):
        if not report(sid, pid)[1] or clock() >= end:
            return False
        time.sleep(interval)
    return True

def of_session(sid):
    lines = []
    mark = ("X2GO_SESSION=" + sid).encode()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            with open("/proc/%s/cmdline" % entry, "rb") as stream:
                words = stream.read()
            with open("/proc/%s/environ" % entry, "rb") as stream:
                theirs = mark in stream.read().split(b"\0")
            if theirs or sid.encode() in words:
                with open("/proc/%s/stat" % entry, "rb") as stream:
                    state = stream.read().rpartition(b")")[2].split()[0].decode("ascii")
                text = words[:300].replace(b"\0", b" ").decode("utf-8", "replace")
                lines.append([int(entry), u"%s %s" % (state, text)])
        except (IOError, OSError, IndexError):
            pass
    return [u"%d %s" % (number, text) for number, text in sorted(lines)[:50]]

def notes(sid):
    return [first(sid, "session.log"), first(sid, "cmdoutput"), of_session(sid)]

def put_private(sid, name, digits):
    folders = [me().pw_dir] if sid is None else [place for place in session_dirs(sid) if os.path.isdir(place)]
    if not folders:
        raise OSError("the folder of the session is gone")
    path = os.path.join(folders[0], name)
    fresh = path + ".new"
    try:
        os.unlink(fresh)
    except OSError:
        pass
    data = bytes(bytearray.fromhex(digits))
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    with os.fdopen(fd, "wb") as stream:
        stream.write(data)
    os.rename(fresh, path)
    return path

def remove_cookie(number, cookie):
    path = os.path.join(me().pw_dir, ".Xauthority")
    try:
        with open(path, "rb") as stream:
            if bytearray.fromhex(cookie) not in stream.read():
                return
    except (IOError, OSError):
        return
    host = socket.gethostname()
    names = ["%s/unix:%d" % (host, number), "%s:%d" % (host, number)]
    with open(os.devnull, "r+b") as null:
        subprocess.call(["xauth", "-f", path, "remove"] + names, stdin=null, stdout=null, stderr=null)

def processes_of(sid):
    found = []
    for entry in os.listdir("/proc"):
        try:
            with open("/proc/%s/cmdline" % entry, "rb") as stream:
                words = stream.read()
            named = b"x2goruncommand" in words or b"x2goagent" in words
            if entry.isdigit() and named and sid.encode() in words and int(entry) != os.getpid():
                found.append((int(entry), os.getpgid(int(entry)), b"x2goruncommand" in words))
        except (IOError, OSError):
            pass
    return found

def signal_one(send, number, signum):
    try:
        send(number, signum)
    except OSError:
        pass

def end_rest(sid, interval):
    for signum in (signal.SIGTERM, signal.SIGKILL):
        for process, group, leads in processes_of(sid):
            if leads and group != os.getpgrp():
                signal_one(os.killpg, group, signum)
            signal_one(os.kill, process, signum)
        end = clock() + 2
        while processes_of(sid) and clock() < end:
            time.sleep(interval)

def remove_socket(number, pid):
    lock = "/tmp/.X%d-lock" % number
    if read(lock).strip() == str(pid):
        for path in (lock, "/tmp/.X11-unix/X%d" % number):
            try:
                os.unlink(path)
            except OSError:
                pass

def unescaped(word):
    for code in ("040", "011", "012", "134"):
        word = word.replace("\\" + code, chr(int(code, 8)))
    return word

def mounts():
    with open("/proc/self/mounts") as stream:
        return [unescaped(line.split()[1]) for line in stream]

def sharing_facts(programs, path, asks):
    found = dict((word, which(word, path)) for word in programs)
    options = u""
    if asks and found["sshfs"]:
        with open(os.devnull, "r+b") as null:
            pipe = subprocess.PIPE
            process = subprocess.Popen([found["sshfs"], "-h"], stdin=null, stdout=pipe, stderr=subprocess.STDOUT)
        options = process.communicate()[0].decode("utf-8", "replace")
    known = [word for word in (u"passive", u"slave") if u"-o " + word in options]
    return {"found": found, "python": sys.executable, "option": known[0] if known else None, "mounts": mounts()}

def end_mount(place, path):
    if place in mounts():
        program = which("fusermount3", path) or which("fusermount", path)
        if program is None:
            return False
        with open(os.devnull, "r+b") as null:
            subprocess.call([program, "-u", "-z", place], stdin=null, stdout=null, stderr=null)
    while place.startswith("/tmp/.x2go-") and place not in mounts():
        try:
            if os.path.basename(place) == "spool" and os.listdir(place) == ["tmp"]:
                os.rmdir(os.path.join(place, "tmp"))  # x2goprint's, for jobs on their way into sessions
            os.rmdir(place)
        except OSError:
            if os.path.lexists(place):
                break
        place = os.path.dirname(place)
    link = os.path.join(me().pw_dir, "media")
    if os.path.islink(link) and not os.path.exists(link) and os.readlink(link).startswith("/tmp/.x2go-"):
        os.unlink(link)
    return place not in mounts()

def mount_log(sid):
    return first(sid, "sshfs-mounts.log")

def tidy(sid, pid, number, cookie, seconds, interval, patience):
    end = clock() + seconds
    late = clock() + patience
    while alive(pid, sid) and clock() < end:
        if clock() >= late:
            late = end
            try:
                os.kill(pid, signal.SIGTERM)
            except OSError:
                pass
        time.sleep(interval)
    if alive(pid, sid):
        return False
    end_rest(sid, interval)
    remove_socket(number, pid)
    link = os.path.join(me().pw_dir, ".x2go", "C-" + sid)
    if os.path.islink(link):
        os.unlink(link)
    for folder in session_dirs(sid):
        shutil.rmtree(folder, True)
        if not folder.startswith(me().pw_dir):
            try:
                os.rmdir(os.path.dirname(folder))
            except OSError:
                pass
    if cookie:
        remove_cookie(number, cookie)
    return True
'''

_CALL = (
    "(lambda ns: (eval(compile({program}, '<crl.x2go>', 'exec'), ns), ns[{function}](*{arguments}))[1])"
    "({{'__name__': 'crl_x2go'}})"
)
POLL_INTERVAL = 0.02
ANSWER_TIMEOUT = 20.0
OWN_END_TIME = 4.0


def _call(host: Host, function: str, *arguments: object, waits: float = 0.0) -> Any:
    """Run one function of `PROGRAM` on the target.

    Args:
        host: The target.
        function: Its name.
        arguments: Plain values.
        waits: How many seconds it may take there by design.
    """
    source = _CALL.format(program=ascii(PROGRAM), function=ascii(function), arguments=ascii(tuple(arguments)))
    return host.python.eval(source, waits + ANSWER_TIMEOUT)


def _strange(host: Host, what: object) -> X2GoControlSessionException:
    return X2GoControlSessionException(
        f"the host gave an answer that makes no sense: {what!r:.200}", host=host.name, doing="asking about X2Go"
    )


@dataclass(frozen=True)
class ServerFacts:
    """What has to be known of the account on the server before a session can be started."""

    user: str
    home: str
    home_there: bool
    hostname: str
    found: dict[str, str]


def server_facts(host: Host, programs: Sequence[str], path: str) -> ServerFacts:
    """Who we are on the server, and which of the programs are on `path` (or exist, when absolute)."""
    answer = _call(host, "facts", list(programs), path)
    try:
        found = {str(word): str(place) for word, place in answer["found"].items() if place is not None}
        return ServerFacts(
            str(answer["user"]), str(answer["home"]), bool(answer["home_there"]), str(answer["hostname"]), found
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise _strange(host, answer) from error


@dataclass(frozen=True)
class AgentReport:
    """What the server shows of a session's agent.

    Args:
        state: The content of its state file.
        alive: Whether its process is there and is this session's.
        swept: Whether the server's own daemon, x2gocleansessions, was seen suspending it.
    """

    state: AgentState
    alive: bool
    swept: bool = False

    @property
    def gone(self) -> bool:
        """Whether the agent has ended, or is about to."""
        return not self.alive or self.state in (AgentState.TERMINATED, AgentState.TERMINATING)


def watch_agent(host: Host, name: str, pid: int, wanted: Sequence[AgentState], seconds: float) -> AgentReport:
    """Wait on the server until the agent is in a wanted state, has died, or the time is over; one round trip.

    Also removes ``sshd.pid``: with it the server would later send a signal to whatever process has that number.
    """
    states = [str(state) for state in wanted]
    answer = _call(host, "watch", name, pid, states, max(0.0, seconds), POLL_INTERVAL, waits=max(0.0, seconds))
    if not isinstance(answer, list) or len(answer) != 3 or not isinstance(answer[0], str):
        raise _strange(host, answer)
    return AgentReport(AgentState.parse(answer[0]), bool(answer[1]), bool(answer[2]))


def await_agent_listening(host: Host, name: str, pid: int, port: int, seconds: float) -> bool:
    """Wait on the server until the session's graphics port is listened on; False when the time or the agent ends."""
    seconds = max(0.0, seconds)
    return bool(_call(host, "await_listening", name, pid, port, seconds, POLL_INTERVAL, waits=seconds))


@dataclass(frozen=True)
class RemoteNotes:
    """The ends of a session's files on the server, the agent's log and what its command wrote; and its processes."""

    log: str
    command_output: str
    processes: tuple[str, ...] = ()


def read_notes(host: Host, name: str) -> RemoteNotes:
    """Read what the session wrote, "" where there is nothing."""
    answer = _call(host, "notes", name)
    if not isinstance(answer, list) or len(answer) != 3 or not isinstance(answer[2], list):
        raise _strange(host, answer)
    return RemoteNotes(str(answer[0]), str(answer[1]), tuple(map(str, answer[2])))


def put_private(host: Host, name: str | None, file_name: str, data: bytes) -> str:
    """Write a small file that only its owner can read, in a session's folder or, without one, in the home.

    Returns:
        Its path there.
    """
    path = _call(host, "put_private", name, file_name, data.hex())
    if not isinstance(path, str) or not path.startswith("/") or "\n" in path:
        raise _strange(host, path)
    return path


def tidy(host: Host, name: str, pid: int, display: int, cookie: str, seconds: float) -> bool:
    """Wait until the agent is gone, then remove what it left; whether it went in time.

    One that was not told to end is told here: x2goterminate-session does not learn its process where the server's
    database is locked, or has lost the session, which happens to those that take more than ten seconds to start.

    What it left: processes that carry the session's name, the socket of a killed agent, its folders and its cookie.
    """
    seconds = max(0.0, seconds)
    arguments = name, pid, display, cookie, seconds, POLL_INTERVAL, OWN_END_TIME
    return bool(_call(host, "tidy", *arguments, waits=seconds))


@dataclass(frozen=True)
class SharingFacts:
    """What has to be known of the server before it mounts a folder of ours.

    Args:
        found: The programs that are there, of those that were asked for.
        python: Its Python, "" where that is not known.
        option: What its sshfs calls to be at one end of a stream, "" where it does not know that, or was not asked.
        mounts: Where anything is mounted.
    """

    found: dict[str, str]
    python: str
    option: str
    mounts: frozenset[str]


def sharing_facts(host: Host, programs: Sequence[str], *, asks: bool) -> SharingFacts:
    """Which of the programs are there, and more; `asks` says whether sshfs is asked for its options."""
    answer = _call(host, "sharing_facts", list(programs), SERVER_PATH, asks)
    try:
        found = {str(word): str(place) for word, place in answer["found"].items() if place is not None}
        mounts = frozenset(map(str, answer["mounts"]))
        return SharingFacts(found, str(answer["python"] or ""), str(answer["option"] or ""), mounts)
    except (TypeError, KeyError, AttributeError) as error:
        raise _strange(host, answer) from error


def end_mount(host: Host, place: str) -> bool:
    """End a mount of the client's, even one that is in use or dead, and remove empty folders above it."""
    return bool(_call(host, "end_mount", place, SERVER_PATH))


def mount_log(host: Host, name: str) -> str:
    """What sshfs said when a session's folders were mounted, the last of it."""
    return str(_call(host, "mount_log", name))
