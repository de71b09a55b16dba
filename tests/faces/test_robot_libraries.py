"""What the Robot libraries promise beside the work of their keywords: retries, closing, plain text, secrets, pictures.

Whatever a host says stays text, whatever a suite opens is closed, and no secret is in anything a run leaves.
"""

from __future__ import annotations

import os
from datetime import timedelta
from functools import partial
from itertools import count
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from assertionengine import AssertionOperator
from TargetLibrary.foundation import asserted
from TargetLibrary.registry import OpenTargets
from X2GoLibrary.pictures import write_new

from crl.errors import UsageError
from crl.interactivesessions.shells import SshShell
from crl.lab import Lab
from crl.targets import Target
from tests.faces.artefacts import PICTURE, TIMEOUT, read, robot, secrets_in, write_suite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = TIMEOUT
EQUAL = AssertionOperator["=="]


@pytest.fixture
def own_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab of this module's own with one host, which may be rebooted."""
    own = Lab(tmp_path_factory.mktemp("lab") / "lab", f"f{os.getpid() % 1_000_000}", hosts=["alpha"])
    own.up()
    yield own
    own.down()


def never_opened(name: str) -> Target:
    """A target that nobody connects."""
    return Target(SshShell(name), name=name)


# Without a host


def test_an_assertion_is_tried_again_until_it_holds() -> None:
    numbers = count(1)
    assert asserted(lambda: next(numbers), EQUAL, "3", None, what="It", retry_for=timedelta(seconds=10)) == 3
    assert next(numbers) == 4


def test_an_assertion_without_retry_asks_once() -> None:
    numbers = count(1)
    with pytest.raises(AssertionError, match="It '1'"):
        asserted(lambda: next(numbers), EQUAL, "3", None, what="It", retry_for=timedelta())
    assert next(numbers) == 2


@pytest.mark.parametrize(("value", "expected"), [(True, "True"), ([1], "[1]"), ("2", "2"), (2.5, 2.5), ((1,), "(1,)")])
def test_expected_text_is_read_like_the_value(value: object, expected: object) -> None:
    assert asserted(lambda: value, EQUAL, expected, None, what="It", retry_for=timedelta()) == value


def test_what_stands_on_a_target_is_closed_before_it_and_the_last_opened_first() -> None:
    targets = OpenTargets()
    seen: list[str] = []

    def note(target: Target) -> None:
        seen.append(repr(target))

    for name in ("one", "two", "three"):
        target = never_opened(name)
        targets.add(name, target, owner="suite" if name != "three" else "other")
        targets.before_closing(target, partial(note, target))
    targets.close_all("suite")
    assert seen == ["<Target two (not connected)>", "<Target one (not connected)>"]
    assert (targets.aliases, targets.current) == (["three"], "three")
    targets.close_all()
    assert seen[2:] == ["<Target three (not connected)>"]
    with pytest.raises(UsageError, match="no target is in use"):
        targets.find(None)


def test_a_target_is_closed_although_something_on_it_fails() -> None:
    targets = OpenTargets()
    target = never_opened("one")
    targets.add("one", target, owner="")

    def fail() -> None:
        raise UsageError("no")

    targets.before_closing(target, fail)
    with pytest.raises(UsageError, match="no"):
        targets.close_all()
    assert repr(target) == "<Target one (closed)>"
    assert targets.aliases == []


def test_aliases() -> None:
    targets = OpenTargets()
    one, two = never_opened("one"), never_opened("two")
    targets.add("a", one, owner="")
    targets.add("b", two, owner="")
    assert targets.use("a") == "b"
    assert targets.use(two) == "a"
    assert targets.find("a") is one
    with pytest.raises(UsageError, match="open target 'a'"):
        targets.add("a", two, owner="")
    with pytest.raises(UsageError, match=r"(?s)no open target 'c'.*'a', 'b'"):
        targets.find("c")
    targets.close_all()


def test_pictures_never_get_the_same_file(tmp_path: Path) -> None:
    named = [write_new(tmp_path / "one.png", b"1").name for _ in range(3)]
    numbered = [write_new(tmp_path / "deeper" / "two-{index}", b"2").name for _ in range(2)]
    assert named == ["one.png", "one-1.png", "one-2.png"]
    assert numbered == ["two-1.png", "two-2.png"]
    assert {path.read_bytes() for path in tmp_path.glob("one*")} == {b"1"}


