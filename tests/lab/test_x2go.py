"""The X2Go servers of the lab really start sessions, each with a database of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.link.peers import eventually

if TYPE_CHECKING:
    from crl.lab import Lab, LabHost
    from tests.lab.sshing import Ssh

pytestmark = pytest.mark.lab

START = "X2GO_CLIENT=test x2gostartagent 800x600 lan nopack unix-kde-depth_24 us pc105/us 0 D TERMINAL both"


def entries(host: LabHost, session: str) -> list[tuple[str, str]]:
    """Server and user of a session in a host's database, whatever state it is in.

    Users are shown none that took more than ten seconds to start, nor any while the database is locked.
    """
    rows = host.exec(["x2golistsessions_root", "--all-servers"]).stdout.decode().splitlines()
    return [(fields[3], fields[11]) for fields in (row.split("|") for row in rows if session in row)]


@pytest.mark.parametrize("name", ["alpha", "beta"])
def test_server_answers(ssh: Ssh, lab: Lab, name: str) -> None:
    result = ssh(name, "x2golistsessions && x2goversion")
    assert result.returncode == 0, result.stderr
    assert "x2goserver:" in result.stdout
    assert any("x2gocleansessions" in process.command for process in lab.host(name).processes())
    owners = lab.host(name).exec(["stat", "-c", "%U:%G %a", "/var/lib/x2go", "/var/lib/x2go/x2go_sessions"])
    assert owners.stdout == b"root:x2gouser 770\nroot:x2gouser 660\n"


def test_agent_starts_and_ends(ssh: Ssh, lab: Lab) -> None:
    result = ssh("alpha-dash", START)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.split()
    assert len(lines) == 7, result.stdout + result.stderr
    session = lines[3]
    assert session.startswith("dashuser-")
    try:
        alpha = lab.host("alpha")
        wanted = (session, "x2goagent")
        assert eventually(lambda: any(all(word in one.command for word in wanted) for one in alpha.processes()))
        assert eventually(lambda: ("alpha", "dashuser") in entries(alpha, session))
        assert entries(lab.host("beta"), session) == []
    finally:
        remains = f"~/.x2go/C-{session} /tmp/.x2go-dashuser/C-{session}"
        ended = ssh("alpha-dash", f"x2goterminate-session {session}; rm -rf {remains}")
    assert ended.returncode == 0, ended.stderr
