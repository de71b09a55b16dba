"""What stays in the shell while the remote program runs in a session of its own: a shell that waits for its end.

It is sent in front of `boot` and of `front` and executed in their namespace. It promises that no second interpreter
stays, that the shell's line gets status 0 only after an orderly end, and that nothing that was meant for the program
ever reaches the shell, which would execute it.
"""

import os

# A first line from the program says how it goes on: nothing more to read after an orderly end; after the loss of the
# terminal all that still comes in it is swallowed until it hangs up. No line means that the program was killed: then it
# says what is left in the pipes of its output, each behind a mark, and swallows what was sent to the dead, up to a line
# with the mark, which the controller sends when it has seen ours. Its status is the one that shells give to a death by
# that signal.
SCRIPT = """read crl_end
case $crl_end in
end) exit 0;;
lost) cat <&5 >/dev/null; exit 0;;
esac
s=0
{ read -r l </proc/$1/stat && s=$((${l##* } & 127)); } 2>/dev/null
if [ -e /dev/fd/3 ]; then
printf '%s>1>' "$2"
dd bs=65536 count=1 <&3 2>/dev/null
printf '%s>2>' "$2"
dd bs=65536 count=1 <&4 2>/dev/null
fi
printf '%s>3>' "$2"
while read -r l <&5; do case $l in *"$2"*) break;; esac; done 2>/dev/null
[ $s -gt 0 ] && exit $((128 + s))
exit 1"""
END = b"end\n"
# What the program says behind the mark when it has read all that was meant for it.
CLEAR = b"<"
LOST = b"lost\n"
# What stands with the mark behind the last words of a program that was killed.
DEAD = b">3>"


def last_line(mark):
    # type: (bytes) -> bytes
    """What the controller sends behind its last byte."""
    return b"\n" + mark + b"\n"


def wait_as_something_tiny(child, life, outputs, mark):
    # type: (int, int, list[int], str) -> None
    """Wait for the program's end; never returns.

    Args:
        child: The program's process id, 0 when it is not our child.
        life: Descriptor from which the program's last line comes.
        outputs: Reading ends of the pipes of its output; none for a later terminal.
        mark: What stands before what is said.
    """
    import fcntl

    # Out of the way first, for one may stand where another has to be.
    sources = [life, 0] + outputs
    moved = [fcntl.fcntl(source, fcntl.F_DUPFD, 10) for source in sources]
    for source in [life] + outputs:
        os.close(source)
    for source, place in zip(moved, (0, 5, 3, 4)):  # noqa: B905 - Python 2 knows no strict
        os.dup2(source, place)
        os.close(source)
    _keep_the_dead()
    for shell in ("/bin/sh", "sh"):
        try:
            os.execvp(shell, ["sh", "-c", SCRIPT, "sh", str(child), mark])
        except OSError:
            continue
    os._exit(0 if os.read(0, 1) else 1)


def _keep_the_dead():
    # type: () -> None
    """Keep most shells from reaping the program before they have looked how it ended; bash does so all the same."""
    try:
        from _signal import SIG_BLOCK, SIGCHLD, pthread_sigmask  # type: ignore[import-not-found]
    except ImportError:
        return
    pthread_sigmask(SIG_BLOCK, [SIGCHLD])
