"""Descriptions of targets: what travels is the same there, and no secret is in it."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from crl.errors import UsageError
from crl.interactivesessions.shells.sshshell import SshShell
from crl.interactivesessions.shells.sudoshell import SudoShell
from crl.secrets import Secret
from crl.targets import SecretFrom, TargetSpec

FULL = TargetSpec(
    [
        {"host": "alpha", "user": "tester", "password": SecretFrom(env="ALPHA"), "jump": ("gateway:2222", "other")},
        {"shellname": "SudoShell", "password": {"file": "~/secret"}},
    ],
    name="root of alpha",
    max_tries=1,
    python="python3.9",
    imports=["crl.interactivesessions.shells"],
)


@pytest.mark.parametrize("spec", [FULL, TargetSpec("alpha"), TargetSpec({"shellname": "BashShell"})])
def test_it_travels(spec: TargetSpec) -> None:
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert TargetSpec.from_json(spec.to_json()) == spec
    assert TargetSpec.from_dict(json.loads(json.dumps(spec.as_dict()))) == spec
    assert hash(spec) == hash(TargetSpec.from_json(spec.to_json()))


def test_what_it_says() -> None:
    assert FULL.first_hop == "gateway:2222"
    assert TargetSpec({"host": "alpha", "jump": "gateway"}).first_hop == "gateway"
    assert TargetSpec("alpha").first_hop == TargetSpec("alpha").name == "alpha"
    assert TargetSpec({"shellname": "BashShell"}).name == "localhost"
    assert TargetSpec([{"host": "gateway"}, {"ip": "beta", "shellname": "SshShell"}]).name == "beta"
    assert TargetSpec({"host": "a", "identity": Path("key")}).shells[0]["identity"] == "key"


def test_it_becomes_a_target(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("second word\nrest\n")
    monkeypatch.setenv("ALPHA", "first word")
    monkeypatch.setenv("HOME", str(tmp_path))
    target = FULL.target()
    ssh, sudo = target.shells
    assert isinstance(ssh, SshShell)
    assert isinstance(sudo, SudoShell)
    assert ssh.passwords == [Secret("first word")]
    assert (ssh.ip, ssh.username, ssh.settings.jump) == ("alpha", "tester", ("gateway:2222", "other"))
    assert target.name == "root of alpha"
    assert target.terminal.python == "python3.9"
    target.close()


@pytest.mark.parametrize("given", ["word in clear", Secret("word in clear")])
def test_a_literal_secret_is_not_shown_and_does_not_travel(given: Any) -> None:
    spec = TargetSpec({"host": "alpha", "password": given}, name="the target")
    assert "word in clear" not in repr(spec) + str(spec)
    for travel in (pickle.dumps, TargetSpec.to_json, TargetSpec.as_dict):
        with pytest.raises(UsageError, match=r"the target.*password.*do not travel") as caught:
            travel(spec)
        assert "SecretFrom" in str(caught.value)
        assert "word in clear" not in str(caught.value)
    spec.target().close()


def test_a_secret_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    (tmp_path / "empty").touch()
    for source, said in (
        (SecretFrom(env="NOWHERE"), "NOWHERE is not set"),
        (SecretFrom(file=str(tmp_path / "none")), "cannot be read"),
        (SecretFrom(file=str(tmp_path / "empty")), "is empty"),
    ):
        with pytest.raises(UsageError, match=said):
            source.get()
    for wrong in ({}, {"env": "A", "file": "b"}):
        with pytest.raises(UsageError, match="env= or from file="):
            SecretFrom(**wrong)


@pytest.mark.parametrize("shells", [[], ["alpha"], [SshShell("alpha")], 7])
def test_no_description(shells: Any) -> None:
    with pytest.raises((UsageError, TypeError)):
        TargetSpec(shells)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"shells": [{"host": "a"}], "color": 1}', '{"shells": []}'])
def test_no_description_in_json(text: str) -> None:
    with pytest.raises(UsageError):
        TargetSpec.from_json(text)
