"""Processes as another user: who that is, what sudo asks before, and what it says when it refuses.

This module stands on the link's processes. It promises that a password goes to sudo's own question alone, as input of
sudo: never into an argument list, the environment, a file or a log, and never to the command.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from crl.deadlines import Deadline
from crl.errors import UsageError
from crl.link import CallTimeout, Link, RemoteProcess, RunResult
from crl.link.given import CommandLine, Environment
from crl.link.processes import finish
from crl.link.streams import InputStream
from crl.secrets import Secret, redact
from crl.targets import _become
from crl.targets._become import Account
from crl.targets.results import BecomeRefused, shown

__all__ = ["Becoming", "account_of"]


PATIENCE: Final = 30.0
GO: Final = b"go\n"
# Says that the command comes next, and waits for our word: from then on its outputs and its input are its own.
SCRIPT: Final = 'echo {mark} >&2; read -r _ && exec "$@"'
# In a terminal that word would be shown.
PTY_SCRIPT: Final = 'stty -echo; echo {mark} >&2; read -r _; stty echo; exec "$@"'


@dataclass(frozen=True)
class Becoming:
    """One command that is to run as another user.

    Attributes:
        link: The link.
        account: The user.
        command: The command.
        password: What sudo asks for; None where it must not ask.
    """

    link: Link
    account: Account
    command: CommandLine
    password: Secret | None = None

    def __post_init__(self) -> None:
        if self.password is not None and "\n" in self.password.value:
            raise UsageError("a password of several lines is none", doing=self._doing)

    @property
    def _doing(self) -> str:
        return f"running {shown(self.command)} as {self.account.name}"

    @property
    def by_sudo(self) -> bool:
        """Whether sudo is needed; root becomes others by itself."""
        return self.link.facts.uid not in (0, self.account.uid)

    def line(self, env: Environment | None) -> list[str]:
        """The argument list without any question."""
        return [*self._prefix(env), *_become.as_argv(self.command)]

    def surroundings(self, env: Environment | None) -> Environment | None:
        """The environment for it."""
        return _become.surroundings(self.account, self.link.facts.uid, env)

    def _prefix(self, env: Environment | None) -> list[str]:
        names = [name for name, value in (env or {}).items() if value is not None]
        return _become.prefix_for(self.account, self.link.facts.uid, names)

    def not_installed(self, error: FileNotFoundError) -> BecomeRefused | None:
        """What a failed start means, when it was ours that was not found."""
        if error.filename not in ("sudo", "setpriv"):
            return None
        return BecomeRefused(f"{error.filename} is not installed", host=self.link.host, doing=self._doing)

    def run(self, deadline: Deadline, env: Environment | None, stdin: bytes, **options: Any) -> RunResult:
        """Run it to its end; errors as of `start` and of `Link.run`."""
        if not self.by_sudo or self.password is None:
            try:
                line, env = self.line(env), self.surroundings(env)
                ended = self.link.run(line, env=env, stdin=stdin, timeout=deadline.remaining(), **options)
            except FileNotFoundError as error:
                raise self.not_installed(error) or error from error
            self.check(ended, deadline)
            return ended
        started = time.monotonic()
        return finish(self.link, self.start(deadline, env, **options), stdin, started, deadline)

    def start(self, deadline: Deadline, env: Environment | None, **options: Any) -> RemoteProcess:
        """Start it, and wait until sudo has let it.

        Args:
            deadline: Until when sudo must have.
            env: As of `Link.start_process`.
            options: The others of `Link.start_process`.

        Raises:
            BecomeRefused: sudo does not.
        """
        question, mark = secrets.token_hex(16), secrets.token_hex(16)
        argv = self.line(env)
        if self.by_sudo:
            script = (PTY_SCRIPT if options.get("pty") else SCRIPT).format(mark=mark)
            argv = [*self._asking(question, env), _become.SHELL, "-c", script, "sh", *_become.as_argv(self.command)]
        try:
            process = self.link.start_process(argv, env=self.surroundings(env), **options)
        except FileNotFoundError as error:
            raise self.not_installed(error) or error from error
        if self.by_sudo:
            try:
                one_output = options.get("pty") is not None or options.get("merge")
                stream = process.stdout if one_output else process.stderr
                self._talk(process, stream, question.encode(), mark.encode(), deadline)
            except BaseException:
                process.kill_soon()
                raise
        return process

    def _asking(self, question: str, env: Environment | None) -> list[str]:
        prefix = self._prefix(env)
        if self.password is None:
            return prefix
        sudo, _, *rest = prefix
        return [sudo, "-S", "-p", question, *rest]

    def _talk(
        self, process: RemoteProcess, stream: InputStream, question: bytes, mark: bytes, deadline: Deadline
    ) -> None:
        """Answer sudo's question, once, until the mark comes; then let the command begin."""
        seen, answered = b"", False
        while b"\n" not in seen.partition(mark)[2]:
            try:
                data = stream.read(deadline.sooner(PATIENCE).remaining())
            except CallTimeout:
                raise self._refused("sudo neither asked for the password nor began", seen) from None
            seen += data
            if not data:
                lines = seen.replace(question, b"").decode("utf-8", "replace").strip().splitlines()
                raise self._refused(lines[-1] if lines else "sudo refused", seen)
            if seen.count(question) > answered:
                if answered or self.password is None:
                    raise self._refused("sudo did not accept the password", seen)
                answered = True
                process.write(self.password.value.encode() + b"\n", PATIENCE)
        process.write(GO, PATIENCE)

    def _refused(self, text: str, said: bytes = b"") -> BecomeRefused:
        advice = "give become_password, allow it in sudoers with NOPASSWD, or put SudoShell(password=…) on the shells"
        if self.password is not None:
            advice = "look at the password and at sudoers"
        transcript = redact(said.decode("utf-8", "replace"))
        return BecomeRefused(redact(text), host=self.link.host, doing=self._doing, advice=advice, transcript=transcript)

    def check(self, ended: RunResult, deadline: Deadline) -> None:
        """Tell sudo's own refusal from a command's failure: what sudo refuses, it also refuses for ``true``.

        Raises:
            BecomeRefused: It was sudo.
        """
        stderr = ended.stderr
        if ended.status != 1 or not self.by_sudo or not stderr.startswith(b"sudo:"):
            return
        probe = replace(self, command=["true"]).line(None)
        asked = self.link.run(probe, env={"LC_ALL": "C"}, timeout=deadline.remaining())
        if asked.status == 0 and b"preserve" not in stderr and b"environment" not in stderr:
            return
        said = (asked.stderr or stderr).decode("utf-8", "replace").strip().splitlines()
        raise self._refused(said[-1] if said else "sudo refused")


def account_of(look_up: Callable[[str, tuple[str]], Any], user: str, host: str) -> Account:
    """An account of the target.

    Args:
        look_up: Calls a function there.
        user: Its name.
        host: The target's name for errors.

    Raises:
        BecomeRefused: There is none.
    """
    try:
        uid, gid, _, home, shell = look_up(_become.LOOK_UP, (user,))
    except KeyError as error:
        raise BecomeRefused(f"there is no user {user!r}", host=host, doing="looking up a user") from error
    return Account(user, int(uid), int(gid), str(home), str(shell))
