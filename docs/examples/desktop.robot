*** Settings ***
Documentation     Starts, verifies, suspends, resumes and ends a desktop of `beta`, which is reached through `gateway`.
Library           TargetLibrary
Library           X2GoLibrary
Variables         lab.py
Suite Setup       Open Target    beta    config=${SSH_CONFIG}
Suite Teardown    Close All Targets


*** Test Cases ***
The Host Is The Right One
    ${facts}=    Get Target Facts
    Should Be Equal    ${facts.hostname}    beta
    Get Remote Value    __import__('platform').node()    ==    beta
    ${release}=    Call Remote Function    platform.release
    Log    ${facts.os}, kernel ${release}

A Desktop Starts And Shows Its Application
    ${session}=    Start Desktop Session    OPENBOX    geometry=800x600
    VAR    ${SESSION}    ${session.get_session_name()}    scope=SUITE
    VAR    &{display}    DISPLAY=:${session.info.display}
    Start Process    xterm -geometry 80x24+60+60 -bg ivory -fg black    env=${display}
    ${window}=    Wait For Window    xterm
    Should Be True    ${window.geometry.width} > 100
    Get Session State    ==    RUNNING
    Verify Session    xterm
    ${picture}=    Take Server Picture
    Should Be Equal    ${picture.width} x ${picture.height}    800 x 600
    Take Client Picture    session_only=True

It Is Suspended And Resumed
    Suspend Session
    Get Session State    ==    SUSPENDED
    Resume Session
    Get Session State    ==    RUNNING
    Verify Session    xterm

It Ends And Nothing Is Left
    Terminate Session
    Get Session State    ==    TERMINATED
    ${sessions}=    List Sessions
    FOR    ${left}    IN    @{sessions}
        Should Not Be Equal    ${left.name}    ${SESSION}
    END
    VAR    @{search}    pgrep    -f    ${SESSION}
    Run Command    ${search}    ==    1    message=A process of the session is left
    Run Command    ls -d .x2go/C-${SESSION} /tmp/.x2go-*/C-${SESSION}    !=    0    message=A folder is left
