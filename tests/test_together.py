"""Our distribution beside others of the namespace `crl`, in environments of their own.

The quick form installs wheels as installers do, file by file; in the long form pip does it, and builds ours by
setuptools.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = [ROOT / "crl", ROOT / "robotlibs"]
OURS = [path for folder in FOLDERS for path in folder.rglob("*") if path.suffix in (".py", ".typed")]
IMPORT_BOTH = (
    "import crl.other, crl.targets, crl.interactivesessions\n"
    "print(crl.other.WHO, crl.targets.Target.__name__)"
)
OTHER = {"crl/other/__init__.py": "WHO = 'other'\n"}
# File names of the published package, with contents of our own making.
PUBLISHED = {
    "crl/interactivesessions/__init__.py": "from .shells import BashShell\nTHEIRS = True\n",
    "crl/interactivesessions/RunnerHandler.py": "",
    "crl/interactivesessions/runnerterminal.py": "class RunnerTerminal(object):\n    pass\n",
    "crl/interactivesessions/autorunnerterminal.py": "from .runnerterminal import RunnerTerminal\n",
    "crl/interactivesessions/shells/__init__.py": "from .bashshell import BashShell\n",
    "crl/interactivesessions/shells/bashshell.py": "class BashShell(object):\n    pass\n",
}
PUBLISHED_NAME = "crl.interactivesessions"
pytestmark = pytest.mark.timeout(600)  # pip builds in environments of its own; each of its runs is bounded


def make_wheel(folder: Path, name: str, files: Mapping[str, bytes | str]) -> Path:
    """A wheel of pure Python with these files."""
    folder.mkdir(exist_ok=True)
    escaped = name.replace(".", "_").replace("-", "_")
    info = f"{escaped}-1.0.dist-info"
    members = {path: data.encode() if isinstance(data, str) else data for path, data in files.items()}
    members[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode()
    members[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = f"{info}/RECORD,,\n"
    for path, data in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(data)}\n"
    wheel = folder / f"{escaped}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, data in (*members.items(), (f"{info}/RECORD", record.encode())):
            archive.writestr(path, data)
    return wheel


def our_files() -> dict[str, bytes]:
    return {str(path.relative_to(ROOT)).removeprefix("robotlibs/"): path.read_bytes() for path in OURS}


class Environment:
    """A virtual environment that has what crl stands on, and nothing of crl until it is installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        venv.create(folder, symlinks=True)
        self.python = folder / "bin/python"
        self.packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
        # As a plain folder: the .pth files in it, such as that of a development install, are not read.
        (self.packages / "zz-needed.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def pip(self, *arguments: str | Path) -> None:
        command: list[str | Path] = [sys.executable, "-m", "pip", "--python", self.python, *arguments]
        subprocess.run(command, check=True, timeout=300, cwd=self.folder, stdout=subprocess.DEVNULL)

    def install(self, wheel: Path) -> None:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(self.packages)

    def uninstall(self, name: str) -> None:
        (info,) = self.packages.glob(f"{name.replace('.', '_')}-*.dist-info")
        for line in (info / "RECORD").read_text().splitlines():
            (self.packages / line.partition(",")[0]).unlink()
        info.rmdir()

    def run(self, code: str) -> subprocess.CompletedProcess[str]:
        command: list[str | Path] = [self.python, "-I", "-B", "-c", code]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=self.folder, check=False)


class PipEnvironment(Environment):
    """The same by pip."""

    def install(self, wheel: Path) -> None:
        self.pip("install", "--no-deps", "--no-index", "--force-reinstall", wheel)

    def uninstall(self, name: str) -> None:
        self.pip("uninstall", "--yes", name)


@pytest.fixture(params=[Environment, pytest.param(PipEnvironment, marks=pytest.mark.long)])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> Environment:
    made: Environment = request.param(tmp_path / "venv")
    return made


def zipped(environment: Environment, tmp_path: Path) -> None:
    environment.install(make_wheel(tmp_path / "ours", "crl", our_files()))


def on_the_path(environment: Environment, tmp_path: Path) -> None:
    (environment.packages / "crl-development.pth").write_text(f"{ROOT}\n{ROOT / 'robotlibs'}\n")


def copy_of_the_sources(tmp_path: Path) -> Path:
    copy = tmp_path / "sources"
    for path in OURS:
        place = copy / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    return copy


