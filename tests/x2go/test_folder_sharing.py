"""Folders of this machine in real sessions: mounted by the server's own scripts, used both ways, kept over faults."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crl.interactivesessions.shells.sshshell import SshShell
from crl.lab import Lab
from crl.targets import Target
from crl.x2go import ClientDisplay, SessionState, X2GoSession
from crl.x2go._channelshare import ChannelShare
from crl.x2go.x2go_exceptions import (
    X2GoFolderSharingException,
    X2GoSessionException,
    X2GoSshfsMissing,
    X2GoUserException,
)
from tests.link.peers import eventually
from tests.x2go.conftest import QUIET, OpenTarget, Session, wait_until
from tests.x2go.test_faults import kill_child_of_sshd, kill_ssh

pytestmark = pytest.mark.lab
SLEEPING = ["sleep", "600"]
PATIENCE = 30.0
BOTH_WAYS = pytest.mark.parametrize("survive_cuts", [False, True], ids=["channel", "tunnel"])


@pytest.fixture
def folders(tmp_path: Path) -> Callable[[str], Path]:
    """Make folders with a file; names that the server's scripts would misread are among them."""

    def make(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "here").write_text(f"from the controller, in {name}")
        return folder

    return make


def places(one: X2GoSession) -> dict[str, str]:
    """Where the server has the folders."""
    return {share.path: share.place for share in one._terminal.folders.shares}


def mounts(lab: Lab) -> list[str]:
    lines = lab.host("alpha").exec(["cat", "/proc/mounts"]).stdout.decode().splitlines()
    return [line for line in lines if "sshfs" in line]


def there(target: Target, *words: str) -> str:
    return target.run(list(words), check=True, timeout=30).stdout


def is_back(target: Target, here: Path, place: str) -> bool:
    """Whether what is written here is read there, sooner or later."""
    wanted = (here / "here").read_text()
    return eventually(lambda: target.run(["cat", f"{place}/here"], timeout=30).stdout == wanted, PATIENCE)


@pytest.mark.parametrize(
    "survive_cuts", [False, pytest.param(True, marks=pytest.mark.long)], ids=["channel", "tunnel"]
)
@pytest.mark.usefixtures("nothing_left")
def test_several_folders_both_ways_over_suspend_and_resume(
    alpha: Target, session: Session, lab: Lab, folders: Callable[[str], Path], survive_cuts: bool
) -> None:
    first, second, odd = folders("first"), folders("second"), folders("odd $(touch x) 'a:b\" é")
    with session(alpha, cmd=SLEEPING) as one:
        with pytest.raises(X2GoSessionException, match="start or resume"):
            one.share_local_folder(first)
        one.start()
        assert one.is_folder_sharing_available()
        assert one.get_shared_folders() == []
        assert one.share_local_folder(first, survive_cuts=survive_cuts)
        assert one.share_local_folder(local_path=second, read_only=True, survive_cuts=survive_cuts)
        assert one.share_local_folder(folder_name=str(odd), survive_cuts=survive_cuts)
        assert one.share_local_folder(first), "again is harmless"
        assert one.get_shared_folders(check_list_mounts=True) == [str(first), str(second), str(odd)]
        assert len(mounts(lab)) == 3
        for folder, place in places(one).items():
            assert there(alpha, "cat", f"{place}/here") == Path(folder, "here").read_text()
        use_both_ways(alpha, first, places(one)[str(first)])
        refused = alpha.run(["sh", "-c", f"echo no > {places(one)[str(second)]}/new"])
        assert refused.status != 0
        assert os.listdir(second) == ["here"]
        assert (one._terminal.folders.tunnel is not None) == survive_cuts
        left = alpha.run(["sh", "-c", "ls -d ~/.x2go/ssh/* ~/.x2go/mount* /tmp/crl-*"])
        assert left.stdout == "", "a key stayed, or what stood in for sshfs"

        assert one.unshare_local_folder(odd)
        assert not one.unshare_local_folder(odd)
        assert one.get_shared_folders() == [str(first), str(second)]
        one.suspend()
        assert mounts(lab) == []
        assert one.get_shared_folders() == []
        one.resume()
        assert one.get_shared_folders() == [str(first), str(second)]
        assert len(mounts(lab)) == 2
        assert alpha.run(["touch", f"{places(one)[str(second)]}/new"]).status != 0, "not read only any more"
        (first / "later").write_text("written while it was shared again")
        assert there(alpha, "cat", f"{places(one)[str(first)]}/later") == "written while it was shared again"
    assert mounts(lab) == []


