"""Labs that begin and end beside each other on one machine do not take each other's networks and interfaces."""

from __future__ import annotations

import os
import subprocess

import pytest

from crl.lab import _network as network


def test_a_network_is_kept_from_others_while_a_lab_begins() -> None:
    mine, other = f"mine {os.getpid()}", f"other {os.getpid()}"
    with network.claimed(mine) as first, network.claimed(mine) as second, network.claimed(other) as third:
        assert (first, second, third) == (True, False, True)
    with network.claimed(mine) as again:
        assert again


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make interfaces")
def test_interfaces_that_go_by_themselves_are_no_failure() -> None:
    name = f"n{os.getpid() % 1_000_000}"
    pair = [f"crl-{name}-{number}" for number in range(2)]
    # Either of them goes with the other one.
    subprocess.run(["ip", "link", "add", pair[0], "type", "veth", "peer", "name", pair[1]], check=True)
    network.remove_leftovers(name)
    assert not set(pair) & {entry["ifname"] for entry in network.interfaces()}
