"""Print jobs as x2goprint leaves them in the spool folder, and a client that remembers what it was told."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

PDF = b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer << /Root 1 0 R >>\n%%EOF\n"


def spool(folder: Path, name: str = "pat-50-1795219224_stDXFCE_dp24_7-pat-cupsjob.pdf", title: str = "letter") -> str:
    """Put a print job there the way x2goprint does; the name of its ``.ready`` file."""
    (folder / name).write_bytes(PDF)
    note = folder / f"{name}.notready"
    note.write_text(f"{name}\n{title}")
    note.rename(folder / f"{name}.ready")
    return f"{name}.ready"


class Told:
    """A client whose hooks remember what they were told; `answers` are what they give back."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.told = threading.Event()

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("HOOK_"):
            raise AttributeError(name)

        def hook(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, args, kwargs))
            self.told.set()
            answer = self.answers.get(name)
            return answer(*args) if callable(answer) else answer

        return hook
