"""Files in the MIME box are opened when they are complete and of a kind that may be, and others never."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crl.x2go import mimebox
from crl.x2go.mimebox import X2GoMIMEboxJob, X2GoMIMEboxQueue, x2go_mimeboxjob_handler
from crl.x2go.mimeboxactions import (
    X2GoMIMEboxAction,
    X2GoMIMEboxActionOPEN,
    X2GoMIMEboxActionOPENWITH,
    X2GoMIMEboxActionSAVEAS,
    make_mimebox_action,
)
from crl.x2go.x2go_exceptions import X2GoMIMEboxActionException, X2GoMIMEboxQueueException, X2GoTimeOutException
from tests.link.peers import eventually
from tests.x2go.printing import Told

Make = Callable[..., X2GoMIMEboxQueue]


class Content(X2GoMIMEboxAction):
    """Gives back what it gets, and under which name."""

    def _do_process(self, mimebox_file: str, mimebox_dir: str) -> Any:
        path = Path(mimebox_file)
        return path.name, path.read_bytes(), path.parent == Path(mimebox_dir), stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "S-pat-50" / "mimebox"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def make(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Make boxes that wait a tenth of the usual time; after the test nothing of them is left."""
    monkeypatch.setattr(mimebox, "SETTLING_TIME", 0.1)
    made: list[X2GoMIMEboxQueue] = []

    def one(**options: Any) -> X2GoMIMEboxQueue:
        given = {"mimebox_dir": folder, "profile_name": "office", "session_name": "pat-50", **options}
        made.append(X2GoMIMEboxQueue(**given))
        made[-1].start()
        return made[-1]

    yield one
    for box in made:
        box.stop_thread()
    assert eventually(lambda: not [one for one in threading.enumerate() if one.name.startswith("crl-x2go-")])
    assert list(folder.parent.iterdir()) == [folder]


def test_a_file_is_taken_out_and_processed(make: Make, folder: Path) -> None:
    (folder / "Résumé 2024.doc").write_bytes(b"words")
    (folder / "Résumé 2024.doc").chmod(0o777)
    box = make(mimebox_action=Content)
    job = box.wait_for_jobs()[0]
    assert (job.name, job.action, job.error) == ("Résumé 2024.doc", "Content", None)
    assert job.result == ("Résumé 2024.doc", b"words", True, 0o600)
    assert list(folder.iterdir()) == []


NAMES = ["a;b$(id)|`x`.pdf", "-rf.pdf", "a'b\".pdf", "x" * 200 + ".pdf", "no ending", "%s.pdf"]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_only_names(make: Make, folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"x")
    given = make(mimebox_action=Content).wait_for_jobs()[0].result[0]
    assert not set(given) & set(";$()|`'\"%/\\&<>*?")
    assert not given.startswith(("-", "."))


REFUSED = [
    "x.exe", "x.EXE", "x.sh", "x.desktop", "x.exe.", "x.exe ", ".profile", "x.py", "x.pdf.JS", "x.lnk", "a.e\u202exe",
]  # fmt: skip


def test_what_could_be_a_program_is_left(make: Make, folder: Path, tmp_path: Path) -> None:
    for name in REFUSED:
        (folder / name).write_bytes(b"x")
    (folder / "link.pdf").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe.pdf")
    (folder / "folder.pdf").mkdir()
    (folder / "shop.example.com.pdf").write_bytes(b"fine")
    box = make(mimebox_action=Content)
    assert box.wait_for_jobs()[0].result[:2] == ("shop.example.com.pdf", b"fine")
    with pytest.raises(X2GoTimeOutException, match="1 of 2 jobs have come through the MIME box"):
        box.wait_for_jobs(2, timeout=0.5)
    assert {path.name for path in folder.iterdir()} == {*REFUSED, "link.pdf", "pipe.pdf", "folder.pdf"}
    # Nor when somebody asks for one by its name.
    x2go_mimeboxjob_handler("x.exe", parent_thread=box)
    assert "is of a kind that is not taken" in str(box.wait_for_jobs(2)[1].error)
    assert (folder / "x.exe").exists()
    (folder / "folder.pdf").rmdir()