def use_both_ways(target: Target, here: Path, place: str) -> None:
    """What programs do with files, on both sides."""
    data = os.urandom(3_000_000)
    (here / "big").write_bytes(data)
    script = (
        "cd $1 && cp big copy && mkdir -p a/b && mv copy a/b/moved && printf there > a/there && "
        "ln -s b/moved a/link && "
        "chmod 640 a/there && touch -d '2001-02-03 04:05:06Z' a/there && rm here && head -c 5 a/link | wc -c && df ."
    )
    assert "5\n" in there(target, "sh", "-c", script, "sh", place)
    assert (here / "a/b/moved").read_bytes() == (here / "a/link").read_bytes() == data
    status = (here / "a/there").stat()
    assert (status.st_mode & 0o777, status.st_mtime) == (0o640, 981173106)
    assert not (here / "here").exists()
    (here / "here").write_text(f"from the controller, in {here.name}")


@pytest.mark.usefixtures("nothing_left")
def test_a_login_of_its_own_shares_what_it_was_told_to(
    lab: Lab, tmp_path: Path, folders: Callable[[str], Path]
) -> None:
    listed, gone = folders("listed"), tmp_path / "gone"
    host = lab.host("alpha")
    options: dict[str, Any] = dict(QUIET)
    with ClientDisplay.start() as display, X2GoSession(
        server=host.address, port=host.port, username="zshuser", key_filename=str(lab.key("zsh")), look_for_keys=False,
        known_hosts=lab.known_hosts, sessions_rootdir=tmp_path, client_display=display, at_exit="terminate",
        allow_share_local_folders=True, share_local_folders=[str(gone), str(listed)], cmd=SLEEPING, **options,
    ) as one:  # fmt: skip
        one.connect()
        assert one.start()
        assert one.state is SessionState.RUNNING
        assert isinstance(one.last_error, X2GoUserException), "the folder that is not there"
        assert one.get_shared_folders(check_list_mounts=True) == [str(listed)]
        assert one._terminal.folders.tunnel is None, "a channel of paramiko's connection does as well"
        place = places(one)[str(listed)]
        assert host.exec(["cat", f"{place}/here"], "zshuser").stdout.decode() == (listed / "here").read_text()
    assert mounts(lab) == []


@pytest.fixture(scope="module")
def running(lab: Lab) -> Iterator[tuple[Target, X2GoSession]]:
    """A session for several tests."""
    shell = SshShell("alpha-zsh", config=str(lab.ssh_config), lane_change=False)
    options: dict[str, Any] = {"cmd": SLEEPING, **QUIET}
    with Target(shell, name="alpha") as target, X2GoSession(target=target, **options) as one:
        one.start()
        yield target, one