def built(environment: Environment, tmp_path: Path) -> None:
    environment.pip("install", "--no-deps", copy_of_the_sources(tmp_path))


def built_editable(environment: Environment, tmp_path: Path) -> None:
    environment.pip("install", "--no-deps", "--editable", copy_of_the_sources(tmp_path))


WAYS = [zipped, on_the_path, *(pytest.param(way, marks=pytest.mark.long) for way in (built, built_editable))]
Way = Callable[[Environment, Path], None]


@pytest.mark.parametrize("way", WAYS)
def test_beside_another_distribution(environment: Environment, tmp_path: Path, way: Way) -> None:
    other = make_wheel(tmp_path / "other", "crl.other", OTHER)
    environment.install(other)
    way(environment, tmp_path)
    for _ in range(2):
        done = environment.run(IMPORT_BOTH)
        assert (done.returncode, done.stdout, done.stderr) == (0, "other Target\n", "")
        environment.install(other)  # the second time it comes after ours


@pytest.mark.long
@pytest.mark.parametrize("way", [built, built_editable])
def test_beside_a_distribution_of_the_old_style(environment: Environment, tmp_path: Path, way: Way) -> None:
    """One that declares the namespace by setuptools, as the published family does."""
    source = tmp_path / "old"
    (source / "crl/other").mkdir(parents=True)
    (source / "setup.py").write_text(
        "from setuptools import setup\n"
        "setup(name='crl.other', version='1.0', packages=['crl', 'crl.other'], namespace_packages=['crl'])\n"
    )
    (source / "crl/__init__.py").write_text("__import__('pkg_resources').declare_namespace(__name__)\n")
    (source / "crl/other/__init__.py").write_text(OTHER["crl/other/__init__.py"])
    way(environment, tmp_path)
    environment.pip("install", "--no-deps", source)
    assert environment.run(IMPORT_BOTH).stdout == "other Target\n"


def test_overwritten_files_are_noticed(environment: Environment, tmp_path: Path) -> None:
    published = make_wheel(tmp_path / "theirs", PUBLISHED_NAME, PUBLISHED)
    zipped(environment, tmp_path)
    assert environment.run("import crl.targets, crl.interactivesessions").stderr == ""

    environment.install(published)
    assert environment.run("import crl.interactivesessions as c; print(c.THEIRS)").stdout == "True\n"
    for name in ("crl.targets", "TargetLibrary"):
        done = environment.run(f"import {name}")
        assert done.returncode == 1
        assert "FilesOverwritten: importing crl: crl.interactivesessions is not the one" in done.stderr
        assert "were overwritten (also installed: crl.interactivesessions 1.0)" in done.stderr
        assert "What to do: pip uninstall crl.interactivesessions, then pip install --force-reinstall" in done.stderr

    zipped(environment, tmp_path)  # ours over theirs: it works, until theirs is uninstalled
    done = environment.run("import crl.targets, crl.interactivesessions")
    assert done.returncode == 0
    assert "also holds files of crl.interactivesessions 1.0" in done.stderr
    assert done.stderr.count("UserWarning") == 1

    environment.uninstall(PUBLISHED_NAME)
    done = environment.run("import crl.targets")
    assert done.returncode == 1
    assert "its files are gone" in done.stderr
    assert "also installed: no crl.interactivesessions" in done.stderr

    zipped(environment, tmp_path)  # what the error advises
    assert environment.run("import crl.targets, crl.interactivesessions").stderr == ""


@pytest.mark.parametrize("way", [on_the_path, pytest.param(built_editable, marks=pytest.mark.long)])
def test_files_that_are_found_before_ours_are_noticed(environment: Environment, tmp_path: Path, way: Way) -> None:
    way(environment, tmp_path)
    environment.install(make_wheel(tmp_path / "theirs", PUBLISHED_NAME, PUBLISHED))
    done = environment.run("import crl.targets")
    assert done.returncode == 1
    assert "is found before ours in" in done.stderr
    assert issubclass_of_import_error(environment)


def issubclass_of_import_error(environment: Environment) -> bool:
    code = "try:\n    import crl.targets\nexcept ImportError as error:\n    print(type(error).__name__)"
    return environment.run(code).stdout == "FilesOverwritten\n"
