"""Files of targets: the verbs connect, go on after a loss when asked to, and work on real hosts with real users."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
from pathlib import Path

import pytest

from crl.interactivesessions import SshShell
from crl.interactivesessions.shells.bashshell import BashShell
from crl.lab import Lab
from crl.link import FileAccessDenied, FilesError, Progress
from crl.targets import Target

SIZE = 24_000_000


def test_the_verbs(here: Target, tmp_path: Path) -> None:
    files = here.files
    files.write(f"{tmp_path}/a/file", "gr\u00fc\u00df\n", mode=0o600)
    assert files.read_text(f"{tmp_path}/a/file") == "gr\u00fc\u00df\n"
    assert files.read(f"{tmp_path}/a/file") == "gr\u00fc\u00df\n".encode()
    assert files.stat(f"{tmp_path}/a/file").mode == 0o600
    assert files.push(f"{tmp_path}/a", f"{tmp_path}/b").files == 1
    assert files.pull(f"{tmp_path}/b", tmp_path / "c").files == 1
    files.mkdir(f"{tmp_path}/d/e")
    assert [info.name for info in files.list(str(tmp_path))] == ["a", "b", "c", "d"]
    assert files.remove(f"{tmp_path}/d", recursive=True)
    assert not files.exists(f"{tmp_path}/d")
    with pytest.raises(OSError, match="No such file") as caught:
        files.read(f"{tmp_path}/nothing")
    assert isinstance(caught.value, FilesError)


def test_a_push_with_resume_goes_on_when_the_target_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crl.link.files_transfer.PROGRESS_INTERVAL", 0.0)
    source = tmp_path / "source"
    # Where the remote program is killed, its shell reads what is under way: nothing but comments, in a folder apart.
    source.write_bytes(b"".join(b"# %064x\n" % number for number in range(SIZE // 67)))
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    killed: list[int] = []
    with Target(BashShell(), name="here") as target:

        def progress(now: Progress) -> None:
            if now.done > SIZE // 2 and not killed:
                killed.append(target.terminal.link.facts.pid)
                os.kill(killed[0], signal.SIGKILL)

        done = target.files.push(source, f"{tmp_path}/copy", resume=True, progress=progress)
        assert killed
        assert done.bytes < SIZE
        assert (tmp_path / "copy").read_bytes() == source.read_bytes()
        assert not list(tmp_path.glob(".crl-*"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_that_root_writes_anew_stays_its_owners(here: Target, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")
    os.chown(file, 1234, 1234)
    file.chmod(0o640)
    here.files.write(str(file), b"new")
    info = here.files.stat(str(file))
    assert (info.uid, info.gid, info.mode, info.size) == (1234, 1234, 0o640, 3)


@pytest.mark.lab
def test_a_host(lab: Lab, tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(os.urandom(SIZE))
    digest = hashlib.sha256(big.read_bytes()).hexdigest()
    with (
        Target(SshShell("alpha", config=lab.ssh_config)) as alpha,
        Target(SshShell("beta", config=lab.ssh_config)) as beta,
    ):
        assert alpha.files.push(big, "~/crl-test/big").digest == f"sha256:{digest}"
        said = alpha.run("sha256sum ~/crl-test/big", check=True).stdout
        assert said.startswith(digest)
        assert beta.files.push(alpha.files.path("~/crl-test"), "~/crl-copy").bytes == SIZE
        assert beta.files.pull("~/crl-copy/big", tmp_path / "back").digest == f"sha256:{digest}"
        with pytest.raises(FileAccessDenied) as caught:
            alpha.files.write("/etc/crl-test", b"x")
        assert caught.value.errno == errno.EACCES
        assert caught.value.host == "alpha"
        assert "a user who may" in str(caught.value)
        with pytest.raises(FileAccessDenied):
            alpha.files.read("/etc/shadow")
        alpha.files.remove("~/crl-test", recursive=True)
        beta.files.remove("~/crl-copy", recursive=True)