CYCLIC = """
from robot.api.deco import keyword
from TargetLibrary.foundation import CrlLibrary

class Cyclic(CrlLibrary):
    @keyword
    def fail_in_circles(self):
        kept, other = ValueError("kept"), KeyError("other")
        kept.__context__, other.__cause__, other.__context__ = other, kept, kept
        raise kept

    @keyword
    def fail_far_down(self):
        error = ValueError("the end")
        for number in range(40):
            outer = ValueError(number)
            outer.__cause__ = outer.__context__ = error
            error = outer
        raise error
"""


def test_errors_in_circles_fail_the_test_and_not_the_run(tmp_path: Path) -> None:
    (tmp_path / "Cyclic.py").write_text(CYCLIC, encoding="utf-8")
    suite = tmp_path / "suite.robot"
    suite.write_text(
        "*** Settings ***\nLibrary    Cyclic.py\n*** Test Cases ***\nOne\n    Fail In Circles\nTwo\n    Fail Far Down\n"
    )
    done = robot(tmp_path, suite)
    assert done.status == 2, done.output + done.errors
    assert "ValueError: kept" in done.output
    assert "ValueError: 39" in done.output


# On the lab


@pytest.mark.lab
def test_what_a_target_says_is_no_html(tmp_path: Path, lab_env: dict[str, str]) -> None:
    suite = write_suite(
        tmp_path,
        """
*** Test Cases ***
An Error Of The Target
    Open Target    alpha    config=${SSH_CONFIG}
    Call Remote Function    (lambda: (_ for _ in ()).throw(AssertionError('*HTML*<b>bold</b>')))
A Value Of The Target
    Get Remote Value    '*HTML*<b>bold</b>'    ==    other    message={value}
""",
    )
    done = robot(tmp_path, suite, env=lab_env)
    assert done.status == 2, done.output
    messages = list(ET.parse(tmp_path / "results" / "output.xml").iter("msg"))
    failures = [message for message in messages if message.attrib["level"] == "FAIL"]
    assert len(failures) == 2
    assert all("<b>bold</b>" in str(message.text) and "html" not in message.attrib for message in failures)
    assert not [message for message in messages if message.attrib.get("html") and "bold" in str(message.text)]


@pytest.mark.lab
def test_what_a_suite_opens_is_closed_at_its_end(tmp_path: Path, lab_env: dict[str, str]) -> None:
    folder = tmp_path / "suites"
    write_suite(folder, "Suite Setup    Open Target    alpha    alias=of all    config=${SSH_CONFIG}", "__init__.robot")
    for name in ("first", "second"):
        write_suite(
            folder,
            """
*** Test Cases ***
The Suite Opens Its Own
    Run Command    true    ==    0
    Open Target    alpha    alias=own    config=${SSH_CONFIG}
    ${before}    Switch Target    of all
    Should Be Equal    ${before}    own
    Start Process    sleep 61
""",
            f"{name}.robot",
        )
    done = robot(tmp_path, folder, env=lab_env)
    assert done.status == 0, done.output + done.errors
    assert done.errors == ""


@pytest.mark.lab
def test_a_failing_keyword_shows_the_session(tmp_path: Path, lab_env: dict[str, str]) -> None:
    suite = write_suite(
        tmp_path,
        """
*** Test Cases ***
A Window Does Not Come
    Open Target    beta    config=${SSH_CONFIG}
    Start Application Session    xterm -bg ivory    alias=app
    Wait For Window    xterm    session=app
    Take Server Picture    picture-{index}.png
    Wait For Window    nothing of the kind    timeout=0.5s
""",
    )
    done = robot(tmp_path, suite, env=lab_env)
    assert done.status == 1, done.output
    log = read(tmp_path / "results" / "log.html")
    assert log.count(PICTURE) == 2
    assert "When it failed, the session" in log
    assert "the agent on the server is RUNNING" in log
    assert [path.name for path in (tmp_path / "results").glob("*.png")] == ["picture-1.png"]
    assert "no window 'nothing of the kind' came within 0.5 s" in done.output


PAGE = "%!PS\n/Helvetica findfont 20 scalefont setfont 72 700 moveto (Good morning) show showpage\n"


