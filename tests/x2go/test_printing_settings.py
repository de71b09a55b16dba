"""The print settings choose one action, and choosing an action is read back as that action."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from crl.x2go import X2GoClientPrinting, X2GoClientSettings
from crl.x2go.printactions import X2GoPrintActionDIALOG, X2GoPrintActionPDFVIEW, X2GoPrintActionPRINT
from crl.x2go.x2go_exceptions import X2GoClientPrintingException

FILES = Path(__file__).parent / "files"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "printing"


def test_what_x2goclient_stored(path: Path) -> None:
    shutil.copy(FILES / "printing", path)
    printing = X2GoClientPrinting([path])
    assert printing.get_print_action(return_name=True) == "PRINTCMD"
    assert printing.get_property("print_cmd") == 'lpr -P "hp 2" -o media=A4'
    assert printing.get_property("printer") == ""
    assert printing.get_property("save_to_folder") == "PDF"
    printing.set_property("print_cmd", "lpr")
    assert printing.write()
    assert path.read_text() == (FILES / "printing").read_text().replace(r'"lpr -P \"hp 2\" -o media=A4"', "lpr")


@pytest.mark.parametrize(
    ("action", "properties"),
    [
        ("PDFVIEW", {"pdfview_cmd": "evince"}),
        ("PDFSAVE", {"save_to_folder": "/srv/büro; alt"}),
        ("PRINT", {"printer": "hp"}),
        ("PRINTCMD", {"print_cmd": "lpr -h"}),
        ("DIALOG", {}),
    ],
)
def test_choosing_an_action(path: Path, action: str, properties: dict[str, str]) -> None:
    shutil.copy(FILES / "printing", path)
    printing = X2GoClientPrinting(path, client_instance=object())
    printing.store_print_action(action, **properties)
    assert printing.write()
    again = X2GoClientPrinting(path, client_instance=object())
    assert again.get_print_action(return_name=True) == action
    assert {name: again.get_property(name) for name in properties} == properties
    if action == "DIALOG":  # nobody can be asked
        assert X2GoClientPrinting(path).get_print_action(return_name=True) == "PRINTCMD"


def test_a_change_of_the_file_is_seen_at_the_next_job(path: Path) -> None:
    printing = X2GoClientPrinting(path)
    assert printing.get_print_action(return_name=True) == "PDFVIEW"
    path.write_text(path.read_text().replace("open=1", "open=0"))
    assert printing.get_print_action(return_name=True) == "PDFSAVE"
    printing.store_print_action("PRINT")
    assert printing.get_print_action(return_name=True) == "PRINT"
    assert printing.get_print_action(reload=True, return_name=True) == "PDFSAVE"


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda p: p.get_property("colour"), "no print property 'colour'"),
        (lambda p: p.set_property("printer", 1), "has to be a str, not 1"),
        (lambda p: p.store_print_action("BURN"), "no print action 'BURN'"),
        (lambda p: p.store_print_action("PRINT", colour="red"), "no print property"),
    ],
)
def test_what_is_refused(path: Path, call: Any, match: str) -> None:
    printing = X2GoClientPrinting(path)
    before = path.read_bytes()
    with pytest.raises(X2GoClientPrintingException, match=match):
        call(printing)
    assert printing.write()
    assert path.read_bytes() == before


def test_the_action_is_what_the_settings_say(path: Path) -> None:
    printing = X2GoClientPrinting(path, client_instance=object())
    viewer = printing.print_action
    assert (type(viewer), viewer.pdfview_cmd) == (X2GoPrintActionPDFVIEW, "xdg-open")
    assert printing.print_action is viewer
    assert printing.get_print_action(reinit=True) is not viewer
    printing.store_print_action("PRINT", printer="hp")
    assert (type(printing.print_action), printing.print_action.printer) == (X2GoPrintActionPRINT, "hp")
    printing.store_print_action("DIALOG")
    assert type(printing.print_action) is X2GoPrintActionDIALOG


def test_the_files_are_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = X2GoClientSettings()
    assert settings.user_config_file == str(tmp_path / ".x2goclient" / "settings")
    assert settings.get_value("General", "autoresume") is True
    assert X2GoClientPrinting().user_config_file == str(tmp_path / ".x2goclient" / "printing")
