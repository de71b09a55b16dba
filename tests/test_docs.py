"""The documentation's Python examples run, against the lab's hosts.

Invariant: every ``python`` block of README.md and the pages of docs runs as it stands, given the names its text
introduces. tests/faces runs docs/examples, of which the page on pytest shows pieces, and the page on Robot Framework.
"""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image, ImageChops, ImageStat

from crl.lab import LabBroker
from tests.shells import consoles
from tests.shells.test_more_shells import STAND_IN
from tests.x2go.broker_peers import profiles_of

if TYPE_CHECKING:
    from crl.lab import Lab

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"  # taken anew, where CRL_DOCS_PICTURES is set
DIFFERENCE = 25.0  # of 255, in the mean
LARGEST_PICTURE = 100_000
PIECES_OF_EXAMPLES = ("pytest.md", "robot.md")
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


def _pages() -> list[Path]:
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _blocks() -> list[tuple[str, str]]:
    found = []
    for page in _pages():
        if page.name in PIECES_OF_EXAMPLES:
            continue
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append((f"{page.relative_to(ROOT)}:{line}", match.group(1)))
    return found


def _pictures(source: str) -> list[str]:
    """The pictures that an example takes, and the page shows."""
    return re.findall(r'pictures / "([\w-]+\.png)"', source)


def _compare_with_page(taken: Path) -> None:
    """A picture that an example took looks like the one in its page; fonts and places may differ a little."""
    page = PICTURES / taken.name
    if os.environ.get("CRL_DOCS_PICTURES"):
        with Image.open(taken) as picture:
            picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=32).save(page, optimize=True)
    with Image.open(page) as shown, Image.open(taken) as picture:
        assert picture.size == shown.size
        most = max(count for count, _ in picture.convert("RGB").getcolors(1 << 24) or ())
        assert most < 0.995 * picture.width * picture.height, f"{taken.name} shows nothing"
        small = [one.convert("RGB").resize((64, 48)) for one in (shown, picture)]
        mean = ImageStat.Stat(ImageChops.difference(*small)).mean
        assert max(mean) < DIFFERENCE, f"{taken.name} does not look like the page's: {mean}"


def _stand_in(folder: Path) -> Path:
    """A program that takes the arguments of container engines, none of which runs here."""
    program = folder / "engine"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    return program


@pytest.mark.lab
@pytest.mark.timeout(300)  # some are sessions of several hosts
@pytest.mark.parametrize(("where", "source"), [pytest.param(*block, id=block[0]) for block in _blocks()])
def test_example_runs(
    where: str, source: str, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An example that brings up the default lab, and takes it down, gets one of its own.
    monkeypatch.setenv("CRL_LAB_DIR", str(tmp_path / "lab"))
    monkeypatch.setenv("CRL_LAB_NAME", f"x{os.getpid() % 1_000_000}")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    alpha = lab.host("alpha")
    names: dict[str, object] = {
        "ssh_config": lab.ssh_config,
        "password": alpha.user("both").password,
        "root_password": alpha.root_password,
        "engine": str(_stand_in(tmp_path)),
        "folder": tmp_path,
        "pictures": pictures,
        "lab": lab,
    }
    assert source.strip()
    login = tmp_path / "login"
    login.write_text(consoles.LOGIN, encoding="ascii")
    login.chmod(0o700)
    names["console_password"] = consoles.PASSWORD
    with ExitStack() as stack:
        if "telnet_port" in source:
            names["telnet_port"] = stack.enter_context(consoles.telnetd(str(login)))
        if "broker_url" in source:
            users = [alpha.user("both").login]
            real = stack.enter_context(LabBroker(alpha, profiles_of(lab), ssh_users=users))
            names.update(broker_url=real.url(), ssh_broker_url=real.ssh_url(users[0]), ca_file=real.ca_file)
        if "device" in source:
            names["device"] = stack.enter_context(consoles.serial_line(tmp_path, str(login)))
        exec(compile(source, where, "exec"), names)
    seen = _pictures(source)
    assert sorted(path.name for path in pictures.iterdir()) == sorted(seen)
    for name in seen:
        _compare_with_page(pictures / name)


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / target).resolve() for target in LINK.findall(index.read_text(encoding="utf-8"))}
    pages = {page for page in (ROOT / "docs").rglob("*.md") if page != index}
    assert sorted(pages - linked) == []
    assert "docs/index.md" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_picture_is_taken_by_an_example_of_its_page() -> None:
    shown = set()
    for page in _pages():
        text = page.read_text(encoding="utf-8")
        named = {path.name for path in map(Path, LINK.findall(text)) if path.parent.name == "pictures"}
        assert sorted(named) == sorted(set(_pictures("".join(BLOCK.findall(text))))), page.name
        shown |= named
    assert sorted(shown) == sorted(path.name for path in PICTURES.iterdir())
    assert all(path.stat().st_size < LARGEST_PICTURE for path in PICTURES.iterdir())


@pytest.mark.parametrize("page", _pages(), ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links {target}"


def test_readme_names_both_commands_at_its_top() -> None:
    top = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## ")[0]
    assert "scripts/demo" in top
    assert "scripts/test" in top
    assert all((ROOT / "scripts" / name).stat().st_mode & 0o100 for name in ("demo", "test"))


def test_the_tests_that_show_the_promises_are_there() -> None:
    page = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", page.split("\n| 1 |", 1)[1])
    assert len(named) > 30
    for file, test in named:
        text = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert re.search(rf"^def {test}\(" if test else r"def test_|\.TestCase\b", text, re.MULTILINE), (file, test)
