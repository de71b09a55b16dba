"""The print actions do what they say, and what a server called a job changes nothing but names."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crl.x2go import _spool, printactions
from crl.x2go.printactions import (
    X2GoPrintAction,
    X2GoPrintActionDIALOG,
    X2GoPrintActionPDFSAVE,
    X2GoPrintActionPDFVIEW,
    X2GoPrintActionPRINT,
    X2GoPrintActionPRINTCMD,
    make_print_action,
)
from crl.x2go.x2go_exceptions import X2GoPrintActionException
from tests.link.peers import alive, eventually
from tests.x2go.conftest import listens
from tests.x2go.printing import PDF, Told

HOSTILE = ["; touch pwned", "$(touch pwned)", "../../etc/cron.d/x", "-o raw", "--version", "a\nb\0c", "\u202efdp", "/"]


@pytest.fixture
def pdf(tmp_path: Path) -> Path:
    path = tmp_path / "spool" / "job.pdf"
    path.parent.mkdir()
    path.write_bytes(PDF)
    return path


@pytest.fixture
def recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs ``lp``, ``lpr`` and ``xdg-open`` that write their arguments to files of their names, one a line."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for name in ("lp", "lpr", "xdg-open"):
        program = bin_ / name
        program.write_text(f'#!/bin/sh\nfor a in "$@"; do printf "%s\\0" "$a"; done > {tmp_path}/{name}.args\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{bin_}:/usr/bin:/bin")
    return tmp_path


def arguments(folder: Path, program: str) -> list[str]:
    return (folder / f"{program}.args").read_text().split("\0")[:-1]


@pytest.mark.parametrize("title", [*HOSTILE, ""])
def test_titles_are_only_titles(pdf: Path, recorder: Path, title: str) -> None:
    out = recorder / "out"
    stored = X2GoPrintActionPDFSAVE(save_to_folder=out).do_print(pdf, title, pdf.parent)
    assert stored.parent == out
    assert stored.read_bytes() == PDF
    X2GoPrintActionPRINT(printer="hp 2; x").do_print(pdf, title, pdf.parent)
    option, printer, flag, given, path = arguments(recorder, "lp")
    assert (option, printer, flag, path) == ("-d", "hp 2; x", "-t", str(pdf))
    assert given.isprintable()
    assert given
    assert not given.startswith("-")
    X2GoPrintActionPRINTCMD(print_cmd='lpr -P "hp 2" $HOME;').do_print("job.pdf", title, pdf.parent)
    assert arguments(recorder, "lpr") == ["-P", "hp 2", "$HOME;", str(pdf)]
    X2GoPrintActionPDFVIEW().do_print(pdf, title, pdf.parent)
    (shown,) = arguments(recorder, "xdg-open")
    assert Path(shown).parent == pdf.parent
    assert Path(shown).read_bytes() == PDF
    assert not list(recorder.glob("**/pwned"))
    assert pdf.exists()


def test_lpr_where_there_is_no_lp(pdf: Path, recorder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (recorder / "bin" / "lp").unlink()
    (recorder / "bin" / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(recorder / "bin"))
    X2GoPrintActionPRINT(printer="hp").do_print(pdf, "letter", pdf.parent)
    assert arguments(recorder, "lpr") == ["-P", "hp", "-J", "letter", str(pdf)]
    X2GoPrintActionPRINT(printer="").do_print(pdf, "letter", pdf.parent)
    assert arguments(recorder, "lpr") == ["-J", "letter", str(pdf)]


def test_storing_overwrites_nothing(pdf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    action = X2GoPrintActionPDFSAVE()
    assert action.save_to_folder == str(tmp_path / "PDF")
    (tmp_path / "PDF").mkdir()
    (tmp_path / "PDF" / "x.pdf").symlink_to(tmp_path / "victim")
    assert action._humanreadable_filename(str(pdf), "X", action.save_to_folder).endswith("/x(1).pdf")
    assert action.do_print(pdf, "X", pdf.parent) == tmp_path / "PDF" / "x(1).pdf"
    assert action.do_print(pdf, "X", pdf.parent) == tmp_path / "PDF" / "x(2).pdf"
    assert not (tmp_path / "victim").exists()
    # Where a file system has no links.
    monkeypatch.setattr(os, "link", _no_links)
    assert action.do_print(pdf, "X", pdf.parent) == tmp_path / "PDF" / "x(3).pdf"
    assert (tmp_path / "PDF" / "x(3).pdf").read_bytes() == PDF
    assert action.do_print(pdf, "日本", pdf.parent) == tmp_path / "PDF" / "job.pdf"
    assert len(list((tmp_path / "PDF").iterdir())) == 5


def _no_links(*_: Any) -> None:
    raise PermissionError(1, "Operation not permitted")


def test_a_folder_that_cannot_be(pdf: Path) -> None:
    action = X2GoPrintActionPDFSAVE(save_to_folder=pdf / "folder")
    with pytest.raises(X2GoPrintActionException, match="PDFSAVE failed: Not a directory"):
        action.do_print(pdf, "x", pdf.parent)


FULL_DISK = """
import sys
from pathlib import Path
from crl.x2go.printactions import X2GoPrintActionPDFSAVE
from crl.x2go.x2go_exceptions import X2GoPrintActionException
pdf, folder = Path(sys.argv[1]), Path(sys.argv[2])
try:
    X2GoPrintActionPDFSAVE(save_to_folder=folder).do_print(pdf, "x", pdf.parent)
