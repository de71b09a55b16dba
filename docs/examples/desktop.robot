*** Settings ***
Documentation     Starts, verifies, suspends, resumes and ends a desktop of `beta`, which is reached through `gateway`.

Library           TargetLibrary
Library           X2GoLibrary
Variables         lab.py

Suite Setup       Open Target    beta    config=${SSH_CONFIG}
Suite Teardown    Close All Targets


*** Test Cases ***
The Host Is The Right One
    [Documentation]    Facts, and values of remote Python, of the far side.
    ${facts}    Get Target Facts
    Should Be Equal    ${facts.hostname}    beta
    Get Remote Value    __import__('platform').node()    ==    beta
    ${release}    Call Remote Function    platform.release
    Log    ${facts.os}, kernel ${release}

A Desktop Starts With An Application
    [Documentation]    The application is started on the display that the desktop has on the server.
    Start Desktop Session    OPENBOX    geometry=800x600
    ${environment}    Get Session Environment
    Start Process    xterm -geometry 80x24+60+60 -bg ivory -fg black    env=${environment}
    ${window}    Wait For Window    xterm
    Should Be True    ${window.geometry.width} > 100

It Is Seen From Both Sides
    [Documentation]    State, processes, windows, and pictures for people to look at.
    Get Session State    ==    RUNNING
    Verify Session    xterm
    ${picture}    Take Server Picture
    Should Be Equal    ${picture.width} x ${picture.height}    800 x 600
    Take Client Picture    session_only=True

It Is Suspended And Resumed
    [Documentation]    It goes on while nobody looks.
    Suspend Session
    Get Session State    ==    SUSPENDED
    Resume Session
    Get Session State    ==    RUNNING
    Verify Session    xterm

It Ends And Nothing Is Left
    [Documentation]    Neither in the server's list nor among its processes and folders.
    ${name}    Terminate Session
    Get Session State    ==    TERMINATED
    ${sessions}    List Sessions
    FOR    ${session}    IN    @{sessions}
        Should Not Be Equal    ${session.name}    ${name}
    END
    VAR    @{search}    pgrep    -af    ${name}
    Run Command    ${search}    ==    1    message=A process of the session is left    retry_for=10s
    Run Command    ls -d .x2go/C-${name} /tmp/.x2go-*/C-${name}    !=    0    message=A folder is left
