"""The commands of an X2Go server, run over a host.

`X2GoServer` knows their programs, environment and exit statuses, one host (which is one account on one server) and no
session in particular. Nothing is spliced into a shell line; every command has a deadline and its status is read.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence

from crl.deadlines import Deadline
from crl.targets.results import CommandTimeout
from crl.x2go._host import Host, RunAnswer
from crl.x2go._remote import (
    AgentReport,
    RemoteNotes,
    ServerFacts,
    await_agent_listening,
    put_private,
    read_notes,
    server_facts,
    tidy,
    watch_agent,
)
from crl.x2go.backends.info.plain import X2GoServerSessionInfo, X2GoServerSessionList
from crl.x2go.defaults import SERVER_PATH
from crl.x2go.state import AgentState
from crl.x2go.x2go_exceptions import (
    X2GoControlSessionException,
    X2GoParameterError,
    X2GoRemoteHomeException,
    X2GoServerMissing,
    X2GoTimeOutException,
)

__all__ = ["X2GoServer"]

SERVER_PROGRAMS = (
    "x2gostartagent",
    "x2goruncommand",
    "x2golistsessions",
    "x2gosuspend-session",
    "x2goresume-session",
    "x2goterminate-session",
    "setsid",
    "sh",
)
COMMAND_TIMEOUT = 30.0
# How often a script is asked again when the server's database gave it nothing, as when somebody else writes to it for
# more than two seconds, which a busy machine makes of a moment. The scripts take little notice of that.
ASK_AGAIN = 2
# The server's scripts take what perl says of a locale that is not installed for the answers of their own helpers. What
# runs in the session has the account's locale.
PLAIN_LOCALE = {"LC_ALL": "C", "LANGUAGE": "C"}
LISTENING_TIME = 10.0
# Output goes through a file without a name: a child that keeps the output open then keeps nobody waiting.
_APART = 't=$(mktemp) && exec 3>"$t" 4<"$t" && rm -f "$t" && { "$@" >&3 3>&- 4<&-; s=$?; cat <&4; exit $s; }'
# Both at a time; the second is short and printed behind the first, so that no line is torn.
_BOTH_LISTS = (
    'x2golistsessions & p=$!; s=$(x2golistshadowsessions); wait "$p"; r=$?; '
    '[ -z "$s" ] || printf "%s\\n" "$s"; exit "$r"'
)
# The two notes of x2gostartagent, at once: between them x2gocleansessions would take the session out again. The cookie
# comes on the standard input; the server's own programs know no other way than their arguments.
_NOTE_SESSION = (
    'read -r c && b=$(x2gopath libexec) && s=$1 d=$2 && shift 2 && '
    '"$b/x2goinsertsession" "$d" "$(hostname)" "$s" && exec "$b/x2gocreatesession" "$s" "$c" "$@"'
)
_FEATURE = re.compile(r"[A-Z0-9_]{1,80}", re.ASCII)
_NO_DATABASE = re.compile(r"^DBD::\w+::", re.MULTILINE)  # perl's complaint, among the output and with status 0
_DESKTOP = re.compile(r"[^\s@]{1,64}@:[0-9]{1,5}(?:\.[0-9]{1,3})?")
_SESSION_NAME = re.compile(r"[A-Za-z0-9._@-]{1,256}", re.ASCII)


def _lacks_database(answer: RunAnswer) -> bool:
    """Whether a list is none, for the database could not be read."""
    return _NO_DATABASE.search(answer.stdout) is not None or _NO_DATABASE.search(answer.stderr) is not None


class X2GoServer:
    """One account on one X2Go server.

    Args:
        target: How the server is reached: a `crl.targets.Target`, or anything else with its verbs.
    """

    def __init__(self, target: Host) -> None:
        self.target = target
        # The server notes the client's "address" with each session; ours is unique, so that a session whose start was
        # cut short can be found and ended.
        self.client_name = f"crl-{secrets.token_hex(6)}"
        self._lock = threading.Lock()
        self._facts: ServerFacts | None = None
        self._features: tuple[str, ...] | None = None
        self._versions: dict[str, str] | None = None

    @property
    def host(self) -> str:
        """The server's name, for error texts."""
        return self.target.name

    def get_facts(self) -> ServerFacts:
        """The account and the programs of the server, asked once.

        Raises:
            X2GoServerMissing: Programs of the X2Go server are not there.
            X2GoRemoteHomeException: The account has no home directory.
        """
        with self._lock:
            if self._facts is None:
                facts = server_facts(self.target, SERVER_PROGRAMS, SERVER_PATH)
                self._check(facts)
                self._facts = facts
            return self._facts

    def _check(self, facts: ServerFacts) -> None:
        missing = [program for program in SERVER_PROGRAMS if program not in facts.found]
        if missing:
            raise X2GoServerMissing(
                f"no X2Go server: {', '.join(missing)} not found on {SERVER_PATH}",
                host=self.host,
                doing="looking for the X2Go server",
                advice="install it on the host (Debian: apt-get install x2goserver iproute2)",
            )
        if not facts.home_there:
            raise X2GoRemoteHomeException(
                f"the home directory {facts.home} of {facts.user} does not exist",
                host=self.host,
                doing="looking for the X2Go server",
            )

    def find_programs(self, programs: Sequence[str]) -> dict[str, str]:
        """Where the programs are on the server; those that are not there are left out."""
        return server_facts(self.target, programs, SERVER_PATH).found

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The variables an X2Go server's commands need, whatever sudo or a login has left of them."""
        facts = self.get_facts()
        return {
            "PATH": SERVER_PATH,
            "HOME": facts.home,
            "USER": facts.user,
            "LOGNAME": facts.user,
            "XAUTHORITY": f"{facts.home}/.Xauthority",
            "X2GO_CLIENT": self.client_name,
            "SSH_CLIENT": f"{self.client_name} 0 22",
            "SSH_CONNECTION": f"{self.client_name} 0 {facts.hostname} 22",
            **(extra or {}),
        }

    def execute(
        self,
        command: Sequence[str],
        deadline: Deadline | None = None,
        *,
        env: Mapping[str, str] | None = None,
        leaves_child: bool = False,
        limit: float | None = None,
        input: str | None = None,  # noqa: A002 - the name of subprocess.run
    ) -> RunAnswer:
        """Run one of the server's programs to its end; its status is the caller's to judge.

        Args:
            command: Program and arguments.
            deadline: By when; a command that takes longer is killed with its children.
            env: Variables beside those of `environment`.
            leaves_child: Whether it leaves a process behind that holds its output, whose end would be waited for.
            limit: Seconds that it may take at most, however late the deadline is; None is half a minute.
            input: What it reads.

        Raises:
            X2GoTimeOutException: It was not done in time.
        """
        found = self.get_facts().found
        words = [found.get(command[0], command[0]), *command[1:]]
        if leaves_child:
            words = [found["sh"], "-c", _APART, "sh", *words]
        left = (deadline or Deadline.after(COMMAND_TIMEOUT)).sooner(limit or COMMAND_TIMEOUT).remaining()
        try:
            return self.target.run(words, timeout=left, env={**self.environment(env), **PLAIN_LOCALE}, input=input)
        except CommandTimeout as error:
            raise X2GoTimeOutException(
                f"{command[0]} was not done in time: {error.message}", host=self.host, doing="running a server command"
            ) from error

    def start_detached(self, command: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
        """Start one of the server's programs in a session of its own; it outlives us and says nothing to us."""
        found = self.get_facts().found
        wrapped = [
            found["sh"], "-c", 'exec "$@" </dev/null >/dev/null 2>&1', "sh",
            found["setsid"], found.get(command[0], command[0]), *command[1:],
        ]  # fmt: skip
        self.target.start(wrapped, env=self.environment(env), detached=True)

    def list_sessions(self, deadline: Deadline | None = None) -> X2GoServerSessionList:
        """The account's sessions on this server, as the server's list has them.

        Raises:
            X2GoControlSessionException: The list could not be made.
        """
        return X2GoServerSessionList(self.list_text(deadline).stdout)

    def keep_listed(self, info: X2GoServerSessionInfo, deadline: Deadline | None = None) -> bool:
        """Have the server list a session that it has started; whether it does.

        x2gocleansessions takes a session out of the server's database for which no agent is noted after ten seconds,
        and a busy machine may need more for its start. Such a session runs, but could not be suspended, nor printed in.

        Raises:
            X2GoControlSessionException: The list could not be made.
        """
        ports = (info.graphics_port, info.snd_port, info.sshfs_port, info.tekictrl_port, info.tekidata_port)
        facts = [info.name, info.display, info.agent_pid, self.client_name]
        words = map(str, [*facts, *(-1 if port is None else port for port in ports)])
        command = [self.get_facts().found["sh"], "-c", _NOTE_SESSION, "sh", *words]
        for _ in range(ASK_AGAIN):
            if info.name in self.list_sessions(deadline)():
                return True
            self.execute(command, deadline, input=f"{info.cookie}\n")
        return info.name in self.list_sessions(deadline)()

    def list_text(self, deadline: Deadline | None = None, *, shadows: bool = False) -> RunAnswer:
        """What the server prints of the account's sessions.

        Args:
            deadline: By when.
            shadows: Whether desktops of others that we look at are among them, where the server knows such.

        Raises:
            X2GoControlSessionException: The list could not be made.
        """
        both = shadows and "X2GO_LIST_SHADOWSESSIONS" in self.features(deadline)
        found = self.get_facts().found
        command = [found["sh"], "-c", _BOTH_LISTS] if both else ["x2golistsessions"]
        return self._listed(command, "listing sessions", deadline)

    def features(self, deadline: Deadline | None = None, *, force: bool = False) -> tuple[str, ...]:
        """What the server can do, in its own words; asked once unless forced."""
        if self._features is None or force:
            answer = self._ask_if_there(["x2gofeaturelist"], deadline)
            words = [line.strip() for line in answer.stdout.splitlines()] if answer is not None else []
            self._features = tuple(sorted(word for word in words if _FEATURE.fullmatch(word)))
        return self._features

    def versions(self, deadline: Deadline | None = None, *, force: bool = False) -> dict[str, str]:
        """The versions of the server's parts by name; asked once unless forced."""
        if self._versions is None or force:
            answer = self._ask_if_there(["x2goversion"], deadline)
            lines = answer.stdout.splitlines() if answer is not None else []
            pairs = (line.partition(":") for line in lines)
            self._versions = {name.strip(): version.strip() for name, colon, version in pairs if colon}
        return dict(self._versions)

    def _ask_if_there(self, command: Sequence[str], deadline: Deadline | None) -> RunAnswer | None:
        """Run a program that a server need not have; None when it has not."""
        try:
            return self.execute(command, deadline)
        except FileNotFoundError:
            return None

    def list_desktops(self, deadline: Deadline | None = None) -> list[str]:
        """The desktops on this server that could be shared, each as ``user@:display``.

        Raises:
            X2GoControlSessionException: The list could not be made.
        """
        answer = self.execute(["x2golistdesktops"], deadline)
        if answer.status != 0:
            raise self._failed("listing desktops", "x2golistdesktops", answer)
        return [line.strip() for line in answer.stdout.splitlines() if _DESKTOP.fullmatch(line.strip())]

    def list_mounts(self, session_name: str, deadline: Deadline | None = None) -> list[str]:
        """What of the client is mounted in a session, each as ``host|place``.

        Raises:
            X2GoControlSessionException: The list could not be made.
        """
        answer = self._listed(["x2golistmounts", self.checked_name(session_name)], "listing mounts", deadline)
        return [line.strip() for line in answer.stdout.splitlines() if line.strip()]

    def applications(self, deadline: Deadline | None = None) -> str:
        """The server's menu as it prints it; "" when it publishes none."""
        answer = self._ask_if_there(["x2gogetapps"], deadline)
        return answer.stdout if answer is not None and answer.status == 0 else ""

    def suspend(self, session_name: str, deadline: Deadline | None = None) -> None:
        """Ask the server to suspend a session; it does so shortly after.

        A script that did not learn the agent's process says that it failed, has done nothing to the agent, and notes
        that the session has ended, for which x2gocleansessions kills the agent 20 seconds later. So it is asked again.

        Raises:
            X2GoControlSessionException: It failed each time.
        """
        command = ["x2gosuspend-session", self.checked_name(session_name)]
        answer = self._ask_again_if(lambda answer: "ERROR" in answer.stderr, command, deadline)
        if answer.status != 0 or "ERROR" in answer.stderr:
            raise self._failed("suspending a session", "x2gosuspend-session", answer)

    def _ask_again_if(
        self, failed: Callable[[RunAnswer], bool], command: Sequence[str], deadline: Deadline | None
    ) -> RunAnswer:
        """Run a program that may do its work once more when it says with status 0 that it could not."""
        answer = self.execute(command, deadline)
        for _ in range(ASK_AGAIN):
            if answer.status != 0 or not failed(answer):
                break
            answer = self.execute(command, deadline)
        return answer

    def _listed(self, command: Sequence[str], doing: str, deadline: Deadline | None) -> RunAnswer:
        """What a program lists of the database."""
        answer = self._ask_again_if(_lacks_database, command, deadline)
        if answer.status != 0 or _lacks_database(answer):
            raise self._failed(doing, command[0] if command[0].startswith("x2go") else "x2golistsessions", answer)
        return answer

    def terminate(self, session_name: str, deadline: Deadline | None = None) -> None:
        """Ask the server to end a session; it does so shortly after."""
        answer = self.execute(["x2goterminate-session", self.checked_name(session_name)], deadline)
        if answer.status != 0:
            raise self._failed("terminating a session", "x2goterminate-session", answer)

    def watch(self, info: X2GoServerSessionInfo, wanted: Sequence[AgentState], deadline: Deadline) -> AgentReport:
        """Wait until the session's agent is in one of the states, is gone, or the deadline has come."""
        left = deadline.sooner(COMMAND_TIMEOUT * 2).remaining() or 0.0
        return watch_agent(self.target, info.name, info.agent_pid or 0, wanted, left)

    def wait_until_listening(self, info: X2GoServerSessionInfo, deadline: Deadline) -> bool:
        """Wait until the session's agent takes a proxy; False when it does not in time, or is gone."""
        left = deadline.sooner(LISTENING_TIME).remaining() or 0.0
        return await_agent_listening(self.target, info.name, info.agent_pid or 0, info.graphics_port or 0, left)

    def look(self, info: X2GoServerSessionInfo) -> AgentReport:
        """The state of the session's agent now."""
        return watch_agent(self.target, info.name, info.agent_pid or 0, (), 0.0)

    def notes(self, session_name: str) -> RemoteNotes:
        """What the session's agent and command wrote."""
        return read_notes(self.target, session_name)

    def put_file(self, session_name: str | None, name: str, data: bytes) -> str:
        """Write a small file for its owner only, in the session's folder or, without one, in the home.

        Returns:
            Its path on the server.
        """
        if session_name is not None:
            self.checked_name(session_name)
        return put_private(self.target, session_name, name, data)

    def clean(self, info: X2GoServerSessionInfo, deadline: Deadline) -> bool:
        """Wait until the session's agent is gone, then remove what it left; whether it went in time."""
        left = deadline.sooner(COMMAND_TIMEOUT).remaining() or 0.0
        return tidy(self.target, info.name, info.agent_pid or 0, info.display or 0, info.cookie, left)

    def started_by_us(self, deadline: Deadline) -> list[X2GoServerSessionInfo]:
        """The sessions in the list that this object has started."""
        return [info for info in self.list_sessions(deadline)().values() if info.client == self.client_name]

    def checked_name(self, session_name: str) -> str:
        """The name, if it can be one.

        Raises:
            X2GoParameterError: It cannot.
        """
        if not _SESSION_NAME.fullmatch(session_name) or session_name.startswith("-"):
            raise X2GoParameterError(f"{session_name!r} cannot be the name of a session", host=self.host)
        return session_name

    def _failed(self, doing: str, program: str, answer: RunAnswer) -> X2GoControlSessionException:
        return X2GoControlSessionException(
            f"{program} failed" if answer.status == 0 else f"{program} ended with status {answer.status}",
            host=self.host,
            doing=doing,
            transcript=answer.stderr or answer.stdout,
        )