def test_only_the_kinds_that_were_asked_for(make: Make, folder: Path) -> None:
    for name in ("a.pdf", "b.DOC", "c.txt", "d.sh"):
        (folder / name).write_bytes(b"x")
    box = make(mimebox_action=Content, mimebox_extensions=["PDF", ".doc", "sh", ""])
    assert {job.name for job in box.wait_for_jobs(2)} == {"a.pdf", "b.DOC"}
    assert box._incoming_mimebox_jobs == []
    assert {path.name for path in folder.iterdir()} == {"c.txt", "d.sh"}


def test_a_file_that_is_being_written_waits(make: Make, folder: Path) -> None:
    box = make(mimebox_action=Content)
    with (folder / "long.pdf").open("wb") as stream:
        stream.write(b"first ")
        stream.flush()
        with pytest.raises(X2GoTimeOutException):
            box.wait_for_jobs(timeout=0.6)
        assert box._incoming_mimebox_jobs == ["long.pdf"]
        stream.write(b"second")
    assert box.wait_for_jobs()[0].result[1] == b"first second"


def test_opening(make: Make, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "xdg-open"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ncat "$1" > {tmp_path}/opened\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    box = make()
    assert isinstance(box.mimebox_action, X2GoMIMEboxActionOPEN)
    (folder / "a.pdf").write_bytes(b"one")
    assert box.wait_for_jobs()[0].error is None
    assert (tmp_path / "opened").read_bytes() == b"one"
    box.set_mimebox_action("OPENWITH", open_with_cmd=f"cp -t {tmp_path}")
    (folder / "b c.txt").write_bytes(b"two")
    assert box.wait_for_jobs(2)[1].error is None
    assert (tmp_path / "b c.txt").read_bytes() == b"two"
    box.set_mimebox_action("OPENWITH", open_with_cmd="no-such-program")
    (folder / "d.txt").write_bytes(b"three")
    error = box.wait_for_jobs(3)[2].error
    assert isinstance(error, X2GoMIMEboxActionException)
    assert "no-such-program is not installed here" in str(error)


def test_storing_asks(make: Make, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(X2GoMIMEboxActionException, match="needs a client"):
        make_mimebox_action("SAVEAS")
    client = Told(HOOK_open_mimebox_saveas_dialog=lambda name: Path(name).rename(tmp_path / "kept"))
    box = make(mimebox_action="SAVEAS", client_instance=client)
    (folder / "a.pdf").write_bytes(b"one")
    assert box.wait_for_jobs()[0].error is None
    assert (tmp_path / "kept").read_bytes() == b"one"
    name, args, kwargs = client.calls[0]
    assert name == "HOOK_open_mimebox_saveas_dialog"
    assert Path(args[0]).name == "a.pdf"
    assert kwargs == {"profile_name": "office", "session_name": "pat-50"}


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(X2GoMIMEboxQueueException, match="needs the folder"):
        X2GoMIMEboxQueue()
    with pytest.raises(X2GoMIMEboxActionException, match="no MIME box action 'BURN'"):
        X2GoMIMEboxQueue(mimebox_dir=tmp_path / "box", mimebox_action="BURN")
    with pytest.raises(X2GoMIMEboxActionException, match="cannot be made so"):
        make_mimebox_action("OPEN", colour="red")
    with pytest.raises(X2GoMIMEboxQueueException, match="needs its name and its queue"):
        x2go_mimeboxjob_handler()
    with pytest.raises(X2GoMIMEboxActionException, match="there is no file"):
        X2GoMIMEboxActionOPEN().do_process("missing", tmp_path)
    assert X2GoMIMEboxJob(target=print).daemon
    action = make_mimebox_action(X2GoMIMEboxActionSAVEAS, client_instance=Told())
    assert (action.name, action.description) == ("SAVEAS", "Ask where to store it")
    assert make_mimebox_action(action) is action
    assert X2GoMIMEboxActionOPENWITH().name == "OPENWITH"


def test_the_folder_goes(make: Make, folder: Path) -> None:
    client = Told()
    make(client_instance=client)
    folder.rmdir()
    assert client.told.wait(30)
    folder.mkdir()
    assert [call[0] for call in client.calls] == ["HOOK_mimebox_not_available"]
