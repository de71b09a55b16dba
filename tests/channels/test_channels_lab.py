"""Both backends over the lab's hosts: every way to log in, through the gateway too, and the same error a fault."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crl.channels import ProcessChannel
from crl.channels.conformance import read_exactly, write_all
from crl.channels.ssh import (
    AuthenticationFailed,
    ConnectionRefused,
    HostKeyChanged,
    HostKeyUnknown,
    NameNotResolved,
    SshLoginError,
    SshSettings,
    connect,
    diagnose,
    local_environment,
    resolve,
    ssh_argv,
    with_explicit_jumps,
)
from crl.lab import Lab

from .conftest import drain

pytestmark = pytest.mark.lab

Attempt = Callable[[SshSettings, str | None], str]


def by_paramiko(wanted: SshSettings, password: str | None) -> str:
    """Log in and say who we are there; or the error."""
    with connect(wanted, password) as connection:
        channel = connection.open_channel("whoami; hostname", pty=False)
        text = drain(channel).decode()
        channel.close()
        return text


def by_openssh(wanted: SshSettings, password: str | None) -> str:
    argv = ssh_argv(wanted, command="whoami; hostname", tty=False, nonce="n0nce12345", password=password is not None)
    channel = ProcessChannel(argv, env=local_environment())
    try:
        if password is not None:
            answer(channel, password)
        text = drain(channel).decode()
        if not text.startswith("n0nce12345"):
            raise diagnose(drain(channel.stderr).decode(), wanted, resolve(wanted).stops)
        return text.removeprefix("n0nce12345")
    finally:
        channel.close()


def answer(channel: ProcessChannel, password: str) -> None:
    """Wait for the one prompt and answer it."""
    prompt = b""
    while not prompt.lower().endswith(b"password: "):
        byte = read_exactly(channel.dialogue, 1)
        assert byte, f"no question after {prompt!r}"
        prompt += byte
    write_all(channel.dialogue, password.encode() + b"\n")


@pytest.fixture(params=[by_paramiko, by_openssh], ids=["paramiko", "openssh"])
def attempt(request: pytest.FixtureRequest) -> Attempt:
    chosen: Attempt = request.param
    return chosen


@pytest.fixture
def record(lab: Lab) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((lab.folder / "lab.json").read_text())["hosts"]
    return loaded


def to(lab: Lab, alias: str, **changes: Any) -> SshSettings:
    return SshSettings(alias, config=lab.ssh_config, host_keys="verify", **changes)


def known(lab: Lab, path: Path, *, without: str = "", changed: str = "") -> Path:
    """A copy of the lab's known_hosts without the lines of a host, or with another host's keys in their place."""
    lines = lab.known_hosts.read_text().splitlines()
    keys = {line.split(",")[0]: line.split()[2] for line in lines if "ssh-ed25519" in line}
    result = []
    for line in lines:
        name = line.split(",")[0]
        if name == changed:
            if "ssh-ed25519" in line:
                other = next(key for host, key in keys.items() if host != name)
                result.append(f"{line.split()[0]} ssh-ed25519 {other}")
        elif name != without:
            result.append(line)
    path.write_text("\n".join(result) + "\n")
    return path


@pytest.mark.parametrize("host", ["alpha", "beta"])
@pytest.mark.parametrize("role", ["key", "password", "kbdint"])
def test_every_way_to_log_in(lab: Lab, record: dict[str, Any], attempt: Attempt, host: str, role: str) -> None:
    user = record[host]["users"][role]
    assert attempt(to(lab, f"{host}-{role}"), user["password"]) == f"{user['login']}\n{host}\n"


@pytest.mark.parametrize("role", ["password", "kbdint"])
def test_a_wrong_password_is_definite(lab: Lab, attempt: Attempt, role: str) -> None:
    with pytest.raises(AuthenticationFailed) as caught:
        attempt(to(lab, f"alpha-{role}"), "certainly wrong")
    assert caught.value.definite
    assert "certainly wrong" not in str(caught.value)


@pytest.mark.parametrize(("bad", "hop"), [("gateway", "gateway"), ("beta", None)])
@pytest.mark.parametrize("fault", ["without", "changed"])
def test_a_bad_host_key_is_told_with_its_hop(
    lab: Lab, tmp_path: Path, attempt: Attempt, bad: str, hop: str | None, fault: str
) -> None:
    file = known(lab, tmp_path / "known_hosts", **{fault: bad})
    wanted = to(lab, "beta", known_hosts=file, jump=("gateway",))
    with pytest.raises(SshLoginError) as caught:
        attempt(wanted, None)
    assert type(caught.value) is (HostKeyUnknown if fault == "without" else HostKeyChanged)
    assert (caught.value.host, caught.value.hop) == ("beta", hop)
    if fault == "changed":
        assert (caught.value.location or "").startswith(f"{file}:")
    else:
        assert str(file) in str(caught.value)


def test_hops_of_the_configuration_follow_our_policy_once_they_are_explicit(lab: Lab, tmp_path: Path) -> None:
    wanted = to(lab, "beta", known_hosts=known(lab, tmp_path / "known_hosts", without="gateway"))
    explicit = with_explicit_jumps(wanted, resolve(wanted))
    assert explicit.jump == ("keyuser@gateway:22",)
    with pytest.raises(HostKeyUnknown) as caught:
        by_openssh(explicit, None)
    assert caught.value.hop == "gateway"
    assert by_openssh(with_explicit_jumps(to(lab, "beta"), resolve(to(lab, "beta"))), None) == "keyuser\nbeta\n"


@pytest.mark.parametrize("alias", ["alpha", "beta"])
def test_nothing_listens(lab: Lab, attempt: Attempt, alias: str) -> None:
    with pytest.raises(ConnectionRefused) as caught:
        attempt(to(lab, alias, port=1), None)
    assert (caught.value.hop, caught.value.definite) == (None, False)


def test_a_name_without_address(lab: Lab, attempt: Attempt) -> None:
    with pytest.raises(NameNotResolved, match=r"no-such-host\.invalid"):
        attempt(to(lab, "no-such-host.invalid"), None)


def test_both_backends_say_the_same(lab: Lab, tmp_path: Path) -> None:
    file = known(lab, tmp_path / "known_hosts", changed="alpha")
    faults = [to(lab, "alpha", port=1), to(lab, f"no-such-host.{'x' * 64}"), to(lab, "alpha", known_hosts=file)]
    for wanted in faults:
        texts = []
        for backend in (by_paramiko, by_openssh):
            with pytest.raises(SshLoginError) as caught:
                backend(wanted, None)
            texts.append(caught.value.message)
        assert texts[0] == texts[1]
