"""The start leaves no trace: user code sees plain Python, the disk, the history and `ps` see nothing of ours."""

from __future__ import annotations

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from crl.link import Link, program, startline
from crl.link.program import CORE
from tests.link.peers import INTERPRETERS, Shell, alive, eventually, freeze

MakeLink = Callable[..., Link]
MakeShell = Callable[..., Shell]
Figure = Callable[[str], None]
EVERY = pytest.mark.parametrize("python", INTERPRETERS, ids=lambda path: path.split("/")[-3])
OLDEST_AND_NEWEST = pytest.mark.parametrize(
    "python", [INTERPRETERS[0], INTERPRETERS[-1]], ids=lambda path: path.split("/")[-3]
)
WORLD = """[
    sys.path, sys.prefix, sys.exec_prefix, getattr(sys, 'base_prefix', None), repr(sys.flags), tuple(sys.flags),
    sys.flags.no_site, sys.argv, getattr(sys, 'orig_argv', None), sys.warnoptions, sys.dont_write_bytecode,
    sys.executable, [getattr(sys.modules.get('site'), name, None) for name in ('USER_SITE', 'ENABLE_USER_SITE')],
    sorted(set(sys.modules['__main__'].__dict__) - {'__file__', '__cached__', '_PROXY_CONTAINER', 'sys', 'name'}),
    sys.modules['__main__'].__name__, sys.modules['__main__'].__doc__, sys.stdout.encoding, sys.stderr.errors,
    __import__('os').getcwd(), sorted(__import__('os').environ), 'exit' in dir(__builtins__),
]"""


def plain_world(python: str, env: dict[str, str]) -> object:
    """What the interpreter shows when nobody starts it in a special way."""
    # Its standard output is a file that is no terminal, as that of the link's user code.
    code = f"import sys; print({' '.join(WORLD.split())})"
    answer = subprocess.run([python], input=code, capture_output=True, text=True, env=env, check=True)
    return ast.literal_eval(answer.stdout.splitlines()[-1])


def link_world(link: Link) -> object:
    return link.evaluate(f"(lambda sys: {' '.join(WORLD.split())})(__import__('sys'))")


def shared_environment(**changes: str) -> dict[str, str]:
    """The environment of the shell: what it adds by itself is there before, so that both sides have it."""
    return {**os.environ, "PWD": os.getcwd(), "OLDPWD": "/", "_": "/", "SHLVL": "1", **changes}


@EVERY
def test_user_code_sees_plain_python(make_link: MakeLink, python: str) -> None:
    env = shared_environment()
    assert link_world(make_link(python=python, env=env)) == plain_world(python, env)


SITE = {
    "prints": "import sys; sys.stdout.write('custom out\\n'); sys.stderr.write('custom err\\n')",
    "raises": "raise RuntimeError('custom raise')",
    "exits": "raise SystemExit(3)",
    "changes the path": "import sys; sys.path.append('/custom'); sys.custom = 1",
}


