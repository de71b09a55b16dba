*** Settings ***
Documentation     Commands and files on a host of the lab, by the keywords of RemoteRunner.
Library           Collections
Library           OperatingSystem
Library           crl.interactivesessions.remoterunner.RemoteRunner    AS    Runner
Variables         lab.py

Suite Setup       Set Host As Target
Suite Teardown    Runner.Close

*** Test Cases ***
A Command Gives Status And Outputs
    ${result}    Execute Command In Target    echo foo; echo bar >&2    target=alpha    timeout=10
    Should Be Equal    ${result.status}    0
    Should Be Equal    ${result.stdout}    foo
    Should Be Equal    ${result.stderr}    bar

Output Is In The Log While It Comes
    Execute Command In Target    echo progress    target=alpha    progress_log=True

A Command Runs In The Background
    Execute Background Command In Target    sleep 600    target=alpha    exec_id=sleeper
    Kill Background Execution    sleeper
    ${result}    Wait Background Execution    sleeper
    Should Be Equal    ${result.status}    -15

Files Go There And Back
    Copy File To Target    ${CURDIR}/lab.py    crl-example/    mode=0o640    target=alpha
    Copy File From Target    crl-example/lab.py    ${OUTPUT_DIR}/back.py    target=alpha
    File Should Exist    ${OUTPUT_DIR}/back.py
    Execute Command In Target    rm -r crl-example    target=alpha

Properties Are Set
    Set Target Property    alpha    termination_timeout    2
    ${properties}    Get Target Properties    alpha
    Should Be Equal As Integers    ${properties}[termination_timeout]    2

*** Keywords ***
Set Host As Target
    ${shell}    Create Dictionary    host=alpha-password    password=${PASSWORD}    config=${SSH_CONFIG}
    ${shells}    Create List    ${shell}
    Set Target    ${shells}    name=alpha
