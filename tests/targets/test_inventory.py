"""Inventories: names of targets and groups, from a file or from Python.

Invariant: each name is selected once and in the order asked for, and nothing that is no inventory is taken for one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crl.errors import UsageError
from crl.targets import Inventory, SecretFrom, TargetSpec

FILE = """
complete = true

[targets]
web1 = "web1.example"
web2 = { host = "10.0.0.2", username = "admin", password = { env = "WEB2_PASSWORD" } }
root = [{ host = "db" }, { shellname = "SudoShell", password = { file = "/etc/secret" } }]
old = { shells = [{ host = "old" }], python = "/usr/bin/python2", max_tries = 1 }

[groups]
web = ["web2", "web1"]
most = ["root", "web", "root"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "hosts.toml"
    path.write_text(FILE)
    return path


def test_a_file(file: Path) -> None:
    inventory = Inventory.read(file, config="/etc/ssh/other")
    assert list(inventory) == ["web1", "web2", "root", "old"]
    assert inventory["web1"] == TargetSpec({"host": "web1.example", "config": "/etc/ssh/other"}, name="web1")
    assert inventory["web2"].shells[0]["password"] == SecretFrom(env="WEB2_PASSWORD")
    assert [shell.get("shellname") for shell in inventory["root"].shells] == [None, "SudoShell"]
    old = inventory["old"]
    assert (old.name, old.python, old.max_tries) == ("old", "/usr/bin/python2", 1)
    assert inventory.groups == {
        "web": ["web2", "web1"],
        "most": ["root", "web2", "web1"],
        "all": ["web1", "web2", "root", "old"],
    }


def test_selecting(file: Path) -> None:
    inventory = Inventory.read(file)
    assert list(inventory.select("web1", "most")) == ["web1", "root", "web2"]
    assert list(inventory.select("all")) == list(inventory)
    with pytest.raises(UsageError, match="no target or group 'web3'"):
        inventory.select("web", "web3")


def test_names_of_the_ssh_configuration() -> None:
    inventory = Inventory({"one": "first"}, {"both": ["one", "two"]}, config="conf")
    assert inventory.select("both") == {
        "one": TargetSpec({"host": "first", "config": "conf"}, name="one"),
        "two": TargetSpec({"host": "two", "config": "conf"}, name="two"),
    }
    assert inventory.select() == {}


@pytest.mark.parametrize(
    ("targets", "groups", "match"),
    [
        ({}, {"a": ["b"], "b": ["a"]}, "part of itself"),
        ({"a": "host"}, {"a": ["b"]}, "cannot be the name of a group"),
        ({}, {"all": ["b"]}, "cannot be the name of a group"),
        ({}, {"a": "b"}, "no list of names"),
        ({}, {"a": [1]}, "no list of names"),
        ({"a": 5}, {}, "no list|described by"),
        ({"a": {"shells": "host", "no": 1}}, {}, "unknown: no"),
    ],
)
def test_what_is_no_inventory(targets: dict[str, Any], groups: dict[str, Any], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        Inventory(targets, groups)


@pytest.mark.parametrize("text", ["[targets", "hosts = 1", "targets = 1", "groups = []", "\udcff"])
def test_what_is_no_file_of_one(tmp_path: Path, text: str) -> None:
    path = tmp_path / "hosts.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError):
        Inventory.read(path)
    with pytest.raises(UsageError, match="No such file"):
        Inventory.read(tmp_path / "none.toml")
