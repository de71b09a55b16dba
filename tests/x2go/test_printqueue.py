"""Print jobs in a folder become what the action says, whatever the server has put there, and nothing is left."""

from __future__ import annotations

import logging
import os
import resource
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crl.x2go.log import loglevel_INFO
from crl.x2go.printactions import X2GoPrintAction, X2GoPrintActionPDFSAVE
from crl.x2go.printqueue import X2GoPrintJob, X2GoPrintQueue, x2go_printjob_handler
from crl.x2go.x2go_exceptions import (
    X2GoPrintActionException,
    X2GoPrintQueueException,
    X2GoTimeOutException,
)
from tests.link.peers import eventually
from tests.x2go.printing import PDF, Told, spool

Make = Callable[..., X2GoPrintQueue]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "S-pat-50" / "spool"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def make(folder: Path) -> Iterator[Make]:
    """Make queues; after the test their threads are gone, and nothing lies beside the spool folder."""
    made: list[X2GoPrintQueue] = []

    def one(**options: Any) -> X2GoPrintQueue:
        given = {"spool_dir": folder, "profile_name": "office", "session_name": "pat-50", **options}
        made.append(X2GoPrintQueue(**given))
        made[-1].start()
        return made[-1]

    yield one
    for queue in made:
        queue.stop_thread()
        assert not queue.is_alive()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("crl-x2go-print")]
    assert list(folder.parent.iterdir()) == [folder]


def test_jobs_are_stored_under_their_titles(make: Make, folder: Path, tmp_path: Path) -> None:
    ready = spool(folder, title="Büro: Bericht 1")
    queue = make(print_action="PDFSAVE", print_action_args={"save_to_folder": str(tmp_path / "out")})
    job = queue.wait_for_jobs()[0]
    assert (job.name, job.title, job.action, job.error) == (ready, "Büro: Bericht 1", "PDFSAVE", None)
    assert job.result == tmp_path / "out" / "buro-bericht-1.pdf"
    assert job.result.read_bytes() == PDF
    assert job.result.stat().st_mode & 0o777 == 0o600
    spool(folder, "second.pdf", "Büro: Bericht 1")
    assert queue.wait_for_jobs(2)[1].result.name == "buro-bericht-1(1).pdf"
    assert queue.job_history == [ready, "second.pdf.ready"]
    assert queue.active_jobs == {}
    assert list(folder.iterdir()) == []


def test_the_settings_say_what_happens_at_the_time_of_each_job(make: Make, folder: Path, tmp_path: Path) -> None:
    from crl.x2go import X2GoClientPrinting

    settings = X2GoClientPrinting(tmp_path / "client" / "printing")
    settings.store_print_action("PDFSAVE", save_to_folder=str(tmp_path / "one"))
    assert settings.write()
    queue = make(client_rootdir=tmp_path / "client")
    spool(folder)
    assert queue.wait_for_jobs()[0].result.parent == tmp_path / "one"
    settings.store_print_action("PDFSAVE", save_to_folder=str(tmp_path / "two"))
    assert settings.write()
    spool(folder)
    assert queue.wait_for_jobs(2)[1].result.parent == tmp_path / "two"
    queue.set_print_action("PDFSAVE", save_to_folder=str(tmp_path / "three"))
    spool(folder)
    assert queue.wait_for_jobs(3)[2].result.parent == tmp_path / "three"


def test_a_pause_leaves_jobs_where_they_are(make: Make, folder: Path, tmp_path: Path) -> None:
    queue = make(print_action=X2GoPrintActionPDFSAVE(save_to_folder=tmp_path / "out"))
    queue.pause()
    ready = spool(folder)
    with pytest.raises(X2GoTimeOutException, match="0 of 1 jobs have come through the print queue"):
        queue.wait_for_jobs(timeout=0.3)
    assert queue._incoming_print_jobs == [(ready, ready.removesuffix(".ready"), "letter")]
    queue.resume()
    assert queue.wait_for_jobs()[0].error is None


def test_an_action_of_ones_own(make: Make, folder: Path, tmp_path: Path) -> None:
    class Count(X2GoPrintAction):
        def _do_print(self, pdf_file: str, job_title: str, spool_dir: str) -> Any:
            return Path(pdf_file).read_bytes(), job_title, Path(pdf_file).parent == Path(spool_dir)

    queue = make(print_action=Count)
    spool(folder, title="\x1b[31m-o\nraw  title\t!")
    job = queue.wait_for_jobs()[0]
    assert job.result == (PDF, "[31m-o", True)
    assert job.action == "Count"


