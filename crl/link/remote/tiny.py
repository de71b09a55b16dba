"""What stays in the shell while the remote program runs in a session of its own: something tiny that waits for its end.

It is sent in front of `boot` and of `front` and executed in their namespace; it imports nothing but `os`. It promises
that no second interpreter stays, and that the shell's line gets status 0 only after an orderly end.
"""

import os


def wait_as_something_tiny(life):
    # type: (int) -> None
    """Wait for the program's end without keeping a second interpreter; never returns.

    A line from `life` says that the program has ended in order; an end without one means that it was killed, or that it
    has another terminal now.
    """
    os.dup2(life, 0)
    for shell in ("/bin/sh", "sh"):
        try:
            os.execvp(shell, ["sh", "-c", "read crl_end"])
        except OSError:
            continue
    os._exit(0 if os.read(0, 1) else 1)
