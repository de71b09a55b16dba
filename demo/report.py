"""The demonstration's report: one HTML page with pictures beside it.

It turns a `Recorder` into a page that needs nothing from the network. It knows nothing of how the steps were done, and
escapes every text that it did not write itself.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

from demo.recorder import Recorder, Step

__all__ = ["write_report"]

STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #2a7d2e; --bad: #c62828; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } .verdict { font-size: 1.2rem; font-weight: 600; }
.good { color: var(--good); } .bad { color: var(--bad); }
table { border-collapse: collapse; width: 100%; table-layout: fixed; margin: .5rem 0 1.5rem; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th:first-child { width: 16rem; } th:last-child { width: 5rem; text-align: right; }
ul.checks { list-style: none; margin: 0; padding: 0; font-size: .85rem; }
td.time { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
dl { margin: 0; display: grid; grid-template-columns: max-content 1fr; gap: 0 .8rem; font-size: .85rem; }
dt { opacity: .7; } dd { margin: 0; overflow-wrap: anywhere; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: .5rem 0; width: 21rem; }
img { width: 100%; border: 1px solid var(--line); } figcaption { font-size: .85rem; opacity: .8; }
pre { white-space: pre-wrap; font-size: .85rem; } nav a { margin-right: 1rem; }
"""


def write_report(recorder: Recorder, title: str, machine: str, seconds: float) -> Path:
    """Write ``index.html`` into the recorder's folder.

    Args:
        recorder: What happened.
        title: The page's title.
        machine: One line about the machine and the versions.
        seconds: How long all took.

    Returns:
        The page.
    """
    verdict = ("good", "Every check held.") if recorder.ok else ("bad", "Something failed: see the steps marked so.")
    links = "".join(f'<a href="{escape(target)}">{escape(name)}</a>' for name, target in recorder.links.items())
    left_out = "".join(f"<li>{escape(text)}</li>" for text in recorder.left_out)
    body = [
        f"<h1>{escape(title)}</h1><p>{escape(machine)}, {seconds:.0f} s in all.</p>",
        f'<p class="verdict {verdict[0]}">{verdict[1]}</p>',
        f"<nav>{links}</nav>",
        f"<h2>Left out</h2><ul>{left_out}</ul>" if left_out else "",
    ]
    for section in recorder.sections:
        rows = "".join(_row(step) for step in section.steps)
        body.append(
            f"<h2>{escape(section.title)}</h2><table><thead><tr><th>Step</th><th>Found</th><th>Time</th></tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )
    page = recorder.folder / "index.html"
    page.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f"<body>{''.join(body)}</body></html>\n",
        encoding="utf-8",
    )
    return page


def _row(step: Step) -> str:
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in step.facts.items())
    pictures = "".join(
        f'<figure><a href="{escape(p.file)}"><img src="{escape(p.file)}" alt="{escape(p.caption)}"></a>'
        f"<figcaption>{escape(p.caption)}</figcaption></figure>"
        for p in step.pictures
    )
    checks = "".join(f'<li><span class="good">✓</span> {escape(text)}</li>' for text in step.checks)
    error = f'<pre class="bad">{escape(step.error)}</pre>' if step.error else ""
    mark = '<span class="bad">✗</span>' if step.error else '<span class="good">✓</span>'
    return (
        f'<tr><td>{mark} {escape(step.title)}</td><td><dl>{facts}</dl><ul class="checks">{checks}</ul>{error}'
        f'<div class="pictures">{pictures}</div></td><td class="time">{step.seconds:.2f} s</td></tr>'
    )