@BOTH_WAYS
def test_a_cut_keeps_the_shares(
    running: tuple[Target, X2GoSession], lab: Lab, folders: Callable[[str], Path], survive_cuts: bool
) -> None:
    (target, one), kept = running, folders("kept")
    one.share_local_folder(kept, survive_cuts=survive_cuts)
    place = places(one)[str(kept)]
    for number, end in enumerate((kill_ssh, kill_child_of_sshd, kill_ssh)):
        end(lab)
        if survive_cuts:
            assert there(target, "cat", f"{place}/here") == (kept / "here").read_text()
        else:
            assert is_back(target, kept, place)
        there(target, "sh", "-c", f"echo {number} > {place}/{number}")
        assert (kept / str(number)).read_text() == f"{number}\n"
    assert one.state is SessionState.RUNNING
    # Somebody works in it: the folder is taken back all the same.
    process = target.start(["sh", "-c", f"cd {place}; sleep 100"])
    try:
        wait_until(lambda: target.run(["readlink", f"/proc/{process.pid}/cwd"]).stdout.strip() == place)
        assert one.unshare_local_folder(kept)
        assert mounts(lab) == []
        assert one.share_local_folder(kept, survive_cuts=survive_cuts)
        assert there(target, "cat", f"{places(one)[str(kept)]}/here") == (kept / "here").read_text()
    finally:
        process.kill()
    # What printing and the MIME box stand on.
    for kind in ("spool", "mimebox"):
        assert one._terminal.share_local_folder(kept, folder_type=kind, survive_cuts=survive_cuts)
        seen = there(target, "sh", "-c", f"cat ~/.x2go/C-{one.get_session_name()}/{kind}/here")
        assert seen == (kept / "here").read_text()
    assert one.get_shared_folders() == [str(kept)]
    assert one.unshare_all_local_folders(force_all=True)
    assert mounts(lab) == []


@BOTH_WAYS
def test_what_is_missing_is_told_and_the_session_goes_on(
    running: tuple[Target, X2GoSession], lab: Lab, folders: Callable[[str], Path], survive_cuts: bool
) -> None:
    (target, one), host, folder = running, lab.host("alpha"), folders("wanted")
    with pytest.raises(X2GoUserException, match="No such file"):
        one.share_local_folder(folder / "missing")
    with pytest.raises(X2GoUserException, match="Not a directory"):
        one.share_local_folder(folder / "here")
    host.exec(["chmod", "600", "/dev/fuse"])
    try:
        with pytest.raises(X2GoFolderSharingException, match="Permission denied") as refused:
            one.share_local_folder(folder, survive_cuts=survive_cuts)
        assert "/dev/fuse" in str(refused.value)
    finally:
        host.exec(["chmod", "666", "/dev/fuse"])
    host.exec(["sh", "-c", "mkdir -p ~/.ssh; echo PubkeyAuthentication no > ~/.ssh/config"], "zshuser")
    try:
        if survive_cuts:
            with pytest.raises(X2GoFolderSharingException, match="did not log in here with the share's key"):
                one.share_local_folder(folder, survive_cuts=True)
        else:
            assert one.share_local_folder(folder), "ssh has nothing to do with it"
            assert one.unshare_local_folder(folder)
    finally:
        host.exec(["sh", "-c", "rm ~/.ssh/config"], "zshuser")
    one._terminal.stop_sshfs()
    host.exec(["mv", "/usr/bin/sshfs", "/usr/bin/sshfs.away"])
    try:
        with pytest.raises(X2GoSshfsMissing, match="sshfs"):
            one.share_local_folder(folder, survive_cuts=survive_cuts)
    finally:
        host.exec(["mv", "/usr/bin/sshfs.away", "/usr/bin/sshfs"])
    assert isinstance(one.last_error, X2GoSshfsMissing)
    assert one.get_shared_folders() == []
    assert mounts(lab) == []
    assert one.share_local_folder(folder, survive_cuts=survive_cuts)
    folder.joinpath("here").unlink()
    folder.rmdir()
    assert target.run(["touch", f"{places(one)[str(folder)]}/new"]).status != 0
    assert one.state is SessionState.RUNNING
    assert one.unshare_local_folder(folder)
    assert mounts(lab) == []