@OLDEST_AND_NEWEST
@pytest.mark.parametrize("kind", ["pipe", "pty"])
@pytest.mark.parametrize("what", SITE)
def test_a_customized_site_disturbs_nothing(
    make_link: MakeLink, tmp_path: Path, python: str, kind: str, what: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(SITE[what] + "\n", encoding="ascii")
    (tmp_path / "startup.py").write_text("print('startup'); raise SystemError\n", encoding="ascii")
    env = shared_environment(PYTHONPATH=str(tmp_path), PYTHONSTARTUP=str(tmp_path / "startup.py"))
    link = make_link(kind, python=python, env=env)
    assert link.evaluate("6 * 7") == 42
    if what in ("prints", "changes the path"):
        assert link_world(link) == plain_world(python, env)


def test_what_a_customized_site_prints_is_logged(
    make_link: MakeLink, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "sitecustomize.py").write_text(SITE["prints"] + "\n", encoding="ascii")
    caplog.set_level("INFO", "crl.remote")
    for python in (INTERPRETERS[0], INTERPRETERS[-1]):
        caplog.clear()
        link = make_link(python=python, env=shared_environment(PYTHONPATH=str(tmp_path)))
        link.evaluate("1")
        assert link.settle_output(60)
        assert {record.getMessage() for record in caplog.records} == {"custom out", "custom err"}


# What our own code imports, and what the interpreter does at its start.
LIKE_OURS = """os struct zlib binascii select errno io collections operator fcntl site time traceback subprocess
re _collections types""".split()  # noqa: SIM905 - more than a line of quotes


@EVERY
def test_modules_in_the_working_directory_are_not_taken_for_the_librarys(
    make_link: MakeLink, tmp_path: Path, python: str
) -> None:
    for name in LIKE_OURS:
        (tmp_path / f"{name}.py").write_text("raise SystemError('the wrong module')\n", encoding="ascii")
    (tmp_path / "mine.py").write_text("WORD = 'mine'\n", encoding="ascii")
    link = make_link("pty", python=python, cwd=str(tmp_path))
    assert link.evaluate("__import__('mine').WORD") == "mine"
    assert link.evaluate("__import__('sys').path[0]") == ""
    assert link.evaluate("__import__('os').getcwd()") == str(tmp_path)


@OLDEST_AND_NEWEST
def test_odd_working_directories(make_link: MakeLink, make_shell: MakeShell, tmp_path: Path, python: str) -> None:
    odd = tmp_path / "a b'c\"d\\e\u20ac$(x)\n"
    odd.mkdir()
    assert make_link("pty", python=python, cwd=str(odd)).evaluate("__import__('os').listdir('.')") == []
    gone = tmp_path / "gone"
    gone.mkdir()
    shell = make_shell("pty", cwd=str(gone))
    gone.rmdir()
    link = Link.start(shell.lane(), timeout=60, python=python)
    assert link.evaluate("6 * 7") == 42
    assert link.close(20)


# -- a minimal Python --------------------------------------------------------------------------------------------------

# What python3-minimal of Debian 12 lacks of the modules that anybody would use.
LACKING = "json termios pty decimal uuid ctypes queue tarfile shutil asyncio multiprocessing unittest sqlite3 lzma bz2"
BLOCKED = """
import sys
class Blocker(object):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}.split():
            raise ImportError("No module named " + name)
sys.meta_path.insert(0, Blocker())
del Blocker
exec(sys.argv.pop(1))
"""


def _unpack_minimal(folder: Path) -> str | None:
    """Debian's python3-minimal of this machine's release, where its packages can be fetched."""
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        return None
    version = subprocess.run(["apt-cache", "depends", "python3-minimal"], capture_output=True, text=True, check=False)
    names = [word for word in version.stdout.split() if word.startswith("python3.") and word.endswith("-minimal")]
    if not names:
        return None
    try:
        subprocess.run(
            ["apt-get", "-o", "APT::Sandbox::User=root", "download", names[0], f"lib{names[0]}"],
            cwd=folder, capture_output=True, check=True, timeout=30,
        )  # fmt: skip
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg", "-x", str(package), str(folder)], check=True)
    return str(folder / "usr" / "bin" / names[0].removesuffix("-minimal"))


def _script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


@pytest.fixture(scope="module")
def minimal_python(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """An interpreter that lacks what a minimal one lacks, and where it comes from."""
    folder = tmp_path_factory.mktemp("minimal")
    real = _unpack_minimal(folder)
    if real is not None:
        return _script(folder / "python", f'PYTHONHOME={folder}/usr exec {real} "$@"'), "Debian's package"
    blocker = BLOCKED.format(names=LACKING).replace("'", "'\\''")
    return _script(folder / "python", f"exec {sys.executable} -S -c '{blocker}' \"$3\""), "an import blocker"


def test_a_minimal_python_will_do(make_link: MakeLink, minimal_python: tuple[str, str], figure: Figure) -> None:
    python, source = minimal_python
    figure(f"python3-minimal is {source}")
    link = make_link("pty", python=python)
    for name in ("json", "termios", "queue"):
        with pytest.raises(ImportError):
            link.evaluate(f"__import__({name!r})")
    assert link.evaluate("def add(a, b): return a + b") is None
    assert link.invoke("add", {"a": [1]}["a"], [2.5]) == [1, 2.5]
    with pytest.raises(ZeroDivisionError):
        link.evaluate("1 // 0")
    assert link.run(["cat"], stdin=b"x" * 100_000).stdout == b"x" * 100_000
    link.evaluate("print('printed')")
    assert link.close(20)


# -- nothing stays -----------------------------------------------------------------------------------------------------


def _listing(folder: Path) -> set[tuple[str, float]]:
    return {(str(path), path.lstat().st_mtime) for path in folder.rglob("*")}


RCS = {
    "bash": ("--rcfile", "shopt -s histappend; HISTFILE={home}/history; PROMPT_COMMAND='history -a'"),
    "zsh": ("-o", "HISTFILE={home}/history; SAVEHIST=100; HISTSIZE=100; setopt INC_APPEND_HISTORY"),
}
FORGET = {"bash": "unset HISTFILE PROMPT_COMMAND", "zsh": "unset HISTFILE; setopt NO_ZLE"}


@pytest.mark.parametrize("name", RCS)
def test_nothing_on_the_disk_and_nothing_in_the_history(make_shell: MakeShell, tmp_path: Path, name: str) -> None:
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"no {name} on this machine")
    rc = tmp_path / (".zshrc" if name == "zsh" else "rc")
    rc.write_text(RCS[name][1].format(home=tmp_path) + "\nunset TMOUT\n", encoding="ascii")
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "TERM": "dumb"}
    argv = [program, "--rcfile", str(rc), "-i"] if name == "bash" else [program, "-i"]
    shell = make_shell("pty", argv, env=env, cwd=str(tmp_path))
    # As every pushed shell is told; what was typed before may be there.
    shell.ask(FORGET[name])
    # Where each line ends with CR and LF, an editor of lines has taken the CR and leaves the LF to what follows it.
    shell.ask("true")
    before = _listing(tmp_path)
    link = Link.start(shell.lane(), timeout=60)
    link.run("true")
    link.evaluate("import decimal")
    assert link.close(20)
    assert _listing(tmp_path) == before
    assert "crl_r" not in shell.ask("cat history 2>/dev/null")
    shell.say("exit")
    assert eventually(partial(_ended, shell))
    assert not (tmp_path / "history").exists() or "crl_r" not in (tmp_path / "history").read_text(errors="replace")


