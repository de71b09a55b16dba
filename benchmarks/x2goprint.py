"""What a page printed in an X2Go session takes until it is a PDF file at the client, beside CUPS alone.

On the lab's host ``alpha``, in turn: the page through the session's printer to the client; the same page by the same
printer, filters, backend and scripts of the server into a folder of the server's own, which is CUPS' time without a
client; and by cups-pdf, a lighter backend that makes a file of it too. The clock runs from ``lp`` until the whole file
is there. The bound is judged by the median of the ratios within the rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from crl.lab import Lab
from crl.targets import Target
from crl.x2go import ClientDisplay, X2GoSession

PAGE = b"%!PS-Adobe-3.0\n/Helvetica findfont 20 scalefont setfont 72 700 moveto (A page) show showpage\n"
FILE = ".crl-page.ps"
BOUND = 1.2
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


class Account:
    """An account of alpha with a running session; jobs go into all sessions of an account, so each way has its own."""

    def __init__(self, lab: Lab, role: str, display: ClientDisplay, stack: ExitStack, printed: Path | None) -> None:
        self.target = stack.enter_context(Target.from_ssh_alias(f"alpha-{role}", config=str(lab.ssh_config)))
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


def measure(lab: Lab, rounds: int) -> dict[str, list[float]]:
    """The seconds of each way in each round."""
    with ExitStack() as stack:
        display = stack.enter_context(ClientDisplay.start())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ours = Account(lab, "zsh", display, stack, folder)
        floor = Account(lab, "bash", display, stack, None)
        spool = floor.pretend()
        home = floor.session.control_session.server.get_facts().home
        ways: dict[str, Callable[[], None]] = {
            "CUPS into a folder of the server": lambda: floor.to_a_folder("x2go", spool, "[.]ready$"),
            "crl: to the client": ours.to_the_client,
            "cups-pdf": lambda: floor.to_a_folder("pdf", f"{home}/PDF", "[.]pdf$", to_its_end=True),
        }
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(rounds + 1):
            for way, run in ways.items():
                floor.settle()
                began = time.perf_counter()
                run()
                if number:  # the first round starts what CUPS starts once
                    taken[way].append(time.perf_counter() - began)
        return taken


def tell(taken: dict[str, list[float]]) -> None:
    """Print the table."""
    floor, ours, other = taken.values()
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"{len(ours)} rounds, medians in seconds; load {load}.\n\n| | {' | '.join(taken)} | bound | comes to | |")
    print(f"|---|{'---|' * len(taken)}---|---|---|")
    medians = " | ".join(f"{statistics.median(series):.3f}" for series in taken.values())
    ratio = statistics.median(mine / theirs for mine, theirs in zip(ours, floor, strict=True))
    verdict = "met" if ratio <= BOUND else "**missed**"
    print(f"| a printed page | {medians} | ≤ {BOUND} × CUPS' own | {ratio:.2f} × | {verdict} |")
    beside = statistics.median(mine / theirs for mine, theirs in zip(ours, other, strict=True))
    print(f"\nBeside cups-pdf: {beside:.2f} ×")


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--rounds", type=int, default=10)
    chosen = arguments.parse_args()
    lab = Lab()
    lab.up()
    tell(measure(lab, chosen.rounds))


if __name__ == "__main__":
    main()