def link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def nothing(_: Path) -> None:
    pass


def no_pdf(path: Path) -> None:
    path.write_text("<html>%PDF" * 10)


BAD = {
    "a path": ("../../victim.pdf\nt", nothing, "is not the name of a PDF file"),
    "absolute": ("/etc/passwd\nt", nothing, "is not the name of a PDF file"),
    "an option": ("-rf.pdf\nt", nothing, "is not the name of a PDF file"),
    "hidden": (".profile\nt", nothing, "is not the name of a PDF file"),
    "shell": ("$(touch x).pdf\nt", nothing, "is not the name of a PDF file"),
    "not a pdf by name": ("job.desktop\nt", nothing, "is not the name of a PDF file"),
    "nothing at all": ("", nothing, "is not the name of a PDF file"),
    "very long": ("x" * 20_000, nothing, "has more than 16384 bytes"),
    "not there": ("job.pdf\nt", nothing, "cannot be read: No such file"),
    "a link": ("job.pdf\nt", link, "is a link"),
    "a pipe": ("job.pdf\nt", pipe, "is not a plain file"),
    "no pdf": ("job.pdf\nt", no_pdf, "does not begin with %PDF-"),
}


@pytest.mark.parametrize("kind", BAD)
def test_garbage_is_told_and_done_away_with(make: Make, folder: Path, tmp_path: Path, kind: str) -> None:
    note, put, why = BAD[kind]
    victim = tmp_path / "victim.pdf"
    victim.write_bytes(PDF)
    put(folder / "job.pdf")
    (folder / "job.pdf.ready").write_text(note)
    client = Told()
    queue = make(print_action="PDFSAVE", print_action_args={"save_to_folder": tmp_path / "out"}, client_instance=client)
    job = queue.wait_for_jobs()[0]
    assert isinstance(job.error, X2GoPrintQueueException)
    assert why in str(job.error)
    assert [call[0] for call in client.calls] == ["HOOK_printaction_error"]
    told = client.calls[0][2]
    assert (told["profile_name"], told["session_name"], told["printer"]) == ("office", "pat-50", None)
    assert why in told["err_msg"]
    assert victim.read_bytes() == PDF
    assert not (tmp_path / "out").exists()
    spool(folder, "good.pdf")
    assert queue.wait_for_jobs(2)[1].error is None
    assert not list(folder.glob("*.ready"))


def test_what_cannot_be_removed_is_told_once(make: Make, folder: Path) -> None:
    (folder / "folder.ready").mkdir()
    client = Told()
    queue = make(print_action="PDFSAVE", client_instance=client)
    queue.wait_for_jobs()
    with pytest.raises(X2GoTimeOutException):
        queue.wait_for_jobs(2, timeout=0.5)
    assert len(client.calls) == 1