@pytest.mark.lab
def test_a_session_has_folders_and_a_box_and_tells_what_is_not_printed(tmp_path: Path, lab_env: dict[str, str]) -> None:
    papers = tmp_path / "papers"
    papers.mkdir()
    (papers / "plan.txt").write_text("from here")
    (tmp_path / "page.ps").write_text(PAGE)
    suite = write_suite(
        tmp_path,
        """
*** Variables ***
${PAPERS}    ${CURDIR}/papers

*** Test Cases ***
A Session Has What It Needs
    Open Target    alpha-zsh    config=${SSH_CONFIG}
    VAR    @{kinds}    txt
    Start Application Session    xterm    printing=True    mimebox=True    xinerama=False
    ...    mimebox_extensions=${kinds}
    ${environment}    Get Session Environment
    VAR    ${ENVIRONMENT}    ${environment}    scope=SUITE

A Folder Is Shared
    Share Folder    ${PAPERS}    read_only=True
    ${shared}    Get Shared Folders
    Should Be True    $shared == [$PAPERS]
    ${seen}    Run Command    cat ~/media/disk/*papers/plan.txt
    Should Be Equal    ${seen.stdout}    from here
    Run Command    touch ~/media/disk/*papers/new    !=    0
    Unshare Folder    ${PAPERS}
    Run Keyword And Expect Error    *the session does not have*shared are: none*    Unshare Folder    ${PAPERS}
    Unshare Folder
    ${shared}    Get Shared Folders
    Should Be Empty    ${shared}

A Page Cannot Be Printed
    Set Print Action    PRINTCMD    print_cmd=no-such-printer
    Push Files    ${CURDIR}/page.ps    page.ps
    Run Command    lp page.ps && rm page.ps    ==    0
    Run Keyword And Expect Error    *no-such-printer*    Wait For Print Jobs

A File Is Handed To A Program Here
    Set Mimebox Action    OPENWITH    open_with_cmd=cp --target-directory=${CURDIR}
    Run Command    cp /etc/hostname "$X2GO_MIMEBOX"/note.txt    ==    0    env=${ENVIRONMENT}
    ${files}    Wait For Mimebox Files
    Should Be Equal    ${files[0].name}    note.txt

Its End Is The End Of All
    Terminate Session
    Run Keyword And Expect Error    *nothing records*sound=record*    Wait For Tone    440
    Run Keyword And Expect Error    *start or resume it first*    Get Session Environment
""",
    )
    done = robot(tmp_path, suite, env=lab_env)
    assert done.status == 0, done.output + done.errors
    assert (tmp_path / "note.txt").read_text() == "alpha\n"
    assert sorted(path.name for path in papers.iterdir()) == ["plan.txt"]


@pytest.mark.lab
def test_a_session_is_taken_over_by_its_name(tmp_path: Path, lab_env: dict[str, str]) -> None:
    suite = write_suite(
        tmp_path,
        """
*** Test Cases ***
First Run
    Open Target    beta    config=${SSH_CONFIG}
    ${session}    Start Application Session    xterm    at_exit=suspend
    VAR    ${NAME}    ${session.get_session_name()}    scope=SUITE
    Close Target
    Run Keyword And Expect Error    *no session is in use*    Get Session State
Second Run
    Open Target    beta    alias=again    config=${SSH_CONFIG}
    Run Keyword And Expect Error    *there is no session other-50-1700000000_stRxterm_dp24*
    ...    Resume Session    other-50-1700000000_stRxterm_dp24
    ${session}    Resume Session    ${NAME}
    ${window}    Wait For Window    xterm    session=${NAME}
    Should Be Equal    ${window.wm_class}[1]    XTerm
    ${name}    Terminate Session
    Should Be Equal    ${name}    ${NAME}
""",
    )
    done = robot(tmp_path, suite, env=lab_env)
    assert done.status == 0, done.output + done.errors


@pytest.mark.lab
def test_targets_can_be_closed_after_each_test(tmp_path: Path, lab_env: dict[str, str]) -> None:
    suite = write_suite(
        tmp_path,
        """
Library    TargetLibrary    auto_close=TEST    AS    Short
Suite Setup    Short.Open Target    alpha    alias=kept    config=${SSH_CONFIG}
*** Test Cases ***
One
    Short.Open Target    alpha    config=${SSH_CONFIG}
    Short.Run Command    hostname    ==    0
Two
    Run Keyword And Expect Error    *no open target 'alpha'*    Short.Switch Target    alpha
    Short.Run Command    hostname    ==    0
""",
    )
    done = robot(tmp_path, suite, env=lab_env)
    assert (done.status, done.errors) == (0, ""), done.output


