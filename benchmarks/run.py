"""Measures crl against floors and peers in one interleaved run, and writes table, chart and raw figures.

Usage: ``benchmarks/run``, which makes its environment, or ``python -m benchmarks.run``. As root, because of the lab.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks.chart import draw
from benchmarks.contestants import CONTESTANTS
from benchmarks.figures import Figures
from benchmarks.report import markdown, put_into
from benchmarks.schedule import measure
from benchmarks.tasks import PHASES

__all__ = ["main"]

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "crl" / "benchmarks"


def _arguments() -> argparse.Namespace:
    phases = ", ".join(phase.name for phase in PHASES)
    parser = argparse.ArgumentParser(prog="benchmarks/run", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=10, help="rounds of each task; some do fewer")
    parser.add_argument("--only", action="append", default=[], help=f"a task, or a phase: {phases}; may be repeated")
    names = [one.name for one in CONTESTANTS]
    parser.add_argument("--peers", action="append", default=[], choices=names, help="ask these; may be repeated")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder for the peers' environments")
    parser.add_argument("--output", type=Path, help="folder for README.md, figures.json, chart.png")
    parser.add_argument("--add", action="store_true", help="keep what --output's figures.json has of other tasks")
    parser.add_argument("--figures", type=Path, help="measure nothing: tell the figures of this file again")
    parser.add_argument("--note", default="", help="what is to be known about this run")
    return parser.parse_args()


def _about(started: float, rounds: int, note: str) -> dict[str, object]:
    ssh = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False).stderr.strip()
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "date": time.strftime("%Y-%m-%d"),
        "minutes": round((time.monotonic() - started) / 60, 1),
        "rounds": rounds,
        "cores": os.cpu_count(),
        "load": [round(value, 2) for value in os.getloadavg()],
        "python": platform.python_version(),
        "kernel": platform.release(),
        "ssh": ssh,
        "revision": revision,
        "note": note,
    }


def _read(path: Path) -> Figures:
    return Figures(**json.loads(path.read_text(encoding="utf-8")))


def _tell(line: str) -> None:
    print(f"== {line}", file=sys.stderr, flush=True)


def main() -> None:
    """Measure, or read what was measured, and tell it."""
    arguments = _arguments()
    # Everything that was started is ended also when we are told to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if arguments.figures is not None:
        figures = _read(arguments.figures)
    else:
        started = time.monotonic()
        figures = Figures()
        try:
            measure(figures, arguments.rounds, arguments.only, arguments.peers, arguments.cache, _tell)
        except (KeyboardInterrupt, SystemExit):
            figures.about["interrupted"] = True
        figures.about.update(_about(started, arguments.rounds, arguments.note))
        if arguments.add and arguments.output is not None:
            figures = _read(arguments.output / "figures.json").with_later(figures)
    text = markdown(figures)
    print(text)
    if arguments.output is not None:
        arguments.output.mkdir(parents=True, exist_ok=True)
        (arguments.output / "figures.json").write_text(json.dumps(asdict(figures), indent=1) + "\n", encoding="utf-8")
        put_into(arguments.output / "README.md", text)
        draw(figures, arguments.output / "chart.png")


if __name__ == "__main__":
    main()
