"""What is printed in a session by the server's CUPS arrives here as PDF, and so do files of the MIME box."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crl.lab import Lab
from crl.targets import Target
from crl.x2go import ClientDisplay, X2GoSession
from crl.x2go._boxqueue import FinishedJob
from crl.x2go.mimeboxactions import X2GoMIMEboxActionSAVEAS
from crl.x2go.x2go_exceptions import (
    X2GoMIMEboxActionException,
    X2GoMIMEboxQueueException,
    X2GoPrintActionException,
    X2GoPrintException,
)
from tests.link.peers import eventually
from tests.x2go.conftest import QUIET
from tests.x2go.printing import Told

pytestmark = pytest.mark.lab

Session = Callable[..., X2GoSession]
PAGE = "%!PS-Adobe-3.0\n/Helvetica findfont 20 scalefont setfont 72 700 moveto (A page of {}) show showpage\n"


def text_of(pdf: Path) -> str:
    done = subprocess.run(["pdftotext", str(pdf), "-"], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout


def print_there(target: Target, words: str, title: str) -> None:
    """Print a page in the account of a target, as an application in the session would."""
    target.run(["lp", "-t", title, "-"], input=PAGE.format(words).encode(), check=True, timeout=30)


def printed(session: X2GoSession, target: Target, words: str, title: str) -> FinishedJob:
    """Print a page until it comes: cups-x2go drops a job, and says so to nobody, unless the session is listed.

    It asks the server's list once for the sessions that run, and once for the folders mounted in each, and drops the
    job where the database of both is locked for two seconds. The server's daemon may also suspend a session that was
    just resumed; crl resumes it then, but a job in between is lost.
    """

    def come() -> list[FinishedJob]:
        return [job for job in session.wait_for_print_jobs(0) if job.title == title]

    for limit in (20.0, 40.0, 60.0):
        print_there(target, words, title)
        if eventually(come, limit):
            return come()[0]
    raise AssertionError("no page came")


@pytest.mark.usefixtures("nothing_left")
def test_a_page_and_a_file(session: Session, alpha: Target, tmp_path: Path) -> None:
    client = Told(HOOK_open_mimebox_saveas_dialog=lambda name: Path(name).rename(tmp_path / "kept.txt"))
    one = session(
        alpha, cmd="xterm", printing=True, print_action="PDFSAVE",
        print_action_args={"save_to_folder": tmp_path / "out"}, allow_mimebox=True,
        mimebox_action=X2GoMIMEboxActionSAVEAS(client), mimebox_extensions=["txt"],
    )  # fmt: skip
    one.start()
    assert one.last_error is None
    assert one.terminal_session is not None
    environment = one.terminal_session.environment()
    job = printed(one, alpha, "alpha", "../My $(letter); rm -rf")
    assert job.error is None
    assert (job.title, job.action) == ("../My $(letter); rm -rf", "PDFSAVE")
    assert job.result == tmp_path / "out" / "my-letter-rm-rf.pdf"
    assert "A page of alpha" in text_of(job.result)
    box = environment["X2GO_MIMEBOX"]
    assert environment["X2GO_SPOOLDIR"] == box.replace("mimebox", "spool")
    alpha.run(["sh", "-c", 'cd "$0" && echo words > a.txt && echo words > b.sh', box], check=True)
    assert one.wait_for_mimebox_files()[0].error is None
    assert (tmp_path / "kept.txt").read_text() == "words\n"
    assert alpha.run(["ls", box]).stdout == "b.sh\n"
    one.suspend()
    one.resume()
    second = printed(one, alpha, "beta", "second")
    assert "A page of beta" in text_of(second.result)
    one.set_print_action("PRINTCMD", print_cmd=["cp", "-t", str(tmp_path)])
    third = printed(one, alpha, "gamma", "third")
    assert third.error is None
    assert "A page of gamma" in text_of(tmp_path / third.name.removesuffix(".ready"))
    one.terminate()
    with pytest.raises(X2GoPrintException, match="has no printing"):
        one.wait_for_print_jobs()
    with pytest.raises(X2GoMIMEboxQueueException, match="has no MIME box"):
        one.wait_for_mimebox_files()


@pytest.fixture
def login(lab: Lab, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What a session needs that logs in by itself."""
    host = lab.host("alpha")
    with ClientDisplay.start() as display:
        yield {
            "server": host.address, "username": host.user("zsh").login, "key_filename": str(lab.key("zsh")),
            "known_hosts": lab.known_hosts, "sessions_rootdir": tmp_path / "x2go", "client_display": display,
            "client_rootdir": tmp_path / "client", "at_exit": "terminate", **QUIET,
        }  # fmt: skip


@pytest.mark.long
@pytest.mark.usefixtures("nothing_left")
def test_a_login_of_its_own_and_the_clients_settings(login: dict[str, Any], alpha: Target, tmp_path: Path) -> None:
    (tmp_path / "client").mkdir()
    (tmp_path / "client" / "printing").write_text(f"[view]\nopen=0\n[save]\nfolder={tmp_path}/out\n")
    with X2GoSession(cmd="xterm", printing=True, **login) as one:
        one.connect()
        one.start()
        assert printed(one, alpha, "alpha", "letter").result == tmp_path / "out" / "letter.pdf"
        name = one.get_session_name()
        assert (tmp_path / "x2go" / f"S-{name}" / "spool").is_dir()
    assert not list((tmp_path / "x2go").glob("S-*"))


@pytest.mark.usefixtures("nothing_left")
def test_actions_that_are_not_there_are_told_before_a_start(session: Session, alpha: Target) -> None:
    with pytest.raises(X2GoPrintActionException, match="no print action 'BURN'"):
        session(alpha, cmd="xterm", printing=True, print_action="BURN").start()
    with pytest.raises(X2GoMIMEboxActionException, match="needs a client"):
        session(alpha, cmd="xterm", allow_mimebox=True, mimebox_action="SAVEAS").start()
    with pytest.raises(X2GoPrintActionException, match="no print action 'BURN'"):
        session(alpha, cmd="xterm").set_print_action("BURN")


@pytest.mark.usefixtures("nothing_left")
def test_a_server_that_cannot(session: Session, lab: Lab, alpha: Target) -> None:
    host = lab.host("alpha")
    host.exec(["chmod", "600", "/dev/fuse"])
    try:
        one = session(alpha, cmd="xterm", printing=True, allow_mimebox=True, print_action="PDFSAVE")
        one.start()
        assert one.running
        assert re.search(r"MIME box: .*fuse", str(one.last_error))
        terminal = one.terminal_session
        assert terminal is not None
        with pytest.raises(X2GoPrintException, match="the server does not have the folder of the print queue"):
            terminal.start_printing()
        assert terminal.box_environment() == {}
    finally:
        host.exec(["chmod", "666", "/dev/fuse"])
    terminal.start_printing()
    one.verify(["xterm"])
    one.terminate()
