"""Runs the demonstration: ``python -m demo [--local] [--report FOLDER] [--keep-lab]``.

It decides what can be done on this machine, does it, and writes the report whatever happens. Exit status 0 only when
every check held, 1 when one failed, 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path

from crl.errors import CrlError
from crl.interactivesessions import BashShell
from crl.lab import Lab, requirements
from crl.secrets import redact
from crl.targets import Target
from demo.hosts import use_host
from demo.labpart import LabPart
from demo.recorder import Recorder
from demo.report import write_report


def main() -> int:
    """Run it; the exit status."""
    arguments = _arguments()
    shutil.rmtree(arguments.report, ignore_errors=True)
    arguments.report.mkdir(parents=True)
    recorder = Recorder(arguments.report)
    begin = time.monotonic()
    found = requirements()
    failed = False
    try:
        if arguments.local or not found.ok:
            why = "asked for with --local" if arguments.local else "; ".join(found.missing)
            recorder.leave_out(f"the lab's hosts, sudo, jump hosts and X2Go: {why}")
            _local_part(recorder)
        else:
            with _own_temporary_folder():
                LabPart(recorder, Lab(), keep=arguments.keep_lab).run()
    except (CrlError, OSError, RuntimeError) as error:
        failed = True
        sys.stderr.write(redact("".join(traceback.format_exception(error))))
    finally:
        page = write_report(recorder, "crl: the main job", _machine(), time.monotonic() - begin)
        sys.stderr.write(f"\nThe report: {page}\n")
    return 0 if recorder.ok and not failed else 1


@contextmanager
def _own_temporary_folder() -> Iterator[None]:
    """Where this run and its suites have their temporary files, beside those of whatever else runs on this machine."""
    before = os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory(prefix="crl-demo-") as folder:
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = None
            os.environ.pop("TMPDIR")
            if before is not None:
                os.environ["TMPDIR"] = before


def _local_part(recorder: Recorder) -> None:
    """The host part against this machine."""
    recorder.section("This machine, through a local shell")
    with closing(Target(BashShell(), name="this machine")) as target:
        use_host(recorder, target, platform.node())


def _machine() -> str:
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return f"{system}, Python {platform.python_version()}, crl {version('crl')}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/demo", description="The main job of crl, for real, with a report.")
    parser.add_argument("--local", action="store_true", help="only the host part, on this machine")
    parser.add_argument("--report", type=Path, default=Path("demo-report"), help="folder for the report")
    parser.add_argument("--keep-lab", action="store_true", help="leave the lab up at the end")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