def _ended(shell: Shell) -> bool:
    try:
        return shell.channel.read() == b""
    except BlockingIOError:
        return False


def _written_files(trace: str) -> list[str]:
    """What a trace of system calls shows as opened for writing or made, but for devices."""
    made = ("O_WRONLY", "O_RDWR", "O_CREAT", "mkdir", "mknod", "rename", "link(", "symlink", "unlink", "memfd")
    lines = (line.partition(") = -1")[0] for line in trace.splitlines() if ") = -1" not in line)
    return [line for line in lines if any(word in line for word in made) and '"/dev/' not in line]


@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace on this machine")
def test_the_kernel_is_asked_for_no_file(make_shell: MakeShell, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    calls = "openat,open,creat,mkdir,mkdirat,mknod,mknodat,rename,renameat2,link,linkat,symlink,symlinkat,memfd_create"
    shell = make_shell("pipe", ["strace", "-f", "-qq", "-o", str(trace), "-e", f"trace={calls}", "/bin/sh"])
    link = Link.start(shell.lane(), timeout=30)
    link.run("true")
    assert link.close(20)
    assert _written_files(trace.read_text(encoding="utf-8", errors="replace")) == []


def _command_lines() -> Iterator[bytes]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue


def test_no_setting_and_nothing_of_the_program_ever_stands_in_ps(
    make_shell: MakeShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = 4321.0625
    monkeypatch.setattr("crl.link.link.GRACE", canary)
    seen: set[bytes] = set()
    stop = threading.Event()

    def sample() -> None:
        while not stop.is_set():
            seen.update(_command_lines())

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        for kind in ("pipe", "pty"):
            shell = make_shell(kind)
            link = Link.start(shell.lane(), timeout=60)
            assert link.evaluate("__import__('sys').modules['_crl'].program.patience") > canary
            assert link.run(["true"], env={"SECRET": str(canary)}).status == 0
            # The sampler may come too late for some that live shortly, but not for those that are there now.
            seen.update(_command_lines())
            assert link.close(20)
    finally:
        stop.set()
        thread.join(60)
    # Our interpreters, and whatever others had in their command lines.
    ours = [line for line in seen if b"a2b_base64" in line or b"crl_end" in line]
    assert len(ours) >= 2
    assert not any(b"class Session" in line for line in ours)
    assert not any(str(canary).encode() in line for line in seen)


def test_no_second_interpreter_stays(make_shell: MakeShell) -> None:
    shell = make_shell("pty")
    link = Link.start(shell.lane(), timeout=60)
    (waiting,) = _children(shell.pid)
    assert _children(waiting) == [link.facts.pid]
    # It turns into something tiny while the program greets us.
    assert eventually(lambda: "python" not in Path(f"/proc/{waiting}/exe").resolve().name)
    assert _children(link.facts.pid) == []
    assert link.close(20)
    assert eventually(lambda: not alive(waiting))


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


@pytest.mark.parametrize("end", ["in order", "killed", "killed in a call", "killed with input"])
def test_the_terminal_gets_its_settings_back(make_shell: MakeShell, end: str) -> None:
    shell = make_shell("pty")
    # Nothing that is typed may be longer than the narrowest lane.
    shell.ask("stty -echo -onlcr intr ^K")
    shell.ask("stty rows 31 cols 97")
    before = shell.ask("stty -g; stty size")
    link = Link.start(shell.lane(), timeout=60)
    if end == "killed in a call":
        link.submit_evaluate("__import__('time').sleep(30)")
    if end == "killed with input":
        # What nobody reads any more must not become a command.
        freeze(link.facts.pid)
        link.submit_invoke("len", "x\necho EXECUTED\n" * 100)
    if end.startswith("killed"):
        os.kill(link.facts.pid, signal.SIGKILL)
    assert link.close(20)
    assert shell.ask("stty -g; stty size") == before
    assert "EXECUTED" not in shell.ask("true")


# -- what it costs -----------------------------------------------------------------------------------------------------

# Few and small: each costs a part of a millisecond at every start. `io` is a module of Python 2's only here,
# `marshal` and `gc` are built in.
IMPORTED = {
    "_collections", "_io", "_operator", "_struct", "binascii", "errno", "encodings.ascii", "fcntl", "gc", "io",
    "itertools", "marshal", "operator", "select", "struct", "thread", "time", "zlib",
}  # fmt: skip


@EVERY
@pytest.mark.clean_only("armour is a module more")
def test_the_core_imports_little(make_link: MakeLink, python: str) -> None:
    link = make_link(python=python)
    link.evaluate("1")
    link.invoke("len", [1, 2.5, "three"])
    code = "import sys; sys.stdout.write(repr(list(sys.modules)))"
    plain = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
    ours = set(link.evaluate("list(__import__('sys').modules)")) - set(ast.literal_eval(plain))
    assert {name for name in ours if name.split(".")[0] != "_crl"} <= IMPORTED
    # Python 2 notes there as None which of them had no module of ours.
    loaded = link.evaluate("[n for n, m in __import__('sys').modules.items() if m is not None and n[:5] == '_crl.']")
    assert {name.removeprefix("_crl.") for name in loaded if name.count(".") == 2} == set(CORE)


def test_what_is_imported_while_the_program_comes_is_what_it_imports() -> None:
    early = re.search(r"try: import (.+)", startline.STAGE)
    assert early is not None
    sources = "\n".join(program.piece(name)[1] for name in (*CORE, "remote.boot"))
    for name in set(early[1].split(",")) - {"marshal"}:
        assert re.search(rf"^ *import {name}$", sources, re.MULTILINE), name
    assert "marshal" in program.UNPACK


@EVERY
def test_garbage_is_looked_for_as_ever(make_link: MakeLink, python: str) -> None:
    assert make_link(python=python).evaluate("__import__('gc').isenabled()") is True


RESIDENT = "int(open('/proc/self/status').read().partition('VmRSS:')[2].split()[0])"


@EVERY
def test_the_program_is_small(make_link: MakeLink, python: str, figure: Figure) -> None:
    plain = subprocess.run([python, "-c", f"print({RESIDENT})"], capture_output=True, text=True, check=True)
    used = make_link("pty", python=python).evaluate(RESIDENT) - int(plain.stdout)
    figure(f"bare interpreter {int(plain.stdout)} kB, remote program {used:+d} kB")
    assert used <= 5 * 1024


def test_the_first_answer_takes_two_round_trips(make_shell: MakeShell, monkeypatch: pytest.MonkeyPatch) -> None:
    # It is none of them, and may come before we look.
    monkeypatch.setattr("crl.link._engine.FIRST_HEARTBEAT", 60.0)
    turns = ""

    class Counting:
        """A channel that notes in which direction bytes move."""

        def __init__(self, inner: object) -> None:
            self._inner = inner

        def read(self, size: int = 65536) -> bytes:
            nonlocal turns
            data: bytes = self._inner.read(size)  # type: ignore[attr-defined]
            turns += "" if turns.endswith("<") else "<"
            return data

        def write(self, data: bytes) -> int:
            nonlocal turns
            turns += "" if turns.endswith(">") else ">"
            return self._inner.write(data)  # type: ignore[attr-defined, no-any-return]

        def __getattr__(self, name: str) -> object:
            return getattr(self._inner, name)

    lane = make_shell("pipe").lane(Counting)  # type: ignore[arg-type]
    link = Link.start(lane, timeout=60)
    # The line is typed by the shell; then GO, the program, the greeting.
    assert turns == "<><"
    assert link.evaluate("1") == 1
    assert turns.startswith("<><><")
    assert link.close(20)
