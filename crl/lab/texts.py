"""The configuration texts of the lab, as pure functions of its plan.

They know file formats (sshd_config(5), ssh_config(5), passwd(5), sudoers(5), pam.conf(5)) and nothing of the machine;
the same plan always gives the same texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from crl.lab.plan import DEFAULT_ROLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from crl.lab.plan import HostPlan, LabPlan, UserPlan

__all__ = [
    "NASTY_BANNER",
    "NASTY_BASHRC",
    "NASTY_MOTD",
    "SUDOERS",
    "group_text",
    "hosts_text",
    "known_hosts_text",
    "merged_accounts",
    "passwd_text",
    "power_script",
    "shadow_text",
    "ssh_config_text",
    "sshd_config_text",
    "sshd_pam_text",
]

NASTY: Final = "nasty"
HOST_KEY_TYPES: Final = ("ed25519", "ecdsa", "rsa")
LOWEST_HUMAN_UID: Final = 1000
NOBODY_UID: Final = 65534
SHADOW_DAYS: Final = 19000

NASTY_BANNER: Final = """\
*******************************************************************
* Authorised use only.  Never tell anybody your
* password:
* Are you sure you want to continue connecting (yes/no)? $ # > %
*******************************************************************
"""

NASTY_MOTD: Final = """\
\x1b]0;motd changes your title\x07\x1b[1;31mWelcome!\x1b[0m   Last login: never from nowhere
Your password: will expire in 3 days.  [sudo] password for nasty:
root@elsewhere:~# this is not a prompt
>>> nor is this
"""

NASTY_BASHRC: Final = r"""
case $- in *i*) ;; *) return ;; esac
set -o vi
bind 'set enable-bracketed-paste on' 2>/dev/null
export TMOUT=3600
HISTCONTROL=ignorespace
alias ls='ls --color=always'
PROMPT_COMMAND='printf "\033]0;%s\007" "${PWD}"; [ $((RANDOM % 3)) = 0 ] && printf "\033[35mYou have new mail\033[0m\n"'
PS1='\[\e[1;32m\]┌─[\u@\h password: ]─[\t]\[\e[0m\]\n\[\e[1;34m\]└─\w \$\[\e[0m\] » '
PS2='… '
echo "Login chatter: do you want to continue? [Y/n] $ "
"""

SUDOERS: Final = """\
Defaults	env_reset
Defaults	mail_badpass
Defaults	secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
Defaults	use_pty
root	ALL=(ALL:ALL) ALL
%sudo	ALL=(ALL:ALL) ALL
@includedir /etc/sudoers.d
"""


def sshd_config_text(host: HostPlan) -> str:
    """The configuration of a host's sshd: each user has exactly his own methods of authentication."""
    lines = [
        f"Port {host.port}",
        *(f"HostKey /etc/ssh/ssh_host_{kind}_key" for kind in HOST_KEY_TYPES),
        "PermitRootLogin no",
        "UsePAM yes",
        "PubkeyAuthentication yes",
        "PasswordAuthentication yes",
        "KbdInteractiveAuthentication yes",
        "PrintMotd no",
        "X11Forwarding yes",
        "AcceptEnv LANG LC_*",
        "Subsystem sftp /usr/lib/openssh/sftp-server",
        "PidFile /run/sshd.pid",
    ]
    if not host.spec.default_limits:
        lines += [
            "MaxStartups 100",
            "MaxSessions 100",
            "MaxAuthTries 20",
            "ClientAliveInterval 5",
            "ClientAliveCountMax 3",
        ]
    lines.append("AllowUsers " + " ".join(user.login for user in host.users.values()))
    for user in host.users.values():
        lines += [f"Match User {user.login}", "    AuthenticationMethods " + " ".join(user.methods)]
        if user.role == NASTY:
            lines.append("    Banner /etc/ssh/banner.nasty")
    return "\n".join(lines) + "\n"


def sshd_pam_text() -> str:
    """PAM for sshd: unix passwords, no audit, no logind, and the message of the day.

    A wrong password is refused at once here, and after two seconds by sudo and su, as Debian has it.
    """
    return """\
auth     required  pam_unix.so nullok nodelay
account  required  pam_nologin.so
@include common-account
session  required  pam_unix.so
session  [success=1 default=ignore]  pam_succeed_if.so quiet user != nasty
session  optional  pam_motd.so motd=/etc/motd.nasty noupdate
session  optional  pam_motd.so motd=/etc/motd noupdate
session  optional  pam_env.so
"""


