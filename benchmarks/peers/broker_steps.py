"""A login on a session broker and its list of profiles: through crl and by curl, from Debian's broker on ``alpha``.

Both ask the same two questions over HTTPS with a verified certificate, each time over a connection of their own: the
first with the password, the second with what the broker gave for it. The broker answers without help of its agent, so
that little of the time is its own. Curl's time has the starts of its processes in it, as a script's has.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.peers.base import NotThere, Peer, Settings
from crl.lab import Lab, LabBroker
from crl.x2go.broker import Broker

__all__ = ["BrokerByCrl", "make"]

TIMES = 9
PROFILES = """[DEFAULT]
command=xterm
user=BROKER_USER
broker-agent-query-mode=NONE
broker-session-autologin=false
""" + "".join(f"[desk{number}]\nname=Desk {number}\nhost=alpha\n" for number in range(20))


@contextlib.contextmanager
def _site(settings: Settings) -> Iterator[LabBroker]:
    """The broker, which nobody's clock counts."""
    with LabBroker(Lab(Path(settings.ssh_config).parent).host("alpha"), PROFILES) as one:
        yield one


def _median(ask: Callable[[], int]) -> float:
    """Seconds that a question takes, when it was asked once before."""
    times = []
    for _ in range(TIMES + 1):
        began = time.perf_counter()
        count = ask()
        times.append(time.perf_counter() - began)
        if count != 20:
            raise RuntimeError(f"{count} profiles")
    return statistics.median(times[1:])


class BrokerByCrl:
    """What crl's own peer can do with brokers."""

    settings: Settings

    def broker(self) -> float:
        """Seconds of a login and a list."""
        with _site(self.settings) as site:

            def ask() -> int:
                with Broker(site.url(), self.settings.login, self.settings.password, ca_file=site.ca_file) as one:
                    one.login()
                    return len(one.profiles())

            return _median(ask)


class Curl(Peer):
    """The same by curl."""

    def open(self, place: str) -> None:
        """Each question makes its own connection."""
        raise NotThere(f"no connection to hold ({place})")

    def close(self) -> None:
        """Nothing is held."""

    def call(self, name: str, *args: Any) -> Any:
        """Not its matter."""
        raise NotThere(f"no calls ({name}, {len(args)} arguments)")

    def broker(self) -> float:
        """Seconds of a login and a list."""
        if shutil.which("curl") is None:
            raise NotThere("curl is not installed (apt-get install --no-install-recommends curl)")
        with _site(self.settings) as site:
            return _median(lambda: len(self._asked(site)["profiles"]))

    def _asked(self, site: LabBroker) -> dict[str, Any]:
        user = {"user": self.settings.login}
        given = self._curl(site, {**user, "password": self.settings.password})
        return self._curl(site, {**user, "task": "listprofiles", "authid": given["next-authid"]})

    def _curl(self, site: LabBroker, fields: dict[str, str]) -> dict[str, Any]:
        """One question; curl reads the fields from its input, for a password is no argument."""
        lines = "".join(f'data-urlencode = "{name}={value}"\n' for name, value in fields.items())
        command = ["curl", "-sS", "--fail", "--cacert", str(site.ca_file), "-K", "-", site.url()]
        done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=30, check=True)
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


def make(settings: Settings) -> Peer:
    """The one by curl."""
    return Curl(settings)