def test_a_note_that_is_a_link_says_nothing(make: Make, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret.pdf\nmy secret")
    (folder / "job.ready").symlink_to(tmp_path / "secret")
    queue = make(print_action="PDFSAVE")
    assert "is a link" in str(queue.wait_for_jobs()[0].error)
    assert (tmp_path / "secret").exists()
    assert list(folder.iterdir()) == []


def test_the_folder_goes_and_comes_back(make: Make, folder: Path, tmp_path: Path) -> None:
    client = Told()
    queue = make(print_action="PDFSAVE", print_action_args={"save_to_folder": tmp_path}, client_instance=client)
    folder.rmdir()
    assert client.told.wait(10)
    folder.mkdir()
    spool(folder)
    assert queue.wait_for_jobs()[0].error is None
    assert [call[0] for call in client.calls] == ["HOOK_printing_not_available"]


def test_hooks_that_fail_and_actions_that_fail(make: Make, folder: Path) -> None:
    class Broken(X2GoPrintAction):
        def _do_print(self, pdf_file: str, job_title: str, spool_dir: str) -> Any:
            raise ValueError("an application's mistake")

    def fails(*_: Any) -> None:
        raise LookupError("another one")

    queue = make(print_action=Broken(), client_instance=Told(HOOK_printaction_error=fails))
    spool(folder)
    assert isinstance(queue.wait_for_jobs()[0].error, ValueError)
    spool(folder)
    assert len(queue.wait_for_jobs(2)) == 2


def test_the_end_ends_viewers(make: Make, folder: Path, tmp_path: Path) -> None:
    started = tmp_path / "started"
    viewer = f"sh -c 'echo $$ > {started}; exec sleep 600' viewer"
    queue = make(print_action="PDFVIEW", print_action_args={"pdfview_cmd": viewer})
    spool(folder)
    assert eventually(lambda: started.exists() and started.read_text().endswith("\n"))
    assert list(queue.active_jobs)
    queue.stop_thread()
    assert not Path(f"/proc/{started.read_text().strip()}").exists()
    assert queue.active_jobs == {}


def test_the_end_waits_for_a_job_that_still_logs_what_became_of_it(make: Make, folder: Path) -> None:
    class Slow(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "is done" in record.getMessage():
                logging_now.set()
                stopping.wait(20)
                threading.Event().wait(0.3)

    logging_now, stopping = threading.Event(), threading.Event()
    logger = logging.Logger("slow")
    logger.addHandler(Slow())
    queue = make(print_action=X2GoPrintAction, logger=logger, loglevel=loglevel_INFO)
    spool(folder)
    assert queue.wait_for_jobs()[0].error is None
    assert logging_now.wait(20)
    stopping.set()
    queue.stop_thread()
    assert not [thread for thread in threading.enumerate() if thread.name == "crl-x2go-print-job"]


def test_what_a_viewer_shows_stays_as_long_as_the_queue(make: Make, folder: Path, tmp_path: Path) -> None:
    shown = tmp_path / "shown"
    queue = make(print_action="PDFVIEW", print_action_args={"pdfview_cmd": f"ln -s -t {tmp_path}"})
    spool(folder, title="A / B")
    job = queue.wait_for_jobs()[0]
    assert job.error is None
    assert not shown.exists()
    assert job.result.name == "a-b.pdf"
    assert (tmp_path / "a-b.pdf").read_bytes() == PDF
    queue.stop_thread()
    assert not job.result.exists()
    (tmp_path / "a-b.pdf").unlink()


def test_a_queue_needs_a_folder_and_an_action(tmp_path: Path) -> None:
    with pytest.raises(X2GoPrintQueueException, match="needs the folder"):
        X2GoPrintQueue()
    (tmp_path / "file").touch()
    with pytest.raises(X2GoPrintQueueException, match="cannot be made"):
        X2GoPrintQueue(spool_dir=tmp_path / "file" / "spool")
    with pytest.raises(X2GoPrintActionException, match="no print action 'BURN'"):
        X2GoPrintQueue(spool_dir=tmp_path / "spool", print_action="BURN")
    with pytest.raises(X2GoPrintQueueException, match="needs its file and its queue"):
        x2go_printjob_handler()
    job = X2GoPrintJob(target=print)
    assert job.daemon
    X2GoPrintQueue(spool_dir=tmp_path / "spool").stop_thread()  # never started


def test_many_jobs_in_two_queues_do_not_meet(make: Make, folder: Path, tmp_path: Path) -> None:
    other = folder.parent / "other"
    other.mkdir()
    one = make(print_action="PDFSAVE", print_action_args={"save_to_folder": tmp_path / "a"})
    two = make(spool_dir=other, print_action="PDFSAVE", print_action_args={"save_to_folder": tmp_path / "b"})
    for number in range(30):
        spool(folder, f"a{number}.pdf", "same")
        spool(other, f"b{number}.pdf", "same")
    assert not [job.error for job in (*one.wait_for_jobs(30), *two.wait_for_jobs(30)) if job.error]
    assert len(list((tmp_path / "a").iterdir())) == len(list((tmp_path / "b").iterdir())) == 30
    two.stop_thread()
    other.rmdir()


@pytest.mark.long
def test_a_job_of_500_megabytes(make: Make, folder: Path, tmp_path: Path) -> None:
    """It is copied in constant memory, and nothing of it is left but what the action keeps."""
    with (folder / "large.pdf").open("wb") as stream:
        stream.write(PDF)
        stream.truncate(500 << 20)
    (folder / "large.pdf.ready").write_text("large.pdf\nlarge")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    job = make(print_action="PDFSAVE", print_action_args={"save_to_folder": tmp_path / "out"}).wait_for_jobs()[0]
    assert job.error is None
    assert job.result.stat().st_size == 500 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
    assert list(folder.iterdir()) == []
    job.result.unlink()
