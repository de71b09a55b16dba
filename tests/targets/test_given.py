"""Wrong arguments are refused in words before anything is sent, and what stands for a text is taken."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest

from crl.errors import UsageError, WrongArgument

if TYPE_CHECKING:
    from crl.targets import Target

COMMANDS: list[tuple[Any, type[UsageError], str]] = [
    (5, WrongArgument, "a line for the shell or a list of arguments, not a value of type int"),
    (None, WrongArgument, "not None"),
    (b"true", WrongArgument, "type bytes"),
    ({"true": 1}, WrongArgument, "type dict"),
    (["true", 5], WrongArgument, "an argument is a text, not a value of type int"),
    (["true", None], WrongArgument, "an argument is a text, not None"),
    ([], UsageError, "there is no program"),
    (["true\0"], UsageError, "NUL"),
    ("true\0", UsageError, "NUL"),
]
OPTIONS: list[tuple[dict[str, Any], type[UsageError], str]] = [
    ({"env": {"A": 5}}, WrongArgument, "texts, not 'A': a value of type int"),
    ({"env": ["A=b"]}, WrongArgument, "a mapping of names to values"),
    ({"env": {"A=B": "c"}}, UsageError, "cannot be the name of a variable"),
    ({"env": {"A": "b\0"}}, UsageError, "NUL"),
    ({"cwd": 5}, WrongArgument, "a path of the target is a text"),
    ({"cwd": ""}, UsageError, "is empty"),
    ({"umask": "022"}, UsageError, "no mask"),
    ({"umask": 0o1777}, UsageError, "no mask"),
]


@pytest.mark.parametrize(("command", "error", "says"), COMMANDS, ids=[str(command) for command, _, _ in COMMANDS])
def test_a_wrong_command(here: Target, command: Any, error: type[UsageError], says: str) -> None:
    for verb in (here.run, here.start, lambda wrong: here.start(wrong, detached=True)):
        with pytest.raises(error, match=says):
            verb(command)
    assert here.run(["echo", "as ever"]).stdout == "as ever\n"


@pytest.mark.parametrize(("options", "error", "says"), OPTIONS, ids=[str(options) for options, _, _ in OPTIONS])
def test_a_wrong_option(here: Target, options: Any, error: type[UsageError], says: str) -> None:
    for verb in (here.run, here.start):
        with pytest.raises(error, match=says):
            verb("true", **options)


@pytest.mark.parametrize("timeout", ["5", timedelta(seconds=5), [1]], ids=str)
def test_a_wrong_timeout(here: Target, timeout: Any) -> None:
    with pytest.raises(WrongArgument, match="a number of seconds or None"):
        here.run("true", timeout=timeout)


@pytest.mark.parametrize("wrong", [5, None, b"/etc"], ids=str)
def test_a_wrong_name(here: Target, tmp_path: Path, wrong: Any) -> None:
    files = here.files
    (tmp_path / "some").write_bytes(b"some")
    verbs = (files.read, files.stat, files.exists, files.list, files.mkdir, files.remove, files.path)
    for verb in (*verbs, lambda name: files.write(name, b""), lambda name: files.pull(name, tmp_path / "pulled")):
        with pytest.raises(WrongArgument, match="a path of the target is a text"):
            verb(wrong)
    with pytest.raises(WrongArgument, match="a path of the target is a text"):
        files.push(tmp_path / "some", wrong)
    with pytest.raises(UsageError, match="is empty"):
        files.read("")
    with pytest.raises(WrongArgument, match="the content of a file is bytes, not int"):
        files.write(str(tmp_path / "new"), 5)  # type: ignore[arg-type]
    assert [entry.name for entry in tmp_path.iterdir()] == ["some"]


def test_paths_stand_for_texts(here: Target, tmp_path: Path) -> None:
    name = PurePosixPath(tmp_path) / "file"
    here.files.write(name, b"content")
    assert here.files.read(name) == b"content"
    assert here.run([PurePosixPath("/bin/cat"), name], cwd=PurePosixPath(tmp_path)).stdout == "content"
    assert [found.path for found in here.files.list(tmp_path)] == ["file"]
    assert here.files.remove(name)
