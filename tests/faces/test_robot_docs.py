"""The libraries' documentation: Libdoc makes it without a word; every keyword and argument is described and typed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.faces.artefacts import python

if TYPE_CHECKING:
    from pathlib import Path

KEYWORDS = {
    "TargetLibrary": [
        "Call Remote Function", "Call Remote Function On Fleet", "Close All Targets", "Close Fleet", "Close Target",
        "Find Detached Process", "Get Remote File", "Get Remote File Info", "Get Remote Value", "Get Target Facts",
        "List Remote Folder", "Make Remote Folder", "Open Fleet", "Open Reverse Tunnel", "Open Target", "Open Tunnel",
        "Pull Files", "Pull Files From Fleet", "Push Files", "Push Files To Fleet", "Reboot Target",
        "Remove Remote File", "Run Command", "Run Command On Fleet", "Send Signal To Process",
        "Start Detached Process", "Start Process", "Stop Process", "Switch Fleet", "Switch Target", "Wait For Process",
        "Wait Until Target Is Up", "Write Remote File", "Write To Process",
    ],
    "X2GoLibrary": [
        "Get Session Environment", "Get Session State", "Get Shared Folders", "Get Windows", "List Sessions",
        "Resume Session", "Set Mimebox Action", "Set Print Action", "Share Folder", "Start Application Session",
        "Start Desktop Session", "Suspend Session", "Take Client Picture", "Take Server Picture", "Terminate Session",
        "Unshare Folder", "Verify Session", "Wait For Mimebox Files", "Wait For Print Jobs", "Wait For Tone",
        "Wait For Window",
    ],
}  # fmt: skip


@pytest.mark.parametrize("library", KEYWORDS)
def test_libdoc(library: str, tmp_path: Path) -> None:
    for name in ("doc.html", "doc.json"):
        done = python(tmp_path, "-m", "robot.libdoc", library, name)
        assert (done.status, done.errors) == (0, ""), done.output
        assert done.output.split() == [str(tmp_path / name)]
    doc = json.loads((tmp_path / "doc.json").read_text(encoding="utf-8"))
    assert [keyword["name"] for keyword in doc["keywords"]] == KEYWORDS[library]
    assert (doc["docFormat"], doc["scope"]) == ("HTML", "GLOBAL")
    for keyword in [*doc["inits"], *doc["keywords"]]:
        assert keyword["doc"], keyword["name"]
        for argument in keyword["args"]:
            if argument["name"]:
                assert argument["type"], f"{keyword['name']}: {argument['name']} has no type"
                assert argument.get("doc"), f"{keyword['name']}: {argument['name']} has no description"