@pytest.mark.lab
def test_secrets_stay_out_of_a_failing_run(tmp_path: Path, lab_env: dict[str, str], secrets: list[str]) -> None:
    suite = write_suite(
        tmp_path,
        """
*** Test Cases ***
By Shells
    VAR    &{shell}    host=alpha-password    config=${SSH_CONFIG}    password=${PASSWORD}
    VAR    @{shells}    ${shell}
    Open Target    ${shells}    alias=shells
    ${result}    Run Command    cat; echo "$WORD"    input=${PASSWORD}    env=${{{'WORD': $PASSWORD}}}
    Should Be True    $result.stdout.count($PASSWORD.value) == 2
    Log    ${result}
    Run Command    cat >&2; false    input=${PASSWORD}    check=True
A Wrong Password
    Open Target    alpha-both    user=pwuser    password=${PASSWORD}x    config=${SSH_CONFIG}    max_tries=1
A Wrong Command
    Run Command    exit 3    ==    0    env=${{{'WORD': $PASSWORD}}}
""",
    )
    done = robot(tmp_path, suite, env=lab_env)
    assert done.status == 3, done.output
    everything = done.everything()
    assert "alpha-password" in everything
    assert "ended with status 1" in everything
    assert secrets_in(everything, secrets) == []


@pytest.mark.lab
def test_processes_and_retried_commands(tmp_path: Path, lab_env: dict[str, str]) -> None:
    suite = write_suite(
        tmp_path,
        """
Suite Setup    Open Target    alpha    config=${SSH_CONFIG}
*** Test Cases ***
A Process Ends By Itself
    VAR    @{command}    sh    -c    echo "$WORD" in "$PWD"; exit 4
    ${first}    Start Process    ${command}    cwd=/etc    env=${{{'WORD': 'here'}}}
    Start Process    sleep 62
    ${result}    Wait For Process    ${first}    timeout=20s
    Should Be Equal    ${result.stdout}    here in /etc\\n
    Should Be Equal    ${result.status}    ${4}
    Run Keyword And Expect Error    *ended with 4*    Wait For Process    ${first}    check=True
    Run Keyword And Expect Error    CallTimeout: *still runs*    Wait For Process    timeout=0.2s
    ${result}    Stop Process
    Should Be Equal    ${result.status}    ${-15}
A Command Is Run Again Only When Told
    Run Command    echo x >> /tmp/faces-count    ==    0
    Run Keyword And Expect Error    *status*    Run Command    echo x >> /tmp/faces-count; exit 1    ==    0
    Run Command    echo x >> /tmp/faces-count; test $(wc -l < /tmp/faces-count) -ge 5    ==    0    retry_for=60s
    ${count}    Run Command    wc -l < /tmp/faces-count; rm /tmp/faces-count
    Should Be True    int($count.stdout) == 5
    Run Keyword And Expect Error    *status*    Run Command    false    ==    0    retry_for=0.5s
""",
    )
    done = robot(tmp_path, suite, env=lab_env)
    assert done.status == 0, done.output + done.errors


@pytest.mark.lab
def test_reboot(tmp_path: Path, own_host: Lab) -> None:
    suite = write_suite(
        tmp_path,
        """
*** Test Cases ***
The Host Is Another One Afterwards
    Open Target    alpha-both    config=${SSH_CONFIG}    password=${ACCOUNT}
    ${before}    Get Target Facts
    Run Keyword And Expect Error    RebootFailed:*    Reboot Target    command=false    timeout=20s
    VAR    &{host}    host=alpha-both    config=${SSH_CONFIG}    password=${ACCOUNT}
    VAR    &{root}    shellname=SudoShell    password=${ACCOUNT}
    VAR    @{shells}    ${host}    ${root}
    Open Target    ${shells}    alias=root
    ${after}    Reboot Target    timeout=60s
    Should Not Be Equal    ${before.boot_id}    ${after.boot_id}
    Switch Target    alpha-both
    ${up}    Wait Until Target Is Up    timeout=60s
    Should Be Equal    ${up.boot_id}    ${after.boot_id}
""",
    )
    variables = tmp_path / "account.py"
    variables.write_text(
        "from robot.api.types import Secret\nfrom crl.lab import Lab\n"
        "ACCOUNT = Secret(Lab().plan.hosts['alpha'].users['both'].password.value)\n"
    )
    env = {"CRL_LAB_DIR": str(own_host.folder)}
    done = robot(tmp_path, suite, "--variablefile", variables, env=env)
    assert done.status == 0, done.output + done.errors
