"""What is missing is said in full, and so is what can be done without."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from crl.lab import LabError, LabRequirementsMissing, requirements
from crl.lab.requirements import PACKAGES, install

PROGRAM = """
import os, sys
from crl.lab import Lab, LabRequirementsMissing, requirements
os.setgroups([]); os.setgid(65534); os.setuid(65534)
assert not requirements().ok
try:
    Lab(sys.argv[1]).up()
except LabRequirementsMissing as error:
    print(error)
"""


def test_everything_is_looked_at() -> None:
    found = requirements()
    assert found.ok == (not found.missing)
    assert set(found.to_install) <= {row[0] for row in PACKAGES}
    assert bool(found.possible) == bool(found.missing)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_without_root_it_says_what_is_missing_and_what_can_be_done(tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    command = [sys.executable, "-c", PROGRAM, str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "root: making hosts needs namespaces and mounts; run it with sudo" in result.stdout
    assert "without the lab: crl drives your own hosts as usual" in result.stdout
    assert not folder.exists()


@pytest.fixture
def without_mirrors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An apt-get that asks nobody for packages: mirrors may answer late."""
    (tmp_path / "lists/partial").mkdir(parents=True)
    settings = {"Dir::Etc::SourceList": "/dev/null", "Dir::Etc::SourceParts": "/dev/null"}
    settings |= {"Dir::State::Lists": f"{tmp_path}/lists", "Dir::Cache": str(tmp_path)}
    config = tmp_path / "apt.conf"
    config.write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()))
    monkeypatch.setenv("APT_CONFIG", str(config))


@pytest.mark.skipif(not Path("/usr/bin/apt-get").exists(), reason="only Debian has apt-get")
def test_apt_failure_shows_what_apt_said(without_mirrors: None) -> None:
    lines: list[str] = []
    with pytest.raises(LabError, match="no-such-package-of-crl") as caught:
        install(("no-such-package-of-crl",), lines.append)
    assert "apt-get install" in str(caught.value)
    assert lines == ["installing 1 packages: no-such-package-of-crl"]
    assert caught.value.transcript


@pytest.mark.skipif(not Path("/usr/bin/apt-get").exists(), reason="only Debian has apt-get")
def test_another_apt_get_is_waited_for(
    without_mirrors: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Held by another process: a lock of this one would not be in its own way.
    hold = "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.lockf(file, fcntl.LOCK_EX)"
    lists = tmp_path / "lists"
    command = [sys.executable, "-c", f"{hold}; print('held', flush=True); input()", str(lists / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        waits: list[float] = []

        def wait(seconds: float) -> None:
            waits.append(seconds)
            holder.communicate("\n", timeout=60)

        # The package has a function of the module's name.
        module = sys.modules["crl.lab.requirements"]
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=time.monotonic, sleep=wait))
        monkeypatch.setattr(module, "_LISTS", lists)
        with pytest.raises(LabError, match="no-such-package-of-crl"):
            install(("no-such-package-of-crl",), lambda _: None)
    assert len(waits) == 1


def test_errors_are_pickled_whole() -> None:
    error = pickle.loads(pickle.dumps(LabRequirementsMissing(["a", "b"], advice="c")))
    assert (error.missing, error.advice, error.message) == (("a", "b"), "c", "a; b")