def hosts_text(plan: LabPlan, place: str) -> str:
    """/etc/hosts of one host."""
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    lines += [f"{address}\t{name}" for name, address in plan.addresses_seen_from(place).items()]
    return "\n".join(lines) + "\n"


def merged_accounts(text: str, ours: str, *, names_left: Iterable[str] | None = None) -> str:
    """Take the machine's own accounts without its people, and add the lab's.

    Args:
        text: passwd, group, shadow or gshadow of the machine.
        ours: Lines to add.
        names_left: Names that stay; None says that the third field is an id and decides.
    """
    added = {line.split(":", 1)[0] for line in ours.splitlines()}
    allowed = None if names_left is None else set(names_left)
    kept = []
    for line in text.splitlines():
        name, *rest = line.split(":")
        if name in added or len(rest) < 2:
            continue
        if name in allowed if allowed is not None else _is_of_the_system(rest[1]):
            kept.append(line)
    return "\n".join(kept) + "\n" + ours


def _is_of_the_system(number: str) -> bool:
    return number.isdigit() and (int(number) < LOWEST_HUMAN_UID or int(number) >= NOBODY_UID - 1)


def passwd_text(users: Iterable[UserPlan]) -> str:
    """Lines of passwd(5) for the lab's users."""
    return "".join(f"{u.login}:x:{u.uid}:{u.uid}:lab user ({u.role}):{u.home}:{u.shell}\n" for u in users)


def group_text(users: Iterable[UserPlan]) -> str:
    """Lines of group(5): a group for each user, and sudo with its members."""
    everybody = list(users)
    own = "".join(f"{u.login}:x:{u.uid}:\n" for u in everybody)
    return own + "sudo:x:27:" + ",".join(u.login for u in everybody if u.sudo) + "\n"


def shadow_text(hashes: Mapping[str, str]) -> str:
    """Lines of shadow(5) from logins and hashes (``*``: no password at all)."""
    return "".join(f"{login}:{digest}:{SHADOW_DAYS}:0:99999:7:::\n" for login, digest in hashes.items())


def power_script(name: str, signal: str) -> str:
    """A command like reboot(8) that asks the host's PID 1."""
    return f"""\
#!/bin/sh
if [ "$(id -u)" != 0 ]; then echo "{name}: must be superuser." >&2; exit 1; fi
signal={signal}
if [ "${{0##*/}}" = shutdown ]; then
    for word; do case $word in -r) signal=INT ;; -c) exit 0 ;; esac; done
fi
exec kill -s "$signal" 1
"""


def known_hosts_text(plan: LabPlan, keys: Mapping[str, Iterable[str]]) -> str:
    """known_hosts of the controller.

    Args:
        plan: The lab.
        keys: For each host the public key lines (type, base64, maybe a comment).
    """
    lines = []
    for name, host in plan.hosts.items():
        for key in keys[name]:
            kind, blob = key.split()[:2]
            lines.append(f"{name},{host.link.address} {kind} {blob}")
    return "\n".join(lines) + "\n"


def _quoted(path: str) -> str:
    """A path as ssh_config takes it: quoted, no token expanded."""
    return '"' + path.replace("%", "%%") + '"'


def ssh_config_text(plan: LabPlan, folder: str) -> str:
    """ssh_config of the controller: ``HOST`` is the default user, ``HOST-ROLE`` everybody else."""
    lines = [f"# Written by crl lab for the lab {plan.name!r}; gone after `crl lab down`."]
    for host in plan.hosts.values():
        for user in host.users.values():
            lines += _alias(host, user, folder)
    lines += [
        "Host *",
        f"    UserKnownHostsFile {_quoted(folder + '/known_hosts')}",
        "    GlobalKnownHostsFile /dev/null",
        "    StrictHostKeyChecking yes",
        "    IdentitiesOnly yes",
        "    IdentityAgent none",
        "    ConnectTimeout 10",
    ]
    return "\n".join(lines) + "\n"


def _alias(host: HostPlan, user: UserPlan, folder: str) -> list[str]:
    names = f"{host.name}-{user.role}" + (f" {host.name}" if user.role == DEFAULT_ROLE else "")
    lines = [f"Host {names}", f"    HostName {host.link.address}", f"    Port {host.port}", f"    User {user.login}"]
    if user.has_key:
        lines.append(f"    IdentityFile {_quoted(f'{folder}/keys/{user.role}')}")
    lines.append(f"    PreferredAuthentications {','.join(user.methods)}")
    if not user.has_key:
        lines.append("    PubkeyAuthentication no")
    if host.via is not None:
        lines.append(f"    ProxyJump {host.via}")
    return lines
