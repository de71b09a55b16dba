"""What is typed means the same in every shell, never contains what it is to print, and is never too long."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crl.errors import UsageError
from crl.interactivesessions.shells import _lines
from crl.interactivesessions.shells._prompt import Nonce, ShellPrompt

SHELLS = {
    "bash": ["bash"],
    "dash": ["dash"],
    "ash": ["busybox", "ash"],
    "zsh": ["zsh"],
    "fish": ["fish"],
    "tcsh": ["tcsh"],
    "csh": ["csh", "-f"],
}


def run(shell: str, line: str, typed: str = "") -> str:
    result = subprocess.run(
        [*SHELLS[shell], "-c", line], input=typed, capture_output=True, text=True, timeout=20, check=False
    )
    return result.stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_probe_is_answered_by_every_shell(shell: str) -> None:
    nonce = Nonce()
    output = run(shell, f"{_lines.probe_line(nonce)}; true")
    marker, kind, _ = output.split(":")
    assert marker == nonce.text
    # A shell may replace itself by the last command; Python is then the parent.
    assert _lines.kind_of(kind) in {shell, "busybox", "tcsh", "python3", "python3.11"}


@pytest.mark.parametrize("shell", SHELLS)
def test_start_script_replaces_every_shell(shell: str) -> None:
    nonce = Nonce()
    output = run(shell, _lines.start_script(nonce), "echo $((6*7))\n")
    assert output.startswith(f"{nonce.text}:bash:\n")
    assert "42" in output


def test_start_script_without_bash(tmp_path: object) -> None:
    nonce = Nonce()
    result = subprocess.run(
        [shutil.which("dash") or "dash", "-c", _lines.start_script(nonce)],
        input="echo $((6*7))\n",
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert result.stdout == f"{nonce.text}:sh:\n42\n"


@pytest.mark.parametrize("login", [False, True])
def test_start_script_has_nothing_that_shells_read_differently(login: bool) -> None:
    script = _lines.start_script(Nonce(), login=login)
    assert not set(script) & set("\\!\n`")
    assert script.count("'") == 2
    assert len(script) < 900


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("/usr/bin/bash", "bash"),
        ("-zsh", "zsh"),
        ("/bin/busybox\n", "busybox"),
        ("ksh93", "ksh93"),
        ("/usr/bin/dash (deleted)", "dash"),
        ("", ""),
    ],
)
def test_kind(answer: str, kind: str) -> None:
    assert _lines.kind_of(answer) == kind


@pytest.mark.parametrize("kind", ["bash", "dash", "zsh", "busybox", "fish", "unheard-of"])
def test_nothing_typed_holds_what_it_prints(kind: str) -> None:
    prompt, nonce = ShellPrompt(), Nonce()
    for line in (
        _lines.setup_line(kind, prompt, nonce),
        _lines.probe_line(nonce),
        _lines.start_script(nonce),
        prompt.assignments(),
    ):
        for text in (nonce.text, prompt.end, prompt.more):
            assert text not in line
        assert len(line) < 1000


commands = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=3000)


@given(command=st.one_of(commands, commands.map(lambda text: text * 20), st.text("'\\\n\x03 a", max_size=400)))
@settings(max_examples=200, deadline=None)
def test_no_line_is_longer_than_a_shell_takes(command: str) -> None:
    for limit in (0, 1000, _lines.LINE_LIMIT):
        lines = "\n".join(_lines.command_lines(command, limit)).split("\n")
        assert all(len(line.encode()) < max(limit, 1000) for line in lines)


@given(text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs", "Cc"]), max_size=3000))
@settings(max_examples=40, deadline=None)
def test_quoted_command_means_itself(text: str) -> None:
    quoted = "'" + text.replace("'", "'\\''") + "'"
    typed = "\n".join(_lines.command_lines(f"printf %s {quoted}\nprintf end", 1000))
    result = subprocess.run(["dash"], input=typed.encode(), capture_output=True, timeout=20, check=True)
    assert result.stdout == text.encode() + b"end"


def test_nul_is_refused() -> None:
    with pytest.raises(UsageError, match="NUL"):
        _lines.command_lines("echo \0")
