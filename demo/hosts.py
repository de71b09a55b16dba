"""The host part: a stack of shells, remote objects, processes and a tunnel.

Everything here runs against any target, a host of the lab or this machine; what it finds is checked against what can be
known independently.
"""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress

from crl.targets import CommandTimeout, Target
from demo.recorder import Recorder, Step

__all__ = ["use_host"]


def use_host(recorder: Recorder, target: Target, hostname: str) -> None:
    """Connect and use remote objects, processes and a tunnel.

    Args:
        recorder: Where it is kept.
        target: The target; it is left connected.
        hostname: What the host has to call itself.
    """
    with recorder.step("connect: log in, start Python there") as step:
        target.connect()
        facts = target.facts
        for name in ("hostname", "user", "os"):
            step.fact(name, getattr(facts, name))
        step.fact("Python", ".".join(map(str, facts.python)))
        step.check(facts.hostname == hostname, f"the host calls itself {hostname}")
    with recorder.step("use remote objects as local ones") as step:
        _remote_objects(step, target)
    with recorder.step("run commands: live output, status, time limit") as step:
        _commands(step, target)
    with recorder.step("tunnel: talk to a server that listens only there") as step:
        _tunnel(step, target)


def _remote_objects(step: Step, target: Target) -> None:
    remote = target.python
    step.fact("remote os.getpid()", remote.os.getpid())
    step.fact("remote os.getcwd()", remote.os.getcwd())
    step.fact("remote platform.platform()", remote.platform.platform())
    counter = remote.collections.Counter("abracadabra")
    step.check(len(counter) == 5, "len() of a remote Counter counts there")
    step.check(counter["a"] == 5, "its items are read one by one")
    step.check(dict(counter.most_common(1).as_local_value()) == {"a": 5}, "values come back as values")
    raised = None
    try:
        remote.os.stat("/nowhere")
    except FileNotFoundError as error:
        raised = f"{type(error).__name__}: {error}"
        step.fact("an exception of the target", raised)
    step.check(raised, "an exception there is the same exception here")


def _commands(step: Step, target: Target) -> None:
    nonce = secrets.token_hex(8)
    result = target.run(["printf", "%s", nonce], check=True)
    step.check(result.stdout == nonce, "the output of a command is exact")
    step.check(target.run("exit 7").status == 7, "its exit status arrives")
    process = target.start("for i in 1 2 3; do echo line $i; done")
    lines = [line.decode() for line in process.lines(timeout=10)]
    step.check(lines == ["line 1", "line 2", "line 3"], "output arrives line by line")
    step.check(process.wait(10) == 0, "the process ended well")
    stopped = None
    try:
        target.run("sleep 60 & sleep 60", timeout=0.3)
    except CommandTimeout as error:
        stopped = error
    step.check(stopped is not None and not stopped.alive, "a command past its time is gone, with its children")
    step.fact("open files limit there", target.run("ulimit -n").stdout.strip())


def _tunnel(step: Step, target: Target) -> None:
    # A server in the target's own Python, on a port that only its loopback has.
    server = target.python.socket.create_server(("127.0.0.1", 0))
    try:
        port = server.getsockname()[1]
        with target.forward(("127.0.0.1", port)) as tunnel:
            assert isinstance(tunnel.address, tuple)
            with socket.create_connection(tunnel.address, timeout=10) as near:
                far, _peer = server.accept()
                near.sendall(b"hello through the link")
                step.check(far.recv(100) == b"hello through the link", "bytes arrive at the far end")
                far.close()
    finally:
        with suppress(OSError):  # the link is gone: then the server is, too
            server.close()