except X2GoPrintActionException as error:
    print(error.message, list(folder.iterdir()))
"""


@pytest.mark.lab  # which makes mounts too
def test_a_full_disk_leaves_nothing(pdf: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    pdf.write_bytes(PDF + bytes(200_000))
    mounted = f'mount -t tmpfs -o size=64k full "{out}" && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", mounted, "sh", sys.executable, "-c", FULL_DISK, str(pdf), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "the print action PDFSAVE failed: No space left on device []\n"


@pytest.mark.parametrize(
    ("action", "match"),
    [
        (X2GoPrintActionPRINTCMD(print_cmd="no-such-program -x"), "no-such-program is not installed here"),
        (X2GoPrintActionPRINTCMD(print_cmd='lpr "'), "cannot be read: No closing quotation"),
        (X2GoPrintActionPRINTCMD(print_cmd=["sh", "-c", "echo the printer burns >&2; exit 3"]), "ended with status 3"),
        (X2GoPrintActionPDFVIEW(pdfview_cmd="false"), "false ended with status 1"),
    ],
)
def test_failures_say_why(pdf: Path, action: X2GoPrintAction, match: str) -> None:
    with pytest.raises(X2GoPrintActionException, match=match) as caught:
        action.do_print(pdf, "letter", pdf.parent)
    if "status 3" in match:
        assert "the printer burns" in str(caught.value)
    with pytest.raises(X2GoPrintActionException, match="there is no file"):
        action.do_print("missing.pdf", "letter", pdf.parent)


def test_a_command_that_takes_too_long_is_ended(pdf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printactions, "PRINTING_TIME", 5)
    note = tmp_path / "pid"
    action = X2GoPrintActionPRINTCMD(print_cmd=["sh", "-c", f"trap '' TERM HUP; sleep 600 & echo $! > {note}; wait"])
    monkeypatch.setattr("crl.x2go._programs.END_PATIENCE", 0.3)
    with pytest.raises(X2GoPrintActionException, match="took more than 5 seconds and was ended"):
        action.do_print(pdf, "letter", pdf.parent)
    # What was killed goes when it gets a processor the next time.
    assert eventually(lambda: not alive(int(note.read_text())))


def test_the_dialog_asks(pdf: Path, tmp_path: Path) -> None:
    with pytest.raises(X2GoPrintActionException, match="needs a client"):
        X2GoPrintActionDIALOG()
    saved = X2GoPrintActionPDFSAVE(save_to_folder=tmp_path / "out")
    client = Told(HOOK_open_print_dialog=saved)
    assert X2GoPrintActionDIALOG(client).do_print(pdf, "t", pdf.parent) == tmp_path / "out" / "t.pdf"
    assert client.calls == [("HOOK_open_print_dialog", (), {"profile_name": "UNKNOWN", "session_name": "UNKNOWN"})]
    assert X2GoPrintActionDIALOG(Told()).do_print(pdf, "t", pdf.parent) is None
    with pytest.raises(X2GoPrintActionException, match="the dialog itself"):
        X2GoPrintActionDIALOG(Told(HOOK_open_print_dialog="DIALOG")).do_print(pdf, "t", pdf.parent)
    with pytest.raises(X2GoPrintActionException, match="no print action 7"):
        X2GoPrintActionDIALOG(Told(HOOK_open_print_dialog=7)).do_print(pdf, "t", pdf.parent)


def test_actions_by_name() -> None:
    action = make_print_action("PRINT", printer="hp")
    assert (action.name, action.printer, action.description) == ("PRINT", "hp", "Print it on a printer")
    assert isinstance(make_print_action("X2GoPrintActionPDFVIEW"), X2GoPrintActionPDFVIEW)
    assert isinstance(make_print_action(X2GoPrintActionPRINTCMD), X2GoPrintActionPRINTCMD)
    assert make_print_action(action) is action
    assert X2GoPrintAction().name == X2GoPrintAction().description == "X2GoPrintAction"
    with pytest.raises(X2GoPrintActionException, match="cannot be made so"):
        make_print_action("PRINT", colour="red")
    with pytest.raises(X2GoPrintActionException, match="cannot be the name of a printer"):
        make_print_action("PRINT", printer="-x")


def test_names_for_files() -> None:
    assert _spool.safe_name("Résumé 2024.doc") == "Résumé 2024.doc"
    assert _spool.safe_name("../../a;b$(c)|`d`.p\u202edf") == "_.._a_b__c___d_.p_df"
    assert _spool.safe_name("-rf") == "rf"
    assert _spool.safe_name("...") == "file"
    assert _spool.safe_name("x" * 500 + ".pdf") == "x" * 100 + ".pdf"
    assert _spool.clean_title("\n", "none") == "none"


@pytest.mark.skipif(sys.platform == "win32", reason="devices of Unix")
def test_a_copy_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "job.pdf").write_bytes(PDF)
    with pytest.raises(FileExistsError):
        _spool.take(tmp_path, "job.pdf", Path("/dev/full"))
    with pytest.raises(_spool.SpoolError, match="does not begin with"):
        _spool.take(tmp_path, "job.pdf", tmp_path / "copy", b"%PS")
    assert not (tmp_path / "copy").exists()


CUPSD = """
LogLevel warn
MaxLogSize 0
Listen {0}/socket
Browsing No
WebInterface No
<Location />
  Order allow,deny
