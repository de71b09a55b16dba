"""The run in words: a table of the bounds and a table of all figures, as Markdown.

It knows rows and figures and measures nothing; what has no figure is told with its reason.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.contestants import CONTESTANTS
from benchmarks.figures import Figures
from benchmarks.rows import ROWS, Row

__all__ = ["markdown", "put_into", "shown"]

SCALES = {"us": (1e6, "µs"), "ms": (1e3, "ms"), "s": (1.0, "s"), "MB/s": (1.0, "MB/s"), "/s": (1.0, "/s"),
          "MB": (1e-6, "MB"), "1": (1.0, "")}  # fmt: skip
BEGIN, END = "<!-- begin of the figures -->", "<!-- end of the figures -->"


def shown(value: float | None, unit: str, *, with_unit: bool = True) -> str:
    """A figure with three digits, or ``–``."""
    if value is None:
        return "–"
    scale, name = SCALES[unit]
    number = value * scale
    text = f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"
    return f"{text} {name}".strip() if with_unit else text


def markdown(figures: Figures) -> str:
    """Everything that is to be told."""
    return "\n".join([*_about(figures), "", *_bounds(figures), "", *_all_figures(figures), "", *_reasons(figures)])


def _about(figures: Figures) -> list[str]:
    about = figures.about
    versions = ", ".join(version for version in dict.fromkeys(about.get("versions", {}).values()) if version)
    load = ", ".join(f"{value:g}" for value in about.get("load", []))
    machine = f"{about.get('cores')} cores shared by both ends, load {load}"
    what = f"Python {about.get('python')}, {about.get('ssh')}, crl {about.get('revision')}; {versions}."
    lines = [f"{about.get('date')}, {about.get('rounds')} rounds in {about.get('minutes')} minutes, {machine}, {what}"]
    for one in about.get("later", []):
        load = ", ".join(f"{value:g}" for value in one["load"])
        tasks = ", ".join(f"`{task}`" for task in one["tasks"])
        lines.append(
            f"\nLater, {one['date']}, {one['rounds']} rounds in {one['minutes']} minutes, load {load}, "
            f"crl {one['revision']}: {tasks}. {one['note']}".rstrip()
        )
    if about.get("interrupted"):
        lines.append("\n**The run was ended before it was through.**")
    if about.get("note"):
        lines.append(f"\n{about['note']}")
    lines.extend(f"\n**{who} did not take part**: {why}" for who, why in about.get("refused", {}).items())
    return lines


def _bounds(figures: Figures) -> list[str]:
    lines = ["| | what | crl | bound | comes to | |", "|---|---|---|---|---|---|"]
    for row in ROWS:
        for number, bound in enumerate(row.bounds):
            verdict = bound.judge(figures)
            words = {True: "met", False: "**missed**", None: "not judged"}[verdict.met]
            ours = shown(figures.median(row.figure, "crl"), row.unit)
            head = ["", "", ""] if number else [str(row.issue), row.title, ours]
            lines.append("| " + " | ".join([*head, bound.text, verdict.shown, words]) + " |")
    return lines


def _all_figures(figures: Figures) -> list[str]:
    names = [one.name for one in CONTESTANTS if any(figures.median(row.figure, one.name) is not None for row in ROWS)]
    lines = ["| median | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for row in ROWS:
        cells = [_cell(figures, row, name) for name in names]
        if any(cell != "–" for cell in cells):
            unit = SCALES[row.unit][1]
            lines.append(f"| {row.title}{f', {unit}' if unit else ''} | " + " | ".join(cells) + " |")
    return lines


def _cell(figures: Figures, row: Row, name: str) -> str:
    return shown(figures.median(row.figure, name), row.unit, with_unit=False)


def _reasons(figures: Figures) -> list[str]:
    """Failures, and what is not there; the same reason once."""
    found: dict[tuple[str, str], list[str]] = {}
    for task, reasons in figures.reasons.items():
        for who, why in reasons.items():
            found.setdefault((who, why.splitlines()[0]), []).append(task)
    return [f"* {who}: {', '.join(tasks)}: {why}" for (who, why), tasks in found.items()]


def put_into(path: Path, text: str) -> None:
    """Put the tables between their marks in a file, which may be new."""
    old = path.read_text(encoding="utf-8") if path.exists() else f"{BEGIN}\n{END}\n"
    head, _, rest = old.partition(BEGIN)
    tail = rest.partition(END)[2]
    path.write_text(f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}", encoding="utf-8")
