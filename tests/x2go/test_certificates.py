"""Host certificates of a real authority, at logins through paramiko: the session's own and its hop's.

Invariant: a known_hosts file with nothing but ``@cert-authority`` lets in where that authority vouches for the host,
and nowhere else, and nobody is asked.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from crl.x2go import X2GoSession
from crl.x2go.sshproxy import X2GoSSHProxy
from crl.x2go.x2go_exceptions import BadHostKeyException, X2GoHostKeyException, X2GoSSHProxyHostKeyException
from tests.channels.conftest import Sshd, running_sshd


class Asking(X2GoSession):
    """A session that notes whether its user was asked, and says no."""

    asked = 0

    def HOOK_check_host_dialog(self, *args: object, **kwargs: object) -> bool:
        self.asked += 1
        return False


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The key of an authority, and beside it the key of another one."""
    folder = tmp_path_factory.mktemp("authority")
    for name in ("ca", "other"):
        made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(made, check=True, timeout=60)
    return folder / "ca"


@pytest.fixture(scope="module")
def certified(authority: Path) -> Iterator[Sshd]:
    with running_sshd(authority=authority) as server:
        yield server


def known_by(server: Sshd, authority: Path, folder: Path, marker: str = "@cert-authority") -> Path:
    public = " ".join(authority.with_suffix(".pub").read_text().split()[:2])
    path = folder / "known"
    path.write_text(f"{marker} [127.0.0.1]:{server.port} {public}\n")
    return path


def session(server: Sshd, known_hosts: Path, folder: Path) -> Asking:
    return Asking(
        server="127.0.0.1",
        port=server.port,
        username="root",
        key_filename=str(server.folder / "id"),
        known_hosts=known_hosts,
        sessions_rootdir=folder / "x2go",
    )


def test_an_authority_is_enough_for_a_session(certified: Sshd, authority: Path, tmp_path: Path) -> None:
    known = known_by(certified, authority, tmp_path)
    with session(certified, known, tmp_path) as one:
        assert one.check_host()
        assert one.connect()
        assert one.is_alive()
        assert one.asked == 0
    assert known.read_text().count("\n") == 1


def test_another_authority_is_not(certified: Sshd, authority: Path, tmp_path: Path) -> None:
    with session(certified, known_by(certified, authority.with_name("other"), tmp_path), tmp_path) as one:
        assert not one.check_host()
        with pytest.raises(X2GoHostKeyException, match="is not known"):
            one.connect()
        assert one.asked == 2


def test_a_revoked_authority_is_not(certified: Sshd, authority: Path, tmp_path: Path) -> None:
    known = known_by(certified, authority, tmp_path)
    known.write_text(known.read_text() + known.read_text().replace("@cert-authority", "@revoked"))
    with session(certified, known, tmp_path) as one, pytest.raises(X2GoHostKeyException, match="is not known"):
        one.connect()


def test_a_revoked_key_is_refused_whoever_vouches_for_it(certified: Sshd, authority: Path, tmp_path: Path) -> None:
    known = known_by(certified, authority, tmp_path)
    revoked = "".join(f"@revoked {line}\n" for line in certified.known_hosts.read_text().splitlines())
    known.write_text(known.read_text() + revoked)
    with session(certified, known, tmp_path) as one, pytest.raises(BadHostKeyException, match="is revoked"):
        one.connect()


def test_a_hop_is_known_by_its_authority_too(certified: Sshd, authority: Path, tmp_path: Path) -> None:
    key = str(certified.folder / "id")
    hop = {"hostname": "127.0.0.1", "port": certified.port, "username": "root", "key_filename": key}
    proxy = X2GoSSHProxy(**hop, known_hosts=known_by(certified, authority, tmp_path))  # type: ignore[arg-type]
    try:
        transport = proxy.get_transport()
        assert isinstance(transport, paramiko.Transport)
        assert transport.is_authenticated()
        assert proxy.check_host()
    finally:
        proxy.close()
    other = known_by(certified, authority.with_name("other"), tmp_path)
    with pytest.raises(X2GoSSHProxyHostKeyException, match="is not known"):
        X2GoSSHProxy(**hop, known_hosts=other)  # type: ignore[arg-type]
