"""The old libraries in a suite of Robot Framework, imported and called as suites for the published package do."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

from tests.faces.artefacts import robot

SUITE = """\
*** Settings ***
Variables    {variables}
Library      crl.interactivesessions.InteractiveSessions    ${{FACTORY}}
Library      crl.interactivesessions.shells.timeouts.Timeouts    AS    Timeouts

*** Test Cases ***
Named Terminals
    Create Terminal    main
    Set Default Terminal Name    main
    Spawn    ${{BASH}}
    ${{out}}    Exec Command    echo one
    Should Be Equal    ${{out}}    one
    Exec Command    (exit 3)    timeout=10
    ${{status}}    Get Status Code
    Should Be Equal As Integers    ${{status}}    3
    ${{answers}}    Create Responses List    name?    crl
    ${{out}}    Exec Prompting Command    printf 'name?'; read n; echo hello $n    ${{answers}}
    Should End With    ${{out}}    hello crl
    Exec Command    sleep 600 &
    ${{pid}}    Get Pid
    Exec Command    kill -9 ${{pid}}; wait
    ${{prompt}}    Get Current Prompt
    Push    ${{SH}}
    ${{inner}}    Get Current Prompt
    Should Not Be Equal    ${{prompt}}    ${{inner}}
    Exit Shell
    Run Keyword And Expect Error    *TerminalAlreadyExists*    Create Terminal    main
    Run Keyword And Expect Error    *NoSuchTerminal*    Exec Command    true    other
    Close Terminal    main

Executor
    ${{result}}    Call Method    ${{EXECUTOR}}    run    one    echo out; echo err >&2; exit 4
    Should Be Equal    ${{result}}    ${{{{(4, 'out', 'err')}}}}
    Run Keyword And Expect Error    *CommandExecutionFailed*
    ...    Call Method    ${{EXECUTOR}}    run    one    exit 4    validate_return_status=${{True}}
    Call Method    ${{EXECUTOR}}    close

Session That Repairs Itself
    ${{result}}    Call Method    ${{REPAIRING}}    run    echo fine
    Should Be Equal    ${{result}}[1]    fine
    ${{result}}    Call Method    ${{REPAIRING}}    run_no_validate    exit 5
    Should Be Equal As Integers    ${{result}}[0]    5
    Call Method    ${{REPAIRING}}    close

Manager Of Sessions
    ${{out}}    Call Method    ${{MANAGER}}    run    first    node    echo managed
    Should Be Equal    ${{out}}    managed
    Call Method    ${{MANAGER}}    close

Time Limits
    Timeouts.Set    20
    Timeouts.Set Python Short Timeout    20
    Timeouts.Set Proxy Default Timeout    20
    Timeouts.Reset
    Timeouts.Reset Python Short Timeout
    Timeouts.Reset Proxy Default Timeout
"""


def test_the_old_libraries_in_a_suite(tmp_path: Path) -> None:
    suite = tmp_path / "legacy.robot"
    suite.write_text(SUITE.format(variables=Path(__file__).with_name("suite_objects.py")), encoding="utf-8")
    done = robot(tmp_path, suite)
    assert done.status == 0, done.output + done.errors
    results = ET.parse(tmp_path / "results" / "output.xml").getroot().findall(".//test/status")
    assert [result.get("status") for result in results] == ["PASS"] * 5
