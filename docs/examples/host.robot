*** Settings ***
Documentation    Drives a host: commands, Python, a process, a tunnel. The host is one of `crl lab up`.

Library          TargetLibrary
Variables        lab.py

Suite Setup      Open Target    alpha    config=${SSH_CONFIG}


*** Test Cases ***
A Command Runs And Its Result Is An Object
    [Documentation]    Status and both outputs, apart.
    ${result}    Run Command    echo "out"; echo "err" >&2; exit 3
    Should Be Equal As Integers    ${result.status}    3
    Should Be Equal    ${result.stdout.strip()}    out
    Should Be Equal    ${result.stderr.strip()}    err

A Command's Status Is Asserted
    [Documentation]    An operator and what is expected stand behind the command.
    Run Command    test -d /etc    ==    0
    Run Command    test -d /nowhere    !=    0
    Run Command    sort    ==    0    input=b\na\n    timeout=10s

Python Runs There
    [Documentation]    Expressions and functions, with their values.
    Get Remote Value    __import__('platform').system()    ==    Linux
    Get Remote Value    __import__('os').getuid()    >    0
    ${path}    Call Remote Function    os.path.join    /tmp    here
    Should Be Equal    ${path}    /tmp/here

A Process Goes On While The Test Does
    [Documentation]    Stopping it ends its children too.
    ${process}    Start Process    echo started; sleep 60
    Get Remote Value    __import__('os').path.exists('/proc/${process.pid}')    ==    True
    ${result}    Stop Process
    Should Be True    ${result.status} < 0
    Get Remote Value    __import__('os').path.exists('/proc/${process.pid}')    ==    False    retry_for=20s

A Process Is Talked To
    [Documentation]    Its input, its terminal and its signals.
    ${process}    Start Process    read name; echo hello $name; stty size; trap 'exit 7' HUP; echo ready; sleep 60 & wait    pty=True
    Write To Process    world
    Wait Until Keyword Succeeds    20s    50ms    Should Contain    ${process.stdout}    ready
    Should Contain    ${process.stdout}    hello world
    Should Contain    ${process.stdout}    24 80
    Send Signal To Process    HUP
    ${result}    Wait For Process
    Should Be Equal    ${result.status}    ${7}

A Detached Process Is Found Again
    [Documentation]    It goes on when its target is closed; what it writes is kept.
    ${started}    Start Detached Process    echo working; sleep 60    spool=1000
    Close Target
    Open Target    alpha    config=${SSH_CONFIG}
    ${found}    Find Detached Process    ${started.token}
    Should Be True    ${found.alive}
    Wait Until Keyword Succeeds    20s    50ms    Should Be Equal    ${{$found.read().data.decode()}}    working\n
    Call Method    ${found}    stop
    Call Method    ${found}    forget
    Should Not Be True    ${found.alive}

Files Go There And Back
    [Documentation]    Whole files, compared by checksum; folders with all that is in them.
    Write Remote File    ~/crl-example/greeting    hello\n    mode=0600
    Get Remote File    ~/crl-example/greeting    ==    hello\n
    ${info}    Get Remote File Info    ~/crl-example/greeting
    Should Be Equal As Integers    ${info.mode}    ${0o600}
    ${result}    Pull Files    ~/crl-example    ${OUTPUT_DIR}/crl-example    delete=True
    Should Be Equal As Integers    ${result.files}    1
    ${result}    Push Files    ${OUTPUT_DIR}/crl-example    ~/crl-example    update=True
    Should Be Equal As Integers    ${result.unchanged}    1
    ${members}    List Remote Folder    ~/crl-example
    Should Be Equal    ${members[0].name}    greeting
    Remove Remote File    ~/crl-example    recursive=True

A Tunnel Leads To A Service Of The Host
    [Documentation]    A port here that comes out at the host.
    ${tunnel}    Open Tunnel    127.0.0.1    22
    VAR    @{scan}    ssh-keyscan    -p    ${{str($tunnel.address[1])}}    127.0.0.1
    ${keys}    Evaluate    subprocess.run($scan, capture_output=True, text=True, timeout=30)    modules=subprocess
    Should Contain    ${keys.stdout}    ssh-ed25519

Another Account, By Password
    [Documentation]    The password is a secret: it is in no log and on no command line.
    Open Target    alpha-password    alias=other    config=${SSH_CONFIG}    password=${PASSWORD}
    ${facts}    Get Target Facts
    Should Be Equal    ${facts.user}    pwuser
    ${before}    Switch Target    alpha
    Should Be Equal    ${before}    other
    Close Target    other

Many Hosts Beside Each Other
    [Documentation]    One outcome for each; what fails on one is named.
    Open Fleet    alpha    gateway    config=${SSH_CONFIG}
    ${outcomes}    Run Command On Fleet    test -d /etc
    ${cores}    Call Remote Function On Fleet    os.cpu_count
    Should Be True    all(outcome.value >= 1 for outcome in $cores)
    Push Files To Fleet    ${CURDIR}/lab.py    /tmp/fleet.py
    ${outcomes}    Run Command On Fleet    test $(hostname) = alpha    may_fail=True
    Should Be Equal    ${outcomes.failed.names}    ${{['gateway']}}
    Close Fleet