def test_what_others_do_with_a_mount(
    running: tuple[Target, X2GoSession], lab: Lab, folders: Callable[[str], Path]
) -> None:
    (target, one), folder = running, folders("mounted")
    one.share_local_folder(folder)
    [share], place = one._terminal.folders.shares, places(one)[str(folder)]
    assert isinstance(share.way, ChannelShare)
    # sshfs is killed, and leaves a dead mount in which somebody works: it is mounted again.
    process = target.start(["sh", "-c", f"cd {place}; sleep 100"])
    try:
        wait_until(lambda: target.run(["readlink", f"/proc/{process.pid}/cwd"]).stdout.strip() == place)
        assert lab.host("alpha").kill("sshfs")
        assert is_back(target, folder, place)
        assert len(mounts(lab)) == 1
    finally:
        process.kill()
    # The user unmounts it, which is not undone; and nobody takes the place for the folder.
    there(target, "fusermount3", "-u", place)
    assert eventually(lambda: one.get_shared_folders() == [], PATIENCE)
    assert share.way.ended
    assert mounts(lab) == []
    assert target.run(["touch", f"{place}/new"]).status != 0
    assert not one.unshare_local_folder(folder)
    assert one.share_local_folder(folder, survive_cuts=True), "over the tunnel this time"
    assert there(target, "cat", f"{places(one)[str(folder)]}/here") == (folder / "here").read_text()
    assert one.unshare_local_folder(folder)
    one._terminal.stop_sshfs()
    # The folder for print jobs is as any other.
    assert one._terminal.share_local_folder(folder, folder_type="spool")
    assert lab.host("alpha").kill("sshfs")
    assert is_back(target, folder, f"{target.run('echo ~').stdout.strip()}/.x2go/C-{one.get_session_name()}/spool")
    # And what others leave of a folder goes with the rest.
    assert one.share_local_folder(folder)
    [share] = [each for each in one._terminal.folders.shares if each.kind == "disk"]
    there(target, "fusermount3", "-u", place)
    assert eventually(lambda: share.way.ended, PATIENCE)
    assert one.unshare_all_local_folders(force_all=True)
    assert target.run(["ls", "-d", place]).status != 0
    assert one.state is SessionState.RUNNING


def test_a_connection_inside_this_process(
    lab: Lab, session: Session, folders: Callable[[str], Path]
) -> None:
    shell = SshShell("alpha-zsh", config=str(lab.ssh_config), backend="paramiko")
    folder = folders("inside")
    with Target(shell, name="alpha") as target, session(target, cmd=SLEEPING) as one:
        one.start()
        one.share_local_folder(folder)
        place = places(one)[str(folder)]
        use_both_ways(target, folder, place)
        kill_child_of_sshd(lab)
        assert is_back(target, folder, place)
        assert one._terminal.folders.tunnel is None
    assert mounts(lab) == []
    assert not [thread for thread in threading.enumerate() if thread.name == "crl-x2go-share"]


def test_behind_another_user_a_tunnel_has_to_do(
    open_target: OpenTarget, session: Session, lab: Lab, folders: Callable[[str], Path]
) -> None:
    target, folder = open_target("alpha", "both", sudo_to="ashuser"), folders("behind")
    with session(target, cmd=SLEEPING) as one:
        one.start()
        one.share_local_folder(folder)
        assert one._terminal.folders.tunnel is not None
        assert there(target, "cat", f"{places(one)[str(folder)]}/here") == (folder / "here").read_text()
        one.unshare_local_folder(folder)
    assert mounts(lab) == []


@pytest.mark.long
@pytest.mark.timeout(240)
def test_packets_that_are_dropped_for_a_while(
    running: tuple[Target, X2GoSession], lab: Lab, folders: Callable[[str], Path]
) -> None:
    (target, one), folder, host = running, folders("dropped"), lab.host("alpha")
    one.share_local_folder(folder)
    place = places(one)[str(folder)]
    host.cut(drop=True)
    try:
        time.sleep(15)
    finally:
        host.restore()
    assert is_back(target, folder, place)
    there(target, "sh", "-c", f"echo again > {place}/again")
    assert (folder / "again").read_text() == "again\n"
    assert len(mounts(lab)) == 1
    assert one.unshare_local_folder(folder)
