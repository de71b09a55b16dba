"""A page printed in an X2Go session, until it is a PDF file at the client, beside CUPS alone.

Three ways on ``alpha``: through the session's printer to the client; by the same printer, filters, backend and scripts
of the server into a folder of the server's own, which is CUPS' time without a client; and by cups-pdf, a lighter
backend that makes a file of it too. The clock runs from ``lp`` until the whole file is there.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks.peers.base import Settings
from crl.targets import Target
from crl.x2go import ClientDisplay, X2GoSession

__all__ = ["PrintsByCrl"]

PAGE = b"%!PS-Adobe-3.0\n/Helvetica findfont 20 scalefont setfont 72 700 moveto (A page) show showpage\n"
FILE = ".crl-page.ps"
LIMIT = 120.0
IDLE = 'while [ -n "$(lpstat -o)" ]; do sleep 0.05; done'
# Prints, and waits for the file: x2goprint's note, which comes after the PDF file, or cups-pdf's file.
PRINT = 'rm -rf "$2"/*; lp -d "$1" -t page "$3" >&2 && until ls "$2" 2>/dev/null | grep -q "$4"; do sleep 0.02; done'
# The server believes that the client's folder is mounted, and leaves jobs in a folder of its own.
PRETEND = """
mkdir -p "$2" && chmod 700 "$2" || exit 1
perl -MX2Go::Server::DB=db_insertmount -e 'db_insertmount(@ARGV, "127.0.0.1")' "$1" "$2"
x2golistmounts "$1" | grep -qF "$2"
"""


class PrintsByCrl:
    """What crl's own peer can do beside calls."""

    settings: Settings

    def x2go_print(self, pages: int) -> dict[str, float]:
        """Seconds of a page by each of the three ways, in turn, the best of some; a page before warms CUPS up."""
        with ExitStack() as stack:
            display = stack.enter_context(ClientDisplay.start())
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            # Jobs go into all sessions of an account, so each way has an account of its own.
            ours = _Account(self.settings, "alpha-zsh", display, stack, folder)
            floor = _Account(self.settings, "alpha-bash", display, stack, None)
            spool, home = floor.pretend(), floor.session.control_session.server.get_facts().home
            stack.callback(floor.target.run, ["rm", "-rf", spool, f"{home}/PDF"])
            ways: dict[str, Callable[[], None]] = {
                "cups": lambda: floor.to_a_folder("x2go", spool, "[.]ready$"),
                "client": ours.to_the_client,
                "cups-pdf": lambda: floor.to_a_folder("pdf", f"{home}/PDF", "[.]pdf$", to_its_end=True),
            }
            taken: dict[str, list[float]] = {way: [] for way in ways}
            for number in range(pages + 1):
                for way, run in ways.items():
                    floor.settle()
                    began = time.perf_counter()
                    run()
                    if number:
                        taken[way].append(time.perf_counter() - began)
            return {way: min(series) for way, series in taken.items()}


class _Account:
    """An account with a running session."""

    def __init__(
        self, settings: Settings, alias: str, display: ClientDisplay, stack: ExitStack, printed: Path | None
    ) -> None:
        self.target = stack.enter_context(Target.from_ssh_alias(alias, config=settings.ssh_config))
        self.target.files.write(FILE, PAGE)
        stack.callback(self.target.files.remove, FILE)
        self.session = stack.enter_context(
            X2GoSession(
                target=self.target, client_display=display, cmd="xterm", link="lan", pack="nopack",
                printing=printed is not None, print_action="PDFSAVE", print_action_args={"save_to_folder": printed},
            )
        )  # fmt: skip
        self.session.start()
        if self.session.last_error is not None:
            raise self.session.last_error
        self._jobs = 0

    def to_the_client(self) -> None:
        """Print a page and have it here."""
        self._jobs += 1
        self.target.run(["lp", "-d", "x2go", "-t", "page", FILE], check=True)
        job = self.session.wait_for_print_jobs(self._jobs, LIMIT)[-1]
        if job.error is not None:
            raise job.error

    def pretend(self) -> str:
        """Have the server believe that a folder for print jobs is mounted; the folder."""
        name = self.session.get_session_name() or ""
        folder = f"/tmp/.x2go-{self.session.info.username}/spool/C-{name}"
        self.target.run(["sh", "-c", PRETEND, "sh", name, folder], check=True)
        return folder

    def to_a_folder(self, printer: str, folder: str, ending: str, *, to_its_end: bool = False) -> None:
        """Print a page on a printer that leaves a file on the server; cups-pdf's is there before it is whole."""
        script = f"{PRINT}; {IDLE}" if to_its_end else PRINT
        self.target.run(["sh", "-c", script, "sh", printer, folder, FILE, ending], check=True, timeout=LIMIT)

    def settle(self) -> None:
        """Wait until CUPS has nothing to do."""
        self.target.run(["sh", "-c", IDLE], check=True, timeout=LIMIT)