</Location>
"""
FILES = """
FileDevice Yes
ServerRoot {0}
StateDir {0}
CacheDir {0}/cache
RequestRoot {0}/requests
TempDir {0}/requests/tmp
AccessLog {0}/access_log
ErrorLog {0}/error_log
PageLog {0}/page_log
"""
PRINTERS = """
<Printer office>
DeviceURI file:{0}/paper
State Idle
Accepting Yes
</Printer>
"""


@pytest.fixture
def cups(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A CUPS of this test's own, with a printer ``office``."""
    with tempfile.TemporaryDirectory(prefix="cups") as name:  # a socket's path is short
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "requests" / "tmp").mkdir(parents=True)
        for file, text in (("cupsd.conf", CUPSD), ("cups-files.conf", FILES), ("printers.conf", PRINTERS)):
            (folder / file).write_text(text.format(folder))
            (folder / file).chmod(0o640)
        command = ["/usr/sbin/cupsd", "-f", "-c", str(folder / "cupsd.conf"), "-s", str(folder / "cups-files.conf")]
        monkeypatch.setenv("CUPS_SERVER", str(folder / "socket"))
        with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
            try:
                assert eventually(lambda: listens(folder / "socket"))
                assert process.poll() is None
                yield folder
            finally:
                process.terminate()


@pytest.mark.lab  # whose packages it needs, and root
def test_a_real_printer(pdf: Path, cups: Path) -> None:
    X2GoPrintActionPRINT(printer="office").do_print(pdf, "; $(id)", pdf.parent)
    assert [path.read_bytes() for path in (cups / "requests").glob("d*")] == [PDF]  # CUPS keeps what it prints
    with pytest.raises(X2GoPrintActionException, match="lp ended with status 1") as caught:
        X2GoPrintActionPRINT(printer="attic").do_print(pdf, "letter", pdf.parent)
    assert "does not exist" in str(caught.value)
