"""Programs that use gevent themselves, as those written for python-x2go do: their greenlets go on while sessions work.

Invariant: whether such a program patches before or after the import, a whole life works, and nothing is left.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from crl.lab import Lab
from tests.x2go.conftest import QUIET, remains_of, wait_until_gone

pytestmark = pytest.mark.lab

PROGRAM = """
import faulthandler, json, sys, time
faulthandler.dump_traceback_later(150, exit=True)
from gevent import monkey
if sys.argv[1] == "before":
    monkey.patch_all()
import crl.x2go as x2go
if sys.argv[1] == "after":
    monkey.patch_all()
import gevent

account = json.loads(sys.stdin.read())
folder = account.pop("folder")
ticks, longest, stamp = 0, 0.0, time.monotonic()

def tick():
    global ticks, longest, stamp
    while True:
        gevent.sleep(0.02)
        now = time.monotonic()
        ticks, longest, stamp = ticks + 1, max(longest, now - stamp), now

heard = []

class Application(x2go.X2GoClient):
    def HOOK_on_session_has_started_by_me(self, **about):
        heard.append(about["session_name"])

gevent.spawn(tick)
display = x2go.ClientDisplay.start()
client = Application(client_rootdir=folder + "/config", sessions_rootdir=folder + "/x2go",
                     auto_update_sessionregistry=True, refresh_interval=0.5)
uuid = client.register_session(client_display=display, cmd="xterm", **account)
connected = gevent.spawn(client.connect_session, uuid)
connected.join(timeout=60)
assert connected.value, connected.exception
session = client.get_session(uuid)
assert session.start()
name = session.get_session_name()
end = time.monotonic() + 60
while name not in heard and time.monotonic() < end:
    gevent.sleep(0.05)
session.suspend()
assert client.is_session_suspended(uuid)
both = [gevent.spawn(client.list_sessions, uuid) for _ in range(2)]
gevent.joinall(both, timeout=60)
listed = [name in one.value for one in both]
session.resume()
seen = client.is_session_running(uuid) and client.session_ok(uuid)
session.terminate()
client.close()
display.close()
print(json.dumps({"heard": name in heard, "listed": listed, "seen": seen, "ticks": ticks, "longest": longest}))
"""


@pytest.fixture(scope="session")
def gevent_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What to add to PYTHONPATH for gevent; it is installed for these tests where the environment lacks it."""
    if importlib.util.find_spec("gevent") is not None:
        return ""
    folder = tmp_path_factory.mktemp("gevent")
    install = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--target", str(folder)]
    subprocess.run([*install, "gevent"], check=True, timeout=110, stdout=subprocess.DEVNULL)
    return str(folder)


@pytest.mark.parametrize("patched", [pytest.param("before", marks=pytest.mark.long), "after"])
def test_a_program_with_gevent(patched: str, gevent_path: str, lab: Lab, tmp_path: Path) -> None:
    alpha = lab.host("alpha")
    left = remains_of(lab, "alpha", "zshuser")
    account = {
        "server": alpha.address, "username": alpha.users["zsh"].login, "key_filename": str(lab.key("zsh")),
        "known_hosts": str(lab.known_hosts), "look_for_keys": False, "folder": str(tmp_path), **QUIET,
    }  # fmt: skip
    path = os.pathsep.join(filter(None, [gevent_path, os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, patched],
        input=json.dumps(account),
        env={**os.environ, "PYTHONPATH": path, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=160,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["heard"], found["listed"], found["seen"]) == (True, [True, True], True)
    assert found["ticks"] > 50, "other greenlets did not run"
    assert done.stderr == ""
    wait_until_gone(lambda: remains_of(lab, "alpha", "zshuser").server - left.server)
