"""Whatever name and network a lab has, no two of its interfaces or addresses are the same, and lab.json says it all."""

from __future__ import annotations

import ipaddress
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl.errors import UsageError
from crl.lab import Lab, LabError, LabNotUp
from crl.lab.plan import HOSTS, ROLES, candidate_networks, inner_addresses, make_plan
from crl.lab.records import LabFolder, plan_from_dict, plan_to_dict
from crl.secrets import redact

if TYPE_CHECKING:
    from pathlib import Path

NAMES = st.from_regex(r"[a-z][a-z0-9]{0,7}", fullmatch=True)


@given(name=NAMES, block=st.integers(0, 255))
def test_addresses_and_interfaces_differ(name: str, block: int) -> None:
    plan = make_plan(name, f"10.207.{block}.0/24")
    links = [host.link for host in plan.hosts.values()]
    addresses = [address for link in links for address in (link.address, link.near_address)] + [*inner_addresses(plan)]
    assert len(set(addresses)) == len(addresses) == 10
    assert all(ipaddress.ip_address(address) in ipaddress.ip_network(plan.network) for address in addresses)
    interfaces = [(link.near, link.near_interface) for link in links]
    assert len(set(interfaces)) == len(interfaces)
    assert all(len(interface) <= 15 for _near, interface in interfaces)
    subnets = [ipaddress.ip_interface(f"{link.address}/{link.prefix}").network for link in links]
    assert not any(one.overlaps(two) for one in subnets for two in subnets if one is not two)


@given(name=NAMES)
def test_plan_survives_lab_json(name: str) -> None:
    plan = make_plan(name)
    assert plan_from_dict(json.loads(json.dumps(plan_to_dict(plan)))) == plan


@given(name=NAMES)
def test_candidate_networks_are_all_the_others_too(name: str) -> None:
    networks = candidate_networks(name)
    assert len(networks) == len(set(networks)) >= 253
    assert networks[0] == "10.207.1.0/24" or name != "lab"


def test_passwords_are_secrets_and_differ_everywhere() -> None:
    plan = make_plan()
    passwords = [user.password.value for host in plan.hosts.values() for user in host.users.values() if user.password]
    passwords += [host.root_password.value for host in plan.hosts.values()]
    assert len(set(passwords)) == len(passwords) == len(HOSTS) * (sum(role.has_password for role in ROLES) + 1)
    assert not any(password in repr(plan) for password in passwords)
    assert redact(f"the password is {passwords[0]}") == "the password is <secret>"


def test_hosts_on_the_way_are_added() -> None:
    assert list(make_plan(hosts=["beta"]).hosts) == ["gateway", "beta"]
    assert list(make_plan(hosts=["alpha"]).hosts) == ["alpha"]
    with pytest.raises(UsageError, match="no host delta"):
        make_plan(hosts=["delta"])


@pytest.mark.parametrize("name", ["", "Lab", "1lab", "ninechars", "a-b", "a b", "ä"])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is no name for a lab"):
        make_plan(name)


@pytest.mark.parametrize("network", ["10.0.0.0/8", "10.1.1.0/30", "10.1.1.1/24", "nonsense", "fd00::/64"])
def test_bad_networks_are_refused(network: str) -> None:
    with pytest.raises(UsageError, match="is no network for a lab"):
        make_plan(network=network)


def test_names_are_seen_from_each_place() -> None:
    plan = make_plan()
    gateway, beta = plan.hosts["gateway"].link, plan.hosts["beta"].link
    assert plan.addresses_seen_from("beta")["gateway"] == beta.near_address
    assert plan.addresses_seen_from("alpha")["gateway"] == gateway.address
    assert plan.addresses_seen_from("gateway")["controller"] == gateway.near_address


def test_folder_is_cleared_of_the_labs_files_only(tmp_path: Path) -> None:
    folder = LabFolder(tmp_path / "a" / "b")
    made = folder.make()
    assert made == [tmp_path / "a" / "b", tmp_path / "a"]
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.save(make_plan(), made)
    assert folder.lab_json.stat().st_mode & 0o777 == 0o600
    (folder.path / "yours").write_text("keep me")
    assert folder.made_folders() == made
    folder.clear()
    assert [path.name for path in folder.path.iterdir()] == ["yours"]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "nothing")
    assert not lab.status().exists
    with pytest.raises(LabNotUp, match="start one: crl lab up"):
        lab.host("alpha")
    lab.down()
    (tmp_path / "lab.json").write_text("[]")
    with pytest.raises(LabError, match="written by another crl"):
        LabFolder(tmp_path).load()
    (tmp_path / "lab.json").write_text("{")
    with pytest.raises(LabError, match="cannot be read"):
        LabFolder(tmp_path).load()


def test_only_users_with_a_key_have_one(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    assert lab.key("key") == lab.key("keyuser") == tmp_path / "keys" / "key"
    with pytest.raises(UsageError, match="no user 'password' of the lab has a key"):
        lab.key("password")
